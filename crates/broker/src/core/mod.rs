//! The rules of the server's end of every connection.
//!
//! What is known, each kind in a place of its own that nobody else can bring out of step:
//!
//! - `sessions`: the sessions, and the ways to find one; `per_session`: their keys, and tables by them.
//! - `parties`: whose the sessions are, since what everybody shares is shared out among parties; `cost`: what things cost.
//! - [`properties`]: session properties and which of them a handler wants; [`proposals`]: which a session may propose;
//!   `prepared`: their wire form.
//! - `registry`: which session handles which path.
//! - `watches`: who is told when the handlers for a path change.
//! - `exchanges`: requests that were forwarded and not answered yet; `repeats`: what became of those with a key, `outcome`: what
//!   that is; `queues`: those that wait for a handler; `turns`: whose turn it is, for `tasks`, which are done a part at a time.
//! - `received`: what came from a client; `pings`: who is pinged when; `probes`: who is asked for a
//!   sign of life; `timers`: what is due when.
//! - [`config`]: how the broker behaves; [`timeouts`]: how long recipients may take to answer.
//! - [`access`]: who may connect, and what they are then; [`permissions`]: what their roles grant.
//! - [`identity`]: what clients say of themselves and are taken for; `logins`: who waits to be told; `leases`: until when
//!   that is true.
//!
//! What happens:
//!
//! - here: what comes from connections and the clock, and what goes out; `messages`: what a connection brings, taken apart.
//! - `lifecycle`: opening a session, losing and regaining its connection, ending it; `ending`: why; `aftermath`: what is left
//!   to do then; `stopping`: ending all of them.
//! - `serve`: requests to the broker, by service: each ends in an answer or a `refusal`; `gate`: whether it is allowed.
//! - `routing`: requests to their recipients, answers back to the senders; `choice`: among several handlers; `places`: what
//!   waits for one of them; `keyed`: requests that may come again; `fan_out`: requests to all that a filter matches, which
//!   `search` finds; `room`: whether there is room for more.
//! - `cancelling`: requests that nobody waits for any more; `headers`: what goes along with requests and errors.
//! - `discovery`: looking for handlers and sessions, without asking them.
//! - `registrations`, `session_services`: the other services.
//! - `operator`: what an operator changes, and is told.
//! - [`filter`]: the session filter language; `path`: message paths.

pub mod access;
mod aftermath;
mod cancelling;
mod choice;
pub mod config;
mod cost;
mod discovery;
mod ending;
mod exchanges;
mod fan_out;
pub mod filter;
mod gate;
mod headers;
pub mod identity;
mod keyed;
mod leases;
mod lifecycle;
mod logins;
mod messages;
mod operator;
mod outcome;
mod pace;
mod parties;
mod path;
mod per_session;
pub mod permissions;
mod pings;
mod places;
mod prepared;
mod probes;
pub mod properties;
pub mod proposals;
mod queues;
mod received;
mod refusal;
mod registrations;
mod registry;
mod repeats;
pub mod roles;
mod room;
mod routing;
mod search;
mod serve;
mod session_services;
mod sessions;
mod stopping;
mod tasks;
pub mod timeouts;
mod timers;
mod turns;
mod watches;

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, ResponseCode};

use bytes::Bytes;

use access::{Access, Principals};
use choice::Random;
pub use config::BrokerConfig;
use ending::Ending;
use exchanges::Exchanges;
use identity::{Login, Ticket};
use leases::Leases;
use logins::Logins;
use parties::Allowance;
use per_session::SessionKey;
pub(crate) use per_session::{ByConnection, give_back};
use permissions::GrantsByRoles;
use pings::Pings;
use probes::Probes;
use queues::Queues;
use registry::Registry;
use repeats::Repeats;
use serve::Asker;
use sessions::Sessions;
use stopping::Phase;
use tasks::HeldRequest;
use turns::Turns;
use watches::Watches;

/// Outputs for which there is always room. What a larger burst took is given back after it.
const ROOM: usize = 1024;

/// How long the session of a client that goes away is kept (rules S-16).
const GOING_AWAY: Duration = Duration::from_secs(1);

/// Names a connection; whoever runs the sockets chooses the numbers and never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The circumstances of a new connection, besides the request itself.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// `$ClientIP`: the address without the port.
    pub client_ip: String,
    /// `$StartTime`: milliseconds since 1970.
    pub start_time: u64,
    /// From the system's generator; becomes the session token.
    pub random: [u8; 18],
}

/// An instruction of the broker to whoever runs its sockets. Returned by [`Broker::poll_output`].
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this as one binary WebSocket message.
    Send(ConnectionId, Bytes),
    /// The same, or in one WebSocket message with others of these that go out on this connection at the same time, in order
    /// ([`antiphon_protocol::batch`]).
    SendTogether(ConnectionId, Bytes),
    /// Send what was given to this connection before, then close it.
    Close(ConnectionId),
    /// Say who this is by [`Broker::handle_authenticated`], now or later, but at any rate.
    Authenticate(Ticket, Box<Login>),
    /// Send a WebSocket ping on this connection: what its client does with it, also when it is busy, shows that there still is
    /// a connection, and is told as a [sign of life](Broker::handle_sign_of_life).
    Ping(ConnectionId),
    /// Read nothing more from this connection until [`Output::Resume`]: more of what its client asks for is waiting for its
    /// turn than may be. What was read already is taken.
    Pause(ConnectionId),
    /// Read again from this connection.
    Resume(ConnectionId),
    /// Call [`Broker::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// All sessions of a broker and what goes on between them.
///
/// *After every `handle_*`, call [`poll_output`](Self::poll_output) until it returns `None`.*
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    principals: Principals,
    grants: GrantsByRoles,
    sessions: Sessions,
    logins: Logins,
    leases: Leases,
    registry: Registry,
    watches: Watches,
    exchanges: Exchanges,
    queues: Queues,
    repeats: Repeats,
    turns: Turns,
    pings: Pings,
    probes: Probes,
    phase: Phase,
    /// Chooses among equal handlers.
    random: Random,
    /// When what happens now happens.
    now: Moment,
    outputs: VecDeque<Output>,
    wake_at: Option<Moment>,
    refusals: u64,
    late_answers: u64,
    slow_readers: u64,
    /// Nothing new is begun.
    is_memory_scarce: bool,
    /// What was done so far, in the units of `cost`.
    work: usize,
}

impl Broker {
    /// A broker without sessions.
    #[must_use]
    pub fn new(config: BrokerConfig, access: Access) -> Self {
        Self {
            logins: Logins::new(config.login_timeout),
            leases: Leases::default(),
            sessions: Sessions::new(
                config.server,
                config.token_key,
                config.max_recovery_bytes,
                Allowance { burst: config.burst_work, per_second: config.work_per_second },
            ),
            registry: Registry::new(config.max_registrations),
            watches: Watches::default(),
            exchanges: Exchanges::default(),
            queues: Queues::default(),
            repeats: Repeats::default(),
            turns: Turns::new(config.turn_pause, config.turn_recipients),
            pings: Pings::new(config.ping_period),
            probes: Probes::default(),
            phase: Phase::default(),
            random: Random::new(config.seed),
            config,
            principals: access.principals,
            grants: GrantsByRoles::new(access.permissions),
            now: Moment::default(),
            outputs: VecDeque::new(),
            wake_at: None,
            refusals: 0,
            late_answers: 0,
            slow_readers: 0,
            is_memory_scarce: false,
            work: 0,
        }
    }

    /// The next thing to do; nothing if there is nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.close_if_settled();
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.outputs.capacity() > ROOM {
            self.outputs = VecDeque::new();
        }
        let next = earliest([
            self.exchanges.next_due(),
            self.queues.next_due(),
            self.repeats.next_due(),
            self.turns.next_due(),
            self.probes.next_due(),
            self.pings.next_due(),
            self.leases.next_due(),
            self.logins.next_due(),
            self.sessions.next_expiry().map(|(at, _)| at),
            self.next_notice(),
            self.grace_ends(),
        ]);
        if next == self.wake_at {
            return None;
        }
        self.wake_at = next;
        next.map(Output::WakeAt)
    }

    /// A client opened a connection and asks for a session. The answer is a connection response, now or when it is known who
    /// the client is, and a refusal closes the connection; a broker that is stopping closes it without an answer, for the
    /// client to try again.
    ///
    /// Source: sections 2 and 3.
    pub fn handle_connect(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
    ) {
        self.now = now;
        if !self.is_serving() {
            return self.outputs.push_back(Output::Close(connection));
        }
        if let Err(code) = self.accept(now, connection, request, arrival) {
            self.refuse_client(connection, request, arrival, code);
        }
        if self.queues.has_ready() {
            self.serve_queues(now);
        }
    }

    /// Tells a client that it gets no session.
    fn refuse_client(
        &mut self,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
        code: ResponseCode,
    ) {
        let principal = request.principal.as_deref().unwrap_or_default();
        tracing::info!(principal, client = arrival.client_ip, "refused: {}", code.text());
        self.send(connection, ConnectResponse::Refused { version: request.version, code }.to_frame());
        self.outputs.push_back(Output::Close(connection));
    }

    /// Takes account of work that was done.
    fn spend(&mut self, work: usize) {
        self.work += work;
    }

    /// A WebSocket message arrived that no client may send: text, or larger than allowed. Ends the session.
    pub fn handle_violation(&mut self, now: Moment, connection: ConnectionId) {
        match self.heard(now, connection) {
            Some(key) => self.abort(key, Ending::Violation),
            None => self.give_up_early(connection),
        }
    }

    /// Something arrived that is no message but shows that the client lives, such as a WebSocket ping.
    pub fn handle_sign_of_life(&mut self, now: Moment, connection: ConnectionId) {
        self.heard(now, connection);
    }

    /// The connection is gone. Its session stays for as long as it was agreed, or ends with it.
    pub fn handle_disconnected(&mut self, now: Moment, connection: ConnectionId) {
        self.now = now;
        match self.sessions.with_connection(connection) {
            Some(key) => self.lose_connection(now, key, Duration::MAX),
            None => drop(self.logins.forget_connection(connection)),
        }
    }

    /// The client closes the connection because it is going away itself, as a browser does whose page is left. So may a
    /// proxy between: its session is kept for a moment, in which a client that lives comes back (rules S-16).
    pub fn handle_going_away(&mut self, now: Moment, connection: ConnectionId) {
        self.now = now;
        match self.sessions.with_connection(connection) {
            Some(key) => self.lose_connection(now, key, GOING_AWAY),
            None => drop(self.logins.forget_connection(connection)),
        }
    }

    /// A client that can say no more on its connection asks for the end of its session, as a close request does. It shows
    /// that the session is its own by the token.
    ///
    /// Source: section 11.
    pub fn handle_close(&mut self, now: Moment, token: &[u8]) {
        self.now = now;
        if let Some(key) = self.sessions.with_token(token) {
            self.abort(key, Ending::ByToken);
        }
    }

    /// The client does not read what it is sent, and more cannot be kept for it. Ends the session (rules L-3).
    pub fn handle_overflow(&mut self, now: Moment, connection: ConnectionId) {
        self.now = now;
        if let Some(key) = self.sessions.with_connection(connection) {
            self.abort(key, Ending::SlowReader);
        }
    }

    /// The time that [`Output::WakeAt`] asked for has come. Early and spurious calls do no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.now = now;
        self.wake_at = None;
        // What is left is due at once, when others were served.
        let before = self.work;
        while self.work - before < cost::TURN
            && let Some(exchange) = self.exchanges.pop_due(now)
        {
            self.time_out(exchange);
        }
        while self.work - before < cost::TURN && self.repeats.forget_due(now) {
            self.spend(cost::MESSAGE);
        }
        while self.work - before < cost::TURN
            && let Some(waiting) = self.queues.pop_due(now)
        {
            self.refuse(waiting.asker, &places::NO_PLACE_IN_TIME.into());
        }
        while self.work - before < cost::TURN
            && let Some((session, HeldRequest { conversation, due, .. }, intake)) = self.turns.pop_due(now)
        {
            self.refuse(Asker { now, session, conversation, due }, &routing::TOO_LATE.into());
            self.regulate(session, intake);
        }
        if self.queues.has_ready() {
            self.serve_queues(now);
        }
        while self.work - before < cost::TURN
            && let Some((key, unanswered)) = self.pings.pop_due(now)
        {
            self.ping(now, key, unanswered);
        }
        while self.work - before < cost::TURN
            && let Some(key) = self.probes.pop_due(now)
        {
            self.look_after(now, key);
        }
        while self.work - before < cost::TURN
            && let Some((_, key)) = self.sessions.next_expiry().filter(|(at, _)| *at <= now)
        {
            self.end(key, Ending::Expired);
        }
        while self.work - before < cost::TURN && self.end_lease(now) {}
        self.end_logins(now);
        self.tell_watchers(now);
        self.take_turn(now);
        self.end_grace(now);
    }

    /// The session of a connection from which something arrived just now.
    fn heard(&mut self, now: Moment, connection: ConnectionId) -> Option<SessionKey> {
        self.now = now;
        let key = self.sessions.with_connection(connection)?;
        self.hear(now, key);
        Some(key)
    }

    /// The client of a session has given a sign of life.
    fn hear(&mut self, now: Moment, key: SessionKey) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.hear(now);
        }
        if self.probes.heard(key) {
            self.has_more_room(key);
        }
    }

    /// Sends a message of a session, now or when it has a connection again.
    fn send_to(&mut self, key: SessionKey, frame: Vec<u8>) {
        let frame = Bytes::from(frame);
        self.spend(cost::message(frame.len()));
        if let Some(connection) = self.sessions.record_sent(key, &frame) {
            self.outputs.push_back(connection.output(frame));
        }
    }

    /// Sends what is no message of a session, and not counted.
    fn send(&mut self, connection: ConnectionId, frame: Vec<u8>) {
        self.outputs.push_back(Output::Send(connection, frame.into()));
    }
}

/// The first of some moments, if there are any that ever come.
fn earliest<const N: usize>(moments: [Option<Moment>; N]) -> Option<Moment> {
    let first = moments.iter().fold(Moment::NEVER, |first, at| first.min(at.unwrap_or(Moment::NEVER)));
    Some(first).filter(|first| *first < Moment::NEVER)
}
