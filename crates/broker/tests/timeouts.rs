//! How long recipients have to answer, where that depends on the path (rules M-15).

mod support;

use std::process::Command;
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_broker::core::timeouts::PathTimeouts;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::{
    FilterAnswer, FilterResponse, ReasonAndText, SendToFilter, SendToPath, SendToSession, SerialisedValue,
    ServiceFailure,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    FilterResponseDelivery, MessagingFilterSender, MessagingReceiverServer, MessagingSend, Service,
};
use support::{Behaviour, Client, Network};

const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };

/// 10 seconds, but `orders` 2 and `orders/slow` 300.
fn network() -> Network {
    let mut request_timeouts = PathTimeouts::default();
    for (path, seconds) in [("orders", 2), ("/orders/slow/", 300)] {
        request_timeouts.set(path, Duration::from_secs(seconds)).expect("a path");
    }
    Network::with(BrokerConfig {
        request_timeout: Duration::from_secs(10),
        request_timeouts,
        ping_period: Duration::ZERO,
        ..BrokerConfig::default()
    })
}

/// Which time holds for which path.
const CASES: [(&str, u64); 9] = [
    ("other", 10),
    ("orders", 2),
    ("/orders/", 2),
    ("orders/eu/17", 2),
    ("orders/slower", 2),
    ("orders/slow", 300),
    ("/orders/slow/1/", 300),
    ("ordersx", 10),
    ("other/orders/slow", 10),
];

/// The errors among some frames.
fn errors(frames: &[Vec<u8>]) -> Vec<(ErrorReason, String)> {
    let error = |frame: &Vec<u8>| match Message::decode(frame).expect("a message") {
        Message::ServiceError { failure: ServiceFailure { description, reason }, .. } => {
            Some((reason, description.to_owned()))
        }
        Message::ServiceRequest { service: FilterResponseDelivery::ID, body, .. } => {
            match decode_all(body).expect("a response") {
                FilterResponse { answer: FilterAnswer::Error(ReasonAndText { reason, description }), .. } => {
                    Some((reason, description.to_owned()))
                }
                other => panic!("{other:?}"),
            }
        }
        _ => None,
    };
    // The first frame is the connection response.
    frames[1..].iter().filter_map(error).collect()
}

/// Sends a request that nobody answers and checks that it is given up after so many seconds, and not before.
fn check(network: &mut Network, sender: Client, request: Vec<u8>, seconds: u64) {
    let before = errors(network.frames(sender)).len();
    network.inject(sender, request);
    assert_eq!(network.broker.outstanding_requests(), 1);
    network.pass(Duration::from_secs(seconds) - Duration::from_micros(1));
    assert_eq!(errors(network.frames(sender)).len(), before, "not before {seconds} seconds are over");
    network.pass(Duration::from_micros(1));
    let text = format!("the recipient did not answer within {seconds}s");
    assert_eq!(errors(network.frames(sender))[before..], [(ErrorReason::REQUEST_TIME_OUT, text)]);
    assert_eq!((network.broker.outstanding_requests(), network.broker.open_conversations()), (0, 0));
}

#[test]
fn the_longest_path_decides_for_requests_to_paths() {
    let mut network = network();
    let [sender, handler] = network.connect(["sender", "handler"]);
    for path in ["other", "orders", "ordersx"] {
        network.register(handler, path, &[], Behaviour::Keep).expect("registered");
    }
    for (number, (path, seconds)) in CASES.into_iter().enumerate() {
        let id = ConversationId(1000 + i64::try_from(number).expect("small"));
        let body = SendToPath { path, request: VALUE };
        check(&mut network, sender, request_frame::<MessagingSend>(id, &body, 0), seconds);
    }
}

#[test]
fn the_longest_path_decides_for_requests_to_sessions_and_to_filters() {
    let mut network = network();
    let [sender, silent] = network.connect(["sender", "silent"]);
    network.freeze(silent);
    let session = network.session(silent).expect("connected");
    for (number, (path, seconds)) in CASES.into_iter().enumerate() {
        let id = ConversationId(1000 + i64::try_from(number).expect("small"));
        let body = SendToSession { session, path, request: VALUE };
        check(&mut network, sender, request_frame::<MessagingReceiverServer>(id, &body, 0), seconds);
        let body = SendToFilter { filter_conversation: id, filter: "name is 'silent'", path, request: VALUE };
        check(&mut network, sender, request_frame::<MessagingFilterSender>(id, &body, 0), seconds);
    }
}

#[test]
fn a_short_time_ends_before_a_long_one_that_began_earlier() {
    let mut network = network();
    let [sender, silent] = network.connect(["sender", "silent"]);
    network.freeze(silent);
    let session = network.session(silent).expect("connected");
    for (id, path) in [(1000, "orders/slow"), (1001, "other"), (1002, "orders")] {
        let body = SendToSession { session, path, request: VALUE };
        network.inject(sender, request_frame::<MessagingReceiverServer>(ConversationId(id), &body, 0));
    }
    for (passed, left) in [(2, 2), (8, 1), (290, 0)] {
        network.pass(Duration::from_secs(passed));
        assert_eq!(network.broker.outstanding_requests(), left);
    }
}

#[test]
fn a_time_that_makes_no_sense_is_one_line_and_exit_status_2() {
    for arguments in [
        &["--request-timeout-for", ""][..],
        &["--request-timeout-for", "orders"],
        &["--request-timeout-for", "orders="],
        &["--request-timeout-for", "orders=soon"],
        &["--request-timeout-for", "orders=0s"],
        &["--request-timeout-for", "=5s"],
        &["--request-timeout-for", "a//b=5s"],
        &["--request-timeout-for", "a=5s", "--request-timeout-for", "/a/=6s"],
        &["--request-timeout", "0s"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon-broker"));
        let output = command.args(["--listen", "127.0.0.1:0"]).args(arguments).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(text.contains("--request-timeout") && text.ends_with('\n'), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(output.stdout.is_empty(), "{arguments:?}: it does not start");
    }
}
