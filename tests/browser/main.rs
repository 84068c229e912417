//! The client in a browser against a real broker: `npm run test:wasm`, or `wasm-pack test --headless --chrome` with a
//! broker at the default address or at `BROKER_URL`.
//!
//! - `requests`: asking and answering, timeouts, aborting.
//! - `handlers`: handlers that misbehave, registrations.
//! - `addressed`: requests to a session and to a filter, streams.
//! - `values`: what arrives is what was sent.
//! - `arguments`: what cannot be used is refused and does not throw.
//! - `sessions`: opening, closing, events, losing the connection.
//! - `reentrancy`: code of the application that calls back at awkward moments.
//! - `support`: what the tests are written in.

#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::wasm_bindgen_test_configure;

mod addressed;
mod arguments;
mod handlers;
mod reentrancy;
mod requests;
mod sessions;
mod support;
mod values;

wasm_bindgen_test_configure!(run_in_browser);
