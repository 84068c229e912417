//! What is made of the bytes of a client: by the broker, and by tungstenite, which has to be the same. For tests.

use std::io::{Error, ErrorKind, Read, Write};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{Message as Theirs, Role, WebSocket, WebSocketConfig};

use super::frames::{Decoder, Incoming};

/// What was made of bytes, and why no more of them.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    messages: Vec<String>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// The client has closed its end. What comes behind it counts no more.
    Closed,
    /// These are no frames, or there is too much in them.
    Violation,
    /// What should be text is none, which the broker leaves to those who read it.
    NoText,
}

/// Whatever the pieces are in which the bytes come, the broker reads what tungstenite reads. Messages have up to `limit`
/// bytes, and frames of more than `buffer` are read to where they stay.
pub(super) fn assert_read_as_by_tungstenite(bytes: &[u8], pieces: &[usize], limit: usize, buffer: usize) {
    let (ours, theirs) = (ours(bytes, pieces, limit, buffer), theirs(bytes, limit));
    match (ours.end, theirs.end) {
        (_, End::NoText) => assert!(ours.messages.starts_with(&theirs.messages), "{ours:?}, by tungstenite {theirs:?}"),
        (End::Violation, End::Open) => {
            assert_eq!(ours.messages, theirs.messages);
            // They may look at the whole frame first.
            let more = [bytes, &vec![0; limit + 1]].concat();
            assert_eq!(self::theirs(&more, limit).end, End::Violation, "{ours:?}");
        }
        _ => assert_eq!(ours, theirs),
    }
}

/// By the broker, with the bytes in pieces.
fn ours(bytes: &[u8], pieces: &[usize], limit: usize, buffer: usize) -> Seen {
    let mut decoder = Decoder::new(limit);
    let mut seen = Seen { messages: Vec::new(), end: End::Open };
    let (mut at, mut pieces) = (0, pieces.iter().cycle());
    while at < bytes.len() && seen.end == End::Open {
        let mut note = |incoming: Incoming<'_>| {
            if seen.end == End::Open {
                seen.messages.push(match incoming {
                    Incoming::Binary(bytes) => format!("binary {bytes:?}"),
                    Incoming::Text(bytes) => format!("text {bytes:?}"),
                    Incoming::Ping(payload) => format!("ping {payload:?}"),
                    Incoming::Pong => "pong".into(),
                    Incoming::Close(code) => {
                        seen.end = End::Closed;
                        format!("close {:?}", code.map(allowed))
                    }
                });
            }
        };
        let piece = pieces.next().copied().unwrap_or(1).clamp(1, bytes.len() - at);
        let decoded = if let Some((large, room)) = decoder.large(buffer) {
            let piece = room.min(piece);
            large.extend_from_slice(&bytes[at..at + piece]);
            at += piece;
            decoder.decode_large(piece, &mut note);
            Ok(())
        } else {
            let mut input = [decoder.begun(), &bytes[at..at + piece]].concat();
            at += piece;
            decoder.decode(&mut input, &mut note)
        };
        if decoded.is_err() && seen.end == End::Open {
            seen.end = End::Violation;
        }
    }
    seen
}

/// As tungstenite tells of a code that may not be sent.
fn allowed(code: u16) -> u16 {
    let code = CloseCode::from(code);
    if code.is_allowed() { code.into() } else { CloseCode::Protocol.into() }
}

/// By tungstenite.
fn theirs(bytes: &[u8], limit: usize) -> Seen {
    let config =
        WebSocketConfig::default().read_buffer_size(1 << 10).max_frame_size(Some(limit)).max_message_size(Some(limit));
    let mut socket = WebSocket::from_raw_socket(Pending(bytes), Role::Server, Some(config));
    let mut messages = Vec::new();
    let end = loop {
        messages.push(match socket.read() {
            Ok(Theirs::Binary(bytes)) => format!("binary {:?}", &bytes[..]),
            Ok(Theirs::Text(text)) => format!("text {:?}", text.as_bytes()),
            Ok(Theirs::Ping(payload)) => format!("ping {:?}", &payload[..]),
            Ok(Theirs::Pong(_)) => "pong".into(),
            Ok(Theirs::Close(frame)) => {
                messages.push(format!("close {:?}", frame.map(|frame| u16::from(frame.code))));
                break End::Closed;
            }
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break End::Open,
            Err(tungstenite::Error::Utf8(_)) => break End::NoText,
            other => {
                assert!(other.is_err(), "{other:?}");
                break End::Violation;
            }
        });
    };
    Seen { messages, end }
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
