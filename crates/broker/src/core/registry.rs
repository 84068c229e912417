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

impl Registry {
    /// Adds a registration. The session has none at this path: that is known where its paths are kept.
    pub fn register(&mut self, path: &str, registration: Registration) {
        match self.by_path.get_mut(path) {
            Some(at_path) => at_path.push(registration),
            None => drop(self.by_path.insert(path.to_owned(), vec![registration])),
        }
    }

    /// Takes a registration out, if it is there.
    pub fn deregister(&mut self, path: &str, session: SessionKey) {
        let Some(at_path) = self.by_path.get_mut(path) else { return };
        if let Some(at) = at_path.iter().position(|registration| registration.session == session) {
            // They are chosen from at random, so their order means nothing.
            at_path.swap_remove(at);
        }
        if at_path.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// The registrations at the most specific registered path for `path`, which is in normal form; at least one, or
    /// nothing.
    pub fn handlers_for(&self, path: &str) -> Option<&[Registration]> {
        with_parents(path).find_map(|path| self.by_path.get(path)).map(Vec::as_slice)
    }
}
