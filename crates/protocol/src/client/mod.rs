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
//! - `requests`: sending, asking, and what comes of it; to session filters, in `filters`. `terms`: what a request is sent
//!   with. `discovery`: looking before one asks.
//! - `handlers`: registering, dispatching and answering.
//! - `messages`: what the server sends, taken apart.
//! - `consequences`: what a step of the connection comes to for all of them.
//! - `sending`: what goes out, at once or several together.
//!
//! `config` has [`ClientConfig`], `output` has [`Output`] and [`Event`], `ids` has the numbers by which all these are named, `error` has [`RequestError`], [`ConnectError`], [`Closed`].

mod calls;
mod config;
mod connection;
mod consequences;
mod deadlines;
mod discovery;
mod error;
mod filters;
mod handlers;
mod ids;
mod messages;
mod output;
mod received;
mod registrations;
mod requests;
mod sending;
mod terms;

use std::collections::VecDeque;
use std::time::Duration;

pub use calls::{HandlersAt, Patience, Response};
pub use config::ClientConfig;
pub use connection::reconnect_delay;
pub use discovery::Sought;
pub use error::{CloseCode, Closed, ConnectCode, ConnectError, FilterFault, Outcome, RequestError};
pub use handlers::HandlerSettings;
pub use ids::{CallId, ConnectionId, HandlerId, RequestId};
pub use output::{Event, FilterResponseReceived, Output};
pub use received::{ReceivedRequest, Sender};
pub use terms::Terms;

use calls::Calls;
use connection::Connection;
use error::milliseconds;
use received::ReceivedRequests;
use registrations::Registrations;

use crate::batch::Batcher;
use crate::features::Features;
use crate::recovery::Frame;
use crate::time::Moment;
use crate::wire::envelope::request_frame;
use crate::wire::handshake::{CAPABILITY_UNIFIED, ConnectRequest, Credentials};
use crate::wire::primitives::SessionId;
use crate::wire::services::UserPing;

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

    // What happens outside. What is told of a connection that is not the current one is ignored.

    /// The WebSocket is open. Returns whether it is the current one.
    pub fn handle_open(&mut self, connection: ConnectionId) -> bool {
        let is_current = self.connection() == Some(connection);
        if is_current {
            self.connection.handle_open();
        }
        is_current
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
                self.cancel(&call, true);
                self.time_out(id, call);
                // Perhaps the connection is dead.
                self.probe(now);
            }
        }
    }

    /// The server does not keep to the protocol; nothing on this connection can be trusted any more.
    fn break_off(&mut self, now: Moment, text: String) {
        let step = self.connection.handle_violation(now, text);
        self.follow(step);
    }
}
