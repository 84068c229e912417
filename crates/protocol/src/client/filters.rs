//! Requests to a session filter: the count first, then one answer from every session that matched.

use std::time::Duration;

use super::requests::{Patience, Pending, Response};
use super::{ClientSession, Event, Output, RequestError};
use crate::time::Moment;
use crate::value::Value;
use crate::wire::layouts::{FilterAnswer, FilterOutcome, FilterResponse, SendToFilter, SerialisedValue};
use crate::wire::primitives::{ConversationId, SessionId};
use crate::wire::services::MessagingFilterSender;

/// The two conversations of a request to a session filter. Each of them ends with an [`Event::ResponseReceived`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterRequest {
    /// Ends with [`Response::Matched`], or with the reason why nobody was asked.
    pub count: ConversationId,
    /// Named in every [`Event::FilterResponseReceived`]. Ends with [`Response::AllAnswered`], or with the reason why
    /// nothing more will come.
    pub responses: ConversationId,
}

/// One session's answer to a request that went to a session filter.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterResponseReceived {
    /// [`FilterRequest::responses`] of the request.
    pub conversation: ConversationId,
    /// Who answered, or failed.
    pub session: SessionId,
    /// The response, or why there is none.
    pub outcome: Result<Value, RequestError>,
    /// How many answers and errors have come, this one included.
    pub received: u32,
    /// How many will come; 0 as long as the server has not said so, which it does first (section 8.4).
    pub expected: u32,
}

/// Where a session filter does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterFault {
    /// For people.
    pub message: String,
    /// From 1.
    pub line: i32,
    /// From 0.
    pub column: i32,
}

/// The answers to a request that went to a session filter.
#[derive(Debug)]
pub(super) struct FilterResponses {
    pub deadline: Moment,
    pub timeout: Duration,
    expected: Option<u32>,
    received: u32,
}

impl FilterResponses {
    /// Whether it is known how many will come.
    pub fn is_counted(&self) -> bool {
        self.expected.is_some()
    }
}

impl ClientSession {
    /// Send `request` to every session that `filter` matches, for its stream at exactly `path`.
    ///
    /// First comes the number of sessions that matched, then one answer from each. `patience` counts from `now` to the
    /// last of them; what comes later is dropped.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 8.4.
    pub fn send_to_filter(
        &mut self,
        now: Moment,
        filter: &str,
        path: &str,
        request: SerialisedValue<'_>,
        patience: impl Into<Patience>,
    ) -> Result<FilterRequest, RequestError> {
        let Patience { timeout, wait } = patience.into();
        let deadline = now + timeout;
        let capacity = filter.len() + path.len() + request.bytes.len() + 64;
        let responses = self.conversations.next_id();
        let body = SendToFilter { filter_conversation: responses, filter, path, request };
        let pending = Pending::FilterCount { deadline, timeout, responses };
        let count = self.ask::<MessagingFilterSender>(&body, capacity, pending, wait)?;
        self.open(
            responses,
            Pending::FilterResponses(FilterResponses { deadline, timeout, expected: None, received: 0 }),
        );
        Ok(FilterRequest { count, responses })
    }

    /// The server said how many sessions matched, or why nobody was asked.
    pub(super) fn expect_responses(&mut self, conversation: ConversationId, count: Result<u32, RequestError>) {
        let Some(Pending::FilterResponses(responses)) = self.conversations.get_mut(conversation) else { return };
        match count {
            Ok(count) => {
                responses.expected = Some(count);
                self.end_if_complete(conversation);
            }
            Err(error) => self.end_responses(conversation, Err(error)),
        }
    }

    /// A session that the filter matched has answered, or the server says that it will not.
    /// `size` is that of the whole message, in bytes.
    pub(super) fn handle_filter_response(&mut self, response: FilterResponse<'_>, size: usize) {
        let conversation = response.filter_conversation;
        let fits = self.fitting(size, ());
        // For a request that nobody waits for any more it is only acknowledged.
        let Some(Pending::FilterResponses(responses)) = self.conversations.get_mut(conversation) else { return };
        responses.received += 1;
        let (received, expected) = (responses.received, responses.expected.unwrap_or(0));
        let outcome = match response.answer {
            FilterAnswer::Response(value) => fits.map(|()| value.into()),
            FilterAnswer::Error(error) => {
                Err(RequestError::Refused { reason: error.reason, detail: error.description.to_owned() })
            }
        };
        self.outputs.push_back(Output::Deliver(Event::FilterResponseReceived(FilterResponseReceived {
            conversation,
            session: response.session,
            outcome,
            received,
            expected,
        })));
        self.end_if_complete(conversation);
    }

    fn end_if_complete(&mut self, conversation: ConversationId) {
        let Some(Pending::FilterResponses(responses)) = self.conversations.get(conversation) else { return };
        if responses.expected.is_some_and(|expected| responses.received >= expected) {
            self.end_responses(conversation, Ok(Response::AllAnswered));
        }
    }

    fn end_responses(&mut self, conversation: ConversationId, outcome: Result<Response, RequestError>) {
        self.abandon(conversation);
        self.report(conversation, outcome);
    }
}

/// What the server made of the filter.
pub(super) fn read_count(outcome: FilterOutcome<'_>) -> Result<Response, RequestError> {
    match outcome {
        FilterOutcome::Matched(count) => Ok(Response::Matched(count)),
        FilterOutcome::Rejected(reports) => Err(RequestError::InvalidFilter(
            reports
                .into_iter()
                .map(|report| FilterFault {
                    message: report.message.to_owned(),
                    line: report.line,
                    column: report.column,
                })
                .collect(),
        )),
    }
}
