//! The responses to a request that went to many, as a stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use antiphon_protocol::wire::primitives::SessionId;
use futures_channel::mpsc::UnboundedReceiver;
use futures_util::{Stream, StreamExt};

use crate::calls::FilterOutcome;
use crate::error::RequestError;
use crate::handle::Handle;
use crate::lock::Ref;
use crate::shared::Call;
use crate::value::Value;

/// One session's result of a request that went to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// The session that answers.
    pub session: SessionId,
    /// The response, or why there is none.
    pub outcome: Result<Value, RequestError>,
}

/// The responses to a request that went to a session filter. Dropping it abandons those that have not come yet.
///
/// An error says why no more will come: `TIMED_OUT`, `NOT_ENOUGH`, or the end of the connection or session. Nothing
/// follows.
#[must_use = "dropping it abandons the responses"]
pub struct Gathering {
    /// Keeps the session open.
    _handle: Ref<Handle>,
    /// Until nothing more is wanted.
    call: Option<Call>,
    responses: UnboundedReceiver<FilterOutcome>,
    expected: u32,
    at_least: Option<u32>,
    received: u32,
    values: u32,
}

impl Gathering {
    pub(crate) fn new(
        handle: Ref<Handle>,
        call: Call,
        responses: UnboundedReceiver<FilterOutcome>,
        expected: u32,
        at_least: Option<u32>,
    ) -> Self {
        Self { _handle: handle, call: Some(call), responses, expected, at_least, received: 0, values: 0 }
    }

    /// How many sessions matched; as many responses and errors follow, unless fewer are enough.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.expected
    }

    /// Nothing follows.
    fn end(&mut self) {
        self.call = None;
    }
}

impl Stream for Gathering {
    type Item = Result<Gathered, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        if let Some(at_least) = self.at_least {
            if self.values >= at_least {
                self.end();
                return Poll::Ready(None);
            }
            if self.values + self.expected.saturating_sub(self.received) < at_least {
                self.end();
                let error = RequestError::not_enough(self.values, self.expected, at_least);
                return Poll::Ready(Some(Err(error)));
            }
        }
        match ready!(self.responses.poll_next_unpin(context)) {
            Some(Ok(response)) => {
                self.received += 1;
                self.values += u32::from(response.outcome.is_ok());
                let outcome = response.outcome.map(Into::into).map_err(Into::into);
                Poll::Ready(Some(Ok(Gathered { session: response.session, outcome })))
            }
            Some(Err(error)) => {
                self.end();
                Poll::Ready(Some(Err(error.into())))
            }
            None => {
                self.end();
                // Too few if the session ended without a word: the runtime stops.
                Poll::Ready((self.received < self.expected).then(|| Err(RequestError::closed(true))))
            }
        }
    }
}
