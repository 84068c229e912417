//! What a request came to, kept for whoever asks again.

use antiphon_protocol::wire::error_reason::ErrorReason;

use super::refusal::Failure;

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Box<[u8]>),
    Failed { reason: ErrorReason, text: Box<str>, details: Box<[u8]> },
}

impl Outcome {
    pub fn of(answer: &Result<&[u8], Failure<'_>>) -> Self {
        match *answer {
            Ok(body) => Self::Answered(body.into()),
            Err(Failure { reason, description, details }) => {
                Self::Failed { reason, text: description.into(), details: details.into() }
            }
        }
    }

    /// Whether it says that no handler has run, so that it is not to be remembered.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed { reason, .. } if reason.is_refusal())
    }

    pub fn as_answer(&self) -> Result<&[u8], Failure<'_>> {
        match self {
            Self::Answered(body) => Ok(body),
            Self::Failed { reason, text, details } => Err(Failure { reason: *reason, description: text, details }),
        }
    }

    /// Bytes of the answer, or of the error.
    pub fn len(&self) -> usize {
        match self {
            Self::Answered(body) => body.len(),
            Self::Failed { text, details, .. } => text.len() + details.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_says_that_no_handler_has_run_is_not_remembered() {
        let of = |reason| Outcome::of(&Err(Failure::new(reason, "no")));
        for reason in [ErrorReason::BUSY, ErrorReason::UNHANDLED_MESSAGE, ErrorReason::CLUSTER_ROUTING] {
            assert!(of(reason).is_refusal(), "{reason}");
        }
        for reason in [ErrorReason::REJECTED_REQUEST, ErrorReason::CALLBACK_EXCEPTION, ErrorReason::SESSION_CLOSED] {
            assert!(!of(reason).is_refusal(), "{reason}");
        }
    }
}
