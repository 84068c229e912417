//! What came from a client: how many messages, and which of them came before.

use std::collections::HashMap;
use std::hash::BuildHasher;

use antiphon_protocol::wire::primitives::ConversationId;

/// Requests after a reconnection that are looked at for repetitions; as many as the official JavaScript client keeps.
const MAX_REMEMBERED: usize = 256;

/// The messages of a client, counted across its connections.
#[derive(Debug, Default)]
pub(super) struct Received {
    count: u64,
    past: Past,
}

/// What the next messages may have to do with those before.
#[derive(Debug, Default)]
enum Past {
    /// Nothing.
    #[default]
    Settled,
    /// It was forgotten, and nothing has come since: the client may not know of that.
    Forgotten,
    /// They may repeat requests that have come since the reconnection: here by conversation, with hashes of the messages.
    MayComeAgain(HashMap<ConversationId, u64>),
}

/// What a request is among those that came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    New,
    Repeated,
}

impl Received {
    /// Number of messages.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A message has come, whatever it is.
    pub fn count_message(&mut self) {
        self.count += 1;
        if matches!(self.past, Past::Forgotten) {
            self.past = Past::Settled;
        }
    }

    /// Remembers a request for as long as it may be repeated: after a reconnection the official JavaScript client sends
    /// some of what it should send again several times, in place of the others (section 14.2).
    pub fn remember(&mut self, conversation: ConversationId, frame: &[u8]) -> Request {
        let Past::MayComeAgain(seen) = &mut self.past else { return Request::New };
        if conversation == ConversationId::ONE_WAY {
            return Request::New;
        }
        let hash = seen.hasher().hash_one(frame);
        let request = if seen.insert(conversation, hash) == Some(hash) { Request::Repeated } else { Request::New };
        if seen.len() > MAX_REMEMBERED {
            self.past = Past::Settled;
        }
        request
    }

    /// The client has reconnected, and sends again what may not have arrived.
    pub fn expect_repetitions(&mut self) {
        self.past = Past::MayComeAgain(HashMap::new());
    }

    /// The counting starts anew.
    pub fn forget(&mut self) {
        *self = Self { count: 0, past: Past::Forgotten };
    }

    /// Whether the client may not know that its past was forgotten, and speak of messages that had the same numbers.
    pub fn is_forgotten(&self) -> bool {
        matches!(self.past, Past::Forgotten)
    }
}
