//! A TCP proxy that does to connections what networks do to them: it delays, freezes, closes and cuts them. Which ones
//! and where is drawn from a seed, or said by a test.

mod frames;

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

use frames::Frames;

/// What happens to every connection of a [`Proxy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// From it everything is drawn that is left to chance.
    pub seed: u64,
    /// How long all bytes take in each direction.
    pub delay: Duration,
    /// Most bytes a second in each direction of each connection.
    pub rate: Option<NonZeroU64>,
    /// Each connection is cut after so many bytes in both directions together; drawn for each.
    pub cut_after_bytes: Option<RangeInclusive<u64>>,
    /// Each connection is cut after so many WebSocket frames in both directions together; drawn for each.
    pub cut_after_frames: Option<RangeInclusive<u64>>,
    /// How connections are cut: in one of these ways, each as likely as it occurs here. Not empty.
    pub endings: Vec<Ending>,
    /// Connections that are made in this time after the start are not cut by the two above.
    pub spare: Duration,
}

impl Default for Faults {
    /// None; what is cut is reset.
    fn default() -> Self {
        Self {
            seed: 0,
            delay: Duration::ZERO,
            rate: None,
            cut_after_bytes: None,
            cut_after_frames: None,
            endings: vec![Ending::Reset],
            spare: Duration::ZERO,
        }
    }
}

/// How a connection is cut. The near side is whoever connected to the proxy, the far side is what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides are reset. What was on its way is lost.
    Reset,
    /// Both sides are closed in good order.
    Close,
    /// One side, drawn by lot, is told that nothing more comes; the other direction goes on until it ends by itself.
    HalfClose,
    /// The near side is reset; the far side is left with a connection on which nothing happens any more.
    HalfOpen,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reset, Self::Close, Self::HalfClose, Self::HalfOpen];

    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::HalfClose => "half-close",
            Self::HalfOpen => "half-open",
        }
    }
}

impl FromStr for Ending {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|ending| ending.as_str() == text)
            .ok_or("write reset, close, half-close or half-open")
    }
}

/// A series of faults on connections that are drawn by lot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Series {
    /// How often; more than 0.
    pub per_second: f64,
    /// How many connections each time.
    pub at_once: usize,
    /// Ends after so many connections; none for never.
    pub most: Option<u64>,
}

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
    lines: Mutex<Lines>,
    accepted: AtomicU64,
    cut: AtomicU64,
}

#[derive(Debug, Default)]
struct Lines {
    open: BTreeMap<u64, Arc<Line>>,
    /// Whether new connections are frozen.
    is_frozen: bool,
}

/// One connection that is carried and not cut yet.
#[derive(Debug)]
struct Line {
    is_frozen: watch::Sender<bool>,
    fate: watch::Sender<Fate>,
    /// Whether it is cut, and one direction goes on.
    is_spared: watch::Sender<bool>,
    left: Mutex<Left>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    /// Both sides have ended it, or one has broken it.
    Over,
    Cut(Ending),
}

/// What may still pass before the line is cut; more than there ever is if it is not to be cut.
#[derive(Debug)]
struct Left {
    bytes: u64,
    frames: u64,
    ending: Ending,
}

/// A cut at a byte that never passes is made at the latest after this time.
const CUT_PATIENCE: Duration = Duration::from_millis(50);

/// Cuts that are left to chance are made within so many bytes.
const CUT_WITHIN: u64 = 1024;

/// How long a side that does not notice the end of a connection is left with it.
const REMAINS: Duration = Duration::from_secs(60);

/// Bytes read at a time.
const CHUNK: usize = 8 << 10;

/// Chunks on their way in one direction.
const MAX_CHUNKS: usize = 256;

/// How often a second a connection with a limited rate gets its share.
const SHARES_PER_SECOND: u64 = 50;

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
            lines: Mutex::default(),
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
        self.shared.lines().open.len()
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
        let lines = self.shared.lines();
        lines.open.values().filter(|line| line.cut(ending)).count()
    }

    /// Stops forwarding on all connections, new ones included. They stay open.
    pub fn freeze(&self) {
        self.shared.set_frozen(true);
    }

    /// Goes on where [`Self::freeze`] stopped.
    pub fn thaw(&self) {
        self.shared.set_frozen(false);
    }

    /// Cuts connections drawn by lot, at bytes drawn by lot, until the series is over.
    pub async fn cut_some(&self, series: Series) {
        let shared = &self.shared;
        let mut left = series.most.unwrap_or(u64::MAX);
        // Some may end by themselves before they are cut.
        while left > 0 {
            let mut cutting = JoinSet::new();
            run(shared, Series { most: Some(left), ..series }, |line, random| {
                let (line, ending) = (line.clone(), shared.ending(random));
                line.cut_after(random.u64(..CUT_WITHIN), ending);
                cutting.spawn(async move {
                    sleep(CUT_PATIENCE).await;
                    line.cut(ending);
                    line.is_cut()
                });
                while let Some(Ok(is_cut)) = cutting.try_join_next() {
                    left -= u64::from(is_cut);
                }
            })
            .await;
            left -= cutting.join_all().await.into_iter().map(u64::from).sum::<u64>();
        }
    }

    /// Freezes connections drawn by lot, each for so long, until the series is over.
    pub async fn freeze_some(&self, series: Series, duration: Duration) {
        let mut waiting = JoinSet::new();
        run(&self.shared, series, |line, _| {
            let line = line.clone();
            line.is_frozen.send_replace(true);
            waiting.spawn(async move {
                sleep(duration).await;
                line.is_frozen.send_replace(false);
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
async fn run(shared: &Shared, series: Series, mut act: impl FnMut(&Arc<Line>, &mut Rng)) {
    let mut random = lock(&shared.random).fork();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / series.per_second));
    let mut left = series.most.unwrap_or(u64::MAX);
    while left > 0 {
        ticks.tick().await;
        let mut lines: Vec<_> = shared.lines().open.values().filter(|line| line.is_whole()).cloned().collect();
        for _ in 0..series.at_once.min(lines.len()) {
            if left == 0 {
                return;
            }
            left -= 1;
            let line = lines.swap_remove(random.usize(..lines.len()));
            act(&line, &mut random);
        }
    }
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        lock(&self.lines)
    }

    fn set_frozen(&self, is_frozen: bool) {
        let mut lines = self.lines();
        lines.is_frozen = is_frozen;
        for line in lines.open.values() {
            line.is_frozen.send_replace(is_frozen);
        }
    }

    fn ending(&self, random: &mut Rng) -> Ending {
        random.choice(&self.faults.endings).copied().unwrap_or(Ending::Reset)
    }

    fn line(&self, random: &mut Rng, is_frozen: bool) -> Line {
        let faults = &self.faults;
        let is_spared = self.start.elapsed() < faults.spare;
        let mut drawn = |range: &Option<RangeInclusive<u64>>| match range {
            Some(range) if !is_spared => random.u64(range.clone()),
            _ => u64::MAX,
        };
        let (bytes, frames) = (drawn(&faults.cut_after_bytes), drawn(&faults.cut_after_frames));
        let ending = self.ending(random);
        Line {
            is_frozen: watch::Sender::new(is_frozen),
            fate: watch::Sender::new(Fate::Open),
            is_spared: watch::Sender::new(false),
            left: Mutex::new(Left { bytes, frames, ending }),
        }
    }
}

impl Line {
    /// Cuts it now; false if it has been cut before, or is over.
    fn cut(&self, ending: Ending) -> bool {
        self.set_fate(Fate::Cut(ending))
    }

    /// What has ended stays as it is.
    fn set_fate(&self, new: Fate) -> bool {
        self.fate.send_if_modified(|fate| {
            let is_open = *fate == Fate::Open;
            if is_open {
                *fate = new;
            }
            is_open
        })
    }

    fn is_cut(&self) -> bool {
        matches!(*self.fate.borrow(), Fate::Cut(_))
    }

    /// Cuts it when so many bytes have passed.
    fn cut_after(&self, bytes: u64, ending: Ending) {
        let mut left = lock(&self.left);
        left.ending = ending;
        left.bytes = left.bytes.min(bytes);
    }

    /// Lets everything pass that is left and still comes.
    fn spare(&self) {
        let mut left = lock(&self.left);
        (left.bytes, left.frames) = (u64::MAX, u64::MAX);
        self.is_spared.send_replace(true);
    }

    async fn spared(&self) {
        // The sender is here.
        let _ = self.is_spared.subscribe().wait_for(|is_spared| *is_spared).await;
    }

    /// Whether nothing is known yet that will cut it soon.
    fn is_whole(&self) -> bool {
        *self.fate.borrow() == Fate::Open && lock(&self.left).bytes > CUT_WITHIN
    }

    async fn thawed(&self) {
        // The sender is here.
        let _ = self.is_frozen.subscribe().wait_for(|is_frozen| !is_frozen).await;
    }

    /// Waits until it is cut.
    async fn is_to_be_cut(&self) -> Ending {
        let mut fate = self.fate.subscribe();
        match fate.wait_for(|fate| matches!(fate, Fate::Cut(_))).await.map(|fate| *fate) {
            Ok(Fate::Cut(ending)) => ending,
            _ => pending().await,
        }
    }

    /// How much of a chunk may pass.
    fn allow(&self, chunk: &[u8], frames: &mut Frames) -> usize {
        let left = &mut *lock(&self.left);
        let most = chunk.len().min(usize::try_from(left.bytes).unwrap_or(usize::MAX));
        let allowed = frames.take(&chunk[..most], &mut left.frames);
        left.bytes -= allowed as u64;
        allowed
    }

    /// Cuts it if nothing more may pass.
    fn cut_if_due(&self) {
        let left = lock(&self.left);
        if left.bytes == 0 || left.frames == 0 {
            self.cut(left.ending);
        }
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, shared: Arc<Shared>) {
    let mut random = lock(&shared.random).fork();
    let mut carried = JoinSet::new();
    for number in 0.. {
        // Nothing to be done about a connection that is gone already, or about too few file descriptors.
        let Ok((near, _)) = listener.accept().await else { continue };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        let line = {
            let mut lines = shared.lines();
            let line = Arc::new(shared.line(&mut random, lines.is_frozen));
            lines.open.insert(number, line.clone());
            line
        };
        let (shared, side) = (shared.clone(), random.bool());
        carried.spawn(async move {
            // Nobody is at the other end: the near side is closed, and learns it so.
            if let Ok(far) = TcpStream::connect(to).await {
                carry(near, far, side, number, &line, &shared).await;
            }
            line.set_fate(Fate::Over);
            shared.lines().open.remove(&number);
        });
        while carried.try_join_next().is_some() {}
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, side: bool, number: u64, line: &Line, shared: &Shared) {
    // Proxies that wait for more would be a fault of their own.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ending = {
        let (near_read, mut near_write) = near.split();
        let (far_read, mut far_write) = far.split();
        let mut there = Box::pin(pump(near_read, &mut far_write, line, &shared.faults).fuse());
        let mut back = Box::pin(pump(far_read, &mut near_write, line, &shared.faults).fuse());
        let ending = tokio::select! {
            // A cut that is due goes first.
            biased;
            ending = line.is_to_be_cut() => Some(ending),
            // Whoever broke it has broken both.
            ended = async { tokio::try_join!(&mut there, &mut back) } => ended.is_err().then_some(Ending::Reset),
        };
        // Others find only lines that carry something.
        shared.lines().open.remove(&number);
        line.set_fate(Fate::Over);
        if line.is_cut() {
            shared.cut.fetch_add(1, Ordering::Relaxed);
        }
        if ending == Some(Ending::HalfClose) {
            line.spare();
            // Whatever becomes of it, it is over then.
            if side {
                drop(there);
                let _ = (far_write.shutdown().await, timeout(REMAINS, back).await);
            } else {
                drop(back);
                let _ = (near_write.shutdown().await, timeout(REMAINS, there).await);
            }
        }
        ending
    };
    match ending {
        None | Some(Ending::Close | Ending::HalfClose) => {}
        Some(Ending::Reset) => {
            // If it is gone, that is what was wanted.
            let _ = (near.set_zero_linger(), far.set_zero_linger());
        }
        Some(Ending::HalfOpen) => {
            let _ = near.set_zero_linger();
            drop(near);
            let _ = timeout(REMAINS, tokio::io::copy(&mut far, &mut tokio::io::sink())).await;
        }
    }
}

/// Carries the bytes of one direction, to their end.
async fn pump(mut from: ReadHalf<'_>, to: &mut WriteHalf<'_>, line: &Line, faults: &Faults) -> io::Result<()> {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(MAX_CHUNKS);
    let share = faults.rate.map(|rate| usize::try_from(rate.get() / SHARES_PER_SECOND).unwrap_or(CHUNK).max(1));
    let read = async move {
        let mut buffer = vec![0; share.unwrap_or(CHUNK).min(CHUNK)];
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            let chunk = buffer[..length].to_vec();
            // The other half ends only together with this one.
            let _ = sender.send((Instant::now() + faults.delay, chunk)).await;
        }
    };
    let write = async {
        let mut frames = Frames::default();
        let mut is_free = Instant::now();
        while let Some((due, chunk)) = chunks.recv().await {
            let due = due.max(is_free);
            // Timers count in milliseconds: what is due would wait for the next one.
            if due > Instant::now() {
                sleep_until(due).await;
            }
            line.thawed().await;
            let allowed = line.allow(&chunk, &mut frames);
            to.write_all(&chunk[..allowed]).await?;
            line.cut_if_due();
            if allowed < chunk.len() {
                line.spared().await;
                to.write_all(&chunk[allowed..]).await?;
            }
            if let Some(rate) = faults.rate {
                let takes = Duration::from_secs_f64(chunk.len() as f64 / rate.get() as f64);
                is_free = is_free.max(Instant::now()) + takes;
            }
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(|_| ())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
