//! Sockets, HTTP and the clock around the core. Nothing here decides who gets what.
//!
//! - `listener`: accepts connections and tells the page from the WebSocket.
//! - `origin`: which web pages may use it.
//! - `connection`: one WebSocket, its incoming and outgoing messages; `outbox`: those that wait to be sent.
//! - `hub`: the task that owns the core; everything goes through it, in order.
//! - `site`: the files served beside the WebSocket.

mod connection;
mod hub;
mod listener;
mod origin;
mod outbox;
mod site;

pub use listener::{Limits, Server, serve};
pub use site::Site;
