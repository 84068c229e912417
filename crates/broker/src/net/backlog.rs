//! How much waits to be sent to one client: bounded, in number and bytes (rules L-3).

use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// What may wait to be sent to one client for long. More is a burst, which takes its time; a client that has not caught
/// up within [`BURST_PATIENCE`] reads too slowly.
const LASTING: Amount = Amount { messages: 12_000, bytes: 10 << 20 };
/// What may wait to be sent to one client at any time.
const BURST: Amount = Amount { messages: 120_000, bytes: 128 << 20 };
/// How long more than [`LASTING`] may wait.
const BURST_PATIENCE: Duration = Duration::from_secs(5);

/// A number of messages, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub messages: usize,
    pub bytes: usize,
}

/// The messages and bytes that were put in and are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    amount: Amount,
    /// Since when more than [`LASTING`] has been waiting.
    burst_since: Option<Instant>,
}

/// The client reads more slowly than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Amount {
    fn is_within(self, limit: Self) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}

impl Backlog {
    /// There is more; `now` is the time.
    pub fn add(&mut self, now: Instant, more: Amount) -> Result<(), Overflow> {
        self.amount += more;
        if self.amount.is_within(LASTING) {
            self.burst_since = None;
            return Ok(());
        }
        let since = *self.burst_since.get_or_insert(now);
        // A single message is always taken.
        let fits = self.amount.is_within(BURST) || self.amount.messages == 1;
        if fits && now.duration_since(since) <= BURST_PATIENCE { Ok(()) } else { Err(Overflow) }
    }

    /// So much of it was sent.
    pub fn remove(&mut self, sent: Amount) {
        self.amount.messages -= sent.messages;
        self.amount.bytes -= sent.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(fill(&mut Backlog::default(), now, 1 << 20), BURST.bytes >> 20);
        assert_eq!(fill(&mut Backlog::default(), now, 0), BURST.messages);
        assert_eq!(Backlog::default().add(now, message(BURST.bytes + 1)), Ok(()));
    }

    /// L-3.
    #[test]
    fn who_does_not_catch_up_in_time_reads_too_slowly() {
        let mut backlog = Backlog::default();
        let start = Instant::now();
        let push = |backlog: &mut Backlog, after: Duration| backlog.add(start + after, message(1 << 20));
        for _ in 0..LASTING.bytes >> 20 {
            assert_eq!(push(&mut backlog, Duration::ZERO), Ok(()));
        }
        assert_eq!(push(&mut backlog, Duration::from_secs(60)), Ok(()), "the burst begins here");
        assert_eq!(push(&mut backlog, Duration::from_secs(64)), Ok(()));
        // It catches up, and the next burst has time of its own.
        backlog.remove(backlog.amount);
        for _ in 0..=LASTING.bytes >> 20 {
            assert_eq!(push(&mut backlog, Duration::from_secs(70)), Ok(()));
        }
        assert_eq!(push(&mut backlog, Duration::from_secs(75)), Ok(()));
        assert_eq!(push(&mut backlog, Duration::from_secs(76)), Err(Overflow));
    }
}
