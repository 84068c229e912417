//! Sockets, HTTP and the clock around the core. Nothing here decides who gets what.
//!
//! - `listener`: the page, and the WebSocket. `accept`: how a connection gets there.
//! - `entrance`: who may come in: `origin`, which web pages; `certificate`, TLS; `forwarded`, for whom a proxy connects.
//!   `admission`: how many; `limits`: the bounds.
//! - `socket`: a connection with TLS or without; `records`: TLS between both.
//! - `connection`: one WebSocket, and what its client sends; `outbox`: what is to be sent on it; `backlog`: how much that
//!   may be; `frames`: the bytes of both.
//! - `hub`: the core behind a lock; everything goes through it, in order.
//! - `site`: the files served beside the WebSocket.

mod accept;
mod admission;
mod backlog;
mod certificate;
mod connection;
mod entrance;
mod forwarded;
mod frames;
mod hub;
mod limits;
mod listener;
mod origin;
mod outbox;
mod records;
mod site;
mod socket;

pub use certificate::{CertificateError, tls};
pub use entrance::Entrance;
pub use limits::Limits;
pub use listener::{Server, serve};
pub use origin::Origins;
pub use site::Site;
