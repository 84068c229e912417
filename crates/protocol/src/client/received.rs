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
    /// How long its sender waits for the answer, from when the request came. None if it did not say.
    pub time_left: Option<Duration>,
    /// The idempotency key under which its sender may send it again; none if it has none.
    pub key: Option<String>,
    /// What its sender says beside it: a json value in CBOR, which should be an object of strings; empty if there is none.
    pub metadata: Vec<u8>,
}

/// The sender of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// Its session.
    pub session: SessionId,
    /// Its session properties, those that the request handler asked for.
    pub properties: Vec<(String, String)>,
}

/// A request that is with the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    /// Where it is to be answered.
    pub conversation: ConversationId,
    /// How long the handler may take, if that is what it has; else it has what its sender has.
    pub timeout: Option<Duration>,
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
    requests: Numbered<Open>,
    by_conversation: Numbered<RequestId>,
    deadlines: Deadlines,
}

impl ReceivedRequests {
    pub fn is_full(&self) -> bool {
        self.requests.len() >= MAX_RECEIVED
    }

    /// Adds a request of the server, which may take the less of `timeout` and what its sender has left; nothing if it is being
    /// answered already.
    pub fn add(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        timeout: Duration,
        time_left: Option<Duration>,
    ) -> Option<RequestId> {
        let id = RequestId(self.last + 1);
        if !self.by_conversation.insert(conversation.0.cast_unsigned(), id) {
            return None;
        }
        self.last = id.0;
        let time_left = time_left.filter(|left| *left <= timeout);
        let open = Open { conversation, timeout: if time_left.is_some() { None } else { Some(timeout) } };
        self.requests.insert(id.0, open);
        self.deadlines.add(now + time_left.unwrap_or(timeout), id.0);
        Some(id)
    }

    /// Takes out a request that is answered; the conversation to answer in, if an answer is wanted.
    pub fn answer(&mut self, id: RequestId) -> Option<ConversationId> {
        Some(self.take(id)?.conversation)
    }

    /// The request that is to be answered in a conversation.
    pub fn in_conversation(&self, conversation: ConversationId) -> Option<RequestId> {
        self.by_conversation.get(conversation.0.cast_unsigned()).copied()
    }

    fn take(&mut self, id: RequestId) -> Option<Open> {
        let request = self.requests.remove(id.0)?;
        self.by_conversation.remove(request.conversation.0.cast_unsigned());
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

    /// Takes out the one that [`Self::next_deadline`] is about.
    pub fn end_next(&mut self) -> Option<(RequestId, Open)> {
        let id = RequestId(self.next()?.1);
        Some((id, self.take(id)?))
    }

    /// All of them.
    pub fn ids(&self) -> Vec<u64> {
        self.requests.numbers()
    }
}
