//! The client's end of a session: what it may do, what it must answer, when it gives up.
//!
//! [`ClientSession`] is put together from parts that each own one state and know nothing of each other:
//!
//! - `connection`: the phases of a session, from connecting to its end, and what survives a connection.
//! - `calls`: what the application waits for, with deadlines.
//! - `registrations`: which request handler or stream answers, and what the server knows of it.
//! - `received`: requests that the application is answering.
//!
//! What an application and a server can do with them, by subject:
//!
//! - `requests`: sending, asking, and what comes of it; to session filters, in `filters`.
//! - `handlers`: registering, dispatching and answering.
//!
//! `ids` has the numbers by which all these are named, `error` has [`RequestError`], [`ConnectError`], [`Closed`].

mod calls;
mod connection;
mod deadlines;
mod error;
mod filters;
mod handlers;
mod ids;
mod received;
mod registrations;
mod requests;

use std::collections::VecDeque;
use std::time::Duration;

pub use calls::{Patience, Response};
pub use error::{CloseCode, Closed, ConnectCode, ConnectError, FilterFault, Outcome, RequestError};
pub use filters::FilterResponseReceived;
pub use handlers::HandlerSettings;
pub use ids::{CallId, ConnectionId, HandlerId, RequestId};
pub use received::{ReceivedRequest, Sender};

use calls::Calls;
use connection::{Connection, Goodbye, Step};
use error::milliseconds;
use received::ReceivedRequests;
use registrations::Registrations;

use crate::batch::{self, Batcher};
use crate::features::Features;
use crate::recovery::{Frame, RecoveryLimits};
use crate::text;
use crate::time::Moment;
use crate::wire::DecodeError;
use crate::wire::envelope::{Message, request_frame};
use crate::wire::handshake::{CAPABILITY_UNIFIED, ConnectRequest, Credentials};
use crate::wire::layouts::ServiceFailure;
use crate::wire::primitives::SessionId;
use crate::wire::services::UserPing;

/// The configuration of a session.
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
    /// What the server is offered to do beyond the protocol.
    pub features: Features,
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
            features: Features::NONE,
        }
    }
}

/// An instruction of the session to its driver. Returned by [`ClientSession::poll_output`].
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open a connection with the query of [`ClientSession::connect_query`]. If it is open already, the server asks for
    /// fresh credentials: [`ClientSession::change_principal`] answers.
    Connect(ConnectionId),
    /// Send this as one binary WebSocket message.
    Send(Frame),
    /// Messages wait to be sent together: call [`ClientSession::flush`] when whatever happens now is over, and more than one
    /// thing may have been asked for.
    FlushSoon,
    /// Close the connection, or stop opening it.
    Disconnect,
    /// Call [`ClientSession::retry_after`], to say how long to wait before this attempt to reconnect, counted from 1.
    Retry(u32),
    /// Tell the application.
    Deliver(Event),
    /// Call [`ClientSession::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// An event for the application.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The session is open.
    Connected(SessionId),
    /// The session could not be opened. Nothing follows.
    ConnectFailed(ConnectError),
    /// What a call came to. Comes exactly once for each, unless it was [abandoned](ClientSession::abandon).
    CallEnded {
        /// As the application named it.
        call: CallId,
        /// Of a request to a session filter, the number of sessions that match, or why nobody was asked.
        outcome: Result<Response, RequestError>,
    },
    /// A session that a filter matched has answered.
    FilterResponseReceived(FilterResponseReceived),
    /// Nothing more will come of a request to a session filter. Comes once for each, after its [`Event::CallEnded`].
    FilterCallEnded {
        /// As the application named it.
        call: CallId,
        /// Whether all have answered or failed; or why no more come.
        outcome: Result<(), RequestError>,
    },
    /// Somebody asks; answer with [`ClientSession::respond`].
    RequestReceived(ReceivedRequest),
    /// The answer to a received request can no longer be delivered.
    RequestAbandoned {
        /// Which.
        request: RequestId,
        /// And why.
        error: RequestError,
    },
    /// The connection is lost. The session looks for another one, or [closes](Self::Closed), if it is not to. The reason is
    /// for people.
    Disconnected(String),
    /// Messages were lost with the connection.
    MessagesLost {
        /// Number of requests that were failed because of that.
        requests: usize,
        /// Number of request handlers that are registered again.
        handlers: usize,
    },
    /// A request handler is gone: it was lost with the connection, and was not to be registered again, or could not be; or
    /// another registration of the same path took its place. Or a stream is: another stream or a registration took its place.
    HandlerLost(HandlerId),
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

/// The state of a session.
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
///
/// A method that begins a call returns nothing: what comes of it is an [`Event::CallEnded`], which may be among the outputs
/// at once. So it is with [`RequestError::NotConnected`], [`RequestError::SessionClosed`] and
/// [`RequestError::MessageTooLarge`] when nothing was sent.
#[derive(Debug)]
pub struct ClientSession {
    /// What every connection is asked for with; without what each adds.
    request: ConnectRequest,
    /// As configured.
    request_timeout: Duration,
    /// As configured.
    max_message_size: usize,
    connection: Connection,
    calls: Calls,
    registrations: Registrations,
    received: ReceivedRequests,
    /// What waits to be sent together, on a connection with batching.
    batcher: Batcher<Frame>,
    outputs: VecDeque<Output>,
    wake_at: Option<Moment>,
}

impl ClientSession {
    /// A session that is not connected yet.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        Self {
            connection: Connection::new(&config),
            request: ConnectRequest {
                client_type: config.client_type.to_owned(),
                version: config.protocol_version,
                capabilities: CAPABILITY_UNIFIED,
                reconnect_timeout: milliseconds(config.reconnect_timeout),
                principal: config.principal,
                credentials: Credentials::None,
                properties: Some(config.properties),
                recovery: None,
                features: config.features,
            },
            request_timeout: config.request_timeout,
            max_message_size: config.max_message_size,
            calls: Calls::default(),
            registrations: Registrations::default(),
            received: ReceivedRequests::default(),
            batcher: Batcher::default(),
            outputs: VecDeque::new(),
            wake_at: None,
        }
    }

    // What is the case.

    /// What the session is doing.
    #[must_use]
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Whether a connection is being opened, for the first time or again.
    #[must_use]
    pub fn is_opening(&self) -> bool {
        self.connection.is_connecting()
    }

    /// The ID of the session, while it is open.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.connection.session()
    }

    /// The connection that is open, or being opened.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        self.connection.current()
    }

    /// The largest message that the server takes, in bytes; none if it said nothing, or the session is not open.
    #[must_use]
    pub fn max_message_size(&self) -> Option<usize> {
        self.connection.negotiated()?.max_message_size
    }

    /// What both ends of the connection do beyond the protocol; of the last connection if there is none now.
    #[must_use]
    pub fn features(&self) -> Features {
        self.connection.negotiated().map_or(Features::NONE, |negotiated| negotiated.features)
    }

    /// Number of conversations that are open: calls under way, registered handlers, and what the server is asked about them.
    #[must_use]
    pub fn open_conversations(&self) -> usize {
        self.calls.len() + self.registrations.len() + self.registrations.unanswered()
    }

    /// The query of the URL to connect to, without the question mark. It contains the credentials.
    #[must_use]
    pub fn connect_query(&mut self, credentials: Credentials) -> String {
        self.request.credentials = credentials;
        self.request.recovery = self.connection.recovery();
        let query = self.request.to_query();
        // They are needed no longer, and a secret.
        self.request.credentials = Credentials::None;
        query
    }

    /// The next thing to do; nothing if there is nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        while let Some(output) = self.outputs.pop_front() {
            match output {
                // Given up before it began, by timers that were due together: a query would have nothing to present.
                Output::Connect(connection) if self.connection() != Some(connection) => {}
                output => return Some(output),
            }
        }
        let next = self.next_timeout();
        if next == self.wake_at {
            return None;
        }
        self.wake_at = next;
        next.map(Output::WakeAt)
    }

    // What the application wants.

    /// Start connecting. [`Event::Connected`] or [`Event::ConnectFailed`] follows.
    pub fn connect(&mut self, now: Moment) {
        let step = self.connection.connect(now);
        self.follow(step);
    }

    /// End the session. [`Event::Closed`] follows when the connection is closed. Without a connection the server is told on
    /// another one, if there can be one within a second.
    pub fn close(&mut self, now: Moment) {
        let step = self.connection.close(now);
        self.follow(step);
    }

    /// Say how long to wait before the attempt that [`Output::Retry`] asked about. Without `delay`, it is anything between
    /// nothing and 100 ms before the first attempt, and up to twice as long before each further one, to 5 s; `random`, at
    /// least 0 and less than 1, says how much of that.
    pub fn retry_after(&mut self, now: Moment, delay: Option<Duration>, random: f64) {
        self.connection.retry_after(now, delay, random);
    }

    /// Make sure of the connection: there is reason to believe that it does not live any more, or that there could be one
    /// again. Asks the server for a sign of life, without which the connection is lost after 3 s; or tries to reconnect at
    /// once.
    pub fn reconnect(&mut self, now: Moment) {
        self.probe(now);
        let step = self.connection.retry(now);
        self.follow(step);
    }

    /// Asks the server for a sign of life, if there is a connection.
    #[cold]
    fn probe(&mut self, now: Moment) {
        if self.connection.can_probe() {
            let conversation = self.calls.next_conversation();
            self.send(request_frame::<UserPing>(conversation, &(), 0));
            self.connection.start_probe(now, conversation);
        }
    }

    /// What ends the session at the server's door for pages that are left: a secret. Nothing if there is no session.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.connection.token()
    }

    /// Send what waits to be sent together.
    pub fn flush(&mut self) {
        if let Some(frame) = self.batcher.take() {
            self.push(Output::Send(frame));
        }
    }

    // What happens outside. What is told of a connection that is not the current one is ignored.

    /// The WebSocket is open. Returns whether it is the current one.
    pub fn handle_open(&mut self, connection: ConnectionId) -> bool {
        let is_current = self.connection() == Some(connection);
        if is_current {
            self.connection.handle_open();
        }
        is_current
    }

    /// A binary WebSocket message arrived.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: &[u8]) {
        if self.connection() != Some(connection) {
            return;
        }
        self.connection.heard(now);
        // What is due is due, even if the timer is late; those of hidden pages are.
        self.handle_due(now);
        if self.connection() != Some(connection) {
            return;
        }
        if self.connection.is_connecting() {
            let step = self.connection.handle_connect_response(now, frame);
            self.follow(step);
        } else {
            for message in batch::messages(frame, self.features()) {
                match message {
                    Ok(message) => self.handle_message(now, message),
                    Err(error) => self.handle_malformed(now, &error),
                }
                // One of them may have ended it.
                if self.connection() != Some(connection) {
                    return;
                }
            }
        }
    }

    /// The server did something on the connection that no server may do; `text` says what.
    pub fn handle_violation(&mut self, now: Moment, connection: ConnectionId, text: &str) {
        if self.connection() == Some(connection) {
            self.break_off(now, text.to_owned());
        }
    }

    /// The connection is gone, or was never made; `reason` is for people.
    pub fn handle_disconnected(&mut self, now: Moment, connection: ConnectionId, reason: &str) {
        self.handle_failed(now, connection, reason, true);
    }

    /// The same; `can_pass` says whether another attempt may succeed.
    pub fn handle_failed(&mut self, now: Moment, connection: ConnectionId, reason: &str, can_pass: bool) {
        if self.connection() == Some(connection) {
            let step = self.connection.handle_disconnected(now, reason, can_pass);
            self.follow(step);
        }
    }

    /// The time that [`Output::WakeAt`] asked for has come. Early and spurious calls do no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.wake_at = None;
        self.handle_due(now);
    }

    fn next_timeout(&mut self) -> Option<Moment> {
        let (call, request) = (self.calls.next_deadline(), self.received.next_deadline());
        self.connection.next_timeout().into_iter().chain(call).chain(request).min()
    }

    /// Does what is due, earliest first.
    fn handle_due(&mut self, now: Moment) {
        while let Some(at) = self.next_timeout().filter(|at| *at <= now) {
            if self.connection.next_timeout() == Some(at) {
                let step = self.connection.handle_timeout(now);
                self.follow(step);
            } else if self.calls.next_deadline() != Some(at) {
                self.end_due_request();
            } else if let Some((id, call)) = self.calls.end_next() {
                self.time_out(id, call);
                // Perhaps the connection is dead.
                self.probe(now);
            }
        }
    }

    fn handle_message(&mut self, now: Moment, frame: &[u8]) {
        let size = frame.len();
        let message = Message::decode(frame);
        if matches!(message, Ok(Message::Abort)) {
            let step = self.connection.handle_abort();
            return self.follow(step);
        }
        // What was on its way when we said goodbye.
        if self.state() == State::Closed {
            return;
        }
        self.connection.count_received();
        match message {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                self.handle_service_request(now, service, conversation, body, size);
            }
            Ok(Message::ServiceResponse { conversation, .. } | Message::ServiceError { conversation, .. })
                if self.connection.handle_answer(conversation) => {}
            Ok(Message::ServiceResponse { conversation, body }) => {
                let answer = self.check_size(size, body);
                self.handle_response(now, conversation, answer);
            }
            Ok(Message::ServiceError { conversation, failure: ServiceFailure { reason, description } }) => {
                let error = RequestError::Refused { reason, detail: description.to_owned() };
                self.handle_response(now, conversation, Err(error));
            }
            Ok(Message::Topic | Message::Abort) => {}
            Ok(Message::CloseRequest) => {
                self.break_off(now, "the server sent a message that only clients send".into());
            }
            Err(error) => self.handle_malformed(now, &error),
        }
    }

    fn handle_malformed(&mut self, now: Moment, error: &DecodeError) {
        self.break_off(now, text!["the server sent a malformed message: ", error.message()]);
    }

    /// What came in a message of `size` bytes, unless that is too much. A large message costs the request that it belongs
    /// to, and nothing else.
    fn check_size<T>(&self, size: usize, content: T) -> Result<T, RequestError> {
        let limit = self.max_message_size;
        if size > limit { Err(RequestError::ResponseTooLarge { size, limit }) } else { Ok(content) }
    }

    /// The server does not keep to the protocol; nothing on this connection can be trusted any more.
    fn break_off(&mut self, now: Moment, text: String) {
        let step = self.connection.handle_violation(now, text);
        self.follow(step);
    }

    // What follows.

    fn follow(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Open(connection) => self.push(Output::Connect(connection)),
            Step::OpenAnother(connection) => {
                self.disconnect();
                self.push(Output::Connect(connection));
            }
            Step::NotOpened(error) => {
                self.disconnect();
                self.deliver(Event::ConnectFailed(error));
            }
            Step::Opened(session) => self.deliver(Event::Connected(session)),
            Step::Lost { reason, attempt } => {
                self.disconnect();
                self.deliver(Event::Disconnected(reason));
                self.push(Output::Retry(attempt));
            }
            Step::AttemptFailed { attempt } => {
                self.disconnect();
                self.push(Output::Retry(attempt));
            }
            Step::Reconnected { session, missed, new_session } => {
                let lossless = missed.is_some();
                match missed {
                    Some(missed) => missed.into_iter().for_each(|frame| self.put_out(frame)),
                    None => self.lose_messages(),
                }
                self.deliver(Event::Reconnected { session, lossless, new_session });
                self.send_unsent();
            }
            Step::Goodbye(step) => {
                match step {
                    Goodbye::Send => {
                        self.flush();
                        self.push(Output::Send(Message::CloseRequest.to_frame().into()));
                    }
                    Goodbye::Open(connection) => self.push(Output::Connect(connection)),
                    Goodbye::Wait => {}
                }
                self.settle_everything(&RequestError::SessionClosed { sent: true });
            }
            Step::Ended { closed, error, lost } => {
                self.disconnect();
                if let Some(reason) = lost {
                    self.deliver(Event::Disconnected(reason));
                }
                self.settle_everything(&error);
                self.deliver(Event::Closed(closed));
            }
        }
    }

    /// Tells everyone who waits, in both directions, that nothing will come any more.
    fn settle_everything(&mut self, error: &RequestError) {
        self.settle_calls(error, true);
        self.registrations.clear();
        self.abandon_received(&RequestError::SessionClosed { sent: true });
    }

    /// The server has discarded every conversation: fails what was asked, and registers the request handlers again.
    fn lose_messages(&mut self) {
        let requests = self.settle_calls(&RequestError::ConnectionLost, false);
        let handlers = self.lose_registrations();
        self.abandon_received(&RequestError::ConnectionLost);
        self.deliver(Event::MessagesLost { requests, handlers });
        self.register_again();
    }

    /// Ends the calls whose answers will not come: all, or those that have been sent. Returns how many requests they are.
    #[inline(never)]
    fn settle_calls(&mut self, error: &RequestError, with_unsent: bool) -> usize {
        let mut requests = 0;
        for id in self.calls.ids().into_iter().map(CallId) {
            if (with_unsent || !self.calls.is_unsent(id))
                && let Some(call) = self.calls.end(id)
            {
                requests += usize::from(call.is_request());
                self.settle(id, call, error);
            }
        }
        requests
    }

    /// Nobody can be answered any more.
    fn abandon_received(&mut self, error: &RequestError) {
        for request in self.received.ids().into_iter().map(RequestId) {
            self.received.answer(request);
            self.deliver(Event::RequestAbandoned { request, error: error.clone() });
        }
    }

    /// Sends a message, or keeps it for the server to ask for when there is a connection again.
    fn send(&mut self, frame: Vec<u8>) {
        if let Some(frame) = self.connection.send(frame.into()) {
            self.put_out(frame);
        }
    }

    /// Sends a message on the connection: at once, or with others if it has batching.
    fn put_out(&mut self, frame: Frame) {
        let Some(limit) = self.connection.batch_limit() else {
            return self.push(Output::Send(frame));
        };
        if self.batcher.is_empty() {
            self.push(Output::FlushSoon);
        }
        if let Some(full) = self.batcher.push(frame, limit) {
            self.push(Output::Send(full));
        }
    }

    /// Gives the connection up. What waits to be sent on it is sent again with the rest, if there is another one.
    fn disconnect(&mut self) {
        self.batcher.take();
        self.push(Output::Disconnect);
    }

    fn deliver(&mut self, event: Event) {
        self.push(Output::Deliver(event));
    }

    // Not at each place where there is something to do: that would be a tenth of what browsers download.
    #[inline(never)]
    fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}
