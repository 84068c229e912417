//! A refusal: the reason and the text with which the broker answers a request that comes to nothing; and a failure, which
//! may be a recipient's word as well.

use std::borrow::Cow;

use antiphon_protocol::wire::error_reason::ErrorReason;

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

    pub fn as_failure(&self) -> Failure<'_> {
        Failure::new(self.reason, &self.text)
    }
}

/// Why a request has no answer, in the words of its recipient or of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure<'a> {
    pub reason: ErrorReason,
    /// For people.
    pub description: &'a str,
    /// For programs: a json value. Empty for none.
    pub details: &'a [u8],
}

impl<'a> Failure<'a> {
    /// One without details.
    pub const fn new(reason: ErrorReason, description: &'a str) -> Self {
        Self { reason, description, details: &[] }
    }
}

/// What the broker itself always says in the same words.
impl From<Failure<'static>> for Refusal {
    fn from(failure: Failure<'static>) -> Self {
        Self::new(failure.reason, failure.description)
    }
}
