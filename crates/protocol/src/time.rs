//! Time as a parameter, and a queue of deadlines.

use std::collections::VecDeque;
use std::ops::Add;
use std::time::Duration;

use crate::conversation::search;

/// A point in time: microseconds since a start that whoever calls us chooses and keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Time from `earlier` to here; nothing if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates, so that "in a very long time" is a moment as well.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// What is due when. One queue serves many timers, so that whoever keeps it needs a single real one.
///
/// Sorted by time. Best kept for timers of about the same length: new ones then come last and are taken out near either
/// end, where a deque is fast; anywhere else, at most half of the entries move.
#[derive(Debug)]
pub struct Deadlines<K> {
    queue: VecDeque<(Moment, K)>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds `key`, due at `at`.
    pub fn insert(&mut self, at: Moment, key: K) {
        if let Err(index) = self.find(at, key) {
            self.queue.insert(index, (at, key));
        }
    }

    /// Takes `key` back, which was due at `at`. Nothing happens if it is not there.
    pub fn remove(&mut self, at: Moment, key: K) {
        if let Ok(index) = self.find(at, key) {
            self.queue.remove(index);
        }
    }

    fn find(&self, at: Moment, key: K) -> Result<usize, usize> {
        search(self.queue.len(), |index| self.queue[index].cmp(&(at, key)))
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Moment> {
        self.queue.front().map(|(at, _)| *at)
    }

    /// Takes out one key that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_front().map(|(_, key)| key)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_early() {
        let mut deadlines = Deadlines::default();
        deadlines.insert(Moment(20), 'b');
        deadlines.insert(Moment(10), 'a');
        assert_eq!(deadlines.pop_due(Moment(9)), None);
        assert_eq!(deadlines.pop_due(Moment(10)), Some('a'));
        assert_eq!(deadlines.pop_due(Moment(19)), None);
        deadlines.remove(Moment(20), 'b');
        assert_eq!(deadlines.pop_due(Moment(30)), None);
    }

    #[test]
    fn a_delay_beyond_the_end_of_time_is_the_end_of_time() {
        assert_eq!(Moment(1) + Duration::MAX, Moment(u64::MAX));
    }
}
