//! Sends back what arrives, for tests of conformance to WebSocket; in no broker.

use std::time::Instant;

use bytes::Bytes;

use super::frames::Incoming;
use super::outbox::Outbox;
use super::outgoing::Outgoing;

/// Close code (RFC 6455, section 7.4.1).
const INVALID_PAYLOAD: u16 = 1007;

/// A message of text that is none.
pub(super) struct InvalidText;

/// Sends a message back; nothing if it is none.
pub(super) fn sent_back(outbox: &Outbox, incoming: &Incoming<'_>) -> Option<Result<(), InvalidText>> {
    let outgoing = match incoming {
        Incoming::Binary(bytes) => Outgoing::Alone(Bytes::copy_from_slice(bytes)),
        Incoming::Text(bytes) if std::str::from_utf8(bytes).is_ok() => Outgoing::Text(Bytes::copy_from_slice(bytes)),
        Incoming::Text(_) => {
            outbox.will_close(INVALID_PAYLOAD);
            return Some(Err(InvalidText));
        }
        Incoming::Ping(_) | Incoming::Pong | Incoming::Close(_) => return None,
    };
    let _ = outbox.push(Instant::now(), outgoing);
    Some(Ok(()))
}
