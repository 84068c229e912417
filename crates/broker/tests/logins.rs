//! Clients of whom the broker has to be told who they are, and credentials that expire.

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_broker::core::identity::{Expiry, Identity, Verdict};
use antiphon_broker::core::proposals::Proposals;
use antiphon_protocol::client::{ClientConfig, CloseCode, ConnectCode, Response};
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;

use support::{Client, Network};

const SECOND: Duration = Duration::from_secs(1);

fn password(text: &str) -> Credentials {
    Credentials::Password(text.into())
}

fn ada() -> Verdict {
    Verdict::Accepted(Identity {
        principal: "ada".into(),
        roles: vec!["CLIENT".into()],
        properties: vec![("team".into(), "blue".into())],
        ..Identity::default()
    })
}

/// Ada for so many seconds.
fn ada_for(seconds: u64) -> Verdict {
    let Verdict::Accepted(identity) = ada() else { unreachable!() };
    let within = Duration::from_secs(seconds);
    Verdict::Accepted(Identity { expiry: Some(Expiry { within, at: 1_000 * seconds }), ..identity })
}

fn config() -> ClientConfig {
    ClientConfig {
        principal: Some("ada".into()),
        properties: vec![("team".into(), "red".into()), ("name".into(), "Ada".into())],
        reconnect_timeout: Duration::from_secs(60),
        features: Features::ALL,
        ..ClientConfig::default()
    }
}

/// A client that says it is ada, and waits.
fn arrive(network: &mut Network) -> Client {
    let client = network.add(config(), password("secret"));
    network.run();
    client
}

/// A client that is ada, by credentials that are good for so long.
fn connected_for(network: &mut Network, seconds: u64) -> Client {
    let client = arrive(network);
    network.tell_who(ada_for(seconds));
    assert!(network.session(client).is_some());
    client
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.into(), value.into())
}

// Rules I-2.

#[test]
fn a_client_waits_until_it_is_known_who_it_is() {
    let config =
        BrokerConfig { proposed_properties: Proposals::Only(["name".into()].into()), ..BrokerConfig::default() };
    let mut network = Network::of_strangers(config);
    let client = arrive(&mut network);
    assert_eq!((network.session(client), network.broker.session_count()), (None, 0));
    let (_, login) = network.asked[0].clone();
    assert_eq!((&*login.principal, login.credentials, &*login.client_ip), ("ada", password("secret"), "192.0.2.1"));
    network.tell_who(ada());
    assert!(network.session(client).is_some());
    let expected = [pair("$Principal", "ada"), pair("$Roles", "\"CLIENT\""), pair("name", "Ada"), pair("team", "blue")];
    assert_eq!(network.properties(client, &["$Principal", "$Roles", "*U", "$ExpiryTime"]), expected);
}

#[test]
fn who_is_refused_or_not_looked_at_is_told_so() {
    for (verdict, code, is_retryable) in
        [(Verdict::Refused, ConnectCode::AccessDenied, false), (Verdict::Busy, ConnectCode::ServerInitialising, true)]
    {
        let mut network = Network::of_strangers(BrokerConfig::default());
        let client = arrive(&mut network);
        network.tell_who(verdict);
        let error = network.connect_error(client).expect("refused");
        assert_eq!((error.code, error.is_retryable), (code, is_retryable));
        assert_eq!(network.broker.session_count(), 0);
    }
}

#[test]
fn who_has_gone_is_not_let_in_and_waits_for_nothing() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = arrive(&mut network);
    network.cut(client);
    network.tell_who(ada());
    assert_eq!(network.broker.session_count(), 0);
    let other = arrive(&mut network);
    network.inject(other, b"impatient".to_vec());
    network.asked.clear();
    network.pass(Duration::from_secs(11));
    assert!(network.connect_error(other).is_some(), "whoever speaks first is not let in");
}

#[test]
fn nobody_waits_longer_than_the_limit() {
    let mut network =
        Network::of_strangers(BrokerConfig { login_timeout: Duration::from_secs(3), ..BrokerConfig::default() });
    let client = arrive(&mut network);
    network.pass(2 * SECOND);
    assert_eq!(network.connect_error(client), None);
    network.pass(2 * SECOND);
    let error = network.connect_error(client).expect("refused");
    assert_eq!(error.code, ConnectCode::ServerInitialising);
    network.tell_who(ada());
    assert_eq!(network.broker.session_count(), 0, "too late");
}

#[test]
fn a_session_is_another_when_it_is_known_who() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = connected_for(&mut network, 1000);
    let pending = network.change_principal(client, "bob", "secret");
    assert_eq!(network.outcome(pending), None);
    assert_eq!(network.properties(client, &["$Principal"]), [pair("$Principal", "ada")], "until it is known");
    let second = network.change_principal(client, "eve", "secret");
    let refused = network.outcome(second).expect("one at a time").expect_err("refused");
    assert_eq!(refused.reason(), Some(ErrorReason::CLUSTER_ROUTING));
    network.tell_who(Verdict::Accepted(Identity { principal: "bob".into(), ..Identity::default() }));
    assert_eq!(network.outcome(pending), Some(Ok(Response::PrincipalChanged(true))));
    let expected = [pair("$Principal", "bob"), pair("$Roles", ""), pair("name", "Ada")];
    assert_eq!(network.properties(client, &["$Principal", "$Roles", "$ExpiryTime", "*U"]), expected);
    for (verdict, expected) in [(Verdict::Refused, Some(false)), (Verdict::Busy, None)] {
        let pending = network.change_principal(client, "ada", "wrong");
        network.tell_who(verdict);
        match (network.outcome(pending).expect("answered"), expected) {
            (Ok(Response::PrincipalChanged(changed)), Some(expected)) => assert_eq!(changed, expected),
            (Err(error), None) => assert_eq!(error.reason(), Some(ErrorReason::CLUSTER_ROUTING)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_has_lost_what_it_asked_is_not_made_another() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = connected_for(&mut network, 1000);
    network.change_principal(client, "bob", "secret");
    network.close(client);
    network.tell_who(ada());
    assert_eq!(network.broker.session_count(), 0);
}

// Rules I-5, I-6.

#[test]
fn a_session_ends_when_its_credentials_expire() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = connected_for(&mut network, 20);
    assert_eq!(network.properties(client, &["$ExpiryTime"]), [pair("$ExpiryTime", "20000")]);
    network.pass(19 * SECOND);
    assert_eq!(network.wanted_credentials(client), 3, "after 16, 18 and 19 seconds");
    assert!(network.closed(client).is_none());
    network.pass(2 * SECOND);
    assert_eq!(network.closed(client).map(|closed| closed.code), Some(CloseCode::ClosedByServer));
    assert_eq!(network.broker.session_count(), 0);
}

#[test]
fn a_session_lives_on_with_fresh_credentials() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = connected_for(&mut network, 20);
    let id = network.session(client);
    network.pass(17 * SECOND);
    assert_eq!(network.wanted_credentials(client), 1);
    let pending = network.change_principal(client, "ada", "fresh");
    network.tell_who(ada_for(40));
    assert_eq!(network.outcome(pending), Some(Ok(Response::PrincipalChanged(true))));
    assert_eq!(network.properties(client, &["$ExpiryTime"]), [pair("$ExpiryTime", "40000")]);
    network.pass(30 * SECOND);
    assert_eq!((network.session(client), network.wanted_credentials(client)), (id, 0));
    let pending = network.change_principal(client, "ada", "for ever");
    network.tell_who(ada());
    assert_eq!(network.outcome(pending), Some(Ok(Response::PrincipalChanged(true))));
    network.pass(1000 * SECOND);
    assert!(network.closed(client).is_none());
}

#[test]
fn a_session_without_a_connection_ends_as_well() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = connected_for(&mut network, 10);
    network.set_reachable(false);
    network.cut(client);
    network.pass(9 * SECOND);
    assert_eq!(network.broker.session_count(), 1);
    network.pass(2 * SECOND);
    assert_eq!(network.broker.session_count(), 0);
}

#[test]
fn only_a_client_that_knows_the_question_is_asked() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = network.add(ClientConfig { features: Features::NONE, ..config() }, password("secret"));
    network.run();
    network.tell_who(ada_for(10));
    let before = network.frames(client).len();
    network.pass(Duration::from_millis(9900));
    assert_eq!(network.frames(client).len(), before);
    network.pass(SECOND);
    assert!(network.closed(client).is_some());
}

#[test]
fn a_broker_that_stops_lets_nobody_in() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let client = arrive(&mut network);
    network.broker.stop(network.now, Duration::ZERO);
    network.run();
    network.tell_who(ada());
    assert_eq!((network.session(client), network.broker.session_count()), (None, 0));
}
