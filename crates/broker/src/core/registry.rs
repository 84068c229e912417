//! Which session handles which path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use antiphon_protocol::wire::primitives::ConversationId;

use super::path::NormalPath;
use super::per_session::{PerSession, SessionKey};
use super::properties::{Selection, TooLarge};

/// Most bytes that it may take to keep the paths and property keys of one session's registrations.
const MAX_HANDLER_BYTES: usize = 16 << 20;

/// One session's request handler at one path.
#[derive(Debug)]
pub(super) struct Handler {
    pub session: SessionKey,
    /// The conversation of its registration: named by the client, and again in every request that it gets.
    pub registration: ConversationId,
    /// The properties of the sender that it wants.
    pub selection: Selection,
}

/// All request handlers, by path and by session.
#[derive(Debug)]
pub(super) struct Registry {
    max_registrations: usize,
    by_path: HashMap<Arc<str>, Vec<Handler>>,
    by_session: PerSession<Paths>,
}

/// Where a session is registered.
#[derive(Debug, Default)]
struct Paths {
    /// With the bytes that are kept for each. Sorted, so that everything happens in the same order every time.
    bytes_by_path: BTreeMap<Arc<str>, usize>,
    /// Their sum.
    bytes: usize,
}

/// Why a session cannot register a handler.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRegistered {
    #[error("this session has a request handler at {0} already")]
    Conflict(String),
    #[error("this session has {0} request handlers, no more are allowed")]
    TooMany(usize),
    #[error(transparent)]
    TooManyKeys(#[from] TooLarge),
    #[error("the request handlers of this session take more than {MAX_HANDLER_BYTES} bytes")]
    TooManyBytes,
}

impl Registry {
    pub fn new(max_registrations: usize) -> Self {
        Self { max_registrations, by_path: HashMap::new(), by_session: PerSession::default() }
    }

    /// Registers a handler of a session, which wants the properties `keys` of every sender.
    pub fn register(
        &mut self,
        session: SessionKey,
        path: NormalPath<'_>,
        keys: &[&str],
        registration: ConversationId,
    ) -> Result<(), NotRegistered> {
        let path = path.as_str();
        let paths = self.by_session.get_or_default(session);
        if paths.bytes_by_path.contains_key(path) {
            return Err(NotRegistered::Conflict(path.to_owned()));
        }
        if paths.bytes_by_path.len() >= self.max_registrations {
            return Err(NotRegistered::TooMany(paths.bytes_by_path.len()));
        }
        let selection = Selection::of_keys(keys)?;
        let bytes = path.len() + selection.size();
        if paths.bytes + bytes > MAX_HANDLER_BYTES {
            return Err(NotRegistered::TooManyBytes);
        }
        let path = self.by_path.get_key_value(path).map_or_else(|| Arc::from(path), |(path, _)| path.clone());
        paths.bytes += bytes;
        paths.bytes_by_path.insert(path.clone(), bytes);
        self.by_path.entry(path).or_default().push(Handler { session, registration, selection });
        Ok(())
    }

    /// Takes a handler out, if it is there.
    pub fn deregister(&mut self, session: SessionKey, path: NormalPath<'_>) {
        let Some(paths) = self.by_session.get_mut(session) else { return };
        if let Some(bytes) = paths.bytes_by_path.remove(path.as_str()) {
            paths.bytes -= bytes;
            self.remove(path.as_str(), session);
        }
    }

    /// Takes all handlers of a session out.
    pub fn deregister_all(&mut self, session: SessionKey) {
        let Some(paths) = self.by_session.remove(session) else { return };
        for path in paths.bytes_by_path.keys() {
            self.remove(path, session);
        }
    }

    fn remove(&mut self, path: &str, session: SessionKey) {
        let Some(handlers) = self.by_path.get_mut(path) else { return };
        if let Some(at) = handlers.iter().position(|handler| handler.session == session) {
            // They are chosen from at random, so their order means nothing.
            handlers.swap_remove(at);
        }
        if handlers.is_empty() {
            self.by_path.remove(path);
        }
    }

    /// The most specific registered path for `path`, and the handlers there: at least one, or nothing.
    pub fn handlers_for(&self, path: NormalPath<'_>) -> Option<(&Arc<str>, &[Handler])> {
        let found = path.with_parents().find_map(|path| self.by_path.get_key_value(path));
        found.map(|(path, handlers)| (path, handlers.as_slice()))
    }
}
