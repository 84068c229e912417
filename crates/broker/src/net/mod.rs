//! Sockets, HTTP and the clock around the core. Nothing here decides who gets what.
//!
//! - `listener`: accepts connections and tells the page from the WebSocket.
//! - `origin`: which web pages may use it.
//! - `connection`: one WebSocket, and what its client sends; `outbox`: what is to be sent on it; `backlog`: how much that
//!   may be; `frames`: the bytes of both.
//! - `hub`: the core behind a lock; everything goes through it, in order.
//! - `site`: the files served beside the WebSocket.

mod backlog;
mod connection;
mod frames;
mod hub;
mod listener;
mod origin;
mod outbox;
mod site;

pub use listener::{Limits, Server, serve};
pub use site::Site;
