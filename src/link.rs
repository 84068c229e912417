//! What JavaScript is told: class `Link` of `link.js`.

use antiphon_protocol::client::{
    Addressing, Closed, ConnectError, FilterResponseReceived, Outcome, ReceivedRequest, RequestError, State,
};
use antiphon_protocol::inspect::{Direction, Inspected};
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use js_sys::{Function, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::value::code_and_name;

// None of its methods throws, unless it is marked `catch`; all of them may call the client again.
#[wasm_bindgen]
extern "C" {
    /// A session as JavaScript has it.
    #[derive(Clone)]
    pub type Link;

    /// What to connect with: a string, bytes, undefined, or a promise of one of them.
    #[wasm_bindgen(method, catch)]
    pub fn credentials(this: &Link) -> Result<JsValue, JsValue>;

    /// What became of a connection that could not be tried, because of this.
    #[wasm_bindgen(method)]
    pub fn describe(this: &Link, thrown: &JsValue) -> String;

    /// The constructor of WebSockets, if the application named one.
    #[wasm_bindgen(method, getter, js_name = webSocket)]
    pub fn web_socket(this: &Link) -> Option<Function>;

    /// Calls `listener` with the number of an event (open, message, close) and the event.
    ///
    /// # Errors
    ///
    /// What a WebSocket throws that is not the browser's.
    #[wasm_bindgen(method, catch)]
    pub fn listen(this: &Link, socket: &WebSocket, listener: &JsValue) -> Result<(), JsValue>;

    /// What came in a binary message; nothing for another one.
    #[wasm_bindgen(method, js_name = frameOf)]
    pub fn frame_of(this: &Link, event: &JsValue) -> Option<Uint8Array>;

    /// Of a close event.
    #[wasm_bindgen(method, js_name = closeCode)]
    pub fn close_code(this: &Link, event: &JsValue) -> u16;

    /// Of a close event.
    #[wasm_bindgen(method, js_name = closeReason)]
    pub fn close_reason(this: &Link, event: &JsValue) -> String;

    /// Closes a socket of whose events nobody wants to hear any more.
    #[wasm_bindgen(method, js_name = closeSocket)]
    pub fn close_socket(this: &Link, socket: &WebSocket);

    /// Milliseconds to wait before an attempt to reconnect, counted from 1.
    #[wasm_bindgen(method, js_name = retryDelay)]
    pub fn retry_delay(this: &Link, attempt: u32) -> f64;

    /// What the session is doing has changed.
    #[wasm_bindgen(method, js_name = setState)]
    fn js_set_state(this: &Link, state: &str);

    #[wasm_bindgen(method, js_name = connected)]
    fn js_connected(this: &Link, session: &str, max_message_size: f64);

    #[wasm_bindgen(method, js_name = connectFailed)]
    fn js_connect_failed(this: &Link, code: &str, message: &str, is_retryable: bool);

    #[wasm_bindgen(method)]
    pub fn disconnected(this: &Link, reason: &str);

    #[wasm_bindgen(method, js_name = messagesLost)]
    pub fn messages_lost(this: &Link, requests: u32, handlers: u32);

    #[wasm_bindgen(method, js_name = reconnected)]
    fn js_reconnected(this: &Link, session: &str, max_message_size: f64, lossless: bool, new_session: bool);

    #[wasm_bindgen(method)]
    fn ended(this: &Link, code: &str, reason: &str);

    /// A conversation that JavaScript started is over, with this response.
    #[wasm_bindgen(method, js_name = respondedValue)]
    fn js_responded_value(this: &Link, conversation: f64, code: u8, name: &str, bytes: &[u8]);

    #[wasm_bindgen(method, js_name = responded)]
    fn js_responded(this: &Link, conversation: f64, response: &JsValue);

    #[wasm_bindgen(method, js_name = failed)]
    fn js_failed(this: &Link, conversation: f64, error: &JsValue);

    #[wasm_bindgen(method, js_name = filterResponded)]
    fn js_filter_responded(
        this: &Link,
        conversation: f64,
        session: &str,
        received: u32,
        expected: u32,
        code: u8,
        name: &str,
        bytes: &[u8],
    );

    #[wasm_bindgen(method, js_name = filterFailed)]
    fn js_filter_failed(this: &Link, conversation: f64, session: &str, received: u32, expected: u32, error: &JsValue);

    #[wasm_bindgen(method, js_name = requested)]
    fn js_requested(
        this: &Link,
        conversation: f64,
        registration: f64,
        path: &str,
        sender: &str,
        properties: &JsValue,
        code: u8,
        name: &str,
        bytes: &[u8],
    );

    #[wasm_bindgen(method, js_name = abandoned)]
    fn js_abandoned(this: &Link, conversation: f64, error: &JsValue);

    #[wasm_bindgen(method, js_name = handlerLost)]
    fn js_handler_lost(this: &Link, registration: f64);

    #[wasm_bindgen(method, js_name = inspected)]
    fn js_inspected(
        this: &Link,
        is_out: bool,
        kind: u8,
        service: u32,
        conversation: f64,
        path: Option<String>,
        code: u8,
        name: &str,
        bytes: &[u8],
        size: u32,
    );

    /// A `MessagingError`.
    #[wasm_bindgen(method, js_name = error)]
    fn js_error(
        this: &Link,
        code: &str,
        message: &str,
        outcome: &str,
        reason: Option<i32>,
        faults: &JsValue,
    ) -> JsValue;
}

impl Link {
    pub fn set_state(&self, state: State) {
        self.js_set_state(match state {
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Recovering => "recovering",
            State::Closed => "closed",
        });
    }

    pub fn connected(&self, session: SessionId, max_message_size: f64) {
        self.js_connected(&session.to_text(), max_message_size);
    }

    pub fn connect_failed(&self, error: &ConnectError) {
        self.js_connect_failed(error.code.as_str(), &error.message, error.code.is_retryable());
    }

    pub fn reconnected(&self, session: SessionId, max_message_size: f64, lossless: bool, new_session: bool) {
        self.js_reconnected(&session.to_text(), max_message_size, lossless, new_session);
    }

    pub fn closed(&self, closed: &Closed) {
        self.ended(closed.code.as_str(), &closed.reason);
    }

    pub fn responded_value(&self, conversation: ConversationId, value: &Value) {
        let (code, name) = code_and_name(value);
        self.js_responded_value(key(conversation), code, name, &value.bytes);
    }

    pub fn responded(&self, conversation: ConversationId, response: &JsValue) {
        self.js_responded(key(conversation), response);
    }

    pub fn failed(&self, conversation: ConversationId, error: &RequestError) {
        self.js_failed(key(conversation), &self.error(error));
    }

    pub fn filter_responded(&self, response: &FilterResponseReceived) {
        let FilterResponseReceived { conversation, session, outcome, received, expected } = response;
        let (conversation, session) = (key(*conversation), session.to_text());
        match outcome {
            Ok(value) => {
                let (code, name) = code_and_name(value);
                self.js_filter_responded(conversation, &session, *received, *expected, code, name, &value.bytes);
            }
            Err(error) => {
                self.js_filter_failed(conversation, &session, *received, *expected, &self.error(error));
            }
        }
    }

    /// A request that another session sent; JavaScript answers it by [`Client::respond`](crate::Client::respond) or
    /// [`Client::refuse`](crate::Client::refuse), now or later.
    pub fn requested(&self, request: &ReceivedRequest) {
        // No conversation has the ID 0: it stands for a registration where there is none.
        let (registration, sender, properties) = match &request.addressing {
            Addressing::Path { registration, sender, properties } => {
                (key(*registration), sender.to_text(), to_js(properties))
            }
            Addressing::Session => (0.0, String::new(), JsValue::UNDEFINED),
        };
        let (code, name) = code_and_name(&request.request);
        self.js_requested(
            key(request.conversation),
            registration,
            &request.path,
            &sender,
            &properties,
            code,
            name,
            &request.request.bytes,
        );
    }

    pub fn abandoned(&self, conversation: ConversationId, error: &RequestError) {
        self.js_abandoned(key(conversation), &self.error(error));
    }

    pub fn handler_lost(&self, registration: ConversationId) {
        self.js_handler_lost(key(registration));
    }

    /// A message of `size` bytes passes.
    pub fn inspected(&self, direction: Direction, inspected: &Inspected<'_>, size: usize) {
        let Inspected { kind, service, conversation, path, value } = inspected;
        let (name, bytes) = value.as_ref().map_or(("", &[][..]), |value| (value.type_name, value.bytes));
        let (code, name) = DataType::from_name(name).map_or((0, name), |data_type| (data_type.code(), ""));
        self.js_inspected(
            direction == Direction::Out,
            *kind as u8,
            service.unwrap_or_default(),
            key(*conversation),
            path.clone(),
            code,
            name,
            bytes,
            size as u32,
        );
    }

    /// A `MessagingError` for an argument that cannot be used.
    #[cold]
    pub fn invalid_argument(&self, message: &str) -> JsValue {
        self.js_error("INVALID_ARGUMENT", message, Outcome::NotSent.as_str(), None, &JsValue::UNDEFINED)
    }

    /// The `MessagingError` for what became of a request.
    #[cold]
    pub fn error(&self, error: &RequestError) -> JsValue {
        let reason = error.reason().map(|reason| reason.0);
        let faults = match error {
            RequestError::InvalidFilter(faults) => {
                to_js(&faults.iter().map(|fault| (&fault.message, fault.line, fault.column)).collect::<Vec<_>>())
            }
            _ => JsValue::UNDEFINED,
        };
        self.js_error(&error.code(), &error.message(), error.outcome().as_str(), reason, &faults)
    }
}

/// Texts, numbers and lists of them, in which nothing can fail.
pub fn to_js(list: &impl Serialize) -> JsValue {
    serde_wasm_bindgen::to_value(list).unwrap_or_default()
}

/// IDs as JavaScript has them. They count up from 1, so a float holds them exactly.
pub fn key(id: ConversationId) -> f64 {
    id.0 as f64
}
