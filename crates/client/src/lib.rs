//! Request-response messaging with a broker, natively and in a browser.
//!
//! In reading order:
//!
//! - [`connect`], [`Session`]: opening a session, and what it is; in `session.rs`, its [`Options`] in `options.rs`.
//! - [`Messaging`]: the six operations and `gather`; in `messaging.rs`, what they give in `registration.rs`, `responses.rs`
//!   and `gather.rs`.
//! - [`Value`], [`IntoValue`]: what is sent; in `value/`.
//! - [`Request`], [`Rejection`]: what a handler is given, and what it may say; in `requests.rs`.
//! - [`RequestError`]: why there is no response, with code and outcome; in `error.rs`.
//! - [`Retry`]: when a request is sent again; in `retry.rs`.
//! - [`Events`]: what happens to a session; in `events.rs`.
//!
//! Below that:
//!
//! - `draft`: a request before it is sent; `metadata`: the texts that go along with it.
//! - `handle`, `shared`, `calls`: what keeps a session open, its state, who waits for what.
//! - `task`: the task of a session, which has the connection and the timer; `signal` wakes it.
//! - [`driver`]: carries out what the protocol core asks; the JavaScript face stands on it as well.
//! - `platform`: the seam, with one end for tokio and one for browsers; `lock`: what is shared by threads, or by none.
//!
//! Section numbers in the comments are those of `docs/protocol.md`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod calls;
mod discovery;
mod draft;
pub mod driver;
mod error;
mod events;
mod gather;
mod handle;
mod latest;
mod lock;
mod messaging;
mod metadata;
mod options;
mod platform;
mod registration;
mod requests;
mod responses;
mod retry;
mod session;
mod shared;
mod signal;
mod task;
mod value;

pub use antiphon_protocol::client::{
    CloseCode, Closed, ConnectCode, ConnectError, FilterFault, HandlersAt, Outcome, Sender, State,
};
pub use antiphon_protocol::features::Features;
pub use antiphon_protocol::value::DataType;
pub use antiphon_protocol::wire::error_reason::ErrorReason;
pub use antiphon_protocol::wire::handshake::Credentials;
pub use antiphon_protocol::wire::primitives::SessionId;
pub use discovery::{CountSessions, FindHandlers, HandlerWatch, WatchHandlers};
pub use error::RequestError;
pub use events::{Events, SessionEvent};
pub use gather::{Gathered, Gathering};
pub use messaging::{Ask, AskMany, Gather, Messaging};
pub use options::{Options, WhenDisconnected};
pub use registration::{AddRequestHandler, AddStreamHandler, FilterRegistration, Registration};
pub use requests::{Rejection, Request};
pub use responses::FilterResponse;
pub use retry::Retry;
pub use session::{Session, connect};
pub use value::{IntoValue, Value, ValueError};
#[cfg(target_arch = "wasm32")]
pub use value::{JsAnswer, js_handler};

/// Stands for all properties that every session has, where keys of session properties are listed.
pub const ALL_FIXED_PROPERTIES: &str = "*F";

/// Stands for all properties that applications have given a session, where keys of session properties are listed.
pub const ALL_USER_PROPERTIES: &str = "*U";
