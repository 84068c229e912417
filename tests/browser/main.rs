//! The Rust face in a browser against a real broker: `npm run test:wasm`, or `wasm-pack test --headless --chrome` with a
//! broker at the default address or at `BROKER_URL` when the tests are built.
//!
//! - `support`: the broker that the tests use.

#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

mod support;

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen_test]
async fn the_broker_that_the_tests_need_listens() {
    support::expect_broker().await;
}
