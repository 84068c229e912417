//! The platform that the client runs on: clock, random numbers, tasks, timers and WebSockets. There are two, which have
//! the same items; the target decides which one is compiled.
//!
//! - `native`: tokio; its WebSocket in `native_socket.rs`, with TLS in `tls.rs`, or none in `no_tls.rs`, as the feature
//!   `tls` wants it.
//! - `browser`: timers and tasks of the page or worker; its WebSocket in `browser_socket.rs`, the
//!   events of the page in `browser_page.rs`.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod browser_page;
#[cfg(target_arch = "wasm32")]
mod browser_socket;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
mod native_socket;
#[cfg(all(not(target_arch = "wasm32"), not(feature = "tls")))]
#[path = "no_tls.rs"]
mod tls;
#[cfg(all(not(target_arch = "wasm32"), feature = "tls"))]
mod tls;

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{Alarm, BoxFuture, CLIENT_TYPE, SharedFn, Spawner, environment, now, random};
#[cfg(target_arch = "wasm32")]
pub use browser::{MaybeSend, MaybeSync};
#[cfg(target_arch = "wasm32")]
pub(crate) use browser_page::{Page, tell_of_leaving};
#[cfg(target_arch = "wasm32")]
pub(crate) use browser_socket::{MessageBytes, Socket, Trust};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{
    Alarm, BoxFuture, CLIENT_TYPE, Page, SharedFn, Spawner, environment, now, random, tell_of_leaving,
};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{MaybeSend, MaybeSync};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native_socket::{MessageBytes, Socket};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use tls::Trust;

/// An event on a WebSocket.
pub(crate) enum SocketEvent {
    Open,
    /// A binary message.
    Message(MessageBytes),
    /// The server did what no server may do; says what.
    Violation(String),
    /// The WebSocket is closed. Nothing follows.
    Closed {
        code: u16,
        reason: String,
    },
    /// The connection is gone, or was never made; says why, and whether another attempt may succeed. Nothing follows.
    Gone {
        reason: String,
        can_pass: bool,
    },
}
