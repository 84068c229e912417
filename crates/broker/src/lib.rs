//! The broker: sessions of many clients, and requests from one to another.
//!
//! In reading order:
//!
//! - [`core`]: the rules of the server's end, without sockets, clock or async.
//! - [`identity`]: who somebody is: passwords and tokens.
//! - [`net`]: tokio, HTTP and WebSocket around it.
//! - [`settings`]: what an operator decides: the configuration file, the command line.
//!
//! A library as well as a program, so that tests can run the core in their own process. Section numbers in the
//! comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(test)]
mod collisions;
pub mod core;
pub mod identity;
pub mod net;
mod rates;
pub mod settings;
