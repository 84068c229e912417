//! Requests to a session and to a session filter, by clients that write their own frames.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, CloseCode};
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::layouts::{
    FilterAnswer, FilterOutcome, FilterResponse, SendToFilter, SendToPath, SendToSession, SerialisedValue,
    ServiceFailure,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    CloseClient, FilterResponseDelivery, MessagingFilterSender, MessagingReceiverServer, MessagingSend, Service,
};
use support::{Client, Network, text_of, text_value};

/// A client that is sent frames and answers them by hand. The network's own clients refuse addressed requests with
/// 109, as a client without streams does.
struct Raw {
    client: Client,
    seen: usize,
    asked: i64,
}

impl Raw {
    fn new(client: Client) -> Self {
        // The first frame is the connection response.
        Self { client, seen: 1, asked: 1000 }
    }

    /// The frames that came since the last call.
    fn frames(&mut self, network: &Network) -> Vec<Vec<u8>> {
        let frames = network.frames(self.client)[self.seen..].to_vec();
        self.seen += frames.len();
        frames
    }

    fn next_id(&mut self) -> ConversationId {
        self.asked += 1;
        ConversationId(self.asked)
    }

    fn send_to_session(&mut self, network: &mut Network, session: SessionId, path: &str) -> ConversationId {
        let (id, value) = (self.next_id(), text_value("hello"));
        let request = SendToSession { session, path, request: value.as_wire() };
        network.inject(self.client, request_frame::<MessagingReceiverServer>(id, &request, 0));
        id
    }

    fn send_to_filter(&mut self, network: &mut Network, filter: &str, path: &str) -> ConversationId {
        let (id, value) = (self.next_id(), text_value("hello"));
        let request = SendToFilter { filter_conversation: FILTER, filter, path, request: value.as_wire() };
        network.inject(self.client, request_frame::<MessagingFilterSender>(id, &request, 0));
        id
    }
}

const FILTER: ConversationId = ConversationId(77);

/// Who answered what.
type Answers = Vec<(SessionId, Result<String, ErrorReason>)>;

/// What a filter request came to: the count, then who answered what, in order; checks that the count comes first.
fn filter_results(frames: &[Vec<u8>], id: ConversationId) -> (u32, Answers) {
    let mut count = None;
    let mut answers = Vec::new();
    for frame in frames {
        match Message::decode(frame).expect("a message") {
            Message::ServiceResponse { conversation, body } if conversation == id => match decode_all(body) {
                Ok(FilterOutcome::Matched(matched)) => count = Some(matched),
                other => panic!("{other:?}"),
            },
            Message::ServiceRequest { service: FilterResponseDelivery::ID, body, .. } => {
                assert!(count.is_some(), "the count comes first");
                let FilterResponse { filter_conversation, session, answer } = decode_all(body).expect("a response");
                assert_eq!(filter_conversation, FILTER);
                answers.push((
                    session,
                    match answer {
                        FilterAnswer::Response(value) => Ok(text_of(&value.into())),
                        FilterAnswer::Error(error) => Err(error.reason),
                    },
                ));
            }
            _ => {}
        }
    }
    (count.expect("a count"), answers)
}

/// The addressed request among some frames.
fn addressed(frames: &[Vec<u8>]) -> Option<(ConversationId, String)> {
    frames.iter().find_map(|frame| match Message::decode(frame).expect("a message") {
        Message::ServiceRequest { service: MessagingSend::ID, conversation, body } => {
            let SendToPath { path, .. } = decode_all(body).expect("a request");
            Some((conversation, path.to_owned()))
        }
        _ => None,
    })
}

fn refusal(frames: &[Vec<u8>], id: ConversationId) -> ErrorReason {
    let reason = frames.iter().find_map(|frame| match Message::decode(frame).expect("a message") {
        Message::ServiceError { conversation, failure } if conversation == id => Some(failure.reason),
        _ => None,
    });
    reason.expect("a refusal")
}

#[test]
fn a_request_to_a_session_reaches_it_and_the_answer_comes_back_once() {
    let mut network = Network::new();
    let [sender, recipient] = network.connect(["sender", "recipient"]).map(Raw::new);
    let (mut sender, mut recipient) = (sender, recipient);
    network.freeze(recipient.client);
    let session = network.session(recipient.client).expect("connected");
    let id = sender.send_to_session(&mut network, session, "/inbox/");
    network.thaw(recipient.client);
    network.run();
    let (conversation, path) = addressed(&recipient.frames(&network)).expect("delivered");
    assert_eq!(path, "/inbox/");
    // The client's own core refused it, having no stream; a second answer is dropped.
    let value = text_value("second");
    network.inject(recipient.client, response_frame::<MessagingSend>(conversation, &value.as_wire()));
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::UNHANDLED_MESSAGE);
    assert_eq!(network.broker.late_answers(), 1);
}

#[test]
fn a_request_to_a_session_that_is_not_there_is_refused_by_name() {
    let mut network = Network::new();
    let [client] = network.connect(["sender"]);
    let mut sender = Raw::new(client);
    let own = network.session(client).expect("connected");
    for session in [SessionId { value: 99, ..own }, SessionId { server: own.server + 1, ..own }] {
        let id = sender.send_to_session(&mut network, session, "inbox");
        assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::NO_SUCH_SESSION);
    }
    let id = sender.send_to_session(&mut network, own, "a//b");
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::INVALID_PATH);
}

#[test]
fn every_matching_session_yields_exactly_one_answer_the_sender_included() {
    let mut network = Network::new();
    let clients = network.connect(["a", "b", "c", "d"]);
    let mut sender = Raw::new(clients[0]);
    let id = sender.send_to_filter(&mut network, "name in 'a','b','c'", "inbox");
    let (count, answers) = filter_results(&sender.frames(&network), id);
    assert_eq!(count, 3);
    let answered: BTreeMap<_, _> = answers.into_iter().collect();
    let expected: BTreeMap<_, _> = clients[..3]
        .iter()
        .map(|client| (network.session(*client).expect("connected"), Err(ErrorReason::UNHANDLED_MESSAGE)))
        .collect();
    assert_eq!(answered, expected);
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn a_filter_that_matches_nobody_is_a_count_of_zero() {
    let mut network = Network::new();
    let [client] = network.connect(["sender"]);
    let mut sender = Raw::new(client);
    let id = sender.send_to_filter(&mut network, "name is 'nobody'", "inbox");
    assert_eq!(filter_results(&sender.frames(&network), id), (0, vec![]));
}

#[test]
fn a_filter_that_does_not_parse_is_reported_with_its_place() {
    let mut network = Network::new();
    let [client] = network.connect(["sender"]);
    let mut sender = Raw::new(client);
    let id = sender.send_to_filter(&mut network, "name is nobody", "inbox");
    let frame = sender.frames(&network).pop().expect("an answer");
    let Ok(Message::ServiceResponse { conversation, body }) = Message::decode(&frame) else { panic!("{frame:x?}") };
    assert_eq!(conversation, id);
    let Ok(FilterOutcome::Rejected(reports)) = decode_all(body) else { panic!("{body:x?}") };
    assert_eq!((reports.len(), reports[0].line, reports[0].column), (1, 1, 8));
}

#[test]
fn sessions_that_go_away_or_never_answer_yield_an_error_each() {
    let mut network =
        Network::with(BrokerConfig { request_timeout: Duration::from_secs(5), ..BrokerConfig::default() });
    let clients = network.connect(["sender", "silent", "leaving", "late"]);
    let [_, silent, leaving, late] = clients;
    let mut sender = Raw::new(clients[0]);
    for client in [silent, leaving, late] {
        network.freeze(client);
    }
    let id = sender.send_to_filter(&mut network, "not name is 'sender'", "inbox");
    network.cut(leaving);
    network.pass(Duration::from_secs(5));
    let frames = sender.frames(&network);
    let (count, answers) = filter_results(&frames, id);
    assert_eq!(count, 3);
    let mut reasons: Vec<_> = answers.iter().map(|(_, answer)| answer.clone().expect_err("no answers").0).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, [101, 102, 102]);
    network.thaw(late);
    network.run();
    assert_eq!(filter_results(&[frames, sender.frames(&network)].concat(), id).1.len(), 3, "late answers are dropped");
    assert_eq!(network.broker.late_answers(), 1, "that of the session that thawed, and no acknowledgement");
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn answers_of_any_type_are_passed_on_with_the_session_that_gave_them() {
    let mut network = Network::new();
    let [client, other] = network.connect(["sender", "other"]);
    let mut sender = Raw::new(client);
    network.freeze(other);
    sender.send_to_filter(&mut network, "name is 'other'", "inbox");
    // The first conversation that the broker starts with a session has the number 1.
    let value = SerialisedValue { type_name: "odd", bytes: b"anything" };
    network.overtake(other, response_frame::<MessagingSend>(ConversationId(1), &value));
    let frames = sender.frames(&network);
    let delivered = frames.iter().find_map(|frame| match Message::decode(frame).expect("a message") {
        Message::ServiceRequest { service: FilterResponseDelivery::ID, body, .. } => Some(body),
        _ => None,
    });
    let FilterResponse { session, answer, .. } = decode_all(delivered.expect("a response")).expect("readable");
    assert_eq!(Some(session), network.session(other));
    assert_eq!(answer, FilterAnswer::Response(value));
}

#[test]
fn a_sender_that_never_acknowledges_leaves_nothing_behind() {
    let mut network =
        Network::with(BrokerConfig { request_timeout: Duration::from_secs(5), ..BrokerConfig::default() });
    let [client, _other] = network.connect(["sender", "other"]);
    let mut sender = Raw::new(client);
    sender.send_to_filter(&mut network, "all", "inbox");
    network.pass(Duration::from_secs(10));
    let failure = ServiceFailure { description: "no", reason: ErrorReason::UNSUPPORTED };
    for conversation in (1..20).map(ConversationId) {
        network.inject(client, Message::ServiceError { conversation, failure: failure.clone() }.to_frame());
    }
    assert_eq!(network.closed(client), None);
    assert_eq!(network.broker.outstanding_requests(), 0);
}

#[test]
fn a_request_to_too_many_is_refused_before_anybody_gets_it() {
    let mut network = Network::with(BrokerConfig { max_outstanding_requests: 2, ..BrokerConfig::default() });
    let clients = network.connect(["sender", "b", "c"]);
    let mut sender = Raw::new(clients[0]);
    let id = sender.send_to_filter(&mut network, "all", "inbox");
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::CLUSTER_ROUTING);
    for client in &clients[1..] {
        assert_eq!(addressed(&Raw::new(*client).frames(&network)), None);
    }
}

#[test]
fn principals_and_ids_are_found_after_they_change_and_after_sessions_end() {
    let mut network = Network::new();
    let [client] = network.connect(["sender"]);
    let mut sender = Raw::new(client);
    let named = ClientConfig { principal: Some("admin".into()), ..ClientConfig::default() };
    let admins = [0; 2].map(|_| network.add(named.clone(), Credentials::Password("password".into())));
    let mut count = |network: &mut Network, filter: &str| {
        let id = sender.send_to_filter(network, filter, "inbox");
        filter_results(&sender.frames(network), id).0
    };
    assert_eq!(count(&mut network, "$Principal is 'admin'"), 2);
    assert_eq!(count(&mut network, "$Principal is ''"), 1);
    let id = network.session(admins[0]).expect("connected");
    assert_eq!(count(&mut network, &format!("$SessionId in '{id}', 'nonsense', '{id}'")), 1);
    let credentials = Credentials::Password("password".into());
    network.call(admins[0], |core, now, call| core.change_principal(now, call, "client", &credentials));
    network.run();
    assert_eq!(count(&mut network, "$Principal is 'admin'"), 1);
    assert_eq!(count(&mut network, "$Principal in 'admin','client','client'"), 2);
    network.close(admins[1]);
    assert_eq!(count(&mut network, "$Principal is 'admin'"), 0);
}

#[test]
fn a_session_can_be_closed_by_another() {
    let mut network = Network::new();
    let [client, other] = network.connect(["sender", "other"]);
    let mut sender = Raw::new(client);
    let session = network.session(other).expect("connected");
    for expected in [None, Some(ErrorReason::NO_SUCH_SESSION)] {
        let id = sender.next_id();
        network.inject(client, request_frame::<CloseClient>(id, &session, 0));
        let frames = sender.frames(&network);
        assert_eq!(network.closed(other).expect("closed").code, CloseCode::ClosedByServer);
        if let Some(reason) = expected {
            assert_eq!(refusal(&frames, id), reason);
        }
    }
    assert_eq!(network.broker.session_count(), 1);
}

#[test]
fn a_session_with_too_much_to_answer_is_spared_and_the_sender_told() {
    let config = BrokerConfig { max_requests_to_answer: 2, ..BrokerConfig::default() };
    let mut network = Network::with(config);
    let clients = network.connect(["sender", "busy"]);
    let [_, busy] = clients;
    let mut sender = Raw::new(clients[0]);
    network.freeze(busy);
    let session = network.session(busy).expect("connected");
    for _ in 0..2 {
        sender.send_to_session(&mut network, session, "inbox");
    }
    let id = sender.send_to_session(&mut network, session, "inbox");
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::CLUSTER_ROUTING);
    let id = sender.send_to_filter(&mut network, "name is 'busy'", "inbox");
    let answers = filter_results(&sender.frames(&network), id);
    assert_eq!(answers, (1, vec![(session, Err(ErrorReason::CLUSTER_ROUTING))]));
    network.thaw(busy);
    network.run();
    assert_eq!(network.broker.outstanding_requests(), 0);
    let id = sender.send_to_session(&mut network, session, "inbox");
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::UNHANDLED_MESSAGE, "it is back");
}

#[test]
fn a_request_that_would_fill_the_memory_is_refused() {
    let mut network = Network::with(BrokerConfig { max_fan_out_bytes: 30, ..BrokerConfig::default() });
    let clients = network.connect(["sender", "b", "c"]);
    let mut sender = Raw::new(clients[0]);
    let id = sender.send_to_filter(&mut network, "name is 'b'", "inbox");
    assert_eq!(filter_results(&sender.frames(&network), id).0, 1);
    let id = sender.send_to_filter(&mut network, "all", "inbox");
    assert_eq!(refusal(&sender.frames(&network), id), ErrorReason::CLUSTER_ROUTING);
}
