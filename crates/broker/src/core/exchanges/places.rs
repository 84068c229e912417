//! The places of handlers that take so many requests at a time, as far as exchanges have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exchange::Exchange;
use crate::core::per_session::{PerSession, SessionKey};

/// How many exchanges have places, by the session and the path of the handler. Few sessions have such handlers.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_session: PerSession<BTreeMap<Arc<str>, usize>>,
}

impl Places {
    /// An exchange takes a place, if its handler has places.
    pub fn take(&mut self, exchange: &Exchange) {
        let Some(path) = exchange.place() else { return };
        *self.by_session.get_or_default(exchange.recipient).entry(path.clone()).or_default() += 1;
    }

    /// It gives it back.
    pub fn give_back(&mut self, exchange: &Exchange) {
        let Some(path) = exchange.place() else { return };
        let Some(places) = self.by_session.get_mut(exchange.recipient) else { return };
        let Some(taken) = places.get_mut(path) else { return };
        *taken -= 1;
        if *taken == 0 {
            places.remove(path);
        }
    }

    /// How many a session has given away at a path.
    pub fn taken_of(&self, session: SessionKey, path: &str) -> usize {
        self.by_session.get(session).and_then(|places| places.get(path)).copied().unwrap_or_default()
    }

    /// A session is over, and its handlers' places are free.
    pub fn forget(&mut self, session: SessionKey) {
        self.by_session.remove(session);
    }
}
