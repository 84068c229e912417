//! The browser client: the only Rust that knows JavaScript exists.
//!
//! In reading order:
//!
//! - `session`: `connect`, class `Session`.
//! - `messaging`: class `Messaging`, the operations; class `Registration`.
//! - `options`: the option objects of all of these.
//! - `driver`: carries out what the protocol core asks: send, settle a promise, call a handler, set a timer.
//! - `handler`: calling a JavaScript function and waiting for what it returns.
//! - `socket`: the browser's WebSocket; `page`: what happens to the page around it.
//! - `value`, `error`, `log`, `platform`: JavaScript values, errors, console and clock.
//!
//! What is plain JavaScript stands beside it: `index.js` is the entry of the package, `index.d.ts` has its types,
//! `value.js` the codec, `error.js` the error classes.

mod driver;
mod error;
mod handler;
mod log;
mod messaging;
mod options;
mod page;
mod platform;
mod session;
mod socket;
mod value;

pub use messaging::{Messaging, Registration};
pub use session::{Session, connect};
