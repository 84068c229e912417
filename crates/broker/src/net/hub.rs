//! The broker's core behind one lock. The task of each connection brings in what it read, and writes what comes of it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::ConnectRequest;
use tokio::sync::Notify;

use super::admission::Network;
use super::arriving::Arriving;
use super::backlog::{Overflow, Queues};
use super::ceiling::{self, Ceiling};
use super::outbox::Outbox;
use super::outgoing::Outgoing;
use super::rounds::{Place, Rounds};
use super::traffic::Traffic;
use crate::core::permissions::Permissions;
use crate::core::{Arrival, Broker, BrokerConfig, ByConnection, ConnectionId, Output, give_back};
use crate::identity::Identities;

/// The close code of an end that was meant to be.
const NORMAL: u16 = 1000;
/// That of a client that does what it may not (RFC 6455, section 7.4.1).
const POLICY_VIOLATION: u16 = 1008;
/// Bytes that may wait on a connection that is being closed without being looked after: those of all of them are few.
const MUCH: usize = 16 << 10;
/// What it is told if it reads too slowly.
const SLOW: &str = "slow: the client does not read what it is sent";

/// What of the core may change while it runs.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Durations and limits.
    pub config: BrokerConfig,
    /// What sessions may do.
    pub permissions: Permissions,
}

/// The core, and all connections.
pub(super) struct Hub {
    state: Mutex<State>,
    /// The core is to be woken earlier than it was.
    earlier: Notify,
    start: Instant,
    connections: AtomicU64,
    /// What waits to be sent.
    queues: Arc<Queues>,
    /// What has arrived in part.
    arriving: Arc<Arriving>,
    /// Whose connections are read from.
    rounds: Arc<Rounds>,
    ceiling: Option<Ceiling>,
    identities: Arc<Identities>,
}

struct State {
    broker: Broker,
    outboxes: ByConnection<Arc<Outbox>>,
    /// Those that are being closed while much waits in them.
    closing: Vec<Weak<Outbox>>,
    /// When [`Hub::keep_time`] calls the core at the latest.
    wake_at: Option<Moment>,
    /// When to see whether a client has caught up with what waits for it, the earliest first.
    bursts: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    /// Nothing happens any more.
    is_over: bool,
}

impl State {
    /// Nothing is sent on a connection any more. The room of many that are gone is given back.
    fn forget(&mut self, connection: ConnectionId) -> Option<Arc<Outbox>> {
        let outbox = self.outboxes.remove(&connection);
        give_back(&mut self.outboxes);
        outbox
    }

    /// Whose time is over.
    fn pop_due(&mut self, now: Instant) -> Option<(Instant, ConnectionId)> {
        let Reverse(first) = *self.bursts.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.bursts.pop();
        Some(first)
    }

    /// When something is due.
    fn next_due(&self, start: Instant) -> Option<Instant> {
        let wake_at = self.wake_at.map(|at| start + Duration::from_micros(at.0));
        wake_at.into_iter().chain(self.bursts.peek().map(|Reverse((at, _))| *at)).min()
    }
}

/// Whoever serves the hub has this: when it is dropped, all connections are, and the core hears no more of them.
pub(super) struct Service(Arc<Hub>);

/// What happens between two moments at which others have their turn. Nobody waits for anything meanwhile, since the core
/// is locked.
pub(super) struct Turn<'a> {
    hub: &'a Hub,
    state: MutexGuard<'a, State>,
    time: Instant,
    now: Moment,
    /// Those that something was put into.
    touched: Vec<Arc<Outbox>>,
}

/// A connection that the core knows, until this is dropped.
pub(super) struct Connection {
    hub: Arc<Hub>,
    id: ConnectionId,
}

/// What happens on one connection, in a [`Turn`].
pub(super) struct ConnectionTurn<'a> {
    turn: Turn<'a>,
    id: ConnectionId,
    /// Number of requests that had had to wait before.
    held: u64,
}

impl Hub {
    fn new(broker: Broker, identities: Arc<Identities>, traffic: Traffic) -> Self {
        let traffic = traffic.within_memory();
        let (outboxes, bursts) = (ByConnection::default(), BinaryHeap::new());
        Self {
            state: Mutex::new(State { broker, outboxes, closing: Vec::new(), wake_at: None, bursts, is_over: false }),
            earlier: Notify::new(),
            start: Instant::now(),
            connections: AtomicU64::new(0),
            queues: Queues::new(traffic.clone()),
            ceiling: Some(traffic.memory).filter(|limit| *limit > 0).map(Ceiling::new),
            arriving: Arriving::new(traffic),
            rounds: Arc::default(),
            identities,
        }
    }

    /// Serves connections until what this returns is dropped.
    pub fn start(broker: Broker, identities: Arc<Identities>, traffic: Traffic) -> (Arc<Self>, Service) {
        let hub = Arc::new(Self::new(broker, identities, traffic));
        (hub.clone(), Service(hub))
    }

    /// What waits to be sent to all clients.
    pub fn queues(&self) -> Arc<Queues> {
        self.queues.clone()
    }

    /// What has arrived in part, of all clients.
    pub fn arriving(&self) -> Arc<Arriving> {
        self.arriving.clone()
    }

    /// The place of a connection from an address among all that come from there.
    pub fn place_of(&self, address: IpAddr) -> Place {
        self.rounds.join(Network::of(address))
    }

    /// Waits for its turn. Nothing if it is over, or if the core panicked: nobody knows what it would do.
    fn enter(&self) -> Option<Turn<'_>> {
        let mut state = self.state.lock().ok().filter(|state| !state.is_over)?;
        let time = Instant::now();
        let now = Moment::default() + (time - self.start);
        if let Some(ceiling) = &self.ceiling {
            if ceiling.is_outdated(now) {
                ceiling.measure(now, self.memory());
            }
            state.broker.set_memory_scarce(ceiling.is_scarce(self.memory()));
        }
        Some(Turn { hub: self, state, time, now, touched: Vec::new() })
    }

    /// Bytes of memory that are taken by what waits to be sent, and by what has arrived in part.
    fn memory(&self) -> usize {
        self.queues.memory() + self.arriving.memory()
    }

    /// Asks the system now and then how much memory the process takes, if there is a ceiling.
    pub async fn watch_memory(&self) {
        let Some(ceiling) = &self.ceiling else { return std::future::pending().await };
        loop {
            if !ceiling.measure(Moment::default() + self.start.elapsed(), self.memory()) {
                tracing::warn!("the system does not tell how much memory is taken: there is no ceiling");
                return std::future::pending().await;
            }
            tokio::time::sleep(ceiling::PERIOD).await;
        }
    }

    /// A client opened a connection and asks for a session.
    #[cfg_attr(feature = "echo", expect(unused_variables, reason = "nobody gets a session"))]
    pub fn open(
        self: &Arc<Self>,
        request: &ConnectRequest,
        arrival: &Arrival,
        outbox: Arc<Outbox>,
    ) -> Option<Connection> {
        let id = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        let mut turn = self.enter()?;
        let connection = Connection { hub: self.clone(), id };
        turn.state.outboxes.insert(id, outbox);
        #[cfg(not(feature = "echo"))]
        turn.state.broker.handle_connect(turn.now, id, request, arrival);
        turn.carry_out();
        turn.leave();
        Some(connection)
    }

    /// From now on other rules hold.
    pub fn change(&self, Rules { config, permissions }: Rules) {
        if let Some(mut turn) = self.enter() {
            turn.state.broker.reconfigure(config);
            turn.state.broker.set_permissions(permissions);
            turn.state.broker.set_standing(|principal, proof| self.identities.standing(principal, proof));
            turn.carry_out();
            turn.leave();
        }
    }

    /// Ends the session that has this token, if there is one.
    pub fn close(&self, token: &[u8]) {
        if let Some(mut turn) = self.enter() {
            turn.state.broker.handle_close(turn.now, token);
            turn.carry_out();
            turn.leave();
        }
    }

    /// Closes all connections once the requests under way are answered, or `grace` is over.
    pub fn stop(&self, grace: Duration) {
        let Some(mut turn) = self.enter() else { return };
        let broker = &mut turn.state.broker;
        let (sessions, requests) = (broker.session_count(), broker.outstanding_requests());
        tracing::info!(sessions, requests, "stopping; requests under way have {grace:?} to be answered");
        broker.stop(turn.now, grace);
        turn.carry_out();
        turn.leave();
    }

    /// Does what is nobody's: tells the core that time passes, and who somebody is, begins rounds, and lets go what is not sent.
    /// Returns when the core panicked.
    pub async fn run(&self) {
        tokio::select! {
            () = self.keep_time() => {}
            () = self.tell_verdicts() => {}
            () = self.rounds.run() => {}
            () = self.queues.discarded.run() => {}
        }
    }

    /// Calls the core when it wants to be woken.
    async fn keep_time(&self) {
        while let Some(wake_at) = self.wake() {
            // Others first, if it has more to do at once: a timer that has run out already would not let them in.
            tokio::task::yield_now().await;
            let timer = async {
                match wake_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                () = self.earlier.notified() => {}
            }
        }
    }

    /// Tells the core who somebody is, when that has taken time to find out.
    async fn tell_verdicts(&self) {
        let Some(mut verdicts) = self.identities.verdicts() else { return std::future::pending().await };
        while let Some((ticket, verdict)) = verdicts.recv().await {
            let Some(mut turn) = self.enter() else { return };
            turn.state.broker.handle_authenticated(turn.now, ticket, self.identities.confirm(verdict));
            turn.carry_out();
            turn.leave();
        }
    }

    /// Does what is due. When to come back.
    fn wake(&self) -> Option<Option<Instant>> {
        let mut turn = self.enter()?;
        if turn.state.wake_at.is_some_and(|at| at <= turn.now) {
            turn.state.wake_at = None;
            turn.state.broker.handle_timeout(turn.now);
            turn.carry_out();
        }
        turn.look_after_bursts();
        let next = turn.state.next_due(self.start);
        turn.leave();
        Some(next)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_over = true;
        for outbox in std::mem::take(&mut state.outboxes).into_values() {
            outbox.give_up();
        }
    }
}

impl Turn<'_> {
    /// Does what the core says.
    fn carry_out(&mut self) {
        while let Some(output) = self.state.broker.poll_output() {
            match output {
                Output::Send(connection, message) => self.send(connection, Outgoing::Alone(message)),
                Output::SendTogether(connection, message) => self.send(connection, Outgoing::Together(message)),
                Output::Close(connection) => self.close(connection),
                Output::Authenticate(ticket, login) => {
                    if let Some(verdict) = self.hub.identities.ask(ticket, *login) {
                        self.state.broker.handle_authenticated(self.now, ticket, verdict);
                    }
                }
                Output::Ping(connection) => {
                    if let Some(outbox) = self.state.outboxes.get(&connection) {
                        outbox.ping();
                    }
                }
                Output::Pause(connection) => self.set_paused(connection, true),
                Output::Resume(connection) => self.set_paused(connection, false),
                Output::WakeAt(at) => {
                    // Being called too early does no harm, and a timer that is seldom set costs next to nothing.
                    if self.state.wake_at.is_none_or(|earlier| at < earlier) {
                        self.state.wake_at = Some(at);
                        self.hub.earlier.notify_one();
                    }
                }
            }
        }
    }

    fn send(&mut self, connection: ConnectionId, message: Outgoing) {
        let Some(outbox) = self.state.outboxes.get(&connection) else { return };
        touch(&mut self.touched, outbox);
        match outbox.push(self.time, message) {
            Ok(None) => {}
            Ok(Some(due)) => {
                self.state.bursts.push(Reverse((due, connection)));
                self.hub.earlier.notify_one();
            }
            Err(Overflow) => self.overflow(connection),
        }
        if self.hub.queues.excess() > 0 {
            self.relieve();
        }
    }

    /// A client reads too slowly: what waits for it is dropped, and its session ends.
    fn overflow(&mut self, connection: ConnectionId) {
        let Some(outbox) = self.state.forget(connection) else { return };
        tracing::warn!(connection = connection.0, "closed: {SLOW}");
        outbox.cut(Some(POLICY_VIOLATION), SLOW);
        touch(&mut self.touched, &outbox);
        self.state.broker.handle_overflow(self.now, connection);
    }

    /// Those whose time is over have caught up, or read too slowly.
    fn look_after_bursts(&mut self) {
        while let Some((_, connection)) = self.state.pop_due(self.time) {
            let Some(outbox) = self.state.outboxes.get(&connection) else { continue };
            match outbox.time_is_over(self.time) {
                Ok(None) => {}
                Ok(Some(due)) => self.state.bursts.push(Reverse((due, connection))),
                Err(Overflow) => self.overflow(connection),
            }
        }
        self.carry_out();
    }

    /// More waits for all clients together than may: those whose connections are being closed get no more of it; and those
    /// for whom most is waiting read too slowly.
    fn relieve(&mut self) {
        let queues = &self.hub.queues;
        let mut wanted = queues.excess() + queues.relief();
        for outbox in self.state.closing.drain(..).filter_map(|outbox| outbox.upgrade()) {
            wanted = wanted.saturating_sub(outbox.memory());
            outbox.cut(Some(NORMAL), "");
        }
        let waiting = self.state.outboxes.iter().map(|(connection, outbox)| (outbox.memory(), *connection));
        let mut waiting: Vec<_> = waiting.filter(|(memory, _)| *memory > 0).collect();
        waiting.sort_unstable();
        while wanted > 0
            && let Some((memory, connection)) = waiting.pop()
        {
            self.overflow(connection);
            wanted = wanted.saturating_sub(memory);
        }
    }

    fn set_paused(&mut self, connection: ConnectionId, is_paused: bool) {
        if let Some(outbox) = self.state.outboxes.get(&connection) {
            outbox.set_paused(is_paused);
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some(outbox) = self.state.forget(connection) {
            outbox.close(Some(NORMAL), "");
            if outbox.memory() > MUCH {
                self.state.closing.retain(|other| other.upgrade().is_some_and(|other| other.memory() > 0));
                self.state.closing.push(Arc::downgrade(&outbox));
            }
            touch(&mut self.touched, &outbox);
        }
    }

    /// Lets others in, and sends what has come of it.
    fn leave(self) {
        let Self { state, touched, .. } = self;
        drop(state);
        for outbox in touched {
            outbox.flush_together();
        }
    }
}

/// Whoever got several messages in a turn gets them in one write.
fn touch(touched: &mut Vec<Arc<Outbox>>, outbox: &Arc<Outbox>) {
    if !touched.last().is_some_and(|last| Arc::ptr_eq(last, outbox)) {
        touched.push(outbox.clone());
    }
}

impl Connection {
    /// As [`Hub::enter`].
    pub fn enter(&self) -> Option<ConnectionTurn<'_>> {
        let turn = self.hub.enter()?;
        Some(ConnectionTurn { held: turn.state.broker.held_requests(), turn, id: self.id })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(mut turn) = self.hub.enter() {
            turn.state.forget(self.id);
            turn.state.broker.handle_disconnected(turn.now, self.id);
            turn.carry_out();
            turn.leave();
        }
    }
}

impl ConnectionTurn<'_> {
    /// A binary message arrived.
    pub fn message(&mut self, message: &[u8]) {
        self.turn.state.broker.handle_frame(self.turn.now, self.id, message);
        self.turn.carry_out();
    }

    /// Something that no client may send.
    pub fn violation(&mut self) {
        self.turn.state.broker.handle_violation(self.turn.now, self.id);
        self.turn.carry_out();
    }

    pub fn sign_of_life(&mut self) {
        self.turn.state.broker.handle_sign_of_life(self.turn.now, self.id);
        self.turn.carry_out();
    }

    /// The client closes it, and says that it is going away itself.
    pub fn going_away(&mut self) {
        self.turn.state.broker.handle_going_away(self.turn.now, self.id);
        self.turn.carry_out();
    }

    /// Lets others in, and sends what has come of it. Whether something has to wait: the client has had its share for now.
    pub fn leave(self) -> bool {
        let has_to_wait = self.turn.state.broker.held_requests() > self.held;
        self.turn.leave();
        has_to_wait
    }
}
