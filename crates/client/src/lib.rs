//! A session of a native program: the client's core of `antiphon-protocol`, driven by tokio.
//!
//! In reading order:
//!
//! - [`Session`]: connecting, sending, handling; in `session.rs`.
//! - `owner`: the task that owns the core of one session and carries out what it says.
//! - `connection`: one WebSocket.
//!
//! Section numbers in the comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod connection;
mod owner;
mod session;

pub use session::{Answer, Events, FilterResponses, Options, Registration, Session, SessionEvent};
