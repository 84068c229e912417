//! What is refused by name before it takes memory: requests beyond their bytes, and everything new when memory is scarce.

mod support;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, Outcome};
use antiphon_protocol::wire::handshake::Credentials;
use support::{Behaviour, Network, Pending};

/// Asserts that a request was refused, and nobody asked.
fn assert_refused(network: &mut Network, pending: Pending) {
    let error = network.settle(pending).expect_err("refused");
    assert_eq!((&*error.code(), error.outcome()), ("CLUSTER_ROUTING", Outcome::Refused));
}

/// L-8, and V24: of a request to many sessions, all deliveries count.
#[test]
fn a_session_whose_requests_have_many_bytes_is_told_where_the_limit_is() {
    let mut network = Network::with(BrokerConfig { max_outstanding_bytes: 10_000, ..BrokerConfig::default() });
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let large = "a".repeat(30_000);
    let first = network.request(sender, "work", &large);
    assert_eq!(network.outcome(first), None, "a single one may have more");
    for text in ["a", &large] {
        let further = network.request(sender, "work", text);
        assert_refused(&mut network, further);
    }
    let session = network.session(handler).expect("connected");
    let further = network.send_to_session(sender, session, "work", "a");
    assert_refused(&mut network, further);
    let further = network.send_to_filter(sender, "all", "work", "a");
    assert_refused(&mut network, further);
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "one");
    assert_eq!(network.settle(first), Ok("one".into()));
    let next = network.request(sender, "work", "a");
    assert_eq!(network.outcome(next), None, "accepted again");

    let mut network = Network::with(BrokerConfig { max_outstanding_bytes: 10_000, ..BrokerConfig::default() });
    let sessions = network.connect(["a", "b", "c", "d"]);
    for session in sessions {
        network.stream(session, "work", Behaviour::Keep);
    }
    let first = network.send_to_filter(sessions[0], "all", "work", &"a".repeat(2000));
    let second = network.send_to_filter(sessions[0], "all", "work", &"a".repeat(2000));
    assert_refused(&mut network, second);
    assert!(network.outcome(first).is_some_and(|count| count.is_ok()), "it was delivered");
}

/// L-8.
#[test]
fn when_memory_is_scarce_nothing_new_begins_and_what_there_is_goes_on() {
    let mut network = Network::new();
    let [sender, handler, late] = network.connect_for_long(["sender", "handler", "late"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let under_way = network.request(sender, "work", "any");
    network.broker.set_memory_scarce(true);

    let refused = network.request(sender, "work", "any");
    assert_refused(&mut network, refused);
    let refused = network.send_to_filter(sender, "all", "work", "any");
    assert_refused(&mut network, refused);
    let error = network.register(late, "other", &[], Behaviour::Echo).expect_err("refused");
    assert_eq!(&*error.code(), "CLUSTER_ROUTING");
    let stranger = network.add(ClientConfig::default(), Credentials::None);
    let code = network.connect_error(stranger).map(|error| error.code.as_str());
    assert_eq!(code, Some("LICENSE_EXCEEDED"));

    network.cut(handler);
    network.pass(support::RETRY_DELAY);
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "done");
    assert_eq!(network.settle(under_way), Ok("done".into()), "of a session that has come back meanwhile");

    network.broker.set_memory_scarce(false);
    network.connect(["stranger"]);
    network.register(late, "other", &[], Behaviour::Echo).expect("registered");
    let response = network.request(sender, "other", "hello");
    assert_eq!(network.settle(response), Ok("hello".into()));
}
