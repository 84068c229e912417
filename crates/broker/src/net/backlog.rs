//! How much waits to be sent to one client, and to all: bounded, in number, bytes and time (rules L-3).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::discarded::Discarded;
use super::outgoing::{Amount, Outgoing};
use super::traffic::Traffic;

/// What waits to be sent to all clients.
pub(super) struct Queues {
    limits: Traffic,
    bytes: AtomicUsize,
    /// What waited, and is not sent any more. It counts no more either.
    pub discarded: Discarded,
}

/// The messages and bytes that were put in for one client and are not sent yet.
pub(super) struct Backlog {
    all: Arc<Queues>,
    amount: Amount,
    /// There is more than its share.
    burst: Option<Burst>,
    /// Whoever has the clock calls [`Self::time_is_over`].
    is_watched: bool,
}

/// More is waiting than may wait for long.
#[derive(Clone, Copy, Debug)]
struct Burst {
    /// When the client had last shown that it reads.
    since: Instant,
    /// Bytes that it has taken since then.
    taken: usize,
}

/// The client reads more slowly than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Queues {
    /// Nothing waits yet.
    pub fn new(limits: Traffic) -> Arc<Self> {
        Arc::new(Self { limits, bytes: AtomicUsize::new(0), discarded: Discarded::default() })
    }

    /// Bytes of memory that all of it takes, about.
    pub fn memory(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How much of it is too much.
    pub fn excess(&self) -> usize {
        self.memory().saturating_sub(self.limits.max_queued_bytes)
    }

    /// An eighth of what there may be: once there is too much, so much more has to go, so that it seldom happens.
    pub fn relief(&self) -> usize {
        self.limits.max_queued_bytes / 8
    }
}

impl Backlog {
    pub fn new(all: Arc<Queues>) -> Self {
        Self { all, amount: Amount::default(), burst: None, is_watched: false }
    }

    /// Bytes of memory that it takes, about.
    pub fn memory(&self) -> usize {
        self.amount.memory()
    }

    /// There is more; `now` is the time. Returns when to call [`Self::time_is_over`], unless that is known.
    pub fn add(&mut self, now: Instant, more: Amount) -> Result<Option<Instant>, Overflow> {
        self.set(Amount { messages: self.amount.messages + more.messages, bytes: self.amount.bytes + more.bytes });
        if self.is_within_share() {
            return Ok(None);
        }
        let limits = &self.all.limits;
        // A single message is always taken.
        let fits = self.amount.is_within(limits.queue_burst_messages, limits.queue_burst_bytes);
        if !fits && self.amount.messages > 1 {
            return Err(Overflow);
        }
        self.burst.get_or_insert(Burst { since: now, taken: 0 });
        let due = self.judge(now)?;
        let is_watched = std::mem::replace(&mut self.is_watched, true);
        Ok(due.filter(|_| !is_watched))
    }

    /// The client has taken so many bytes, and with them the messages whose last they were.
    pub fn remove(&mut self, taken: usize, sent: Amount) {
        self.set(Amount {
            messages: self.amount.messages.saturating_sub(sent.messages),
            bytes: self.amount.bytes.saturating_sub(sent.bytes),
        });
        if self.is_within_share() {
            self.burst = None;
        } else if let Some(burst) = &mut self.burst {
            burst.taken += taken;
        }
    }

    /// Messages are not sent any more.
    pub fn discard(&self, queue: &mut VecDeque<Outgoing>) {
        self.all.discarded.add(std::mem::take(queue));
    }

    /// Only so much of it is left.
    pub fn cut(&mut self, left: Amount) {
        self.set(left);
        self.burst = None;
    }

    /// The time is over that was asked for. Returns when to come back, if a burst is waiting.
    pub fn time_is_over(&mut self, now: Instant) -> Result<Option<Instant>, Overflow> {
        let due = self.judge(now);
        self.is_watched = matches!(due, Ok(Some(_)));
        due
    }

    /// When the client has to have caught up, or to have taken enough to be given time again.
    fn judge(&mut self, now: Instant) -> Result<Option<Instant>, Overflow> {
        let limits = &self.all.limits;
        let Some(burst) = &mut self.burst else { return Ok(None) };
        if now >= burst.since + limits.queue_patience {
            if burst.taken as f64 / limits.queue_patience.as_secs_f64() < limits.queue_rate as f64 {
                return Err(Overflow);
            }
            *burst = Burst { since: now, taken: 0 };
        }
        Ok(Some(burst.since + limits.queue_patience))
    }

    fn is_within_share(&self) -> bool {
        self.amount.is_within(self.all.limits.queue_messages, self.all.limits.queue_bytes)
    }

    fn set(&mut self, amount: Amount) {
        let (before, after) = (self.amount.memory(), amount.memory());
        if after >= before {
            self.all.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.all.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
        self.amount = amount;
    }
}

impl Drop for Backlog {
    fn drop(&mut self) {
        self.set(Amount::default());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::outgoing::OVERHEAD;
    use super::*;

    const LIMITS: fn() -> Traffic = Traffic::default;

    fn backlog() -> Backlog {
        Backlog::new(Queues::new(LIMITS()))
    }

    fn message(bytes: usize) -> Amount {
        Amount { messages: 1, bytes }
    }

    /// Adds messages of `length` bytes until one is too many.
    fn fill(backlog: &mut Backlog, now: Instant, length: usize) -> usize {
        (0..).take_while(|_| backlog.add(now, message(length)).is_ok()).count()
    }

    /// L-3.
    #[test]
    fn a_burst_is_taken_up_to_a_bound_of_bytes_and_of_messages() {
        let now = Instant::now();
        assert_eq!(fill(&mut backlog(), now, 1 << 20), LIMITS().queue_burst_bytes >> 20);
        assert_eq!(fill(&mut backlog(), now, 0), LIMITS().queue_burst_messages);
        assert!(backlog().add(now, message(LIMITS().queue_burst_bytes + 1)).is_ok());
    }

    /// L-3.
    #[test]
    fn who_does_not_catch_up_in_time_reads_too_slowly() {
        let mut backlog = backlog();
        let start = Instant::now();
        let push =
            |backlog: &mut Backlog, after: u64| backlog.add(start + Duration::from_secs(after), message(1 << 20));
        for _ in 0..LIMITS().queue_bytes >> 20 {
            assert_eq!(push(&mut backlog, 0), Ok(None));
        }
        assert_eq!(push(&mut backlog, 60), Ok(Some(start + Duration::from_secs(65))), "the burst begins here");
        assert_eq!(push(&mut backlog, 64), Ok(None));
        // It catches up, and the next burst has time of its own.
        backlog.remove(backlog.amount.bytes, backlog.amount);
        assert_eq!(backlog.time_is_over(start + Duration::from_secs(65)), Ok(None));
        for _ in 0..LIMITS().queue_bytes >> 20 {
            assert_eq!(push(&mut backlog, 70), Ok(None));
        }
        assert_eq!(push(&mut backlog, 70), Ok(Some(start + Duration::from_secs(75))));
        assert_eq!(push(&mut backlog, 74), Ok(None));
        assert_eq!(push(&mut backlog, 75), Err(Overflow));
    }

    /// L-3.
    #[test]
    fn who_does_not_catch_up_is_found_by_the_clock_too_and_who_takes_enough_has_time_again() {
        let mut backlog = backlog();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(backlog.add(start, message(64 << 20)), Ok(Some(at(5))));
        backlog.remove(5 * LIMITS().queue_rate, Amount::default());
        assert_eq!(backlog.time_is_over(at(5)), Ok(Some(at(10))));
        backlog.remove(5 * LIMITS().queue_rate - 1, Amount::default());
        assert_eq!(backlog.time_is_over(at(9)), Ok(Some(at(10))), "too early does no harm");
        assert_eq!(backlog.time_is_over(at(10)), Err(Overflow));
    }

    #[test]
    fn the_sum_over_all_is_that_of_each() {
        let queues = Queues::new(LIMITS());
        let now = Instant::now();
        let mut backlogs: Vec<_> = (0..3).map(|_| Backlog::new(queues.clone())).collect();
        for backlog in &mut backlogs {
            backlog.add(now, Amount { messages: 2, bytes: 100 }).expect("it is little");
        }
        assert_eq!(queues.memory(), 3 * (100 + 2 * OVERHEAD));
        backlogs[0].remove(60, message(50));
        backlogs[1].cut(message(10));
        backlogs.pop();
        assert_eq!(queues.memory(), 60 + 2 * OVERHEAD);
        drop(backlogs);
        assert_eq!(queues.memory(), 0);
    }
}
