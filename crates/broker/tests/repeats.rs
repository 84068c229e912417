//! Requests with an idempotency key, by clients that write their own frames (rules K-1, K-2, K-3, K-4 and K-5).

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, ReceivedRequest};
use antiphon_protocol::features::Features;
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::headers::{Header, HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{Cancel, SendToPath, SendToSession};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{Cancellation, MessagingReceiverServer, MessagingSend, Service};
use support::{Behaviour, Client, Network, text_of, text_value};

/// Idempotency, deadlines, cancelling.
const FEATURES: Features = Features::from_wire(16 | 4 | 2);

/// A network whose broker remembers for two minutes, and waits a minute for an answer; and a handler at `work`.
fn network(config: BrokerConfig) -> (Network, Client) {
    let features = Features::ALL | FEATURES;
    let mut network = Network::with(BrokerConfig { features, ping_period: Duration::ZERO, ..config });
    let worker = add(&mut network, "");
    network.register(worker, "jobs", &[], Behaviour::Keep).expect("registered");
    (network, worker)
}

/// A client with the feature; anonymous if it has no name.
fn add(network: &mut Network, principal: &str) -> Client {
    let (principal, credentials) = match principal {
        "" => (None, Credentials::None),
        name => (Some(name.into()), Credentials::Password("password".into())),
    };
    let reconnect_timeout = Duration::from_secs(600);
    let features = FEATURES;
    let client =
        network.add(ClientConfig { principal, reconnect_timeout, features, ..ClientConfig::default() }, credentials);
    assert!(network.session(client).is_some(), "it connects");
    client
}

fn keyed(key: &str, frame: Vec<u8>) -> Vec<u8> {
    let mut headers = HeaderBlock::default();
    headers.add(Header::IdempotencyKey, key.as_bytes());
    headers.before(frame)
}

/// Sends a request with a key to a path, in this conversation.
fn ask(network: &mut Network, client: Client, conversation: i64, path: &str, key: &str) {
    let value = text_value("please");
    let request = SendToPath { path, request: value.as_wire() };
    network.inject(client, keyed(key, request_frame::<MessagingSend>(ConversationId(conversation), &request, 0)));
}

fn ask_session(network: &mut Network, client: Client, conversation: i64, session: SessionId, path: &str, key: &str) {
    let value = text_value("please");
    let request = SendToSession { session, path, request: value.as_wire() };
    let frame = request_frame::<MessagingReceiverServer>(ConversationId(conversation), &request, 0);
    network.inject(client, keyed(key, frame));
}

/// What was answered to a client in a conversation, so far.
fn answers(network: &Network, client: Client, conversation: i64) -> Vec<Result<String, ErrorReason>> {
    let of_frame = |frame: &Vec<u8>| {
        let (_, message) = Headers::split(frame, Features::WITH_HEADERS).expect("headers");
        match Message::decode(message).ok()? {
            Message::ServiceResponse { conversation: to, body } if to.0 == conversation => Some(Ok(text_of(
                &decode_all::<antiphon_protocol::wire::layouts::SerialisedValue<'_>>(body).expect("a value").into(),
            ))),
            Message::ServiceError { conversation: to, failure } if to.0 == conversation => Some(Err(failure.reason)),
            _ => None,
        }
    };
    // The first frame is the connection response.
    network.frames(client)[1..].iter().filter_map(of_frame).collect()
}

fn answer(network: &mut Network, worker: Client, received: &ReceivedRequest, text: &str) {
    network.respond(worker, received.id, text);
}

fn ok(text: &str) -> Vec<Result<String, ErrorReason>> {
    vec![Ok(text.to_owned())]
}

#[test]
fn k_1_a_repeat_is_delivered_to_nobody_and_gets_the_answer_that_comes_or_is_there() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    for conversation in [1, 2] {
        ask(&mut network, caller, conversation, "jobs/1", "a");
    }
    let received = network.received(worker).expect("the request");
    assert!(network.received(worker).is_none(), "the repeat is not delivered");
    answer(&mut network, worker, &received, "done");
    ask(&mut network, caller, 3, "/jobs/1/", "a");
    assert!(network.received(worker).is_none(), "nor is a later one");
    for conversation in [1, 2, 3] {
        assert_eq!(answers(&network, caller, conversation), ok("done"));
    }
    assert_eq!((network.broker.open_conversations(), network.broker.outstanding_requests()), (0, 0));
}

#[test]
fn k_1_a_key_counts_for_one_path_or_one_session_and_for_whose_it_is() {
    let (mut network, worker) = network(BrokerConfig::default());
    let (ada, other) = (add(&mut network, "client"), add(&mut network, "control"));
    let (anonymous, another) = (add(&mut network, ""), add(&mut network, ""));
    let mut asked = 0;
    for client in [ada, other, anonymous, another] {
        ask(&mut network, client, 1, "jobs", "a");
        ask(&mut network, client, 2, "jobs/below", "a");
        ask(&mut network, client, 3, "jobs", "b");
        asked += 3;
    }
    assert_eq!(std::iter::from_fn(|| network.received(worker)).count(), asked);
}

#[test]
fn k_1_a_repeat_of_a_principal_comes_from_any_session_of_it() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "client");
    ask(&mut network, caller, 1, "jobs", "a");
    let received = network.received(worker).expect("the request");
    network.close(caller);
    let again = add(&mut network, "client");
    ask(&mut network, again, 7, "jobs", "a");
    answer(&mut network, worker, &received, "done");
    assert_eq!(answers(&network, again, 7), ok("done"));
    assert!(network.received(worker).is_none() && network.broker.late_answers() == 0);
}

#[test]
fn k_1_a_request_to_a_session_has_keys_too() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "admin");
    network.stream(worker, "direct", Behaviour::Keep);
    let session = network.session(worker).expect("open");
    for conversation in [1, 2] {
        ask_session(&mut network, caller, conversation, session, "direct", "a");
    }
    let received = network.received(worker).expect("the request");
    answer(&mut network, worker, &received, "done");
    network.close(worker);
    ask_session(&mut network, caller, 3, session, "direct", "a");
    for conversation in [1, 2, 3] {
        assert_eq!(answers(&network, caller, conversation), ok("done"));
    }
}

#[test]
fn k_2_when_no_answer_will_come_a_repeat_is_told_so_and_runs_nothing() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    for conversation in [1, 2] {
        ask(&mut network, caller, conversation, "jobs", "a");
    }
    network.received(worker).expect("the request");
    network.close(worker);
    let next = add(&mut network, "");
    network.answer(next, "jobs", "done again");
    ask(&mut network, caller, 3, "jobs", "a");
    for conversation in [1, 2, 3] {
        assert_eq!(answers(&network, caller, conversation), [Err(ErrorReason::SESSION_CLOSED)]);
    }
    ask(&mut network, caller, 4, "jobs", "b");
    assert_eq!(answers(&network, caller, 4), ok("done again"));
}

#[test]
fn k_2_what_no_handler_has_seen_is_not_remembered() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    ask(&mut network, caller, 1, "elsewhere", "a");
    assert_eq!(answers(&network, caller, 1), [Err(ErrorReason::UNHANDLED_MESSAGE)]);
    network.answer(worker, "elsewhere", "done");
    ask(&mut network, caller, 2, "elsewhere", "a");
    assert_eq!(answers(&network, caller, 2), ok("done"));
    // It waits for a connection, and the session ends before it has one.
    network.set_reachable(false);
    network.cut(worker);
    for conversation in [3, 4] {
        ask(&mut network, caller, conversation, "jobs", "a");
    }
    network.pass(Duration::from_secs(30));
    let key = network.session(worker).expect("open");
    let admin = add_admin(&mut network);
    network.inject(admin, request_frame::<antiphon_protocol::wire::services::CloseClient>(ConversationId(1), &key, 0));
    for conversation in [3, 4] {
        assert_eq!(answers(&network, caller, conversation), [Err(ErrorReason::CLUSTER_ROUTING)]);
    }
    network.set_reachable(true);
    let next = add(&mut network, "");
    network.answer(next, "jobs", "done");
    ask(&mut network, caller, 5, "jobs", "a");
    assert_eq!(answers(&network, caller, 5), ok("done"));
}

fn add_admin(network: &mut Network) -> Client {
    network.set_reachable(true);
    add(network, "admin")
}

#[test]
fn k_2_a_handlers_error_is_an_answer() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    let reason = ErrorReason::REJECTED_REQUEST;
    network.register(worker, "no", &[], Behaviour::Refuse(reason, "not today".into())).expect("registered");
    for conversation in [1, 2] {
        ask(&mut network, caller, conversation, "no", "a");
        assert_eq!(answers(&network, caller, conversation), [Err(reason)]);
    }
    let asked = network.frames(worker).iter().filter(|frame| {
        Headers::split(frame, Features::WITH_HEADERS)
            .is_ok_and(|(headers, _)| headers.text(Header::IdempotencyKey) == Some("a"))
    });
    assert_eq!(asked.count(), 1, "the handler is told the key, once");
}

#[test]
fn k_3_when_a_callers_time_is_over_the_request_goes_on_and_a_repeat_gets_its_answer() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    ask(&mut network, caller, 1, "jobs", "a");
    let received = network.received(worker).expect("the request");
    network.pass(Duration::from_secs(61));
    assert_eq!(answers(&network, caller, 1), [Err(ErrorReason::REQUEST_TIME_OUT)]);
    ask(&mut network, caller, 2, "jobs", "a");
    network.pass(Duration::from_secs(30));
    answer(&mut network, worker, &received, "late");
    ask(&mut network, caller, 3, "jobs", "a");
    assert_eq!((answers(&network, caller, 2), answers(&network, caller, 3)), (ok("late"), ok("late")));
    assert!(network.received(worker).is_none() && network.broker.late_answers() == 0);
}

#[test]
fn k_3_the_time_left_is_the_callers_own_and_its_end_does_not_end_the_request() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    let mut headers = HeaderBlock::default();
    headers.add_time_left(Duration::from_secs(1));
    headers.add(Header::IdempotencyKey, b"a");
    let value = text_value("please");
    let request = SendToPath { path: "jobs", request: value.as_wire() };
    let frame = request_frame::<MessagingSend>(ConversationId(1), &request, 0);
    network.inject(caller, headers.before(frame));
    let received = network.received(worker).expect("the request");
    network.pass(Duration::from_secs(1));
    assert_eq!(answers(&network, caller, 1), [Err(ErrorReason::REQUEST_TIME_OUT)]);
    ask(&mut network, caller, 2, "jobs", "a");
    cancel(&mut network, caller, 2, true);
    let told =
        network.frames(worker).iter().map(|frame| Headers::split(frame, Features::WITH_HEADERS).expect("headers").0);
    assert!(told.clone().any(|headers| headers.text(Header::IdempotencyKey) == Some("a")));
    assert!(told.clone().all(|headers| headers.time_left().is_none()) && cancellations(&network, worker) == 0);
    answer(&mut network, worker, &received, "late");
    ask(&mut network, caller, 3, "jobs", "a");
    assert_eq!((answers(&network, caller, 2), answers(&network, caller, 3)), (vec![], ok("late")));
}

#[test]
fn k_3_a_request_that_all_give_up_is_cancelled_and_repeats_are_told() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    for conversation in [1, 2] {
        ask(&mut network, caller, conversation, "jobs", "a");
    }
    cancel(&mut network, caller, 1, false);
    assert_eq!(cancellations(&network, worker), 0, "another waits");
    cancel(&mut network, caller, 2, false);
    assert_eq!(cancellations(&network, worker), 1);
    ask(&mut network, caller, 3, "jobs", "a");
    assert_eq!(answers(&network, caller, 3), [Err(ErrorReason::CANCELLED)]);
    assert_eq!((answers(&network, caller, 1), answers(&network, caller, 2)), (vec![], vec![]));
    // What was not delivered yet is a new request.
    network.set_reachable(false);
    network.cut(worker);
    ask(&mut network, caller, 4, "jobs", "b");
    cancel(&mut network, caller, 4, false);
    network.set_reachable(true);
    network.pass(Duration::from_secs(1));
    while network.received(worker).is_some() {}
    ask(&mut network, caller, 5, "jobs", "b");
    assert!(network.received(worker).is_some());
}

#[test]
fn k_3_a_recipient_that_cannot_be_told_goes_on_and_its_answer_is_for_repeats() {
    let (mut network, _) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    let [official] = network.connect(["official"]);
    network.register(official, "old", &[], Behaviour::Keep).expect("registered");
    ask(&mut network, caller, 1, "old", "a");
    let received = network.received(official).expect("the request");
    cancel(&mut network, caller, 1, false);
    answer(&mut network, official, &received, "done");
    ask(&mut network, caller, 2, "old", "a");
    assert_eq!(answers(&network, caller, 2), ok("done"));
}

fn cancel(network: &mut Network, client: Client, conversation: i64, is_timed_out: bool) {
    let cancel = Cancel { conversation: ConversationId(conversation), is_timed_out };
    network.inject(client, request_frame::<Cancellation>(ConversationId::ONE_WAY, &cancel, 0));
}

/// How often a client was told that a request is cancelled.
fn cancellations(network: &Network, client: Client) -> usize {
    let is_cancellation = |frame: &&Vec<u8>| {
        let (_, message) = Headers::split(frame, Features::WITH_HEADERS).expect("headers");
        matches!(Message::decode(message), Ok(Message::ServiceRequest { service: Cancellation::ID, .. }))
    };
    network.frames(client)[1..].iter().filter(is_cancellation).count()
}

#[test]
fn k_4_an_answer_is_remembered_for_two_minutes_and_what_never_ends_is_not_remembered_for_ever() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    let minutes = |number: u64| Duration::from_secs(60 * number);
    ask(&mut network, caller, 1, "jobs", "a");
    let received = network.received(worker).expect("the request");
    answer(&mut network, worker, &received, "done");
    network.pass(minutes(2) - Duration::from_secs(1));
    ask(&mut network, caller, 2, "jobs", "a");
    assert_eq!(answers(&network, caller, 2), ok("done"));
    network.pass(Duration::from_secs(1));
    ask(&mut network, caller, 3, "jobs", "a");
    assert!(network.received(worker).is_some(), "it is a new request");
    // Nobody answers that. The broker waits a minute, and knows of it for two more.
    network.pass(minutes(3) - Duration::from_secs(1));
    ask(&mut network, caller, 4, "jobs", "a");
    assert!(network.received(worker).is_none());
    network.pass(minutes(3));
    assert_eq!(network.broker.open_conversations(), 0);
    ask(&mut network, caller, 5, "jobs", "a");
    assert!(network.received(worker).is_some());
}

#[test]
fn k_4_when_more_is_remembered_than_may_be_the_party_with_most_loses_its_oldest_answers_and_no_key() {
    let (mut network, worker) = network(BrokerConfig { repeat_memory: 10_000, ..BrokerConfig::default() });
    let (modest, greedy) = (add(&mut network, "client"), add(&mut network, "control"));
    let mut answered = 0;
    let mut settle = |network: &mut Network, client, key: &str, bytes: usize| {
        answered += 1;
        ask(network, client, answered, "jobs", key);
        let received = network.received(worker);
        if let Some(received) = &received {
            answer(network, worker, received, &"x".repeat(bytes));
        }
        received.is_some()
    };
    assert!(settle(&mut network, modest, "first", 2000));
    for key in ["1", "2", "3", "4"] {
        assert!(settle(&mut network, greedy, key, 2500));
    }
    assert!(!settle(&mut network, modest, "first", 0) && !settle(&mut network, greedy, "4", 0));
    // What is lost, or alone is too much, is not given again, and does not run again either.
    assert!(settle(&mut network, modest, "large", 10_001));
    for (client, key) in [(greedy, "1"), (modest, "large")] {
        assert!(!settle(&mut network, client, key, 0));
    }
    network.pass(Duration::from_secs(120));
    assert!(settle(&mut network, greedy, "1", 0), "its time is over");
    for (client, conversation) in [(greedy, 9), (modest, 10)] {
        assert_eq!(answers(&network, client, conversation), [Err(ErrorReason::COMMUNICATION_FAILURE)]);
    }
    network.pass(Duration::from_secs(120));
    assert_eq!(network.broker.remembered(), (0, 0));
}

#[test]
fn k_4_a_party_with_very_many_keys_gets_no_more_and_runs_none_of_them_twice() {
    let (mut network, worker) = network(BrokerConfig { repeat_memory: 9600, ..BrokerConfig::default() });
    let (modest, greedy) = (add(&mut network, "client"), add(&mut network, "control"));
    let mut handled = 0;
    for conversation in 1..=200 {
        ask(&mut network, greedy, conversation, "jobs", &(conversation % 100).to_string());
        if let Some(received) = network.received(worker) {
            handled += 1;
            answer(&mut network, worker, &received, "done");
        }
    }
    // Of 100 for which there is room, 8 times as many as are left then.
    assert_eq!((handled, network.broker.remembered().0), (89, 89));
    let of = |conversation| answers(&network, greedy, conversation);
    assert_eq!((of(1), of(89)), (ok("done"), ok("done")));
    assert_eq!(of(90), [Err(ErrorReason::CLUSTER_ROUTING)]);
    assert_eq!(of(101), [Err(ErrorReason::COMMUNICATION_FAILURE)]);
    ask(&mut network, modest, 1, "jobs", "1");
    assert!(network.received(worker).is_some(), "another party finds room");
}

#[test]
fn k_5_a_key_is_text_of_1_to_128_characters() {
    let (mut network, worker) = network(BrokerConfig::default());
    let caller = add(&mut network, "");
    ask(&mut network, caller, 1, "jobs", &"ä".repeat(128));
    assert!(network.received(worker).is_some());
    ask(&mut network, caller, 2, "jobs", &"ä".repeat(129));
    let value = text_value("please");
    let request = SendToPath { path: "jobs", request: value.as_wire() };
    let frame = request_frame::<MessagingSend>(ConversationId(3), &request, 0);
    // Nobody of ours writes an empty one.
    network.inject(caller, [&[61, 2, Header::IdempotencyKey as u8, 0], &*frame].concat());
    assert!(network.received(worker).is_none());
    for conversation in [2, 3] {
        assert_eq!(answers(&network, caller, conversation), [Err(ErrorReason::INVALID_DATA)]);
    }
}

#[test]
fn k_2_a_recipient_that_lost_what_it_was_sent_gives_no_answer() {
    let recovery = RecoveryLimits { messages: 4, bytes: 100 };
    let (mut network, worker) = network(BrokerConfig { recovery, ..BrokerConfig::default() });
    let caller = add(&mut network, "");
    ask(&mut network, caller, 1, "jobs", "a");
    network.received(worker).expect("the request");
    network.set_reachable(false);
    network.cut(worker);
    let long = text_value(&"long".repeat(100));
    let request = SendToPath { path: "jobs", request: long.as_wire() };
    network.inject(caller, request_frame::<MessagingSend>(ConversationId(2), &request, 0));
    network.set_reachable(true);
    network.pass(Duration::from_secs(1));
    ask(&mut network, caller, 3, "jobs", "a");
    for conversation in [1, 3] {
        assert_eq!(answers(&network, caller, conversation), [Err(ErrorReason::SESSION_CLOSED)]);
    }
}
