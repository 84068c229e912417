//! The limits of what a client sends and is sent once its WebSocket is open.

use std::time::Duration;

/// What may be kept in memory of the messages of all connections, and for how long.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Messages that may wait to be sent to one client for long. More is a burst.
    pub queue_messages: usize,
    /// Their bytes.
    pub queue_bytes: usize,
    /// Messages that may wait to be sent to one client at any time.
    pub queue_burst_messages: usize,
    /// Their bytes. A single message may have more.
    pub queue_burst_bytes: usize,
    /// How long a burst may wait. A client that has not caught up by then reads too slowly, unless it takes
    /// [`queue_rate`](Self::queue_rate).
    pub queue_patience: Duration,
    /// Bytes a second that a client with a burst has to take, measured over the patience.
    pub queue_rate: usize,
    /// Bytes that may wait to be sent to all clients together. Beyond, those for whom most is waiting read too slowly.
    pub max_queued_bytes: usize,
    /// Bytes of messages, of all clients together, that have arrived in part. Beyond, the connections of those that have
    /// sent most of theirs are closed.
    pub max_unfinished_bytes: usize,
    /// How long a connection waits for the rest of a message, unless [`message_rate`](Self::message_rate) of it arrives.
    pub message_patience: Duration,
    /// Bytes a second that have to arrive of a message, measured over the patience.
    pub message_rate: usize,
    /// Bytes of memory that the process may take; zero for any number. Well below, nothing new is begun any more.
    pub memory: usize,
}

impl Traffic {
    /// What is kept of messages may take parts of the memory only.
    pub(super) fn within_memory(self) -> Self {
        if self.memory == 0 {
            return self;
        }
        Self {
            max_queued_bytes: self.max_queued_bytes.min(self.memory / 2),
            max_unfinished_bytes: self.max_unfinished_bytes.min(self.memory / 4),
            ..self
        }
    }
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            queue_messages: 12_000,
            queue_bytes: 10 << 20,
            queue_burst_messages: 120_000,
            queue_burst_bytes: 128 << 20,
            queue_patience: Duration::from_secs(5),
            queue_rate: 64 << 10,
            max_queued_bytes: 512 << 20,
            max_unfinished_bytes: 256 << 20,
            message_patience: Duration::from_secs(10),
            message_rate: 16 << 10,
            memory: 0,
        }
    }
}
