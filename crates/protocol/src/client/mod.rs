//! The client's end of a session: what it may do, what it must answer, when it gives up.
//!
//! - requests: sending and what comes of it, in `requests.rs`; to session filters, in `filters.rs`.
//! - reconnection: losing the connection and taking the session up again, in `reconnect.rs`.
//! - handlers: registering, dispatching and answering, in `handlers.rs`.
//! - errors: [`RequestError`], [`ConnectError`], [`Closed`], in `error.rs`.

mod error;
mod filters;
mod handlers;
mod reconnect;
mod requests;

use std::collections::VecDeque;
use std::time::Duration;

pub use error::{CloseCode, Closed, ConnectCode, ConnectError, Outcome, RequestError};
pub use filters::{FilterFault, FilterRequest, FilterResponseReceived};
pub use handlers::{Addressing, ReceivedRequest};
pub use requests::{Patience, Response};

use crate::conversation::Conversations;
use crate::recovery::{RecoveryBuffer, RecoveryLimits};
use crate::text;
use crate::time::{Deadlines, Moment};
use crate::wire::envelope::Message;
use crate::wire::error_reason::ErrorReason;
use crate::wire::handshake::{
    CAPABILITY_UNIFIED, ConnectRequest, ConnectResponse, Credentials, NEWEST_VERSION, OLDEST_VERSION, ResponseCode,
    SessionToken,
};
use crate::wire::layouts::ServiceFailure;
use crate::wire::primitives::{ConversationId, SessionId};
use error::milliseconds;
use reconnect::{Recovering, Stage};
use requests::{Pending, Unsent};

/// How a session connects and what it allows.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// E.g. `WB` for a browser (section 2.4).
    pub client_type: &'static str,
    /// Who connects; none for anonymous.
    pub principal: Option<String>,
    /// Proposed session properties.
    pub properties: Vec<(String, String)>,
    /// Protocol version to ask for, 22 to 29.
    pub protocol_version: u8,
    /// From [`ClientSession::connect`] to the connection response.
    pub connect_timeout: Duration,
    /// How long the server is asked to keep the session when its connection is lost, and how long we try to get another
    /// one; zero for not at all.
    pub reconnect_timeout: Duration,
    /// How much of what was sent is kept for that.
    pub recovery: RecoveryLimits,
    /// Of a registration and of a ping; requests name their own.
    pub request_timeout: Duration,
    /// Largest message taken from the server, in bytes. What a larger one belongs to fails.
    pub max_message_size: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            client_type: "WB",
            principal: None,
            properties: Vec::new(),
            protocol_version: 25,
            connect_timeout: Duration::from_secs(10),
            reconnect_timeout: Duration::ZERO,
            recovery: RecoveryLimits::default(),
            request_timeout: Duration::from_secs(30),
            max_message_size: 32 << 20,
        }
    }
}

/// What the session wants done. Returned by [`ClientSession::poll_output`].
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open a connection with the query of [`ClientSession::connect_query`].
    Connect,
    /// Send this as one binary WebSocket message.
    Send(Vec<u8>),
    /// Close the connection, or stop opening it.
    Disconnect,
    /// Choose how long to wait before this attempt to reconnect, counted from 1, and call
    /// [`ClientSession::retry_after`].
    Retry(u32),
    /// Tell the application.
    Deliver(Event),
    /// Call [`ClientSession::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// What the application is told.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The session is open.
    Connected(SessionId),
    /// The session could not be opened. Nothing follows.
    ConnectFailed(ConnectError),
    /// A conversation that the application started is over: the response, or why there is none. Comes exactly once
    /// for every conversation ID that a method returned, unless it was [abandoned](ClientSession::abandon).
    ResponseReceived {
        /// As returned by the method that started it.
        conversation: ConversationId,
        /// What came of it.
        outcome: Result<Response, RequestError>,
    },
    /// A session that a filter matched has answered.
    FilterResponseReceived(FilterResponseReceived),
    /// Somebody asks; answer with [`ClientSession::respond`].
    RequestReceived(ReceivedRequest),
    /// The answer to a received request can no longer be delivered.
    RequestAbandoned(ConversationId),
    /// The connection is lost; the session looks for another one. The reason is for people.
    Disconnected(String),
    /// Messages were lost with the connection.
    MessagesLost {
        /// Number of requests that were failed because of that.
        requests: usize,
        /// Number of request handlers that are registered again.
        handlers: usize,
    },
    /// A request handler is gone: it was lost with the connection, and was not to be registered again, or could not be.
    HandlerLost(ConversationId),
    /// The session has a connection again.
    Reconnected {
        /// What it is called now; another ID if the server has forgotten the session and opened a new one.
        session: SessionId,
        /// Whether no message was lost.
        lossless: bool,
        /// Whether it is another session for the server.
        new_session: bool,
    },
    /// The session is over. Nothing follows.
    Closed(Closed),
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// On the way to the connection response.
    Connecting,
    /// Open.
    Connected,
    /// Open, and looking for a connection.
    Recovering,
    /// Over, or saying goodbye.
    Closed,
}

/// A session as its client sees it.
///
/// Things that happened come in through `handle_*`; what the application wants comes in through the other methods.
/// *After every one of them, call [`poll_output`](Self::poll_output) until it returns `None`.*
#[derive(Debug)]
pub struct ClientSession {
    config: ClientConfig,
    phase: Phase,
    conversations: Conversations<Pending>,
    /// Requests that were delivered to the application and are not answered yet: from numbers of our own, which are never
    /// used twice, to the server's conversations. Those begin anew when messages were lost, and an answer to a request of
    /// before must not answer a later one.
    received: Conversations<ConversationId>,
    /// The same the other way round.
    received_by_conversation: Conversations<ConversationId>,
    /// What was sent, for the case that the connection is lost.
    sent: RecoveryBuffer<Vec<u8>>,
    /// How many messages came from the server.
    received_messages: u64,
    /// Requests that wait for a connection.
    unsent: VecDeque<Unsent>,
    deadlines: Deadlines<Timer>,
    outputs: VecDeque<Output>,
    wake_at: Option<Moment>,
}

#[derive(Debug)]
enum Phase {
    Idle,
    /// `opened` says that the WebSocket is open and the response is being waited for.
    Connecting {
        deadline: Moment,
        opened: bool,
    },
    Connected(Connected),
    Recovering(Recovering),
    /// The close request is out; the connection is closed by the server or after [`CLOSE_PATIENCE`].
    Closing,
    Closed,
}

#[derive(Debug)]
struct Connected {
    session: SessionId,
    /// What is spoken with the server.
    version: u8,
    /// Presented on reconnection.
    token: SessionToken,
    /// Largest message that the server takes, in bytes.
    max_message_size: usize,
    /// The server promised a sign of life within this time; none if it promised nothing.
    patience: Option<Duration>,
    last_heard: Moment,
    /// When that is looked at.
    idle_at: Option<Moment>,
    /// Whether nothing came for too long, by a timer that may have been late itself.
    is_suspect: bool,
    /// How many connections in a row ended because of what the server sent.
    violations: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Connect,
    Close,
    Idle,
    Retry,
    GiveUp,
    Request(ConversationId),
}

/// How long a connection that seems dead is given, so that what has arrived is read first: timers of hidden pages are late.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How long the server has to close the connection after the close request (section 11).
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl ClientSession {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            sent: RecoveryBuffer::new(config.recovery),
            received_messages: 0,
            unsent: VecDeque::new(),
            config,
            phase: Phase::Idle,
            conversations: Conversations::default(),
            received: Conversations::default(),
            received_by_conversation: Conversations::default(),
            deadlines: Deadlines::default(),
            outputs: VecDeque::new(),
            wake_at: None,
        }
    }

    /// Start connecting. [`Event::Connected`] or [`Event::ConnectFailed`] follows.
    pub fn connect(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Idle) {
            let deadline = now + self.config.connect_timeout;
            self.phase = Phase::Connecting { deadline, opened: false };
            self.deadlines.insert(deadline, Timer::Connect);
            self.outputs.push_back(Output::Connect);
        }
    }

    /// The query of the URL to connect to, without the question mark. It contains the credentials.
    #[must_use]
    pub fn connect_query(&self, credentials: Credentials) -> String {
        let principal = match &self.config.principal {
            None if credentials != Credentials::None => Some(String::new()),
            principal => principal.clone(),
        };
        ConnectRequest {
            client_type: self.config.client_type.to_owned(),
            version: self.config.protocol_version,
            capabilities: CAPABILITY_UNIFIED,
            reconnect_timeout: u64::try_from(self.config.reconnect_timeout.as_millis()).unwrap_or(u64::MAX),
            principal,
            credentials,
            properties: Some(self.config.properties.clone()),
            recovery: self.recovery(),
        }
        .to_query()
    }

    /// What the session is doing.
    #[must_use]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Idle | Phase::Connecting { .. } => State::Connecting,
            Phase::Connected(_) => State::Connected,
            Phase::Recovering(_) => State::Recovering,
            Phase::Closing | Phase::Closed => State::Closed,
        }
    }

    /// The ID of the session, while it is open.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.established().map(|connected| connected.session)
    }

    /// The largest message that the server takes, in bytes; none if it said nothing, or the session is not open.
    #[must_use]
    pub fn max_message_size(&self) -> Option<usize> {
        self.established().map(|connected| connected.max_message_size).filter(|size| *size < usize::MAX)
    }

    /// What is known of the session that was opened last, while it is open.
    fn established(&self) -> Option<&Connected> {
        match &self.phase {
            Phase::Connected(connected) | Phase::Recovering(Recovering { last: connected, .. }) => Some(connected),
            _ => None,
        }
    }

    /// What is spoken with the server, or was asked for.
    fn version(&self) -> u8 {
        self.established().map_or(self.config.protocol_version, |connected| connected.version)
    }

    /// The next thing to do; nothing if there is nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        while let Some(output) = self.outputs.pop_front() {
            // Given up before it began, by timers that were due together: a query would have nothing to present.
            if output != Output::Connect || self.is_connecting() {
                return Some(output);
            }
        }
        let next = self.deadlines.next();
        if next == self.wake_at {
            return None;
        }
        self.wake_at = next;
        next.map(Output::WakeAt)
    }

    fn is_connecting(&self) -> bool {
        matches!(
            self.phase,
            Phase::Connecting { .. } | Phase::Recovering(Recovering { stage: Stage::Connecting { .. }, .. })
        )
    }

    /// The WebSocket is open.
    pub fn handle_open(&mut self) {
        if let Phase::Connecting { opened, .. } = &mut self.phase {
            *opened = true;
        }
    }

    /// A binary WebSocket message arrived.
    pub fn handle_frame(&mut self, now: Moment, frame: &[u8]) {
        if let Phase::Connected(connected) = &mut self.phase {
            // The timer itself is only moved when it fires, not with every message.
            connected.last_heard = now;
            connected.is_suspect = false;
        }
        // What is due is due, even if the timer is late; those of hidden pages are.
        if self.deadlines.next().is_some_and(|at| at <= now) {
            self.handle_timeout(now);
        }
        match &self.phase {
            _ if self.is_connecting() => self.handle_connect_response(now, frame),
            Phase::Connected(_) => self.handle_message(now, frame),
            // The server's goodbye; or what was on its way when we said ours.
            Phase::Closing if matches!(Message::decode(frame), Ok(Message::Abort)) => self.finish_close(),
            _ => {}
        }
    }

    /// The server did something on the connection that no server may do; `text` says what.
    pub fn handle_violation(&mut self, now: Moment, text: &str) {
        match self.phase {
            Phase::Connecting { .. } => self.fail_connect(ConnectCode::HandshakeError, text.to_owned()),
            Phase::Connected(_) => self.break_off(now, text.to_owned()),
            Phase::Recovering(_) => self.fail_attempt(),
            Phase::Idle | Phase::Closing | Phase::Closed => {}
        }
    }

    /// The connection is gone, or was never made; `reason` is for people.
    pub fn handle_disconnected(&mut self, now: Moment, reason: &str) {
        match self.phase {
            Phase::Connecting { opened: false, .. } => {
                self.fail_connect(ConnectCode::ConnectionError, text!["no connection: ", reason]);
            }
            Phase::Connecting { opened: true, .. } => {
                let text = text!["the connection broke before the server answered: ", reason];
                self.fail_connect(ConnectCode::TransportError, text);
            }
            Phase::Connected(_) => {
                self.lose_connection(now, CloseCode::ConnectionError, text!["the connection was lost: ", reason]);
            }
            Phase::Recovering(_) => self.fail_attempt(),
            Phase::Closing => self.finish_close(),
            Phase::Idle | Phase::Closed => {}
        }
    }

    /// The time that [`Output::WakeAt`] asked for has come. Early and spurious calls do no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.wake_at = None;
        while let Some(timer) = self.deadlines.pop_due(now) {
            match timer {
                Timer::Connect if matches!(self.phase, Phase::Recovering(_)) => self.fail_attempt(),
                Timer::Connect => {
                    let waited = self.config.connect_timeout;
                    self.fail_connect(
                        ConnectCode::ConnectionTimeout,
                        text!["no session within ", milliseconds(waited), " ms"],
                    );
                }
                Timer::Close => self.finish_close(),
                Timer::Idle => self.check_idle(now),
                Timer::Retry => self.retry(now),
                Timer::GiveUp => self.give_up(now),
                Timer::Request(conversation) => self.time_out(conversation),
            }
        }
    }

    /// End the session. [`Event::Closed`] follows when the connection is closed.
    pub fn close(&mut self, now: Moment) {
        match self.phase {
            Phase::Connected(_) => {
                self.outputs.push_back(Output::Send(Message::CloseRequest.to_frame()));
                self.settle_everything(&RequestError::SessionClosed { sent: true });
                self.phase = Phase::Closing;
                self.deadlines.insert(now + CLOSE_PATIENCE, Timer::Close);
            }
            Phase::Recovering(_) => {
                self.settle_everything(&RequestError::SessionClosed { sent: true });
                self.phase = Phase::Closing;
                self.finish_close();
            }
            Phase::Idle | Phase::Connecting { .. } => {
                self.phase = Phase::Closing;
                self.finish_close();
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    fn handle_connect_response(&mut self, now: Moment, frame: &[u8]) {
        let is_reconnection = matches!(self.phase, Phase::Recovering(_));
        match ConnectResponse::decode(frame) {
            Ok(ConnectResponse::Accepted { version, .. }) if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&version) => {
                let text = text!["the server speaks protocol version ", version, ", this client 22 to 29"];
                self.be_refused(ConnectCode::ProtocolVersionMismatch, text);
            }
            // 105 and 106 answer a reconnection only.
            Ok(ConnectResponse::Accepted { version, code, session, token, ping_period, tail })
                if code == ResponseCode::OK || is_reconnection =>
            {
                let patience = u64::try_from(ping_period).ok().filter(|period| *period > 0);
                let connected = Connected {
                    session,
                    version,
                    token,
                    max_message_size: usize::try_from(tail).ok().filter(|size| *size > 0).unwrap_or(usize::MAX),
                    patience: patience.map(|period| Duration::from_millis(period.saturating_mul(2))),
                    last_heard: now,
                    idle_at: None,
                    is_suspect: false,
                    violations: 0,
                };
                if is_reconnection {
                    self.resume(now, code, connected, tail);
                } else {
                    self.forget_connect_timer();
                    self.phase = Phase::Connected(connected);
                    self.watch(now);
                    self.outputs.push_back(Output::Deliver(Event::Connected(session)));
                }
            }
            Ok(ConnectResponse::Accepted { code, .. } | ConnectResponse::Refused { code, .. }) => {
                if !self.try_otherwise(now, code) {
                    self.be_refused(ConnectCode::of_refusal(code), text!["the server refused: ", code.text()]);
                }
            }
            Err(error) => self.be_refused(
                ConnectCode::HandshakeError,
                text!["the server's first message is no connection response: ", error.message()],
            ),
        }
    }

    /// The server does not open a session, or does not let us have it again, and trying again is no use.
    fn be_refused(&mut self, code: ConnectCode, text: String) {
        if matches!(self.phase, Phase::Recovering(_)) {
            self.end(code.into(), text, &RequestError::ConnectionLost);
        } else {
            self.fail_connect(code, text);
        }
    }

    /// Sets the timer that notices when nothing comes from the server any more.
    fn watch(&mut self, now: Moment) {
        if let Phase::Connected(connected) = &mut self.phase
            && let Some(patience) = connected.patience
        {
            connected.idle_at = Some(now + patience);
            self.deadlines.insert(now + patience, Timer::Idle);
        }
    }

    fn handle_message(&mut self, now: Moment, frame: &[u8]) {
        let size = frame.len();
        let message =
            Message::decode(frame).map_err(|error| text!["the server sent a malformed message: ", error.message()]);
        if !matches!(message, Ok(Message::Abort)) {
            self.received_messages += 1;
        }
        match message {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                self.handle_service_request(now, service, conversation, body, size);
            }
            Ok(Message::ServiceResponse { conversation, body }) => {
                let answer = self.fitting(size, body);
                self.handle_response(conversation, answer, now);
            }
            Ok(Message::ServiceError { conversation, failure: ServiceFailure { reason, description } }) => {
                let error = RequestError::Refused { reason, detail: description.to_owned() };
                self.handle_response(conversation, Err(error), now);
            }
            Ok(Message::Topic) => {}
            Ok(Message::Abort) => self.end(
                CloseCode::ClosedByServer,
                "the server closed the session".into(),
                &RequestError::SessionClosed { sent: true },
            ),
            Ok(Message::CloseRequest) => {
                self.break_off(now, "the server sent a message that only clients send".into());
            }
            Err(text) => self.break_off(now, text),
        }
    }

    /// What came in a message of `size` bytes, unless that is too much. A large message costs the request that it belongs
    /// to, and nothing else.
    fn fitting<T>(&self, size: usize, content: T) -> Result<T, RequestError> {
        let limit = self.config.max_message_size;
        if size > limit { Err(RequestError::ResponseTooLarge { size, limit }) } else { Ok(content) }
    }

    /// The server does not keep to the protocol; nothing on this connection can be trusted any more.
    fn break_off(&mut self, now: Moment, text: String) {
        self.lose_connection(now, CloseCode::TransportError, text);
    }

    /// Answers a service request with an error, unless nobody waits for an answer.
    fn refuse(&mut self, conversation: ConversationId, reason: ErrorReason, description: &str) {
        if conversation != ConversationId::ONE_WAY {
            let failure = ServiceFailure { description, reason };
            self.send(Message::ServiceError { conversation, failure }.to_frame());
        }
    }

    /// Sends a message, or keeps it for the server to ask for when there is a connection again.
    fn send(&mut self, frame: Vec<u8>) {
        if matches!(self.phase, Phase::Connected(_)) {
            if !self.config.reconnect_timeout.is_zero() {
                self.sent.push(frame.clone());
            }
            self.outputs.push_back(Output::Send(frame));
        } else {
            self.sent.push(frame);
        }
    }

    fn check_idle(&mut self, now: Moment) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        let Some(patience) = connected.patience else { return };
        let idle_at = connected.last_heard + patience;
        let again = if idle_at > now {
            idle_at
        } else if !connected.is_suspect {
            connected.is_suspect = true;
            now + IDLE_GRACE
        } else {
            let text = text!["nothing came from the server for ", milliseconds(patience), " ms"];
            return self.lose_connection(now, CloseCode::IdleConnection, text);
        };
        connected.idle_at = Some(again);
        self.deadlines.insert(again, Timer::Idle);
    }

    fn forget_connect_timer(&mut self) {
        if let Phase::Connecting { deadline, .. } = self.phase {
            self.deadlines.remove(deadline, Timer::Connect);
        }
    }

    fn fail_connect(&mut self, code: ConnectCode, message: String) {
        self.forget_connect_timer();
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Disconnect);
        self.outputs.push_back(Output::Deliver(Event::ConnectFailed(ConnectError { code, message })));
    }

    /// Ends an open session that was not closed by us.
    fn end(&mut self, code: CloseCode, reason: String, error: &RequestError) {
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Disconnect);
        self.settle_everything(error);
        self.outputs.push_back(Output::Deliver(Event::Closed(Closed { code, reason })));
    }

    fn finish_close(&mut self) {
        if !matches!(self.phase, Phase::Closing) {
            return;
        }
        self.phase = Phase::Closed;
        self.deadlines.clear();
        self.outputs.push_back(Output::Disconnect);
        let closed = Closed { code: CloseCode::ClosedByClient, reason: "the session was closed".into() };
        self.outputs.push_back(Output::Deliver(Event::Closed(closed)));
    }

    /// Tells everyone who waits, in both directions, that nothing will come any more.
    fn settle_everything(&mut self, error: &RequestError) {
        self.deadlines.clear();
        let unsent = std::mem::take(&mut self.unsent);
        for (conversation, pending) in self.conversations.close_all() {
            let is_unsent = unsent.iter().any(|unsent| unsent.is_for(conversation));
            let error = if is_unsent { &RequestError::SessionClosed { sent: false } } else { error };
            self.settle_at_end(conversation, &pending, error);
        }
        self.abandon_received();
    }

    /// Nobody can be answered any more.
    fn abandon_received(&mut self) {
        drop(self.received_by_conversation.close_all());
        self.outputs.extend(self.received.close_all().map(|(id, _)| Output::Deliver(Event::RequestAbandoned(id))));
    }
}
