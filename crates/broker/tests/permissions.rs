//! What sessions may do: the gate as clients meet it, when roles change, and sessions that are ended by others.

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_broker::core::identity::{Expiry, Identity, Proof, Standing, Verdict};
use antiphon_broker::core::permissions::{GlobalPermission, PathPermission, Permissions, Role};
use antiphon_protocol::client::{ClientConfig, CloseCode, Outcome, RequestError, Response};
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::layouts::{RegisterHandler, SendToFilter, SendToSession, SerialisedValue};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{CloseClient, MessagingFilterSender, MessagingReceiverServer, Registration};
use support::{Behaviour, Client, Network, sender_of};

/// Opens a session of a stock principal.
fn log_in(network: &mut Network, principal: &str) -> Client {
    let config = ClientConfig { principal: Some(principal.into()), ..ClientConfig::default() };
    let client = network.add(config, Credentials::Password("password".into()));
    assert!(network.session(client).is_some(), "{principal} connects");
    client
}

fn change_principal(network: &mut Network, client: Client, principal: &str) {
    let pending = network.change_principal(client, principal, "password");
    assert_eq!(network.outcome(pending), Some(Ok(Response::PrincipalChanged(true))));
}

/// Asks for the end of a session. Returns whether that is granted.
fn end(network: &mut Network, client: Client, session: SessionId) -> bool {
    network.inject(client, request_frame::<CloseClient>(ConversationId(900), &session, 0));
    match Message::decode(network.frames(client).last().expect("an answer")) {
        Ok(Message::ServiceResponse { .. }) => true,
        Ok(Message::ServiceError { failure, .. }) if failure.reason == ErrorReason::ACCESS_DENIED => false,
        other => panic!("{other:?}"),
    }
}

/// Rules A-1.
#[test]
fn a_refusal_comes_before_anything_is_said_of_recipients_and_names_the_permission_and_the_path() {
    let mut network = Network::new();
    let client = log_in(&mut network, "client");
    let nobody = SessionId { server: 1, value: 2 };
    let refused = [
        (network.send_to_session(client, nobody, "/a/b/", "any"), "SEND_TO_SESSION for /a/b/"),
        (network.send_to_filter(client, "no filter", "a", "any"), "SEND_TO_SESSION for a"),
        (network.send(client, "Diffusion/nobody", "any"), "SEND_TO_MESSAGE_HANDLER for Diffusion/nobody"),
    ];
    for (pending, expected) in refused {
        network.run();
        let Some(Err(error)) = network.outcome(pending) else { panic!("{expected}: it was not refused") };
        assert_eq!((&*error.code(), error.outcome()), ("ACCESS_DENIED", Outcome::Refused));
        let RequestError::Refused { detail, .. } = error else { panic!("{error:?}") };
        assert_eq!(detail, format!("the session lacks the permission {expected}"));
    }
    let Err(RequestError::Refused { detail, .. }) = network.register(client, "a", &["*F"], Behaviour::Echo) else {
        panic!("it was not refused")
    };
    assert_eq!(detail, "the session lacks the permission REGISTER_HANDLER and VIEW_SESSION for a");
}

/// Rules A-1.
#[test]
fn what_wants_no_answer_is_checked_too() {
    let mut network = Network::new();
    let [handler] = network.connect(["handler"]);
    let client = log_in(&mut network, "client");
    let session = network.session(handler).expect("open");
    let (path, request) = ("work", SerialisedValue { type_name: "string", bytes: b"\x60" });
    let registration = ConversationId(9);
    let filter = SendToFilter { filter_conversation: registration, filter: "all", path, request: request.clone() };
    let register =
        RegisterHandler { delivery_service: 88, control_group: "", path, property_keys: Vec::new(), registration };
    let one_way = ConversationId::ONE_WAY;
    let before = network.frames(handler).len();
    for frame in [
        request_frame::<MessagingReceiverServer>(
            one_way,
            &SendToSession { session, path, request: request.clone() },
            0,
        ),
        request_frame::<MessagingFilterSender>(one_way, &filter, 0),
        request_frame::<Registration>(one_way, &register, 0),
        request_frame::<CloseClient>(one_way, &session, 0),
    ] {
        network.inject(client, frame);
    }
    assert_eq!((network.frames(handler).len(), network.broker.refusals()), (before, 4));
    let response = network.request(handler, path, "any");
    assert_eq!(network.refusal(response), ErrorReason::UNHANDLED_MESSAGE);
}

/// Rules A-1.
#[test]
fn the_next_request_is_checked_against_the_new_roles() {
    let mut network = Network::new();
    let [handler] = network.connect(["handler"]);
    let client = log_in(&mut network, "client");
    assert!(network.register(client, "work", &[], Behaviour::Echo).is_err());
    change_principal(&mut network, client, "control");
    network.register(client, "work", &[], Behaviour::Echo).expect("it may now");
    // What it has registered stays when it may no more.
    change_principal(&mut network, client, "client");
    assert!(network.register(client, "other", &[], Behaviour::Echo).is_err());
    let response = network.request(handler, "work", "still");
    assert_eq!(network.settle(response), Ok("still".into()));
}

/// Rules A-1.
#[test]
fn other_roles_hold_at_once_for_sessions_that_are_open() {
    let mut network = Network::new();
    let [asker, handler] = network.connect(["asker", "handler"]);
    network.answer(handler, "work", "done");
    let response = network.request(asker, "work/secret", "any");
    assert_eq!(network.settle(response), Ok("done".into()));

    let client = Role {
        default_path: vec![PathPermission::SendToMessageHandler],
        paths: [("work/secret".to_owned(), vec![])].into(),
        ..Role::default()
    };
    let roles = [("CLIENT".to_owned(), client.clone())];
    network.broker.set_permissions(Permissions::new(roles.into(), &[]).expect("they fit together"));
    let response = network.request(asker, "work/secret", "any");
    assert_eq!(network.refusal(response), ErrorReason::ACCESS_DENIED);
    let response = network.request(asker, "work", "any");
    assert_eq!(network.settle(response), Ok("done".into()));

    let everything = Role { global: vec![GlobalPermission::RegisterHandler], paths: [].into(), ..client };
    let roles = [("CLIENT".to_owned(), everything)];
    network.broker.set_permissions(Permissions::new(roles.into(), &["work/secret".into()]).expect("they fit together"));
    let response = network.request(asker, "work/secret", "any");
    assert_eq!(network.refusal(response), ErrorReason::ACCESS_DENIED, "it is isolated");
    network.broker.set_permissions(Permissions::stock());
    let response = network.request(asker, "work/secret", "any");
    assert_eq!(network.settle(response), Ok("done".into()));
}

/// Rules A-1.
#[test]
fn sessions_have_the_roles_that_their_principal_has_now_and_end_if_their_credentials_are_not_accepted_any_more() {
    let mut network = Network::of_strangers(BrokerConfig::default());
    let (password, changed, key, removed) = (Proof(1), Proof(2), Proof(3), Proof(4));
    let mut enter = |principal: &str, role: &str, proof, expiry| {
        let client = network.add(ClientConfig::default(), Credentials::None);
        let (principal, roles) = (principal.to_owned(), vec![role.to_owned()]);
        network.tell_who(Verdict::Accepted(Identity { principal, roles, expiry, proof, ..Identity::default() }));
        network.run();
        assert!(network.session(client).is_some());
        client
    };
    let expiry = Some(Expiry { within: Duration::from_secs(60), at: 1 });
    let [anonymous, raised, lowered, gone, old_password, bearer, bearer_of_none] = [
        enter("", "CLIENT", Proof::default(), None),
        enter("raised", "CLIENT", password, None),
        enter("lowered", "CLIENT_CONTROL", password, None),
        enter("gone", "CLIENT_CONTROL", password, None),
        enter("raised", "CLIENT_CONTROL", changed, None),
        enter("gone", "CLIENT_CONTROL", key, expiry),
        enter("gone", "CLIENT_CONTROL", removed, expiry),
    ];
    network.answer(lowered, "work", "done");
    network.broker.set_standing(|principal, proof| {
        let role = match (principal, proof) {
            (_, proof) if proof == key => return Standing::Unchanged,
            ("raised", proof) if proof == password => "CLIENT_CONTROL",
            ("lowered", _) => "CLIENT",
            ("", _) => "OPERATOR",
            _ => return Standing::Revoked,
        };
        let (principal, roles) = (principal.to_owned(), vec![role.to_owned()]);
        Standing::Now(Identity { principal, roles, proof, ..Identity::default() })
    });
    network.run();
    for client in [gone, old_password, bearer_of_none] {
        assert_eq!(network.closed(client).expect("closed").code, CloseCode::ClosedByServer);
    }
    assert_eq!(network.closed(bearer), None, "its token says who it is, until it expires");
    network.register(raised, "more", &["$Roles"], Behaviour::Keep).expect("it may now");
    assert!(network.register(lowered, "more", &[], Behaviour::Echo).is_err());
    network.request(anonymous, "more", "any");
    let request = network.received(raised).expect("delivered");
    assert_eq!(sender_of(&request).1, [("$Roles".to_owned(), r#""OPERATOR""#.to_owned())]);
    let response = network.request(raised, "work", "any");
    assert_eq!(network.settle(response), Ok("done".into()), "what it has registered stays");
}

#[test]
fn a_session_that_another_one_ends_is_dead() {
    let mut network = Network::new();
    let [asker] = network.connect(["asker"]);
    let [handler] = network.connect_for_long(["handler"]);
    let (admin, client) = (log_in(&mut network, "admin"), log_in(&mut network, "client"));
    network.register(handler, "work", &[], Behaviour::Keep).expect("registered");
    let response = network.request(asker, "work", "any");
    let session = network.session(handler).expect("open");
    assert!(!end(&mut network, client, session));
    assert!(end(&mut network, admin, session));
    network.run();
    assert_eq!(network.closed(handler).expect("closed").code, CloseCode::ClosedByServer);
    assert_eq!(network.refusal(response), ErrorReason::SESSION_CLOSED);
    let response = network.request(asker, "work", "any");
    assert_eq!(network.refusal(response), ErrorReason::UNHANDLED_MESSAGE);
    let response = network.send_to_session(asker, session, "work", "any");
    assert_eq!(network.refusal(response), ErrorReason::NO_SUCH_SESSION);
}
