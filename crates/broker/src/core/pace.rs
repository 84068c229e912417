//! How much is done in one turn, where that depends on how promptly turns come.

use std::time::Duration;

/// How many sessions are asked in one turn: more while turns come in time, fewer when they come late, since then others
/// wait as well.
#[derive(Debug)]
pub(super) struct Pace {
    now: usize,
    most: usize,
}

impl Pace {
    /// Nothing is known yet.
    const FIRST: usize = 32;
    const LEAST: usize = 8;
    /// Later than this is late: timers are not more exact than a millisecond.
    const PATIENCE: Duration = Duration::from_millis(2);

    /// At most so many, and fewer at first.
    pub fn new(most: usize) -> Self {
        Self { now: Self::FIRST.min(most), most }
    }

    /// A turn came so much later than it was to come.
    pub fn adapt(&mut self, lateness: Duration) {
        self.now = if lateness > Self::PATIENCE { (self.now / 2).max(Self::LEAST) } else { self.now + self.now / 4 };
        self.now = self.now.min(self.most);
    }

    /// How many sessions may be asked in a turn now.
    pub fn recipients(&self) -> usize {
        self.now
    }
}
