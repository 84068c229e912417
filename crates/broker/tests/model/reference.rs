//! The model: what a broker does, as plain as possible. Everything is in vectors and found by looking at all of them.
//!
//! Written from the protocol (docs/protocol.md, section 8) and the rules of behaviour that it rests on (S-, P-, M- and
//! L-numbers), not from the broker. Where the broker may choose, the model follows the choice that it sees.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_broker::core::permissions::{GlobalPermission, PathPermission};
use antiphon_broker::core::{Arrival, BrokerConfig};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::primitives::SessionId;

use crate::filter::{Filter, Meaning};
use crate::frames::{Answer, Capacity, Client, Frame, Payload, Reply, Seen, Sent, Step, Told};
use crate::identity::{self, Known, Shown};
use crate::keys::{Caller, Keys, Name};
use crate::permissions::Roles;

pub struct Model {
    pub config: BrokerConfig,
    /// Times allowed below some paths.
    timeouts: Vec<(&'static str, Duration)>,
    roles: Roles,
    known: Known,
    pub now: Moment,
    /// By the number of the client; those that were refused and those that are over stay.
    pub sessions: Vec<Session>,
    /// Requests that were delivered and not answered yet, with those that nobody waits for any more.
    pub waiting: Vec<Request>,
    /// Requests that wait for a handler, by its path.
    queues: Vec<Queue>,
    keys: Keys,
    /// What the request is known by that is being delivered, if it has a key.
    name: Option<Name>,
    /// Those of whom it is asked who they are, by the number of the question.
    pub applicants: BTreeMap<u64, Applicant>,
    /// All questions so far.
    questions: u64,
    /// Answers that nobody wanted any more.
    pub late_answers: u64,
    predicted: Vec<(Client, Frame)>,
    /// Deliveries that were seen in this step, for the choices and the conversations that are the broker's.
    delivered: Vec<(Client, Payload, i64)>,
}

pub struct Session {
    pub open: bool,
    pub id: Option<SessionId>,
    /// What was agreed on with the client.
    pub features: Features,
    pub properties: BTreeMap<String, String>,
    pub handlers: Vec<Handler>,
    /// All IDs of conversations that the broker started.
    conversations: Vec<i64>,
    /// Filter responses and pings, which the client may answer or not.
    pub unacknowledged: Vec<i64>,
    /// The last ping, if it was not answered.
    ping: Option<i64>,
    /// Requests that were answered, or timed out.
    pub finished: Vec<i64>,
    heard: Moment,
    last_ping: Option<Moment>,
    next_ping: Moment,
    lease: Option<Lease>,
}

/// How long credentials are good.
#[derive(Clone, Copy)]
struct Lease {
    ends: Moment,
    /// When fresh ones are asked for, or when it ends.
    next: Moment,
}

/// Somebody who waits to be told who it is (I-2).
pub struct Applicant {
    asked: Moment,
    principal: String,
    password: String,
    wants: Wants,
}

enum Wants {
    Session(Client, Box<(ConnectRequest, Arrival)>),
    Principal { client: Client, conversation: i64, properties: Vec<(String, String)> },
}

#[derive(Clone)]
pub struct Handler {
    pub path: String,
    registration: i64,
    keys: Vec<String>,
    capacity: Capacity,
}

#[derive(Clone)]
pub struct Request {
    sender: Client,
    reply_to: ReplyTo,
    pub recipient: Client,
    /// Known once the delivery was seen.
    pub conversation: Option<i64>,
    /// Of the handler, if that takes so many at a time.
    place: Option<String>,
    standing: Standing,
    /// If it has a key: those who wait for it are among the callers of that.
    name: Option<Name>,
    /// When its sender hears that there is no answer.
    deadline: Moment,
    /// The broker's own time.
    guard: Moment,
}

impl Request {
    fn due(&self) -> Moment {
        if self.standing == Standing::Awaited { self.deadline } else { self.guard }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Awaited,
    /// Nobody waits, and the recipient was not told.
    Unwanted,
    Cancelled,
    /// Whoever asks with the same key.
    Keyed,
}

#[derive(Clone, Copy)]
enum ReplyTo {
    Request(i64),
    /// The conversation of the request, and the number of its answers.
    Filter(i64, i64),
}

impl ReplyTo {
    fn request(self) -> i64 {
        match self {
            Self::Request(request) | Self::Filter(request, _) => request,
        }
    }
}

/// What waits at a path, by sender in the order of their turns, and of each in the order in which it came.
struct Queue {
    path: String,
    senders: Vec<(Client, Vec<Queued>)>,
}

impl Queue {
    fn next(&self) -> &ToPath {
        &self.senders[0].1[0].request
    }

    fn all(&self) -> impl Iterator<Item = &Queued> {
        self.senders.iter().flat_map(|(_, requests)| requests)
    }
}

#[derive(Clone)]
struct Queued {
    request: ToPath,
    deadline: Moment,
}

/// A request to a path.
#[derive(Clone)]
struct ToPath {
    sender: Client,
    conversation: i64,
    path: String,
    payload: Payload,
    key: Option<String>,
    /// What that stands for, since it came.
    name: Option<Name>,
    due: Option<Moment>,
}

/// Why a request goes to no handler now.
enum NotTaken {
    Refused(i32),
    /// All at this path have as many as they take.
    AllFull(String),
}

const SESSION_CLOSED: i32 = 101;
const REQUEST_TIME_OUT: i32 = 102;
const ACCESS_DENIED: i32 = 103;
const UNSUPPORTED: i32 = 104;
const INVALID_DATA: i32 = 106;
const NO_SUCH_SESSION: i32 = 107;
const UNHANDLED_MESSAGE: i32 = 109;
const CLUSTER_ROUTING: i32 = 112;
const BUSY: i32 = 10_001;
const CANCELLED: i32 = 10_002;
const HANDLER_CONFLICT: i32 = 201;
const INVALID_PATH: i32 = 202;

impl Model {
    pub fn new(config: BrokerConfig, known: Known, timeouts: Vec<(&'static str, Duration)>, now: Moment) -> Self {
        Self {
            config,
            timeouts,
            roles: Roles::new(BTreeMap::new(), Vec::new()),
            known,
            now,
            sessions: Vec::new(),
            waiting: Vec::new(),
            queues: Vec::new(),
            keys: Keys::default(),
            name: None,
            applicants: BTreeMap::new(),
            questions: 0,
            late_answers: 0,
            predicted: Vec::new(),
            delivered: Vec::new(),
        }
    }

    pub fn session(&self, client: Client) -> &Session {
        &self.sessions[client.0]
    }

    pub fn is_open(&self, client: Client) -> bool {
        self.session(client).open
    }

    pub fn open(&self) -> Vec<Client> {
        (0..self.sessions.len()).map(Client).filter(|client| self.is_open(*client)).collect()
    }

    /// Requests whose sender still waits.
    pub fn outstanding(&self) -> usize {
        let awaited = self.waiting.iter().filter(|request| request.standing == Standing::Awaited);
        awaited.count() + self.keys.callers.len() + self.queues.iter().map(|queue| queue.all().count()).sum::<usize>()
    }

    /// The conversations of requests of a client that are under way.
    pub fn asked_by(&self, client: Client) -> Vec<i64> {
        let is_its = |request: &&Request| request.sender == client && request.standing == Standing::Awaited;
        let delivered = self.waiting.iter().filter(is_its).map(|request| request.reply_to.request());
        let queued = self.queues.iter().flat_map(Queue::all).filter(|queued| queued.request.sender == client);
        let callers = self.keys.callers.iter().filter(|caller| caller.sender == client);
        let callers = callers.map(|caller| caller.conversation);
        delivered.chain(queued.map(|queued| queued.request.conversation)).chain(callers).collect()
    }

    /// Requests and pings that were not answered, even if nobody wants the answer any more.
    pub fn unanswered(&self) -> usize {
        let pings = self.sessions.iter().filter(|session| session.open && session.ping.is_some());
        self.waiting.len() + self.keys.callers.len() + pings.count()
    }

    /// When something happens that the broker has to be awake for.
    pub fn next_due(&self) -> Option<Moment> {
        let pings = self.sessions.iter().filter(|session| session.open && !self.config.ping_period.is_zero());
        let queued = self.queues.iter().flat_map(Queue::all).map(|queued| queued.deadline);
        let delivered = self.waiting.iter().map(Request::due);
        let leases = self.sessions.iter().filter(|session| session.open).filter_map(|session| session.lease);
        let applicants = self.applicants.values().map(|applicant| applicant.asked + self.config.login_timeout);
        let of_sessions = pings.map(|session| session.next_ping).chain(leases.map(|lease| lease.next));
        delivered.chain(queued).chain(self.keys.due()).chain(of_sessions).chain(applicants).min()
    }

    /// Those who have opened a connection and wait for a session on it.
    pub fn applying(&self) -> Vec<Client> {
        let connecting = self.applicants.values().filter_map(|applicant| match &applicant.wants {
            Wants::Session(client, _) => Some(*client),
            Wants::Principal { .. } => None,
        });
        connecting.collect()
    }

    /// All questions so far, answered or not.
    pub fn questions(&self) -> u64 {
        self.questions
    }

    /// What every client sees of a step. Of what was seen, only choices that are the broker's are looked at.
    pub fn predict(&mut self, step: &Step, arrival: &Arrival, seen: &[Seen]) -> Vec<(Client, Frame)> {
        self.delivered = seen.iter().filter_map(delivery).collect();
        match step {
            Step::Connect(client, request) => self.connect(*client, request, arrival, seen),
            Step::Send(client, _) | Step::Violate(client) if self.applying().contains(client) => {
                self.leave(*client);
                self.tell(*client, Frame::Closed);
            }
            Step::LoseConnection(client) if self.applying().contains(client) => self.leave(*client),
            Step::Send(client, sent) if self.is_open(*client) => {
                self.sessions[client.0].heard = self.now;
                self.receive(*client, sent, None, seen);
            }
            Step::Violate(client) if self.is_open(*client) => self.abort(*client),
            Step::ShowLife(client) if self.is_open(*client) => self.sessions[client.0].heard = self.now,
            Step::LoseConnection(client) if self.is_open(*client) => self.end(*client),
            // Nothing comes from a session that is over.
            Step::Send(..) | Step::Violate(_) | Step::ShowLife(_) | Step::LoseConnection(_) => {}
            Step::Rest(time) => self.now = self.now + *time,
            Step::Wake => self.wake(seen),
            Step::SetPermissions(given, isolated) => self.roles = Roles::new(given.clone(), isolated.clone()),
            Step::Tell(question, told) => self.told_who(*question, *told, seen),
            Step::Reload { gone, takes_tokens } => self.reload(gone, *takes_tokens, seen),
            // S-14, with no time for what is under way.
            Step::Stop => {
                for client in self.applying() {
                    self.tell(client, Frame::Closed);
                }
                self.applicants.clear();
                for client in self.open() {
                    self.tell(client, Frame::Closed);
                    self.forget(client);
                }
                self.waiting.clear();
                self.queues.clear();
                self.keys = Keys::default();
            }
        }
        self.serve_queues();
        std::mem::take(&mut self.predicted)
    }

    /// Takes note of the conversation IDs that the broker chose: each is new to its client, and none is 0 (section 5), but
    /// that of a filter response if it was agreed on (M-22).
    pub fn learn(&mut self, seen: &[Seen]) -> Result<(), String> {
        for Seen { client, conversation, frame } in seen {
            let Some(id) = *conversation else { continue };
            let session = &mut self.sessions[client.0];
            if matches!(frame, Frame::FilterResponse { .. }) && session.features.has(Features::UNACKNOWLEDGED) {
                if id != 0 {
                    return Err(format!("{client:?} would have to acknowledge conversation {id}"));
                }
                continue;
            }
            if id == 0 || session.conversations.contains(&id) {
                return Err(format!("conversation {id} with {client:?} is not new"));
            }
            session.conversations.push(id);
            if matches!(frame, Frame::Ping | Frame::FilterResponse { .. }) {
                session.unacknowledged.push(id);
                if *frame == Frame::Ping {
                    session.ping = Some(id);
                }
            }
        }
        Ok(())
    }

    /// Sections 2 and 3.
    fn connect(&mut self, client: Client, request: &ConnectRequest, arrival: &Arrival, seen: &[Seen]) {
        self.sessions.push(Session {
            open: false,
            id: None,
            features: request.features & self.config.features,
            properties: BTreeMap::new(),
            handlers: Vec::new(),
            conversations: Vec::new(),
            unacknowledged: Vec::new(),
            ping: None,
            finished: Vec::new(),
            heard: self.now,
            last_ping: None,
            next_ping: self.now + self.config.ping_period,
            lease: None,
        });
        let (principal, password) = identity::login(request);
        match (identity::refusal(request), self.known) {
            (Some(code), _) => self.refuse(client, request, code),
            (None, Known::Inside) => {
                let shown = identity::shown(self.known, &principal, &password);
                self.open_session(client, request, arrival, shown, seen);
            }
            (None, Known::Outside) => {
                let wants = Wants::Session(client, Box::new((request.clone(), arrival.clone())));
                self.ask_who(&principal, &password, wants);
            }
        }
    }

    fn refuse(&mut self, client: Client, request: &ConnectRequest, code: u8) {
        self.tell(client, Frame::Refused { version: request.version, code });
        self.tell(client, Frame::Closed);
    }

    fn ask_who(&mut self, principal: &str, password: &str, wants: Wants) {
        let (principal, password) = (principal.to_owned(), password.to_owned());
        self.applicants.insert(self.questions, Applicant { asked: self.now, principal, password, wants });
        self.questions += 1;
    }

    /// I-2: nothing comes of it if the one that was asked about has gone.
    fn told_who(&mut self, question: u64, told: Told, seen: &[Seen]) {
        let Some(Applicant { principal, password, wants, .. }) = self.applicants.remove(&question) else { return };
        let shown = identity::shown(self.known, &principal, &password);
        match (wants, told) {
            (Wants::Session(client, asked), Told::Busy) => self.refuse(client, &asked.0, 119),
            (Wants::Session(client, asked), Told::ByCredentials) => {
                let (request, arrival) = *asked;
                self.open_session(client, &request, &arrival, shown, seen);
            }
            (Wants::Principal { client, conversation, .. }, Told::Busy) => {
                self.reply(client, conversation, error(CLUSTER_ROUTING));
            }
            (Wants::Principal { client, conversation, properties }, Told::ByCredentials) => {
                let reply = self.become_another(client, &principal, shown, &properties);
                self.reply(client, conversation, reply);
            }
        }
    }

    /// It waits for a session no longer.
    fn leave(&mut self, client: Client) {
        self.applicants
            .retain(|_, applicant| !matches!(&applicant.wants, Wants::Session(other, _) if *other == client));
    }

    /// I-7, but for the roles, which stay the same here.
    fn reload(&mut self, gone: &[String], takes_tokens: bool, seen: &[Seen]) {
        let mut ended = self.open();
        ended.retain(|client| {
            let session = self.session(*client);
            if session.lease.is_some() { !takes_tokens } else { gone.contains(&session.properties["$Principal"]) }
        });
        for client in self.in_order_of_their_end(ended, seen) {
            self.abort(client);
        }
    }

    /// Section 3, when it is known what its credentials show.
    fn open_session(
        &mut self,
        client: Client,
        request: &ConnectRequest,
        arrival: &Arrival,
        shown: Option<Shown>,
        seen: &[Seen],
    ) {
        let Some(shown) = shown else { return self.refuse(client, request, 116) };
        // The broker chooses the ID; no other session had it.
        let chosen = seen.iter().find_map(|seen| match seen.frame {
            Frame::Accepted { session, .. } => Some(session),
            _ => None,
        });
        let is_new = |id: &SessionId| self.sessions.iter().all(|other| other.id != Some(*id));
        let id = chosen.filter(is_new).unwrap_or(SessionId { server: u64::MAX, value: u64::MAX });
        let properties = identity::properties(id, &self.config.server_name, request, arrival, shown);
        let (now, next_ping) = (self.now, self.now + self.config.ping_period);
        let session = &mut self.sessions[client.0];
        (session.open, session.id, session.properties) = (true, Some(id), properties);
        (session.heard, session.next_ping) = (now, next_ping);
        session.lease = Lease::start(now, shown);
        let ping_period = i64::try_from(self.config.ping_period.as_millis()).expect("short");
        let max_message_size = i32::try_from(self.config.max_message_size).expect("small");
        // S-17.
        let features = (request.features != Features::NONE).then_some(request.features & self.config.features);
        let version = request.version;
        self.tell(client, Frame::Accepted { version, session: id, ping_period, max_message_size, features });
    }

    /// `due` is until when its sender waits, if it says so.
    fn receive(&mut self, client: Client, sent: &Sent, due: Option<Moment>, seen: &[Seen]) {
        let features = self.session(client).features;
        match sent {
            // There are no headers.
            Sent::Timed(..) | Sent::Keyed(..) if !features.has_any(Features::WITH_HEADERS) => self.abort(client),
            Sent::Register { capacity, .. }
                if *capacity != Capacity::default() && !features.has_any(Features::WITH_HEADERS) =>
            {
                self.abort(client);
            }
            Sent::Timed(left, sent) => {
                let due = self.now + Duration::from_millis((*left).into());
                self.receive(client, sent, Some(due).filter(|_| features.has(Features::DEADLINES)), seen);
            }
            Sent::Keyed(key, sent) => self.receive_keyed(client, key, sent, seen),
            Sent::Cancel { conversation, is_timed_out } => {
                if *conversation != 0 && features.has(Features::CANCELLING) {
                    self.give_up_waiting(client, *conversation, *is_timed_out);
                    self.forget_queued(|queued| {
                        (queued.request.sender, queued.request.conversation) == (client, *conversation)
                    });
                    self.let_go(*is_timed_out, |request| {
                        (request.sender, request.reply_to.request()) == (client, *conversation)
                    });
                }
            }
            Sent::Register { conversation, path, keys, registration, capacity } => {
                let has_it = features.has(Features::BUSY);
                let capacity = if has_it { *capacity } else { Capacity::default() };
                let handler = Handler { path: path.clone(), registration: *registration, keys: keys.clone(), capacity };
                let reply = self.register(client, handler, seen);
                self.reply(client, *conversation, reply);
            }
            Sent::Deregister { conversation, path } => {
                let reply = match segments(path) {
                    Some(path) => {
                        let gone = |handler: &Handler| segments(&handler.path).as_ref() == Some(&path);
                        self.sessions[client.0].handlers.retain(|handler| !gone(handler));
                        Reply::Empty
                    }
                    None => error(INVALID_PATH),
                };
                self.reply(client, *conversation, reply);
            }
            Sent::ToPath { conversation, path, request } => {
                let (path, payload) = (path.clone(), request.clone());
                let conversation = *conversation;
                let request = ToPath { sender: client, conversation, path, payload, key: None, name: None, due };
                if let Err(reason) = self.send_to_path(request) {
                    self.reply(client, conversation, error(reason));
                }
            }
            Sent::ToSession { conversation, session, path, request } => {
                if let Err(reason) = self.send_to_session(client, *conversation, *session, path, request, due) {
                    self.reply(client, *conversation, error(reason));
                }
            }
            Sent::ToFilter { conversation, filter_conversation, filter, path, request } => {
                // Who does not want the count wants no answer at all (section 5).
                let reply_to = match *conversation {
                    0 => ReplyTo::Request(0),
                    _ => ReplyTo::Filter(*conversation, *filter_conversation),
                };
                let reply = self.send_to_filter(client, reply_to, filter, path, request, due);
                self.reply(client, *conversation, reply);
            }
            Sent::Answer { conversation, answer } => self.answer(client, *conversation, answer),
            Sent::ChangePrincipal { conversation, principal, password } => {
                self.change_principal(client, *conversation, principal, password, &[]);
            }
            Sent::Reauthenticate { conversation, principal, password, properties } => {
                self.change_principal(client, *conversation, principal, password, properties);
            }
            Sent::CloseClient { conversation, .. } if !self.may(client, GlobalPermission::ModifySession) => {
                self.reply(client, *conversation, error(ACCESS_DENIED));
            }
            Sent::CloseClient { conversation, session } => match self.find(*session) {
                Some(other) => {
                    self.reply(client, *conversation, Reply::Empty);
                    self.abort(other);
                }
                None => self.reply(client, *conversation, error(NO_SUCH_SESSION)),
            },
            Sent::GetProperties { conversation, session, keys } => {
                let asked = self.find(*session);
                let reply = match asked == Some(client) || self.may(client, GlobalPermission::ViewSession) {
                    true => Reply::Properties(asked.map(|asked| self.selected(asked, keys))),
                    false => error(ACCESS_DENIED),
                };
                self.reply(client, *conversation, reply);
            }
            Sent::GetOwnProperties { conversation } => {
                let properties = self.selected(client, &["*F".to_owned(), "*U".to_owned()]);
                self.reply(client, *conversation, Reply::Properties(Some(properties)));
            }
            Sent::UserPing { conversation } => self.reply(client, *conversation, Reply::Empty),
            Sent::Unoffered { conversation, .. } => self.reply(client, *conversation, error(UNSUPPORTED)),
            Sent::CloseRequest | Sent::Malformed(_) => self.abort(client),
        }
    }

    fn answer(&mut self, client: Client, conversation: i64, answer: &Answer) {
        // What came before that is read, and so is whatever was said of it (B-3).
        self.waiting.retain(|request| {
            let is_earlier = request.conversation.is_some_and(|other| other < conversation);
            !(request.recipient == client && request.standing == Standing::Cancelled && is_earlier)
        });
        let session = &mut self.sessions[client.0];
        if session.ping == Some(conversation) {
            session.ping = None;
            return;
        }
        let is_answered = |request: &Request| request.recipient == client && request.conversation == Some(conversation);
        let Some(index) = self.waiting.iter().position(is_answered) else {
            // A second answer, one that comes too late, or one to nothing (M-16); or, if it is empty, the
            // acknowledgement of a filter response, which need not come (M-14).
            if !matches!(answer, Answer::Nonsense(body) if body.is_empty()) {
                self.late_answers += 1;
            }
            return;
        };
        if matches!(self.waiting[index].standing, Standing::Unwanted | Standing::Cancelled) {
            self.late_answers += 1;
        }
        let reply = match answer {
            Answer::Value(value) => Reply::Value(value.clone()),
            // M-18.
            Answer::Error(reason, text) => Reply::Error(*reason, Some(text.chars().take(1024).collect())),
            Answer::Nonsense(_) => error(INVALID_DATA),
        };
        self.settle(index, reply);
    }

    /// M-5.
    fn register(&mut self, client: Client, handler: Handler, seen: &[Seen]) -> Reply {
        let Some(wanted) = segments(&handler.path) else { return error(INVALID_PATH) };
        let may_know = handler.keys.is_empty() || self.may(client, GlobalPermission::ViewSession);
        if !may_know || !self.may(client, GlobalPermission::RegisterHandler) {
            return error(ACCESS_DENIED);
        }
        let handlers = &mut self.sessions[client.0].handlers;
        let is_taken = handlers.iter().any(|handler| segments(&handler.path).as_ref() == Some(&wanted));
        let is_full = handlers.len() >= self.config.max_registrations;
        // If both are true, the broker may say either.
        let says_taken =
            seen.iter().any(|seen| matches!(seen.frame, Frame::Reply { reply: Reply::Error(HANDLER_CONFLICT, _), .. }));
        if is_full && !(is_taken && says_taken) {
            return error(CLUSTER_ROUTING);
        }
        if is_taken {
            return error(HANDLER_CONFLICT);
        }
        handlers.push(handler);
        Reply::Empty
    }

    /// M-3 and M-4: any handler of the longest path that the message path begins with, or a place in its queue (B-6).
    fn send_to_path(&mut self, mut request: ToPath) -> Result<(), i32> {
        let at = self.admit(request.sender, &request.path, PathPermission::SendToMessageHandler)?;
        request.name = request.key.as_ref().map(|key| self.name_of(request.sender, None, &at, key));
        self.check_time(request.due)?;
        let limit = self.check_limit(request.sender, 1);
        match self.hand_out(&request, limit) {
            Ok(()) => Ok(()),
            Err(NotTaken::Refused(reason)) => Err(reason),
            Err(NotTaken::AllFull(at)) => self.queue(request, &at),
        }
    }

    /// Delivers a request to a handler that can take it. Errors are in the order in which they come.
    fn hand_out(&mut self, request: &ToPath, limit: Result<(), i32>) -> Result<(), NotTaken> {
        let wanted = segments(&request.path).expect("a valid path");
        if let Some(name) = &request.name
            && self.repeat(request.sender, request.conversation, name, &request.path).map_err(NotTaken::Refused)?
        {
            return Ok(());
        }
        let mut best = 1;
        let mut candidates: Vec<(Client, Handler)> = Vec::new();
        for client in self.open() {
            for handler in &self.session(client).handlers {
                let at = segments(&handler.path).expect("a valid path");
                if wanted.starts_with(&at) && at.len() >= best {
                    if at.len() > best {
                        candidates.clear();
                    }
                    best = at.len();
                    candidates.push((client, handler.clone()));
                }
            }
        }
        if candidates.is_empty() {
            return Err(NotTaken::Refused(UNHANDLED_MESSAGE));
        }
        limit.map_err(NotTaken::Refused)?;
        let at = wanted[..best].join("/");
        let chosen = |client| self.conversation_of(client, &request.payload).is_some();
        // M-21.
        candidates.retain(|(client, handler)| {
            !self.is_overwhelmed(*client) && !self.is_busy(*client, &at, handler.capacity.at_a_time)
        });
        let choice = candidates.iter().find(|(client, _)| chosen(*client));
        let Some((recipient, handler)) = choice.or(candidates.first()).cloned() else {
            return Err(NotTaken::AllFull(at));
        };
        let (sender, place) = (request.sender, (handler.capacity.at_a_time > 0).then_some(at));
        let reply_to = ReplyTo::Request(request.conversation);
        self.name.clone_from(&request.name);
        let time_left = self.deliver(sender, reply_to, recipient, &request.path, &request.payload, place, request.due);
        // M-7: of the sender, at their values now. The path is as the sender wrote it (M-2).
        let frame = Frame::Handle {
            registration: handler.registration,
            sender: self.session(sender).id.expect("open"),
            path: request.path.clone(),
            properties: self.selected(sender, &handler.keys),
            request: request.payload.clone(),
            time_left,
        };
        self.tell_delivery(recipient, request.key.as_deref(), frame);
        Ok(())
    }

    /// Whether a handler has as many requests as it takes at a time: those that it does not know to be cancelled (B-5).
    fn is_busy(&self, client: Client, at: &str, at_a_time: u32) -> bool {
        let has_place = |request: &&Request| {
            request.recipient == client
                && request.place.as_deref() == Some(at)
                && request.standing != Standing::Cancelled
        };
        at_a_time > 0 && self.waiting.iter().filter(has_place).count() >= at_a_time as usize
    }

    /// Lets a request wait at a path, if so many may (B-6).
    fn queue(&mut self, request: ToPath, at: &str) -> Result<(), i32> {
        let handlers = self.sessions.iter().filter(|session| session.open).flat_map(|session| &session.handlers);
        let here = handlers.filter(|handler| segments(&handler.path).expect("valid").join("/") == at);
        let most: usize = here.map(|handler| handler.capacity.waiting as usize).sum();
        let found = self.queues.iter().position(|queue| queue.path == at);
        let waiting = found.map_or(0, |index| self.queues[index].all().count());
        if waiting >= most {
            return Err(BUSY);
        }
        let guard = self.now + self.timeout(&request.path);
        let queued = Queued { deadline: request.due.map_or(guard, |due| due.min(guard)), request };
        let index = found.unwrap_or_else(|| {
            self.queues.push(Queue { path: at.into(), senders: Vec::new() });
            self.queues.len() - 1
        });
        let senders = &mut self.queues[index].senders;
        match senders.iter_mut().find(|(sender, _)| *sender == queued.request.sender) {
            Some((_, requests)) => requests.push(queued),
            None => senders.push((queued.request.sender, vec![queued])),
        }
        Ok(())
    }

    fn name_of(&self, sender: Client, session: Option<SessionId>, path: &[&str], key: &str) -> Name {
        let principal = self.session(sender).properties["$Principal"].clone();
        let owner = if principal.is_empty() { Err(sender) } else { Ok(principal) };
        Name { owner, session, path: path.join("/"), key: key.to_owned() }
    }

    /// K-1, K-2: a request with a key that is known waits, or gets what the first one got. Whether it is known.
    fn repeat(&mut self, sender: Client, conversation: i64, name: &Name, path: &str) -> Result<bool, i32> {
        match self.keys.get(name) {
            None => return Ok(false),
            Some(Some(reply)) => self.reply(sender, conversation, reply),
            Some(None) => {
                self.check_limit(sender, 1)?;
                self.wait_for(sender, conversation, name.clone(), path);
            }
        }
        Ok(true)
    }

    /// K-4: what nobody answers is known for as long as somebody waits, and then for the time of an answer.
    fn wait_for(&mut self, sender: Client, conversation: i64, name: Name, path: &str) {
        let deadline = self.now + self.timeout(path);
        let is_it =
            |request: &&mut Request| request.standing == Standing::Keyed && request.name.as_ref() == Some(&name);
        if let Some(delivery) = self.waiting.iter_mut().find(is_it) {
            delivery.guard = delivery.guard.max(deadline + self.config.repeat_time);
        }
        if conversation != 0 {
            self.keys.callers.push(Caller { sender, conversation, name, deadline });
        }
    }

    fn settle_key(&mut self, name: &Name, reply: &Reply) {
        self.keys.end(name, reply, self.now + self.config.repeat_time);
        for caller in self.keys.take(|caller| caller.name == *name) {
            self.reply(caller.sender, caller.conversation, reply.clone());
        }
    }

    /// K-3: a request with a key is cancelled if its sender gives it up and nobody else waits.
    fn give_up_waiting(&mut self, sender: Client, conversation: i64, is_timed_out: bool) {
        let is_it = |caller: &Caller| (caller.sender, caller.conversation) == (sender, conversation);
        let Some(Caller { name, .. }) = self.keys.take(is_it).pop() else { return };
        let is_it = |request: &Request| request.standing == Standing::Keyed && request.name.as_ref() == Some(&name);
        let Some(index) = self.waiting.iter().position(is_it) else { return };
        let recipient = self.waiting[index].recipient;
        let is_awaited = self.keys.callers.iter().any(|caller| caller.name == name);
        if is_timed_out || is_awaited || !self.session(recipient).features.has(Features::CANCELLING) {
            return;
        }
        let conversation = self.waiting[index].conversation.unwrap_or_default();
        self.waiting[index].standing = Standing::Cancelled;
        self.settle_key(&name, &error(CANCELLED));
        self.tell(recipient, Frame::Cancelled { conversation, is_timed_out });
    }

    fn receive_keyed(&mut self, sender: Client, key: &str, sent: &Sent, seen: &[Seen]) {
        if !self.session(sender).features.has(Features::IDEMPOTENCY) {
            return self.receive(sender, sent, None, seen);
        }
        let (conversation, outcome) = match sent {
            Sent::ToPath { conversation, path, request } => {
                let (path, payload, key) = (path.clone(), request.clone(), Some(key.to_owned()));
                let conversation = *conversation;
                let request = ToPath { sender, conversation, path, payload, key, name: None, due: None };
                (conversation, self.send_to_path(request))
            }
            Sent::ToSession { conversation, session, path, request } => {
                let outcome = self.send_keyed_to_session(sender, *conversation, *session, path, request, key);
                (*conversation, outcome)
            }
            other => unreachable!("{other:?} with a key"),
        };
        if let Err(reason) = outcome {
            self.reply(sender, conversation, error(reason));
        }
    }

    fn send_keyed_to_session(
        &mut self,
        sender: Client,
        conversation: i64,
        session: SessionId,
        path: &str,
        request: &Payload,
        key: &str,
    ) -> Result<(), i32> {
        let at = self.admit(sender, path, PathPermission::SendToSession)?;
        let name = self.name_of(sender, Some(session), &at, key);
        if self.repeat(sender, conversation, &name, path)? {
            return Ok(());
        }
        self.name = Some(name);
        let outcome = self.send_to_session(sender, conversation, session, path, request, None);
        self.name = None;
        outcome
    }

    /// A recipient that knows keys is told that of a request.
    fn tell_delivery(&mut self, recipient: Client, key: Option<&str>, frame: Frame) {
        let key = key.filter(|_| self.session(recipient).features.has(Features::IDEMPOTENCY));
        let frame = match key {
            Some(key) => Frame::Keyed(key.to_owned(), Box::new(frame)),
            None => frame,
        };
        self.tell(recipient, frame);
    }

    /// In which conversation a delivery was seen.
    fn conversation_of(&self, recipient: Client, payload: &Payload) -> Option<i64> {
        let is_it = |(client, other, _): &&(Client, Payload, i64)| (*client, other) == (recipient, payload);
        self.delivered.iter().find(is_it).map(|(_, _, conversation)| *conversation)
    }

    /// Whatever can be delivered of what waits is delivered, at each path in turns of the senders (B-6). Which path is first is
    /// the broker's choice.
    fn serve_queues(&mut self) {
        let was_seen = |model: &Self, queue: &&Queue| {
            let is_it = |(_, payload, _): &(Client, Payload, i64)| *payload == queue.next().payload;
            model.delivered.iter().any(is_it)
        };
        while let Some(queue) = self.queues.iter().find(|queue| was_seen(self, queue)) {
            let path = queue.path.clone();
            if !self.serve(&path) {
                break;
            }
        }
        let paths: Vec<_> = self.queues.iter().map(|queue| queue.path.clone()).collect();
        for path in paths {
            while self.serve(&path) {}
        }
    }

    /// Delivers the next one at a path, or refuses it. Whether that was so; otherwise it goes on waiting.
    fn serve(&mut self, path: &str) -> bool {
        let Some(queue) = self.queues.iter().find(|queue| queue.path == path) else { return false };
        let request = queue.next().clone();
        let outcome = self.hand_out(&request, Ok(()));
        if matches!(&outcome, Err(NotTaken::AllFull(at)) if at == path) {
            return false;
        }
        self.pop_queued(path);
        let outcome = match outcome {
            Err(NotTaken::AllFull(at)) => self.queue(request.clone(), &at),
            Err(NotTaken::Refused(reason)) => Err(reason),
            Ok(()) => Ok(()),
        };
        if let Err(reason) = outcome {
            self.reply(request.sender, request.conversation, error(reason));
        }
        true
    }

    /// The one whose turn it is, is done; its sender's turn comes after those of all others.
    fn pop_queued(&mut self, path: &str) {
        let Some(queue) = self.queues.iter_mut().find(|queue| queue.path == path) else { return };
        let (sender, mut requests) = queue.senders.remove(0);
        requests.remove(0);
        if !requests.is_empty() {
            queue.senders.push((sender, requests));
        }
        self.queues.retain(|queue| !queue.senders.is_empty());
    }

    fn forget_queued(&mut self, is_forgotten: impl Fn(&Queued) -> bool) {
        for queue in &mut self.queues {
            for (_, requests) in &mut queue.senders {
                requests.retain(|queued| !is_forgotten(queued));
            }
            queue.senders.retain(|(_, requests)| !requests.is_empty());
        }
        self.queues.retain(|queue| !queue.senders.is_empty());
    }

    /// B-1.
    fn check_time(&self, due: Option<Moment>) -> Result<(), i32> {
        if due.is_some_and(|due| due <= self.now) { Err(REQUEST_TIME_OUT) } else { Ok(()) }
    }

    /// Nobody waits any more for some requests. Who has them is told, if it can be (B-2), and has them on its list for as
    /// long as it may not have read of it (B-3).
    fn let_go(&mut self, is_timed_out: bool, is_it: impl Fn(&Request) -> bool) {
        for index in 0..self.waiting.len() {
            let request = &self.waiting[index];
            if request.standing != Standing::Awaited || !is_it(request) {
                continue;
            }
            let (recipient, conversation) = (request.recipient, request.conversation.unwrap_or_default());
            let is_told = self.session(recipient).features.has(Features::CANCELLING) && request.reply_to.request() != 0;
            self.waiting[index].standing = if is_told { Standing::Cancelled } else { Standing::Unwanted };
            if is_told {
                self.tell(recipient, Frame::Cancelled { conversation, is_timed_out });
            }
        }
    }

    /// M-1: it is the recipient's business whether there is a stream for the path.
    fn send_to_session(
        &mut self,
        sender: Client,
        conversation: i64,
        session: SessionId,
        path: &str,
        request: &Payload,
        due: Option<Moment>,
    ) -> Result<(), i32> {
        self.admit(sender, path, PathPermission::SendToSession)?;
        self.check_time(due)?;
        let recipient = self.find(session).ok_or(NO_SUCH_SESSION)?;
        self.check_limit(sender, 1)?;
        if self.is_overwhelmed(recipient) {
            return Err(BUSY);
        }
        let key = self.name.as_ref().map(|name| name.key.clone());
        let time_left = self.deliver(sender, ReplyTo::Request(conversation), recipient, path, request, None, due);
        let frame = Frame::Addressed { path: path.into(), request: request.clone(), time_left };
        self.tell_delivery(recipient, key.as_deref(), frame);
        Ok(())
    }

    /// M-9 to M-13: to all sessions that match now, the sender among them.
    fn send_to_filter(
        &mut self,
        sender: Client,
        reply_to: ReplyTo,
        filter: &Filter,
        path: &str,
        request: &Payload,
        due: Option<Moment>,
    ) -> Reply {
        if let Err(reason) = self.admit(sender, path, PathPermission::SendToSession) {
            return error(reason);
        }
        let tree = match &filter.meaning {
            Meaning::Tree(tree) => tree,
            Meaning::Fault(line, column) => return Reply::Fault(*line, *column),
        };
        if let Err(reason) = self.check_time(due) {
            return error(reason);
        }
        let matched: Vec<_> =
            self.open().into_iter().filter(|client| tree.matches(&self.session(*client).properties)).collect();
        if let Err(reason) = self.check_limit(sender, matched.len()) {
            return error(reason);
        }
        for recipient in &matched {
            if self.is_overwhelmed(*recipient) {
                self.pass_on(sender, reply_to, *recipient, error(BUSY));
            } else {
                let time_left = self.deliver(sender, reply_to, *recipient, path, request, None, due);
                self.tell(*recipient, Frame::Addressed { path: path.into(), request: request.clone(), time_left });
            }
        }
        Reply::Count(u32::try_from(matched.len()).expect("few"))
    }

    /// Takes note of a delivery. How much time the recipient is told to be left, if it knows of that and the sender says so.
    #[expect(clippy::too_many_arguments, reason = "what a delivery is made of")]
    fn deliver(
        &mut self,
        sender: Client,
        reply_to: ReplyTo,
        recipient: Client,
        path: &str,
        payload: &Payload,
        place: Option<String>,
        due: Option<Moment>,
    ) -> Option<Duration> {
        let guard = self.now + self.timeout(path);
        let deadline = due.map_or(guard, |due| due.min(guard));
        let (conversation, standing) = (self.conversation_of(recipient, payload), Standing::Awaited);
        let mut request = Request {
            sender,
            reply_to,
            recipient,
            conversation,
            place,
            standing,
            name: self.name.take(),
            deadline,
            guard,
        };
        if let Some(name) = request.name.clone() {
            request.standing = Standing::Keyed;
            self.waiting.push(request);
            self.keys.begin(name.clone());
            self.wait_for(sender, reply_to.request(), name, path);
        } else {
            self.waiting.push(request);
        }
        // In whole milliseconds, so that a little is not nothing.
        let left =
            Duration::from_millis(u64::try_from(deadline.since(self.now).as_micros().div_ceil(1000)).expect("short"));
        due.filter(|_| self.session(recipient).features.has(Features::DEADLINES)).map(|_| left)
    }

    /// The one answer to a request; nobody hears of it if the sender is gone.
    fn settle(&mut self, index: usize, reply: Reply) {
        let Request { sender, reply_to, recipient, conversation, standing, name, .. } = self.waiting.remove(index);
        self.sessions[recipient.0].finished.extend(conversation);
        match (standing, name) {
            (Standing::Awaited, _) => self.pass_on(sender, reply_to, recipient, reply),
            (Standing::Keyed, Some(name)) => self.settle_key(&name, &reply),
            _ => {}
        }
    }

    fn pass_on(&mut self, sender: Client, reply_to: ReplyTo, recipient: Client, reply: Reply) {
        match reply_to {
            ReplyTo::Request(conversation) => self.reply(sender, conversation, reply),
            ReplyTo::Filter(_, filter_conversation) => {
                let session = self.session(recipient).id.expect("it was open");
                let reply = self.told(sender, reply);
                self.tell(sender, Frame::FilterResponse { filter_conversation, session, reply });
            }
        }
    }

    /// Section 9.3; one after the other.
    fn change_principal(
        &mut self,
        client: Client,
        conversation: i64,
        principal: &str,
        password: &str,
        proposed: &[(String, String)],
    ) {
        let waits = |applicant: &Applicant| matches!(applicant.wants, Wants::Principal { client: other, .. } if other == client);
        if self.applicants.values().any(waits) {
            self.reply(client, conversation, error(CLUSTER_ROUTING));
        } else if self.known == Known::Outside {
            let properties = proposed.to_vec();
            self.ask_who(principal, password, Wants::Principal { client, conversation, properties });
        } else {
            let shown = identity::shown(self.known, principal, password);
            let reply = self.become_another(client, principal, shown, proposed);
            self.reply(client, conversation, reply);
        }
    }

    /// Properties come with the new principal, or not at all.
    fn become_another(
        &mut self,
        client: Client,
        principal: &str,
        shown: Option<Shown>,
        proposed: &[(String, String)],
    ) -> Reply {
        let Some(shown) = shown else { return Reply::Bool(false) };
        let now = self.now;
        let session = &mut self.sessions[client.0];
        identity::propose(&mut session.properties, proposed.iter());
        identity::become_another(&mut session.properties, principal, shown);
        session.lease = Lease::start(now, shown);
        Reply::Bool(true)
    }

    /// Requests that nobody answered in time (M-15), then pings, tokens, and those who wait to be told who they are.
    fn wake(&mut self, seen: &[Seen]) {
        for index in 0..self.waiting.len() {
            let Request { sender, reply_to, recipient, standing, deadline, .. } = self.waiting[index];
            if standing == Standing::Awaited && deadline <= self.now {
                self.pass_on(sender, reply_to, recipient, error(REQUEST_TIME_OUT));
            }
        }
        let now = self.now;
        for caller in self.keys.take(|caller| caller.deadline <= now) {
            self.reply(caller.sender, caller.conversation, error(REQUEST_TIME_OUT));
        }
        self.let_go(true, |request| request.deadline <= now);
        while let Some(index) = self.waiting.iter().position(|request| request.due() <= now) {
            let name = self.waiting[index].name.clone();
            if let Some(name) = name.filter(|_| self.waiting[index].standing == Standing::Keyed) {
                self.keys.forget(&name);
                self.waiting.remove(index);
            } else {
                self.settle(index, error(REQUEST_TIME_OUT));
            }
        }
        self.keys.forget_due(now);
        let queued: Vec<_> =
            self.queues.iter().flat_map(Queue::all).filter(|queued| queued.deadline <= now).cloned().collect();
        self.forget_queued(|queued| queued.deadline <= now);
        for Queued { request, .. } in queued {
            self.reply(request.sender, request.conversation, error(REQUEST_TIME_OUT));
        }
        self.serve_queues();
        self.ping(seen);
        self.end_leases(seen);
        let late = |applicant: &Applicant| applicant.asked + self.config.login_timeout <= self.now;
        let late: Vec<_> =
            self.applicants.iter().filter(|(_, applicant)| late(applicant)).map(|(question, _)| *question).collect();
        for question in late {
            self.told_who(question, Told::Busy, seen);
        }
    }

    /// I-5 and I-6.
    fn end_leases(&mut self, seen: &[Seen]) {
        let due = |client: &Client| self.session(*client).lease.is_some_and(|lease| lease.next <= self.now);
        let due: Vec<_> = self.open().into_iter().filter(due).collect();
        for client in self.in_order_of_their_end(due, seen) {
            let session = &mut self.sessions[client.0];
            let Some(lease) = &mut session.lease else { continue };
            if lease.ends <= self.now {
                self.abort(client);
            } else {
                lease.go_on(self.now);
                if session.features.has(Features::RENEWAL) {
                    self.tell(client, Frame::CredentialsWanted);
                }
            }
        }
    }

    /// One a period, and the end for a client from which nothing came since the last one (L-1, section 17).
    fn ping(&mut self, seen: &[Seen]) {
        if self.config.ping_period.is_zero() {
            return;
        }
        let mut due = self.open();
        due.retain(|client| self.session(*client).next_ping <= self.now);
        for client in self.in_order_of_their_end(due, seen) {
            let session = &mut self.sessions[client.0];
            if session.last_ping.is_some_and(|last| session.heard < last) {
                self.abort(client);
            } else {
                session.ping = None;
                session.last_ping = Some(self.now);
                session.next_ping = self.now + self.config.ping_period;
                self.tell(client, Frame::Ping);
            }
        }
    }

    /// Section 11: 28, then the end of the connection.
    fn abort(&mut self, client: Client) {
        self.tell(client, Frame::Abort);
        self.tell(client, Frame::Closed);
        self.end(client);
    }

    /// S-11: what the session had to answer fails at once, and its registrations vanish.
    fn end(&mut self, client: Client) {
        self.forget(client);
        while let Some(index) = self.waiting.iter().position(|request| request.recipient == client) {
            self.settle(index, error(SESSION_CLOSED));
        }
        self.let_go(false, |request| request.sender == client);
        self.forget_queued(|queued| queued.request.sender == client);
    }

    fn forget(&mut self, client: Client) {
        let session = &mut self.sessions[client.0];
        session.open = false;
        session.handlers.clear();
        self.keys.take(|caller| caller.sender == client);
        self.applicants.retain(
            |_, applicant| !matches!(applicant.wants, Wants::Principal { client: other, .. } if other == client),
        );
    }

    /// Which of two sessions ends first is the broker's choice, where both end.
    fn in_order_of_their_end(&self, mut clients: Vec<Client>, seen: &[Seen]) -> Vec<Client> {
        clients.sort_by_key(|client| {
            seen.iter().position(|seen| seen.client == *client && seen.frame == Frame::Abort).unwrap_or(usize::MAX)
        });
        clients
    }

    fn check_limit(&self, sender: Client, more: usize) -> Result<(), i32> {
        let outstanding = self.asked_by(sender).len();
        let limit = self.config.max_outstanding_requests;
        if outstanding + more > limit { Err(CLUSTER_ROUTING) } else { Ok(()) }
    }

    fn is_overwhelmed(&self, recipient: Client) -> bool {
        let to_answer = self.waiting.iter().filter(|request| request.recipient == recipient).count();
        to_answer >= self.config.max_requests_to_answer
    }

    /// M-15: the time of the longest path that the message path begins with, or the one for all others.
    fn timeout(&self, path: &str) -> Duration {
        let path = segments(path).expect("a valid path");
        let below = self.timeouts.iter().filter(|(parent, _)| path.starts_with(&segments(parent).expect("valid")));
        let longest = below.max_by_key(|(parent, _)| parent.len());
        longest.map_or(self.config.request_timeout, |(_, timeout)| *timeout)
    }

    /// before anything else, by the roles that the session has now.
    fn may(&self, client: Client, permission: GlobalPermission) -> bool {
        self.roles.everywhere(&self.session(client).properties["$Roles"], permission)
    }

    /// The same on a path, whose segments are returned.
    fn admit<'p>(&self, client: Client, path: &'p str, permission: PathPermission) -> Result<Vec<&'p str>, i32> {
        let path = segments(path).ok_or(INVALID_PATH)?;
        match self.roles.at(&self.session(client).properties["$Roles"], &path, permission) {
            true => Ok(path),
            false => Err(ACCESS_DENIED),
        }
    }

    fn find(&self, id: SessionId) -> Option<Client> {
        self.open().into_iter().find(|client| self.session(*client).id == Some(id))
    }

    /// Section 2 of the rules: `*F` is all fixed, `*U` all others, and an unknown key is simply absent (P-4).
    fn selected(&self, client: Client, keys: &[String]) -> Vec<(String, String)> {
        let has = |wanted: &str| keys.iter().any(|key| key == wanted);
        let properties = self.session(client).properties.iter();
        let wanted = properties.filter(|(key, _)| has(key) || has(if key.starts_with('$') { "*F" } else { "*U" }));
        wanted.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn reply(&mut self, client: Client, conversation: i64, reply: Reply) {
        // Conversation 0 is one way (section 5).
        if conversation != 0 {
            let reply = self.told(client, reply);
            self.tell(client, Frame::Reply { conversation, reply });
        }
    }

    /// Who does not know that a handler can be busy is told what it knows (section 18.9).
    fn told(&self, client: Client, reply: Reply) -> Reply {
        match reply {
            Reply::Error(BUSY, text) if !self.session(client).features.has(Features::BUSY) => {
                Reply::Error(CLUSTER_ROUTING, text)
            }
            reply => reply,
        }
    }

    fn tell(&mut self, client: Client, frame: Frame) {
        if self.is_open(client) || matches!(frame, Frame::Refused { .. } | Frame::Closed) {
            self.predicted.push((client, frame));
        }
    }
}

/// A delivery among what was seen.
fn delivery(seen: &Seen) -> Option<(Client, Payload, i64)> {
    match &seen.frame {
        Frame::Handle { request, .. } | Frame::Addressed { request, .. } => {
            Some((seen.client, request.clone(), seen.conversation?))
        }
        Frame::Keyed(_, frame) => {
            let Seen { client, conversation, .. } = *seen;
            delivery(&Seen { client, conversation, frame: (**frame).clone() })
        }
        _ => None,
    }
}

impl Lease {
    /// I-6: the first question comes when a fifth of the time is left, but a second before the end at the latest, or in the
    /// middle; no token here is good for so long that it would come earlier than a minute before.
    fn start(now: Moment, shown: Shown) -> Option<Self> {
        let good_for = shown.good_for?;
        let left = (good_for / 5).max(Duration::from_secs(1).min(good_for / 2));
        Some(Self { ends: now + good_for, next: now + (good_for - left) })
    }

    /// The next one comes when half of the rest is over, as long as that is a tenth of a second.
    fn go_on(&mut self, now: Moment) {
        let half = self.ends.since(now) / 2;
        self.next = if half < Duration::from_millis(100) { self.ends } else { now + half };
    }
}

fn error(reason: i32) -> Reply {
    Reply::Error(reason, None)
}

/// M-2: the segments of a path, if it is one.
fn segments(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let segments: Vec<_> = inner.split('/').collect();
    let valid = path.len() <= 2048 && !path.contains('\0') && segments.iter().all(|segment| !segment.is_empty());
    valid.then_some(segments)
}
