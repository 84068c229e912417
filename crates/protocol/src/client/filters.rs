//! Requests to a session filter: first the count, then one result per session.

use super::calls::{Purpose, Response};
use super::error::{FilterFault, RequestError};
use super::ids::CallId;
use super::messages::Arrival;
use super::terms::Terms;
use super::{ClientSession, Event, FilterResponseReceived};
use crate::time::Moment;
use crate::wire::decode_all;
use crate::wire::envelope::request_frame;
use crate::wire::layouts::{ErrorReport, FilterAnswer, FilterOutcome, FilterResponse, SendToFilter, SerialisedValue};
use crate::wire::primitives::ConversationId;
use crate::wire::services::MessagingFilterSender;

impl ClientSession {
    /// Send `request` to every session that `filter` matches, for its stream at exactly `path`.
    ///
    /// First comes the number of sessions that matched, as [`Response::Matched`], then an
    /// [`Event::FilterResponseReceived`] from each, then [`Event::FilterCallEnded`]. The time of `terms` counts from `now`
    /// to the last of them; what comes later is dropped.
    ///
    /// Source: section 8.4.
    pub fn send_to_filter(
        &mut self,
        now: Moment,
        call: CallId,
        filter: &str,
        path: &str,
        request: SerialisedValue<'_>,
        terms: impl Into<Terms>,
    ) {
        let capacity = filter.len() + path.len() + request.bytes.len() + 64;
        // The conversation in which the responses come is the one before that of the request.
        let filter_conversation = self.calls.next_conversation();
        let conversation = self.calls.next_conversation();
        let body = SendToFilter { filter_conversation, filter, path, request };
        let frame = request_frame::<MessagingFilterSender>(conversation, &body, capacity);
        let purpose = Purpose::Filter { expected: None, received: 0 };
        self.start(now, call, conversation, frame, terms.into(), purpose);
    }

    /// The server said how many sessions matched, or why nobody was asked. The call stays open until all have answered.
    pub(super) fn handle_count(&mut self, call: CallId, answer: Result<&[u8], RequestError>) {
        match answer.and_then(read_count) {
            Ok(count) => {
                self.deliver(Event::CallEnded { call, outcome: Ok(Response::Matched(count)) });
                if let Some(Purpose::Filter { expected, .. }) = self.calls.purpose_mut(call) {
                    *expected = Some(count);
                }
                self.end_if_complete(call);
            }
            Err(error) => self.end_call(call, Err(error)),
        }
    }

    /// A session that the filter matched has answered, or the server says that it will not.
    pub(super) fn handle_filter_response(&mut self, arrival: Arrival<'_>, response: FilterResponse<'_>) {
        let fits = self.check_size(arrival.size, ());
        let conversation = ConversationId(response.filter_conversation.0.wrapping_add(1));
        // For a request that nobody waits for any more it is only acknowledged.
        let Some(call) = self.calls.in_conversation(conversation) else { return };
        let Some(Purpose::Filter { expected, received }) = self.calls.purpose_mut(call) else { return };
        *received += 1;
        let (received, expected) = (*received, expected.unwrap_or(0));
        let outcome = match response.answer {
            FilterAnswer::Response(value) => fits.map(|()| value.into()),
            FilterAnswer::Error(error) => Err(RequestError::refused(error.reason, error.description, &arrival.headers)),
        };
        let session = response.session;
        self.deliver(Event::FilterResponseReceived(FilterResponseReceived {
            call,
            session,
            outcome,
            received,
            expected,
        }));
        self.end_if_complete(call);
    }

    fn end_if_complete(&mut self, call: CallId) {
        if let Some(Purpose::Filter { expected: Some(expected), received }) = self.calls.purpose_mut(call)
            && *received >= *expected
        {
            self.calls.end(call);
            self.deliver(Event::FilterCallEnded { call, outcome: Ok(()) });
        }
    }
}

/// What the server made of the filter.
pub(super) fn read_count(body: &[u8]) -> Result<u32, RequestError> {
    let fault = |ErrorReport { message, line, column }| FilterFault { message: str::to_owned(message), line, column };
    match decode_all(body)? {
        FilterOutcome::Matched(count) => Ok(count),
        FilterOutcome::Rejected(reports) => Err(RequestError::InvalidFilter(reports.into_iter().map(fault).collect())),
    }
}
