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

    /// Takes `units` from what is left; one is about a comparison with a property.
    pub(super) fn spend(&mut self, units: usize) -> Result<(), TooMuchWork> {
        self.0 = self.0.checked_sub(units).ok_or(TooMuchWork)?;
        Ok(())
    }
}

impl Default for Work {
    fn default() -> Self {
        Self::new()
    }
}
