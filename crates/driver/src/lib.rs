//! A session of a native program: the client's core of `antiphon-protocol`, driven by tokio.
//!
//! In reading order:
//!
//! - [`Session`]: connecting, sending, handling; in `session.rs`.
//! - `owner`: the task that owns the core of one session and carries out what it says.
//! - `connection`: one WebSocket.
//! - [`ledger`]: checks that every request comes to exactly one end.
//! - [`load`]: many sessions that send and answer; the command `antiphon-load`.
//! - [`faults`]: a proxy that cuts connections; the command `antiphon-faults`.
//! - [`usage`]: what the commands have in common.
//!
//! Section numbers in the comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod connection;
pub mod faults;
pub mod ledger;
pub mod load;
mod owner;
mod session;
pub mod usage;

pub use session::{Answer, Events, FilterResponses, Options, Registration, Session, SessionEvent};
