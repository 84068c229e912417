//! The arguments and option objects of the API: checked by `session.js`, since reading them may run code of the
//! application, and read here.

use std::time::Duration;

use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::log::Level;
use crate::value::Encoded;

#[wasm_bindgen(module = "/src/session.js")]
extern "C" {
    /// An argument that must be text, such as a path.
    ///
    /// # Errors
    ///
    /// A `MessagingError` with code `INVALID_ARGUMENT` if it is no string, or has half of a surrogate pair.
    #[wasm_bindgen(catch)]
    pub fn text(name: &str, value: &JsValue) -> Result<String, JsValue>;

    /// The keys that `getProperties` is given; all properties if it is given none.
    ///
    /// # Errors
    ///
    /// A `MessagingError` with code `INVALID_ARGUMENT`.
    #[wasm_bindgen(catch, js_name = propertyKeys)]
    pub fn property_keys(keys: &JsValue) -> Result<Vec<String>, JsValue>;

    #[wasm_bindgen(catch, js_name = connectOptions)]
    fn connect_options(options: &JsValue) -> Result<Array, JsValue>;

    type Prepared;

    #[wasm_bindgen(catch, js_name = prepareRequest)]
    fn prepare_request(request: &JsValue, options: &JsValue) -> Result<Prepared, JsValue>;

    #[wasm_bindgen(method, getter)]
    fn code(this: &Prepared) -> u8;

    #[wasm_bindgen(method, getter)]
    fn bytes(this: &Prepared) -> Uint8Array;

    #[wasm_bindgen(method, getter, js_name = responseCode)]
    fn response_code(this: &Prepared) -> u8;

    #[wasm_bindgen(method, getter)]
    fn timeout(this: &Prepared) -> f64;

    #[wasm_bindgen(method, getter)]
    fn signal(this: &Prepared) -> Option<AbortSignal>;

    #[wasm_bindgen(method, getter)]
    fn wait(this: &Prepared) -> bool;

    #[wasm_bindgen(method, getter, js_name = onResponse)]
    fn on_response(this: &Prepared) -> JsValue;
}

/// Of `connect`.
pub struct ConnectOptions {
    pub principal: Option<String>,
    /// To be checked when they are used: a function may give them.
    pub credentials: JsValue,
    pub properties: Vec<(String, String)>,
    pub connect_timeout: Duration,
    pub request_timeout: Duration,
    /// Bytes.
    pub max_message_size: usize,
    pub signal: Option<AbortSignal>,
    pub web_socket: Option<Function>,
    pub protocol_version: u8,
    pub log: Level,
    /// Zero for no reconnection.
    pub reconnect_timeout: Duration,
    /// A function that chooses the time before an attempt to reconnect, or undefined.
    pub delay: JsValue,
}

impl ConnectOptions {
    /// # Errors
    ///
    /// A `MessagingError` for an option that cannot be used.
    pub fn from_js(options: &JsValue) -> Result<Self, JsValue> {
        let options = connect_options(options)?;
        // Checked, so that the kinds of values and the ranges of numbers are known; `as` saturates.
        let number = |index| options.get(index).as_f64().unwrap_or_default();
        let properties: Array = options.get(2).unchecked_into();
        let mut properties = properties.iter().filter_map(|item| item.as_string());
        Ok(Self {
            principal: options.get(0).as_string(),
            credentials: options.get(1),
            properties: std::iter::from_fn(|| Some((properties.next()?, properties.next()?))).collect(),
            connect_timeout: milliseconds(number(3)),
            request_timeout: milliseconds(number(4)),
            max_message_size: number(5) as usize,
            signal: given(options.get(6)),
            web_socket: given(options.get(7)),
            protocol_version: number(8) as u8,
            log: Level::from_number(number(9) as u8),
            reconnect_timeout: milliseconds(number(10)),
            delay: options.get(11),
        })
    }
}

/// A request in wire form, and its options.
pub struct Request {
    pub value: Encoded,
    /// The number of the data type to which the response is to be converted, 0 for none.
    pub response_code: u8,
    /// From the call to the response; none if the application named none.
    pub timeout: Option<Duration>,
    /// Whether it waits for a connection while there is none.
    pub wait: bool,
    /// Not aborted yet.
    pub signal: Option<AbortSignal>,
    /// What is to take the responses of many, if anything.
    pub on_response: JsValue,
}

impl Request {
    /// Encodes a request. Runs getters and `toJSON` of the application.
    ///
    /// # Errors
    ///
    /// A `MessagingError` with code `INVALID_DATA` or `INVALID_ARGUMENT`, or the reason of a signal that is aborted.
    pub fn from_js(request: &JsValue, options: &JsValue) -> Result<Self, JsValue> {
        let prepared = prepare_request(request, options)?;
        let timeout = prepared.timeout();
        Ok(Self {
            value: Encoded::new(prepared.code(), &prepared.bytes()),
            response_code: prepared.response_code(),
            timeout: (!timeout.is_nan()).then(|| milliseconds(timeout)),
            wait: prepared.wait(),
            signal: prepared.signal(),
            on_response: prepared.on_response(),
        })
    }
}

fn given<T: JsCast>(option: JsValue) -> Option<T> {
    (!option.is_undefined()).then(|| option.unchecked_into())
}

/// Infinity, and whatever is longer than clocks run, is for ever.
pub fn milliseconds(number: f64) -> Duration {
    Duration::from_micros((number * 1000.0) as u64)
}
