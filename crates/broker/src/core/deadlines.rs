//! What is due when, among very many timers of different lengths.

use std::collections::BTreeSet;

use antiphon_protocol::time::Moment;

/// One queue for all timers of a kind. Like [`antiphon_protocol::time::Deadlines`], which is smaller and made for a
/// client's few timers of about the same length; here a hundred thousand of any length cost about the same as ten.
#[derive(Debug)]
pub(super) struct Deadlines<K>(BTreeSet<(Moment, K)>);

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Deadlines<K> {
    /// Adds `key`, due at `at`.
    pub fn insert(&mut self, at: Moment, key: K) {
        self.0.insert((at, key));
    }

    /// Takes `key` back, which was due at `at`. Nothing happens if it is not there.
    pub fn remove(&mut self, at: Moment, key: K) {
        self.0.remove(&(at, key));
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Moment> {
        self.0.first().map(|(at, _)| *at)
    }

    /// Takes out one key that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, key)| key)
    }
}
