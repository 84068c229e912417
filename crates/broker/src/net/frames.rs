//! WebSocket frames as a server reads and writes them (RFC 6455, section 5). No sockets: bytes in, messages out.

use std::borrow::Cow;

use super::heads::{CONTINUATION, Head, PING, PONG, TEXT, TOO_MANY_FRAGMENTS, Violation, close_code, unmask, wrong};
use super::parts::Parts;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Binary(Cow<'a, [u8]>),
    /// A message of text, whatever it says and whether it is any.
    Text(Cow<'a, [u8]>),
    Ping(&'a [u8]),
    Pong,
    /// With the code it gives, if it gives one.
    Close(Option<u16>),
}

/// Fragments of a message. Each costs time of its own, however little is in it.
const MAX_FRAGMENTS: usize = 65_536;

/// Puts frames together from the bytes of a client, and messages from frames.
///
/// What arrives of a message is kept once, in the message: its frames are not kept beside it.
pub(super) struct Decoder {
    /// Bytes of the largest message.
    limit: usize,
    /// The beginning of a head or of a control frame.
    begun: Vec<u8>,
    /// The message whose end has not arrived.
    message: Option<Message>,
    /// Number of the messages that have begun.
    number: u64,
    /// Messages are not kept: nobody wants them any more.
    is_discarding: bool,
}

/// A message that has arrived in part.
struct Message {
    is_text: bool,
    bytes: Parts,
    fragments: usize,
    /// What is missing of its last frame; nothing between two frames.
    open: Option<Open>,
}

/// A frame that has arrived in part.
struct Open {
    is_last: bool,
    /// Of the next byte, and so on.
    mask: [u8; 4],
    /// Bytes that are missing.
    missing: usize,
}

impl Decoder {
    pub fn new(limit: usize) -> Self {
        Self { limit, begun: Vec::new(), message: None, number: 0, is_discarding: false }
    }

    /// The beginning of a frame that has arrived: what is read next belongs behind it. [`Self::decode`] wants both.
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// Bytes that have arrived of what is not whole.
    pub fn arrived(&self) -> usize {
        self.begun.len() + self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    /// Bytes of memory that they take.
    pub fn memory(&self) -> usize {
        self.begun.capacity() + self.message.as_ref().map_or(0, |message| message.bytes.memory())
    }

    /// Which message it is that is not whole: another number for another one.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// From now on, messages count nothing and are not kept.
    pub fn discard(&mut self) {
        self.is_discarding = true;
        if let Some(message) = &mut self.message {
            message.bytes = Parts::default();
        }
    }

    /// If more than `buffer` bytes are missing of a frame: where some of them are to be read to, and how many at most.
    /// [`Self::decode_large`] takes them from there.
    pub fn large(&mut self, buffer: usize) -> Option<(&mut Vec<u8>, usize)> {
        let Message { bytes, open, .. } = self.message.as_mut().filter(|_| !self.is_discarding)?;
        let open = open.as_ref()?;
        (open.missing > buffer).then(|| bytes.room(open.missing, open.is_last))
    }

    /// So many bytes were read to where [`Self::large`] said.
    pub fn decode_large(&mut self, read: usize, mut each: impl FnMut(Incoming<'_>)) {
        let Some(Message { bytes, open: Some(open), .. }) = &mut self.message else { return };
        unmask(bytes.last(read), open.mask);
        open.advance(read);
        if let Some(incoming) = self.finish_frame() {
            each(incoming);
        }
    }

    /// Decodes what a client sent, behind what was [begun](Self::begun).
    pub fn decode(&mut self, input: &mut [u8], mut each: impl FnMut(Incoming<'_>)) -> Result<(), Violation> {
        let decoded = self.decode_while(input, |incoming| {
            each(incoming);
            true
        });
        decoded.map(drop)
    }

    /// The same, for as long as `each` returns true. Returns how many bytes are left then, at the end of the input.
    pub fn decode_while(
        &mut self,
        mut input: &mut [u8],
        mut each: impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<usize, Violation> {
        self.begun.clear();
        loop {
            if let Some(taken) = self.go_on(input) {
                input = &mut input[taken..];
                if let Some(incoming) = self.finish_frame()
                    && !each(incoming)
                {
                    return Ok(input.len());
                }
            }
            let Some(head) = Head::decode(input, self.room())? else { break };
            let is_whole = input.len() - head.size >= head.length;
            if head.is_control() {
                if !is_whole {
                    break;
                }
                let (frame, rest) = input.split_at_mut(head.size + head.length);
                let payload = &mut frame[head.size..];
                unmask(payload, head.mask);
                let goes_on = each(control(head.opcode, payload)?);
                input = rest;
                if !goes_on {
                    return Ok(input.len());
                }
                continue;
            }
            let is_first = head.opcode != CONTINUATION;
            match self.message {
                Some(_) if is_first => return Err(wrong("a message within another one")),
                None if !is_first => return Err(wrong("the continuation of nothing")),
                _ => {}
            }
            if is_first {
                self.number += 1;
            }
            if is_first && is_whole && head.is_last && !self.is_discarding {
                let (frame, rest) = input.split_at_mut(head.size + head.length);
                let payload = &mut frame[head.size..];
                unmask(payload, head.mask);
                let form = if head.opcode == TEXT { Incoming::Text } else { Incoming::Binary };
                let goes_on = each(form((&*payload).into()));
                input = rest;
                if !goes_on {
                    return Ok(input.len());
                }
                continue;
            }
            let new = || Message { is_text: head.opcode == TEXT, bytes: Parts::default(), fragments: 0, open: None };
            let message = self.message.get_or_insert_with(new);
            message.fragments += 1;
            if message.fragments > MAX_FRAGMENTS {
                return Err(TOO_MANY_FRAGMENTS);
            }
            message.open = Some(Open { is_last: head.is_last, mask: head.mask, missing: head.length });
            input = &mut input[head.size..];
        }
        if input.is_empty() {
            // Most frames come whole: a connection that waits has no buffer.
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(input);
        }
        Ok(0)
    }

    /// Bytes that the next frame may have.
    fn room(&self) -> usize {
        self.limit - self.message.as_ref().map_or(0, |message| message.bytes.len())
    }

    /// Goes on with a frame that has arrived in part. Returns how much of the input belongs to it.
    fn go_on(&mut self, input: &mut [u8]) -> Option<usize> {
        let Message { bytes, open, .. } = self.message.as_mut()?;
        let open = open.as_mut()?;
        let part = open.missing.min(input.len());
        if !self.is_discarding {
            let payload = &mut input[..part];
            unmask(payload, open.mask);
            bytes.extend(payload, open.missing, open.is_last);
        }
        open.advance(part);
        Some(part)
    }

    /// If a frame has arrived whole now, it is a part of its message; if that has, too, it is returned.
    fn finish_frame(&mut self) -> Option<Incoming<'static>> {
        let open = &mut self.message.as_mut()?.open;
        let is_last = open.take_if(|open| open.missing == 0)?.is_last;
        let Message { is_text, bytes, .. } = self.message.take_if(|_| is_last)?;
        if self.is_discarding {
            return None;
        }
        let bytes = bytes.into_bytes().into();
        Some(if is_text { Incoming::Text(bytes) } else { Incoming::Binary(bytes) })
    }
}

impl Open {
    /// So many bytes of it have arrived.
    fn advance(&mut self, bytes: usize) {
        self.missing -= bytes;
        self.mask.rotate_left(bytes % 4);
    }
}

fn control(opcode: u8, payload: &[u8]) -> Result<Incoming<'_>, Violation> {
    Ok(match opcode {
        PING => Incoming::Ping(payload),
        PONG => Incoming::Pong,
        _ => Incoming::Close(close_code(payload)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::FrameHeader;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::super::heads::CLOSE;
    use super::super::reading::assert_read_as_by_tungstenite;

    const LIMIT: usize = 70_000;
    /// Frames that are larger are read to where they stay.
    const BUFFER: usize = 300;

    fn client_frame(first: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
        let opcode = OpCode::Data(Data::Binary);
        let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask };
        let mut bytes = Vec::new();
        header.format(payload.len() as u64, &mut bytes).unwrap();
        bytes[0] = first;
        bytes.extend(payload.iter().zip(mask.unwrap_or_default().iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    fn frame() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![6 => 0..20_usize, 3 => 100..400_usize, 1 => 60_000..LIMIT + 2];
        let first = prop_oneof![
            8 => Just(0x82_u8), 2 => Just(0x02), 3 => Just(0x00), 3 => Just(0x80), 1 => Just(0x81), 1 => Just(0x01),
            2 => Just(0x89), 2 => Just(0x8A), 1 => Just(0x88), 1 => any::<u8>()
        ];
        let mask = prop_oneof![30 => any::<[u8; 4]>().prop_map(Some), 1 => Just(None)];
        (first, length, mask).prop_map(|(first, length, mask)| {
            // Letters, which are text; a close frame has a code that may be sent.
            let mut payload: Vec<_> = (0..length).map(|at| b'a' + (at % 26) as u8).collect();
            if first & 0x0F == CLOSE && length >= 2 {
                payload[..2].copy_from_slice(&[3, 232]);
            }
            client_frame(first, &payload, mask)
        })
    }

    proptest! {
        #[test]
        fn a_client_is_understood_as_tungstenite_does(
            frames in prop::collection::vec(frame(), 0..12),
            pieces in prop::collection::vec(prop_oneof![1..30_usize, 200..100_000_usize], 1..5),
            cut in 0..40_usize,
        ) {
            let mut bytes = frames.concat();
            bytes.truncate(bytes.len() - cut.min(bytes.len()));
            assert_read_as_by_tungstenite(&bytes, &pieces, LIMIT, BUFFER);
        }
    }
}
