//! The clock, promises, the console, and where we run.

use antiphon_protocol::time::Moment;
use js_sys::Promise;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // Not through `window`: workers have none.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

#[wasm_bindgen(module = "/src/session.js")]
extern "C" {
    /// A promise and the functions that settle it. The first one called counts.
    #[derive(Clone)]
    pub type Deferred;

    #[wasm_bindgen(constructor)]
    pub fn new() -> Deferred;

    #[wasm_bindgen(method, getter)]
    pub fn promise(this: &Deferred) -> Promise;

    #[wasm_bindgen(method)]
    pub fn resolve(this: &Deferred, value: &JsValue);

    #[wasm_bindgen(method)]
    pub fn reject(this: &Deferred, error: &JsValue);

    /// A promise that settles when `promise` does, without its value.
    #[wasm_bindgen(js_name = withoutValue)]
    pub fn without_value(promise: &Promise) -> Promise;

    /// Writes to the console; `level` is the number of a [`Level`](crate::log::Level).
    pub fn log(level: u8, message: &str);

    /// The value of the session property `$Environment`.
    pub fn environment() -> String;

    /// The address that a URL stands for, up to where our query begins.
    ///
    /// # Errors
    ///
    /// A `ConnectError` with code `INVALID_URL`.
    #[wasm_bindgen(catch, js_name = serverAddress)]
    pub fn server_address(url: &JsValue) -> Result<String, JsValue>;
}

/// The time by the platform's monotonic clock.
pub fn now() -> Moment {
    // A positive number of milliseconds, far below 2^53 microseconds.
    Moment((performance_now() * 1000.0) as u64)
}
