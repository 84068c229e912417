//! What is sent again on the next connection of a session (section 10): both ends number the messages, and say at a
//! reconnection which of them they have.

use crate::features::Features;
use crate::recovery::{Frame, RecoveryBuffer, RecoveryLimits};
use crate::wire::handshake::{Recovery, SessionToken};
use crate::wire::headers;

/// The messages of a session in both directions, across its connections.
#[derive(Debug)]
pub struct Replay {
    /// What was sent, for the case that the connection is lost.
    sent: RecoveryBuffer<Frame>,
    /// How many messages came from the server.
    received: u64,
}

impl Replay {
    pub fn new(limits: RecoveryLimits) -> Self {
        Self { sent: RecoveryBuffer::new(limits), received: 0 }
    }

    /// Counts and keeps a message to the server.
    pub fn push(&mut self, frame: Frame) {
        self.sent.push(frame);
    }

    /// Counts a message from the server.
    pub fn count_received(&mut self) {
        self.received += 1;
    }

    /// What the server is told when the session is to go on.
    pub fn recovery(&self, token: &SessionToken) -> Recovery {
        let token = token.as_text().to_owned();
        Recovery { token, oldest_sent: self.sent.first(), last_received: self.received }
    }

    /// What the server wants again, from message `number` on. Nothing if some of that is gone or was never sent, or if it
    /// says what `features`, those of the new connection, do not have.
    pub fn since(&self, number: u64, features: Features) -> Option<Vec<Frame>> {
        let missed: Vec<Frame> = self.sent.since(number)?.cloned().collect();
        missed.iter().all(|frame| headers::may_go(frame, features)).then_some(missed)
    }

    /// All that was under way is lost, and both ends count from the beginning again.
    pub fn reset(&mut self) {
        self.sent.reset();
        self.received = 0;
    }
}
