//! What the applications of the clients do: what they ask for, what they answer, what they are told, and what of it has to
//! be so.
//!
//! - `asking`: what they want of their clients.
//! - `answering`: what they make of requests.
//! - `checks`: what has to be the case.

mod answering;
mod asking;
mod checks;

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_load::ledger::{EntryId, Stamp};
use antiphon_protocol::client::{
    self, CallId, ClientSession, Event, FilterResponseReceived, HandlerId, HandlersAt, Outcome, RequestError, Response,
    State,
};
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::SessionId;

use crate::world::World;

/// Of the stream that every client has.
const STREAM: &str = "stream";
const STREAM_ID: HandlerId = HandlerId(1);

/// Sizes of requests and answers, in bytes, at least.
const SIZE: usize = 32;

/// Longest time that a handler takes that answers at all.
const LONGEST_WORK: Duration = Duration::from_secs(3);

/// Time that the core gives a handler.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time from an answer to its arrival while nothing goes wrong, with a margin.
const LONGEST_WAY: Duration = Duration::from_secs(10);

/// A client and its application.
pub struct Client {
    pub core: ClientSession,
    pub connection: Option<usize>,
    pub wakes: Option<Moment>,
    session: Option<SessionId>,
    /// [`World::ends`] when that was opened.
    ends: u64,
    reconnections: u64,
    /// Whether the server broke the protocol, so that the client wants another session.
    pub is_offended: bool,
    /// What the application waits for.
    pub waiting: BTreeMap<CallId, PendingCall>,
    /// Numbers of calls and handlers that it has used.
    calls: u64,
    handler_ids: u64,
    /// Request handlers.
    pub handlers: BTreeMap<HandlerId, Handler>,
    /// Paths whose handlers it watches.
    pub watches: BTreeMap<CallId, Watch>,
    /// Paths of registrations that are over for the application and may hold for a while: when that ended, if it has.
    unwanted: BTreeMap<String, Option<Moment>>,
    /// What its handlers have to answer.
    received: BTreeMap<client::RequestId, (EntryId, usize)>,
    /// Requests that failed with the connection, before the client said what became of the session.
    unexplained: Vec<EntryId>,
    pub is_over: bool,
}

#[derive(Clone, Debug)]
pub enum PendingCall {
    Answer(EntryId),
    /// Of a request to a session filter; first the number of sessions, then the responses.
    Responses(EntryId),
    /// Of this handler at this path, which takes so much; with [`World::losses`] when it was sent.
    Registration(HandlerId, String, Capacity, u64),
    Deregistration,
    Ping,
    /// Of the token.
    Renewal,
}

/// How many requests a handler takes at a time, if it does not take all that come, and how many more may wait.
type Capacity = Option<(u32, u32)>;

#[derive(Debug)]
pub struct Handler {
    path: String,
    capacity: Capacity,
    /// When the server said so, and [`World::losses`] when it was asked.
    since: Moment,
    losses: u64,
}

/// A path whose handlers are watched.
#[derive(Debug)]
pub struct Watch {
    path: String,
    /// What it was told last; nothing if it waits for that.
    told: Option<Option<HandlersAt>>,
}

/// A request, beyond what the ledger knows of it.
#[derive(Debug)]
pub struct Request {
    client: usize,
    path: Option<String>,
    sent_at: Moment,
    timeout: Duration,
    wait: bool,
    /// If it has to wait for a connection: how often its client had found one before.
    waits_since: Option<u64>,
    /// What its client was doing, while the call is being made: what comes of it meanwhile was told at once.
    begun_in: Option<State>,
    /// [`World::losses`] when it was sent.
    losses: u64,
    /// Since when the handler has it, and what it makes of it.
    handled: Option<(Moment, Work)>,
    /// When the handler gave its first answer.
    answered_at: Option<Moment>,
    received: u32,
    expected: Option<u32>,
    /// The recipients of which one has to answer; nobody for nobody, nothing if anything may happen.
    wanted: Option<Vec<usize>>,
    /// Whether every recipient has to answer.
    is_for_everybody: bool,
    /// The session that it is addressed to.
    addressee: Option<SessionId>,
    /// Whether it has a key, so that it can be sent again.
    is_keyed: bool,
    /// By whom the broker knows the key, if it was sent on a connection: the session, or all of one broker.
    keeper: Option<SessionId>,
}

/// The way a handler treats a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Answer,
    AnswerTwice,
    Reject,
    RejectThenAnswer,
    Nothing,
}

/// One answer of a handler.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    stamp: Stamp,
    reason: Option<ErrorReason>,
}

impl Client {
    pub fn new(mut core: ClientSession) -> Self {
        core.add_stream(STREAM_ID, STREAM, true, HANDLER_TIMEOUT);
        Self {
            core,
            connection: None,
            wakes: None,
            session: None,
            ends: 0,
            reconnections: 0,
            is_offended: false,
            waiting: BTreeMap::new(),
            calls: 0,
            handler_ids: STREAM_ID.0,
            handlers: BTreeMap::new(),
            watches: BTreeMap::new(),
            unwanted: BTreeMap::new(),
            received: BTreeMap::new(),
            unexplained: Vec::new(),
            is_over: false,
        }
    }

    /// Whether the server may have sent a request of this time to a registration that was over.
    fn is_unwanted(&self, path: &str, sent_at: Moment) -> bool {
        let is_open = |until: &Option<Moment>| until.is_none_or(|until| sent_at <= until);
        self.unwanted.iter().any(|(unwanted, until)| path.starts_with(unwanted) && is_open(until))
    }

    /// Notices when the server has nothing that the application does not know of: once it has been told of everything, or
    /// calls that have ended at the same time would stand for others.
    pub fn settle_unwanted(&mut self, now: Moment) {
        if self.core.open_conversations() == self.waiting.len() + self.handlers.len() + self.watches.len() {
            for until in self.unwanted.values_mut() {
                until.get_or_insert(now);
            }
        }
    }

    fn is_registering(&self, handler: HandlerId, path: &str) -> bool {
        let is_it = |call: &PendingCall| matches!(call, PendingCall::Registration(id, at, ..) if *id == handler && path.starts_with(at));
        self.waiting.values().any(is_it)
    }

    /// A number for its session; every session of every broker has its own.
    fn recipient(&self) -> Option<usize> {
        self.session.map(recipient)
    }
}

fn recipient(session: SessionId) -> usize {
    session.value as usize * 16 + session.server as usize
}

impl World {
    pub fn handle(&mut self, client: usize, event: Event) {
        match event {
            Event::Connected(session) => {
                self.clients[client].session = Some(session);
                self.clients[client].ends = self.ends;
            }
            Event::ConnectFailed(_) | Event::Closed(_) => {
                self.check_end(client, &event);
                self.clients[client].is_over = true;
                self.clients[client].session = None;
                self.clients[client].handlers.clear();
                if let Some((call, watch)) = self.clients[client].watches.first_key_value() {
                    let text = format!("client {client} was not told of the end of {call:?}: {watch:?}");
                    self.wrong(|| text);
                }
                self.lose(client);
                self.tally.closed += 1;
            }
            Event::CallEnded { call, outcome } if self.clients[client].watches.contains_key(&call) => {
                self.observe(client, call, outcome);
            }
            Event::CallEnded { call, outcome } => self.conclude(client, call, outcome),
            Event::FilterCallEnded { call, outcome } => self.conclude_filter(client, call, outcome),
            Event::FilterResponseReceived(response) => self.take_filter_response(client, response),
            Event::RequestReceived(request) => self.serve(client, request),
            Event::RequestAbandoned { request, .. } => {
                if self.clients[client].received.remove(&request).is_none() {
                    self.wrong(|| format!("client {client} abandons {request:?}, which it has not to answer"));
                }
            }
            Event::Disconnected(_) => self.disturb(self.now),
            Event::MessagesLost { .. } => {
                self.lose(client);
                self.tally.losses += 1;
                if self.ends == 0 && !self.plan.may_lose {
                    self.wrong(|| format!("client {client} has lost messages"));
                }
            }
            Event::HandlerLost(handler) => {
                // Only where the path was taken: by a registration that the application was told had failed.
                let lost = self.clients[client].handlers.remove(&handler);
                self.log(|| format!("client {client} loses {lost:?}"));
            }
            Event::Reconnected { session, lossless, new_session } => {
                self.disturb(self.now);
                let before = self.clients[client].session.replace(session);
                if (before != Some(session)) != new_session || lossless && new_session {
                    self.wrong(|| format!("client {client} had {before:?} and has {session:?}"));
                }
                if new_session {
                    let Client { is_offended, ends, .. } = &mut self.clients[client];
                    let is_same = std::mem::replace(ends, self.ends) == self.ends;
                    // It may have to answer more than it can keep, while it reconnects.
                    let keeps_enough = self.plan.client.recovery == RecoveryLimits::default();
                    if !std::mem::take(is_offended) && is_same && keeps_enough {
                        self.wrong(|| format!("client {client} has left a session that the server still had"));
                    }
                }
                self.clients[client].reconnections += 1;
                self.tally.lossless += u64::from(lossless);
                self.tally.new_sessions += u64::from(new_session);
            }
        }
    }

    /// What was under way is lost, and the client has said so.
    fn lose(&mut self, client: usize) {
        self.losses += 1;
        self.clients[client].unexplained.clear();
    }

    fn conclude(&mut self, client: usize, call: CallId, outcome: Result<Response, RequestError>) {
        // The end of a request to a filter that went to some is told on its own.
        let waiting = match self.clients[client].waiting.get(&call) {
            Some(PendingCall::Responses(request)) if outcome.is_ok() => Some(PendingCall::Responses(*request)),
            _ => self.clients[client].waiting.remove(&call),
        };
        let Some(waiting) = waiting else {
            return self.wrong(|| format!("client {client} is told of {call:?} again: {outcome:?}"));
        };
        match (waiting, outcome) {
            (PendingCall::Answer(request), Ok(Response::Value(value))) => {
                self.ledger.answered(request, Stamp::from_bytes(&value.bytes), None);
                self.check_wanted(request, Stamp::from_bytes(&value.bytes).and_then(|stamp| stamp.recipient));
                self.settle(request, true);
            }
            (PendingCall::Answer(request) | PendingCall::Responses(request), Err(error)) => self.fail(request, &error),
            (PendingCall::Responses(request), Ok(Response::Matched(count))) => {
                self.ledger.matched(request, count);
                self.requests[request.0 as usize].expected = Some(count);
            }
            (PendingCall::Registration(id, path, capacity, losses), Ok(Response::Registered)) => {
                let handler = Handler { path, capacity, since: self.now, losses };
                self.clients[client].handlers.insert(id, handler);
            }
            (PendingCall::Registration(_, path, ..), Err(error)) => {
                if matches!(error, RequestError::TimedOut(_)) {
                    self.clients[client].unwanted.insert(path, None);
                }
                self.check_lost(client, &error);
            }
            (PendingCall::Deregistration, Ok(Response::Deregistered)) => {}
            (PendingCall::Ping, Err(error)) => self.check_lost(client, &error),
            (PendingCall::Ping, Ok(Response::Pong(_))) => {}
            (PendingCall::Renewal, Ok(Response::PrincipalChanged(is_changed)))
                if is_changed || !self.is_over || self.calm_for() < LONGEST_WAY =>
            {
                self.tally.renewals += u64::from(is_changed);
            }
            // Too many credentials are being checked, or another token of this session.
            (PendingCall::Renewal, Err(RequestError::Refused { reason: ErrorReason::CLUSTER_ROUTING, .. })) => {}
            (PendingCall::Renewal, Err(error)) => self.check_lost(client, &error),
            (waiting, outcome) => self.wrong(|| format!("{waiting:?} ended with {outcome:?}")),
        }
    }

    fn conclude_filter(&mut self, client: usize, call: CallId, outcome: Result<(), RequestError>) {
        let Some(PendingCall::Responses(request)) = self.clients[client].waiting.remove(&call) else {
            return self.wrong(|| format!("client {client} is told of the end of {call:?} again: {outcome:?}"));
        };
        match outcome {
            Ok(()) => {
                let Request { received, expected, is_for_everybody, .. } = self.requests[request.0 as usize];
                let sessions = self.open_clients() as u32;
                if expected != Some(received) || is_for_everybody && received != sessions {
                    self.wrong(|| format!("{request:?} has {received} answers of {expected:?}"));
                }
                self.settle(request, true);
            }
            Err(error) => self.fail(request, &error),
        }
    }

    fn take_filter_response(&mut self, client: usize, response: FilterResponseReceived) {
        let FilterResponseReceived { call, session, outcome, received, expected } = response;
        let Some(PendingCall::Responses(request)) = self.clients[client].waiting.get(&call) else {
            return self.wrong(|| format!("client {client} is told of {call:?}, for which nobody waits"));
        };
        let request = *request;
        let known = &mut self.requests[request.0 as usize];
        known.received += 1;
        if (Some(expected), received) != (known.expected, known.received) {
            return self.wrong(|| format!("{request:?} has {received} answers of {expected}"));
        }
        let from = Some(recipient(session));
        match outcome {
            Ok(value) => self.ledger.answered(request, Stamp::from_bytes(&value.bytes), from),
            Err(error) => {
                self.check_error(request, &error);
                if self.requests[request.0 as usize].is_for_everybody {
                    self.wrong(|| format!("{request:?} fails at {session}: {error:?}"));
                }
                if is_unhandled(&error) {
                    self.ledger.unhandled(request, from);
                }
                self.ledger.failed(request, from);
            }
        }
    }

    fn settle(&mut self, request: EntryId, well: bool) {
        self.ledger.settled(request, well);
        self.open_requests -= 1;
        if well {
            self.tally.answered += 1;
        } else {
            self.tally.failed += 1;
        }
    }

    fn fail(&mut self, request: EntryId, error: &RequestError) {
        self.check_error(request, error);
        if matches!(error, RequestError::Refused { reason, .. } if *reason == ErrorReason::UNHANDLED_MESSAGE) {
            self.check_wanted(request, None);
        } else if self.requests[request.0 as usize].wanted.is_some() {
            self.wrong(|| format!("{request:?} came to {error:?}"));
        }
        if is_unhandled(error) {
            self.ledger.unhandled(request, None);
        }
        if !self.is_repeated(request, error) {
            self.settle(request, false);
        }
    }
}

fn is_unhandled(error: &RequestError) -> bool {
    matches!(error.outcome(), Outcome::NotSent | Outcome::Refused)
}
