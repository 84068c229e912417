//! Received requests that the application has not answered yet.

use std::time::Duration;

use super::deadlines::Deadlines;
use super::ids::{HandlerId, RequestId};
use crate::numbered::Numbered;
use crate::time::Moment;
use crate::value::Value;
use crate::wire::primitives::{ConversationId, SessionId};

/// A request that another session sent, for the application to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedRequest {
    /// Names it in [`ClientSession::respond`](super::ClientSession::respond).
    pub id: RequestId,
    /// The request handler or stream that is to answer.
    pub handler: HandlerId,
    /// As the sender wrote it.
    pub path: String,
    /// Who asks. None for a request that was sent to this session by its ID or by a filter: the server does not say then.
    pub sender: Option<Sender>,
    /// The request.
    pub request: Value,
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// Its session.
    pub session: SessionId,
    /// Its session properties, those that the request handler asked for.
    pub properties: Vec<(String, String)>,
}

/// Requests that may be with the application at the same time; further ones are refused.
pub(super) const MAX_RECEIVED: usize = 65_536;

/// The requests that are with the application.
///
/// They have numbers of our own: the server's conversations begin anew when messages were lost, and an answer to a request
/// of before must not answer a later one.
#[derive(Debug, Default)]
pub(super) struct ReceivedRequests {
    last: u64,
    /// Where each is to be answered, and how long it may take.
    requests: Numbered<(ConversationId, Duration)>,
    by_conversation: Numbered<RequestId>,
    deadlines: Deadlines,
}

impl ReceivedRequests {
    pub fn is_full(&self) -> bool {
        self.requests.len() >= MAX_RECEIVED
    }

    /// Adds a request of the server; nothing if it is being answered already.
    pub fn add(&mut self, now: Moment, conversation: ConversationId, timeout: Duration) -> Option<RequestId> {
        let id = RequestId(self.last + 1);
        if !self.by_conversation.insert(conversation.0.cast_unsigned(), id) {
            return None;
        }
        self.last = id.0;
        self.requests.insert(id.0, (conversation, timeout));
        self.deadlines.add(now + timeout, id.0);
        Some(id)
    }

    /// Takes out a request that is answered; the conversation to answer in, if an answer is wanted.
    pub fn answer(&mut self, id: RequestId) -> Option<ConversationId> {
        Some(self.take(id)?.0)
    }

    fn take(&mut self, id: RequestId) -> Option<(ConversationId, Duration)> {
        let request = self.requests.remove(id.0)?;
        self.by_conversation.remove(request.0.0.cast_unsigned());
        self.deadlines.tidy(self.requests.len(), &|id| self.requests.get(id).is_some());
        Some(request)
    }

    /// When the next one has taken too long.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        Some(self.next()?.0)
    }

    fn next(&mut self) -> Option<(Moment, u64)> {
        self.deadlines.next(&|id| self.requests.get(id).is_some())
    }

    /// Takes out the one that [`Self::next_deadline`] is about, with the conversation to answer in and the time it had.
    pub fn end_next(&mut self) -> Option<(RequestId, ConversationId, Duration)> {
        let id = RequestId(self.next()?.1);
        let (conversation, timeout) = self.take(id)?;
        Some((id, conversation, timeout))
    }

    /// All of them.
    pub fn ids(&self) -> Vec<u64> {
        self.requests.numbers()
    }
}
