//! A map from numbers that are given out counting up, for everything that is named by such a number.

use std::collections::VecDeque;

/// Entries by number, in the order of the numbers.
///
/// Adding a number that is higher than all others is cheap, and so is removing. Memory is in proportion to the most
/// entries that there were at a time.
#[derive(Debug)]
pub struct Numbered<T> {
    index: Index,
    /// By slot.
    entries: Vec<Option<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { index: Index::default(), entries: Vec::new() }
    }
}

impl<T> Numbered<T> {
    /// Adds an entry. Returns false, and changes nothing, if there is one with this number.
    pub fn insert(&mut self, number: u64, entry: T) -> bool {
        let Some(slot) = self.index.insert(number) else { return false };
        if slot == self.entries.len() {
            // Most sessions of a broker have one conversation at a time, if any: room for four would be a waste.
            if slot < 4 {
                self.entries.reserve_exact(1);
            }
            self.entries.push(Some(entry));
        } else {
            self.entries[slot] = Some(entry);
        }
        true
    }

    /// Takes an entry out; nothing if there is none with this number.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let slot = self.index.remove(number)?;
        self.entries[slot].take()
    }

    /// The entry with this number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.entries[self.index.find(number)?].as_ref()
    }

    /// The same, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.entries[self.index.find(number)?].as_mut()
    }

    /// The numbers that have an entry, in their order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.index.taken()
    }

    /// All entries, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.index.taken().into_iter().filter_map(|number| Some((number, self.get(number)?)))
    }

    /// Takes all entries out, in the order of their numbers.
    pub fn take_all(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        let mut all = std::mem::take(self);
        all.index.taken().into_iter().filter_map(move |number| Some((number, all.remove(number)?)))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.len == 0
    }
}

/// Which number has its entry in which slot. By itself, so that browsers download it once, and not once for each kind of
/// entry.
///
/// A sorted deque that is searched by halving. A removed number leaves an empty place until that is at an end of the deque,
/// or half of the places are empty.
#[derive(Debug, Default)]
struct Index {
    places: VecDeque<(u64, u32)>,
    len: usize,
    /// Slots that are free, besides those that never were in use.
    free: Vec<u32>,
}

/// Stands for no slot.
const EMPTY: u32 = u32::MAX;

/// Empty places that are never worth the work of closing them up.
const SPARE_PLACES: usize = 32;

impl Index {
    /// The slot for a new number; nothing if it has one.
    #[inline(never)]
    fn insert(&mut self, number: u64) -> Option<usize> {
        let at = match self.place(number) {
            Ok(at) if self.places[at].1 != EMPTY => return None,
            Ok(at) => at,
            Err(at) => {
                self.places.insert(at, (number, EMPTY));
                at
            }
        };
        // As many entries as there are numbers below `EMPTY` fit into no memory.
        let slot = self.free.pop().unwrap_or(self.len as u32);
        self.places[at].1 = slot;
        self.len += 1;
        Some(slot as usize)
    }

    /// The slot that a number had.
    #[inline(never)]
    fn remove(&mut self, number: u64) -> Option<usize> {
        let at = self.place(number).ok()?;
        let slot = std::mem::replace(&mut self.places[at].1, EMPTY);
        if slot == EMPTY {
            return None;
        }
        self.free.push(slot);
        self.len -= 1;
        while let Some((_, EMPTY)) = self.places.front() {
            self.places.pop_front();
        }
        while let Some((_, EMPTY)) = self.places.back() {
            self.places.pop_back();
        }
        if self.places.len() > 2 * self.len + SPARE_PLACES {
            self.places.retain(|(_, slot)| *slot != EMPTY);
        }
        Some(slot as usize)
    }

    #[inline(never)]
    fn find(&self, number: u64) -> Option<usize> {
        let at = self.place(number).ok()?;
        let slot = self.places[at].1;
        (slot != EMPTY).then_some(slot as usize)
    }

    /// The numbers that have a slot, in their order.
    #[inline(never)]
    fn taken(&self) -> Vec<u64> {
        self.places.iter().filter(|(_, slot)| *slot != EMPTY).map(|(number, _)| *number).collect()
    }

    /// The place of a number, or where it would be. A third of the code of `VecDeque::binary_search`.
    fn place(&self, number: u64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.places.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let there = self.places[middle].0;
            if there == number {
                return Ok(middle);
            }
            if there < number {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Err(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_their_numbers_and_listed_in_order() {
        let mut map = Numbered::default();
        for number in [3, 1, 2, 9] {
            assert!(map.insert(number, number * 10));
            assert!(!map.insert(number, 0));
        }
        assert_eq!((map.get(2), map.get(4), map.len()), (Some(&20), None, 4));
        assert_eq!((map.remove(2), map.remove(2)), (Some(20), None));
        assert!(map.insert(2, 21));
        assert_eq!(map.iter().map(|(_, entry)| *entry).collect::<Vec<_>>(), [10, 21, 30, 90]);
        assert_eq!(map.take_all().map(|(number, _)| number).collect::<Vec<_>>(), [1, 2, 3, 9]);
        assert!(map.is_empty());
    }

    #[test]
    fn room_is_used_again() {
        let mut map = Numbered::default();
        for number in 0..1000_u64 {
            map.insert(number, number);
            if let Some(old) = number.checked_sub(10) {
                assert_eq!(map.remove(old), Some(old));
            }
            assert!(map.iter().all(|(number, entry)| number == *entry));
        }
        assert_eq!((map.len(), map.entries.len()), (10, 11));
    }

    #[test]
    fn removed_entries_do_not_take_up_memory_for_long() {
        let mut map = Numbered::default();
        for number in 0..10_000 {
            map.insert(number, ());
        }
        // The first and the last one stay.
        for number in (1..9_999).rev() {
            map.remove(number);
            assert!(map.index.places.len() <= 2 * map.len() + SPARE_PLACES + 1);
        }
        assert_eq!(map.iter().map(|(number, ())| number).collect::<Vec<_>>(), [0, 9_999]);
        map.remove(0);
        assert_eq!((map.len(), map.index.places.len()), (1, 1));
    }
}
