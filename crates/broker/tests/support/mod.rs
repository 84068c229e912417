//! Both cores in one process: a broker, its clients, and a network whose time stands still until a test moves it.

#![allow(dead_code, reason = "each test file uses its part of it")]

mod drive;
pub mod raw;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::identity::{Login, Ticket, Verdict};
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId};
use antiphon_protocol::client::{
    self, CallId, ClientConfig, ClientSession, Closed, ConnectError, Event, FilterResponseReceived, HandlerId,
    HandlerSettings, Patience, ReceivedRequest, RequestError, RequestId, Response, Sender,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};

use drive::Wires;

/// A client of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(pub usize);

/// A request, a registration or a ping under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pending(pub Client, pub CallId);

/// The behaviour of a client's handlers.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answer with this text.
    Text(String),
    /// Answer with what was asked.
    Echo,
    /// Answer with an error.
    Refuse(ErrorReason, String),
    /// Leave them to the test, in [`Network::received`].
    Keep,
}

/// Of handlers in their clients: it is the broker whose patience is tested.
const PATIENCE: Duration = Duration::MAX;

/// Before the first attempt to reconnect; the second waits twice as long, and so on.
pub const RETRY_DELAY: Duration = Duration::from_millis(100);

pub struct Network {
    pub broker: Broker,
    pub now: Moment,
    peers: Vec<Peer>,
    broker_wakes: Option<Moment>,
    /// What the broker asked and nobody has answered, if it does not know its clients by itself.
    pub asked: VecDeque<(Ticket, Login)>,
    default_timeout: Duration,
    next_connection: u64,
    new_are_frozen: bool,
    is_unreachable: bool,
}

struct Peer {
    core: ClientSession,
    credentials: Credentials,
    connection: Option<ConnectionId>,
    /// Frames on their way, in both directions.
    to_broker: VecDeque<Vec<u8>>,
    to_client: VecDeque<Vec<u8>>,
    wakes: Option<Moment>,
    session: Option<SessionId>,
    failed: Option<ConnectError>,
    closed: Option<Closed>,
    /// Of its handlers, whose number is their place here.
    behaviours: Vec<Behaviour>,
    calls: u64,
    filter_responses: Vec<FilterResponseReceived>,
    outcomes: HashMap<CallId, Result<Response, RequestError>>,
    /// Requests to filters to which no more responses come.
    ended: HashMap<CallId, Result<(), RequestError>>,
    received: VecDeque<ReceivedRequest>,
    abandoned: Vec<RequestId>,
    /// What became of its connections.
    events: Vec<Event>,
    /// Frames the broker sent, for tests that look at the wire.
    frames: Vec<Vec<u8>>,
    /// How often it was asked for credentials while it was connected.
    wanted_credentials: usize,
    /// Nothing moves on its connection, and neither end is told.
    frozen: bool,
}

impl Network {
    pub fn new() -> Self {
        Self::with(BrokerConfig::default())
    }

    pub fn with(config: BrokerConfig) -> Self {
        Self::of(Broker::new(BrokerConfig { server: 7, ..config }, Access::development()))
    }

    /// A broker that has to be told who its clients are.
    pub fn of_strangers(config: BrokerConfig) -> Self {
        let access = Access::outside(Access::development().permissions);
        Self::of(Broker::new(BrokerConfig { server: 7, ..config }, access))
    }

    fn of(broker: Broker) -> Self {
        Self {
            broker,
            now: Moment(1_000_000),
            peers: Vec::new(),
            broker_wakes: None,
            asked: VecDeque::new(),
            default_timeout: Duration::from_secs(1000),
            next_connection: 0,
            new_are_frozen: false,
            is_unreachable: false,
        }
    }

    /// Opens anonymous sessions that propose their name as the property `name`.
    pub fn connect<const N: usize>(&mut self, names: [&str; N]) -> [Client; N] {
        names.map(|name| {
            let properties = vec![("name".to_owned(), name.to_owned())];
            let client = self.add(ClientConfig { properties, ..ClientConfig::default() }, Credentials::None);
            assert!(self.session(client).is_some(), "{name} connects");
            client
        })
    }

    /// Opens anonymous sessions that outlive their connections for a minute.
    pub fn connect_for_long<const N: usize>(&mut self, names: [&str; N]) -> [Client; N] {
        names.map(|name| {
            let properties = vec![("name".to_owned(), name.to_owned())];
            let reconnect_timeout = Duration::from_secs(60);
            let config = ClientConfig { properties, reconnect_timeout, ..ClientConfig::default() };
            let client = self.add(config, Credentials::None);
            assert!(self.session(client).is_some(), "{name} connects");
            client
        })
    }

    /// Adds a client and lets it connect.
    pub fn add(&mut self, config: ClientConfig, credentials: Credentials) -> Client {
        let client = Client(self.peers.len());
        self.peers.push(Peer {
            core: ClientSession::new(config),
            credentials,
            connection: None,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            wakes: None,
            session: None,
            failed: None,
            closed: None,
            behaviours: Vec::new(),
            calls: 0,
            filter_responses: Vec::new(),
            events: Vec::new(),
            outcomes: HashMap::new(),
            ended: HashMap::new(),
            received: VecDeque::new(),
            abandoned: Vec::new(),
            frames: Vec::new(),
            wanted_credentials: 0,
            frozen: self.new_are_frozen,
        });
        let now = self.now;
        self.act(client, |core| core.connect(now));
        client
    }

    /// Answers what the broker asked first.
    pub fn tell_who(&mut self, verdict: Verdict) {
        let (ticket, _) = self.asked.pop_front().expect("a question");
        self.broker.handle_authenticated(self.now, ticket, verdict);
        self.run();
    }

    /// How often a client was asked for fresh credentials since this was last called.
    pub fn wanted_credentials(&mut self, client: Client) -> usize {
        std::mem::take(&mut self.peers[client.0].wanted_credentials)
    }

    pub fn session(&self, client: Client) -> Option<SessionId> {
        self.peers[client.0].session
    }

    pub fn connect_error(&self, client: Client) -> Option<&ConnectError> {
        self.peers[client.0].failed.as_ref()
    }

    pub fn closed(&self, client: Client) -> Option<&Closed> {
        self.peers[client.0].closed.as_ref()
    }

    /// Requests that [`Behaviour::Keep`] left to the test.
    pub fn received(&mut self, client: Client) -> Option<ReceivedRequest> {
        self.peers[client.0].received.pop_front()
    }

    pub fn abandoned(&self, client: Client) -> &[RequestId] {
        &self.peers[client.0].abandoned
    }

    pub fn frames(&self, client: Client) -> &[Vec<u8>] {
        &self.peers[client.0].frames
    }

    /// Lets a client begin a call; it is on its way when this returns, and not further.
    pub fn call(&mut self, client: Client, begin: impl FnOnce(&mut ClientSession, Moment, CallId)) -> Pending {
        let peer = &mut self.peers[client.0];
        peer.calls += 1;
        let call = CallId(peer.calls);
        begin(&mut peer.core, self.now, call);
        self.drive_client(client.0);
        Pending(client, call)
    }

    fn add_behaviour(&mut self, client: Client, behaviour: Behaviour) -> HandlerId {
        let behaviours = &mut self.peers[client.0].behaviours;
        behaviours.push(behaviour);
        HandlerId(behaviours.len() as u64 - 1)
    }

    /// The conversation in which the broker asked a client last.
    pub fn asked_in(&self, client: Client) -> ConversationId {
        let asked = |frame: &Vec<u8>| match Message::decode(frame) {
            Ok(Message::ServiceRequest { conversation, .. }) => Some(conversation),
            _ => None,
        };
        self.frames(client).iter().rev().find_map(asked).expect("asked")
    }

    /// Registers a handler and waits for the broker's word.
    pub fn register(
        &mut self,
        client: Client,
        path: &str,
        keys: &[&str],
        behaviour: Behaviour,
    ) -> Result<HandlerId, RequestError> {
        self.register_as(client, path, keys, behaviour, true)
    }

    fn register_as(
        &mut self,
        client: Client,
        path: &str,
        keys: &[&str],
        behaviour: Behaviour,
        reregister: bool,
    ) -> Result<HandlerId, RequestError> {
        let property_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let settings = HandlerSettings { property_keys, reregister, timeout: PATIENCE, ..HandlerSettings::default() };
        let handler = self.add_behaviour(client, behaviour);
        let pending = self.call(client, |core, now, call| core.register_handler(now, call, handler, path, settings));
        self.run();
        match self.outcome(pending).expect("the broker answers")? {
            Response::Registered => Ok(handler),
            other => panic!("{other:?}"),
        }
    }

    /// Registers a handler that answers with `text`.
    pub fn answer(&mut self, client: Client, path: &str, text: &str) -> HandlerId {
        self.register(client, path, &[], Behaviour::Text(text.into())).expect("registered")
    }

    pub fn deregister(&mut self, client: Client, handler: HandlerId) -> Result<(), RequestError> {
        let pending = self.call(client, |core, now, call| core.deregister_handler(now, call, handler));
        self.run();
        self.outcome(pending).expect("the broker answers").map(|_| ())
    }

    /// As [`Self::register`], and the handler is not registered again by itself.
    pub fn register_once(&mut self, client: Client, path: &str, behaviour: Behaviour) {
        self.register_as(client, path, &[], behaviour, false).expect("registered");
    }

    /// Answers the requests that are sent to this client by its ID or by a filter.
    pub fn stream(&mut self, client: Client, path: &str, behaviour: Behaviour) {
        let handler = self.add_behaviour(client, behaviour);
        self.peers[client.0].core.add_stream(handler, path, true, PATIENCE);
    }

    /// Sends a text to the session of another client; it is on its way when this returns, and not further.
    pub fn send_to_session(&mut self, client: Client, session: SessionId, path: &str, text: &str) -> Pending {
        let (value, timeout) = (text_value(text), self.default_timeout);
        self.call(client, |core, now, call| core.send_to_session(now, call, session, path, value.as_wire(), timeout))
    }

    /// Sends a text to all sessions that match; it is on its way when this returns, and not further.
    pub fn send_to_filter(&mut self, client: Client, filter: &str, path: &str, text: &str) -> Pending {
        let (value, timeout) = (text_value(text), self.default_timeout);
        self.call(client, |core, now, call| core.send_to_filter(now, call, filter, path, value.as_wire(), timeout))
    }

    /// Why no more responses come to a request to a filter, if that is so.
    pub fn end_of_responses(&mut self, Pending(client, call): Pending) -> Option<Result<(), RequestError>> {
        self.peers[client.0].ended.remove(&call)
    }

    /// What has come of requests to filters since it was asked last: who answered, and what.
    pub fn filter_responses(&mut self, client: Client) -> Vec<FilterResponseReceived> {
        std::mem::take(&mut self.peers[client.0].filter_responses)
    }

    /// Sends a text to a path; it is on its way when this returns, and not further.
    pub fn send(&mut self, client: Client, path: &str, text: &str) -> Pending {
        self.try_send(client, path, text, self.default_timeout).expect("sent")
    }

    pub fn try_send(
        &mut self,
        client: Client,
        path: &str,
        text: &str,
        timeout: Duration,
    ) -> Result<Pending, RequestError> {
        let pending = self.send_to_path(client, path, text, timeout.into());
        match self.peers[client.0].outcomes.remove(&pending.1) {
            Some(outcome) => outcome.map(|_| pending),
            None => Ok(pending),
        }
    }

    /// Sends a text to a path, or keeps it until there is a connection.
    pub fn send_or_wait(&mut self, client: Client, path: &str, text: &str, timeout: Duration) -> Pending {
        self.send_to_path(client, path, text, Patience { timeout, wait: true })
    }

    fn send_to_path(&mut self, client: Client, path: &str, text: &str, patience: Patience) -> Pending {
        let value = text_value(text);
        self.call(client, |core, now, call| core.send_to_path(now, call, path, value.as_wire(), patience))
    }

    /// Sends a text to a path and lets everything happen that follows at once.
    pub fn request(&mut self, client: Client, path: &str, text: &str) -> Pending {
        let pending = self.send(client, path, text);
        self.run();
        pending
    }

    /// The answer to a request, as text.
    pub fn settle(&mut self, pending: Pending) -> Result<String, RequestError> {
        self.run();
        match self.outcome(pending).expect("settled")? {
            Response::Value(value) => Ok(text_of(&value)),
            other => panic!("{other:?}"),
        }
    }

    /// The error reason that a request was refused with.
    pub fn refusal(&mut self, pending: Pending) -> ErrorReason {
        match self.settle(pending) {
            Err(RequestError::Refused { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    /// These properties of the client's own session.
    pub fn properties(&mut self, client: Client, keys: &[&str]) -> Vec<(String, String)> {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let pending = self.call(client, |core, now, call| core.get_properties(now, call, &keys));
        self.run();
        match self.outcome(pending) {
            Some(Ok(Response::Properties(properties))) => properties,
            other => panic!("{other:?}"),
        }
    }

    /// Asks for another principal.
    pub fn change_principal(&mut self, client: Client, principal: &str, password: &str) -> Pending {
        let credentials = Credentials::Password(password.into());
        let pending = self.call(client, |core, now, call| core.change_principal(now, call, principal, &credentials));
        self.run();
        pending
    }

    /// What became of a request, if it is settled. Asked once.
    pub fn outcome(&mut self, Pending(client, call): Pending) -> Option<Result<Response, RequestError>> {
        self.peers[client.0].outcomes.remove(&call)
    }

    pub fn respond(&mut self, client: Client, request: RequestId, text: &str) {
        let value = text_value(text);
        self.act(client, |core| core.respond(request, Ok(value.as_wire())));
    }

    pub fn close(&mut self, client: Client) {
        let now = self.now;
        self.act(client, |core| core.close(now));
    }

    /// Cuts the connection; neither end knows why.
    pub fn cut(&mut self, client: Client) {
        let peer = &mut self.peers[client.0];
        let Some(connection) = peer.connection.take() else { return };
        peer.to_broker.clear();
        peer.to_client.clear();
        peer.lose(self.now, "cut");
        self.broker.handle_disconnected(self.now, connection);
        self.run();
    }

    /// What became of its connections since it was asked last.
    pub fn events(&mut self, client: Client) -> Vec<Event> {
        std::mem::take(&mut self.peers[client.0].events)
    }

    /// Cuts the connection as [`Self::cut`] does, and lets the client know only.
    pub fn cut_for_client(&mut self, client: Client) {
        let peer = &mut self.peers[client.0];
        peer.connection = None;
        peer.to_broker.clear();
        peer.to_client.clear();
        peer.lose(self.now, "cut");
        self.run();
    }

    /// The broker is gone and another one has come, which knows nothing.
    pub fn replace_broker(&mut self, config: BrokerConfig) {
        self.broker = Broker::new(BrokerConfig { server: 8, ..config }, Access::development());
        self.broker_wakes = None;
        for index in 0..self.peers.len() {
            self.cut_for_client(Client(index));
        }
    }

    /// From now on no connection is made, or connections are made again.
    pub fn set_reachable(&mut self, reachable: bool) {
        self.is_unreachable = !reachable;
    }

    /// Lets what was stopped be lost, with the connection.
    pub fn thaw_and_cut(&mut self, client: Client) {
        self.peers[client.0].frozen = false;
        self.cut(client);
    }

    /// The next connections of a client come without its credentials.
    pub fn forget_credentials(&mut self, client: Client) {
        self.peers[client.0].credentials = Credentials::None;
    }

    /// Lets a client that waits for its next attempt to reconnect try now.
    pub fn act_now(&mut self, client: Client) {
        let now = self.now;
        self.act(client, |core| core.reconnect(now));
    }

    /// Carries one message, or does one other thing; false if there is nothing to do. Time stands still.
    pub fn step(&mut self) -> bool {
        (0..self.peers.len()).any(|client| {
            self.drive_client(client)
                || self.deliver_to_broker(client)
                || self.drive_broker()
                || self.deliver_to_client(client)
        }) || self.drive_broker()
    }

    /// Stops everything on a connection without telling either end.
    pub fn freeze(&mut self, client: Client) {
        self.peers[client.0].frozen = true;
    }

    /// Clients that are added from now on have frozen connections.
    pub fn freeze_new(&mut self) {
        self.new_are_frozen = true;
    }

    /// Lets what was stopped go on.
    pub fn thaw(&mut self, client: Client) {
        self.peers[client.0].frozen = false;
    }

    /// Puts bytes on the wire that the client's core would not send.
    pub fn inject(&mut self, client: Client, frame: Vec<u8>) {
        self.peers[client.0].to_broker.push_back(frame);
        self.run();
    }

    /// The same, before anything that was under way moves.
    pub fn overtake(&mut self, client: Client, frame: Vec<u8>) {
        let connection = self.peers[client.0].connection.expect("connected");
        self.broker.handle_frame(self.now, connection, &frame);
        self.run();
    }

    /// Lets a client do something, then everything happen that follows at once.
    pub fn act(&mut self, client: Client, action: impl FnOnce(&mut ClientSession)) {
        action(&mut self.peers[client.0].core);
        self.run();
    }

    /// Moves time on, with a stop wherever somebody wants to wake.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.run();
            let wakes = self.peers.iter().map(|peer| peer.wakes).chain([self.broker_wakes]).flatten().min();
            match wakes.filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.wake();
        }
        self.now = end;
        self.run();
    }

    /// Moves time on while nobody does anything: the machine sleeps.
    pub fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.wake();
        self.run();
    }

    fn wake(&mut self) {
        let now = self.now;
        if self.broker_wakes.is_some_and(|at| at <= now) {
            self.broker_wakes = None;
            self.broker.handle_timeout(now);
        }
        for peer in &mut self.peers {
            if peer.wakes.is_some_and(|at| at <= now) {
                peer.wakes = None;
                peer.core.handle_timeout(now);
            }
        }
    }

    /// Carries frames until nothing moves any more. Time stands still.
    pub fn run(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.peers.len() {
                moved |= self.drive_client(index);
                moved |= self.deliver_to_broker(index);
                moved |= self.drive_broker();
                moved |= self.deliver_to_client(index);
            }
            moved |= self.drive_broker();
            // What it does a part at a time goes on when it has nothing else to do.
            if !moved && self.broker_wakes.is_some_and(|at| at <= self.now) {
                self.broker_wakes = None;
                self.broker.handle_timeout(self.now);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    fn deliver_to_broker(&mut self, client: usize) -> bool {
        let peer = &mut self.peers[client];
        let Some(connection) = peer.connection.filter(|_| !peer.frozen) else { return false };
        let Some(frame) = peer.to_broker.pop_front() else { return false };
        self.broker.handle_frame(self.now, connection, &frame);
        true
    }

    fn deliver_to_client(&mut self, client: usize) -> bool {
        let peer = &mut self.peers[client];
        if peer.frozen {
            return false;
        }
        let Some(frame) = peer.to_client.pop_front() else { return false };
        peer.take(self.now, frame);
        true
    }
}

impl Wires for Network {
    fn now(&self) -> Moment {
        self.now
    }

    fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    fn core(&mut self, client: usize) -> &mut ClientSession {
        &mut self.peers[client].core
    }

    fn open(&mut self, client: usize, id: client::ConnectionId) {
        let peer = &mut self.peers[client];
        if peer.core.state() == client::State::Connected {
            peer.wanted_credentials += 1;
            return;
        }
        if self.is_unreachable {
            peer.lose(self.now, "nobody listens");
            return;
        }
        self.next_connection += 1;
        let connection = ConnectionId(self.next_connection);
        peer.connection = Some(connection);
        // What was stopped was the connection before.
        peer.frozen = self.new_are_frozen;
        peer.core.handle_open(id);
        let query = peer.core.connect_query(peer.credentials.clone());
        self.arrive(connection, &query, token_bytes(connection.0));
    }

    fn send_to_broker(&mut self, client: usize, frame: Vec<u8>) {
        self.peers[client].to_broker.push_back(frame);
    }

    fn flush_soon(&mut self, client: usize) {
        self.peers[client].core.flush();
    }

    fn disconnect(&mut self, client: usize) {
        // What was sent before arrives before the end of the connection.
        self.deliver_to_broker(client);
        self.drive_broker();
        let peer = &mut self.peers[client];
        peer.to_broker.clear();
        peer.to_client.clear();
        if let Some(connection) = peer.connection.take() {
            self.broker.handle_disconnected(self.now, connection);
        }
    }

    fn retry(&mut self, client: usize, attempt: u32) {
        self.peers[client].core.retry_after(self.now, Some(RETRY_DELAY * attempt), 0.0);
    }

    fn wake_client(&mut self, client: usize, at: Moment) {
        self.peers[client].wakes = Some(at);
    }

    fn deliver(&mut self, client: usize, event: Event) {
        let peer = &mut self.peers[client];
        match event {
            Event::Connected(session) => peer.session = Some(session),
            Event::Reconnected { session, .. } => {
                peer.session = Some(session);
                peer.events.push(event);
            }
            Event::Disconnected(_) | Event::MessagesLost { .. } | Event::HandlerLost(_) => peer.events.push(event),
            Event::ConnectFailed(error) => peer.failed = Some(error),
            Event::Closed(closed) => peer.closed = Some(closed),
            Event::RequestAbandoned { request, .. } => peer.abandoned.push(request),
            Event::CallEnded { call, outcome } => {
                let twice = peer.outcomes.insert(call, outcome);
                assert_eq!(twice, None, "an outcome comes once");
            }
            Event::FilterResponseReceived(response) => peer.filter_responses.push(response),
            Event::FilterCallEnded { call, outcome } => {
                let twice = peer.ended.insert(call, outcome);
                assert_eq!(twice, None, "responses end once");
            }
            Event::RequestReceived(request) => {
                let id = request.id;
                match &peer.behaviours[request.handler.0 as usize] {
                    Behaviour::Text(text) => peer.core.respond(id, Ok(text_value(text).as_wire())),
                    Behaviour::Echo => peer.core.respond(id, Ok(request.request.as_wire())),
                    Behaviour::Refuse(reason, text) => peer.core.respond(id, Err((*reason, text, &[]))),
                    Behaviour::Keep => peer.received.push_back(request),
                }
            }
        }
    }

    fn send_to_client(&mut self, connection: ConnectionId, frame: Vec<u8>) {
        if let Some(peer) = self.peers.iter_mut().find(|peer| peer.connection == Some(connection)) {
            peer.to_client.push_back(frame);
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        let now = self.now;
        let client = self.peers.iter().position(|peer| peer.connection == Some(connection) && !peer.frozen);
        if let Some(client) = client {
            // What was sent before arrives before the end of the connection.
            for frame in std::mem::take(&mut self.peers[client].to_client) {
                self.peers[client].take(now, frame);
            }
            // The client may have turned away from this connection by itself.
            self.drive_client(client);
            let peer = &mut self.peers[client];
            if peer.connection == Some(connection) {
                peer.connection = None;
                peer.lose(now, "closed by the broker");
            }
        }
        self.broker.handle_disconnected(now, connection);
    }

    fn wake_broker(&mut self, at: Moment) {
        self.broker_wakes = Some(at);
    }

    fn ask_who(&mut self, ticket: Ticket, login: Login) {
        self.asked.push_back((ticket, login));
    }
}

impl Peer {
    /// A frame arrives.
    fn take(&mut self, now: Moment, frame: Vec<u8>) {
        if let Some(connection) = self.core.connection() {
            self.core.handle_frame(now, connection, &frame);
        }
        self.frames.push(frame);
    }

    /// Its connection is gone.
    fn lose(&mut self, now: Moment, reason: &str) {
        if let Some(connection) = self.core.connection() {
            self.core.handle_disconnected(now, connection, reason);
        }
    }
}

/// Who sent a request to a path, and the properties that the handler asked for.
pub fn sender_of(request: &ReceivedRequest) -> (SessionId, &[(String, String)]) {
    let Sender { session, properties } =
        request.sender.as_ref().expect("an addressed request does not say who sent it");
    (*session, properties)
}

/// A value, into which the broker never looks.
pub fn text_value(text: &str) -> Value {
    Value::new(DataType::Binary, text.as_bytes().to_vec())
}

pub fn text_of(value: &Value) -> String {
    String::from_utf8(value.bytes.clone()).expect("text")
}

/// What the system's generator would give for the token of a session: other bytes for every connection.
fn token_bytes(connection: u64) -> [u8; 18] {
    let mut bytes = [7; 18];
    bytes[..8].copy_from_slice(&connection.to_be_bytes());
    bytes
}
