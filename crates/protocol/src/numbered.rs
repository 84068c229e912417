//! A map whose keys are numbers given out in ascending order.

/// Entries by number, in the order of the numbers.
///
/// Finding takes time in proportion to the logarithm of their number. New numbers come last, where adding is cheap; removing
/// is cheap wherever it is. Memory stays in proportion to the most entries that there were at a time.
#[derive(Debug)]
pub struct Numbered<T> {
    index: Index,
    slots: Vec<Option<T>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { index: Index::default(), slots: Vec::new() }
    }
}

impl<T> Numbered<T> {
    /// Adds an entry. Returns false, and changes nothing, if there is one with this number.
    pub fn insert(&mut self, number: u64, entry: T) -> bool {
        let Some(slot) = self.index.insert(number) else { return false };
        match self.slots.get_mut(slot) {
            Some(free) => *free = Some(entry),
            None => {
                // Most sessions of a broker have one conversation at a time, if any: room for four would be a waste.
                if slot < 4 {
                    self.slots.reserve_exact(1);
                }
                self.slots.push(Some(entry));
            }
        }
        true
    }

    /// Takes an entry out; nothing if there is none with this number.
    pub fn remove(&mut self, number: u64) -> Option<T> {
        let slot = self.index.remove(number)?;
        let entry = self.slots.get_mut(slot)?.take();
        if self.index.is_empty() {
            self.slots.clear();
        }
        entry
    }

    /// The entry with this number.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&T> {
        self.slots.get(self.index.find(number)?)?.as_ref()
    }

    /// The same, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.slots.get_mut(self.index.find(number)?)?.as_mut()
    }

    /// All entries, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.index
            .places
            .iter()
            .filter_map(|place| Some((place.number, self.slots.get(place.slot? as usize)?.as_ref()?)))
    }

    /// All numbers, in order.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        self.index.numbers()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
}

/// Where the entry of each number is. It has no type parameter: its code is there once in what browsers download, whatever the
/// entries are.
///
/// Sorted by number, and searched by halving. A removed number leaves an empty place until half of them are empty.
#[derive(Debug, Default)]
struct Index {
    places: Vec<Place>,
    /// Places that are not empty.
    len: usize,
    /// Slots without an entry, below `slots`.
    free: Vec<u32>,
    slots: u32,
}

#[derive(Debug)]
struct Place {
    number: u64,
    slot: Option<u32>,
}

/// Empty places that are never worth the work of closing them up.
const SPARE_PLACES: usize = 32;

impl Index {
    /// Adds a number. The slot for its entry; nothing if it is there already.
    #[inline(never)]
    fn insert(&mut self, number: u64) -> Option<usize> {
        let at = match self.place_of(number) {
            Ok(at) if self.places[at].slot.is_some() => return None,
            Ok(at) => at,
            Err(at) => {
                self.places.insert(at, Place { number, slot: None });
                at
            }
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.places[at].slot = Some(slot);
        self.len += 1;
        Some(slot as usize)
    }

    /// Takes a number out. The slot that is free now; nothing if it is not there.
    #[inline(never)]
    fn remove(&mut self, number: u64) -> Option<usize> {
        let at = self.place_of(number).ok()?;
        let slot = self.places[at].slot.take()?;
        self.len -= 1;
        self.free.push(slot);
        if self.len == 0 {
            self.slots = 0;
            self.free.clear();
            self.places.clear();
        } else if self.places.len() > 2 * self.len + SPARE_PLACES {
            self.places.retain(|place| place.slot.is_some());
        }
        Some(slot as usize)
    }

    #[inline(never)]
    fn find(&self, number: u64) -> Option<usize> {
        self.places[self.place_of(number).ok()?].slot.map(|slot| slot as usize)
    }

    fn numbers(&self) -> Vec<u64> {
        self.places.iter().filter(|place| place.slot.is_some()).map(|place| place.number).collect()
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where a number is, or where it would be. A third of the code of `binary_search`.
    #[inline(never)]
    fn place_of(&self, number: u64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.places.len());
        // New numbers come last.
        if self.places.last().is_none_or(|last| last.number < number) {
            low = high;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            let there = self.places[middle].number;
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
        assert_eq!(map.numbers(), [1, 2, 3, 9]);
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
        assert_eq!((map.len(), map.slots.len()), (10, 11));
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
        for number in 10_000..20_000 {
            map.insert(number, ());
            map.remove(number);
        }
        assert_eq!((map.len(), map.slots.len()), (2, 10_000));
        map.remove(0);
        map.remove(9_999);
        assert!(map.is_empty() && map.slots.is_empty());
    }
}
