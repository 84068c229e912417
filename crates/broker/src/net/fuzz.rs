//! What a fuzzer calls of what nobody else sees: frames, first messages, what proxies and web pages say.

use std::net::IpAddr;

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::door::{Arrived, FirstMessage};
use super::forwarded;
use super::origin::Origins;
use super::reading::assert_read_as_by_tungstenite;

/// Bytes of the largest message: little, so that a fuzzer finds what is beyond it.
const LIMIT: usize = 600;

/// Frames that are larger are read to where they stay.
const BUFFER: usize = 40;

/// What a client sends, in pieces of this many bytes each: it has to be understood as tungstenite understands it.
pub fn frames(bytes: &[u8], piece: usize) {
    assert_read_as_by_tungstenite(bytes, &[piece], LIMIT, BUFFER);
}

/// What a client sends at `/antiphon`: in pieces of this many bytes, it is the same as in one.
pub fn first_message(bytes: &[u8], piece: usize) {
    let at_once = FirstRead::of(bytes, bytes.len());
    assert!(at_once == FirstRead::of(bytes, piece), "what is read depends on how it comes");
}

/// What was read of a first message.
#[derive(Default, PartialEq)]
struct FirstRead {
    pongs: Vec<Vec<u8>>,
    /// What came, if it did: the request as it would be written, or what is wrong.
    arrived: Option<String>,
    /// What is behind it.
    rest: Vec<u8>,
}

impl FirstRead {
    fn of(bytes: &[u8], piece: usize) -> Self {
        let mut read = Self::default();
        let mut first = FirstMessage::new(LIMIT, Bytes::new());
        let mut pieces = bytes.chunks(piece.max(1));
        loop {
            let arrived = first.arrive(|payload| read.pongs.push(payload.to_vec()));
            assert!(first.memory() <= 4 * (LIMIT + bytes.len()) + (4 << 10), "{} bytes of memory", first.memory());
            if let Some(arrived) = arrived {
                // What follows what is no frame cannot be told apart.
                if !matches!(arrived, Arrived::Violation(_)) {
                    read.rest = pieces.fold(first.rest().to_vec(), |rest, piece| [&rest, piece].concat());
                }
                read.arrived = Some(match arrived {
                    Arrived::Asked(Ok(request)) => request.to_query(),
                    Arrived::Asked(Err(error)) => format!("{error:?}"),
                    Arrived::Violation(violation) => format!("{violation:?}"),
                    Arrived::Close(code) => format!("{code:?}"),
                });
                return read;
            }
            let Some(piece) = pieces.next() else { return read };
            first.room().extend_from_slice(piece);
        }
    }
}

/// What a connection of a trusted proxy begins with: what is known from a part of it stays, whatever comes behind.
pub fn proxy_header(bytes: &[u8]) {
    forwarded::assert_decided_once(bytes);
}

/// For whom a peer connects that says this in lines of `X-Forwarded-For`.
#[must_use]
pub fn forwarded_for(peer: IpAddr, lines: &[&str], trusts: impl Fn(IpAddr) -> bool) -> IpAddr {
    let name = HeaderName::from_static("x-forwarded-for");
    let lines = lines.iter().filter_map(|line| Some((name.clone(), HeaderValue::from_str(line).ok()?)));
    forwarded::client(peer, &lines.collect(), trusts)
}

/// Whether a page of this origin may connect by this host, where `list` may.
#[must_use]
pub fn origin(list: &[&str], origin: &str, host: &str, is_tls: bool) -> bool {
    let headers = [(ORIGIN, origin), (HOST, host)];
    let headers = headers.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::from_str(text).ok()?)));
    let headers: HeaderMap = headers.collect();
    headers.len() == 2 && Origins::new(list).allow(&headers, is_tls)
}
