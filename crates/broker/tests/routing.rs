//! Routing: who gets a request, and what the sender is told.

mod support;

use std::collections::HashSet;
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, CloseCode, ConnectCode, Outcome, RequestError};
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::layouts::{SendToPath, ServiceFailure, SetSessionProperties};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, SetProperties};
use support::{Behaviour, Network, sender_of, text_value};

#[test]
fn the_most_specific_handler_answers() {
    let mut network = Network::new();
    let [sender, near, far] = network.connect(["sender", "near", "far"]);
    network.answer(far, "orders", "far");
    network.answer(near, "orders/eu", "near");
    for (path, answer) in [("orders/eu/17", "near"), ("orders/eu", "near"), ("orders/us", "far"), ("orders", "far")] {
        let response = network.request(sender, path, "any");
        assert_eq!(network.settle(response), Ok(answer.into()), "{path}");
    }
}

#[test]
fn a_path_is_not_a_prefix_of_a_longer_segment() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.answer(handler, "orders", "yes");
    let response = network.request(sender, "ordersandmore", "any");
    assert_eq!(network.refusal(response), ErrorReason::UNHANDLED_MESSAGE);
}

#[test]
fn slashes_at_the_ends_do_not_matter_and_the_path_arrives_as_written() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "/orders/", &[], Behaviour::Keep).expect("registered");
    for path in ["orders/eu", "/orders/eu", "orders/eu/", "/orders"] {
        network.request(sender, path, "any");
        assert_eq!(network.received(handler).expect("delivered").path, path);
    }
}

#[test]
fn paths_that_nobody_can_handle_are_refused_by_name() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    for path in ["", "/", "a//b", "a\0b", &"x".repeat(2049)] {
        let response = network.request(sender, path, "any");
        assert_eq!(network.refusal(response), ErrorReason::INVALID_PATH, "{path:?}");
        let refused = network.register(handler, path, &[], Behaviour::Echo);
        assert!(matches!(refused, Err(RequestError::Refused { reason: ErrorReason::INVALID_PATH, .. })), "{path:?}");
    }
}

#[test]
fn nobody_there_is_told_at_once() {
    let mut network = Network::new();
    let [sender] = network.connect(["sender"]);
    let response = network.request(sender, "nobody", "any");
    let error = network.settle(response).expect_err("refused");
    assert_eq!((&*error.code(), error.outcome()), ("UNHANDLED_MESSAGE", Outcome::Refused));
}

#[test]
fn a_choice_among_equals_reaches_all_of_them() {
    let mut network = Network::new();
    let [sender, a, b, c] = network.connect(["sender", "a", "b", "c"]);
    for (client, name) in [(a, "a"), (b, "b"), (c, "c")] {
        network.answer(client, "work", name);
    }
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..300 {
        let response = network.request(sender, "work", "any");
        *counts.entry(network.settle(response).expect("answered")).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3);
    assert!(counts.values().all(|count| (50..200).contains(count)), "{counts:?}");
}

#[test]
fn a_handler_with_fewer_requests_to_answer_is_preferred() {
    let mut network = Network::new();
    let [sender, busy, idle] = network.connect(["sender", "busy", "idle"]);
    network.register(busy, "work", &[], Behaviour::Keep).expect("registered");
    while network.received(busy).is_none() {
        network.request(sender, "work", "any");
    }
    network.answer(idle, "work", "idle");
    let answered = (0..100).filter(|_| {
        let response = network.request(sender, "work", "any");
        network.outcome(response).is_some()
    });
    // Two are drawn: only when both draws are the busy one does it get the request.
    assert!(answered.count() > 60);
}

#[test]
fn a_handler_that_has_room_is_asked_however_many_have_none() {
    let config = BrokerConfig { max_requests_to_answer: 2, ..BrokerConfig::default() };
    let mut network = Network::with(config);
    let [sender, a, b, c, free] = network.connect(["sender", "a", "b", "c", "free"]);
    for full in [a, b, c] {
        network.register(full, "work", &[], Behaviour::Keep).expect("registered");
    }
    let waiting: Vec<_> = (0..6).map(|_| network.request(sender, "work", "any")).collect();
    let handlers = network.answer(free, "work", "free");
    for _ in 0..100 {
        let response = network.request(sender, "work", "any");
        assert_eq!(network.settle(response), Ok("free".into()));
    }
    network.deregister(free, handlers).expect("taken back");
    assert!(waiting.iter().all(|response| network.outcome(*response).is_none()));
}

#[test]
fn when_no_handler_has_room_none_ran_and_the_sender_may_try_again() {
    let config = BrokerConfig { max_requests_to_answer: 1, ..BrokerConfig::default() };
    let mut network = Network::with(config);
    let [sender, a, b] = network.connect(["sender", "a", "b"]);
    for full in [a, b] {
        network.register(full, "work", &[], Behaviour::Keep).expect("registered");
        network.request(sender, "work", "any");
    }
    let refused = network.request(sender, "work", "any");
    let error = network.settle(refused).expect_err("refused");
    assert_eq!((&*error.code(), error.outcome()), ("CLUSTER_ROUTING", Outcome::Refused));
    let text = "the request handlers have as many requests to answer as they may have, try again later";
    assert!(error.to_string().contains(text), "{error}");
    let id = network.received(b).expect("delivered").id;
    network.respond(b, id, "done");
    let again = network.request(sender, "work", "any");
    assert!(network.received(b).is_some(), "it has room again");
    assert_eq!(network.outcome(again), None);
}

#[test]
fn a_session_can_answer_itself() {
    let mut network = Network::new();
    let [alone] = network.connect(["alone"]);
    network.register(alone, "mirror", &["name"], Behaviour::Echo).expect("registered");
    let response = network.request(alone, "mirror", "me");
    assert_eq!(network.settle(response), Ok("me".into()));
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn a_second_registration_conflicts_and_leaves_the_first() {
    let mut network = Network::new();
    let [sender, handler, other] = network.connect(["sender", "handler", "other"]);
    network.answer(handler, "orders", "first");
    let second = network.register(handler, "/orders", &[], Behaviour::Text("second".into()));
    assert!(matches!(second, Err(RequestError::Refused { reason: ErrorReason::HANDLER_CONFLICT, .. })));
    let response = network.request(sender, "orders", "any");
    assert_eq!(network.settle(response), Ok("first".into()));
    // Another session, and another path of the same session, are no conflict.
    network.answer(other, "orders", "other");
    network.answer(handler, "orders/eu", "eu");
}

#[test]
fn a_registration_that_was_taken_back_gets_nothing_more_but_may_still_answer() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    let registration = network.register(handler, "orders", &[], Behaviour::Keep).expect("registered");
    let early = network.request(sender, "orders", "early");
    let received = network.received(handler).expect("delivered");
    network.deregister(handler, registration).expect("taken back");
    let late = network.request(sender, "orders", "late");
    assert_eq!(network.refusal(late), ErrorReason::UNHANDLED_MESSAGE);
    network.respond(handler, received.id, "done");
    assert_eq!(network.settle(early), Ok("done".into()));
    // The path is free again.
    network.answer(handler, "orders", "again");
}

#[test]
fn the_properties_that_a_handler_asks_for_come_with_every_request() {
    let mut network = Network::new();
    let [handler] = network.connect(["handler"]);
    let properties = vec![
        ("team".into(), "a".into()),
        ("name".into(), "ada".into()),
        ("$Country".into(), "fr".into()),
        ("$Roles".into(), "\"ADMINISTRATOR\"".into()),
        ("not legal".into(), "x".into()),
    ];
    let config = ClientConfig { principal: Some("control".into()), properties, ..ClientConfig::default() };
    let sender = network.add(config, Credentials::Password("password".into()));
    let mut asked = |path: &str, keys: &[&str]| {
        network.register(handler, path, keys, Behaviour::Keep).expect("registered");
        network.request(sender, path, "any");
        let request = network.received(handler).expect("delivered");
        assert_eq!(Some(sender_of(&request).0), network.session(sender));
        sender_of(&request).1.to_vec()
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(asked("none", &[]), []);
    let some = asked("some", &["team", "$Principal", "unknown", "$Country", "$Country"]);
    assert_eq!(some, [pair("$Country", "FR"), pair("$Principal", "control"), pair("team", "a")]);
    assert_eq!(asked("user", &["*U"]), [pair("name", "ada"), pair("team", "a")]);
    let fixed = asked("fixed", &["*F", "$Principal"]);
    assert_eq!(fixed.len(), 14, "{fixed:?}");
    assert!(fixed.contains(&pair("$Roles", r#""AUTHENTICATION_HANDLER","CLIENT_CONTROL","TOPIC_CONTROL""#)));
    assert_eq!(asked("all", &["*F", "*U", "team"]).len(), 16);
    assert_eq!(asked("both", &["*F", "team"]).len(), 15);
}

#[test]
fn errors_of_a_handler_reach_the_sender_as_they_are() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    for (path, reason, text) in [
        ("reject", ErrorReason::REJECTED_REQUEST, "not today"),
        ("fail", ErrorReason::CALLBACK_EXCEPTION, "kaboom"),
        ("odd", ErrorReason(31_337), "nobody knows this one"),
    ] {
        network.register(handler, path, &[], Behaviour::Refuse(reason, text.into())).expect("registered");
        let response = network.request(sender, path, "any");
        let refused = RequestError::Refused { reason, detail: text.into(), details: Vec::new() };
        assert_eq!(network.settle(response), Err(refused));
    }
}

#[test]
fn a_request_with_conversation_0_is_delivered_and_never_answered() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let value = text_value("one way");
    let frames = network.frames(sender).len();
    for path in ["work", "nobody"] {
        let request = SendToPath { path, request: value.as_wire() };
        network.inject(sender, request_frame::<MessagingSend>(ConversationId::ONE_WAY, &request, 0));
    }
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "nobody hears this");
    assert_eq!(network.frames(sender).len(), frames);
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn a_very_long_error_text_is_cut_at_1024_characters() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    let conversation = network.asked_in(handler);
    let description = "é".repeat(5000);
    let failure = ServiceFailure { description: &description, reason: ErrorReason::CALLBACK_EXCEPTION };
    network.inject(handler, Message::ServiceError { conversation, failure }.to_frame());
    match network.settle(response) {
        Err(RequestError::Refused { detail, .. }) => assert_eq!(detail, "é".repeat(1024)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_answer_counts_and_later_ones_are_dropped() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "first");
    let conversation = network.asked_in(handler);
    let second = text_value("second");
    network.inject(handler, response_frame::<MessagingReceiverClient>(conversation, &second.as_wire()));
    let failure = ServiceFailure { description: "third", reason: ErrorReason::CALLBACK_EXCEPTION };
    network.inject(handler, Message::ServiceError { conversation, failure }.to_frame());
    assert_eq!(network.settle(response), Ok("first".into()));
    assert_eq!(network.broker.late_answers(), 2);
    assert_eq!(network.closed(handler), None, "a second answer is no offence");
}

#[test]
fn m_17_an_answer_with_more_than_a_value_is_passed_on_as_it_is() {
    // What the official Python client sends for a None: the path for a type name, and three bytes too many.
    let body = b"\x04none\x06string\x02ax";
    let mut network = Network::new();
    let [sender, recipient] = network.connect(["sender", "recipient"]);
    let (session, filter) = (network.session(recipient).expect("connected"), "name is 'recipient'");
    network.stream(recipient, "none", Behaviour::Keep);
    for to_filter in [false, true] {
        if to_filter {
            network.send_to_filter(sender, filter, "none", "x");
        } else {
            network.send_to_session(sender, session, "none", "x");
        }
        network.run();
        let conversation = network.asked_in(recipient);
        network.inject(recipient, Message::ServiceResponse { conversation, body }.to_frame());
        let answer = network.frames(sender).last().expect("answered").clone();
        match Message::decode(&answer) {
            Ok(Message::ServiceResponse { body: passed_on, .. }) => assert_eq!(passed_on, body),
            // Behind the session ID and the byte that says that there is a response.
            Ok(Message::ServiceRequest { service: 103, body: passed_on, .. }) => {
                assert!(passed_on.ends_with(&[&[0], &body[..12]].concat()), "{passed_on:x?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_handler_that_never_answers_is_given_up_after_the_time_allowed() {
    let mut network =
        Network::with(BrokerConfig { request_timeout: Duration::from_secs(5), ..BrokerConfig::default() });
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    let id = network.received(handler).expect("delivered").id;
    network.pass(Duration::from_micros(4_999_999));
    assert_eq!(network.outcome(response), None);
    network.pass(Duration::from_micros(1));
    assert_eq!(network.refusal(response), ErrorReason::REQUEST_TIME_OUT);
    network.respond(handler, id, "late");
    assert_eq!(network.broker.late_answers(), 1);
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn a_deadline_of_the_sender_is_kept_to_the_microsecond_and_a_late_answer_ignored() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.try_send(sender, "work", "any", Duration::from_millis(250)).expect("sent");
    network.run();
    let id = network.received(handler).expect("delivered").id;
    network.pass(Duration::from_micros(249_999));
    assert_eq!(network.outcome(response), None);
    network.pass(Duration::from_micros(1));
    assert_eq!(network.settle(response), Err(RequestError::TimedOut(Duration::from_millis(250))));
    network.respond(handler, id, "late");
    assert_eq!(network.outcome(response), None);
    let next = network.request(sender, "work", "next");
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "in time");
    assert_eq!(network.settle(next), Ok("in time".into()));
}

#[test]
fn a_handler_that_goes_away_fails_what_it_had_not_answered_at_once() {
    for leave in [Network::close as fn(&mut Network, support::Client), Network::cut] {
        let mut network = Network::new();
        let [sender, handler] = network.connect(["sender", "handler"]);
        network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
        let responses = [network.request(sender, "work", "1"), network.request(sender, "work", "2")];
        leave(&mut network, handler);
        for response in responses {
            assert_eq!(network.refusal(response), ErrorReason::SESSION_CLOSED);
        }
        let next = network.request(sender, "work", "3");
        assert_eq!(network.refusal(next), ErrorReason::UNHANDLED_MESSAGE);
        assert_eq!((network.broker.session_count(), network.broker.outstanding_requests()), (1, 0));
        assert_eq!(network.abandoned(handler).len(), 2, "its handlers learn that nobody waits");
    }
}

#[test]
fn the_answer_for_a_sender_that_is_gone_is_dropped() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    let id = network.received(handler).expect("delivered").id;
    network.close(sender);
    assert_eq!(network.settle(response), Err(RequestError::SessionClosed { sent: true }));
    network.respond(handler, id, "too late");
    assert_eq!(network.broker.late_answers(), 1);
    assert_eq!(network.closed(handler), None);
}

#[test]
fn a_session_that_asks_without_end_is_told_where_the_limit_is() {
    let mut network = Network::with(BrokerConfig { max_outstanding_requests: 3, ..BrokerConfig::default() });
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let accepted: Vec<_> = (0..3).map(|_| network.request(sender, "work", "any")).collect();
    let further = network.request(sender, "work", "any");
    let error = network.settle(further).expect_err("refused");
    assert_eq!((&*error.code(), error.outcome()), ("CLUSTER_ROUTING", Outcome::Refused));
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "one");
    assert_eq!(network.settle(accepted[0]), Ok("one".into()));
    let next = network.request(sender, "work", "any");
    assert_eq!(network.outcome(next), None, "accepted again");
}

#[test]
fn requests_under_way_are_counted_at_the_path_that_is_registered() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "/orders/", &[], Behaviour::Keep).expect("registered");
    for path in ["orders/eu/17", "/orders/us", "orders"] {
        network.request(sender, path, "any");
    }
    let session = network.session(sender).expect("connected");
    network.freeze(sender);
    network.send_to_session(handler, session, "orders", "addressed");
    network.run();
    assert_eq!(network.broker.outstanding_requests(), 4);
    assert_eq!((network.broker.requests_at("orders"), network.broker.requests_at("orders/eu/17")), (3, 0));
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "done");
    assert_eq!(network.broker.requests_at("orders"), 2);
    network.cut(handler);
    assert_eq!(network.broker.requests_at("orders"), 0);
}

#[test]
fn a_service_that_is_not_there_is_answered_104_and_the_session_goes_on() {
    let mut network = Network::new();
    let [client] = network.connect(["client"]);
    let session = network.session(client).expect("connected");
    let request = SetSessionProperties { session, set: None, remove: None };
    network.inject(client, request_frame::<SetProperties>(ConversationId(91), &request, 0));
    let unknown = Message::ServiceRequest { service: 4711, conversation: ConversationId(92), body: b"anything" };
    network.inject(client, unknown.to_frame());
    for (frame, id) in network.frames(client).iter().rev().take(2).rev().zip([91, 92]) {
        match Message::decode(frame) {
            Ok(Message::ServiceError { conversation, failure }) => {
                assert_eq!((conversation.0, failure.reason), (id, ErrorReason::UNSUPPORTED));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(network.closed(client), None);
}

#[test]
fn a_malformed_message_ends_the_session_that_sent_it_and_no_other() {
    let value = text_value("x");
    let request = SendToPath { path: "work", request: value.as_wire() };
    let mut cut_short = request_frame::<MessagingSend>(ConversationId(1), &request, 0);
    cut_short.pop();
    let bad: [Vec<u8>; 8] = [
        vec![],
        vec![60],
        vec![28],
        vec![4, 0, 0, 0, 0],
        vec![0x80, 56, 1],
        vec![0, 56, 1, 0],
        cut_short,
        vec![0, 85, 1, 2, 0xc3, 0x28],
    ];
    for frame in bad {
        let mut network = Network::new();
        let [offender, neighbour] = network.connect(["offender", "neighbour"]);
        network.answer(neighbour, "work", "fine");
        network.inject(offender, frame.clone());
        let closed = network.closed(offender).unwrap_or_else(|| panic!("{frame:x?}"));
        assert_eq!(closed.code, CloseCode::ClosedByServer);
        let response = network.request(neighbour, "work", "any");
        assert_eq!(network.settle(response), Ok("fine".into()));
        assert_eq!(network.broker.session_count(), 1);
    }
}

#[test]
fn answers_to_what_nobody_asked_are_ignored() {
    let mut network = Network::new();
    let [client] = network.connect(["client"]);
    let value = text_value("x");
    network.inject(client, response_frame::<MessagingSend>(ConversationId(99), &value.as_wire()));
    network.inject(client, vec![6, 1]);
    assert_eq!(network.closed(client), None);
}

#[test]
fn sessions_are_pinged_on_time_whatever_the_traffic_and_ids_are_never_reused() {
    let mut network = Network::with(BrokerConfig { ping_period: Duration::from_secs(2), ..BrokerConfig::default() });
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.answer(handler, "work", "done");
    for _ in 0..20 {
        network.pass(Duration::from_millis(500));
        let response = network.request(sender, "work", "any");
        assert_eq!(network.settle(response), Ok("done".into()));
    }
    let mut ids = HashSet::new();
    let mut pings = 0;
    for frame in network.frames(handler).to_vec() {
        if let Ok(Message::ServiceRequest { service, conversation, body }) = Message::decode(&frame) {
            assert!(ids.insert(conversation), "{conversation:?} twice");
            if service == 55 {
                decode_all::<()>(body).expect("an empty body");
                pings += 1;
            }
        }
    }
    assert_eq!(pings, 5, "one each period of ten seconds");
    assert_eq!((network.closed(sender), network.closed(handler)), (None, None));
}

#[test]
fn a_client_from_which_nothing_comes_for_two_periods_is_gone() {
    let mut network = Network::with(BrokerConfig { ping_period: Duration::from_secs(2), ..BrokerConfig::default() });
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.answer(handler, "work", "done");
    network.freeze(handler);
    network.pass(Duration::from_secs(5));
    assert_eq!(network.broker.session_count(), 1);
    let response = network.request(sender, "work", "any");
    assert_eq!(network.refusal(response), ErrorReason::UNHANDLED_MESSAGE);
}

#[test]
fn a_client_that_hears_nothing_for_two_periods_and_a_second_gives_up() {
    let mut network = Network::with(BrokerConfig { ping_period: Duration::from_secs(2), ..BrokerConfig::default() });
    let [client] = network.connect(["client"]);
    network.freeze(client);
    network.pass(Duration::from_millis(4999));
    assert_eq!(network.closed(client), None);
    network.pass(Duration::from_millis(1));
    let response = network.closed(client).expect("closed");
    assert_eq!(response.code, CloseCode::IdleConnection);
}

#[test]
fn who_may_not_connect_is_told_why() {
    let mut network = Network::new();
    let mut refused = |config: ClientConfig, credentials| {
        let client = network.add(config, credentials);
        network.connect_error(client).expect("refused").code
    };
    let named = |name: &str| ClientConfig { principal: Some(name.into()), ..ClientConfig::default() };
    assert_eq!(refused(named("admin"), Credentials::Password("wrong".into())), ConnectCode::AccessDenied);
    assert_eq!(refused(named("admin"), Credentials::None), ConnectCode::AccessDenied);
    assert_eq!(refused(named("nobody"), Credentials::Password("password".into())), ConnectCode::AccessDenied);
    for protocol_version in [0, 15, 21, 30, 255] {
        let config = ClientConfig { protocol_version, ..ClientConfig::default() };
        assert_eq!(refused(config, Credentials::None), ConnectCode::ProtocolVersionMismatch, "{protocol_version}");
    }
    assert_eq!(network.broker.session_count(), 0);
}

#[test]
fn every_version_from_22_to_29_is_spoken_and_echoed() {
    let mut network = Network::new();
    for protocol_version in 22..=29 {
        let config = ClientConfig { protocol_version, ..ClientConfig::default() };
        let client = network.add(config, Credentials::None);
        assert_eq!(network.frames(client)[0][1], protocol_version);
    }
    assert_eq!(network.broker.session_count(), 8);
}
