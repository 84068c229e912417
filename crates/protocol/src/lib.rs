//! The protocol of an Antiphon connection, as both ends know it, and the rules of the client's end.
//!
//! Nothing in this crate opens a socket, reads a clock, draws a random number or knows JavaScript. Bytes and
//! time come in as parameters; bytes and events go out. The browser client, the broker and the tests share it.
//!
//! In reading order:
//!
//! - [`wire`]: bytes to values and back, without state. Every layout, service number and error reason.
//! - [`value`]: request and response values: a data type and bytes.
//! - [`path`]: message paths, their normal form and their parents.
//! - [`time`]: points in time, as a parameter.
//! - [`text`](mod@text): texts without `core::fmt`, which would be a twentieth of the download.
//! - [`numbered`]: a map from numbers that count up.
//! - [`conversation`]: open conversations by ID.
//! - [`negotiated`]: what both ends of a connection agreed on; [`features`]: what they do beyond the protocol.
//! - [`batch`]: several messages in one WebSocket message.
//! - [`recovery`]: what was sent, kept for another connection.
//! - [`inspect`]: what messages say, for people who watch them pass.
//! - [`client`]: [`ClientSession`](client::ClientSession), the session as its client sees it.
//!
//! Section numbers in the comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod batch;
pub mod client;
pub mod conversation;
pub mod features;
pub mod inspect;
pub mod negotiated;
pub mod numbered;
pub mod path;
pub mod recovery;
pub mod text;
pub mod time;
pub mod value;
pub mod wire;
