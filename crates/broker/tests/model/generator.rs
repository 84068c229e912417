//! What happens next: drawn at random, with an eye on the model so that most of it makes sense and some of it does not.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_broker::core::permissions::{GlobalPermission, PathPermission, Role};
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::handshake::{ConnectRequest, Credentials, Recovery};
use antiphon_protocol::wire::primitives::SessionId;

use crate::filter;
use crate::frames::{Answer, Capacity, Client, Payload, Sent, Step, Told};
use crate::identity::Known;
use crate::random::Random;
use crate::reference::Model;

/// How long recipients have to answer, unless the path has a time of its own.
pub const LONGEST_TIMEOUT: Duration = Duration::from_millis(500);

/// How long it is remembered what became of a request with a key.
pub const LONGEST_MEMORY: Duration = Duration::from_secs(1);

pub struct Generator {
    pub random: Random,
    max_sessions: usize,
    /// Whether the broker asks who somebody is; and whether it is told at once.
    pub known: Known,
    tells_at_once: bool,
    /// The paths of the run; few, so that they meet.
    paths: Vec<String>,
    /// The last conversation ID that each client used.
    conversations: HashMap<Client, i64>,
    /// Number of values so far.
    values: u64,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let max_sessions = *random.pick(&[2, 3, 5, 8, 20]);
        let mut paths: Vec<_> = PATHS.iter().map(|path| (*path).to_owned()).collect();
        paths.retain(|_| random.chance(60));
        paths.push("a/b".into());
        let known = *random.pick(&[Known::Inside, Known::Outside]);
        let tells_at_once = random.chance(50);
        Self { random, max_sessions, known, tells_at_once, paths, conversations: HashMap::new(), values: 0 }
    }

    /// Some brokers ping, and some have limits that a run can reach.
    pub fn config(&mut self) -> BrokerConfig {
        let config = BrokerConfig {
            server: self.random.number(),
            request_timeout: LONGEST_TIMEOUT,
            login_timeout: Duration::from_millis(*self.random.pick(&[300, 10_000])),
            ping_period: Duration::from_millis(*self.random.pick(&[0, 700, 2000])),
            features: Features::from_wire(u32::MAX),
            repeat_time: *self.random.pick(&[Duration::ZERO, Duration::from_millis(200), LONGEST_MEMORY]),
            turn_pause: Duration::ZERO,
            turn_recipients: *self.random.pick(&[1, 2, 100]),
            turn_work: *self.random.pick(&[1, 3, 30_000]),
            seed: self.random.number(),
            ..BrokerConfig::default()
        };
        if self.random.chance(70) {
            return config;
        }
        BrokerConfig {
            max_outstanding_requests: 1 + self.random.below(12),
            max_requests_to_answer: 1 + self.random.below(4),
            max_registrations: 2 + self.random.below(3),
            ..config
        }
    }

    /// Other times for requests to some paths.
    pub fn timeouts(&mut self) -> Vec<(&'static str, Duration)> {
        let mut timeouts = vec![("a", 400), ("a/b/", 100), ("b", 300)];
        timeouts.retain(|_| self.random.chance(20));
        timeouts.into_iter().map(|(path, timeout)| (path, Duration::from_millis(timeout))).collect()
    }

    /// Other roles, which grant most things but not all, at most paths of the run but not at all.
    pub fn permissions(&mut self) -> Step {
        let mut roles = BTreeMap::new();
        for (name, includes) in [
            ("CLIENT", &[][..]),
            ("CLIENT_CONTROL", &["CLIENT"]),
            ("OPERATOR", &["CLIENT", "AUTHENTICATION_HANDLER"]),
            ("ADMINISTRATOR", &["CLIENT_CONTROL", "OPERATOR"]),
        ] {
            if self.random.chance(50) {
                continue;
            }
            let global =
                [GlobalPermission::RegisterHandler, GlobalPermission::ViewSession, GlobalPermission::ModifySession];
            let includes = includes.iter().filter(|_| self.random.chance(80)).map(|role| (*role).to_owned()).collect();
            let role = Role {
                includes,
                global: global.into_iter().filter(|_| self.random.chance(80)).collect(),
                default_path: self.path_permissions(),
                paths: self.some_paths().into_iter().map(|path| (path, self.path_permissions())).collect(),
            };
            roles.insert(name.to_owned(), role);
        }
        Step::SetPermissions(roles, if self.random.chance(50) { self.some_paths() } else { Vec::new() })
    }

    fn path_permissions(&mut self) -> Vec<PathPermission> {
        let permissions = [PathPermission::SendToMessageHandler, PathPermission::SendToSession];
        permissions.into_iter().filter(|_| self.random.chance(80)).collect()
    }

    /// Some paths of the run, in any spelling, but no path in two.
    fn some_paths(&mut self) -> Vec<String> {
        let mut paths = self.paths.clone();
        paths.sort_by_key(|path| path.trim_matches('/').to_owned());
        paths.dedup_by_key(|path| path.trim_matches('/').to_owned());
        paths.retain(|_| self.random.chance(20));
        paths
    }

    pub fn next(&mut self, model: &Model) -> Step {
        if let Some(step) = self.tell(model) {
            return step;
        }
        let open = model.open();
        let waits_for_the_only_one = open.is_empty() && !model.applicants.is_empty();
        if waits_for_the_only_one && self.random.chance(50) {
            return Step::Rest(self.rest(model));
        }
        if open.is_empty() || (open.len() < self.max_sessions && self.random.chance(15)) {
            return Step::Connect(Client(model.sessions.len()), self.connect_request());
        }
        let client = *self.random.pick(&open);
        let step = match self.random.below(100) {
            0..7 => Step::Rest(self.rest(model)),
            7 => Step::Wake,
            8 => Step::Violate(client),
            9 => Step::LoseConnection(client),
            10 | 11 => Step::ShowLife(client),
            12 => Step::Send(client, Sent::CloseRequest),
            13 if self.random.chance(20) => self.permissions(),
            13 if self.known == Known::Outside && self.random.chance(10) => self.reload(),
            13 => Step::Send(client, Sent::Malformed(self.random.pick(&malformed()).clone())),
            14..44 => self.answer(model, client),
            44..48 => Step::Send(client, self.cancel(model, client)),
            _ => Step::Send(client, self.request(model, client)),
        };
        // Now and then, something that was under way when the session ended.
        let other = Client(self.random.below(model.sessions.len()));
        match step {
            Step::Send(_, sent) if !model.is_open(other) && self.random.chance(3) => Step::Send(other, sent),
            step => step,
        }
    }

    /// The answer to a question of the broker, which may be one that was answered, or that nobody waits for any more.
    fn tell(&mut self, model: &Model) -> Option<Step> {
        let questions: Vec<_> = model.applicants.keys().copied().collect();
        if self.tells_at_once && !questions.is_empty() || !questions.is_empty() && self.random.chance(30) {
            let told = if self.random.chance(95) { Told::ByCredentials } else { Told::Busy };
            return Some(Step::Tell(*self.random.pick(&questions), told));
        }
        if model.questions() == 0 || self.random.chance(98) {
            return None;
        }
        Some(Step::Tell(self.random.number() % model.questions(), Told::ByCredentials))
    }

    /// Another configuration, which does not know everybody.
    fn reload(&mut self) -> Step {
        let mut gone: Vec<_> = ["", "admin", "client", "control", "operator"].map(str::to_owned).into();
        gone.retain(|_| self.random.chance(30));
        Step::Reload { gone, takes_tokens: self.random.chance(50) }
    }

    /// Up to the next deadline, just short of it, or some time.
    fn rest(&mut self, model: &Model) -> Duration {
        let until_due = model.next_due().map_or(Duration::ZERO, |due| due.since(model.now));
        match self.random.below(4) {
            0 => until_due,
            1 => until_due.saturating_sub(Duration::from_micros(1)),
            2 => Duration::from_micros(self.random.number() % 50_000),
            _ => Duration::from_micros(self.random.number() % 700_000),
        }
    }

    fn connect_request(&mut self) -> ConnectRequest {
        let version = if self.random.chance(95) { 22 + self.random.below(8) } else { *self.random.pick(&[0, 21, 30]) };
        let (principal, password) = self.principal();
        let recovery = Recovery { token: "-".repeat(24), oldest_sent: 1, last_received: 0 };
        ConnectRequest {
            client_type: self.random.text(&["WB", "PY", "XX"]).into(),
            version: u8::try_from(version).expect("small"),
            capabilities: 8,
            reconnect_timeout: 0,
            principal: Some(principal).filter(|name| !name.is_empty() || self.random.chance(30)),
            credentials: match password {
                password if password.is_empty() => Credentials::None,
                password => Credentials::Password(password),
            },
            properties: self.random.chance(80).then(|| self.properties()),
            recovery: self.random.chance(2).then_some(recovery),
            features: match self.random.below(8) {
                0 => Features::NONE,
                1 => Features::BATCHING,
                2 => Features::UNACKNOWLEDGED,
                3 | 4 => Features::from_wire(u32::try_from(self.random.below(1 << 10)).expect("small")),
                // With some that nobody knows.
                _ => Features::from_wire(u32::MAX),
            },
        }
    }

    /// A principal and a password, mostly the right one.
    fn principal(&mut self) -> (String, String) {
        let principal = self.random.text(&["", "", "admin", "admin", "client", "control", "operator", "nobody"]);
        let right = if principal.is_empty() { "" } else { "password" };
        let password = match self.random.below(100) {
            0..60 => right,
            60..90 if self.known == Known::Outside => self.random.text(&["50ms", "400ms", "1500ms", "4000ms"]),
            60..90 => right,
            _ => self.random.text(&["", "wrong", "password", "1000ms"]),
        };
        (principal.into(), password.into())
    }

    fn properties(&mut self) -> Vec<(String, String)> {
        let possible = [
            ("team", "red"),
            ("team", "green"),
            ("team", "it's \"x\"\\y"),
            ("tier", "1"),
            ("tier", ""),
            ("$Country", "fr"),
            ("$Language", "EN"),
            ("$Environment", "TEST"),
            ("$Principal", "admin"),
            ("$Roles", "\"ADMINISTRATOR\""),
            ("$Unknown", "x"),
            ("not legal", "x"),
            ("", "x"),
        ];
        let mut chosen = Vec::new();
        for (key, value) in possible {
            if self.random.chance(30) {
                chosen.push((key.to_owned(), value.to_owned()));
            }
        }
        chosen
    }

    /// What `client` asks of the broker.
    fn request(&mut self, model: &Model, client: Client) -> Sent {
        let sent = self.plain_request(model, client);
        let has_time = matches!(sent, Sent::ToPath { .. } | Sent::ToSession { .. } | Sent::ToFilter { .. });
        if has_time && self.has_headers(model, client) && self.random.chance(30) {
            let left = *self.random.pick(&[0, 1, 50, 100, 450, 1000, u32::MAX]);
            return Sent::Timed(left, Box::new(sent));
        }
        let may_repeat = matches!(sent, Sent::ToPath { .. } | Sent::ToSession { .. });
        if may_repeat && self.has_headers(model, client) && self.random.chance(40) {
            return Sent::Keyed(self.random.text(&["a", "b", "c"]).into(), Box::new(sent));
        }
        sent
    }

    /// Whether a client may send headers; now and then one that may not does so all the same.
    fn has_headers(&mut self, model: &Model, client: Client) -> bool {
        model.session(client).features.has_any(Features::WITH_HEADERS) || self.random.chance(1)
    }

    fn capacity(&mut self) -> Capacity {
        Capacity { at_a_time: *self.random.pick(&[0, 1, 1, 2, 3]), waiting: *self.random.pick(&[0, 0, 1, 2, 10]) }
    }

    /// One of its own requests, or anything.
    fn cancel(&mut self, model: &Model, client: Client) -> Sent {
        let asked = model.asked_by(client);
        let conversation = match asked.is_empty() || self.random.chance(10) {
            true => *self.random.pick(&[0, 1, 2, 99_999, i64::MAX, -1]),
            false => *self.random.pick(&asked),
        };
        Sent::Cancel { conversation, is_timed_out: self.random.chance(50) }
    }

    fn plain_request(&mut self, model: &Model, client: Client) -> Sent {
        let conversation = if self.random.chance(3) { 0 } else { self.conversation(client) };
        match self.random.below(56) {
            0..12 => {
                let registration = if self.random.chance(20) { conversation } else { self.conversation(client) };
                let capacity = if self.has_headers(model, client) { self.capacity() } else { Capacity::default() };
                Sent::Register { conversation, path: self.path(), keys: self.keys(), registration, capacity }
            }
            12..16 => {
                let registered = &model.session(client).handlers;
                let path = match registered.is_empty() || self.random.chance(30) {
                    true => self.path(),
                    false => self.random.pick(registered).path.clone(),
                };
                Sent::Deregister { conversation, path }
            }
            16..32 => Sent::ToPath { conversation, path: self.path(), request: self.value() },
            32..40 => {
                Sent::ToSession { conversation, session: self.session(model), path: self.path(), request: self.value() }
            }
            40..48 => {
                let filter_conversation = if self.random.chance(20) { conversation } else { self.conversation(client) };
                let ids: Vec<_> = (0..3).map(|_| self.session(model).to_string()).collect();
                let filter = filter::any(&mut self.random, &ids);
                Sent::ToFilter { conversation, filter_conversation, filter, path: self.path(), request: self.value() }
            }
            48 => {
                let (principal, password) = self.principal();
                Sent::ChangePrincipal { conversation, principal, password }
            }
            49 | 50 => {
                let (principal, password) = self.principal();
                Sent::Reauthenticate { conversation, principal, password, properties: self.properties() }
            }
            51 => Sent::CloseClient { conversation, session: self.session(model) },
            52 => Sent::GetProperties { conversation, session: self.session(model), keys: self.keys() },
            53 => Sent::GetOwnProperties { conversation },
            54 => Sent::UserPing { conversation },
            _ => Sent::Unoffered { conversation, service: *self.random.pick(&[1, 55, 4711]) },
        }
    }

    /// An answer to one of the requests that wait for one, or to something else.
    fn answer(&mut self, model: &Model, client: Client) -> Step {
        let answer = match self.random.below(100) {
            0..70 => Answer::Value(self.value()),
            70..92 => {
                let text = match self.random.below(10) {
                    0 => "é".repeat(1020 + self.random.below(10)),
                    1 => String::new(),
                    _ => "no, thank you".into(),
                };
                Answer::Error(*self.random.pick(&[9003, 105, 108, 109, 4711, -1, 10_001]), text)
            }
            _ => {
                // A length that is none, so that not even the beginning is a value (M-17).
                let nonsense = [&[0xff; 5], &*self.value().bytes].concat();
                Answer::Nonsense(if self.random.chance(20) { Vec::new() } else { nonsense })
            }
        };
        let session = model.session(client);
        let (client, conversation) = match self.random.below(100) {
            0..80 if !model.waiting.is_empty() => {
                let request = self.random.pick(&model.waiting);
                (request.recipient, request.conversation.expect("delivered"))
            }
            // Again, or too late.
            0..88 if !session.finished.is_empty() => (client, *self.random.pick(&session.finished)),
            0..97 if !session.unacknowledged.is_empty() => (client, *self.random.pick(&session.unacknowledged)),
            _ => (client, *self.random.pick(&[0, 1, 2, 99_999, i64::MAX, -1])),
        };
        if self.random.chance(1) {
            // A service error with something behind it.
            let mut frame = Sent::Answer { conversation, answer: Answer::Error(9003, "no".into()) }.to_frame();
            frame.push(0);
            return Step::Send(client, Sent::Malformed(frame));
        }
        Step::Send(client, Sent::Answer { conversation, answer })
    }

    /// Clients count up from where they like; 0 is for what they want no answer to.
    fn conversation(&mut self, client: Client) -> i64 {
        let start = *self.random.pick(&[0, 0, 126, 1 << 40, i64::MIN]);
        let last = self.conversations.entry(client).or_insert(start);
        *last += 1;
        *last
    }

    fn path(&mut self) -> String {
        match self.random.below(50) {
            0 => self.random.text(&["", "/", "//", "a//b", "//a", "a\0b", "a/b//"]).into(),
            1 => format!("a/{}", "x".repeat(2045 + self.random.below(4))),
            _ => self.random.pick(&self.paths).clone(),
        }
    }

    fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<_> = KEYS.iter().map(|key| (*key).to_owned()).collect();
        let percent = *self.random.pick(&[0, 0, 10, 40]);
        keys.retain(|_| self.random.chance(percent));
        keys
    }

    /// Of a session that is open, or that was, or that never was.
    fn session(&mut self, model: &Model) -> SessionId {
        let open = model.open();
        let client = match self.random.chance(90) {
            true => *self.random.pick(&open),
            false => Client(self.random.below(model.sessions.len())),
        };
        let id = model.session(client).id.unwrap_or(SessionId { server: 1, value: 2 });
        if self.random.chance(3) { SessionId { server: id.server ^ 1, ..id } } else { id }
    }

    /// A value that no other request or answer has, of any type, known or not.
    fn value(&mut self) -> Payload {
        self.values += 1;
        let mut bytes = format!("v{}", self.values).into_bytes();
        bytes.resize(bytes.len() + self.random.below(4), 0xf6);
        let type_name = self.random.text(&["json", "string", "int64", "binary", "a/b", "", "Überraschung"]).into();
        Payload { type_name, bytes }
    }
}

const PATHS: [&str; 12] = ["a", "/a", "a/", "a/b", "/a/b/", "a/b/c", "ab", "a/bc", "A/b", "b", "b/ü", "Diffusion/x"];

const KEYS: [&str; 8] = ["*F", "*U", "$Principal", "$Roles", "$SessionId", "team", "tier", "absent"];

/// What no client may send (section 4.1).
fn malformed() -> [Vec<u8>; 11] {
    [
        vec![],
        vec![60],
        vec![28],
        vec![61, 3, 1, 4, 0],
        vec![4, 0, 0, 0, 0],
        vec![0x80, 56, 1],
        vec![0, 56, 1, 0],
        vec![0, 85, 1, 2, 0xc3, 0x28, 0, 0],
        vec![0, 97, 1, 88],
        vec![6],
        vec![0, 86, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ]
}
