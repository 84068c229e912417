//! What things cost, in units of work. The core has no clock, so it shares time out by counting: a unit is what takes about
//! 30 ns on an ordinary machine, a comparison with a session property for instance.

/// What is done of one kind before others are served, where it is not configured: about a millisecond.
pub(super) const TURN: usize = 30_000;

/// To take a request in, and to find out what is to be done.
pub(super) const REQUEST: usize = 32;
/// To put a message together and to keep account of it. A request that another session answers takes two.
pub(super) const MESSAGE: usize = 32;
/// To register a handler, or to take it back.
pub(super) const REGISTRATION: usize = 32;

/// Bytes that are copied in about a unit.
const COPIED: usize = 128;

/// A message of so many bytes.
pub(super) fn message(bytes: usize) -> usize {
    MESSAGE + bytes / COPIED
}

/// A request of so many bytes.
pub(super) fn request(bytes: usize) -> usize {
    REQUEST + bytes / COPIED
}
