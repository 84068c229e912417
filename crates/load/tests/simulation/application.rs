//! What the applications of the clients ask for and answer, and what they check.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use antiphon_load::ledger::{Recipients, RequestId, Stamp};
use antiphon_protocol::client::{
    Addressing, ClientSession, Event, FilterResponseReceived, Outcome, Patience, ReceivedRequest, RequestError,
    Response, State,
};
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::time::Moment;
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};

use crate::faults::{chance, milliseconds};
use crate::world::{Turn, World};

/// Of the stream that every client has.
const STREAM: &str = "stream";

/// Sizes of requests and answers, in bytes, at least.
const SIZE: usize = 32;

/// Of one story, with those whose sessions are over.
const MAX_CLIENTS: usize = 6;

/// Longest time that a handler takes that answers at all.
const LONGEST_WORK: Duration = Duration::from_secs(3);

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
    pub waiting: BTreeMap<ConversationId, Waiting>,
    /// Request handlers, by registration.
    pub handlers: BTreeMap<ConversationId, Handler>,
    /// Paths of registrations that failed for the application and may hold for a while.
    unwanted: BTreeSet<String>,
    /// What its handlers have to answer.
    received: BTreeMap<ConversationId, (RequestId, usize)>,
    /// Requests that failed with the connection, before the client said what became of the session.
    unexplained: Vec<RequestId>,
    pub is_over: bool,
}

#[derive(Clone, Debug)]
pub enum Waiting {
    Answer(RequestId),
    Count(RequestId),
    Responses(RequestId),
    /// At this path; with [`World::losses`] when it was sent.
    Registration(String, u64),
    Deregistration(ConversationId),
    Ping,
}

#[derive(Debug)]
pub struct Handler {
    path: String,
    /// Whether the server has it: it may, if the answer to a deregistration did not come in time.
    pub is_certain: bool,
    /// When the server said so, and [`World::losses`] when it was asked.
    since: Moment,
    losses: u64,
}

/// What is known of a request besides what the ledger knows.
#[derive(Debug)]
pub struct Request {
    client: usize,
    path: Option<String>,
    sent_at: Moment,
    timeout: Duration,
    wait: bool,
    /// If it has to wait for a connection: how often its client had found one before.
    waits_since: Option<u64>,
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
}

/// What a handler makes of a request.
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
    pub fn new(core: ClientSession) -> Self {
        Self {
            core,
            connection: None,
            wakes: None,
            session: None,
            ends: 0,
            reconnections: 0,
            is_offended: false,
            waiting: BTreeMap::new(),
            handlers: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            received: BTreeMap::new(),
            unexplained: Vec::new(),
            is_over: false,
        }
    }

    fn is_unwanted(&self, path: &str) -> bool {
        self.unwanted.iter().any(|unwanted| path.starts_with(unwanted))
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
    /// One thing that an application may want.
    pub fn do_something(&mut self) {
        let client = self.random.usize(0..self.clients.len());
        let now = self.now;
        match self.random.u32(0..100) {
            0..60 => {
                for _ in 0..self.random.usize(1..4) {
                    let wait = chance(&mut self.random, 30);
                    let timeout = match self.random.u32(0..3) {
                        0 => milliseconds(&mut self.random, 1..2_000),
                        1 => milliseconds(&mut self.random, 2_000..8_000),
                        _ => milliseconds(&mut self.random, 8_000..25_000),
                    };
                    let patience = Patience { timeout, wait };
                    match self.random.u32(0..10) {
                        0..6 => {
                            let path = self.any_path();
                            self.send_to_path(client, path, patience, None);
                        }
                        6..8 => self.send_to_session(client, patience),
                        _ => self.send_to_filter(client, patience, None),
                    }
                }
            }
            60..72 => {
                let path = if self.random.bool() { format!("own/{client}") } else { self.any_path() };
                self.register(client, &path);
            }
            72..78 => self.deregister_any(client),
            78..86 => self.abort(client),
            86..94 => self.act(client, |core| core.retry_now(now)),
            94..98 => {
                if let Ok(conversation) = self.clients[client].core.ping(now) {
                    self.clients[client].waiting.insert(conversation, Waiting::Ping);
                }
                self.act(client, |_| ());
            }
            98 if self.clients.len() < MAX_CLIENTS => self.join(),
            _ if self.plan.may_close => {
                self.log(|| format!("client {client} closes"));
                self.act(client, |core| core.close(now));
            }
            _ => {}
        }
    }

    fn any_path(&mut self) -> String {
        match self.random.usize(0..self.clients.len() + 3) {
            0 => "shared".into(),
            1 => "shared/deep".into(),
            2 => "shared/deep/down".into(),
            own => format!("own/{}", own - 3),
        }
    }

    fn new_request(&mut self, client: usize, path: Option<&str>, to: Recipients, patience: Patience) -> RequestId {
        let Patience { timeout, wait } = patience;
        let request = self.ledger.sent(to, timeout);
        let sender = &self.clients[client];
        self.requests.push(Request {
            client,
            path: path.map(str::to_owned),
            sent_at: self.now,
            timeout,
            wait,
            waits_since: (sender.core.state() == State::Recovering).then_some(sender.reconnections),
            losses: self.losses,
            handled: None,
            answered_at: None,
            received: 0,
            expected: None,
            wanted: None,
            is_for_everybody: false,
        });
        self.open_requests += 1;
        self.tally.requests += 1;
        self.log(|| format!("client {client} asks {path:?} {to:?}: {request:?} {patience:?}"));
        request
    }

    fn send_to_path(&mut self, client: usize, path: String, patience: Patience, wanted: Option<Vec<usize>>) {
        let request = self.new_request(client, Some(&path), Recipients::Any, patience);
        self.requests[request.0 as usize].wanted = wanted;
        let (now, value) = (self.now, question(request));
        let sent = self.clients[client].core.send_to_path(now, &path, value.as_wire(), patience);
        self.started(client, request, sent);
    }

    fn send_to_session(&mut self, client: usize, patience: Patience) {
        let recipient = self.random.usize(0..self.clients.len());
        let Some(session) = self.clients[recipient].session else { return };
        let to = Recipients::One(self::recipient(session));
        let request = self.new_request(client, None, to, patience);
        let (now, value) = (self.now, question(request));
        let sent = self.clients[client].core.send_to_session(now, session, STREAM, value.as_wire(), patience);
        self.started(client, request, sent);
    }

    fn send_to_filter(&mut self, client: usize, patience: Patience, expected: Option<u32>) {
        // Sessions that their clients have forgotten are matched too, as long as they have connections.
        let request = self.new_request(client, None, Recipients::All(expected.unwrap_or(u32::MAX)), patience);
        self.requests[request.0 as usize].is_for_everybody = expected.is_some();
        let (now, value) = (self.now, question(request));
        match self.clients[client].core.send_to_filter(now, "all", STREAM, value.as_wire(), patience) {
            Ok(sent) => {
                let waiting = &mut self.clients[client].waiting;
                waiting.insert(sent.count, Waiting::Count(request));
                waiting.insert(sent.responses, Waiting::Responses(request));
                self.act(client, |_| ());
            }
            Err(error) => self.started(client, request, Err(error)),
        }
    }

    fn started(&mut self, client: usize, request: RequestId, sent: Result<ConversationId, RequestError>) {
        match sent {
            Ok(conversation) => {
                self.clients[client].waiting.insert(conversation, Waiting::Answer(request));
            }
            Err(error) => {
                let (state, wait) = (self.clients[client].core.state(), self.requests[request.0 as usize].wait);
                let is_right = match error {
                    RequestError::NotConnected => state == State::Connecting || state == State::Recovering && !wait,
                    RequestError::SessionClosed { sent: false } => state == State::Closed,
                    _ => false,
                };
                if !is_right {
                    self.wrong(|| format!("{request:?} fails at once, {state:?}: {error:?}"));
                }
                self.fail(request, &error);
            }
        }
        self.act(client, |_| ());
    }

    pub fn register(&mut self, client: usize, path: &str) {
        let now = self.now;
        self.log(|| format!("client {client} registers {path}"));
        if let Ok(conversation) = self.clients[client].core.register_handler(now, path, &[], true) {
            self.clients[client].waiting.insert(conversation, Waiting::Registration(path.to_owned(), self.losses));
        }
        self.act(client, |_| ());
    }

    fn deregister_any(&mut self, client: usize) {
        let registrations: Vec<_> = self.clients[client].handlers.keys().copied().collect();
        if let Some(registration) = self.random.choice(registrations) {
            self.deregister(client, registration);
        }
    }

    fn deregister(&mut self, client: usize, registration: ConversationId) {
        let now = self.now;
        self.log(|| format!("client {client} takes back {registration:?}"));
        match self.clients[client].core.deregister_handler(now, registration) {
            Ok(conversation) => {
                self.clients[client].waiting.insert(conversation, Waiting::Deregistration(registration));
                // Until the answer comes, it may be there and may not.
                if let Some(handler) = self.clients[client].handlers.get_mut(&registration) {
                    handler.is_certain = false;
                }
            }
            // It was taken back before, and the answer came too late.
            Err(RequestError::SessionClosed { .. }) => drop(self.clients[client].handlers.remove(&registration)),
            Err(_) => {}
        }
        self.act(client, |_| ());
    }

    /// Asks again what came of the registrations that were to be taken back.
    pub fn deregister_uncertain(&mut self) {
        for client in 0..self.clients.len() {
            let handlers = self.clients[client].handlers.iter().filter(|(_, handler)| !handler.is_certain);
            let uncertain: Vec<_> = handlers.map(|(registration, _)| *registration).collect();
            for registration in uncertain {
                self.deregister(client, registration);
            }
        }
    }

    /// The application does not want to wait for a request any more.
    fn abort(&mut self, client: usize) {
        let waiting = &self.clients[client].waiting;
        let conversations: Vec<_> = waiting
            .iter()
            .filter(|(_, waiting)| matches!(waiting, Waiting::Answer(_) | Waiting::Responses(_)))
            .map(|(conversation, waiting)| (*conversation, waiting.clone()))
            .collect();
        let Some((conversation, aborted)) = self.random.choice(conversations) else { return };
        self.log(|| format!("client {client} aborts {aborted:?}"));
        let request = match aborted {
            Waiting::Answer(request) | Waiting::Responses(request) => request,
            _ => return,
        };
        let is_count = |waiting: &Waiting| matches!(waiting, Waiting::Count(other) if *other == request);
        let waiting = &self.clients[client].waiting;
        let count = waiting.iter().find(|(_, waiting)| is_count(waiting)).map(|(count, _)| *count);
        let all: Vec<_> = [Some(conversation), count].into_iter().flatten().collect();
        for conversation in all {
            self.clients[client].waiting.remove(&conversation);
            self.act(client, |core| core.abandon(conversation));
        }
        self.settle(request, false);
    }

    pub fn handle(&mut self, client: usize, event: Event) {
        match event {
            Event::Connected(session) => {
                self.clients[client].session = Some(session);
                self.clients[client].ends = self.ends;
            }
            Event::ConnectFailed(_) | Event::Closed(_) => {
                self.clients[client].is_over = true;
                self.clients[client].session = None;
                self.clients[client].handlers.clear();
                self.lose(client);
                self.tally.closed += 1;
            }
            Event::ResponseReceived { conversation, outcome } => self.conclude(client, conversation, outcome),
            Event::FilterResponseReceived(response) => self.take_filter_response(client, response),
            Event::RequestReceived(request) => self.serve(client, request),
            Event::RequestAbandoned(conversation) => {
                if self.clients[client].received.remove(&conversation).is_none() {
                    self.wrong(|| format!("client {client} abandons {conversation:?}, which it has not to answer"));
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
            Event::HandlerLost(registration) => {
                // Only where the path was taken: by a registration that the application was told had failed.
                let lost = self.clients[client].handlers.remove(&registration);
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

    /// A request fails with the connection only if the session goes on without what was under way, or does not go on.
    pub fn check_explained(&mut self, client: usize) {
        if let Some(request) = self.clients[client].unexplained.pop() {
            self.wrong(|| format!("{request:?} failed with the connection, and nothing was lost"));
        }
    }

    fn conclude(&mut self, client: usize, conversation: ConversationId, outcome: Result<Response, RequestError>) {
        let Some(waiting) = self.clients[client].waiting.remove(&conversation) else {
            return self.wrong(|| format!("client {client} is told of {conversation:?} again: {outcome:?}"));
        };
        match (waiting, outcome) {
            (Waiting::Answer(request), Ok(Response::Value(value))) => {
                self.ledger.answered(request, Stamp::from_bytes(&value.bytes), None);
                self.check_wanted(request, Stamp::from_bytes(&value.bytes).and_then(|stamp| stamp.recipient));
                self.settle(request, true);
            }
            (Waiting::Answer(request), Err(error)) => self.fail(request, &error),
            (Waiting::Count(request), Ok(Response::Matched(count))) => {
                self.ledger.matched(request, count);
                self.requests[request.0 as usize].expected = Some(count);
            }
            // The other conversation of the request says the same.
            (Waiting::Count(_), Err(_)) => {}
            (Waiting::Responses(request), Ok(Response::AllAnswered)) => {
                let Request { received, expected, is_for_everybody, .. } = self.requests[request.0 as usize];
                let sessions = self.open_clients() as u32;
                if expected != Some(received) || is_for_everybody && received != sessions {
                    self.wrong(|| format!("{request:?} has {received} answers of {expected:?}"));
                }
                self.settle(request, true);
            }
            (Waiting::Responses(request), Err(error)) => self.fail(request, &error),
            (Waiting::Registration(path, losses), Ok(Response::Registered(registration))) => {
                let handler = Handler { path, is_certain: true, since: self.now, losses };
                self.clients[client].handlers.insert(registration, handler);
            }
            (Waiting::Registration(path, _), Err(error)) => {
                if matches!(error, RequestError::TimedOut(_)) {
                    self.clients[client].unwanted.insert(path);
                }
                self.check_lost(client, &error);
            }
            (Waiting::Deregistration(registration), Ok(Response::Deregistered)) => {
                self.clients[client].handlers.remove(&registration);
            }
            (Waiting::Deregistration(_) | Waiting::Ping, Err(error)) => self.check_lost(client, &error),
            (Waiting::Ping, Ok(Response::Pong(_))) => {}
            (waiting, outcome) => self.wrong(|| format!("{waiting:?} ended with {outcome:?}")),
        }
    }

    fn check_lost(&mut self, client: usize, error: &RequestError) {
        let is_right = match error {
            RequestError::TimedOut(_) | RequestError::ConnectionLost => true,
            RequestError::SessionClosed { .. } => self.clients[client].core.state() == State::Closed,
            RequestError::Refused { reason, .. } => *reason == ErrorReason::HANDLER_CONFLICT,
            _ => false,
        };
        if !is_right {
            self.wrong(|| format!("client {client}: {error:?}"));
        }
    }

    fn take_filter_response(&mut self, client: usize, response: FilterResponseReceived) {
        let FilterResponseReceived { conversation, session, outcome, received, expected } = response;
        let Some(Waiting::Responses(request)) = self.clients[client].waiting.get(&conversation) else {
            return self.wrong(|| format!("client {client} is told of {conversation:?}, for which nobody waits"));
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

    fn settle(&mut self, request: RequestId, well: bool) {
        self.ledger.settled(request, well);
        self.open_requests -= 1;
        if well {
            self.tally.answered += 1;
        } else {
            self.tally.failed += 1;
        }
    }

    fn fail(&mut self, request: RequestId, error: &RequestError) {
        self.check_error(request, error);
        if matches!(error, RequestError::Refused { reason, .. } if *reason == ErrorReason::UNHANDLED_MESSAGE) {
            self.check_wanted(request, None);
        } else if self.requests[request.0 as usize].wanted.is_some() {
            self.wrong(|| format!("{request:?} came to {error:?}"));
        }
        if is_unhandled(error) {
            self.ledger.unhandled(request, None);
        }
        self.settle(request, false);
    }

    fn check_wanted(&mut self, request: RequestId, recipient: Option<usize>) {
        let Some(wanted) = &self.requests[request.0 as usize].wanted else { return };
        let is_right = recipient.map_or(wanted.is_empty(), |recipient| wanted.contains(&recipient));
        if !is_right {
            let wanted = wanted.clone();
            self.wrong(|| format!("{request:?} was answered by {recipient:?} instead of {wanted:?}"));
        }
    }

    /// Whether an error says what is the case.
    fn check_error(&mut self, id: RequestId, error: &RequestError) {
        let calm_since = self.calm_since();
        let request = &self.requests[id.0 as usize];
        let Request { client, sent_at, timeout, losses, .. } = *request;
        let took = self.now.since(sent_at);
        let is_lossless = losses == self.losses;
        let is_right = match error {
            RequestError::NotConnected | RequestError::SessionClosed { sent: false } => true,
            RequestError::NotSentInTime(_) => took >= timeout && request.wait,
            RequestError::TimedOut(_) => took >= timeout && !self.should_have_ended(request, calm_since),
            RequestError::ConnectionLost => {
                let reconnections = self.clients[client].reconnections;
                // What has not been sent survives the loss of what was before.
                let is_unsent = request.waits_since == Some(reconnections);
                self.clients[client].unexplained.push(id);
                !is_unsent
            }
            RequestError::SessionClosed { sent: true } => self.clients[client].core.state() == State::Closed,
            RequestError::Refused { reason, detail } => match *reason {
                ErrorReason::CALLBACK_EXCEPTION | ErrorReason::REJECTED_REQUEST => *detail == id.0.to_string(),
                ErrorReason::SESSION_CLOSED => !is_lossless,
                ErrorReason::REQUEST_TIME_OUT => {
                    took >= self.plan.broker.request_timeout && !self.should_have_ended(request, calm_since)
                }
                // Whoever was there before, and has not lost anything, is still there.
                ErrorReason::UNHANDLED_MESSAGE => {
                    let is_there = |handler: &Handler| {
                        Some(&handler.path) == request.path.as_ref()
                            && handler.is_certain
                            && handler.since <= sent_at
                            && handler.losses == self.losses
                    };
                    // But the server may prefer somebody whose registration came too late, and who takes it back.
                    let is_unwanted =
                        |client: &Client| request.path.as_ref().is_some_and(|path| client.is_unwanted(path));
                    self.clients.iter().any(is_unwanted)
                        || !self.clients.iter().flat_map(|client| client.handlers.values()).any(is_there)
                }
                ErrorReason::NO_SUCH_SESSION => self.losses > 0,
                ErrorReason::CLUSTER_ROUTING => self.plan.is_tight,
                _ => false,
            },
            _ => false,
        };
        if !is_right {
            let told = format!("{id:?} failed after {took:?} with {error:?}: {request:?}, calm since {calm_since:?}");
            self.wrong(|| told);
        }
    }

    /// Whether a request that has timed out had its answer, or would have had it, long before.
    fn should_have_ended(&self, request: &Request, calm_since: Option<Moment>) -> bool {
        let Some(calm_since) = calm_since else { return false };
        let calm_since = calm_since.max(request.sent_at);
        let ready = match (&request.path, request.handled) {
            (_, Some((_, Work::Nothing))) => return false,
            // It was neither delivered nor refused.
            (Some(_), None) => calm_since,
            // Of one to a session or to a filter, too little is known here.
            (None, _) => return false,
            (_, Some((handled_at, _))) => request.answered_at.unwrap_or(handled_at + LONGEST_WORK).max(calm_since),
        };
        request.losses == self.losses && ready + LONGEST_WAY < self.now
    }

    /// A handler is given a request.
    fn serve(&mut self, client: usize, received: ReceivedRequest) {
        let ReceivedRequest { conversation, path, addressing, request } = received;
        let stamp = Stamp::from_bytes(&request.bytes);
        let is_there = match &addressing {
            Addressing::Path { registration, .. } => match self.clients[client].handlers.get(registration) {
                Some(handler) => path.starts_with(&handler.path),
                None => false,
            },
            Addressing::Session => path == STREAM,
        };
        if !is_there {
            if !self.clients[client].is_unwanted(&path) {
                self.wrong(|| format!("client {client} has no handler for {path} {addressing:?}"));
            }
            let refusal = Err((ErrorReason::UNHANDLED_MESSAGE, ""));
            self.clients[client].core.respond(conversation, refusal);
            return;
        }
        let Some(recipient) = self.clients[client].recipient() else {
            return self.wrong(|| format!("client {client} is given {conversation:?} without a session"));
        };
        self.ledger.handled(stamp, recipient);
        let Some(Stamp { request: id, .. }) = stamp else { return };
        let work = match self.random.u32(0..100) {
            _ if self.is_over => Work::Answer,
            0..75 => Work::Answer,
            75..80 => Work::AnswerTwice,
            80..88 => Work::Reject,
            88..93 => Work::RejectThenAnswer,
            _ => Work::Nothing,
        };
        self.log(|| format!("client {client} handles {id:?} as {conversation:?}: {work:?}"));
        self.requests[id.0 as usize].handled = Some((self.now, work));
        if self.clients[client].received.insert(conversation, (id, recipient)).is_some() {
            self.wrong(|| format!("client {client} is given {conversation:?} again"));
        }
        let stamp = Stamp { request: id, recipient: Some(recipient) };
        let reasons = [ErrorReason::REJECTED_REQUEST, ErrorReason::CALLBACK_EXCEPTION];
        let reason = self.random.choice(reasons);
        let answers: &[Option<ErrorReason>] = match work {
            Work::Answer => &[None],
            Work::AnswerTwice => &[None, None],
            Work::Reject => &[reason],
            Work::RejectThenAnswer => &[reason, None],
            Work::Nothing => &[],
        };
        let mut at = self.now;
        for reason in answers {
            if !self.is_over && chance(&mut self.random, 40) {
                at = at + milliseconds(&mut self.random, 0..LONGEST_WORK.as_millis() as u64 / 2);
            }
            self.schedule(at, Turn::Answer(client, conversation, Answer { stamp, reason: *reason }));
        }
    }

    /// A handler answers, whether anybody still waits for it or not.
    pub fn answer(&mut self, client: usize, conversation: ConversationId, answer: Answer) {
        let Answer { stamp, reason } = answer;
        self.log(|| format!("client {client} answers {:?} as {conversation:?}: {reason:?}", stamp.request));
        if self.clients[client].received.remove(&conversation).is_some() {
            self.requests[stamp.request.0 as usize].answered_at.get_or_insert(self.now);
        }
        let value = Value::new(DataType::Binary, stamp.to_bytes(SIZE));
        let text = stamp.request.0.to_string();
        self.act(client, |core| match reason {
            Some(reason) => core.respond(conversation, Err((reason, &text))),
            None => core.respond(conversation, Ok(value.as_wire())),
        });
    }

    /// Sends requests to every handler, every session and all of them, once everything is as it should be.
    pub fn ask_everybody(&mut self) {
        let open: Vec<_> = (0..self.clients.len()).filter(|client| !self.clients[*client].is_over).collect();
        let patience = Patience { timeout: Duration::from_secs(12), wait: false };
        let paths: BTreeSet<_> = ["shared", "shared/deep", "shared/deep/down"].into_iter().map(str::to_owned).collect();
        let own = (0..self.clients.len()).map(|client| format!("own/{client}"));
        for path in paths.into_iter().chain(own) {
            let Some(client) = self.random.choice(&open).copied() else { return };
            let wanted = self.handlers_of(&path);
            self.send_to_path(client, path, patience, wanted);
        }
        for client in open.clone() {
            self.send_to_filter(client, patience, Some(open.len() as u32));
        }
    }

    /// Who may answer a request to a path; nothing if that is not certain.
    fn handlers_of(&self, path: &str) -> Option<Vec<usize>> {
        let mut longest = Some(path);
        while let Some(path) = longest {
            let at_path = |client: &Client| {
                let mut handlers = client.handlers.values().filter(|handler| handler.path == path);
                handlers.next().map(|handler| (handler.is_certain, client.recipient()))
            };
            let found: Vec<_> = self.clients.iter().filter_map(at_path).collect();
            if found.iter().any(|(is_certain, _)| !is_certain) {
                return None;
            }
            if !found.is_empty() {
                return Some(found.into_iter().filter_map(|(_, recipient)| recipient).collect());
            }
            longest = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        Some(Vec::new())
    }

    /// The first thing that must not happen ends the story.
    fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some(what());
        }
    }
}

fn question(request: RequestId) -> Value {
    Value::new(DataType::Binary, Stamp { request, recipient: None }.to_bytes(SIZE))
}

fn is_unhandled(error: &RequestError) -> bool {
    matches!(error.outcome(), Outcome::NotSent | Outcome::Refused)
}
