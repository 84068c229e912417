//! Looking before one asks: how many sessions a filter matches, which handlers there are for a path, and being told when
//! these change.
//!
//! A server that does not know how is not asked: [`ErrorReason::UNSUPPORTED`].
//!
//! Source: section 18.13.

use std::time::Duration;

use super::calls::{HandlersAt, Purpose, Response};
use super::filters::read_count;
use super::ids::CallId;
use super::{ClientSession, Event, RequestError, State};
use crate::features::Features;
use crate::time::Moment;
use crate::wire::decode_all;
use crate::wire::envelope::Message;
use crate::wire::error_reason::ErrorReason;
use crate::wire::headers::Headers;
use crate::wire::layouts::{FoundHandlers, question};
use crate::wire::services::{HandlerSearch, HandlerWatch, Service, SessionCount};

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sought {
    /// The number of sessions that a session filter matches: [`Response::Matched`] follows.
    Sessions,
    /// The handlers that a request to a path would go to: [`Response::Handlers`] follows.
    Handlers,
    /// The same, now and whenever that changes or there is another connection: the server is asked again on each. Only
    /// [`ClientSession::abandon`] ends it, or an error: there was no answer in time, the server has no room for it any more, or
    /// the session is over.
    Changes,
}

impl ClientSession {
    /// Ask the server what there is, by a session filter or a path. The time is that of the first answer.
    ///
    /// Source: section 18.13.
    pub fn look(&mut self, now: Moment, call: CallId, what: Sought, whom: &str, timeout: Duration) {
        let conversation = self.calls.next_conversation();
        let (service, watch, purpose) = match what {
            Sought::Sessions => {
                (SessionCount::ID, None, Purpose::Query(|body, _| read_count(body).map(Response::Matched)))
            }
            Sought::Handlers => (HandlerSearch::ID, None, Purpose::Query(|body, _| read_found(body))),
            Sought::Changes => (HandlerWatch::ID, Some(conversation), Purpose::Watch { is_answered: false }),
        };
        if self.state() == State::Connected && !self.features().has(Features::DISCOVERY) {
            let text = "the server does not know how to look for sessions and handlers";
            let error = RequestError::refused(ErrorReason::UNSUPPORTED, text, &Headers::NONE);
            return self.report(call, purpose, Err(error));
        }
        let body = &question(watch, whom);
        let frame = Message::ServiceRequest { service, conversation, body }.to_frame();
        self.start(now, call, conversation, frame, timeout.into(), purpose);
    }

    /// The server has answered for a watch, or told of a change.
    pub(super) fn handle_found(&mut self, call: CallId, answer: Result<&[u8], RequestError>) {
        let Some(Purpose::Watch { is_answered }) = self.calls.purpose_mut(call) else { return };
        match answer.and_then(read_found) {
            Ok(found) => {
                *is_answered = true;
                self.deliver(Event::CallEnded { call, outcome: Ok(found) });
            }
            // It was asked again on a connection without the feature. There will be others.
            Err(error) if *is_answered && error.reason() == Some(ErrorReason::UNSUPPORTED) => {}
            Err(error) => self.end_call(call, Err(error)),
        }
    }
}

fn read_found(body: &[u8]) -> Result<Response, RequestError> {
    let found: Option<FoundHandlers<'_>> = decode_all(body)?;
    let owned = |FoundHandlers { path, handlers }: FoundHandlers<'_>| HandlersAt { path: path.to_owned(), handlers };
    Ok(Response::Handlers(found.map(owned)))
}
