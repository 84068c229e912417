//! Which session handles which path.

use std::collections::HashMap;

use antiphon_protocol::path::with_parents;
use antiphon_protocol::wire::primitives::ConversationId;

use super::properties::Selection;
use super::sessions::SessionKey;

/// One session's request handler at one path.
#[derive(Debug)]
pub(super) struct Registration {
    pub session: SessionKey,
    /// Named by the client, and again in every request that it gets.
    pub conversation: ConversationId,
    /// The properties of the sender that it wants.
    pub selection: Selection,
}

/// All registrations, by path in normal form.
#[derive(Debug, Default)]
pub(super) struct Registry {
    by_path: HashMap<String, Vec<Registration>>,
}

/// The session has a handler at this path already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict;

impl Registry {
    /// Adds a registration; one a session and path.
    pub fn register(&mut self, path: &str, registration: Registration) -> Result<(), Conflict> {
        let at_path = match self.by_path.get_mut(path) {
            Some(at_path) => at_path,
            None => self.by_path.entry(path.to_owned()).or_default(),
        };
        if at_path.iter().any(|other| other.session == registration.session) {
            return Err(Conflict);
        }
        at_path.push(registration);
        Ok(())
    }

    /// Takes a registration out, if it is there.
    pub fn deregister(&mut self, path: &str, session: SessionKey) {
        if let Some(at_path) = self.by_path.get_mut(path) {
            at_path.retain(|registration| registration.session != session);
            if at_path.is_empty() {
                self.by_path.remove(path);
            }
        }
    }

    /// The registrations at the most specific registered path for `path`, which is in normal form; at least one, or
    /// nothing.
    pub fn handlers_for(&self, path: &str) -> Option<&[Registration]> {
        with_parents(path).find_map(|path| self.by_path.get(path)).map(Vec::as_slice)
    }
}
