//! Reads the platform's clock.

use std::time::Duration;

use antiphon_protocol::time::Moment;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Not through `window`: workers have none.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The time by the platform's monotonic clock.
pub fn now() -> Moment {
    // A positive number of milliseconds, far below 2^53 microseconds.
    Moment((performance_now() * 1000.0) as u64)
}

/// A number of milliseconds from JavaScript. Infinity, and whatever is longer than clocks run, is for ever.
pub fn milliseconds(number: f64) -> Duration {
    Duration::from_micros((number * 1000.0) as u64)
}
