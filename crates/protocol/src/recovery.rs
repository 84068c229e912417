//! The recovery buffer: sent messages, kept so that they can be sent again on another connection; used by both ends.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::Arc;

/// A message as it goes over a WebSocket. Clones share its bytes, which are kept and sent without another copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Arc<Vec<u8>>);

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The limits of a recovery buffer. Whatever is older is forgotten; a gap that reaches there cannot be bridged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryLimits {
    /// Most messages.
    pub messages: usize,
    /// Most bytes, in all messages together.
    pub bytes: usize,
}

impl Default for RecoveryLimits {
    /// 1,024 messages or 1 MiB.
    fn default() -> Self {
        Self { messages: 1024, bytes: 1 << 20 }
    }
}

/// The messages sent on a session, numbered from 1 across its connections (section 10).
///
/// Memory is taken as it is needed.
#[derive(Debug)]
pub struct RecoveryBuffer<F> {
    limits: RecoveryLimits,
    /// The latest ones, oldest first.
    frames: VecDeque<F>,
    bytes: usize,
    sent: u64,
}

impl<F: AsRef<[u8]>> RecoveryBuffer<F> {
    /// An empty one: nothing has been sent.
    #[must_use]
    pub fn new(limits: RecoveryLimits) -> Self {
        Self { limits, frames: VecDeque::new(), bytes: 0, sent: 0 }
    }

    /// Counts a message and keeps it.
    pub fn push(&mut self, frame: F) {
        self.sent += 1;
        self.bytes += frame.as_ref().len();
        self.frames.push_back(frame);
        while self.frames.len() > self.limits.messages || self.bytes > self.limits.bytes {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.as_ref().len();
        }
    }

    /// Number of the last message sent; 0 if there was none.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Number of the oldest message that is still here; that of the next one if none is.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.sent + 1 - self.frames.len() as u64
    }

    /// The messages from `number` on; nothing if some of them are gone, or if there were never so many.
    #[must_use]
    pub fn since(&self, number: u64) -> Option<impl Iterator<Item = &F>> {
        let skipped = number.checked_sub(self.first())?;
        let known = number <= self.sent + 1;
        known.then(|| self.frames.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX)))
    }

    /// Takes messages from `number` on out, as if they had never been sent: all that are here and not wanted.
    pub fn retain_since(&mut self, number: u64, mut is_wanted: impl FnMut(&[u8]) -> bool) {
        let mut next = self.first();
        let before = self.frames.len();
        let bytes = &mut self.bytes;
        self.frames.retain(|frame| {
            let stays = next < number || is_wanted(frame.as_ref());
            next += 1;
            if !stays {
                *bytes -= frame.as_ref().len();
            }
            stays
        });
        self.sent -= (before - self.frames.len()) as u64;
    }

    /// Bytes of the messages that are here.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets the messages and goes on counting.
    pub fn forget(&mut self) {
        self.frames = VecDeque::new();
        self.bytes = 0;
    }

    /// Forgets everything: the counting starts anew.
    pub fn reset(&mut self) {
        self.forget();
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(buffer: &RecoveryBuffer<Vec<u8>>, since: u64) -> Option<Vec<u8>> {
        Some(buffer.since(since)?.map(|frame| frame[0]).collect())
    }

    #[test]
    fn what_is_kept_can_be_had_again_and_nothing_else() {
        let mut buffer = RecoveryBuffer::new(RecoveryLimits { messages: 3, bytes: 100 });
        assert_eq!((buffer.first(), numbers(&buffer, 1), numbers(&buffer, 2)), (1, Some(vec![]), None));
        for number in 1..=5 {
            buffer.push(vec![number]);
        }
        assert_eq!((buffer.first(), buffer.sent()), (3, 5));
        assert_eq!(numbers(&buffer, 2), None);
        assert_eq!(numbers(&buffer, 3), Some(vec![3, 4, 5]));
        assert_eq!(numbers(&buffer, 6), Some(vec![]));
        assert_eq!(numbers(&buffer, 7), None);
        assert_eq!(numbers(&buffer, 0), None);
        buffer.reset();
        assert_eq!((buffer.first(), buffer.sent()), (1, 0));
    }

    #[test]
    fn what_was_taken_out_was_never_sent() {
        let mut buffer = RecoveryBuffer::new(RecoveryLimits { messages: 4, bytes: 100 });
        for number in 1..=6 {
            buffer.push(vec![number; 2]);
        }
        buffer.retain_since(4, |frame| frame[0] != 3 && frame[0] != 5);
        assert_eq!((buffer.first(), buffer.sent(), buffer.bytes()), (3, 5, 6));
        assert_eq!(numbers(&buffer, 3), Some(vec![3, 4, 6]));
        buffer.retain_since(1, |_| false);
        assert_eq!((buffer.first(), buffer.sent(), buffer.bytes()), (3, 2, 0));
        buffer.push(vec![7]);
        assert_eq!(numbers(&buffer, 3), Some(vec![7]));
    }

    #[test]
    fn bytes_are_limited_too_and_a_message_beyond_the_limit_leaves_a_gap() {
        let mut buffer = RecoveryBuffer::new(RecoveryLimits { messages: 100, bytes: 10 });
        for number in 1..=4 {
            buffer.push(vec![number; 4]);
        }
        assert_eq!(numbers(&buffer, 3), Some(vec![3, 4]));
        buffer.push(vec![5; 11]);
        assert_eq!((buffer.first(), numbers(&buffer, 5)), (6, None));
        buffer.push(vec![6]);
        assert_eq!(numbers(&buffer, 6), Some(vec![6]));
    }
}
