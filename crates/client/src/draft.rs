//! A request before it is sent.

use std::time::Duration;

use antiphon_protocol::client::{self as core, Patience, Terms};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::headers::MAX_KEY_CHARS;

use crate::error::RequestError;
use crate::handle::Handle;
use crate::metadata::{self, Metadata};
use crate::options::WhenDisconnected;
use crate::platform;
use crate::value::{IntoValue, Value, ValueError};

/// What is wrong with a key.
const KEY_LENGTH: &str = "an idempotency key has 1 to 128 characters";

/// A request before it is sent, with its options as the program gave them.
pub(crate) struct Draft {
    pub path: String,
    request: Result<Value, ValueError>,
    pub timeout: Option<Duration>,
    pub when_disconnected: WhenDisconnected,
    /// When the sender of the request within which this one is sent stops waiting.
    pub deadline: Option<Moment>,
    /// The idempotency key.
    pub key: Option<String>,
    pub metadata: Metadata,
    /// That of the request within which this one is sent.
    pub outer: Metadata,
}

impl Draft {
    pub fn new(path: &str, request: impl IntoValue) -> Self {
        Self {
            path: path.to_owned(),
            request: request.into_value(None),
            timeout: None,
            when_disconnected: WhenDisconnected::Fail,
            deadline: None,
            key: None,
            metadata: Metadata::new(),
            outer: Metadata::new(),
        }
    }

    /// What is to be sent, for how long to wait, and what goes along.
    pub fn finish(self, handle: &Handle) -> Result<(String, Value, Terms), RequestError> {
        let Self { path, request, timeout, when_disconnected, deadline, key, mut metadata, outer } = self;
        let left = deadline.map(|deadline| deadline.since(platform::now()));
        let is_named = timeout.is_some() || left.is_some();
        let timeout = timeout.unwrap_or(handle.shared.request_timeout).min(left.unwrap_or(Duration::MAX));
        let patience = Patience { timeout, wait: when_disconnected == WhenDisconnected::Wait };
        if key.as_ref().is_some_and(|key| !(1..=MAX_KEY_CHARS).contains(&key.chars().count())) {
            return Err(core::RequestError::InvalidArgument(KEY_LENGTH).into());
        }
        metadata::inherit(&mut metadata, &outer);
        // Unlimited time is nothing to tell.
        let terms = Terms::new(patience, is_named && timeout < Duration::MAX)
            .with_key(&key.unwrap_or_default())
            .with_metadata(&metadata::written(&metadata)?);
        Ok((path, request.map_err(RequestError::unsendable)?, terms))
    }
}
