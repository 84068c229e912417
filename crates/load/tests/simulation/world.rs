//! Simulated time and network, and the loop that runs events in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::identity::{Expiry, Identity, Login, Ticket, Verdict};
use antiphon_broker::core::permissions::Permissions;
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId};
use antiphon_load::ledger::{EntryId, Ledger};
use antiphon_protocol::batch::{Batcher, MAX_BATCH_BYTES};
use antiphon_protocol::client::{self, ClientConfig, ClientSession, Event, RequestId, State};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::{ConnectResponse, Credentials, ResponseCode};
use fastrand::Rng;

use crate::application::{Answer, Client, Request};
use crate::drive::Wires;
use crate::faults::{Plan, chance, milliseconds};
use crate::tap::Tap;

/// Counts what occurred in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub requests: u64,
    pub answered: u64,
    pub failed: u64,
    pub repeats: u64,
    pub faults: u64,
    pub lossless: u64,
    pub losses: u64,
    pub new_sessions: u64,
    pub closed: u64,
    pub renewals: u64,
    pub told: u64,
    pub turns: u64,
}

/// An event that is due.
#[derive(Debug)]
pub enum Turn {
    /// What comes next on a connection, arrives.
    Arrive(usize, Direction),
    /// A frozen connection goes on.
    Thaw(usize),
    /// One end learns that its connection is gone.
    Told(usize, Direction),
    /// An application does something.
    Act,
    /// Something goes wrong.
    Fault,
    /// A handler answers.
    Answer(usize, RequestId, Answer),
    /// A request that may have been handled is sent again.
    Repeat(EntryId),
    /// A broker, by its generation, is told who somebody is.
    Tell(u64, Ticket, Verdict),
    /// An application gets a fresh token.
    Renew(usize),
    /// What a client, or the broker on a connection, wants to send together goes out.
    Flush(usize),
    Drain(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToClient,
    ToBroker,
}

/// One connection, or an attempt at one. Its number is that of the broker.
#[derive(Debug)]
pub struct SimulatedConnection {
    client: usize,
    /// As the client numbers it.
    id: client::ConnectionId,
    pub to_client: Pipe,
    pub to_broker: Pipe,
    /// Whether the client has it, and knows of no end.
    pub client_is_open: bool,
    pub broker_is_open: bool,
    pub frozen_until: Moment,
    /// One way, at least, and twice that at most.
    latency: Duration,
    /// Whether the broker has said anything.
    is_answered: bool,
    /// What it has granted.
    features: Features,
    /// What the broker wants to send together.
    outbox: Batcher<Vec<u8>>,
}

/// One direction of a connection. What is sent first, arrives first.
#[derive(Debug, Default)]
pub struct Pipe {
    pub items: VecDeque<(Moment, Item)>,
    /// Nothing arrives any more.
    pub is_severed: bool,
    last: Moment,
}

#[derive(Debug)]
pub enum Item {
    /// The upgrade request, with its query; or the answer to it.
    Open(String),
    Frame(Vec<u8>),
    End,
}

pub struct World {
    seed: u64,
    pub now: Moment,
    pub random: Rng,
    pub plan: Plan,
    turns: BTreeMap<(Moment, u64), Turn>,
    turns_made: u64,
    pub broker: Broker,
    broker_wakes: Option<Moment>,
    /// How many brokers there were before this one.
    pub generation: u64,
    pub connections: Vec<SimulatedConnection>,
    pub clients: Vec<Client>,
    pub unreachable_until: Moment,
    pub hanging_until: Moment,
    pub slow_until: Moment,
    /// The last time at which something was not as it should be.
    pub disturbed_at: Moment,
    /// How often the broker or a client has forgotten what was under way.
    pub losses: u64,
    /// How often a broker has ended a session, or has gone.
    pub ends: u64,
    pub ledger: Ledger,
    pub tap: Tap,
    pub requests: Vec<Request>,
    /// Requests that have not come to their end.
    pub open_requests: usize,
    /// Paths at which there was ever a handler that takes no more than so many at a time.
    pub limited: BTreeSet<String>,
    /// From here on nothing goes wrong, handlers answer, and tokens are renewed.
    pub is_over: bool,
    pub fault: Option<String>,
    pub tally: Tally,
    log: Option<VecDeque<String>>,
}

/// Events that are printed when something is wrong.
const LAST_EVENTS: usize = 300;

/// Within this time after the last fault everything has come to its end: longer than every timeout of [`Plan`].
const RECOVERY: Duration = Duration::from_secs(60);

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self {
            requests,
            answered,
            failed,
            repeats,
            faults,
            lossless,
            losses,
            new_sessions,
            closed,
            renewals,
            told,
            turns,
        } = other;
        self.requests += requests;
        self.answered += answered;
        self.failed += failed;
        self.repeats += repeats;
        self.faults += faults;
        self.lossless += lossless;
        self.losses += losses;
        self.new_sessions += new_sessions;
        self.closed += closed;
        self.renewals += renewals;
        self.told += told;
        self.turns += turns;
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let plan = Plan::new(&mut random);
        Self {
            seed,
            now: Moment(1_000_000),
            turns: BTreeMap::new(),
            turns_made: 0,
            broker: broker(&plan, 0),
            broker_wakes: None,
            generation: 0,
            connections: Vec::new(),
            clients: Vec::new(),
            unreachable_until: Moment(0),
            hanging_until: Moment(0),
            slow_until: Moment(0),
            disturbed_at: Moment(0),
            losses: 0,
            ends: 0,
            ledger: Ledger::new(plan.lateness),
            tap: Tap::default(),
            requests: Vec::new(),
            open_requests: 0,
            limited: BTreeSet::new(),
            is_over: false,
            fault: None,
            tally: Tally::default(),
            log: None,
            random,
            plan,
        }
    }

    /// Lets everything happen. The error is the first thing that must not.
    pub fn run(&mut self) -> Result<(), String> {
        let plan = self.plan.clone();
        self.log(|| format!("{plan:?}"));
        for _ in 0..self.plan.clients {
            self.join();
        }
        self.pass(Duration::from_millis(200))?;
        for client in 0..self.clients.len() {
            self.register(client, &format!("own/{client}"));
            if self.random.bool() {
                self.register(client, "shared");
            }
        }
        let mut at = self.now;
        for _ in 0..self.plan.actions {
            at = at + milliseconds(&mut self.random, 0..400);
            self.schedule(at, Turn::Act);
            if chance(&mut self.random, 12) {
                self.schedule(at, Turn::Fault);
            }
        }
        self.pass(at.since(self.now))?;
        self.heal();
        self.wait_until("recovered", RECOVERY, Self::what_is_pending)?;
        if let Some(life) = self.plan.token_life {
            // Whose token expired before it could be renewed has lost its session by then, and has another one.
            self.pass((self.disturbed_at + life).since(self.now))?;
            self.wait_until("renewed", RECOVERY, Self::what_is_pending)?;
        }
        // What was given up counts for its recipient until that has shown to have read of it, or the time is over (B-3).
        self.wait_until("idle", RECOVERY, Self::what_is_open)?;
        self.wait_until("told", Duration::from_secs(15), Self::what_is_untold)?;
        // One after the other: a tight broker takes no more at a time.
        for path in self.paths() {
            self.ask_handlers(&path);
            self.wait_until("answered", Duration::from_secs(15), Self::what_is_pending)?;
        }
        self.ask_sessions();
        self.wait_until("answered", Duration::from_secs(15), Self::what_is_pending)?;
        // Pings come and go, and the answers to requests of closed sessions are waited for.
        self.wait_until("silent", RECOVERY, Self::what_is_open)?;
        for client in 0..self.clients.len() {
            let now = self.now;
            self.act(client, |core| core.close(now));
        }
        self.wait_until("closed", RECOVERY, |world| match world.broker.session_count() {
            0 => world.what_is_pending(),
            count => Some(format!("{count} sessions")),
        })?;
        let verdict = self.ledger.verdict(u32::MAX);
        if verdict.violations.is_empty() { Ok(()) } else { Err(format!("the ledger says: {verdict:?}")) }
    }

    /// A new client connects.
    pub fn join(&mut self) {
        let (now, client) = (self.now, self.clients.len());
        let features = match self.random.u32(0..4) {
            // Whoever is not asked for a fresh token loses the session with the old one.
            _ if self.plan.token_life.is_some() => Features::ALL,
            0 => Features::NONE,
            1 => Features::BATCHING,
            _ => Features::ALL,
        };
        let config = ClientConfig { features, ..self.plan.client.clone() };
        self.clients.push(Client::new(ClientSession::new(config)));
        self.act(client, |core| core.connect(now));
    }

    /// What a client shows, to connect or in time.
    pub fn token(&self) -> Credentials {
        if self.plan.token_life.is_some() { Credentials::Password("token".into()) } else { Credentials::None }
    }

    fn heal(&mut self) {
        self.log(|| "no more faults".into());
        self.unreachable_until = self.now;
        self.hanging_until = self.now;
        self.slow_until = self.now;
        for simulated in &mut self.connections {
            simulated.latency = simulated.latency.min(Duration::from_millis(20));
        }
        self.is_over = true;
        self.disturb(self.now);
    }

    /// Why the world is not at rest, if it is not.
    fn what_is_pending(&self) -> Option<String> {
        for (index, client) in self.clients.iter().enumerate() {
            let is_up = client.connection.is_some_and(|connection| self.connections[connection].is_sound(self.now));
            match client.core.state() {
                State::Closed if client.is_over => {}
                State::Connected if is_up => {}
                state => return Some(format!("client {index} is {state:?}")),
            }
            if let Some(waiting) = client.waiting.values().next() {
                return Some(format!("client {index} waits for {waiting:?}"));
            }
            // Handlers that are being registered again, or taken back, have others.
            let (open, known) = (client.core.open_conversations(), client.handlers.len() + client.watches.len());
            if open != known {
                return Some(format!("client {index} has {open} conversations, and {known} handlers and watches"));
            }
        }
        // It takes the session over when it arrives, although its client has given it up.
        if let Some(late) = self.connections.iter().position(SimulatedConnection::is_late_attempt) {
            return Some(format!("connection {late} is on its way"));
        }
        let open = self.open_clients();
        let (sessions, outstanding) = (self.broker.session_count(), self.broker.outstanding_requests());
        if (sessions, outstanding, self.open_requests) == (open, 0, 0) {
            return None;
        }
        Some(format!(
            "{sessions} sessions of {open} clients, {outstanding} requests at the broker, {} at the clients",
            self.open_requests
        ))
    }

    /// What the broker waits for, whether or not anybody else does.
    fn what_is_open(&self) -> Option<String> {
        match self.broker.open_conversations() {
            0 => None,
            open => Some(format!("{open} conversations at the broker")),
        }
    }

    /// Lets time pass until nothing is pending.
    fn wait_until(
        &mut self,
        what: &str,
        patience: Duration,
        pending: impl Fn(&Self) -> Option<String>,
    ) -> Result<(), String> {
        let end = self.now + patience;
        while let Some(why) = pending(self) {
            if self.now >= end {
                return Err(format!("not {what} after {patience:?}: {why}"));
            }
            self.pass(Duration::from_millis(250))?;
        }
        self.log(|| what.to_owned());
        Ok(())
    }

    /// Number of clients whose sessions are not over.
    pub fn open_clients(&self) -> usize {
        self.clients.iter().filter(|client| !client.is_over).count()
    }

    pub fn schedule(&mut self, at: Moment, turn: Turn) {
        self.turns_made += 1;
        self.turns.insert((at, self.turns_made), turn);
    }

    pub fn disturb(&mut self, until: Moment) {
        self.disturbed_at = self.disturbed_at.max(until);
    }

    /// Since when every session has a connection on which messages arrive; nothing if one has none.
    pub fn calm_since(&self) -> Option<Moment> {
        let is_calm = self.clients.iter().all(|client| {
            client.is_over
                || client.core.state() == State::Connected
                    && client.connection.is_some_and(|connection| self.connections[connection].is_sound(self.now))
        });
        // Sessions whose clients have gone without a word get requests too.
        (is_calm && self.broker.session_count() == self.open_clients()).then_some(self.disturbed_at)
    }

    /// Lets everything happen that happens within this time.
    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = self.now + time;
        loop {
            let turn = self.turns.first_key_value().map(|((at, _), _)| *at);
            let client = self.clients.iter().filter_map(|client| client.wakes).min();
            let Some(at) = [turn, client, self.broker_wakes].into_iter().flatten().min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            self.ledger.set_time(self.now.since(Moment(0)));
            self.tally.turns += 1;
            if turn == Some(at) {
                let (_, turn) = self.turns.pop_first().expect("there is one");
                self.take(turn);
            } else if self.broker_wakes == Some(at) {
                self.broker_wakes = None;
                let now = self.now;
                self.tell_broker(|world| world.broker.handle_timeout(now));
            } else if let Some(client) = self.clients.iter().position(|client| client.wakes == Some(at)) {
                self.clients[client].wakes = None;
                let now = self.now;
                self.act(client, |core| core.handle_timeout(now));
            }
            if let Some(fault) = self.fault.take().or_else(|| self.ledger.first_violation()) {
                return Err(fault);
            }
        }
        self.now = end;
        self.ledger.set_time(self.now.since(Moment(0)));
        Ok(())
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Arrive(connection, Direction::ToClient) => self.arrive_at_client(connection),
            Turn::Arrive(connection, Direction::ToBroker) => self.arrive_at_broker(connection),
            Turn::Thaw(connection) => {
                for direction in [Direction::ToClient, Direction::ToBroker] {
                    for _ in 0..self.connections[connection].pipe(direction).items.len() {
                        self.schedule(self.now, Turn::Arrive(connection, direction));
                    }
                }
            }
            Turn::Told(connection, Direction::ToClient) => self.end_at_client(connection),
            Turn::Told(connection, Direction::ToBroker) => self.end_at_broker(connection),
            Turn::Act => self.do_something(),
            Turn::Fault => self.inject(),
            Turn::Answer(client, request, answer) => self.answer(client, request, answer),
            Turn::Repeat(request) => self.repeat(request),
            Turn::Tell(generation, ticket, verdict) => {
                let now = self.now;
                if generation == self.generation {
                    self.tell_broker(|world| world.broker.handle_authenticated(now, ticket, verdict));
                }
            }
            Turn::Renew(client) => self.renew(client),
            Turn::Flush(client) => self.act(client, ClientSession::flush),
            Turn::Drain(connection) => self.drain(connection),
        }
    }

    /// Lets a client do something, then everything that follows at once.
    pub fn act<T>(&mut self, client: usize, action: impl FnOnce(&mut ClientSession) -> T) -> T {
        let result = action(&mut self.clients[client].core);
        self.drive_client(client);
        let now = self.now;
        self.clients[client].settle_unwanted(now);
        self.check_explained(client);
        result
    }

    /// Tells the broker something, then carries out what follows.
    fn tell_broker(&mut self, action: impl FnOnce(&mut Self)) {
        let before = self.broker.session_count();
        action(self);
        if self.broker.session_count() < before {
            self.log(|| "the broker ends a session".into());
            self.losses += 1;
            self.ends += 1;
        }
        self.drive_broker();
    }

    /// The broker ends the session on a connection, if there is one.
    pub fn overflow(&mut self, connection: Option<usize>) {
        if let Some(connection) = connection.filter(|connection| self.connections[*connection].broker_is_open) {
            self.tell_broker(|world| world.broker.handle_overflow(world.now, ConnectionId(connection as u64)));
        }
    }

    pub fn replace_broker(&mut self) {
        self.generation += 1;
        self.losses += 1;
        self.ends += 1;
        self.broker = broker(&self.plan, self.generation);
        self.broker_wakes = None;
    }

    /// The broker sends something.
    fn check_delivery(&mut self, connection: usize, message: &[u8]) {
        if let Err(request) = self.tap.hear_delivery(self.connections[connection].client, message) {
            self.fault.get_or_insert_with(|| format!("{request:?} is delivered after it was given up"));
        }
    }

    fn push(&mut self, connection: usize, direction: Direction, item: Item) {
        let (now, simulated) = (self.now, &mut self.connections[connection]);
        let latency = simulated.latency.mul_f64(1.0 + self.random.f64());
        let pipe = simulated.pipe(direction);
        if pipe.is_severed {
            return;
        }
        let at = pipe.last.max(now + latency);
        pipe.last = at;
        pipe.items.push_back((at, item));
        self.schedule(at, Turn::Arrive(connection, direction));
    }

    /// What arrives now, if anything does.
    fn next_item(&mut self, connection: usize, direction: Direction) -> Option<Item> {
        let (now, simulated) = (self.now, &mut self.connections[connection]);
        if now < simulated.frozen_until {
            return None;
        }
        let items = &mut simulated.pipe(direction).items;
        let is_there = items.front().is_some_and(|(at, _)| *at <= now);
        if is_there { items.pop_front().map(|(_, item)| item) } else { None }
    }

    /// Sends what the broker wants to send together.
    fn drain(&mut self, connection: usize) {
        if let Some(frame) = self.connections[connection].outbox.take() {
            self.push(connection, Direction::ToClient, Item::Frame(frame));
        }
    }

    fn arrive_at_client(&mut self, connection: usize) {
        let Some(item) = self.next_item(connection, Direction::ToClient) else { return };
        let SimulatedConnection { client, id, client_is_open: true, .. } = self.connections[connection] else { return };
        let now = self.now;
        match item {
            Item::Open(_) => {
                self.act(client, |core| core.handle_open(id));
            }
            Item::Frame(frame) => self.act(client, |core| core.handle_frame(now, id, &frame)),
            Item::End => self.end_at_client(connection),
        }
    }

    fn end_at_client(&mut self, connection: usize) {
        let SimulatedConnection { client, id, client_is_open: true, .. } = self.connections[connection] else { return };
        self.connections[connection].client_is_open = false;
        self.clients[client].connection = None;
        self.log(|| format!("client {client} loses connection {connection}"));
        let now = self.now;
        self.act(client, |core| core.handle_disconnected(now, id, "gone"));
    }

    fn arrive_at_broker(&mut self, connection: usize) {
        let Some(item) = self.next_item(connection, Direction::ToBroker) else { return };
        let (now, id) = (self.now, ConnectionId(connection as u64));
        match item {
            Item::Open(query) => {
                self.connections[connection].broker_is_open = true;
                let random = std::array::from_fn(|index| match index {
                    0..8 => connection.to_be_bytes()[index],
                    8..16 => self.seed.to_be_bytes()[index - 8],
                    _ => 0,
                });
                // Some brokers know of no features, and clients come from one to another.
                let query = match self.random.u32(0..3) {
                    0 if self.plan.token_life.is_none() => {
                        let has_keys = self.plan.has_keys;
                        query
                            .split('&')
                            .filter_map(|pair| without_features(pair, has_keys))
                            .collect::<Vec<_>>()
                            .join("&")
                    }
                    _ => query,
                };
                self.tell_broker(|world| world.arrive(id, &query, random));
            }
            Item::Frame(frame) if self.connections[connection].broker_is_open => {
                let SimulatedConnection { client, features, .. } = self.connections[connection];
                self.tap.hear_asking(client, &frame);
                self.tell_broker(|world| world.broker.handle_frame(now, id, &frame));
                self.tap.hear_giving_up(client, features, &frame);
            }
            Item::Frame(_) => {}
            Item::End => self.end_at_broker(connection),
        }
    }

    fn end_at_broker(&mut self, connection: usize) {
        let simulated = &mut self.connections[connection];
        if !std::mem::take(&mut simulated.broker_is_open) {
            // One that ends on its way does not arrive later: nobody would tell the broker of its end again.
            simulated.to_broker.is_severed = true;
            simulated.to_broker.items.clear();
            return;
        }
        self.log(|| format!("the broker loses connection {connection}"));
        let now = self.now;
        self.tell_broker(|world| world.broker.handle_disconnected(now, ConnectionId(connection as u64)));
    }

    pub fn keep_log(&mut self) {
        self.log = Some(VecDeque::new());
    }

    pub fn log(&mut self, event: impl FnOnce() -> String) {
        let Some(log) = &mut self.log else { return };
        if log.len() == LAST_EVENTS {
            log.pop_front();
        }
        log.push_back(format!("{:>9.3} s  {}", self.now.since(Moment(0)).as_secs_f64(), event()));
    }

    /// For people.
    pub fn last_events(&self) -> String {
        self.log.iter().flatten().map(|event| format!("{event}\n")).collect()
    }
}

impl Wires for World {
    fn now(&self) -> Moment {
        self.now
    }

    fn broker(&mut self) -> &mut Broker {
        &mut self.broker
    }

    fn core(&mut self, client: usize) -> &mut ClientSession {
        &mut self.clients[client].core
    }

    fn open(&mut self, client: usize, id: client::ConnectionId) {
        if self.clients[client].core.state() == State::Connected {
            // It has a connection, and wants a fresh token.
            let at = self.now + milliseconds(&mut self.random, 0..200);
            return self.schedule(at, Turn::Renew(client));
        }
        let connection = self.connections.len();
        let token = self.token();
        let query = self.clients[client].core.connect_query(token);
        let is_slow = self.now < self.slow_until;
        let latency = milliseconds(&mut self.random, if is_slow { 100..1_500 } else { 0..20 });
        self.connections.push(SimulatedConnection {
            client,
            id,
            to_client: Pipe::default(),
            to_broker: Pipe::default(),
            client_is_open: true,
            broker_is_open: false,
            frozen_until: Moment(0),
            latency,
            is_answered: false,
            features: Features::NONE,
            outbox: Batcher::default(),
        });
        self.clients[client].connection = Some(connection);
        self.log(|| format!("client {client} opens connection {connection}, latency {latency:?}"));
        if self.now < self.unreachable_until {
            let at = self.now + latency;
            self.sever(connection, [true, true]);
            self.schedule(at, Turn::Told(connection, Direction::ToClient));
        } else {
            if self.now < self.hanging_until {
                self.silence(connection);
            }
            self.push(connection, Direction::ToBroker, Item::Open(query));
        }
    }

    fn send_to_broker(&mut self, client: usize, frame: Vec<u8>) {
        if let Some(connection) = self.clients[client].connection {
            self.push(connection, Direction::ToBroker, Item::Frame(frame));
        }
    }

    fn flush_soon(&mut self, client: usize) {
        let at = self.now + milliseconds(&mut self.random, 0..3);
        self.schedule(at, Turn::Flush(client));
    }

    fn disconnect(&mut self, client: usize) {
        if let Some(connection) = self.clients[client].connection.take() {
            self.connections[connection].client_is_open = false;
            self.push(connection, Direction::ToBroker, Item::End);
        }
    }

    fn retry(&mut self, client: usize, _attempt: u32) {
        let random = self.random.f64();
        self.clients[client].core.retry_after(self.now, None, random);
    }

    fn wake_client(&mut self, client: usize, at: Moment) {
        let late = match self.plan.lateness {
            Duration::ZERO => Duration::ZERO,
            most => Duration::from_micros(self.random.u64(0..most.as_micros() as u64)),
        };
        self.clients[client].wakes = Some(at + late);
    }

    fn deliver(&mut self, client: usize, event: Event) {
        self.log(|| format!("client {client}: {event:?}"));
        self.handle(client, event);
    }

    fn send_to_client(&mut self, ConnectionId(connection): ConnectionId, frame: Vec<u8>) {
        let connection = connection as usize;
        if !std::mem::replace(&mut self.connections[connection].is_answered, true) {
            self.push(connection, Direction::ToClient, Item::Open(String::new()));
            let response = ConnectResponse::decode(&frame).expect("a connection response");
            self.log(|| format!("broker on {connection}: {response:?}"));
            if let ConnectResponse::Accepted { features, .. } = response {
                self.connections[connection].features = features.unwrap_or_default();
            }
            if matches!(response, ConnectResponse::Accepted { code, .. }
                if code == ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS)
            {
                self.losses += 1;
            }
        }
        self.drain(connection);
        self.check_delivery(connection, &frame);
        self.push(connection, Direction::ToClient, Item::Frame(frame));
    }

    fn send_together(&mut self, ConnectionId(connection): ConnectionId, message: Vec<u8>) {
        let connection = connection as usize;
        self.check_delivery(connection, &message);
        let outbox = &mut self.connections[connection].outbox;
        let is_first = outbox.is_empty();
        if let Some(full) = outbox.push(message, MAX_BATCH_BYTES) {
            self.push(connection, Direction::ToClient, Item::Frame(full));
        }
        if is_first {
            let at = self.now + milliseconds(&mut self.random, 0..3);
            self.schedule(at, Turn::Drain(connection));
        }
    }

    fn close(&mut self, ConnectionId(connection): ConnectionId) {
        self.drain(connection as usize);
        self.push(connection as usize, Direction::ToClient, Item::End);
        // The socket says so soon, and the broker hears what it knows.
        self.schedule(self.now, Turn::Told(connection as usize, Direction::ToBroker));
    }

    fn wake_broker(&mut self, at: Moment) {
        self.broker_wakes = Some(at);
    }

    fn ask_who(&mut self, ticket: Ticket, Login { principal, .. }: Login) {
        let may_be_refused = !principal.is_empty() && !self.is_over;
        let expiry = self.plan.token_life.map(|within| Expiry { within, at: 0 });
        let roles = ["CLIENT", "CLIENT_CONTROL"].map(str::to_owned).into();
        let verdict = match self.random.u32(0..20) {
            0 if may_be_refused => Verdict::Refused,
            1 if may_be_refused => Verdict::Busy,
            _ => Verdict::Accepted(Identity { principal: BEARER.into(), roles, expiry, ..Identity::default() }),
        };
        let at = self.now + milliseconds(&mut self.random, 0..50);
        self.schedule(at, Turn::Tell(self.generation, ticket, verdict));
    }
}

/// What is left of a parameter of a connection when a broker knows of no features, but perhaps of keys.
fn without_features(pair: &str, has_keys: bool) -> Option<String> {
    let Some(offered) = pair.strip_prefix("antiphon=") else { return Some(pair.to_owned()) };
    let offered = offered.parse::<u32>().expect("a number");
    let keys = offered & Features::IDEMPOTENCY.to_wire();
    (has_keys && keys > 0).then(|| format!("antiphon={keys}"))
}

/// Whose token every client has, if they have any.
pub const BEARER: &str = "bearer";

/// A broker that knows of nothing.
fn broker(plan: &Plan, generation: u64) -> Broker {
    let access = match plan.token_life {
        Some(_) => Access::outside(Permissions::stock()),
        None => Access::development(),
    };
    Broker::new(BrokerConfig { server: generation, ..plan.broker.clone() }, access)
}

impl SimulatedConnection {
    fn pipe(&mut self, direction: Direction) -> &mut Pipe {
        match direction {
            Direction::ToClient => &mut self.to_client,
            Direction::ToBroker => &mut self.to_broker,
        }
    }

    /// Whether it is an attempt that the client has given up, and that still reaches the broker.
    fn is_late_attempt(&self) -> bool {
        let is_attempt = |(_, item): &(Moment, Item)| matches!(item, Item::Open(_));
        !self.client_is_open && self.to_broker.items.iter().any(is_attempt)
    }

    /// Whether messages arrive in both directions.
    fn is_sound(&self, now: Moment) -> bool {
        let is_open = self.client_is_open && self.broker_is_open;
        is_open && now >= self.frozen_until && !self.to_client.is_severed && !self.to_broker.is_severed
    }
}
