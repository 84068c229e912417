//! A session of a native program: the client's core of `antiphon-protocol`, driven by tokio.
//!
//! In reading order:
//!
//! - [`Session`]: connecting, sending, handling; in `session.rs`.
//! - `owner`: the task that owns the core of one session and carries out what it says.
//! - `connection`: one WebSocket.
//! - [`driver`]: carries out what the core asks, for whatever host; what the JavaScript face stands on.
//!
//! Section numbers in the comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(target_arch = "wasm32"))]
mod connection;
pub mod driver;
mod lock;
#[cfg(not(target_arch = "wasm32"))]
mod owner;
#[cfg(not(target_arch = "wasm32"))]
mod session;

#[cfg(not(target_arch = "wasm32"))]
pub use session::{Answer, Events, FilterResponses, Options, Registration, Session, SessionEvent};
