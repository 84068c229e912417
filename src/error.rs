//! From the core's errors to the ones of JavaScript.

use antiphon_protocol::client::{ConnectError, Outcome, RequestError};
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/error.js")]
extern "C" {
    #[wasm_bindgen(js_name = messagingError)]
    fn messaging_error(
        code: &str,
        message: &str,
        outcome: &str,
        reason: Option<i32>,
        site: &JsValue,
        faults: &JsValue,
    ) -> JsValue;

    #[wasm_bindgen(js_name = ConnectError)]
    type JsConnectError;

    #[wasm_bindgen(constructor, js_class = ConnectError)]
    fn new(code: &str, message: &str, retryable: bool, cause: &JsValue) -> JsConnectError;

    /// `error`, showing where the application called.
    #[wasm_bindgen(js_name = showCaller)]
    pub fn show_caller(error: JsValue, site: &JsValue) -> JsValue;

    /// What is wrong with an argument, showing where the application called.
    #[wasm_bindgen(js_name = atCaller)]
    pub fn at_caller(error: JsValue) -> JsValue;

    /// Remembers where the application called.
    #[wasm_bindgen(js_name = callSite)]
    pub fn call_site() -> JsValue;

    type Thrown;

    #[wasm_bindgen(js_name = describeThrown)]
    fn describe_thrown(thrown: &JsValue) -> Thrown;

    #[wasm_bindgen(method, getter)]
    fn text(this: &Thrown) -> String;
}

/// A `MessagingError` for an argument that cannot be used; nothing was sent.
#[cold]
pub fn invalid_argument(message: &str) -> JsValue {
    let nothing = &JsValue::UNDEFINED;
    messaging_error("INVALID_ARGUMENT", message, Outcome::NotSent.as_str(), None, nothing, nothing)
}

/// The `MessagingError` for what became of a request made at `site`.
#[cold]
pub fn from_request_error(error: &RequestError, site: &JsValue) -> JsValue {
    let reason = error.reason().map(|reason| reason.0);
    let faults = match error {
        RequestError::InvalidFilter(faults) => {
            let faults: Vec<_> = faults.iter().map(|fault| (&fault.message, fault.line, fault.column)).collect();
            // Text and numbers: there is nothing that could fail.
            serde_wasm_bindgen::to_value(&faults).unwrap_or_default()
        }
        _ => JsValue::UNDEFINED,
    };
    messaging_error(&error.code(), &error.to_string(), error.outcome().as_str(), reason, site, &faults)
}

/// The `ConnectError` for a session that could not be opened; `cause` may be undefined.
pub fn from_connect_error(error: &ConnectError, cause: &JsValue) -> JsValue {
    connect_error(error.code.as_str(), &error.message, error.code.is_retryable(), cause)
}

/// A `ConnectError` for something found before a connection was tried; trying again would not help.
pub fn connect_error_before(code: &str, message: &str, cause: &JsValue) -> JsValue {
    connect_error(code, message, false, cause)
}

fn connect_error(code: &str, message: &str, retryable: bool, cause: &JsValue) -> JsValue {
    JsConnectError::new(code, message, retryable, cause).into()
}

/// The message of a caught error, or a text for whatever else was caught.
pub fn text_of(caught: &JsValue) -> String {
    describe_thrown(caught).text()
}
