//! How fast something comes, from each of many.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How long one may be without anything happening until one may have as much as ever again.
const MEMORY: Duration = Duration::from_secs(10);

/// How fast something comes, from each of many. As many as in ten seconds may come at once.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    /// In a second, for long.
    rate: u32,
    /// When all that each had would be over, if it took no more than its rate. Those of the past count nothing.
    until: HashMap<K, Instant>,
    /// When there are as many, those that count nothing are taken out.
    sweep_at: usize,
}

/// No sweeping for less.
const FEW: usize = 1_000;

impl<K: Eq + Hash> Rates<K> {
    /// So many in a second; ten times as many may come at once.
    pub fn new(rate: u32) -> Self {
        Self { rate: rate.max(1), until: HashMap::new(), sweep_at: FEW }
    }

    /// Whether another one may come from `key`.
    pub fn take(&mut self, now: Instant, key: K) -> bool {
        if self.until.len() >= self.sweep_at {
            self.until.retain(|_, until| *until > now);
            self.until.shrink_to(FEW);
            self.sweep_at = FEW.max(self.until.len() * 2);
        }
        let until = self.until.entry(key).or_insert(now);
        let next = (*until).max(now) + Duration::from_secs(1) / self.rate;
        let fits = next <= now + MEMORY;
        if fits {
            *until = next;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collisions;

    #[test]
    fn ten_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let mut rates = Rates::new(5);
        let start = Instant::now();
        assert_eq!((0..100).filter(|_| rates.take(start, 1)).count(), 50);
        assert!(rates.take(start, 2), "another one");
        let later = start + Duration::from_secs(2);
        assert_eq!((0..100).filter(|_| rates.take(later, 1)).count(), 10);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rates.take(much_later, 1)).count(), 50);
    }

    /// V22.
    #[test]
    fn names_that_collide_take_no_longer_than_others() {
        collisions::assert_take_no_longer(|names| {
            let (mut rates, start) = (Rates::new(10), Instant::now());
            assert!(names.iter().all(|name| rates.take(start, name.clone())));
        });
    }

    #[test]
    fn those_that_come_no_more_are_forgotten() {
        let mut rates = Rates::new(10);
        let start = Instant::now();
        for key in 0..100_000_u32 {
            rates.take(start + Duration::from_millis(u64::from(key)), key);
        }
        assert!(rates.until.len() <= 2 * FEW, "{}", rates.until.len());
    }
}
