//! Sockets, HTTP and the clock around the core. Nothing here decides who gets what.
//!
//! - `listener`: the page, and the WebSocket; `headers`: what browsers are told of each answer. `accept`: how a connection
//!   gets there.
//! - `entrance`: who may come in: `origin`, which web pages; `certificate`, TLS; `forwarded`, for whom a proxy connects.
//!   `admission`: how many; `limits`: the bounds.
//! - `socket`: a connection with TLS or without; `records`: TLS between both.
//! - `door`: what a client asks for, in the address or in its first message.
//! - `connection`: one WebSocket, and what its client sends; `outbox`, `outgoing`: what is to be sent on it; `discarded`: what
//!   is not sent any more; `frames`, `heads`: the bytes of both; `parts`: a large message until it is whole. `traffic`: their
//!   limits; `arriving`: how much may have arrived in part; `backlog`: how much may wait; `rounds`: whose connections are
//!   read from.
//! - `ceiling`: how much memory the process takes.
//! - `hub`: the core behind a lock; everything goes through it, in order.
//! - `site`: the files served beside the WebSocket.
//! - `reading`: what tests hold against how tungstenite reads frames; `fuzz`: what a fuzzer calls.

mod accept;
mod admission;
mod arriving;
mod backlog;
mod ceiling;
mod certificate;
mod connection;
mod discarded;
mod door;
#[cfg(feature = "echo")]
mod echo;
mod entrance;
mod forwarded;
mod frames;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod headers;
mod heads;
mod hub;
mod limits;
mod listener;
mod origin;
mod outbox;
mod outgoing;
mod parts;
#[cfg(any(test, feature = "fuzz"))]
mod reading;
mod records;
mod rounds;
mod site;
mod socket;
mod traffic;

pub use certificate::{CertificateError, tls};
pub use entrance::Entrance;
pub use hub::Rules;
pub use limits::Limits;
pub use listener::{Server, serve};
pub use origin::Origins;
pub use site::Site;
pub use traffic::Traffic;
