//! Connections break, sessions do not (section 10, rules 1.4).

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, CloseCode, Event, Outcome, Response};
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use support::{Behaviour, Client, Network, Pending, RETRY_DELAY};

/// Whether the client was told that it has its session again, and nothing was lost.
fn is_lossless(network: &mut Network, client: Client) -> bool {
    let events = network.events(client);
    assert!(matches!(events[..], [Event::Disconnected(_), Event::Reconnected { .. }]), "{events:?}");
    matches!(events[1], Event::Reconnected { lossless: true, new_session: false, .. })
}

fn failure(network: &mut Network, pending: Pending) -> (String, Outcome) {
    let error = network.settle(pending).expect_err("an error");
    (error.code().into_owned(), error.outcome())
}

fn failed(code: &str, outcome: Outcome) -> (String, Outcome) {
    (code.to_owned(), outcome)
}

/// What becomes of a request that is sent while there is no connection.
fn try_now(network: &mut Network, client: Client) -> (String, Outcome) {
    let error = network.try_send(client, "echo", "x", Duration::from_secs(1)).expect_err("not connected");
    (error.code().into_owned(), error.outcome())
}

#[test]
fn s_6_a_cut_loses_nothing_requests_under_way_are_answered_and_handlers_stay() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "work", &[], Behaviour::Keep).expect("registered");
    let id = network.session(asker);
    let first = network.request(asker, "work", "first");
    let request = network.received(answerer).expect("delivered");
    network.cut(asker);
    network.cut(answerer);
    network.respond(answerer, request.id, "while nobody is connected");
    network.pass(RETRY_DELAY);
    assert_eq!(network.settle(first), Ok("while nobody is connected".into()));
    assert!(is_lossless(&mut network, asker) && is_lossless(&mut network, answerer));
    assert_eq!(network.session(asker), id);
    let second = network.request(asker, "work", "second");
    let request = network.received(answerer).expect("delivered");
    network.respond(answerer, request.id, "as before");
    assert_eq!(network.settle(second), Ok("as before".into()));
}

#[test]
fn r3_a_cut_at_any_message_changes_nothing_but_the_time() {
    let talk = |cut_after: usize, who: usize| {
        let mut network = Network::new();
        let clients = network.connect_for_long(["asker", "answerer", "other"]);
        let [asker, answerer, other] = clients;
        network.register(answerer, "echo", &["name"], Behaviour::Echo).expect("registered");
        network.stream(other, "stream", Behaviour::Text("from other".into()));
        network.stream(answerer, "stream", Behaviour::Text("from answerer".into()));
        let sent: Vec<_> = (0..4).map(|number| network.send(asker, "echo", &number.to_string())).collect();
        let filter = network.send_to_filter(asker, "has name", "stream", "x");
        let mut carried = 0;
        while network.step() {
            carried += 1;
            if carried == cut_after {
                network.cut(clients[who]);
            }
        }
        network.pass(Duration::from_secs(1));
        let answers: Vec<_> = sent.into_iter().map(|pending| network.settle(pending)).collect();
        let count = network.outcome(filter);
        let responses = network.filter_responses(asker);
        let mut responses: Vec<_> =
            responses.into_iter().map(|response| (response.session, response.outcome)).collect();
        responses.sort_by_key(|(session, _)| *session);
        assert_eq!(network.broker.outstanding_requests(), 0);
        (carried, answers, count, responses)
    };
    let (messages, answers, count, responses) = talk(usize::MAX, 0);
    assert!(messages > 20 && responses.len() == 3, "{messages} {responses:?}");
    for cut_after in 1..=messages {
        for who in 0..3 {
            let (_, cut_answers, cut_count, cut_responses) = talk(cut_after, who);
            // A session without a connection is not asked by a filter (M-9), so a cut before that leaves it out.
            assert!(cut_responses.iter().all(|response| responses.contains(response)), "cut {who} after {cut_after}");
            assert_eq!(cut_answers, answers, "cut {who} after {cut_after}");
            assert!(cut_count == count || cut_responses.len() < responses.len(), "cut {who} after {cut_after}");
        }
    }
}

/// A connection that held for so long counts as a good one.
const OF_USE: Duration = Duration::from_secs(5);

#[test]
fn r4_fifty_cuts_in_one_session_are_all_recovered() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    let id = network.session(asker);
    for round in 0..50 {
        let who = if round % 2 == 0 { asker } else { answerer };
        // A connection that is lost at once makes the client wait longer each time (rules S-12).
        network.pass(OF_USE);
        let pending = network.send(asker, "echo", &round.to_string());
        network.cut(who);
        network.pass(RETRY_DELAY);
        assert_eq!(network.settle(pending), Ok(round.to_string()));
        assert!(is_lossless(&mut network, who));
    }
    assert_eq!(network.session(asker), id);
}

#[test]
fn s_7_a_gap_that_cannot_be_bridged_fails_what_was_asked_and_registers_handlers_again() {
    let recovery = RecoveryLimits { messages: 4, bytes: 1 << 20 };
    let mut network = Network::with(BrokerConfig { recovery, ..BrokerConfig::default() });
    let [asker, answerer, other] = network.connect_for_long(["asker", "answerer", "other"]);
    network.register(answerer, "kept", &[], Behaviour::Keep).expect("registered");
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    network.register_once(answerer, "once", Behaviour::Echo);
    network.register(other, "silent", &[], Behaviour::Keep).expect("registered");
    let arrived = network.request(asker, "kept", "arrives, and is never answered");
    let of_answerer = network.request(answerer, "silent", "nobody will answer this either");
    network.freeze(answerer);
    // More than is kept goes to the handler, and nothing arrives.
    let lost: Vec<_> = (0..6).map(|_| network.request(asker, "kept", "lost")).collect();
    network.thaw_and_cut(answerer);
    let waiting = network.send_or_wait(answerer, "echo", "waits for a connection", Duration::from_secs(10));
    network.pass(RETRY_DELAY);

    let events = network.events(answerer);
    assert!(
        matches!(
            events[..],
            [
                Event::Disconnected(_),
                Event::HandlerLost(_),
                Event::MessagesLost { requests: 1, handlers: 2 },
                Event::Reconnected { lossless: false, new_session: false, .. }
            ]
        ),
        "{events:?}"
    );
    assert_eq!(network.abandoned(answerer).len(), 1);
    for pending in lost.into_iter().chain([arrived]) {
        assert_eq!(failure(&mut network, pending), failed("SESSION_CLOSED", Outcome::Unknown));
    }
    assert_eq!(failure(&mut network, of_answerer), failed("CONNECTION_LOST", Outcome::Unknown));
    assert_eq!(network.settle(waiting), Ok("waits for a connection".into()));
    let again = network.request(asker, "echo", "again");
    assert_eq!(network.settle(again), Ok("again".into()));
    let once = network.request(asker, "once", "gone");
    assert_eq!(network.refusal(once), ErrorReason::UNHANDLED_MESSAGE);
}

#[test]
fn a_broker_that_has_forgotten_the_session_gets_a_new_one() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    let before = network.session(asker);
    network.freeze(answerer);
    let outstanding = network.request(asker, "echo", "nobody knows");
    network.thaw(answerer);
    network.replace_broker(BrokerConfig::default());
    assert_eq!(try_now(&mut network, asker), failed("NOT_CONNECTED", Outcome::NotSent));
    network.pass(RETRY_DELAY);
    assert_eq!(failure(&mut network, outstanding), failed("CONNECTION_LOST", Outcome::Unknown));
    assert_ne!(network.session(asker), before);
    let events = network.events(asker);
    assert!(
        matches!(
            events[..],
            [
                Event::Disconnected(_),
                Event::MessagesLost { requests: 1, handlers: 0 },
                Event::Reconnected { lossless: false, new_session: true, .. }
            ]
        ),
        "{events:?}"
    );
    let again = network.request(asker, "echo", "again");
    assert_eq!(network.settle(again), Ok("again".into()));
}

#[test]
fn s_8_without_a_connection_requests_fail_at_once_or_wait_with_a_deadline() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    network.set_reachable(false);
    network.cut(asker);
    assert_eq!(try_now(&mut network, asker), failed("NOT_CONNECTED", Outcome::NotSent));
    let impatient = network.send_or_wait(asker, "echo", "in vain", Duration::from_secs(5));
    let patient = network.send_or_wait(asker, "echo", "at last", Duration::from_secs(30));
    network.pass(Duration::from_secs(5));
    assert_eq!(failure(&mut network, impatient), failed("TIMED_OUT", Outcome::NotSent));
    network.set_reachable(true);
    network.pass(Duration::from_secs(10));
    assert_eq!(network.settle(patient), Ok("at last".into()));
}

#[test]
fn a_session_without_a_connection_for_too_long_is_over_and_everybody_is_told() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "kept", &[], Behaviour::Keep).expect("registered");
    let outstanding = network.request(asker, "kept", "x");
    network.set_reachable(false);
    network.cut(asker);
    let waiting = network.send_or_wait(asker, "kept", "x", Duration::from_secs(100));
    network.pass(Duration::from_secs(60));
    assert_eq!(network.closed(asker).map(|closed| closed.code), Some(CloseCode::ConnectionTimeout));
    assert_eq!(failure(&mut network, outstanding), failed("CONNECTION_LOST", Outcome::Unknown));
    assert_eq!(failure(&mut network, waiting), failed("SESSION_CLOSED", Outcome::NotSent));
    assert_eq!((network.broker.session_count(), network.broker.outstanding_requests()), (1, 0));
}

#[test]
fn r6_the_broker_keeps_a_session_for_the_time_agreed_and_not_longer() {
    for (late, comes_back) in [(0, true), (1, false)] {
        let config = BrokerConfig { reconnect_timeout: Duration::from_secs(5), ..BrokerConfig::default() };
        let mut network = Network::with(config);
        let [client] = network.connect_for_long(["client"]);
        let before = network.session(client);
        network.set_reachable(false);
        network.cut(client);
        network.pass(Duration::from_micros(4_999_999 + late));
        network.set_reachable(true);
        network.act_now(client);
        network.pass(Duration::from_secs(10));
        assert_eq!(network.session(client) == before, comes_back && late == 0, "{late} us later");
        assert_eq!(network.broker.session_count(), 1);
    }
}

#[test]
fn r7_a_link_that_is_half_open_is_noticed_by_both_ends_and_replaced() {
    let config = BrokerConfig { ping_period: Duration::from_secs(2), ..BrokerConfig::default() };
    let mut network = Network::with(config);
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    network.freeze(asker);
    let pending = network.send(asker, "echo", "through the ice");
    network.pass(Duration::from_secs(6));
    assert_eq!(network.settle(pending), Ok("through the ice".into()));
    assert!(is_lossless(&mut network, asker));
}

#[test]
fn a_connection_that_looks_open_loses_against_a_newer_one_with_the_token() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    network.register(answerer, "echo", &[], Behaviour::Echo).expect("registered");
    // The broker does not notice; the client comes back at once.
    network.cut_for_client(asker);
    network.pass(RETRY_DELAY);
    assert!(is_lossless(&mut network, asker));
    assert_eq!(network.broker.session_count(), 2);
    let pending = network.request(asker, "echo", "on the new one");
    assert_eq!(network.settle(pending), Ok("on the new one".into()));
}

#[test]
fn s_10_a_connected_handler_is_preferred_and_a_lost_one_gets_its_requests_when_it_is_back() {
    let mut network = Network::new();
    let [asker, first, second] = network.connect_for_long(["asker", "first", "second"]);
    network.answer(first, "work", "first");
    network.answer(second, "work", "second");
    network.set_reachable(false);
    network.cut(first);
    for _ in 0..20 {
        let pending = network.request(asker, "work", "any");
        assert_eq!(network.settle(pending), Ok("second".into()));
    }
    network.cut(second);
    let pending = network.request(asker, "work", "any");
    network.set_reachable(true);
    network.pass(Duration::from_secs(1));
    assert!(network.settle(pending).is_ok());
}

#[test]
fn m_21_a_lost_handler_with_room_is_asked_before_nobody_is() {
    let config = BrokerConfig { max_requests_to_answer: 1, ..BrokerConfig::default() };
    let mut network = Network::with(config);
    let [asker, full, lost] = network.connect_for_long(["asker", "full", "lost"]);
    network.register(full, "work", &[], Behaviour::Keep).expect("registered");
    network.request(asker, "work", "any");
    network.answer(lost, "work", "back again");
    network.set_reachable(false);
    network.cut(lost);
    let pending = network.request(asker, "work", "any");
    let refused = network.request(asker, "work", "any");
    assert_eq!(network.refusal(refused), ErrorReason::CLUSTER_ROUTING);
    network.set_reachable(true);
    network.pass(Duration::from_secs(1));
    assert_eq!(network.settle(pending), Ok("back again".into()));
}

#[test]
fn closing_while_there_is_no_connection_works_and_the_broker_lets_go_in_time() {
    let mut network = Network::new();
    let [client] = network.connect_for_long(["client"]);
    network.set_reachable(false);
    network.cut(client);
    network.close(client);
    assert_eq!(network.closed(client).map(|closed| closed.code), Some(CloseCode::ClosedByClient));
    network.pass(Duration::from_secs(60));
    assert_eq!(network.broker.session_count(), 0);
}

#[test]
fn without_reconnection_a_session_ends_with_its_connection() {
    let mut network = Network::new();
    let [client] = network.connect(["client"]);
    network.cut(client);
    assert_eq!(network.closed(client).map(|closed| closed.code), Some(CloseCode::ConnectionError));
    assert_eq!(network.broker.session_count(), 0);

    let mut network = Network::with(BrokerConfig { reconnect_timeout: Duration::ZERO, ..BrokerConfig::default() });
    let [client] = network.connect_for_long(["client"]);
    let before = network.session(client);
    network.cut(client);
    assert_eq!(network.broker.session_count(), 0, "this broker does not keep sessions");
    network.pass(RETRY_DELAY);
    assert_ne!(network.session(client), before);
}

#[test]
fn who_may_not_come_back_is_told_why() {
    let mut network = Network::new();
    let (principal, reconnect_timeout) = (Some("admin".into()), Duration::from_secs(60));
    let config = ClientConfig { principal, reconnect_timeout, ..ClientConfig::default() };
    let client = network.add(config, Credentials::Password("password".into()));
    assert!(network.session(client).is_some());
    network.forget_credentials(client);
    network.replace_broker(BrokerConfig::default());
    network.pass(RETRY_DELAY);
    assert_eq!(network.closed(client).map(|closed| closed.code), Some(CloseCode::AccessDenied));
}

#[test]
fn sessions_without_a_connection_make_room_for_others() {
    let mut network = Network::with(BrokerConfig { max_sessions: 2, ..BrokerConfig::default() });
    let [first, second] = network.connect_for_long(["first", "second"]);
    network.set_reachable(false);
    network.cut(second);
    network.set_reachable(true);
    // But not for one that is refused all the same.
    let properties = vec![("key".to_owned(), "x".repeat(200_000))];
    let refused = network.add(ClientConfig { properties, ..ClientConfig::default() }, Credentials::None);
    assert_eq!((network.session(refused), network.broker.session_count()), (None, 2));
    let third = network.add(ClientConfig::default(), Credentials::None);
    assert!(network.session(third).is_some() && network.session(first).is_some());
    assert_eq!(network.broker.session_count(), 2);
    let fourth = network.add(ClientConfig::default(), Credentials::None);
    assert_eq!(network.connect_error(fourth).map(|error| error.code.as_str()), Some("LICENSE_EXCEEDED"));
}

#[test]
fn a_session_that_slept_too_long_tries_once_more_when_it_wakes() {
    let mut network = Network::new();
    let [client] = network.connect_for_long(["client"]);
    network.set_reachable(false);
    network.cut(client);
    network.set_reachable(true);
    network.sleep(Duration::from_secs(3600));
    assert_eq!(network.closed(client), None);
    let events = network.events(client);
    assert!(matches!(events.last(), Some(Event::Reconnected { new_session: true, .. })), "{events:?}");
}

#[test]
fn closing_a_registration_again_takes_nothing_from_the_next_one_at_its_path() {
    let mut network = Network::new();
    let [asker, answerer] = network.connect_for_long(["asker", "answerer"]);
    let first = network.answer(answerer, "work", "first");
    network.freeze(answerer);
    let closings =
        [(); 2].map(|()| network.call(answerer, |core, now, call| core.deregister_handler(now, call, first)));
    network.thaw(answerer);
    network.answer(answerer, "work", "second");
    for closing in closings {
        assert_eq!(network.outcome(closing), Some(Ok(Response::Deregistered)));
    }
    let pending = network.request(asker, "work", "any");
    assert_eq!(network.settle(pending), Ok("second".into()));
}
