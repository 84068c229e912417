//! Calling a JavaScript function with a request and waiting for what it returns.

use antiphon_protocol::client::ReceivedRequest;
use antiphon_protocol::value::Value;
use antiphon_protocol::wire::error_reason::ErrorReason;
use js_sys::{Array, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::error;
use crate::value::{self, Encoded};

#[wasm_bindgen(module = "/src/handler.js")]
extern "C" {
    /// What a handler learns about a request besides its value.
    #[derive(Clone)]
    pub type RequestContext;

    #[wasm_bindgen(constructor)]
    fn new(
        path: &str,
        addressed: bool,
        sender: Option<String>,
        properties: Array,
        request_type: &str,
    ) -> RequestContext;

    #[wasm_bindgen(js_name = isHandler)]
    fn is_handler(handler: &JsValue) -> bool;

    #[wasm_bindgen(catch, js_name = callHandler)]
    fn call_handler(handler: &JsValue, request: &JsValue, context: &RequestContext) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(js_name = isThenable)]
    fn is_thenable(result: &JsValue) -> bool;

    /// Tells a context that its answer can no longer be delivered.
    pub fn abandon(context: &RequestContext, reason: &JsValue);
}

/// A request handler of the application.
#[derive(Clone)]
pub struct Handler {
    /// Called with the request.
    callback: JsValue,
    /// Number of the data type to which requests are converted, 0 for none.
    request_code: u8,
    /// What the application named as the type of its answers; undefined for none.
    response_type: JsValue,
}

/// What a handler answers.
pub type Answer = Result<Encoded, (ErrorReason, String)>;

impl Handler {
    /// # Errors
    ///
    /// A `MessagingError` if `callback` is neither a function nor an object with a function `handle`.
    pub fn new(callback: JsValue, request_code: u8, response_type: JsValue) -> Result<Self, JsValue> {
        if is_handler(&callback) {
            Ok(Self { callback, request_code, response_type })
        } else {
            Err(error::invalid_argument("a request handler must be a function, or an object with a function `handle`"))
        }
    }

    /// Calls the handler; `respond` gets its answer: now, or when the promise that it returned settles.
    pub fn call(&self, request: ReceivedRequest, context: &RequestContext, respond: impl FnOnce(Answer) + 'static) {
        let ReceivedRequest { request, .. } = request;
        let value = match value::decode(&request, self.request_code) {
            Ok(value) => value,
            Err(error) => return respond(Err(unreadable(&request, &error))),
        };
        match call_handler(&self.callback, &value, context) {
            Ok(result) if is_thenable(&result) => {
                let response_type = self.response_type.clone();
                spawn_local(async move {
                    let result = JsFuture::from(Promise::resolve(&result)).await;
                    respond(answer(result, &response_type, &request));
                });
            }
            result => respond(answer(result, &self.response_type, &request)),
        }
    }
}

/// The context for a request.
pub fn context(request: &ReceivedRequest) -> RequestContext {
    let properties = Array::new();
    for (key, value) in &request.properties {
        properties.push(&key.into());
        properties.push(&value.into());
    }
    let sender = Some(request.sender.to_string());
    RequestContext::new(&request.path, false, sender, properties, &value::type_name(&request.request))
}

fn answer(result: Result<JsValue, JsValue>, response_type: &JsValue, request: &Value) -> Answer {
    let encoded = result.and_then(|result| {
        if response_type.is_undefined() {
            value::encode_answer(&result, response_type, request)
        } else {
            value::encode(&result, response_type)
        }
    });
    encoded.map_err(|error| match error::thrown(&error) {
        (true, text) => (ErrorReason::REJECTED_REQUEST, text),
        (false, text) => (ErrorReason::CALLBACK_EXCEPTION, text),
    })
}

/// The request cannot be read as the handler wants it, so the handler is not called.
fn unreadable(request: &Value, error: &JsValue) -> (ErrorReason, String) {
    let code = js_sys::Reflect::get(error, &"code".into()).ok().and_then(|code| code.as_string());
    let reason = match code.as_deref() {
        Some("INCOMPATIBLE_DATATYPE") => ErrorReason::INCOMPATIBLE_DATATYPE,
        _ => ErrorReason::INVALID_DATA,
    };
    (reason, format!("the {} request cannot be read: {}", request.type_name, error::text_of(error)))
}
