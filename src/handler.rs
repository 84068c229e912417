//! The functions of the application that a session calls, kept and called by `handler.js`.

use antiphon_protocol::client::{Addressing, FilterResponseReceived, ReceivedRequest};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::ConversationId;
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::error;
use crate::platform::Deferred;
use crate::value::{self, Encoded};

#[wasm_bindgen(module = "/src/handler.js")]
extern "C" {
    #[wasm_bindgen(js_name = Handlers)]
    type JsHandlers;

    #[wasm_bindgen(constructor, js_class = Handlers)]
    fn new() -> JsHandlers;

    #[wasm_bindgen(method)]
    fn add(this: &JsHandlers, registration: f64, path: &str, handler: &RequestHandler);

    #[wasm_bindgen(method)]
    fn remove(this: &JsHandlers, registration: f64);

    #[wasm_bindgen(method)]
    fn has(this: &JsHandlers, registration: f64) -> bool;

    #[wasm_bindgen(method)]
    fn clear(this: &JsHandlers);

    #[wasm_bindgen(method)]
    fn call(
        this: &JsHandlers,
        registration: f64,
        conversation: f64,
        path: &str,
        sender: Option<String>,
        properties: Array,
        code: u8,
        name: &str,
        bytes: &[u8],
    ) -> JsValue;

    #[wasm_bindgen(method)]
    fn abandon(this: &JsHandlers, conversation: f64, reason: &JsValue);

    #[wasm_bindgen(method, catch, js_name = addStream)]
    fn add_stream(this: &JsHandlers, path: &JsValue, handler: &JsValue, options: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = addFilterHandler)]
    fn add_filter_handler(this: &JsHandlers, filter: &JsValue, handler: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = filterCall)]
    fn filter_call(
        this: &JsHandlers,
        filter: &str,
        path: &str,
        response_code: u8,
        on_response: &JsValue,
    ) -> Result<FilterCall, JsValue>;

    /// Takes the responses to one request that went to a filter.
    #[derive(Clone)]
    pub type FilterCall;

    /// Settled by us when no further ones will come.
    #[wasm_bindgen(method, getter)]
    pub fn ended(this: &FilterCall) -> Deferred;

    #[wasm_bindgen(method)]
    fn respond(this: &FilterCall, session: String, received: u32, expected: u32, code: u8, name: &str, bytes: &[u8]);

    #[wasm_bindgen(method)]
    fn fail(this: &FilterCall, session: String, received: u32, expected: u32, error: &JsValue);

    type JsAnswer;

    #[wasm_bindgen(method, getter)]
    fn reason(this: &JsAnswer) -> i32;

    #[wasm_bindgen(method, getter)]
    fn text(this: &JsAnswer) -> String;

    #[wasm_bindgen(method, getter)]
    fn code(this: &JsAnswer) -> u8;

    #[wasm_bindgen(method, getter)]
    fn bytes(this: &JsAnswer) -> Uint8Array;

    /// A request handler of the application with its options, checked.
    pub type RequestHandler;

    /// Which properties of the sender it wants.
    #[wasm_bindgen(method, getter, js_name = sessionProperties)]
    pub fn session_properties(this: &RequestHandler) -> Vec<String>;

    /// Whether it is registered again when the server has lost it.
    #[wasm_bindgen(method, getter)]
    pub fn reregister(this: &RequestHandler) -> bool;

    /// # Errors
    ///
    /// A `MessagingError` if `callback` is neither a function nor an object with a function `handle`, or an option
    /// cannot be used.
    #[wasm_bindgen(catch, js_name = requestHandler)]
    pub fn request_handler(callback: &JsValue, options: &JsValue) -> Result<RequestHandler, JsValue>;
}

/// The functions that a session calls.
pub struct Handlers(JsHandlers);

/// What a handler answers.
pub type Answer = Result<Encoded, (ErrorReason, String)>;

impl Handlers {
    pub fn new() -> Self {
        Self(JsHandlers::new())
    }

    /// Adds a handler that the server has accepted.
    pub fn add(&self, registration: ConversationId, path: &str, handler: &RequestHandler) {
        self.0.add(key(registration), path, handler);
    }

    /// Adds a stream; returns what takes it out again.
    ///
    /// # Errors
    ///
    /// A `MessagingError` for an argument that cannot be used.
    pub fn add_stream(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Result<JsValue, JsValue> {
        self.0.add_stream(path, handler, options)
    }

    /// Adds a handler for the responses to one filter; returns what takes it out again.
    ///
    /// # Errors
    ///
    /// A `MessagingError` for an argument that cannot be used.
    pub fn add_filter_handler(&self, filter: &JsValue, handler: &JsValue) -> Result<JsValue, JsValue> {
        self.0.add_filter_handler(filter, handler)
    }

    /// What takes the responses to a request: `on_response`, unless it is missing, or the handler for this filter.
    ///
    /// # Errors
    ///
    /// A `MessagingError` if `on_response` cannot be called.
    pub fn filter_call(
        &self,
        filter: &str,
        path: &str,
        response_code: u8,
        on_response: &JsValue,
    ) -> Result<FilterCall, JsValue> {
        self.0.filter_call(filter, path, response_code, on_response)
    }

    pub fn remove(&self, registration: ConversationId) {
        self.0.remove(key(registration));
    }

    pub fn has(&self, registration: ConversationId) -> bool {
        self.0.has(key(registration))
    }

    pub fn clear(&self) {
        self.0.clear();
    }

    /// Calls the handler of a request; `respond` gets its answer: now, or when the promise that it returned settles.
    pub fn call(&self, request: &ReceivedRequest, respond: impl FnOnce(Answer) + 'static) {
        let properties = Array::new();
        let (registration, sender) = match &request.addressing {
            Addressing::Path { registration, sender, properties: given } => {
                for text in given.iter().flat_map(|(key, value)| [key, value]) {
                    properties.push(&text.into());
                }
                (*registration, Some(sender.to_string()))
            }
            Addressing::Session => (ADDRESSED, None),
        };
        let (code, name) = value::code_and_name(&request.request);
        let answer = self.0.call(
            key(registration),
            key(request.conversation),
            &request.path,
            sender,
            properties,
            code,
            name,
            &request.request.bytes,
        );
        match answer.dyn_into::<Promise>() {
            Ok(promise) => spawn_local(async move {
                // It never rejects: a failed handler is an answer too.
                if let Ok(answer) = JsFuture::from(promise).await {
                    respond(read(answer));
                }
            }),
            Err(answer) => respond(read(answer)),
        }
    }

    /// The answer to a request can no longer be delivered; `reason` says why.
    pub fn abandon(&self, conversation: ConversationId, reason: &JsValue) {
        self.0.abandon(key(conversation), reason);
    }
}

impl FilterCall {
    /// A session has answered, or has not.
    pub fn take(&self, response: &FilterResponseReceived) {
        let FilterResponseReceived { session, outcome, received, expected, .. } = response;
        match outcome {
            Ok(value) => {
                let (code, name) = value::code_and_name(value);
                self.respond(session.to_string(), *received, *expected, code, name, &value.bytes);
            }
            Err(error) => {
                let error = error::from_request_error(error, &JsValue::UNDEFINED);
                self.fail(session.to_string(), *received, *expected, &error);
            }
        }
    }
}

/// Stands for a registration where there is none; no conversation has this ID.
const ADDRESSED: ConversationId = ConversationId(0);

fn read(answer: JsValue) -> Answer {
    let answer: JsAnswer = answer.unchecked_into();
    match answer.reason() {
        0 => Ok(Encoded::new(answer.code(), &answer.bytes())),
        reason => Err((ErrorReason(reason), answer.text())),
    }
}

/// IDs as keys of a map. They count up from 1, so a float holds them exactly.
fn key(id: ConversationId) -> f64 {
    id.0 as f64
}
