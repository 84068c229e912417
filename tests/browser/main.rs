//! The Rust face in a browser against a real broker: `npm run test:wasm`, or `wasm-pack test --headless --chrome` with a
//! broker at the default address or at `BROKER_URL` when the tests are built.
//!
//! - `shared`: what is true of a session natively as well; the bodies are those of `crates/client/tests/shared/`.
//! - `javascript`: values and handlers of JavaScript.
//! - `page`: what happens to the page.
//! - `network`: a network that can be taken down.

#![cfg(target_arch = "wasm32")]

use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

mod javascript;
mod network;
mod page;
#[macro_use]
#[path = "../../crates/client/tests/shared/mod.rs"]
mod shared;

wasm_bindgen_test_configure!(run_in_browser);

/// The broker that the tests use.
const BROKER: &str = match option_env!("BROKER_URL") {
    Some(url) if !url.is_empty() => url,
    _ => "ws://127.0.0.1:8080",
};

#[wasm_bindgen_test]
async fn the_broker_that_the_tests_need_listens() {
    assert!(
        antiphon::connect(BROKER, antiphon::Options::new()).await.is_ok(),
        "these tests need a broker and none listens at {BROKER}: `cargo run --release -p antiphon-broker` starts one \
         there, and BROKER_URL names another when the tests are built"
    );
}

/// A test for each body.
macro_rules! in_a_browser {
    ($($module:ident($with:ident) { $($name:ident)* })*) => {
        $(mod $module {
            $(#[wasm_bindgen_test::wasm_bindgen_test]
            async fn $name() {
                let $with = arrange!($with);
                super::shared::$module::$name(&$with).await;
            })*
        })*
    };
}

/// What a body is given, by its name.
macro_rules! arrange {
    (network) => {
        super::network::BrowserNetwork::new()
    };
    ($with:ident) => {
        super::BROKER
    };
}

every_test!(in_a_browser);
