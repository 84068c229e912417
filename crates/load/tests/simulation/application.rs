//! What the applications of the clients ask for and answer, and what they check.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_load::ledger::{EntryId, Recipients, Stamp};
use antiphon_protocol::client::{
    self, CallId, ClientSession, CloseCode, Event, FilterResponseReceived, HandlerId, HandlerSettings, HandlersAt,
    Outcome, Patience, ReceivedRequest, RequestError, Response, Sought, State, Terms,
};
use antiphon_protocol::features::Features;
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::time::Moment;
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::SessionId;

use crate::faults::{chance, milliseconds};
use crate::world::{BEARER, Turn, World};

/// Of the stream that every client has.
const STREAM: &str = "stream";
const STREAM_ID: HandlerId = HandlerId(1);

/// Sizes of requests and answers, in bytes, at least.
const SIZE: usize = 32;

/// Most requests that a handler takes at a time, or lets wait, if it takes no more than so many.
const MOST_AT_A_TIME: u32 = 3;

/// Of one story, with those whose sessions are over.
const MAX_CLIENTS: usize = 6;

/// Longest time that a handler takes that answers at all.
const LONGEST_WORK: Duration = Duration::from_secs(3);

/// Time that the core gives a handler.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(10);

/// For requests that are answered.
const AT_LAST: Patience = Patience { timeout: Duration::from_secs(12), wait: false };

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
    /// One thing that an application may want.
    pub fn do_something(&mut self) {
        let client = self.random.usize(0..self.clients.len());
        let now = self.now;
        match self.random.u32(0..112) {
            100..108 => self.watch(client),
            108..112 => self.end_watch(client),
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
            86..94 => self.act(client, |core| core.reconnect(now)),
            94..98 => {
                self.call(client, PendingCall::Ping, |core, call| core.ping(now, call));
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

    fn new_request(&mut self, client: usize, path: Option<&str>, to: Recipients, patience: Patience) -> EntryId {
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
            begun_in: None,
            losses: self.losses,
            handled: None,
            answered_at: None,
            received: 0,
            expected: None,
            wanted: None,
            is_for_everybody: false,
            addressee: None,
            is_keyed: false,
            keeper: None,
        });
        self.open_requests += 1;
        self.tally.requests += 1;
        self.log(|| format!("client {client} asks {path:?} {to:?}: {request:?} {patience:?}"));
        request
    }

    fn send_to_path(&mut self, client: usize, path: String, patience: Patience, wanted: Option<Vec<usize>>) {
        let request = self.new_request(client, Some(&path), Recipients::Any, patience);
        let is_keyed = wanted.is_none() && self.is_to_be_keyed(request);
        self.requests[request.0 as usize].wanted = wanted;
        self.requests[request.0 as usize].is_keyed = is_keyed;
        self.attempt(request, patience);
    }

    /// Whether a request is one of those that have a key.
    fn is_to_be_keyed(&mut self, request: EntryId) -> bool {
        let is_keyed = self.plan.has_keys && self.random.bool();
        if is_keyed {
            self.tap.knows_key_of(request);
        }
        is_keyed
    }

    /// Sends a request that one recipient has to answer, perhaps not for the first time.
    fn attempt(&mut self, request: EntryId, patience: Patience) {
        let mut terms = self.terms(patience);
        let Request { client, is_keyed, addressee, ref path, .. } = self.requests[request.0 as usize];
        let path = path.clone();
        if is_keyed {
            terms = terms.with_key(&request.0.to_string());
        }
        self.requests[request.0 as usize].keeper = self.keeper(client);
        let (now, value) = (self.now, question(request));
        self.ask(client, request, PendingCall::Answer(request), |core, call| match (addressee, path) {
            (Some(session), _) => core.send_to_session(now, call, session, STREAM, value.as_wire(), terms),
            (None, path) => core.send_to_path(now, call, &path.unwrap_or_default(), value.as_wire(), terms),
        });
    }

    /// By whom the broker knows keys that a client uses now; nothing while it has no connection.
    fn keeper(&self, client: usize) -> Option<SessionId> {
        let Client { core, session, .. } = &self.clients[client];
        let session = session.filter(|_| core.state() == State::Connected)?;
        // Whoever has a token is the same principal.
        Some(if self.plan.token_life.is_some() { SessionId { value: 0, ..session } } else { session })
    }

    /// A request that may have been handled is sent again after a while, if there is time and the broker will know its key.
    /// Whether it is.
    fn is_repeated(&mut self, id: EntryId, error: &RequestError) -> bool {
        let Request { is_keyed, keeper, sent_at, timeout, .. } = self.requests[id.0 as usize];
        let at = self.now + milliseconds(&mut self.random, 0..2_000);
        let is_in_time = at.since(sent_at) < timeout;
        let is_repeated = is_keyed && is_in_time && keeper.is_some() && error.outcome() == Outcome::Unknown;
        if is_repeated {
            self.schedule(at, Turn::Repeat(id));
        }
        is_repeated
    }

    /// Sends a request again that may have been handled, unless its key may be unknown.
    pub fn repeat(&mut self, id: EntryId) {
        let Request { client, keeper, sent_at, timeout, .. } = self.requests[id.0 as usize];
        if self.keeper(client) != keeper {
            return self.settle(id, false);
        }
        let left = timeout.saturating_sub(self.now.since(sent_at));
        self.log(|| format!("client {client} asks again: {id:?}, {left:?}"));
        self.tally.repeats += 1;
        self.requests[id.0 as usize].waits_since = None;
        self.attempt(id, Patience { timeout: left, wait: false });
    }

    fn send_to_session(&mut self, client: usize, patience: Patience) {
        let recipient = self.random.usize(0..self.clients.len());
        let Some(session) = self.clients[recipient].session else { return };
        let to = Recipients::One(self::recipient(session));
        let request = self.new_request(client, None, to, patience);
        self.requests[request.0 as usize].addressee = Some(session);
        self.requests[request.0 as usize].is_keyed = self.is_to_be_keyed(request);
        self.attempt(request, patience);
    }

    fn send_to_filter(&mut self, client: usize, patience: Patience, expected: Option<u32>) {
        // Sessions that their clients have forgotten are matched too, as long as they have connections.
        let request = self.new_request(client, None, Recipients::All(expected.unwrap_or(u32::MAX)), patience);
        self.requests[request.0 as usize].is_for_everybody = expected.is_some();
        let terms = self.terms(patience);
        let (now, value) = (self.now, question(request));
        self.ask(client, request, PendingCall::Responses(request), |core, call| {
            core.send_to_filter(now, call, "all", STREAM, value.as_wire(), terms);
        });
    }

    /// What a request is sent with: some tell how much time there is. In the end none: the bytes of all that are asked then
    /// are near what tight brokers allow.
    fn terms(&mut self, patience: Patience) -> Terms {
        Terms::new(patience, !self.is_over && self.random.bool())
    }

    /// Begins a call, and lets everything happen that follows at once.
    fn call(&mut self, client: usize, waiting: PendingCall, begin: impl FnOnce(&mut ClientSession, CallId)) -> CallId {
        let Client { calls, waiting: all, .. } = &mut self.clients[client];
        *calls += 1;
        let call = CallId(*calls);
        all.insert(call, waiting);
        self.act(client, |core| begin(core, call));
        call
    }

    /// The same, for a request.
    fn ask(
        &mut self,
        client: usize,
        request: EntryId,
        waiting: PendingCall,
        begin: impl FnOnce(&mut ClientSession, CallId),
    ) {
        let state = self.clients[client].core.state();
        self.requests[request.0 as usize].begun_in = Some(state);
        self.call(client, waiting, begin);
        self.requests[request.0 as usize].begun_in = None;
    }

    pub fn register(&mut self, client: usize, path: &str) {
        let now = self.now;
        self.log(|| format!("client {client} registers {path}"));
        self.clients[client].handler_ids += 1;
        let handler = HandlerId(self.clients[client].handler_ids);
        let wait = chance(&mut self.random, 30);
        let is_limited = chance(&mut self.random, 40);
        let capacity = is_limited.then(|| (self.random.u32(1..=MOST_AT_A_TIME), self.random.u32(0..=MOST_AT_A_TIME)));
        if is_limited {
            self.limited.insert(path.to_owned());
        }
        let waiting = PendingCall::Registration(handler, path.to_owned(), capacity, self.losses);
        let (max_concurrent, max_queued) = capacity.unwrap_or_default();
        let settings = HandlerSettings {
            timeout: HANDLER_TIMEOUT,
            max_concurrent,
            max_queued,
            wait,
            ..HandlerSettings::default()
        };
        self.call(client, waiting, |core, call| core.register_handler(now, call, handler, path, settings));
    }

    fn deregister_any(&mut self, client: usize) {
        let handlers: Vec<_> = self.clients[client].handlers.keys().copied().collect();
        if let Some(handler) = self.random.choice(handlers) {
            self.deregister(client, handler);
        }
    }

    fn deregister(&mut self, client: usize, id: HandlerId) {
        let now = self.now;
        self.log(|| format!("client {client} takes back {id:?}"));
        // It answers no more, whatever the server knows.
        let Some(handler) = self.clients[client].handlers.remove(&id) else { return };
        self.clients[client].unwanted.insert(handler.path, None);
        self.call(client, PendingCall::Deregistration, |core, call| core.deregister_handler(now, call, id));
    }

    /// Shows a fresh token before the old one expires, or is too late for that.
    pub fn renew(&mut self, client: usize) {
        if !self.is_over && chance(&mut self.random, 10) {
            return self.log(|| format!("client {client} gets no token"));
        }
        let (now, token) = (self.now, self.token());
        self.call(client, PendingCall::Renewal, |core, call| core.change_principal(now, call, BEARER, &token));
    }

    fn watch(&mut self, client: usize) {
        let path = self.any_path();
        let timeout = milliseconds(&mut self.random, 500..8_000);
        self.log(|| format!("client {client} watches {path}"));
        let Client { calls, watches, .. } = &mut self.clients[client];
        *calls += 1;
        let (now, call) = (self.now, CallId(*calls));
        watches.insert(call, Watch { path: path.clone(), told: None });
        self.act(client, |core| core.look(now, call, Sought::Changes, &path, timeout));
    }

    fn end_watch(&mut self, client: usize) {
        let watches: Vec<_> = self.clients[client].watches.keys().copied().collect();
        let Some(call) = self.random.choice(watches) else { return };
        self.log(|| format!("client {client} ends its watch {call:?}"));
        self.clients[client].watches.remove(&call);
        self.act(client, |core| core.abandon(call));
    }

    /// A client is told what there is for one that watches, or that it does not watch any more.
    fn observe(&mut self, client: usize, call: CallId, outcome: Result<Response, RequestError>) {
        let state = self.clients[client].core.state();
        let Some(watch) = self.clients[client].watches.get_mut(&call) else { return };
        match outcome {
            Ok(Response::Handlers(found)) if state == State::Connected => {
                watch.told = Some(found);
                self.tally.told += 1;
            }
            Err(error) => {
                let is_right = match error {
                    RequestError::SessionClosed { .. } | RequestError::ConnectionLost => state == State::Closed,
                    RequestError::NotConnected => matches!(state, State::Connecting | State::Recovering),
                    RequestError::TimedOut(_) => true,
                    RequestError::Refused { reason, .. } => reason == ErrorReason::UNSUPPORTED,
                    _ => false,
                };
                let is_over = state == State::Closed;
                // Once it is there, only the end of the session ends it.
                let is_right = is_right && (watch.told.is_none() || is_over);
                let watch = self.clients[client].watches.remove(&call);
                if !is_right {
                    self.wrong(|| format!("{watch:?} of client {client} ended with {error:?}"));
                }
            }
            outcome => self.wrong(|| format!("client {client} is told of {call:?}: {outcome:?}")),
        }
    }

    /// Whether somebody watches who was told last what is not so.
    pub fn what_is_untold(&self) -> Option<String> {
        for (index, client) in self.clients.iter().enumerate() {
            // One that is at a broker without the feature hears nothing.
            if client.is_over || !client.core.features().has(Features::DISCOVERY) {
                continue;
            }
            for watch in client.watches.values() {
                let found = self.found_at(&watch.path);
                if watch.told.as_ref() != Some(&found) {
                    return Some(format!("client {index} has {watch:?}, and there is {found:?}"));
                }
            }
        }
        None
    }

    /// The application does not want to wait for a request any more.
    fn abort(&mut self, client: usize) {
        let waiting = self.clients[client].waiting.iter();
        let requests: Vec<_> = waiting
            .filter_map(|(call, waiting)| match waiting {
                PendingCall::Answer(request) | PendingCall::Responses(request) => Some((*call, *request)),
                _ => None,
            })
            .collect();
        let Some((call, request)) = self.random.choice(requests) else { return };
        self.log(|| format!("client {client} aborts {request:?}"));
        self.clients[client].waiting.remove(&call);
        self.act(client, |core| core.abandon(call));
        self.settle(request, false);
    }

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

    /// A session whose token is renewed in time, on a connection that works, does not end with the token.
    fn check_end(&mut self, client: usize, event: &Event) {
        let is_by_server = matches!(event, Event::Closed(closed) if closed.code == CloseCode::ClosedByServer);
        let is_renewed = self.plan.token_life.is_some_and(|life| self.disturbed_at + life < self.now);
        if self.is_over && is_by_server && is_renewed {
            self.wrong(|| format!("the session of client {client} has ended: {event:?}"));
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

    /// How long everything has been as it should be: what came before may have been refused before.
    fn calm_for(&self) -> Duration {
        self.now.since(self.disturbed_at)
    }

    fn check_lost(&mut self, client: usize, error: &RequestError) {
        let state = self.clients[client].core.state();
        let is_right = match error {
            RequestError::NotConnected => matches!(state, State::Connecting | State::Recovering),
            RequestError::TimedOut(_) | RequestError::NotSentInTime(_) | RequestError::ConnectionLost => true,
            RequestError::SessionClosed { .. } => self.clients[client].core.state() == State::Closed,
            RequestError::Refused { reason, .. } => *reason == ErrorReason::HANDLER_CONFLICT,
            _ => false,
        };
        if !is_right {
            self.wrong(|| format!("client {client}: {error:?}"));
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

    fn check_wanted(&mut self, request: EntryId, recipient: Option<usize>) {
        let Some(wanted) = &self.requests[request.0 as usize].wanted else { return };
        let is_right = recipient.map_or(wanted.is_empty(), |recipient| wanted.contains(&recipient));
        if !is_right {
            let wanted = wanted.clone();
            self.wrong(|| format!("{request:?} was answered by {recipient:?} instead of {wanted:?}"));
        }
    }

    /// Whether an error says what is the case.
    fn check_error(&mut self, id: EntryId, error: &RequestError) {
        let calm_since = self.calm_since();
        let request = &self.requests[id.0 as usize];
        let Request { client, sent_at, timeout, losses, .. } = *request;
        let took = self.now.since(sent_at);
        let is_lossless = losses == self.losses;
        let is_right = match error {
            RequestError::NotConnected => match request.begun_in {
                Some(State::Connecting) => true,
                Some(State::Recovering) => !request.wait,
                _ => false,
            },
            // The broker, or this client, knows no keys.
            RequestError::InvalidArgument(_) => request.is_keyed,
            RequestError::SessionClosed { sent: false } => {
                self.clients[client].core.state() == State::Closed
                    && (request.begun_in.is_some() || request.waits_since.is_some())
            }
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
            RequestError::Refused { reason, detail, .. } => match *reason {
                ErrorReason::CALLBACK_EXCEPTION | ErrorReason::REJECTED_REQUEST => *detail == id.0.to_string(),
                ErrorReason::SESSION_CLOSED => !is_lossless,
                ErrorReason::REQUEST_TIME_OUT => {
                    took >= self.plan.broker.request_timeout.min(HANDLER_TIMEOUT).min(timeout)
                        && !self.should_have_ended(request, calm_since)
                }
                // Whoever was there before, and has not lost anything, is still there.
                ErrorReason::UNHANDLED_MESSAGE => {
                    let is_there = |handler: &Handler| {
                        Some(&handler.path) == request.path.as_ref()
                            && handler.since <= sent_at
                            && handler.losses == self.losses
                    };
                    // But the server may prefer somebody whose registration came too late, and who takes it back.
                    let is_unwanted =
                        |client: &Client| request.path.as_ref().is_some_and(|path| client.is_unwanted(path, sent_at));
                    self.clients.iter().any(is_unwanted)
                        || !self.clients.iter().flat_map(|client| client.handlers.values()).any(is_there)
                }
                ErrorReason::NO_SUCH_SESSION => self.losses > 0,
                ErrorReason::BUSY => self.plan.is_tight || self.may_be_busy(request),
                // It waited for a session that ended, or came back without what was sent to it. Which of many that was,
                // the ledger knows.
                ErrorReason::CLUSTER_ROUTING => {
                    let is_unhandled = request.handled.is_none() || request.expected.is_some();
                    self.plan.is_tight || self.may_be_busy(request) || !is_lossless && is_unhandled
                }
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
            // It may have waited for handlers that were busy.
            (Some(_), None) if self.may_be_busy(request) => return false,
            // It was neither delivered nor refused.
            (Some(_), None) => calm_since,
            // Of one to a session or to a filter, too little is known here.
            (None, _) => return false,
            (_, Some((handled_at, _))) => request.answered_at.unwrap_or(handled_at + LONGEST_WORK).max(calm_since),
        };
        request.losses == self.losses && ready + LONGEST_WAY < self.now
    }

    /// Whether a request may have found handlers that took no more.
    fn may_be_busy(&self, request: &Request) -> bool {
        let is_above = |limited: &String| request.path.as_ref().is_some_and(|path| path.starts_with(limited));
        self.limited.iter().any(is_above)
    }

    /// A handler is given a request.
    fn serve(&mut self, client: usize, received: ReceivedRequest) {
        let ReceivedRequest { id: received_as, handler, path, sender, request, key, .. } = received;
        let stamp = Stamp::from_bytes(&request.bytes);
        let is_right = match self.clients[client].handlers.get(&handler) {
            Some(handler) => sender.is_some() && path.starts_with(&handler.path),
            // It takes the place of one that is being taken back.
            None if self.clients[client].is_registering(handler, &path) => sender.is_some(),
            None => sender.is_none() && handler == STREAM_ID && path == STREAM,
        };
        if !is_right {
            return self.wrong(|| format!("client {client} has no handler {handler:?} for {path}"));
        }
        let Some(recipient) = self.clients[client].recipient() else {
            return self.wrong(|| format!("client {client} is given {received_as:?} without a session"));
        };
        self.ledger.handled(stamp, recipient);
        let Some(Stamp { request: id, .. }) = stamp else { return };
        if key.is_some_and(|key| key != id.0.to_string()) {
            self.wrong(|| format!("{id:?} has the key of another one"));
        }
        let work = match self.random.u32(0..100) {
            _ if self.is_over => Work::Answer,
            0..75 => Work::Answer,
            75..80 => Work::AnswerTwice,
            80..88 => Work::Reject,
            88..93 => Work::RejectThenAnswer,
            _ => Work::Nothing,
        };
        self.log(|| format!("client {client} handles {id:?} as {received_as:?}: {work:?}"));
        self.requests[id.0 as usize].handled = Some((self.now, work));
        if self.clients[client].received.insert(received_as, (id, recipient)).is_some() {
            self.wrong(|| format!("client {client} is given {received_as:?} again"));
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
            self.schedule(at, Turn::Answer(client, received_as, Answer { stamp, reason: *reason }));
        }
    }

    /// A handler answers, whether anybody still waits for it or not.
    pub fn answer(&mut self, client: usize, received_as: client::RequestId, answer: Answer) {
        let Answer { stamp, reason } = answer;
        self.log(|| format!("client {client} answers {:?} as {received_as:?}: {reason:?}", stamp.request));
        if self.clients[client].received.remove(&received_as).is_some() {
            self.requests[stamp.request.0 as usize].answered_at.get_or_insert(self.now);
        }
        let value = Value::new(DataType::Binary, stamp.to_bytes(SIZE));
        let text = stamp.request.0.to_string();
        self.act(client, |core| match reason {
            Some(reason) => core.respond(received_as, Err((reason, &text, &[]))),
            None => core.respond(received_as, Ok(value.as_wire())),
        });
    }

    /// All paths at which somebody may have a handler.
    pub fn paths(&self) -> Vec<String> {
        let shared = ["shared", "shared/deep", "shared/deep/down"].into_iter().map(str::to_owned);
        shared.chain((0..self.clients.len()).map(|client| format!("own/{client}"))).collect()
    }

    /// Sends as many requests to a path as its handlers take, all at once, which have to be answered, once everything is as it
    /// should be: whatever there was before, every place is free.
    pub fn ask_handlers(&mut self, path: &str) {
        let open: Vec<_> = (0..self.clients.len()).filter(|client| !self.clients[*client].is_over).collect();
        let Some(client) = self.random.choice(open) else { return };
        let (mut wanted, mut requests) = (Vec::new(), 0);
        for (recipient, capacity) in self.handlers_of(path) {
            wanted.push(recipient);
            requests += capacity.map_or(MOST_AT_A_TIME, |(at_a_time, waiting)| at_a_time + waiting);
        }
        for _ in 0..requests.max(1) {
            self.send_to_path(client, path.to_owned(), AT_LAST, Some(wanted.clone()));
        }
    }

    /// The same to all sessions, by each of them.
    pub fn ask_sessions(&mut self) {
        let open: Vec<_> = (0..self.clients.len()).filter(|client| !self.clients[*client].is_over).collect();
        for client in open.clone() {
            self.send_to_filter(client, AT_LAST, Some(open.len() as u32));
        }
    }

    /// Who has to answer a request to a path, and how many each takes.
    fn handlers_of(&self, path: &str) -> Vec<(usize, Capacity)> {
        self.most_specific(path).map_or(Vec::new(), |(_, handlers)| handlers)
    }

    /// What one who watches a path has to be told.
    fn found_at(&self, path: &str) -> Option<HandlersAt> {
        let (path, handlers) = self.most_specific(path)?;
        Some(HandlersAt { path: path.to_owned(), handlers: handlers.len() as u32 })
    }

    /// Where a request to a path goes, and who is there.
    fn most_specific<'a>(&self, path: &'a str) -> Option<(&'a str, Vec<(usize, Capacity)>)> {
        let mut longest = Some(path);
        while let Some(path) = longest {
            let at_path = |client: &Client| {
                let mut handlers = client.handlers.values().filter(|handler| handler.path == path);
                handlers.next().and_then(|handler| Some((client.recipient()?, handler.capacity)))
            };
            let found: Vec<_> = self.clients.iter().filter_map(at_path).collect();
            if !found.is_empty() {
                return Some((path, found));
            }
            longest = path.rsplit_once('/').map(|(parent, _)| parent);
        }
        None
    }

    /// The first thing that must not happen ends the story.
    fn wrong(&mut self, what: impl FnOnce() -> String) {
        if self.fault.is_none() {
            self.fault = Some(what());
        }
    }
}

fn question(request: EntryId) -> Value {
    Value::new(DataType::Binary, Stamp { request, recipient: None }.to_bytes(SIZE))
}

fn is_unhandled(error: &RequestError) -> bool {
    matches!(error.outcome(), Outcome::NotSent | Outcome::Refused)
}
