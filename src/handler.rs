//! The request handlers of a session, kept and called by `handler.js`.

use antiphon_protocol::client::ReceivedRequest;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::ConversationId;
use js_sys::{Array, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::value::{self, Encoded};

#[wasm_bindgen(module = "/src/handler.js")]
extern "C" {
    #[wasm_bindgen(js_name = Handlers)]
    type JsHandlers;

    #[wasm_bindgen(constructor, js_class = Handlers)]
    fn new() -> JsHandlers;

    #[wasm_bindgen(method)]
    fn add(this: &JsHandlers, registration: f64, handler: &JsValue);

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
        sender: &str,
        properties: Array,
        code: u8,
        name: &str,
        bytes: &[u8],
    ) -> JsValue;

    #[wasm_bindgen(method)]
    fn abandon(this: &JsHandlers, conversation: f64, reason: &JsValue);

    type JsAnswer;

    #[wasm_bindgen(method, getter)]
    fn reason(this: &JsAnswer) -> i32;

    #[wasm_bindgen(method, getter)]
    fn text(this: &JsAnswer) -> String;

    #[wasm_bindgen(method, getter)]
    fn code(this: &JsAnswer) -> u8;

    #[wasm_bindgen(method, getter)]
    fn bytes(this: &JsAnswer) -> Uint8Array;

    /// A request handler of the application, checked.
    ///
    /// # Errors
    ///
    /// A `MessagingError` if `callback` is neither a function nor an object with a function `handle`.
    #[wasm_bindgen(catch, js_name = requestHandler)]
    pub fn request_handler(callback: &JsValue, request_code: u8, response_code: u8) -> Result<JsValue, JsValue>;
}

/// The request handlers of a session.
pub struct Handlers(JsHandlers);

/// What a handler answers.
pub type Answer = Result<Encoded, (ErrorReason, String)>;

impl Handlers {
    pub fn new() -> Self {
        Self(JsHandlers::new())
    }

    /// Adds what [`request_handler`] returned.
    pub fn add(&self, registration: ConversationId, handler: &JsValue) {
        self.0.add(key(registration), handler);
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
        for (key, value) in &request.properties {
            properties.push(&key.into());
            properties.push(&value.into());
        }
        let (code, name) = value::code_and_name(&request.request);
        let answer = self.0.call(
            key(request.registration),
            key(request.conversation),
            &request.path,
            &request.sender.to_string(),
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
