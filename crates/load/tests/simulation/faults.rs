//! The faults of a run, drawn from its seed before it begins, and what they do to it.

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::{ClientConfig, State};
use antiphon_protocol::recovery::RecoveryLimits;
use fastrand::Rng;

use crate::world::{Direction, SimulatedConnection, Turn, World};

/// Kinds of faults. Each story has its own selection: where everything goes wrong at once, little is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks, with what is on its way; each end learns of it.
    Cut,
    /// Only one end learns of it; the other has to notice that nothing comes any more.
    HalfCut,
    /// In one direction, or in both, nothing arrives any more, and nobody learns of it.
    Silence,
    /// Nothing arrives for a while, then everything.
    Freeze,
    /// Attempts to connect fail for a while.
    Unreachable,
    /// Attempts to connect come to nothing for a while, in one direction or in both.
    Hang,
    /// New connections are slow for a while.
    Slow,
    /// Something arrives at a client that no server may send.
    Violation,
    /// The broker ends a session, as it does with a client that reads too slowly.
    Overflow,
    /// Another broker takes the place of this one, and knows of nothing.
    Forget,
}

impl Fault {
    const ALL: [Self; 10] = [
        Self::Cut,
        Self::HalfCut,
        Self::Silence,
        Self::Freeze,
        Self::Unreachable,
        Self::Hang,
        Self::Slow,
        Self::Violation,
        Self::Overflow,
        Self::Forget,
    ];

    /// How often a story has this kind, if it has others with this probability; in percent.
    fn share(self, others: u32) -> u32 {
        // After these there is not much left that could go wrong.
        if matches!(self, Self::Violation | Self::Overflow | Self::Forget) { others / 4 } else { others }
    }
}

/// The settings of a story.
#[derive(Clone, Debug)]
pub struct Plan {
    pub clients: usize,
    pub broker: BrokerConfig,
    pub client: ClientConfig,
    pub faults: Vec<Fault>,
    /// Things that the applications do.
    pub actions: usize,
    /// Whether sessions are closed by their applications.
    pub may_close: bool,
    /// How much too late the timers of clients may ring.
    pub lateness: Duration,
    /// Whether the broker may say that a session is overwhelmed.
    pub is_tight: bool,
    /// Whether messages may be lost although every session comes back in time.
    pub may_lose: bool,
    /// Whether some requests have keys, and are sent again when they may have been handled. Then a broker knows keys on all
    /// connections of a client, or on none, as it has to (section 18.10).
    pub has_keys: bool,
    /// How long a token is good, by which each session is opened; nothing if they are anonymous.
    pub token_life: Option<Duration>,
}

pub fn milliseconds(random: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_micros(random.u64(range.start * 1000..range.end * 1000))
}

pub fn chance(random: &mut Rng, percent: u32) -> bool {
    random.u32(0..100) < percent
}

impl Plan {
    pub fn new(random: &mut Rng) -> Self {
        let small = |random: &mut Rng| match random.u32(0..3) {
            0 => RecoveryLimits { messages: random.usize(1..6), bytes: 1 << 20 },
            _ => RecoveryLimits::default(),
        };
        let keep_for = |random: &mut Rng| match random.u32(0..20) {
            0 => Duration::ZERO,
            _ => milliseconds(random, 3_000..15_000),
        };
        let [recovery, client_recovery] = [small(random), small(random)];
        let max_bytes_to_answer = if chance(random, 20) { 500 } else { 64 << 20 };
        let max_recovery_bytes = if chance(random, 10) { random.usize(0..2_000) } else { 256 << 20 };
        let ping_period = if chance(random, 25) { Duration::ZERO } else { milliseconds(random, 1_000..3_000) };
        let is_tight = recovery != RecoveryLimits::default() || max_bytes_to_answer < 1 << 20;
        // Without pings the story tells both ends of what they do not notice.
        let probe_timeout = if ping_period.is_zero() { Duration::ZERO } else { Duration::from_secs(2) };
        let broker = BrokerConfig {
            probe_timeout,
            request_timeout: milliseconds(random, 3_000..12_000),
            ping_period,
            reconnect_timeout: keep_for(random),
            recovery,
            max_recovery_bytes,
            max_bytes_to_answer,
            turn_pause: milliseconds(random, 0..3),
            turn_recipients: random.usize(1..4),
            turn_work: random.usize(1..4),
            // Longer than any request takes, and short enough to see the end of it.
            repeat_time: milliseconds(random, 30_000..40_000),
            seed: random.u64(..),
            ..BrokerConfig::default()
        };
        let client = ClientConfig {
            connect_timeout: milliseconds(random, 1_500..4_000),
            reconnect_timeout: keep_for(random),
            recovery: client_recovery,
            request_timeout: milliseconds(random, 1_000..8_000),
            ..ClientConfig::default()
        };
        let share = random.u32(0..100);
        let faults: Vec<_> = Fault::ALL.into_iter().filter(|fault| chance(random, fault.share(share))).collect();
        let may_lose = recovery != RecoveryLimits::default()
            || client_recovery != RecoveryLimits::default()
            || max_recovery_bytes < 1 << 20
            || broker.reconnect_timeout.is_zero()
            || [Fault::Violation, Fault::Overflow, Fault::Forget].iter().any(|fault| faults.contains(fault));
        let token_life = chance(random, 30).then(|| milliseconds(random, 4_000..20_000));
        Self {
            clients: random.usize(2..5),
            broker,
            client,
            faults,
            actions: random.usize(10..50),
            may_close: chance(random, 40),
            lateness: Duration::from_millis(*random.choice(&[0, 0, 0, 800, 5_000]).expect("not empty")),
            is_tight,
            may_lose,
            has_keys: random.bool(),
            token_life,
        }
    }
}

impl World {
    /// Lets something go wrong, if anything can in this story.
    pub fn inject(&mut self) {
        if self.plan.faults.is_empty() {
            return;
        }
        let fault = *self.random.choice(&self.plan.faults).expect("not empty");
        let client = self.random.usize(0..self.clients.len());
        let connection = self.clients[client].connection;
        let after = |world: &mut Self, most: u64| milliseconds(&mut world.random, 0..most);
        self.log(|| format!("FAULT {fault:?} {client} {connection:?}"));
        self.tally.faults += 1;
        self.disturb(self.now);
        match fault {
            Fault::Unreachable => self.unreachable_until = self.now + after(self, 20_000),
            Fault::Hang => self.hanging_until = self.now + after(self, 5_000),
            Fault::Slow => self.slow_until = self.now + after(self, 5_000),
            Fault::Forget => self.forget(),
            Fault::Violation => {
                let now = self.now;
                self.clients[client].is_offended |= self.clients[client].core.state() == State::Connected;
                if let Some(id) = self.clients[client].core.connection() {
                    self.act(client, |core| core.handle_violation(now, id, "nonsense"));
                }
            }
            Fault::Overflow => self.overflow(connection),
            Fault::Cut | Fault::HalfCut | Fault::Silence | Fault::Freeze => {
                let Some(connection) = connection else { return };
                let (to_client, to_broker) = match fault {
                    Fault::Cut => (true, true),
                    Fault::HalfCut => {
                        let client_knows = self.random.bool();
                        (client_knows, !client_knows)
                    }
                    _ => (false, false),
                };
                match fault {
                    Fault::Freeze => {
                        let until = self.now + after(self, 6_000);
                        self.connections[connection].frozen_until = until;
                        self.disturb(until);
                        self.schedule(until, Turn::Thaw(connection));
                    }
                    Fault::Silence => self.silence(connection),
                    _ => self.sever(connection, [true, true]),
                }
                if to_client {
                    let at = self.now + after(self, 100);
                    self.schedule(at, Turn::Told(connection, Direction::ToClient));
                }
                if to_broker {
                    let at = self.now + after(self, 100);
                    self.schedule(at, Turn::Told(connection, Direction::ToBroker));
                }
            }
        }
    }

    /// In one direction or in both, nothing arrives any more.
    pub fn silence(&mut self, connection: usize) {
        let which = *self.random.choice(&[[true, true], [true, false], [false, true]]).expect("not empty");
        self.sever(connection, which);
    }

    /// Nothing arrives any more, to the client, to the broker; what is on its way is lost.
    pub fn sever(&mut self, connection: usize, [to_client, to_broker]: [bool; 2]) {
        let simulated = &mut self.connections[connection];
        for (pipe, is_severed) in [(&mut simulated.to_client, to_client), (&mut simulated.to_broker, to_broker)] {
            if is_severed {
                pipe.is_severed = true;
                pipe.items.clear();
            }
        }
        // Without pings nobody would ever notice; the operating system does at last.
        if self.plan.broker.ping_period.is_zero() {
            for direction in [Direction::ToClient, Direction::ToBroker] {
                let at = self.now + milliseconds(&mut self.random, 1_000..5_000);
                self.schedule(at, Turn::Told(connection, direction));
            }
        }
    }

    fn forget(&mut self) {
        // Recipients are numbered by that.
        if self.generation >= 15 {
            return;
        }
        self.replace_broker();
        for connection in 0..self.connections.len() {
            let SimulatedConnection { client_is_open, broker_is_open, .. } = &mut self.connections[connection];
            *broker_is_open = false;
            if *client_is_open {
                self.sever(connection, [true, true]);
                let at = self.now + milliseconds(&mut self.random, 0..300);
                self.schedule(at, Turn::Told(connection, Direction::ToClient));
            }
        }
    }
}
