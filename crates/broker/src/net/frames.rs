//! WebSocket frames as a server reads and writes them (RFC 6455, section 5). No sockets: bytes in, messages out.

use std::borrow::Cow;

/// Bytes of the longest head that a frame from a server has: it is not masked.
const HEAD: usize = 10;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Binary(Cow<'a, [u8]>),
    /// A message of text, whatever it says.
    Text,
    Ping(&'a [u8]),
    Pong,
    /// With the code it gives, if it gives one.
    Close(Option<u16>),
}

/// A client sent what is no WebSocket frame, or too large a one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub what: &'static str,
    /// The close code that says so (RFC 6455, section 7.4.1).
    pub code: u16,
}

/// What kind of frame it is, as far as the broker sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Binary = 2,
    Close = 8,
    Pong = 10,
}

/// The head of a frame from a server, and its length.
pub(super) fn head(kind: Kind, length: usize) -> ([u8; HEAD], usize) {
    let mut head = [0; HEAD];
    head[0] = 0x80 | kind as u8;
    let bytes = (length as u64).to_be_bytes();
    let size = match length {
        0..=125 => {
            head[1] = bytes[7];
            2
        }
        126..=0xFFFF => {
            head[1] = 126;
            head[2..4].copy_from_slice(&bytes[6..]);
            4
        }
        _ => {
            head[1] = 127;
            head[2..].copy_from_slice(&bytes);
            HEAD
        }
    };
    (head, size)
}

/// Fragments of a message. Each costs time of its own, however little is in it.
const MAX_FRAGMENTS: usize = 65_536;

/// Puts frames together from the bytes of a client, and messages from frames.
pub(super) struct Decoder {
    /// Bytes of the largest message.
    limit: usize,
    /// The beginning of a frame whose end has not arrived.
    begun: Vec<u8>,
    /// The fragments of a message whose last has not arrived.
    message: Option<Message>,
}

struct Message {
    is_text: bool,
    bytes: Vec<u8>,
    fragments: usize,
}

/// The head of a frame from a client.
struct Head {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of the head itself.
    size: usize,
    /// Bytes of what follows.
    length: usize,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

impl Decoder {
    pub fn new(limit: usize) -> Self {
        Self { limit, begun: Vec::new(), message: None }
    }

    /// The beginning of a frame that has arrived: what is read next belongs behind it. [`Self::decode`] wants both.
    pub fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// If the frame that has begun is larger than `buffer` bytes: where the rest of it is to be read to, and how much
    /// that is at most. [`Self::decode_begun`] takes it from there.
    pub fn large(&mut self, buffer: usize) -> Option<(&mut Vec<u8>, usize)> {
        let head = Head::decode(&self.begun, self.limit).ok()??;
        let total = head.size + head.length;
        let missing = total - self.begun.len();
        (total > buffer).then_some((&mut self.begun, missing))
    }

    /// Decodes the frame that was read to where [`Self::large`] said, if all of it is there.
    pub fn decode_begun(&mut self, mut each: impl FnMut(Incoming<'_>)) -> Result<(), Violation> {
        let mut begun = std::mem::take(&mut self.begun);
        self.decode(&mut begun, &mut each)
    }

    /// Decodes what a client sent, behind what was [begun](Self::begun).
    pub fn decode(&mut self, mut input: &mut [u8], mut each: impl FnMut(Incoming<'_>)) -> Result<(), Violation> {
        self.begun.clear();
        while let Some(head) = Head::decode(input, self.limit)? {
            if input.len() - head.size < head.length {
                break;
            }
            let (frame, rest) = input.split_at_mut(head.size + head.length);
            let payload = &mut frame[head.size..];
            unmask(payload, head.mask);
            if let Some(incoming) = self.take(&head, payload)? {
                each(incoming);
            }
            input = rest;
        }
        if input.is_empty() {
            // Most frames come whole: a connection that waits has no buffer.
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(input);
        }
        Ok(())
    }

    fn take<'a>(&mut self, head: &Head, payload: &'a [u8]) -> Result<Option<Incoming<'a>>, Violation> {
        let incoming = match head.opcode {
            PING => Incoming::Ping(payload),
            PONG => Incoming::Pong,
            CLOSE => Incoming::Close(close_code(payload)?),
            TEXT | BINARY if self.message.is_some() => return Err(wrong("a message within another one")),
            TEXT if head.is_last => Incoming::Text,
            BINARY if head.is_last => Incoming::Binary(payload.into()),
            TEXT | BINARY => {
                self.message = Some(Message { is_text: head.opcode == TEXT, bytes: payload.to_vec(), fragments: 1 });
                return Ok(None);
            }
            _ => {
                let Some(mut message) = self.message.take() else {
                    return Err(wrong("the continuation of nothing"));
                };
                if payload.len() > self.limit - message.bytes.len() {
                    return Err(TOO_LARGE);
                }
                message.fragments += 1;
                if message.fragments > MAX_FRAGMENTS {
                    return Err(TOO_MANY_FRAGMENTS);
                }
                message.bytes.extend_from_slice(payload);
                if !head.is_last {
                    self.message = Some(message);
                    return Ok(None);
                }
                if message.is_text { Incoming::Text } else { Incoming::Binary(message.bytes.into()) }
            }
        };
        Ok(Some(incoming))
    }
}

const TOO_LARGE: Violation = Violation { what: "a message that is too large", code: 1009 };
const TOO_MANY_FRAGMENTS: Violation = Violation { what: "a message in too many fragments", code: 1009 };

/// What is against the rules of WebSocket.
const fn wrong(what: &'static str) -> Violation {
    Violation { what, code: 1002 }
}

impl Head {
    /// Nothing if not all of it is there.
    fn decode(bytes: &[u8], limit: usize) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (is_last, opcode, is_control) = (first & 0x80 != 0, first & 0x0F, first & 0x08 != 0);
        if first & 0x70 != 0 || !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
            return Err(wrong("an unknown kind of frame"));
        }
        if second & 0x80 == 0 {
            return Err(wrong("a frame that is not masked"));
        }
        let (length, rest, size) = match second & 0x7F {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest, 8),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest, 14),
                None => return Ok(None),
            },
            length => (u64::from(length), rest, 6),
        };
        if is_control && (length > 125 || !is_last) {
            return Err(wrong("a control frame that is too large, or in fragments"));
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or(TOO_LARGE)?;
        let Some((mask, _)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_last, opcode, mask: *mask, size, length }))
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(wrong("half a close code")),
        [high, low, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(_) => Ok(Some(u16::from_be_bytes([*high, *low]))),
            Err(_) => Err(Violation { what: "a reason that is no text", code: 1007 }),
        },
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind, Read, Write};

    use proptest::prelude::*;
    use tungstenite::protocol::frame::coding::{Data, OpCode};
    use tungstenite::protocol::frame::{Frame, FrameHeader};
    use tungstenite::protocol::{Message as Theirs, Role, WebSocket, WebSocketConfig};

    use super::*;

    const LIMIT: usize = 70_000;
    /// Frames that are larger are read to where they stay.
    const BUFFER: usize = 300;

    /// What a decoder made of bytes, and whether it refused to go on.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Seen {
        messages: Vec<String>,
        is_violation: bool,
    }

    /// Ours, with the bytes in pieces; what comes after a close frame counts no more.
    fn ours(bytes: &[u8], pieces: &[usize]) -> Seen {
        let mut decoder = Decoder::new(LIMIT);
        let (mut seen, mut at, mut pieces) = (Seen::default(), 0, pieces.iter().cycle());
        while at < bytes.len() && !seen.is_violation {
            let mut note = |incoming: Incoming<'_>| {
                if seen.messages.last().is_none_or(|last| !last.starts_with("close")) {
                    seen.messages.push(match incoming {
                        Incoming::Binary(bytes) => format!("binary {bytes:?}"),
                        Incoming::Text => "text".into(),
                        Incoming::Ping(payload) => format!("ping {payload:?}"),
                        Incoming::Pong => "pong".into(),
                        Incoming::Close(code) => format!("close {code:?}"),
                    });
                }
            };
            let piece = pieces.next().copied().unwrap_or(1).clamp(1, bytes.len() - at);
            let decoded = if let Some((large, missing)) = decoder.large(BUFFER) {
                let piece = missing.min(piece);
                large.extend_from_slice(&bytes[at..at + piece]);
                at += piece;
                if piece == missing { decoder.decode_begun(&mut note) } else { Ok(()) }
            } else {
                let mut input = [decoder.begun(), &bytes[at..at + piece]].concat();
                at += piece;
                decoder.decode(&mut input, &mut note)
            };
            seen.is_violation = decoded.is_err();
        }
        seen
    }

    /// There is nothing more than these bytes at the moment.
    struct Pending<'a>(&'a [u8]);

    impl Read for Pending<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0.is_empty() { Err(Error::from(ErrorKind::WouldBlock)) } else { self.0.read(buffer) }
        }
    }

    impl Write for Pending<'_> {
        fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
            Ok(buffer.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The same by tungstenite.
    fn theirs(bytes: &[u8]) -> Seen {
        let config = WebSocketConfig::default().max_frame_size(Some(LIMIT)).max_message_size(Some(LIMIT));
        let mut socket = WebSocket::from_raw_socket(Pending(bytes), Role::Server, Some(config));
        let mut seen = Seen::default();
        loop {
            seen.messages.push(match socket.read() {
                Ok(Theirs::Binary(bytes)) => format!("binary {:?}", &bytes[..]),
                Ok(Theirs::Text(_)) => "text".into(),
                Ok(Theirs::Ping(payload)) => format!("ping {:?}", &payload[..]),
                Ok(Theirs::Pong(_)) => "pong".into(),
                Ok(Theirs::Close(frame)) => {
                    seen.messages.push(format!("close {:?}", frame.map(|frame| u16::from(frame.code))));
                    return seen;
                }
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return seen,
                other => {
                    assert!(other.is_err(), "{other:?}");
                    seen.is_violation = true;
                    return seen;
                }
            });
        }
    }

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
            let (ours, theirs_now) = (ours(&bytes, &pieces), theirs(&bytes));
            prop_assert_eq!(&ours.messages, &theirs_now.messages);
            if ours.is_violation && ours.messages.last().is_none_or(|last| !last.starts_with("close")) {
                // They may look at the whole frame first.
                bytes.resize(bytes.len() + LIMIT, 0);
                prop_assert!(theirs(&bytes).is_violation);
            } else {
                prop_assert!(!theirs_now.is_violation);
            }
        }
    }

    #[test]
    fn heads_are_those_that_tungstenite_writes() {
        for length in [0, 1, 125, 126, 0xFFFF, 0x1_0000, 0x12_3456] {
            let mut frame = Vec::new();
            Frame::message(vec![7; length], OpCode::Data(Data::Binary), true).format(&mut frame).unwrap();
            let (bytes, size) = head(Kind::Binary, length);
            assert_eq!(bytes[..size], frame[..frame.len() - length]);
        }
    }
}
