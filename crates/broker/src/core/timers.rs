//! A queue of timers, which costs little with very many of them, and next to nothing with few.

use std::collections::{BTreeSet, VecDeque};

use antiphon_protocol::time::Moment;

/// All timers of a kind, of any length. A hundred thousand cost about the same as a hundred.
///
/// Most are set for later than those before, and are taken back before they are due: in a short sorted list that is done in
/// place. So that is where they are, until they become too many; the tree then has all of them, until none is left.
#[derive(Debug)]
pub(super) struct Timers<K> {
    few: VecDeque<(Moment, K)>,
    many: BTreeSet<(Moment, K)>,
}

/// Most timers in the list.
const FEW: usize = 32;

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { few: VecDeque::new(), many: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Adds `key`, due at `at`.
    pub fn insert(&mut self, at: Moment, key: K) {
        let timer = (at, key);
        if !self.many.is_empty() {
            self.many.insert(timer);
        } else if self.few.len() >= FEW {
            self.many.extend(self.few.drain(..));
            self.many.insert(timer);
        } else if self.few.back().is_none_or(|last| *last < timer) {
            self.few.push_back(timer);
        } else if let Err(place) = self.few.binary_search(&timer) {
            self.few.insert(place, timer);
        }
    }

    /// Takes `key` back, which was due at `at`. Nothing happens if it is not there.
    pub fn remove(&mut self, at: Moment, key: K) {
        let timer = (at, key);
        if !self.many.is_empty() {
            self.many.remove(&timer);
        } else if self.few.front() == Some(&timer) {
            self.few.pop_front();
        } else if let Ok(place) = self.few.binary_search(&timer) {
            self.few.remove(place);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.few.len() + self.many.len()
    }

    /// The one that is due next, and when.
    pub fn first(&self) -> Option<(Moment, K)> {
        self.few.front().or_else(|| self.many.first()).copied()
    }

    /// Takes out one key that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<K> {
        if self.first()?.0 > now {
            return None;
        }
        self.few.pop_front().or_else(|| self.many.pop_first()).map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn few_or_many_they_are_due_in_order(steps in prop::collection::vec((0..60_u64, 0..8_u8, 0..5_u8), 0..600)) {
            let (mut timers, mut model) = (Timers::default(), BTreeSet::new());
            for (at, key, step) in steps {
                match step {
                    0..=2 => {
                        timers.insert(Moment(at), key);
                        model.insert((Moment(at), key));
                    }
                    3 => {
                        timers.remove(Moment(at), key);
                        model.remove(&(Moment(at), key));
                    }
                    _ => {
                        while let Some(key) = timers.pop_due(Moment(at)) {
                            prop_assert_eq!(Some(key), model.pop_first().map(|(_, key)| key));
                        }
                        prop_assert!(model.first().is_none_or(|(due, _)| *due > Moment(at)));
                    }
                }
                prop_assert_eq!((timers.first(), timers.len()), (model.first().copied(), model.len()));
            }
        }
    }
}
