//! Time as a parameter.

use std::ops::Add;
use std::time::Duration;

/// A point in time: microseconds since a start that whoever calls us chooses and keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// The end of time.
    pub const NEVER: Self = Self(u64::MAX);

    /// Time from `earlier` to here; nothing if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates, so that "in a very long time" is a moment as well.
    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(micros(delay)))
    }
}

/// The microseconds in `duration`. Saturates: what is longer than 2^64 of them never passes.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    let seconds = duration.as_secs();
    // Not by `as_micros` or `saturating_mul`, whose 128 bits would be code for browsers to download.
    if seconds < u64::MAX / 1_000_000 { seconds * 1_000_000 + u64::from(duration.subsec_micros()) } else { u64::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_beyond_the_end_of_time_is_the_end_of_time() {
        assert_eq!(Moment(1) + Duration::MAX, Moment::NEVER);
    }
}
