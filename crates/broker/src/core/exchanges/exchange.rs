//! One request that was forwarded.

use std::sync::Arc;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;

use crate::core::per_session::SessionKey;
use crate::core::repeats::KeyId;

/// A request that was forwarded, and where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::core) struct Exchange {
    pub sender: SessionKey,
    pub reply_to: ReplyTo,
    pub recipient: SessionKey,
    /// Between the broker and the recipient; new with every delivery.
    pub conversation: ConversationId,
    /// The path that the handler is registered at: of few paths, where senders choose among very many. Nothing if the
    /// request went to a session.
    pub registered: Option<Arc<str>>,
    /// Whether it has one of the places of that handler, which takes so many requests at a time.
    pub takes_place: bool,
    pub standing: Standing,
    pub opened: Moment,
    /// When its sender is told that no answer came.
    pub deadline: Moment,
    /// When it is closed at the latest, whoever waits: the broker's own limit. Not before the deadline.
    pub guard: Moment,
    /// Bytes of the message to the recipient.
    pub bytes: u32,
}

/// Every request moves an exchange several times. The compiler does that in a few instructions up to this size, and
/// calls a function for more.
const _: () = assert!(size_of::<Exchange>() <= 128);

impl Exchange {
    /// When it is due.
    pub(super) fn due(&self) -> Moment {
        if self.is_awaited() { self.deadline } else { self.guard }
    }

    /// Whether its sender waits.
    pub fn is_awaited(&self) -> bool {
        matches!(self.standing, Standing::Awaited | Standing::AwaitsKey(_))
    }

    /// The key, if it only waits for what becomes of one.
    pub fn awaited_key(&self) -> Option<KeyId> {
        if let Standing::AwaitsKey(key) = self.standing { Some(key) } else { None }
    }

    /// The path at which it has a place of its recipient's handler: until that has heard that nobody waits.
    pub(super) fn place(&self) -> Option<&Arc<str>> {
        self.registered.as_ref().filter(|_| self.takes_place && self.standing != Standing::Cancelled)
    }
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum Standing {
    /// The sender waits for it.
    Awaited,
    /// The sender waits for what becomes of this key: a request with it was delivered before, in the conversation.
    AwaitsKey(KeyId),
    /// Nobody, and the recipient does not know.
    Unwanted,
    /// Nobody, and the recipient was told: it does no more for it once it has read that.
    Cancelled,
    /// All that wait for what becomes of this key. The sender is the first of them, and waits by another exchange.
    Keyed(KeyId),
}

/// The form in which an answer is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum ReplyTo {
    /// As the answer to the request itself.
    Request(ConversationId),
    /// As one of the answers to a request that went to a filter: under the number that its sender chose for these.
    Filter { request: ConversationId, responses: ConversationId },
}

impl ReplyTo {
    /// The conversation in which the sender asked.
    pub fn request(self) -> ConversationId {
        match self {
            Self::Request(request) | Self::Filter { request, .. } => request,
        }
    }
}
