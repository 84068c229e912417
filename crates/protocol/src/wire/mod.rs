//! Bytes to values and back; no state.

mod layout;

pub mod envelope;
pub mod error_reason;
pub mod handshake;
pub mod headers;
pub mod layouts;
pub mod primitives;
pub mod services;

pub use layout::{Decode, DecodeError, Encode, Reader, decode_all, encoded};
