//! A broker and clients that are bytes only, so that each says just what a test wants, with whatever features.

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Arrival, Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, Recovery, ResponseCode};
use antiphon_protocol::wire::headers::{Header, HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{
    Cancel, DeregisterHandler, FilterAnswer, FilterResponse, ForwardedRequest, RegisterHandler, SendToFilter,
    SendToPath, SendToSession, SerialisedValue, ServiceFailure,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    Cancellation, Deregistration, FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient,
    MessagingReceiverServer, MessagingSend, Registration, Service, SystemPing, UserPing,
};

/// All features that the broker has a part in, whether or not both ends have them by now.
pub const EVERYTHING: Features = Features::from_wire(0x3ff);

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(usize);

/// A message that came to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A request to it or to its handler.
    Request(Delivery),
    /// One of these is wanted no more; whether its time is over.
    Cancel(i64, bool),
    /// The value that its request was answered with.
    Answer(i64, String),
    /// How many sessions matched.
    Matched(i64, u32),
    /// Its request failed: reason, details.
    Error(i64, ErrorReason, String),
    /// One of the answers to a request to a filter: the number chosen for these, and the value, or reason and details.
    Response(i64, Result<String, (ErrorReason, String)>),
    /// The broker wants a sign of life.
    Ping,
}

/// A request as it was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub conversation: i64,
    pub text: String,
    pub time_left: Option<Duration>,
    pub key: String,
    pub metadata: String,
}

pub struct Wire {
    pub broker: Broker,
    pub now: Moment,
    wakes: Option<Moment>,
    peers: Vec<State>,
    connections: u64,
}

struct State {
    features: Features,
    connection: Option<ConnectionId>,
    session: SessionId,
    token: String,
    /// Number of messages that came.
    received: u64,
    sent: u64,
    got: VecDeque<Vec<u8>>,
}

impl Wire {
    /// A broker that grants whatever is offered, and does not ping.
    pub fn new(config: BrokerConfig) -> Self {
        let config = BrokerConfig { features: EVERYTHING, ping_period: Duration::ZERO, ..config };
        Self {
            broker: Broker::new(config, Access::development()),
            now: Moment(1_000_000),
            wakes: None,
            peers: Vec::new(),
            connections: 0,
        }
    }

    /// Opens a session that is kept for five minutes.
    pub fn connect(&mut self, features: Features) -> Peer {
        let (session, token) = (SessionId { server: 0, value: 0 }, String::new());
        let got = VecDeque::new();
        self.peers.push(State { features, connection: None, session, token, received: 0, sent: 0, got });
        let peer = Peer(self.peers.len() - 1);
        self.open(peer, None);
        peer
    }

    fn open(&mut self, peer: Peer, recovery: Option<Recovery>) -> ResponseCode {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let features = self.peers[peer.0].features;
        let request = ConnectRequest { reconnect_timeout: 300_000, recovery, features, ..ConnectRequest::anonymous() };
        let random = [u8::try_from(peer.0).expect("few") + 1; 18];
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 0, random };
        self.peers[peer.0].connection = Some(connection);
        self.broker.handle_connect(self.now, connection, &request, &arrival);
        self.run();
        let state = &mut self.peers[peer.0];
        // It counts as no message.
        state.received -= 1;
        match ConnectResponse::decode(&state.got.pop_front().expect("a connection response")) {
            Ok(ConnectResponse::Accepted { code, session, token, .. }) => {
                (state.session, state.token) = (session, token.as_text().to_owned());
                code
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn session(&self, peer: Peer) -> SessionId {
        self.peers[peer.0].session
    }

    /// Cuts the connection of a client.
    pub fn lose(&mut self, peer: Peer) {
        let connection = self.peers[peer.0].connection.take().expect("connected");
        self.broker.handle_disconnected(self.now, connection);
        self.run();
    }

    /// The same, before the last messages that were sent to it have arrived.
    pub fn lose_unreceived(&mut self, peer: Peer, messages: u64) {
        self.lose(peer);
        let state = &mut self.peers[peer.0];
        state.received -= messages;
        state.got.clear();
    }

    /// Takes the session up again, on a connection with these features.
    pub fn resume(&mut self, peer: Peer, features: Features) -> ResponseCode {
        let state = &mut self.peers[peer.0];
        state.features = features;
        let (token, oldest_sent, last_received) = (state.token.clone(), state.sent + 1, state.received);
        self.open(peer, Some(Recovery { token, oldest_sent, last_received }))
    }

    /// The same, as a client that claims to have received what was never sent: its past is gone.
    pub fn resume_with_loss(&mut self, peer: Peer) {
        let token = self.peers[peer.0].token.clone();
        let code = self.open(peer, Some(Recovery { token, oldest_sent: 1, last_received: 1 << 40 }));
        assert_eq!(code, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS);
    }

    /// Ends a session.
    pub fn close(&mut self, peer: Peer) {
        self.send(peer, Message::CloseRequest.to_frame());
        self.peers[peer.0].connection = None;
    }

    /// Sends one message.
    pub fn send(&mut self, peer: Peer, frame: Vec<u8>) {
        self.put(peer, frame);
        self.run();
    }

    /// The same, while time stands still: what the broker does later comes later.
    pub fn put(&mut self, peer: Peer, frame: Vec<u8>) {
        let state = &mut self.peers[peer.0];
        state.sent += 1;
        let connection = state.connection.expect("connected");
        self.broker.handle_frame(self.now, connection, &frame);
        self.drain();
    }

    pub fn register(&mut self, peer: Peer, path: &str, headers: &HeaderBlock) {
        self.register_unchecked(peer, path, headers);
        assert_eq!(self.got(peer), [Got::Answer(999, String::new())], "registered");
    }

    /// The same, with whatever else comes of it.
    pub fn register_unchecked(&mut self, peer: Peer, path: &str, headers: &HeaderBlock) {
        let registration = ConversationId(1000);
        let (property_keys, control_group) = (Vec::new(), "");
        let register = RegisterHandler { delivery_service: 88, control_group, path, property_keys, registration };
        self.send(peer, headers.before(request_frame::<Registration>(ConversationId(999), &register, 0)));
    }

    pub fn deregister(&mut self, peer: Peer, path: &str) {
        let (property_keys, control_group) = (Vec::new(), "");
        let request = DeregisterHandler { delivery_service: 88, control_group, path, property_keys };
        self.send(peer, request_frame::<Deregistration>(ConversationId(998), &request, 0));
    }

    pub fn send_to_path(&mut self, peer: Peer, conversation: i64, path: &str, headers: &HeaderBlock) {
        self.send(peer, headers.before(to_path(conversation, path)));
    }

    pub fn send_to_session(&mut self, peer: Peer, conversation: i64, to: Peer, headers: &HeaderBlock) {
        let session = self.session(to);
        let request = SendToSession { session, path: "addressed", request: value("to session") };
        let conversation = ConversationId(conversation);
        self.send(peer, headers.before(request_frame::<MessagingReceiverServer>(conversation, &request, 0)));
    }

    /// Its responses have the number of the request and 500.
    pub fn send_to_filter(&mut self, peer: Peer, conversation: i64, filter: &str, headers: &HeaderBlock) {
        self.send(peer, headers.before(to_filter(conversation, filter)));
    }

    pub fn cancel(&mut self, peer: Peer, conversation: i64, is_timed_out: bool) {
        self.send(peer, cancel(conversation, is_timed_out));
    }

    pub fn respond(&mut self, peer: Peer, conversation: i64, text: &str) {
        self.send(peer, response_frame::<MessagingSend>(ConversationId(conversation), &value(text)));
    }

    pub fn fail(&mut self, peer: Peer, conversation: i64, reason: ErrorReason, headers: &HeaderBlock) {
        let failure = ServiceFailure { description: "no", reason };
        let conversation = ConversationId(conversation);
        self.send(peer, headers.before(Message::ServiceError { conversation, failure }.to_frame()));
    }

    /// What came to a client since this was last called.
    pub fn got(&mut self, peer: Peer) -> Vec<Got> {
        let state = &mut self.peers[peer.0];
        let features = state.features;
        state.got.drain(..).map(|frame| read(&frame, features)).collect()
    }

    /// The only request that came to a client since then.
    pub fn delivery(&mut self, peer: Peer) -> Delivery {
        match self.got(peer).as_slice() {
            [Got::Request(delivery)] => delivery.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Moves time on, with a stop wherever the broker wants to wake.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.run();
        while let Some(at) = self.wakes.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.run();
        }
        self.now = end;
    }

    /// Lets the broker do what it can do now.
    pub fn run(&mut self) {
        self.drain();
        while self.wakes.is_some_and(|at| at <= self.now) {
            self.wakes = None;
            self.broker.handle_timeout(self.now);
            self.drain();
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send(to, frame) | Output::SendTogether(to, frame) => {
                    if let Some(state) = self.peers.iter_mut().find(|state| state.connection == Some(to)) {
                        state.received += 1;
                        state.got.push_back(frame.to_vec());
                    }
                }
                Output::WakeAt(at) => self.wakes = Some(at),
                Output::Close(_) | Output::Pause(_) | Output::Resume(_) | Output::Ping(_) => {}
                Output::Authenticate(..) => panic!("it knows everybody"),
            }
        }
    }
}

pub fn value(text: &str) -> SerialisedValue<'_> {
    SerialisedValue { type_name: "string", bytes: text.as_bytes() }
}

/// A request to a path, of which the text is the number of its conversation.
pub fn to_path(conversation: i64, path: &str) -> Vec<u8> {
    let number = conversation.to_string();
    let request = SendToPath { path, request: value(&number) };
    request_frame::<MessagingSend>(ConversationId(conversation), &request, 0)
}

pub fn to_filter(conversation: i64, filter: &str) -> Vec<u8> {
    let filter_conversation = ConversationId(conversation + 500);
    let request = SendToFilter { filter_conversation, filter, path: "addressed", request: value("to filter") };
    request_frame::<MessagingFilterSender>(ConversationId(conversation), &request, 0)
}

pub fn cancel(conversation: i64, is_timed_out: bool) -> Vec<u8> {
    let request = Cancel { conversation: ConversationId(conversation), is_timed_out };
    request_frame::<Cancellation>(ConversationId::ONE_WAY, &request, 0)
}

pub fn user_ping(conversation: i64) -> Vec<u8> {
    request_frame::<UserPing>(ConversationId(conversation), &(), 0)
}

pub fn time_left(milliseconds: u64) -> HeaderBlock {
    let mut block = HeaderBlock::default();
    block.add_time_left(Duration::from_millis(milliseconds));
    block
}

pub fn with_header(header: Header, value: &[u8]) -> HeaderBlock {
    let mut block = HeaderBlock::default();
    block.add(header, value);
    block
}

fn read(frame: &[u8], features: Features) -> Got {
    let (headers, message) = Headers::split(frame, features).expect("headers");
    match Message::decode(message).expect("a message") {
        Message::ServiceRequest { service: MessagingReceiverClient::ID, conversation, body } => {
            let request: ForwardedRequest<'_> = decode_all(body).expect("a request");
            Got::Request(delivery(conversation, &request.request, &headers))
        }
        Message::ServiceRequest { service: MessagingSend::ID, conversation, body } => {
            let request: SendToPath<'_> = decode_all(body).expect("a request");
            Got::Request(delivery(conversation, &request.request, &headers))
        }
        Message::ServiceRequest { service: Cancellation::ID, conversation: ConversationId::ONE_WAY, body } => {
            let Cancel { conversation, is_timed_out } = decode_all(body).expect("a cancellation");
            Got::Cancel(conversation.0, is_timed_out)
        }
        Message::ServiceRequest { service: FilterResponseDelivery::ID, body, .. } => {
            let response: FilterResponse<'_> = decode_all(body).expect("a response");
            let outcome = match response.answer {
                FilterAnswer::Response(value) => Ok(text(value.bytes)),
                FilterAnswer::Error(error) => Err((error.reason, text(headers.get(Header::Details)))),
            };
            Got::Response(response.filter_conversation.0, outcome)
        }
        Message::ServiceRequest { service: SystemPing::ID, .. } => Got::Ping,
        Message::ServiceResponse { conversation, body } => match body {
            [] => Got::Answer(conversation.0, String::new()),
            [0, count] => Got::Matched(conversation.0, (*count).into()),
            body => {
                let value: SerialisedValue<'_> = decode_all(body).expect("a value");
                Got::Answer(conversation.0, text(value.bytes))
            }
        },
        Message::ServiceError { conversation, failure } => {
            Got::Error(conversation.0, failure.reason, text(headers.get(Header::Details)))
        }
        other => panic!("{other:?}"),
    }
}

fn delivery(conversation: ConversationId, value: &SerialisedValue<'_>, headers: &Headers<'_>) -> Delivery {
    Delivery {
        conversation: conversation.0,
        text: text(value.bytes),
        time_left: headers.time_left(),
        key: headers.text(Header::IdempotencyKey).unwrap_or_default().to_owned(),
        metadata: text(headers.get(Header::Metadata)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}
