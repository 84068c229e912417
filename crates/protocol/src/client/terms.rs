//! What a request is sent with: how long it may take, and what goes along with it to a server that knows how to read it.

use super::calls::Patience;
use crate::wire::headers::{Header, HeaderBlock};

/// What a request is sent with. Made of a [`Patience`], or of a `Duration`, if nothing is to go along with it.
#[derive(Clone, Debug)]
pub struct Terms {
    pub(super) patience: Patience,
    pub(super) headers: HeaderBlock,
}

impl<P: Into<Patience>> From<P> for Terms {
    fn from(patience: P) -> Self {
        Self { patience: patience.into(), headers: HeaderBlock::default() }
    }
}

impl Terms {
    /// With what goes along. `is_time_told`: whether the server, and whoever handles the request, are told how long it may
    /// take.
    #[must_use]
    pub fn new(patience: Patience, is_time_told: bool) -> Self {
        let mut terms = Self::from(patience);
        // Which time, is known when it is sent.
        terms.headers.add(Header::TimeLeft, if is_time_told { &[0; 4] } else { &[] });
        terms
    }

    /// For how long it may take, as far as this says.
    #[must_use]
    pub fn patience(&self) -> Patience {
        self.patience
    }

    /// The same, but it may take another time.
    #[must_use]
    pub fn within(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// With an idempotency key, of 1 to 128 characters, under which the server remembers what becomes of the request; with
    /// none if it is empty. To a server that remembers nothing, the request is not sent.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.headers.add(Header::IdempotencyKey, key.as_bytes());
        self
    }

    /// With texts by key for whoever handles the request: an object of strings as a json value in CBOR; none if it is empty.
    #[must_use]
    pub fn with_metadata(mut self, metadata: &[u8]) -> Self {
        self.headers.add(Header::Metadata, metadata);
        self
    }
}
