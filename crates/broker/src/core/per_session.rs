//! Keys of sessions, and tables with one entry for each session or each connection.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};

use super::ConnectionId;

/// Names a session inside this broker. No other session ever has the same, and they sort as they were opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey {
    /// The second half of its session ID, which is never used again.
    pub number: u64,
    /// Where it is in every table; used again when the session is over.
    pub place: usize,
}

/// Something for each session, found by its place in the table: a message looks at several of these tables, and nothing
/// is hashed for that.
#[derive(Debug)]
pub(super) struct PerSession<T>(Vec<Option<(u64, T)>>);

/// Sessions for which there is always room in a table. What more of them took is given back when they have left.
const ROOM: usize = 256;

/// Gives back the room that is left in a map after many have gone, not more often than they came.
pub(crate) fn give_back<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if map.capacity() > ROOM && map.len() < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}

impl<T> Default for PerSession<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> PerSession<T> {
    /// What there is for a session; nothing for one whose place another session has.
    pub fn get(&self, key: SessionKey) -> Option<&T> {
        match self.0.get(key.place) {
            Some(Some((number, value))) if *number == key.number => Some(value),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut T> {
        match self.0.get_mut(key.place) {
            Some(Some((number, value))) if *number == key.number => Some(value),
            _ => None,
        }
    }

    /// The same, made if there is nothing yet.
    pub fn get_or_default(&mut self, key: SessionKey) -> &mut T
    where
        T: Default,
    {
        self.get_or_insert_with(key, T::default)
    }

    /// The same, made by `new`.
    pub fn get_or_insert_with(&mut self, key: SessionKey, new: impl FnOnce() -> T) -> &mut T {
        if self.0.len() <= key.place {
            self.0.resize_with(key.place + 1, || None);
        }
        let at = &mut self.0[key.place];
        if at.as_ref().is_none_or(|(number, _)| *number != key.number) {
            *at = None;
        }
        &mut at.get_or_insert_with(|| (key.number, new())).1
    }

    /// Takes out what there is for a session. The room of many that have left is given back.
    pub fn remove(&mut self, key: SessionKey) -> Option<T> {
        let value = self.0.get_mut(key.place)?.take_if(|(number, _)| *number == key.number).map(|(_, value)| value);
        while self.0.pop_if(|last| last.is_none()).is_some() {}
        if self.0.capacity() > ROOM && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(2 * self.0.len());
        }
        value
    }

    /// What there is for any session.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten().map(|(_, value)| value)
    }
}

/// A map by numbers that count up. Nobody outside chooses them, so hashing them may be cheap.
pub(super) type Numbered<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// A map by connections.
pub(crate) type ByConnection<T> = Numbered<ConnectionId, T>;

/// Spreads numbers that count up (Fibonacci hashing).
#[derive(Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_for_a_session_is_not_there_for_the_next_one_at_its_place() {
        let [first, other, next] = [(1, 0), (2, 1), (3, 0)].map(|(number, place)| SessionKey { number, place });
        let mut table = PerSession::default();
        *table.get_or_default(first) = 'a';
        *table.get_or_default(other) = 'b';
        assert_eq!((table.get(first), table.get(other), table.get(next)), (Some(&'a'), Some(&'b'), None));
        assert!(table.remove(next).is_none() && table.get_mut(next).is_none());
        assert_eq!(*table.get_or_default(next), char::default());
        assert_eq!((table.remove(first), table.get(first)), (None, None));
        assert_eq!(table.values().count(), 2);
        assert_eq!(table.remove(next), Some(char::default()));
        assert_eq!(table.values().collect::<String>(), "b");
    }

    #[test]
    fn the_room_of_many_sessions_is_given_back_when_they_have_left() {
        let keys = || (0..10_000).map(|place| SessionKey { number: place as u64, place });
        let (mut table, mut map) = (PerSession::default(), HashMap::new());
        for key in keys() {
            *table.get_or_default(key) = 'a';
            map.insert(key, 'a');
        }
        for key in keys().skip(10) {
            table.remove(key);
            map.remove(&key);
            give_back(&mut map);
        }
        assert_eq!((table.values().count(), map.len()), (10, 10));
        assert!(table.0.capacity() <= ROOM && map.capacity() <= 2 * ROOM);
    }
}
