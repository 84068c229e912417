//! The end of a session as the client sees it: everything settles, once, and truthfully.

mod support;

use std::time::Duration;

use antiphon_protocol::client::{
    ClientConfig, CloseCode, ConnectCode, HandlerId, HandlerSettings, Outcome, RequestError, State,
};
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::Credentials;
use support::{Behaviour, Network, text_value};

#[test]
fn closing_settles_everything_and_is_confirmed_by_the_broker() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    network.close(sender);
    assert_eq!(network.settle(response), Err(RequestError::SessionClosed { sent: true }));
    assert_eq!(network.closed(sender).expect("closed").code, CloseCode::ClosedByClient);
    assert!(network.frames(sender).iter().any(|frame| Message::decode(frame) == Ok(Message::Abort)));
    assert_eq!(network.broker.session_count(), 1);
}

#[test]
fn a_client_that_gets_no_goodbye_closes_after_a_second() {
    let mut network = Network::new();
    let [client] = network.connect(["client"]);
    network.freeze(client);
    network.close(client);
    assert_eq!(network.closed(client), None);
    network.pass(Duration::from_millis(999));
    assert_eq!(network.closed(client), None);
    network.pass(Duration::from_millis(1));
    assert_eq!(network.closed(client).expect("closed").code, CloseCode::ClosedByClient);
}

#[test]
fn nothing_can_be_sent_on_a_closed_session_and_the_error_says_so() {
    let mut network = Network::new();
    let [client] = network.connect(["client"]);
    network.close(client);
    let error = network.try_send(client, "work", "any", Duration::from_secs(1)).expect_err("closed");
    assert_eq!((&*error.code(), error.outcome()), ("SESSION_CLOSED", Outcome::NotSent));
    let error = network.register(client, "work", &[], Behaviour::Echo).expect_err("closed");
    assert_eq!(error.outcome(), Outcome::NotSent);
    network.close(client);
    network.act(client, |core| assert_eq!(core.state(), State::Closed));
}

#[test]
fn a_lost_connection_fails_what_is_outstanding_with_an_unknown_outcome() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let responses: Vec<_> = (0..3).map(|_| network.request(sender, "work", "any")).collect();
    network.cut(sender);
    for response in responses {
        let error = network.settle(response).expect_err("lost");
        assert_eq!((&*error.code(), error.outcome()), ("CONNECTION_LOST", Outcome::Unknown));
    }
    assert_eq!(network.closed(sender).expect("closed").code, CloseCode::ConnectionError);
}

#[test]
fn a_message_larger_than_the_broker_takes_is_not_sent() {
    let config = antiphon_broker::core::BrokerConfig { max_message_size: 2048, ..Default::default() };
    let mut network = Network::with(config);
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let error = network.try_send(sender, "work", &"x".repeat(3000), Duration::from_secs(1)).expect_err("too large");
    assert_eq!((&*error.code(), error.outcome()), ("MESSAGE_TOO_LARGE", Outcome::NotSent));
    // An answer of that size becomes an error for the one who waits for it.
    let response = network.request(sender, "work", "small");
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, &"x".repeat(3000));
    let error = network.settle(response).expect_err("refused");
    assert_eq!((&*error.code(), error.outcome()), ("CALLBACK_EXCEPTION", Outcome::Failed));
}

#[test]
fn an_abandoned_request_is_forgotten_and_its_answer_ignored() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(sender, "work", "any");
    network.act(sender, |core| core.abandon(response.1));
    let id = network.received(handler).expect("delivered").id;
    network.respond(handler, id, "late");
    network.pass(Duration::from_secs(2000));
    assert_eq!(network.outcome(response), None);
}

#[test]
fn a_registration_that_is_accepted_too_late_is_taken_back() {
    let mut network = Network::new();
    let [sender, handler] = network.connect(["sender", "handler"]);
    network.freeze(handler);
    let pending = network.call(handler, |core, now, call| {
        core.register_handler(now, call, HandlerId(0), "work", HandlerSettings::default())
    });
    network.pass(Duration::from_secs(30));
    assert!(matches!(network.outcome(pending), Some(Err(RequestError::TimedOut(_)))));
    network.thaw(handler);
    network.run();
    let response = network.request(sender, "work", "any");
    let error = network.settle(response).expect_err("nobody there");
    assert_eq!(error.code(), "UNHANDLED_MESSAGE");
}

#[test]
fn no_session_within_the_time_allowed_is_an_error_that_can_be_retried() {
    let mut network = Network::new();
    network.freeze_new();
    let config = ClientConfig { connect_timeout: Duration::from_secs(3), ..ClientConfig::default() };
    let client = network.add(config, Credentials::None);
    network.pass(Duration::from_millis(2999));
    assert_eq!(network.connect_error(client), None);
    network.pass(Duration::from_millis(1));
    let error = network.connect_error(client).expect("failed");
    assert_eq!(error.code, ConnectCode::ConnectionTimeout);
    assert!(error.is_retryable);
}

#[test]
fn a_server_that_answers_nonsense_is_not_a_server() {
    let mut network = Network::new();
    for (response, code) in [
        (vec![], ConnectCode::HandshakeError),
        (vec![b'#', 25, 99], ConnectCode::HandshakeError),
        (vec![b'$', 25, 100], ConnectCode::HandshakeError),
        (vec![b'#', 25, 100, 0], ConnectCode::HandshakeError),
        (vec![b'#', 25, 102], ConnectCode::ProtocolVersionMismatch),
        (vec![b'#', 25, 113], ConnectCode::LicenseExceeded),
        (vec![b'#', 25, 115], ConnectCode::HandshakeRejected),
        (vec![b'#', 25, 116], ConnectCode::AccessDenied),
        (vec![b'#', 25, 119], ConnectCode::ServerInitialising),
    ] {
        network.freeze_new();
        let client = network.add(ClientConfig::default(), Credentials::None);
        let now = network.now;
        network.act(client, |core| core.handle_frame(now, core.connection().expect("connecting"), &response));
        assert_eq!(network.connect_error(client).expect("failed").code, code, "{response:?}");
    }
}

#[test]
fn a_server_that_breaks_the_protocol_loses_the_session() {
    for frame in [vec![], vec![60], vec![29], vec![0, 88, 1, 0xff], vec![0x86, 1]] {
        let mut network = Network::new();
        let [client] = network.connect(["client"]);
        let value = text_value("x");
        let now = network.now;
        let pending = network.call(client, |core, now, call| {
            core.send_to_path(now, call, "work", value.as_wire(), Duration::from_secs(1));
        });
        network.act(client, |core| core.handle_frame(now, core.connection().expect("connected"), &frame));
        assert_eq!(network.closed(client).expect("closed").code, CloseCode::TransportError, "{frame:?}");
        assert_eq!(network.outcome(pending), Some(Err(RequestError::ConnectionLost)));
    }
}
