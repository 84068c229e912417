//! The clock, and where we run.

use antiphon_protocol::time::Moment;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Not through `window`: workers have none.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

#[wasm_bindgen(module = "/src/platform.js")]
extern "C" {
    /// The value of the session property `$Environment`.
    pub fn environment() -> String;
}

/// The time by the platform's monotonic clock.
pub fn now() -> Moment {
    // A positive number of milliseconds, far below 2^53 microseconds.
    Moment((performance_now() * 1000.0) as u64)
}
