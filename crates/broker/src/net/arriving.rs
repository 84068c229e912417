//! Messages of which a part has arrived: bounded in bytes, over all connections, and in time (rules L-7).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use slab::Slab;
use tokio::time::{Instant, Sleep, sleep_until};

use super::outbox::Outbox;
use super::traffic::Traffic;

/// The close code of a server that has no room at the moment (registered with IANA).
const TRY_AGAIN_LATER: u16 = 1013;
const CROWDED: &str = "crowded: too many bytes of unfinished messages";

/// What has arrived in part, of all connections.
pub(super) struct Arriving {
    limits: Traffic,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    open: Slab<Part>,
    bytes: usize,
}

/// What has arrived in part on one connection.
struct Part {
    bytes: usize,
    /// When something of it arrived last.
    last: Instant,
    outbox: Arc<Outbox>,
}

/// One connection's share, until it is dropped.
pub(super) struct Share {
    all: Arc<Arriving>,
    place: Option<usize>,
    clock: Option<Box<Clock>>,
}

/// Runs while a connection waits for the rest of a message.
struct Clock {
    /// Of which message.
    number: u64,
    /// When it was seen last that enough of it comes.
    since: Instant,
    /// Bytes that had arrived by then.
    arrived: usize,
    timer: Pin<Box<Sleep>>,
}

impl Arriving {
    /// Nothing has.
    pub fn new(limits: Traffic) -> Arc<Self> {
        Arc::new(Self { limits, parts: Mutex::default() })
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // Nothing below panics.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that have to arrive within the patience.
    fn least(&self) -> f64 {
        self.limits.message_rate as f64 * self.limits.message_patience.as_secs_f64()
    }
}

impl Parts {
    /// What takes most room and has waited longest for more of it counts no more.
    fn give_up_worst(&mut self, now: Instant) -> Option<Arc<Outbox>> {
        let waited = |part: &Part| 1.0 + now.saturating_duration_since(part.last).as_secs_f64() * 1000.0;
        let cost = |part: &Part| part.bytes as f64 * waited(part);
        let (_, worst) = self.open.iter_mut().max_by(|(_, a), (_, b)| cost(a).total_cmp(&cost(b)))?;
        self.bytes -= std::mem::take(&mut worst.bytes);
        Some(worst.outbox.clone())
    }
}

impl Share {
    pub fn new(all: Arc<Arriving>) -> Self {
        Self { all, place: None, clock: None }
    }

    /// The connection of `outbox` holds so many bytes now. If that is too much for all together, the connections are closed
    /// that hold most and have waited longest for more.
    pub fn hold(&mut self, bytes: usize, outbox: &Arc<Outbox>) {
        if bytes == 0 {
            return self.let_go();
        }
        let now = Instant::now();
        let mut parts = self.all.lock();
        let new = || Part { bytes: 0, last: now, outbox: outbox.clone() };
        let place = *self.place.get_or_insert_with(|| parts.open.insert(new()));
        let Some(part) = parts.open.get_mut(place) else { return };
        let before = std::mem::replace(&mut part.bytes, bytes);
        part.last = now;
        parts.bytes = parts.bytes + bytes - before;
        let mut given_up = Vec::new();
        while parts.bytes > self.all.limits.max_unfinished_bytes
            && let Some(outbox) = parts.give_up_worst(now)
        {
            given_up.push(outbox);
        }
        drop(parts);
        for outbox in given_up {
            tracing::warn!("closed: {CROWDED}");
            outbox.close(Some(TRY_AGAIN_LATER), CROWDED);
            outbox.flush();
        }
    }

    fn let_go(&mut self) {
        if let Some(place) = self.place.take() {
            let mut parts = self.all.lock();
            if let Some(part) = parts.open.try_remove(place) {
                parts.bytes -= part.bytes;
            }
            if parts.open.is_empty() {
                parts.open = Slab::new();
            }
        }
    }

    /// The connection does not wait for anything.
    pub fn stop_clock(&mut self) {
        self.clock = None;
    }

    /// The connection waits for the rest of message `number`, of which so many bytes have arrived. Ready when it has waited
    /// too long.
    pub fn poll_overdue(&mut self, context: &mut Context<'_>, number: u64, arrived: usize) -> Poll<()> {
        if arrived == 0 {
            self.stop_clock();
            return Poll::Pending;
        }
        let patience = self.all.limits.message_patience;
        let now = Instant::now();
        let clock = self.clock.get_or_insert_with(|| {
            Box::new(Clock { number, since: now, arrived, timer: Box::pin(sleep_until(now + patience)) })
        });
        if clock.number != number {
            (clock.number, clock.since, clock.arrived) = (number, now, arrived);
        }
        loop {
            ready!(clock.timer.as_mut().poll(context));
            // Another message may have begun since it was set.
            let now = Instant::now();
            if now >= clock.since + patience {
                if (arrived.saturating_sub(clock.arrived) as f64) < self.all.least() {
                    return Poll::Ready(());
                }
                (clock.since, clock.arrived) = (now, arrived);
            }
            clock.timer.as_mut().reset(clock.since + patience);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.let_go();
    }
}
