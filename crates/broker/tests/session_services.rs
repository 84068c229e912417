//! What a session can learn and change about itself and others.

mod support;

use antiphon_protocol::client::{ClientConfig, RequestError, Response};
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::layouts::{GetSessionProperties, Properties, Reauthenticate, WireCredentials};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{GetOwnProperties, GetProperties, ReAuthenticate};
use support::{Behaviour, Client, Network, sender_of};

/// Whether the credentials are right.
fn change_principal(network: &mut Network, client: Client, principal: &str, password: &str) -> bool {
    let pending = network.change_principal(client, principal, password);
    match network.outcome(pending) {
        Some(Ok(Response::PrincipalChanged(changed))) => changed,
        other => panic!("{other:?}"),
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

#[test]
fn a_session_learns_its_own_properties() {
    let mut network = Network::new();
    let [client] = network.connect(["ada"]);
    assert_eq!(
        network.properties(client, &["name", "$Principal", "unknown"]),
        [pair("$Principal", ""), pair("name", "ada")]
    );
    assert_eq!(network.properties(client, &["*F", "*U"]).len(), 15);
    assert_eq!(network.properties(client, &[]), []);
}

#[test]
fn properties_of_a_session_that_is_not_there_are_none() {
    let mut network = Network::new();
    let [client] = network.connect(["ada"]);
    let own = network.session(client).expect("connected");
    for (session, exists) in
        [(own, true), (SessionId { server: own.server + 1, ..own }, false), (SessionId { value: 99, ..own }, false)]
    {
        let request = GetSessionProperties { session, keys: vec!["name"] };
        network.inject(client, request_frame::<GetProperties>(ConversationId(90), &request, 0));
        let frame = network.frames(client).last().expect("an answer").clone();
        let Ok(Message::ServiceResponse { body, .. }) = Message::decode(&frame) else { panic!("{frame:x?}") };
        let answer: Option<Properties<'_>> = decode_all(body).expect("properties");
        assert_eq!(answer.is_some(), exists, "{session}");
    }
}

#[test]
fn the_service_of_the_newest_version_tells_all_of_ones_own_properties() {
    let mut network = Network::new();
    let [client] = network.connect(["ada"]);
    network.inject(client, request_frame::<GetOwnProperties>(ConversationId(90), &(), 0));
    let frame = network.frames(client).last().expect("an answer").clone();
    let Ok(Message::ServiceResponse { body, .. }) = Message::decode(&frame) else { panic!("{frame:x?}") };
    let answer: Option<Properties<'_>> = decode_all(body).expect("properties");
    assert_eq!(answer.expect("there are some").len(), 15);
}

#[test]
fn a_principal_is_changed_with_the_right_credentials_and_handlers_see_the_new_one() {
    for protocol_version in [25, 29] {
        let mut network = Network::new();
        let [handler] = network.connect(["handler"]);
        let client = network.add(ClientConfig { protocol_version, ..ClientConfig::default() }, Credentials::None);
        network.register(handler, "who", &["$Principal", "$Roles"], Behaviour::Keep).expect("registered");

        assert!(!change_principal(&mut network, client, "admin", "wrong"));
        assert_eq!(network.properties(client, &["$Principal"]), [pair("$Principal", "")]);

        let before = network.session(client);
        assert!(change_principal(&mut network, client, "admin", "password"));
        assert_eq!(network.session(client), before);
        network.request(client, "who", "am I?");
        let request = network.received(handler).expect("delivered");
        assert_eq!(sender_of(&request).1, [pair("$Principal", "admin"), pair("$Roles", r#""ADMINISTRATOR""#)]);
    }
}

#[test]
fn nothing_can_be_asked_on_a_closed_session() {
    let mut network = Network::new();
    let [client] = network.connect(["ada"]);
    network.close(client);
    let asked = [
        network.call(client, |core, now, call| core.get_properties(now, call, &[])),
        network.call(client, |core, now, call| core.change_principal(now, call, "admin", &Credentials::None)),
        network.call(client, |core, now, call| core.ping(now, call)),
    ];
    for pending in asked {
        assert_eq!(network.outcome(pending), Some(Err(RequestError::SessionClosed { sent: false })));
    }
}

#[test]
fn what_a_session_can_make_the_broker_keep_is_limited() {
    let mut network = Network::new();
    let [client] = network.connect(["ada"]);
    let long = "k".repeat(200_000);
    assert!(network.register(client, "work", &[&long], Behaviour::Echo).is_err());

    let value = "v".repeat(60_000);
    for (id, expected) in [(90, true), (91, true), (92, false)] {
        let key = format!("key{id}");
        let request =
            Reauthenticate { principal: "", credentials: WireCredentials::None(&[]), properties: vec![(&key, &value)] };
        network.inject(client, request_frame::<ReAuthenticate>(ConversationId(id), &request, 0));
        let frame = network.frames(client).last().expect("an answer").clone();
        match Message::decode(&frame).expect("a message") {
            Message::ServiceResponse { .. } => assert!(expected),
            Message::ServiceError { failure, .. } => {
                assert!(!expected);
                assert_eq!(failure.reason, ErrorReason::CLUSTER_ROUTING);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(network.properties(client, &["key91"]).len(), 1);
    assert_eq!(network.properties(client, &["key92"]), []);
}
