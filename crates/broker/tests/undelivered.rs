//! Requests that waited for the connection of their recipient in vain: nobody knows of them, so they are refused.

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::Outcome;
use antiphon_protocol::recovery::RecoveryLimits;
use support::{Behaviour, Network, Pending, text_of};

/// The code and the outcome of the error that a request came to.
fn failure(network: &mut Network, pending: Pending) -> (String, Outcome) {
    let error = network.settle(pending).expect_err("it failed");
    (error.code().into_owned(), error.outcome())
}

fn failed(code: &str, outcome: Outcome) -> (String, Outcome) {
    (code.to_owned(), outcome)
}

#[test]
fn s_10_what_was_never_delivered_is_refused_and_what_was_may_have_been_handled() {
    let config = BrokerConfig { request_timeout: Duration::from_secs(5), ..BrokerConfig::default() };
    let refused = || failed("CLUSTER_ROUTING", Outcome::Refused);
    // The session is over; the broker stops.
    let ends: [fn(&mut Network); 2] = [
        |network| network.broker.handle_timeout(network.now + Duration::from_secs(60)),
        |network| network.broker.stop(network.now, Duration::from_secs(5)),
    ];
    for end in ends {
        let request_timeout = Duration::from_secs(100);
        let mut network = Network::with(BrokerConfig { request_timeout, ..config.clone() });
        let [asker] = network.connect(["asker"]);
        let [away] = network.connect_for_long(["away"]);
        network.register(away, "work", &[], Behaviour::Keep).expect("registered");
        let delivered = network.request(asker, "work", "any");
        network.set_reachable(false);
        network.cut(away);
        let waiting = network.request(asker, "work", "any");
        end(&mut network);
        assert_eq!(failure(&mut network, delivered), failed("SESSION_CLOSED", Outcome::Unknown));
        assert_eq!(failure(&mut network, waiting), refused());
    }
    // It comes back, and the messages that waited for it are lost.
    let recovery = RecoveryLimits { messages: 4, bytes: 100 };
    let mut network = Network::with(BrokerConfig { recovery, ..config });
    let [asker, away] = network.connect_for_long(["asker", "away"]);
    network.register(away, "work", &[], Behaviour::Keep).expect("registered");
    let delivered = network.request(asker, "work", "any");
    network.set_reachable(false);
    network.cut(away);
    let waiting = network.request(asker, "work", &"long".repeat(100));
    network.set_reachable(true);
    network.pass(Duration::from_secs(1));
    assert_eq!(failure(&mut network, delivered), failed("SESSION_CLOSED", Outcome::Unknown));
    assert_eq!(failure(&mut network, waiting), refused());
    assert!(network.received(away).is_some() && network.received(away).is_none());
}

#[test]
fn s_10_what_waits_for_a_connection_until_the_time_is_over_is_not_delivered() {
    let mut network =
        Network::with(BrokerConfig { request_timeout: Duration::from_secs(5), ..BrokerConfig::default() });
    let [asker, away] = network.connect_for_long(["asker", "away"]);
    network.register(away, "work", &[], Behaviour::Keep).expect("registered");
    network.set_reachable(false);
    network.cut(away);
    let waiting = network.request(asker, "work", "any");
    network.pass(Duration::from_secs(5));
    assert_eq!(failure(&mut network, waiting), failed("REQUEST_TIME_OUT", Outcome::Unknown));
    network.set_reachable(true);
    network.pass(Duration::from_secs(5));
    assert!(network.received(away).is_none());
    assert_eq!(network.request(asker, "work", "another").0, asker);
    assert_eq!(network.received(away).map(|request| text_of(&request.request)), Some("another".into()));
}
