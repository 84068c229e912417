//! The back-off: how long to wait before an attempt to reconnect (rules S-12).

use std::time::Duration;

/// Before the first attempt, at most.
const FIRST: Duration = Duration::from_millis(100);

/// Before any attempt, at most.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The wait before `attempt`, counted from 1: anything between nothing and 100 ms before the first one, and up to twice as
/// long before each further one, to 5 s. `random` is at least 0 and less than 1.
///
/// The whole range is used ("full jitter"), so that many sessions that lost their connections together do not return
/// together.
pub fn delay(attempt: u32, random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(10);
    let longest = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    Duration::from_micros((longest.as_secs_f64() * random * 1e6) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S-12.
    #[test]
    fn the_wait_doubles_from_a_tenth_of_a_second_to_five_seconds() {
        let longest = |attempt| delay(attempt, 1.0).as_millis();
        assert_eq!([0, 1, 2, 3, 6, 7, 8, u32::MAX].map(longest), [100, 100, 200, 400, 3200, 5000, 5000, 5000]);
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(3, 0.5), Duration::from_millis(200));
    }
}
