//! What is to be sent on a connection, and how much that is.

use std::ops::AddAssign;

use bytes::Bytes;

/// Bytes that a message takes besides its own, in the queue and in the allocator.
pub(super) const OVERHEAD: usize = 128;

/// What is to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A message, in a WebSocket message of its own.
    Alone(Bytes),
    /// A message, with others of these that are there at the same time.
    Together(Bytes),
    /// The end, with what a close frame says.
    Close(Bytes),
    #[cfg(feature = "echo")]
    Text(Bytes),
}

/// A number of messages, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub messages: usize,
    pub bytes: usize,
}

impl Outgoing {
    pub fn amount(&self) -> Amount {
        match self {
            Self::Alone(message) | Self::Together(message) => Amount { messages: 1, bytes: message.len() },
            Self::Close(_) => Amount::default(),
            #[cfg(feature = "echo")]
            Self::Text(text) => Amount { messages: 1, bytes: text.len() },
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Amount {
    pub fn is_within(self, messages: usize, bytes: usize) -> bool {
        self.messages <= messages && self.bytes <= bytes
    }

    /// Bytes of memory that it takes, about.
    pub fn memory(self) -> usize {
        self.bytes + self.messages * OVERHEAD
    }
}
