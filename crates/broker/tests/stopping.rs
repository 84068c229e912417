//! A broker that is told to stop: what is under way ends, nothing begins, and clients are not told that it is over.

mod support;

use std::time::Duration;

use antiphon_protocol::client::{ClientConfig, CloseCode, Event, Outcome};
use antiphon_protocol::wire::handshake::Credentials;
use support::{Behaviour, Client, Network};

const GRACE: Duration = Duration::from_secs(5);

/// A network in which `sender` has asked `handler`, and the broker is told to stop.
fn stopping(connect: fn(&mut Network, [&str; 2]) -> [Client; 2]) -> (Network, [Client; 2], support::Pending) {
    let mut network = Network::new();
    let [sender, handler] = connect(&mut network, ["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    let now = network.now;
    network.broker.stop(now, GRACE);
    network.run();
    (network, [sender, handler], response)
}

fn is_connected(network: &Network, client: Client) -> bool {
    network.session(client).is_some() && network.closed(client).is_none()
}

/// S-14.
#[test]
fn what_is_under_way_is_answered_before_every_connection_is_closed() {
    let (mut network, clients, response) = stopping(Network::connect);
    network.pass(GRACE - Duration::from_millis(1));
    assert!(clients.iter().all(|client| is_connected(&network, *client)));
    let id = network.received(clients[1]).expect("delivered").id;
    network.respond(clients[1], id, "at last");
    assert_eq!(network.settle(response), Ok("at last".into()));
    for client in clients {
        // These do not reconnect; those that do look for a successor.
        assert_eq!(network.closed(client).expect("closed").code, CloseCode::ConnectionError);
    }
    assert_eq!((network.broker.session_count(), network.broker.open_conversations()), (0, 0));
}

/// S-14.
#[test]
fn what_is_not_answered_in_time_fails_with_the_connection() {
    let (mut network, clients, response) = stopping(Network::connect);
    network.pass(GRACE);
    let error = network.settle(response).expect_err("not answered");
    assert_eq!((&*error.code(), error.outcome()), ("CONNECTION_LOST", Outcome::Unknown));
    assert!(clients.iter().all(|client| network.closed(*client).is_some()));
    assert_eq!((network.broker.session_count(), network.broker.open_conversations()), (0, 0));
}

/// S-14.
#[test]
fn a_broker_that_nobody_waits_for_closes_all_connections_at_once() {
    let mut network = Network::new();
    let clients = network.connect(["a", "b", "c"]);
    network.answer(clients[0], "work", "done");
    let now = network.now;
    network.broker.stop(now, GRACE);
    network.run();
    assert!(clients.iter().all(|client| network.closed(*client).is_some()));
}

/// S-14.
#[test]
fn nothing_begins_any_more() {
    let (mut network, [sender, handler], _) = stopping(Network::connect);
    let late = network.add(ClientConfig::default(), Credentials::None);
    let error = network.connect_error(late).expect("not let in");
    assert!(error.code.is_retryable(), "{:?}", error.code);
    let to_path = network.request(sender, "work", "again");
    let session = network.session(handler).expect("connected");
    let to_session = network.send_to_session(sender, session, "work", "again");
    network.run();
    for response in [to_path, to_session] {
        let error = network.settle(response).expect_err("refused");
        assert_eq!((&*error.code(), error.outcome()), ("CLUSTER_ROUTING", Outcome::Refused));
    }
    // What asks nothing of anybody goes on.
    network.answer(handler, "other", "registered");
}

/// S-14.
#[test]
fn a_session_that_can_only_come_back_to_a_successor_keeps_nobody_waiting() {
    let (mut network, [sender, handler], response) = stopping(Network::connect_for_long);
    network.cut(handler);
    network.run();
    let error = network.settle(response).expect_err("not answered");
    assert_eq!((&*error.code(), error.outcome()), ("SESSION_CLOSED", Outcome::Unknown));
    for client in [sender, handler] {
        assert!(network.events(client).iter().any(|event| matches!(event, Event::Disconnected(_))));
        assert_eq!(network.closed(client), None, "it is recovering");
    }

    let mut network = Network::new();
    let [sender, handler] = network.connect_for_long(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    network.set_reachable(false);
    network.cut(handler);
    let response = network.request(sender, "work", "any");
    let now = network.now;
    network.broker.stop(now, GRACE);
    network.run();
    assert_eq!(network.settle(response).expect_err("not answered").code(), "CLUSTER_ROUTING");
}
