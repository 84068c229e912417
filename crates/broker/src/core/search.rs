//! Finds the sessions that a filter matches, as much at a time as others can wait for.

use std::vec;

use super::filter::{Filter, TooMuchWork, Work};
use super::per_session::SessionKey;
use super::sessions::Sessions;

/// A search for the sessions that a filter matches.
#[derive(Debug)]
pub(super) struct Search {
    filter: Filter,
    /// Those that are still to be looked at, in the order in which they were opened.
    candidates: vec::IntoIter<SessionKey>,
    matching: Vec<SessionKey>,
    work: Work,
}

impl Search {
    /// Looks only at those that can match.
    pub fn new(sessions: &Sessions, filter: Filter) -> Self {
        let mut candidates: Vec<_> = if let Some(ids) = filter.required("$SessionId") {
            ids.iter().filter_map(|id| sessions.with_id(id.parse().ok()?)).collect()
        } else if let Some(principals) = filter.required("$Principal") {
            principals.iter().flat_map(|principal| sessions.of_principal(principal)).collect()
        } else {
            sessions.keys().collect()
        };
        candidates.sort_unstable();
        // Two spellings of an ID are two values of one session.
        candidates.dedup();
        Self { filter, candidates: candidates.into_iter(), matching: Vec::new(), work: Work::new() }
    }

    /// What it took to begin.
    pub fn cost(&self) -> usize {
        2 * self.candidates.len()
    }

    /// What may still be done for it.
    pub fn work_left(&self) -> usize {
        self.work.left()
    }

    /// Goes on for about so much work. Returns whether all were looked at.
    pub fn advance(&mut self, sessions: &Sessions, work: usize) -> Result<bool, TooMuchWork> {
        let end = self.work.left().saturating_sub(work);
        for candidate in &mut self.candidates {
            // Those that have no connection at the moment are not asked (rules M-9).
            if let Some(session) = sessions.get(candidate).filter(|session| session.is_connected())
                && self.filter.matches(session.properties(), &mut self.work)?
            {
                self.matching.push(candidate);
            }
            if self.work.left() <= end {
                break;
            }
        }
        Ok(self.candidates.len() == 0)
    }

    /// Those that match, of those that were looked at, in the order in which they were opened.
    pub fn take_matching(&mut self) -> Vec<SessionKey> {
        std::mem::take(&mut self.matching)
    }
}
