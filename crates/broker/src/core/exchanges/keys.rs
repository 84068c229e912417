//! The exchanges that wait for what becomes of a request with a key.

use std::collections::BTreeSet;

use crate::core::per_session::{Numbered, give_back};
use crate::core::repeats::KeyId;

/// Those exchanges, by key.
#[derive(Debug, Default)]
pub(super) struct Keys(Numbered<KeyId, BTreeSet<usize>>);

impl Keys {
    pub fn add(&mut self, key: KeyId, index: usize) {
        self.0.entry(key).or_default().insert(index);
    }

    pub fn remove(&mut self, key: KeyId, index: usize) {
        let Some(waiting) = self.0.get_mut(&key) else { return };
        waiting.remove(&index);
        if waiting.is_empty() {
            self.0.remove(&key);
            give_back(&mut self.0);
        }
    }

    /// One of those that wait for a key, if there are any.
    pub fn first(&self, key: KeyId) -> Option<usize> {
        self.0.get(&key)?.first().copied()
    }
}
