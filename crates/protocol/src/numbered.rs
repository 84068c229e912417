//! A map from numbers that are given out counting up, for everything that is named by such a number.

use std::collections::VecDeque;

/// Entries by number, in the order of the numbers.
///
/// A sorted deque that is searched by halving. New numbers come last, where adding is cheap. A removed entry leaves an
/// empty place until it is at an end of the deque, or half of the places are empty: so removing is cheap wherever it is,
/// and memory stays in proportion to what is there.
#[derive(Debug)]
pub struct Numbered<T> {
    places: VecDeque<(u64, Option<T>)>,
    len: usize,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { places: VecDeque::new(), len: 0 }
    }
}

/// Empty places that are never worth the work of closing them up.
const SPARE_PLACES: usize = 32;

impl<T> Numbered<T> {
    /// Adds an entry. Returns false, and changes nothing, if there is one with this number.
    pub fn insert(&mut self, number: u64, entry: T) -> bool {
        match self.find(number) {
            Ok(at) if self.places[at].1.is_some() => return false,
            Ok(at) => self.places[at].1 = Some(entry),
            Err(at) => self.places.insert(at, (number, Some(entry))),
        }
        self.len += 1;
        true
    }

    /// Takes an entry out; nothing if there is none with this number.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let at = self.find(number).ok()?;
        let entry = self.places[at].1.take()?;
        self.len -= 1;
        while let Some((_, None)) = self.places.front() {
            self.places.pop_front();
        }
        while let Some((_, None)) = self.places.back() {
            self.places.pop_back();
        }
        if self.places.len() > 2 * self.len + SPARE_PLACES {
            self.places.retain(|(_, entry)| entry.is_some());
        }
        Some(entry)
    }

    /// The entry with this number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.places[self.find(number).ok()?].1.as_ref()
    }

    /// The same, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let at = self.find(number).ok()?;
        self.places[at].1.as_mut()
    }

    /// All entries, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.places.iter().filter_map(|(number, entry)| Some((*number, entry.as_ref()?)))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.places.iter_mut().filter_map(|(number, entry)| Some((*number, entry.as_mut()?)))
    }

    /// Takes all entries out, in the order of their numbers.
    pub fn take_all(&mut self) -> impl Iterator<Item = (u64, T)> + use<T> {
        self.len = 0;
        std::mem::take(&mut self.places).into_iter().filter_map(|(number, entry)| Some((number, entry?)))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of a number, or where it would be. A third of the code of `VecDeque::binary_search`, which would be there
    /// once for each type in what browsers download.
    fn find(&self, number: u64) -> Result<usize, usize> {
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
    fn removed_entries_do_not_take_up_memory_for_long() {
        let mut map = Numbered::default();
        for number in 0..10_000 {
            map.insert(number, ());
        }
        // The first and the last one stay.
        for number in (1..9_999).rev() {
            map.remove(number);
            assert!(map.places.len() <= 2 * map.len() + SPARE_PLACES + 1);
        }
        assert_eq!(map.iter().map(|(number, ())| number).collect::<Vec<_>>(), [0, 9_999]);
        map.remove(0);
        assert_eq!((map.len(), map.places.len()), (1, 1));
    }
}
