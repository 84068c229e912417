//! The heads of WebSocket frames (RFC 6455, section 5.2), and what else is in the bytes of one.

/// Bytes of the longest head that a frame from a server has: it is not masked.
const HEAD: usize = 10;

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
    #[cfg(feature = "echo")]
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
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

/// The head of a frame from a client.
pub(super) struct Head {
    pub is_last: bool,
    pub opcode: u8,
    pub mask: [u8; 4],
    /// Bytes of the head itself.
    pub size: usize,
    /// Bytes of what follows.
    pub length: usize,
}

pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

const TOO_LARGE: Violation = Violation { what: "a message that is too large", code: 1009 };
pub(super) const TOO_MANY_FRAGMENTS: Violation = Violation { what: "a message in too many fragments", code: 1009 };

/// What is against the rules of WebSocket.
pub(super) const fn wrong(what: &'static str) -> Violation {
    Violation { what, code: 1002 }
}

impl Head {
    pub fn is_control(&self) -> bool {
        self.opcode & 0x08 != 0
    }

    /// Nothing if not all of it is there. `limit` is not for control frames.
    pub fn decode(bytes: &[u8], limit: usize) -> Result<Option<Self>, Violation> {
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
        let fits = |length: &usize| is_control || *length <= limit;
        let length = usize::try_from(length).ok().filter(fits).ok_or(TOO_LARGE)?;
        let Some((mask, _)) = rest.split_first_chunk() else { return Ok(None) };
        Ok(Some(Self { is_last, opcode, mask: *mask, size, length }))
    }
}

/// What the payload of a close frame says.
pub(super) fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    match payload {
        [] => Ok(None),
        [_] => Err(wrong("half a close code")),
        [high, low, reason @ ..] => match std::str::from_utf8(reason) {
            Ok(_) => Ok(Some(u16::from_be_bytes([*high, *low]))),
            Err(_) => Err(Violation { what: "a reason that is no text", code: 1007 }),
        },
    }
}

/// Takes the mask off a payload, or puts it on.
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4]) {
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
    use tungstenite::protocol::frame::Frame;
    use tungstenite::protocol::frame::coding::{Data, OpCode};

    use super::*;

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
