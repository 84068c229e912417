//! Counts the messages that came from a client, and recognises repeated ones.

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

/// How the next messages may relate to earlier ones.
#[derive(Debug, Default)]
enum Past {
    /// Nothing.
    #[default]
    Done,
    /// It was forgotten, and nothing has come since: the client may not know of that.
    Forgotten,
    /// They may repeat requests that have come since the reconnection: here by conversation, with hashes of the messages.
    MayBeRepeated(HashMap<ConversationId, u64>),
}

/// Whether a request has come before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occurrence {
    First,
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
            self.past = Past::Done;
        }
    }

    /// Remembers a request for as long as it may be repeated: after a reconnection the official JavaScript client sends
    /// some of what it should send again several times, in place of the others (section 14.2).
    pub fn remember(&mut self, conversation: ConversationId, frame: &[u8]) -> Occurrence {
        let Past::MayBeRepeated(seen) = &mut self.past else { return Occurrence::First };
        if conversation == ConversationId::ONE_WAY {
            return Occurrence::First;
        }
        let hash = seen.hasher().hash_one(frame);
        let occurrence =
            if seen.insert(conversation, hash) == Some(hash) { Occurrence::Repeated } else { Occurrence::First };
        if seen.len() > MAX_REMEMBERED {
            self.past = Past::Done;
        }
        occurrence
    }

    /// The client has reconnected, and sends again what may not have arrived.
    pub fn expect_repetitions(&mut self) {
        self.past = Past::MayBeRepeated(HashMap::new());
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
