//! A response to a request that went to a session filter.

use antiphon_protocol::client::FilterResponseReceived;
use antiphon_protocol::wire::primitives::SessionId;

use crate::error::RequestError;
use crate::platform::SharedFn;
use crate::value::Value;

/// The answer of one session to a request that went to a session filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterResponse {
    /// The session that answers.
    pub session: SessionId,
    /// As it was sent to.
    pub filter: String,
    /// As it was sent to.
    pub path: String,
    /// The response, or why there is none.
    pub outcome: Result<Value, RequestError>,
    /// How many sessions have answered, this one included.
    pub received: u32,
    /// How many sessions matched; 0 while that is not known.
    pub expected: u32,
}

impl FilterResponse {
    pub(crate) fn new(filter: &str, path: &str, response: FilterResponseReceived) -> Self {
        let FilterResponseReceived { session, outcome, received, expected, .. } = response;
        Self {
            session,
            filter: filter.to_owned(),
            path: path.to_owned(),
            outcome: outcome.map(Into::into).map_err(Into::into),
            received,
            expected,
        }
    }
}

/// A function of the program that takes responses.
pub(crate) type ResponseFn = SharedFn<FilterResponse, ()>;
