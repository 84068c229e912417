//! The browser client: the only Rust that knows JavaScript exists.
//!
//! In reading order:
//!
//! - `client`: what JavaScript calls.
//! - `listener`: what JavaScript is told.
//! - `session`: what the driver of `antiphon-client` needs of a browser.
//! - `value`, `clock`: values and times between the two languages.
//! - `debug`: what a panic says, in a build for finding out why.
//!
//! The boundary between the two languages is described in `boundary.ts`, for both.
//!
//! What applications see is JavaScript and stands beside it: `index.js` is the entry of the package, `index.d.ts` has its
//! types, `session.js` and `messaging.js` its classes. Applications in Rust have the same in Rust, which is
//! `antiphon-client` and is exported from here: nothing of it is in the npm package.

mod client;
mod clock;
#[cfg(debug_assertions)]
mod debug;
mod listener;
mod session;
mod value;

pub use antiphon_client::*;

/// A third of the size of the one that Rust brings, which would be a tenth of the module.
#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
