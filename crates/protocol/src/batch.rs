//! Batches: several messages in one WebSocket message, which costs a browser about as much as one (section 18.2); used by
//! both ends of a connection that agreed on [`Features::BATCHING`].

use std::mem;

use crate::features::Features;
use crate::wire::primitives::encode_length;
use crate::wire::{Decode, DecodeError, Reader};

/// The first byte of a batch; no message has it.
const BATCH: u8 = 62;

/// Most messages in a batch. Who receives one handles all of them before anything else.
pub const MAX_BATCH_MESSAGES: usize = 1024;

/// Most bytes of a batch. A longer message goes alone.
pub const MAX_BATCH_BYTES: usize = 64 << 10;

/// What the first byte of a batch and the length of a message in it take, at most.
const HEAD_BYTES: usize = 4;

/// The messages of a WebSocket message: those of a batch, or itself, if it is none. `features` are those of the connection.
///
/// # Errors
///
/// For each message that is cut short, or one too many; nothing follows then.
pub fn messages(frame: &[u8], features: Features) -> Messages<'_> {
    match frame {
        [BATCH, batch @ ..] if features.has(Features::BATCHING) && frame.len() <= MAX_BATCH_BYTES => {
            Messages::Batch(Reader::new(batch), MAX_BATCH_MESSAGES)
        }
        _ => Messages::Single(Some(frame)),
    }
}

/// See [`messages`].
#[derive(Debug)]
pub enum Messages<'a> {
    /// What is left of a batch, and how many messages that may be.
    Batch(Reader<'a>, usize),
    /// What is no batch.
    Single(Option<&'a [u8]>),
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<&'a [u8], DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Single(frame) => frame.take().map(Ok),
            Self::Batch(input, _) if input.rest().is_empty() => None,
            Self::Batch(input, left) => {
                let message = match left.checked_sub(1) {
                    Some(fewer) => {
                        *left = fewer;
                        <&[u8]>::decode(input)
                    }
                    None => Err(DecodeError::TrailingBytes),
                };
                if message.is_err() {
                    *self = Self::Single(None);
                }
                Some(message)
            }
        }
    }
}

/// Puts messages that are sent at the same time into batches, in order. One that is alone stays as it is.
#[derive(Debug)]
pub struct Batcher<F> {
    /// The first message, before there is a second one.
    alone: Option<F>,
    /// The messages behind their first byte, if there are several.
    batch: Vec<u8>,
    messages: usize,
}

impl<F> Default for Batcher<F> {
    fn default() -> Self {
        Self { alone: None, batch: Vec::new(), messages: 0 }
    }
}

impl<F: AsRef<[u8]> + From<Vec<u8>>> Batcher<F> {
    /// Whether there is nothing to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Adds a message, to a batch of at most `limit` bytes, and no more than [`MAX_BATCH_BYTES`]. Returns what has to be sent
    /// before it, because both together would be too much.
    #[must_use]
    pub fn push(&mut self, message: F, limit: usize) -> Option<F> {
        let waiting = self.alone.as_ref().map_or(self.batch.len(), |alone| HEAD_BYTES + alone.as_ref().len());
        let bytes = waiting + HEAD_BYTES + message.as_ref().len();
        let is_full = bytes > limit.min(MAX_BATCH_BYTES) || self.messages == MAX_BATCH_MESSAGES;
        let full = if is_full { self.take() } else { None };
        self.messages += 1;
        if self.messages == 1 {
            self.alone = Some(message);
            return full;
        }
        if let Some(alone) = self.alone.take() {
            self.batch.push(BATCH);
            append(alone.as_ref(), &mut self.batch);
        }
        append(message.as_ref(), &mut self.batch);
        full
    }

    /// Takes what is to be sent; nothing if there is nothing.
    pub fn take(&mut self) -> Option<F> {
        let messages = mem::take(&mut self.messages);
        let batch = mem::take(&mut self.batch);
        self.alone.take().or_else(|| (messages > 0).then(|| batch.into()))
    }
}

fn append(message: &[u8], batch: &mut Vec<u8>) {
    encode_length(message.len(), batch);
    batch.extend_from_slice(message);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batch_of(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        batches_within(MAX_BATCH_BYTES, messages)
    }

    fn batches_within(limit: usize, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut batcher = Batcher::default();
        let mut frames: Vec<Vec<u8>> =
            messages.iter().filter_map(|message| batcher.push(message.clone(), limit)).collect();
        frames.extend(batcher.take());
        frames
    }

    fn read(frame: &[u8]) -> Result<Vec<Vec<u8>>, DecodeError> {
        messages(frame, Features::ALL).map(|message| message.map(<[u8]>::to_vec)).collect()
    }

    #[test]
    fn one_message_stays_as_it_is_and_several_become_one() {
        assert_eq!(batch_of(&[]), [[0; 0]; 0]);
        assert_eq!(batch_of(&[vec![6, 1]]), [[6, 1]]);
        assert_eq!(batch_of(&[vec![6, 1], vec![29]]), [[62, 2, 6, 1, 1, 29]]);
        assert_eq!(read(&[6, 1]), Ok(vec![vec![6, 1]]));
        assert_eq!(read(&[62, 2, 6, 1, 1, 29]), Ok(vec![vec![6, 1], vec![29]]));
        assert_eq!(read(&[62]), Ok(vec![]));
        let without: Vec<_> = messages(&[62, 1, 28], !Features::BATCHING).collect();
        assert_eq!(without, [Ok(&[62, 1, 28][..])], "no batch, and no message either");
    }

    #[test]
    fn a_batch_is_bounded_by_messages_and_by_bytes() {
        let many = vec![vec![28]; MAX_BATCH_MESSAGES + 1];
        assert_eq!(batch_of(&many).len(), 2);
        let mut too_many = batch_of(&many[1..]).remove(0);
        assert_eq!(read(&too_many).map(|messages| messages.len()), Ok(MAX_BATCH_MESSAGES));
        too_many.extend([1, 28]);
        assert_eq!(read(&too_many), Err(DecodeError::TrailingBytes));

        let large = vec![1; MAX_BATCH_BYTES];
        assert_eq!(batch_of(&[vec![2], large.clone(), vec![3]]), [vec![2], large, vec![3]]);
        let over = [&[BATCH][..], &[0; MAX_BATCH_BYTES]].concat();
        assert_eq!(read(&over), Ok(vec![over.clone()]), "no batch, and no message either");
    }

    #[test]
    fn a_batch_that_is_cut_short_ends_with_the_fault() {
        let mut read = messages(&[62, 1, 28, 2, 0], Features::ALL);
        assert_eq!(read.next(), Some(Ok(&[28][..])));
        assert!(read.next().is_some_and(|message| message.is_err()));
        assert_eq!(read.next(), None);
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            sizes in prop::collection::vec((1usize..40_000, 0u8..60), 0..40),
            limit in prop_oneof![1usize..100_000, Just(usize::MAX)],
        ) {
            let sent: Vec<Vec<u8>> = sizes.iter().map(|(size, byte)| vec![*byte; *size]).collect();
            let frames = batches_within(limit, &sent);
            // A message that is too long for a batch is in none.
            let is_within = |frame: &Vec<u8>| frame[0] != BATCH || frame.len() <= limit.min(MAX_BATCH_BYTES);
            prop_assert!(frames.iter().all(is_within));
            let received: Vec<_> = frames.iter().flat_map(|frame| read(frame).unwrap()).collect();
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn anything_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let batch = [&[BATCH][..], &bytes].concat();
            let read: Vec<_> = messages(&batch, Features::ALL).collect();
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
