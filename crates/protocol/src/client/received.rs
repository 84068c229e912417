//! Received requests that the application has not answered yet.

use super::ids::{HandlerId, RequestId};
use crate::numbered::Numbered;
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
    conversations: Numbered<ConversationId>,
    by_conversation: Numbered<RequestId>,
}

impl ReceivedRequests {
    pub fn is_full(&self) -> bool {
        self.conversations.len() >= MAX_RECEIVED
    }

    /// Adds a request of the server; nothing if it is being answered already.
    pub fn add(&mut self, conversation: ConversationId) -> Option<RequestId> {
        let id = RequestId(self.last + 1);
        if !self.by_conversation.insert(conversation.0.cast_unsigned(), id) {
            return None;
        }
        self.last = id.0;
        self.conversations.insert(id.0, conversation);
        Some(id)
    }

    /// Takes out a request that is answered; the conversation to answer in, if an answer is wanted.
    pub fn answer(&mut self, id: RequestId) -> Option<ConversationId> {
        let conversation = self.conversations.remove(id.0)?;
        self.by_conversation.remove(conversation.0.cast_unsigned());
        Some(conversation)
    }

    /// All of them.
    pub fn ids(&self) -> Vec<u64> {
        self.conversations.numbers()
    }
}
