//! When what has a number is due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::Moment;

/// Due times of numbered entries that somebody else keeps.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Earliest first. Those of entries that are gone are sorted out later.
    due: BinaryHeap<Reverse<(Moment, u64)>>,
}

/// Due times of entries that are gone are never worth sorting out, up to so many.
const SPARE: usize = 64;

impl Deadlines {
    /// An entry is due at this time. One that is due at the end of time never is.
    pub fn add(&mut self, at: Moment, number: u64) {
        if at != Moment::NEVER {
            self.due.push(Reverse((at, number)));
        }
    }

    /// The earliest of an entry that is still there.
    pub fn next(&mut self, is_there: &dyn Fn(u64) -> bool) -> Option<(Moment, u64)> {
        while let Some(Reverse(next)) = self.due.peek() {
            if is_there(next.1) {
                return Some(*next);
            }
            self.due.pop();
        }
        None
    }

    /// An entry has gone; this many are left. Memory stays in proportion to them.
    #[inline(never)]
    pub fn tidy(&mut self, left: usize, is_there: &dyn Fn(u64) -> bool) {
        if self.due.len() > 2 * left + SPARE {
            // Less code than `retain`, which makes a heap of all that is left at once.
            for entry in std::mem::take(&mut self.due).into_vec() {
                if is_there(entry.0.1) {
                    self.due.push(entry);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_entries_that_are_gone_are_forgotten() {
        let mut deadlines = Deadlines::default();
        for number in 1..=1000 {
            deadlines.add(Moment(number), number);
        }
        for gone in 1..=999 {
            deadlines.tidy(1000 - gone, &|number| number > gone as u64);
            assert!(deadlines.due.len() <= 2 * (1000 - gone) + SPARE);
        }
        assert_eq!(deadlines.next(&|number| number == 1000), Some((Moment(1000), 1000)));
        assert_eq!(deadlines.next(&|_| false), None);
        assert!(deadlines.due.is_empty());
    }

    #[test]
    fn what_has_no_end_is_never_due() {
        let mut deadlines = Deadlines::default();
        deadlines.add(Moment(1) + std::time::Duration::MAX, 1);
        assert_eq!(deadlines.next(&|_| true), None);
    }
}
