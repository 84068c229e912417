//! A refusal: the reason and the text with which the broker answers a request that comes to nothing.

use std::borrow::Cow;

use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::ServiceFailure;

/// The refusal of a request, as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reason: ErrorReason,
    /// For people.
    pub text: Cow<'static, str>,
}

impl Refusal {
    pub fn new(reason: ErrorReason, text: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, text: text.into() }
    }

    pub fn as_wire(&self) -> ServiceFailure<'_> {
        ServiceFailure { description: &self.text, reason: self.reason }
    }
}
