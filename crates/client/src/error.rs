//! Errors of requests: code, outcome, message.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use antiphon_protocol::client as core;
use antiphon_protocol::client::{FilterFault, Outcome};
use antiphon_protocol::value::DataType;
use antiphon_protocol::wire::error_reason::ErrorReason;

use crate::value::{Value, ValueError};

/// Why a request, or something else that was asked of a session, did not come to a response.
///
/// ```no_run
/// # use antiphon_client::{Messaging, Outcome, RequestError};
/// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
/// match messaging.send_request_to_path("orders", "one tea").await {
///     Err(error) if error.code() == "UNHANDLED_MESSAGE" => println!("nobody takes orders"),
///     // Sending again could order twice.
///     Err(error) if error.outcome() == Outcome::Unknown => println!("perhaps ordered: {error}"),
///     other => println!("{}", other?.decode::<String>()?),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestError {
    cause: Cause,
    /// How often the request was sent.
    attempts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Session(core::RequestError),
    /// The value cannot be sent.
    Unsendable(ValueError),
    /// The response is not what the program wants.
    Unreadable(ValueError),
    NotEnough {
        values: u32,
        expected: u32,
        at_least: u32,
    },
}

impl RequestError {
    pub(crate) fn unsendable(error: ValueError) -> Self {
        Cause::Unsendable(error).into()
    }

    pub(crate) fn not_enough(values: u32, expected: u32, at_least: u32) -> Self {
        Cause::NotEnough { values, expected, at_least }.into()
    }

    /// Of a request that was sent so often, within `timeout`: not within what was left of that at last.
    pub(crate) fn after(mut self, attempts: u32, timeout: Duration) -> Self {
        if let Cause::Session(core::RequestError::TimedOut(time)) = &mut self.cause {
            *time = timeout;
        }
        self.attempts = attempts;
        self
    }

    /// The session is over.
    pub(crate) fn closed(sent: bool) -> Self {
        core::RequestError::SessionClosed { sent }.into()
    }

    /// The stable name for programs, e.g. `TIMED_OUT`; `docs/errors.md` lists them.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        match &self.cause {
            Cause::Session(error) => error.code(),
            Cause::Unsendable(error) | Cause::Unreadable(error) => Cow::Borrowed(error.code()),
            Cause::NotEnough { .. } => Cow::Borrowed("NOT_ENOUGH"),
        }
    }

    /// Whether a handler may have run: what a caller must know before sending again.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.cause {
            Cause::Session(error) => error.outcome(),
            Cause::Unsendable(_) => Outcome::NotSent,
            Cause::Unreadable(_) => Outcome::Failed,
            Cause::NotEnough { .. } => Outcome::Unknown,
        }
    }

    /// The number that the other side gave, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        match &self.cause {
            Cause::Session(error) => error.reason(),
            _ => None,
        }
    }

    /// What the handler's error says beside its text, if it does and the server passed it on: `details` in JavaScript,
    /// [`Rejection::with_details`] here.
    ///
    /// [`Rejection::with_details`]: crate::Rejection::with_details
    #[must_use]
    pub fn details(&self) -> Option<Value> {
        match &self.cause {
            Cause::Session(core::RequestError::Refused { details, .. }) if !details.is_empty() => {
                Some(Value::new(DataType::Json, details.clone()))
            }
            _ => None,
        }
    }

    /// Where a session filter does not parse; empty for other errors.
    #[must_use]
    pub fn faults(&self) -> &[FilterFault] {
        match &self.cause {
            Cause::Session(core::RequestError::InvalidFilter(faults)) => faults,
            _ => &[],
        }
    }
}

impl From<Cause> for RequestError {
    fn from(cause: Cause) -> Self {
        Self { cause, attempts: 1 }
    }
}

impl From<core::RequestError> for RequestError {
    fn from(error: core::RequestError) -> Self {
        Cause::Session(error).into()
    }
}

impl From<ValueError> for RequestError {
    /// Of a response that could not be read: a handler has run.
    fn from(error: ValueError) -> Self {
        Cause::Unreadable(error).into()
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Session(error) => error.fmt(f)?,
            Cause::Unsendable(error) => write!(f, "the request cannot be sent: {error}")?,
            Cause::Unreadable(error) => write!(f, "the response cannot be read: {error}")?,
            Cause::NotEnough { values, expected, at_least } => write!(
                f,
                "only {values} of the {expected} matching sessions gave a response, at least {at_least} are needed"
            )?,
        }
        if self.attempts > 1 { write!(f, " ({} attempts)", self.attempts) } else { Ok(()) }
    }
}

impl std::error::Error for RequestError {}

/// Of a response that is of another kind than was asked for, which the core does not let through.
pub(crate) fn unexpected() -> RequestError {
    core::RequestError::MalformedResponse.into()
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_several_attempts_tells_of_all_of_them() {
        let error = |millis| RequestError::from(core::RequestError::TimedOut(Duration::from_millis(millis)));
        let whole = Duration::from_millis(400);
        assert_eq!(error(150).after(1, whole).to_string(), "no response within 400 ms");
        assert_eq!(error(150).after(3, whole).to_string(), "no response within 400 ms (3 attempts)");
        let lost = RequestError::from(core::RequestError::ConnectionLost);
        assert!(lost.after(2, whole).to_string().ends_with("before the response arrived (2 attempts)"));
    }
}
