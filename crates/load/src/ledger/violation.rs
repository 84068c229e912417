//! Violations of the invariant of a ledger, and its verdict.

use std::collections::BTreeMap;
use std::fmt;

/// Something that must not happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// The number of recipients is not what it should be.
    WrongCount,
    /// A handler was given a request that it should not get, or that nobody sent.
    Misrouted,
    /// A handler was given a request again, or a request for one recipient was given to two.
    HandledTwice,
    /// A handler was given a request of which the sender was told that no handler ran.
    HandledAfterAll,
    /// An answer that is not that of the recipient to this request.
    Mismatch,
    /// A second answer or error, or one after the end of the request.
    AnsweredTwice,
    /// The request ended well without all the answers.
    Unanswered,
    /// The request ended after its deadline.
    Late,
    /// The request has not ended.
    Pending,
}

impl Violation {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongCount => "wrong-count",
            Self::Misrouted => "misrouted",
            Self::HandledTwice => "handled-twice",
            Self::HandledAfterAll => "handled-after-all",
            Self::Mismatch => "mismatch",
            Self::AnsweredTwice => "answered-twice",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The verdict of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How often each of them was seen. The invariant holds if there are none.
    pub violations: BTreeMap<Violation, u64>,
    /// The first of them, for people.
    pub examples: Vec<String>,
}
