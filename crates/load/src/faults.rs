//! A TCP proxy that delays, freezes, closes and cuts connections, as drawn from a seed or told by a test.

mod carry;
mod connection;
mod frames;
mod settings;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval, sleep};

use crate::lock::lock;
use carry::carry;
use connection::{Allowance, CUT_WITHIN, ProxiedConnection};
pub use settings::{Ending, Faults, Schedule};

/// Carries connections to one address. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    faults: Faults,
    start: Instant,
    random: Mutex<Rng>,
    connections: Mutex<Connections>,
    accepted: AtomicU64,
    cut: AtomicU64,
}

#[derive(Debug, Default)]
struct Connections {
    open: BTreeMap<u64, Arc<ProxiedConnection>>,
    /// Whether new connections are frozen.
    is_frozen: bool,
}

/// A cut at a byte that never passes is made at the latest after this time.
const CUT_PATIENCE: Duration = Duration::from_millis(50);

impl Proxy {
    /// Listens at `listen` and carries all connections to `to`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened at.
    pub async fn start(listen: SocketAddr, to: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            random: Mutex::new(Rng::with_seed(faults.seed)),
            faults,
            start: Instant::now(),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        });
        let task = tokio::spawn(accept(listener, to, shared.clone())).abort_handle();
        Ok(Self { address, shared, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are carried now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.connections().open.len()
    }

    /// Connections that were ever made.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that were cut.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.shared.cut.load(Ordering::Relaxed)
    }

    /// Cuts all connections that are open now, and returns how many that were.
    pub fn cut_all(&self, ending: Ending) -> usize {
        let connections = self.shared.connections();
        connections.open.values().filter(|connection| connection.cut(ending)).count()
    }

    /// Stops forwarding on all connections, new ones included. They stay open.
    pub fn freeze(&self) {
        self.shared.set_frozen(true);
    }

    /// Goes on where [`Self::freeze`] stopped.
    pub fn thaw(&self) {
        self.shared.set_frozen(false);
    }

    /// Cuts connections drawn by lot, at bytes drawn by lot, until the schedule is over.
    pub async fn cut_some(&self, schedule: Schedule) {
        let shared = &self.shared;
        let mut left = schedule.most.unwrap_or(u64::MAX);
        // Some may end by themselves before they are cut.
        while left > 0 {
            let mut cutting = JoinSet::new();
            run(shared, Schedule { most: Some(left), ..schedule }, |connection, random| {
                let (connection, ending) = (connection.clone(), shared.ending(random));
                connection.cut_after(random.u64(..CUT_WITHIN), ending);
                cutting.spawn(async move {
                    sleep(CUT_PATIENCE).await;
                    connection.cut(ending);
                    connection.is_cut()
                });
                while let Some(Ok(is_cut)) = cutting.try_join_next() {
                    left -= u64::from(is_cut);
                }
            })
            .await;
            left -= cutting.join_all().await.into_iter().map(u64::from).sum::<u64>();
        }
    }

    /// Freezes connections drawn by lot, each for so long, until the schedule is over.
    pub async fn freeze_some(&self, schedule: Schedule, duration: Duration) {
        let mut waiting = JoinSet::new();
        run(&self.shared, schedule, |connection, _| {
            let connection = connection.clone();
            connection.set_frozen(true);
            waiting.spawn(async move {
                sleep(duration).await;
                connection.set_frozen(false);
            });
            while waiting.try_join_next().is_some() {}
        })
        .await;
        waiting.join_all().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does something to connections drawn by lot.
async fn run(shared: &Shared, schedule: Schedule, mut act: impl FnMut(&Arc<ProxiedConnection>, &mut Rng)) {
    let mut random = lock(&shared.random).fork();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / schedule.per_second));
    let mut left = schedule.most.unwrap_or(u64::MAX);
    while left > 0 {
        ticks.tick().await;
        let mut connections: Vec<_> =
            shared.connections().open.values().filter(|connection| connection.is_whole()).cloned().collect();
        for _ in 0..schedule.at_once.min(connections.len()) {
            if left == 0 {
                return;
            }
            left -= 1;
            let connection = connections.swap_remove(random.usize(..connections.len()));
            act(&connection, &mut random);
        }
    }
}

impl Shared {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }

    fn set_frozen(&self, is_frozen: bool) {
        let mut connections = self.connections();
        connections.is_frozen = is_frozen;
        for connection in connections.open.values() {
            connection.set_frozen(is_frozen);
        }
    }

    fn ending(&self, random: &mut Rng) -> Ending {
        random.choice(&self.faults.endings).copied().unwrap_or(Ending::Reset)
    }

    fn connection(&self, random: &mut Rng, is_frozen: bool) -> ProxiedConnection {
        let faults = &self.faults;
        let is_spared = self.start.elapsed() < faults.spare;
        let mut drawn = |range: &Option<RangeInclusive<u64>>| match range {
            Some(range) if !is_spared => random.u64(range.clone()),
            _ => u64::MAX,
        };
        let (bytes, frames) = (drawn(&faults.cut_after_bytes), drawn(&faults.cut_after_frames));
        let ending = self.ending(random);
        ProxiedConnection::new(is_frozen, Allowance { bytes, frames, ending })
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, shared: Arc<Shared>) {
    let mut random = lock(&shared.random).fork();
    let mut carried = JoinSet::new();
    for number in 0.. {
        // Nothing to be done about a connection that is gone already, or about too few file descriptors.
        let Ok((near, _)) = listener.accept().await else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = {
            let mut connections = shared.connections();
            let connection = Arc::new(shared.connection(&mut random, connections.is_frozen));
            connections.open.insert(number, connection.clone());
            connection
        };
        let (shared, side) = (shared.clone(), random.bool());
        carried.spawn(async move {
            // Others find only those that carry something.
            let ended = || {
                shared.connections().open.remove(&number);
                connection.end();
            };
            // Nobody is at the other end: the near side is closed, and learns it so.
            let Ok(far) = TcpStream::connect(to).await else { return ended() };
            let count_cut = || {
                ended();
                shared.cut.fetch_add(u64::from(connection.is_cut()), Ordering::Relaxed);
            };
            carry(near, far, side, &connection, &shared.faults, count_cut).await;
        });
        while carried.try_join_next().is_some() {}
    }
}
