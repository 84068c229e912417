//! A queue of timers, which costs little with very many of them.

use std::collections::BTreeSet;

use antiphon_protocol::time::Moment;

/// All timers of a kind, of any length. A hundred thousand cost about the same as ten.
#[derive(Debug)]
pub(super) struct Timers<K>(BTreeSet<(Moment, K)>);

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Adds `key`, due at `at`.
    pub fn insert(&mut self, at: Moment, key: K) {
        self.0.insert((at, key));
    }

    /// Takes `key` back, which was due at `at`. Nothing happens if it is not there.
    pub fn remove(&mut self, at: Moment, key: K) {
        self.0.remove(&(at, key));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The one that is due next, and when.
    pub fn first(&self) -> Option<(Moment, K)> {
        self.0.first().copied()
    }

    /// Takes out one key that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        if self.first()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, key)| key)
    }
}
