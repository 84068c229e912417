//! The rules of the server's end of every connection.
//!
//! - `sessions`: what the broker knows of a session.
//! - [`access`]: who may connect, and what they are then.
//! - `reconnection`: sessions that outlive their connections.
//! - [`properties`]: session properties and which of them a handler wants.
//! - [`filter`]: the session filter language.
//! - `registry`: which session handles which path.
//! - `routing`: from a request to its recipient, from the answer to the sender.
//! - [`timeouts`]: how long recipients may take to answer; `deadlines`: the queue of all timers.

pub mod access;
mod deadlines;
pub mod filter;
pub mod properties;
mod reconnection;
mod registry;
mod routing;
mod sessions;
pub mod timeouts;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{
    ConnectRequest, ConnectResponse, NEWEST_VERSION, OLDEST_VERSION, ResponseCode, SessionToken,
};
use antiphon_protocol::wire::layouts::{Reauthenticate, ServiceFailure};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    ChangeOwnPrincipal, ReAuthenticate, Service, ServiceRequest, SystemPing, UserPing, service_name,
};

use bytes::Bytes;

use access::Access;
use deadlines::Deadlines;
use properties::TooLarge;
use registry::Registry;
use sessions::{Link, Outgoing, Session, SessionKey};
use timeouts::PathTimeouts;

/// Names a connection; whoever runs the sockets chooses the numbers and never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// How the broker behaves.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// First half of all session IDs of this broker instance.
    pub server: u64,
    /// `$ServerName` of every session.
    pub server_name: String,
    /// How long a recipient has to answer before the sender is told that it does not.
    pub request_timeout: Duration,
    /// The same for requests to some paths, wherever they go: to a path, a session or a filter.
    pub request_timeouts: PathTimeouts,
    /// Time between system pings; zero for none.
    pub ping_period: Duration,
    /// How long a session may outlive a connection at most, whatever its client asks for; zero for not at all.
    pub reconnect_timeout: Duration,
    /// How much of what was sent is kept for each session, for the case that its connection is lost.
    pub recovery: RecoveryLimits,
    /// Most bytes that are kept for that, in all sessions together.
    pub max_recovery_bytes: usize,
    /// Sessions at the same time, with those that have lost their connection.
    pub max_sessions: usize,
    /// Largest message taken from a client, in bytes.
    pub max_message_size: usize,
    /// Requests of one session that may wait for their answers at the same time.
    pub max_outstanding_requests: usize,
    /// Requests that may wait for the answers of one session at the same time; well below what may be queued for it.
    pub max_requests_to_answer: usize,
    /// Bytes of those requests. A single request may have more.
    pub max_bytes_to_answer: usize,
    /// Most bytes of a request (path, type and value) times the sessions that it goes to.
    pub max_fan_out_bytes: usize,
    /// Request handlers that one session may have registered.
    pub max_registrations: usize,
    /// Starts the generator that chooses among equal handlers.
    pub seed: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            server: 0,
            server_name: "antiphon".into(),
            request_timeout: Duration::from_secs(60),
            request_timeouts: PathTimeouts::default(),
            ping_period: Duration::from_secs(90),
            reconnect_timeout: Duration::from_secs(300),
            recovery: RecoveryLimits::default(),
            max_recovery_bytes: 256 << 20,
            max_sessions: 20_000,
            max_message_size: 32 << 20,
            max_outstanding_requests: 10_000,
            max_requests_to_answer: 5_000,
            max_bytes_to_answer: 64 << 20,
            max_fan_out_bytes: 64 << 20,
            max_registrations: 10_000,
            seed: 0,
        }
    }
}

impl BrokerConfig {
    /// How long a recipient has to answer a request to `path`, which is in normal form.
    fn timeout_for(&self, path: &str) -> Duration {
        self.request_timeouts.get(path).unwrap_or(self.request_timeout)
    }
}

/// What comes with a connection besides the request itself.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// `$ClientIP`: the address without the port.
    pub client_ip: String,
    /// `$StartTime`: milliseconds since 1970.
    pub start_time: u64,
    /// From the system's generator; becomes the session token.
    pub random: [u8; 18],
}

/// What the broker wants done. Returned by [`Broker::poll_output`].
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this as one binary WebSocket message.
    Send(ConnectionId, Bytes),
    /// Send what was given to this connection before, then close it.
    Close(ConnectionId),
    /// Call [`Broker::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// All sessions of a broker and what goes on between them.
///
/// *After every `handle_*`, call [`poll_output`](Self::poll_output) until it returns `None`.*
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    access: Access,
    sessions: HashMap<SessionKey, Session>,
    by_connection: HashMap<ConnectionId, SessionKey>,
    /// By a keyed hash of the token, so that looking one up tells nothing about the others.
    by_token: HashMap<u64, SessionKey>,
    token_hasher: RandomState,
    /// When sessions without a connection end.
    expiries: Deadlines<SessionKey>,
    /// So that a filter for one principal need not look at every session.
    by_principal: HashMap<String, BTreeSet<SessionKey>>,
    registry: Registry,
    /// When each session is pinged next.
    pings: Deadlines<SessionKey>,
    /// When each forwarded request is given up.
    deadlines: Deadlines<(SessionKey, ConversationId)>,
    outputs: VecDeque<Output>,
    wake_at: Option<Moment>,
    sessions_opened: u64,
    recovery_bytes: usize,
    late_answers: u64,
    random: u64,
}

impl Broker {
    /// A broker without sessions.
    #[must_use]
    pub fn new(config: BrokerConfig, access: Access) -> Self {
        let random = config.seed;
        Self {
            config,
            access,
            sessions: HashMap::new(),
            by_connection: HashMap::new(),
            by_token: HashMap::new(),
            token_hasher: RandomState::new(),
            expiries: Deadlines::default(),
            by_principal: HashMap::new(),
            registry: Registry::default(),
            pings: Deadlines::default(),
            deadlines: Deadlines::default(),
            outputs: VecDeque::new(),
            wake_at: None,
            sessions_opened: 0,
            recovery_bytes: 0,
            late_answers: 0,
            random,
        }
    }

    /// The next thing to do; nothing if there is nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        let next = [self.pings.next(), self.deadlines.next(), self.expiries.next()].into_iter().flatten().min();
        if next == self.wake_at {
            return None;
        }
        self.wake_at = next;
        next.map(Output::WakeAt)
    }

    /// Number of open sessions, with those that have no connection at the moment.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Number of requests that wait for an answer.
    #[must_use]
    pub fn outstanding_requests(&self) -> usize {
        self.sessions.values().map(|session| session.outstanding).sum()
    }

    /// Number of requests and pings that the broker sent and that wait for an answer, even if nobody wants it any more.
    #[must_use]
    pub fn open_conversations(&self) -> usize {
        self.sessions.values().map(|session| session.conversations.len()).sum()
    }

    /// How many answers came after the first, after the time allowed, or after the sender had gone.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.late_answers
    }

    /// A client opened a connection and asks for a session. The answer is a connection response in any case, and a
    /// refusal closes the connection.
    ///
    /// Source: sections 2 and 3.
    pub fn handle_connect(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
    ) {
        let accepted = if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&request.version) {
            Err(ResponseCode::DOWNGRADE)
        } else if let Some(recovery) = &request.recovery {
            match self.session_with(&recovery.token) {
                Some(key) => return self.reconnect(now, key, connection, request, recovery),
                None => Err(ResponseCode::UNKNOWN_SESSION),
            }
        } else {
            let principal = request.principal.as_deref().unwrap_or_default();
            let known = self.access.authenticate(principal, &request.credentials);
            known
                .ok_or(ResponseCode::AUTHENTICATION_FAILED)
                .and_then(|roles| if self.make_room() { Ok(roles) } else { Err(ResponseCode::LICENCE_EXCEEDED) })
        };
        let version = request.version;
        let id = SessionId { server: self.config.server, value: self.sessions_opened };
        let accepted = accepted.and_then(|roles| {
            properties::of_new_session(id, &self.config.server_name, request, arrival, &roles)
                .map_err(|TooLarge| ResponseCode::PROTOCOL_ERROR)
        });
        let properties = match accepted {
            Ok(properties) => properties,
            Err(code) => {
                self.send(connection, ConnectResponse::Refused { version, code }.to_frame());
                self.outputs.push_back(Output::Close(connection));
                return;
            }
        };
        let key = SessionKey(id.value);
        self.sessions_opened += 1;
        let token = SessionToken::from_random(arrival.random);
        self.by_token.insert(self.hash_of(token.as_bytes()), key);
        let keep_for = self.keep_for(request);
        let session = Session::new(id, token, connection, keep_for, self.config.recovery, properties, now);
        let principal = request.principal.clone().unwrap_or_default();
        self.by_principal.entry(principal).or_default().insert(key);
        self.sessions.insert(key, session);
        self.by_connection.insert(connection, key);
        self.send_accepted(connection, version, ResponseCode::OK, key);
        self.start_pings(now, key);
    }

    /// Tells a client about its session.
    fn send_accepted(&mut self, connection: ConnectionId, version: u8, code: ResponseCode, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        let tail = match code {
            ResponseCode::RECONNECTED => i32::try_from(session.received + 1).unwrap_or(i32::MAX),
            _ => i32::try_from(self.config.max_message_size).unwrap_or(i32::MAX),
        };
        let response = ConnectResponse::Accepted {
            version,
            code,
            session: session.id,
            token: session.token.clone(),
            ping_period: i64::try_from(self.config.ping_period.as_millis()).unwrap_or(i64::MAX),
            tail,
        };
        self.send(connection, response.to_frame());
    }

    /// A binary WebSocket message arrived.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: &[u8]) {
        let Some(key) = self.session_on(now, connection) else { return };
        if self.is_repetition(key, frame) {
            return;
        }
        match Message::decode(frame) {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                match ServiceRequest::decode(service, body) {
                    Ok(Some(request)) => self.serve(now, key, conversation, request),
                    Ok(None) => self.refuse_service(key, conversation, service),
                    Err(_) => self.abort(key),
                }
            }
            Ok(Message::ServiceResponse { conversation, body }) => {
                self.handle_answer(key, conversation, Ok(body));
            }
            Ok(Message::ServiceError { conversation, failure }) => {
                self.handle_answer(key, conversation, Err(failure));
            }
            // A client says goodbye with a close request and gets an abort for an answer. One that sends what no
            // client sends gets the same (sections 4.1 and 11).
            Ok(Message::CloseRequest | Message::Topic | Message::Abort) | Err(_) => self.abort(key),
        }
    }

    /// A WebSocket message arrived that no client may send: text, or larger than allowed. Ends the session.
    pub fn handle_violation(&mut self, now: Moment, connection: ConnectionId) {
        if let Some(key) = self.session_on(now, connection) {
            self.abort(key);
        }
    }

    /// Something arrived that is no message but shows that the client lives, such as a WebSocket ping.
    pub fn handle_sign_of_life(&mut self, now: Moment, connection: ConnectionId) {
        self.session_on(now, connection);
    }

    /// The connection is gone. Its session stays for as long as it was agreed, or ends with it.
    pub fn handle_disconnected(&mut self, now: Moment, connection: ConnectionId) {
        if let Some(key) = self.by_connection.get(&connection) {
            self.lose_connection(now, *key);
        }
    }

    /// The client does not read what it is sent, and more cannot be kept for it. Ends the session (rules L-3).
    pub fn handle_overflow(&mut self, connection: ConnectionId) {
        if let Some(key) = self.by_connection.get(&connection) {
            self.abort(*key);
        }
    }

    /// The time that [`Output::WakeAt`] asked for has come. Early and spurious calls do no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.wake_at = None;
        while let Some((recipient, conversation)) = self.deadlines.pop_due(now) {
            self.time_out(recipient, conversation);
        }
        while let Some(key) = self.pings.pop_due(now) {
            self.ping(now, key);
        }
        while let Some(key) = self.expiries.pop_due(now) {
            self.remove_session(key);
        }
    }

    /// Ends every session: the broker is about to stop.
    pub fn shut_down(&mut self) {
        let mut keys: Vec<_> = self.sessions.keys().copied().collect();
        keys.sort_unstable();
        for key in keys {
            self.abort(key);
        }
    }

    /// The session of a connection from which something arrived just now.
    fn session_on(&mut self, now: Moment, connection: ConnectionId) -> Option<SessionKey> {
        let key = *self.by_connection.get(&connection)?;
        self.sessions.get_mut(&key)?.last_heard = now;
        Some(key)
    }

    fn serve(&mut self, now: Moment, key: SessionKey, conversation: ConversationId, request: ServiceRequest<'_>) {
        match request {
            ServiceRequest::UserPing(()) => self.answer::<UserPing>(key, conversation, &()),
            ServiceRequest::MessagingSend(request) => self.route_to_path(now, key, conversation, &request),
            ServiceRequest::Registration(request) => self.register(key, conversation, &request),
            ServiceRequest::Deregistration(request) => self.deregister(key, conversation, &request),
            ServiceRequest::ChangeOwnPrincipal(request) => {
                let changed = self.change_principal(key, request.principal, &request.credentials.into(), &[]);
                self.tell_changed::<ChangeOwnPrincipal>(key, conversation, changed);
            }
            ServiceRequest::ReAuthenticate(Reauthenticate { principal, credentials, properties }) => {
                let changed = self.change_principal(key, principal, &credentials.into(), &properties);
                self.tell_changed::<ReAuthenticate>(key, conversation, changed);
            }
            ServiceRequest::GetProperties(request) => self.tell_properties(key, conversation, &request),
            ServiceRequest::GetOwnProperties(()) => self.tell_own_properties(key, conversation),
            ServiceRequest::CloseClient(session) => self.close_client(key, conversation, session),
            ServiceRequest::SystemPing(()) => self.refuse_service(key, conversation, 55),
            ServiceRequest::MessagingReceiverServer(request) => {
                self.route_to_session(now, key, conversation, &request);
            }
            ServiceRequest::MessagingReceiverClient(_) => self.refuse_service(key, conversation, 88),
            ServiceRequest::MessagingFilterSender(request) => {
                self.route_to_filter(now, key, conversation, &request);
            }
            ServiceRequest::FilterResponseDelivery(_) => self.refuse_service(key, conversation, 103),
            ServiceRequest::SetProperties(_) => self.refuse_service(key, conversation, 105),
        }
    }

    fn refuse_service(&mut self, key: SessionKey, conversation: ConversationId, service: u32) {
        let text = match service_name(service) {
            Some(name) => format!("this broker does not offer service {service} ({name})"),
            None => format!("this broker does not offer service {service}"),
        };
        self.refuse(key, conversation, ErrorReason::UNSUPPORTED, &text);
    }

    fn start_pings(&mut self, now: Moment, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some(at) = session.next_ping.take() {
            self.pings.remove(at, key);
        }
        if !self.config.ping_period.is_zero() {
            let at = now + self.config.ping_period;
            session.next_ping = Some(at);
            self.pings.insert(at, key);
        }
    }

    /// One ping a period whatever the traffic: the official JavaScript client counts nothing else (section 6).
    fn ping(&mut self, now: Moment, key: SessionKey) {
        let period = self.config.ping_period;
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some((unanswered, sent_at)) = session.ping.take() {
            session.conversations.close(unanswered);
            // Not merely a client that is too busy to answer: nothing at all came from it in a whole period. It may
            // live, on a connection that does not; so its session stays.
            if session.last_heard < sent_at {
                if session.keep_for.is_zero() {
                    return self.abort(key);
                }
                if let Link::Connected(connection) = session.link {
                    self.outputs.push_back(Output::Close(connection));
                }
                return self.lose_connection(now, key);
            }
        }
        let conversation = session.conversations.next_id();
        session.conversations.open(conversation, Outgoing::Ping);
        session.ping = Some((conversation, now));
        session.next_ping = Some(now + period);
        self.pings.insert(now + period, key);
        self.send_to(key, || request_frame::<SystemPing>(conversation, &(), 0));
    }

    /// Tells the client that its session is over, and closes the connection.
    fn abort(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(&key) else { return };
        if let Link::Connected(connection) = session.link {
            self.send(connection, Message::Abort.to_frame());
            self.outputs.push_back(Output::Close(connection));
        }
        self.remove_session(key);
    }

    fn answer<S: Service>(&mut self, key: SessionKey, conversation: ConversationId, response: &S::Response<'_>) {
        self.send_answer(key, conversation, || response_frame::<S>(conversation, response));
    }

    fn refuse(&mut self, key: SessionKey, conversation: ConversationId, reason: ErrorReason, description: &str) {
        let failure = ServiceFailure { description, reason };
        self.send_answer(key, conversation, || Message::ServiceError { conversation, failure }.to_frame());
    }

    /// Sends the answer to a request, if it wants one (section 5).
    fn send_answer(&mut self, key: SessionKey, conversation: ConversationId, frame: impl FnOnce() -> Vec<u8>) {
        if conversation != ConversationId::ONE_WAY {
            self.send_to(key, frame);
        }
    }

    /// Sends a message of the session, now or when it has a connection again; the frame is made only if there is one.
    fn send_to(&mut self, key: SessionKey, frame: impl FnOnce() -> Vec<u8>) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let frame = Bytes::from(frame());
        if !session.keep_for.is_zero() {
            session.keep(frame.clone(), &mut self.recovery_bytes, self.config.max_recovery_bytes);
        }
        if let Link::Connected(connection) = session.link {
            self.outputs.push_back(Output::Send(connection, frame));
        }
    }

    /// Sends what is no message of a session, and not counted.
    fn send(&mut self, connection: ConnectionId, frame: Vec<u8>) {
        self.outputs.push_back(Output::Send(connection, frame.into()));
    }
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::handshake::Credentials;
    use antiphon_protocol::wire::layouts::{
        ChangePrincipal, DeregisterHandler, GetSessionProperties, RegisterHandler, SendToFilter, SendToPath,
        SendToSession, SerialisedValue, WireCredentials,
    };
    use antiphon_protocol::wire::services::{
        CloseClient, Deregistration, GetOwnProperties, GetProperties, MessagingFilterSender, MessagingReceiverServer,
        MessagingSend, Registration,
    };

    use super::*;

    /// Everything that a client may ask for.
    fn requests(conversation: ConversationId, own: SessionId) -> Vec<Vec<u8>> {
        fn frame<S: Service>(conversation: ConversationId, request: &S::Request<'_>) -> Vec<u8> {
            request_frame::<S>(conversation, request, 0)
        }
        let (delivery_service, control_group, property_keys) = (88, "", vec![]);
        let (path, credentials) = ("here", WireCredentials::None(&[]));
        let request = SerialisedValue { type_name: "string", bytes: b"\xf6" };
        let registration = ConversationId(5);
        let register = RegisterHandler { delivery_service, control_group, path, property_keys: vec![], registration };
        let filter = SendToFilter { filter_conversation: registration, filter: "all", path, request: request.clone() };
        vec![
            frame::<UserPing>(conversation, &()),
            frame::<Registration>(conversation, &register),
            frame::<Registration>(conversation, &register),
            frame::<Deregistration>(
                conversation,
                &DeregisterHandler { delivery_service, control_group, path, property_keys },
            ),
            frame::<GetProperties>(conversation, &GetSessionProperties { session: own, keys: vec!["*F"] }),
            frame::<GetOwnProperties>(conversation, &()),
            frame::<ChangeOwnPrincipal>(
                conversation,
                &ChangePrincipal { principal: "", credentials: credentials.clone() },
            ),
            frame::<ReAuthenticate>(conversation, &Reauthenticate { principal: "", credentials, properties: vec![] }),
            frame::<CloseClient>(conversation, &SessionId { value: 99, ..own }),
            frame::<MessagingSend>(conversation, &SendToPath { path: "nobody", request: request.clone() }),
            frame::<MessagingReceiverServer>(conversation, &SendToSession { session: own, path: "a//b", request }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "no filter", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "not all", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &filter),
            // Nobody offers this one.
            Message::ServiceRequest { service: 9999, conversation, body: &[] }.to_frame(),
        ]
    }

    #[test]
    fn every_request_is_answered_but_one_with_conversation_0() {
        let mut broker = Broker::new(BrokerConfig::default(), Access::development());
        let connect = ConnectRequest {
            client_type: "WB".into(),
            version: 29,
            capabilities: 8,
            reconnect_timeout: 0,
            principal: None,
            credentials: Credentials::None,
            properties: None,
            recovery: None,
        };
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 0, random: [7; 18] };
        let connection = ConnectionId(1);
        broker.handle_connect(Moment(0), connection, &connect, &arrival);
        let own = SessionId { server: 0, value: 0 };
        while broker.poll_output().is_some() {}
        for conversation in [ConversationId(7), ConversationId::ONE_WAY] {
            for request in requests(conversation, own) {
                broker.handle_frame(Moment(1), connection, &request);
                let mut answers = 0;
                while let Some(output) = broker.poll_output() {
                    let Output::Send(_, frame) = output else { continue };
                    match Message::decode(&frame).expect("a message") {
                        // A request to a filter that matches reaches this session itself, which answers.
                        Message::ServiceRequest { service: 85, conversation, .. } => {
                            let body = b"\x06string\x01\xf6";
                            let answer = Message::ServiceResponse { conversation, body }.to_frame();
                            broker.handle_frame(Moment(1), connection, &answer);
                        }
                        Message::ServiceRequest { service, .. } => {
                            assert_eq!((service, conversation), (103, ConversationId(7)), "what nobody asked for");
                        }
                        _ => answers += 1,
                    }
                }
                assert_eq!(answers, usize::from(conversation != ConversationId::ONE_WAY), "{request:x?}");
            }
        }
        assert_eq!((broker.session_count(), broker.outstanding_requests(), broker.open_conversations()), (1, 0, 0));
    }
}
