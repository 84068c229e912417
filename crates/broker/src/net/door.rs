//! How a client says what it asks for when it opens a WebSocket: in the address or in headers, as official clients do
//! (section 2.2), or in its first message, so that nothing secret is in the address (section 18.5).

use std::time::Duration;

use antiphon_protocol::wire::handshake::{ConnectRequest, HandshakeError};
use axum::http::{HeaderMap, Uri};
use bytes::{Buf, Bytes, BytesMut};

use super::frames::{Decoder, Incoming};
use super::heads::Violation;

/// A path at which WebSockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// The official one.
    Diffusion,
    /// Ours, with nothing in the address.
    Antiphon,
}

impl Door {
    pub const ALL: [Self; 2] = [Self::Diffusion, Self::Antiphon];

    pub fn path(self) -> &'static str {
        match self {
            Self::Diffusion => "/diffusion",
            Self::Antiphon => "/antiphon",
        }
    }

    /// What the client asks for, if that is to be known by now.
    pub fn asked(self, uri: &Uri, headers: &HeaderMap) -> Option<Asked> {
        match self {
            Self::Diffusion => Some(connect_request(uri, headers).map(Box::new)),
            Self::Antiphon => None,
        }
    }
}

/// What a client asks for, or why nobody knows.
pub(super) type Asked = Result<Box<ConnectRequest>, HandshakeError>;

/// The parameters are in the query, or in headers when there are none in the query (section 2.2).
fn connect_request(uri: &Uri, headers: &HeaderMap) -> Result<ConnectRequest, HandshakeError> {
    match uri.query().map(ConnectRequest::from_query) {
        None | Some(Err(HandshakeError::Missing(_))) => ConnectRequest::from_headers(|name| {
            headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
        }),
        Some(request) => request,
    }
}

/// The limits of a first message.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstMessageLimits {
    /// Its bytes.
    pub bytes: usize,
    /// How long it may take to arrive.
    pub timeout: Duration,
}

/// The first message on a WebSocket, as far as it has arrived.
pub(super) struct FirstMessage {
    decoder: Decoder,
    /// What has come and is not decoded.
    input: BytesMut,
}

/// What has come instead of a first message, or as it.
pub(super) enum Arrived {
    /// What the client asks for.
    Asked(Asked),
    /// What no client may send; what follows cannot be told apart any more.
    Violation(Violation),
    /// The client closes the WebSocket, with this code if it gives one.
    Close(Option<u16>),
}

/// Bytes that there is room for when something is read: more than most first messages have.
const ROOM: usize = 1 << 10;

impl FirstMessage {
    /// Of this size at most. `head` is what has come on the WebSocket already.
    pub fn new(limit: usize, head: Bytes) -> Self {
        Self { decoder: Decoder::new(limit), input: head.into() }
    }

    /// Decodes what has come; nothing if more has to come. Pings are given to `pong`.
    pub fn arrive(&mut self, mut pong: impl FnMut(&[u8])) -> Option<Arrived> {
        let mut arrived = None;
        let decoded = self.decoder.decode_while(&mut self.input, |incoming| {
            match incoming {
                Incoming::Ping(payload) => pong(payload),
                Incoming::Pong => {}
                Incoming::Close(code) => arrived = Some(Arrived::Close(code)),
                Incoming::Text(_) => arrived = Some(Arrived::Violation(TEXT)),
                Incoming::Binary(message) => {
                    arrived = Some(Arrived::Asked(ConnectRequest::from_message(&message).map(Box::new)));
                }
            }
            arrived.is_none()
        });
        match decoded {
            Ok(left) => self.input.advance(self.input.len() - left),
            Err(violation) => return Some(Arrived::Violation(violation)),
        }
        if arrived.is_none() {
            // What is read next belongs behind it.
            self.input.extend_from_slice(self.decoder.begun());
        }
        arrived
    }

    /// Where what is read next belongs.
    pub fn room(&mut self) -> &mut BytesMut {
        self.input.reserve(ROOM);
        &mut self.input
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.decoder.memory() + self.input.capacity()
    }

    /// What has come behind it.
    pub fn rest(self) -> BytesMut {
        self.input
    }
}

const TEXT: Violation = Violation { what: "a first message of text", code: 1003 };

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::handshake::{ConnectResponse, ResponseCode};

    use super::*;

    const LIMIT: usize = 1 << 10;

    /// A frame of a client, with a mask that changes nothing.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short frame");
        [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
    }

    /// What arrives when these bytes come one by one, and what is left of them then.
    fn arrives(bytes: &[u8]) -> (Option<Arrived>, Vec<u8>) {
        let mut first = FirstMessage::new(LIMIT, Bytes::new());
        for (at, byte) in bytes.iter().enumerate() {
            first.room().extend_from_slice(&[*byte]);
            assert!(first.memory() < 4 * (LIMIT + ROOM), "{}", first.memory());
            if let Some(arrived) = first.arrive(|_| {}) {
                return (Some(arrived), [&first.rest(), &bytes[at + 1..]].concat());
            }
        }
        (None, Vec::new())
    }

    // S-24
    #[test]
    fn what_comes_behind_the_first_message_is_left() {
        for message in [frame(0x82, b"v=25&x=y"), [frame(0x02, b"v=2"), frame(0x89, b""), frame(0x80, b"5")].concat()] {
            let bytes = [frame(0x8A, b""), message, frame(0x82, b"more")].concat();
            let mut first = FirstMessage::new(LIMIT, bytes.clone().into());
            for (arrived, left) in [(first.arrive(|_| {}), first.rest().to_vec()), arrives(&bytes)] {
                assert!(matches!(arrived, Some(Arrived::Asked(Ok(request))) if request.version == 25));
                assert_eq!(left, frame(0x82, b"more"));
            }
        }
    }

    // S-24
    #[test]
    fn a_first_message_that_is_too_large_is_refused_before_it_is_there() {
        let head = [0x82, 0xFE, 0x04, 0x01, 0, 0, 0, 0];
        let fragments = [frame(0x02, &[b'v'; 125]), frame(0x00, &[b'v'; 125]).repeat(8)].concat();
        for bytes in [&head[..], &fragments] {
            assert!(matches!(arrives(bytes).0, Some(Arrived::Violation(Violation { code: 1009, .. }))));
        }
    }

    // S-24
    #[test]
    fn what_is_no_message_yet_is_waited_for_and_pings_are_answered() {
        for begun in [&b""[..], &frame(0x82, b"v=25")[..5], &frame(0x02, b"v=2"), &frame(0x89, b"ping")] {
            assert!(arrives(begun).0.is_none());
        }
        let mut pongs = Vec::new();
        let mut first = FirstMessage::new(LIMIT, frame(0x89, b"ping").into());
        assert!(first.arrive(|payload| pongs.push(payload.to_vec())).is_none());
        assert_eq!(pongs, [b"ping"]);
    }

    // S-25
    #[test]
    fn what_is_no_connect_request_is_told_from_a_goodbye() {
        assert!(matches!(arrives(&frame(0x88, &[3, 232])).0, Some(Arrived::Close(Some(1000)))));
        assert!(matches!(arrives(&frame(0x81, b"v=25")).0, Some(Arrived::Violation(TEXT))));
        let Some(Arrived::Asked(Err(error))) = arrives(&frame(0x82, b"v=24&r=x")).0 else { panic!("not refused") };
        assert_eq!(error.response(), ConnectResponse::Refused { version: 24, code: ResponseCode::PROTOCOL_ERROR });
    }
}
