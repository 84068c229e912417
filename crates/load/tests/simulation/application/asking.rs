//! What the applications want of their clients: what they ask for, handle, watch and give up.

use std::time::Duration;

use antiphon_load::ledger::{EntryId, Recipients, Stamp};
use antiphon_protocol::client::{
    CallId, ClientSession, HandlerId, HandlerSettings, Outcome, Patience, RequestError, Response, Sought, State, Terms,
};
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::SessionId;

use super::{Client, HANDLER_TIMEOUT, PendingCall, Request, SIZE, STREAM, Watch};
use crate::faults::{chance, milliseconds};
use crate::world::{BEARER, Turn, World};

/// Most requests that a handler takes at a time, or lets wait, if it takes no more than so many.
const MOST_AT_A_TIME: u32 = 3;

/// Of one story, with those whose sessions are over.
const MAX_CLIENTS: usize = 6;

/// For requests that are answered.
const AT_LAST: Patience = Patience { timeout: Duration::from_secs(12), wait: false };

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
    pub(super) fn is_repeated(&mut self, id: EntryId, error: &RequestError) -> bool {
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
        let to = Recipients::One(super::recipient(session));
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
    pub(super) fn observe(&mut self, client: usize, call: CallId, outcome: Result<Response, RequestError>) {
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
}

fn question(request: EntryId) -> Value {
    Value::new(DataType::Binary, Stamp { request, recipient: None }.to_bytes(SIZE))
}
