//! The work budget of a session filter.

/// Most that is done to find the sessions that one filter matches, in parts of filters looked at: about a tenth of a
/// second, for which others wait as well. Enough for 10,000 sessions and 300 clauses.
pub const MAX_WORK: usize = 3_000_000;

/// The work that may still be done for one filter, so that it cannot hold up everybody else for long.
#[derive(Debug)]
pub struct Work(usize);

/// Finding the sessions that a filter matches would take more than [`MAX_WORK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("to find the sessions that match this filter would take too long")]
pub struct TooMuchWork;

impl Work {
    /// As much as there is for one filter.
    #[must_use]
    pub fn new() -> Self {
        Self(MAX_WORK)
    }

    /// What is left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0
    }

    /// Sets apart what is left, up to so many units. What of it is not spent is given back.
    pub(super) fn take_up_to(&mut self, units: usize) -> Self {
        let taken = self.0.min(units);
        self.0 -= taken;
        Self(taken)
    }

    /// Adds what was set apart and not spent.
    pub(super) fn give_back(&mut self, rest: Self) {
        self.0 += rest.0;
    }

    /// Takes `units` from what is left; one is about a comparison with a property.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), TooMuchWork> {
        let left = self.0.checked_sub(units);
        self.0 = left.unwrap_or(0);
        left.map(drop).ok_or(TooMuchWork)
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}
