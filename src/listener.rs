//! What JavaScript is told and asked: the one object that `session-parts.js` makes for a session (`boundary.ts`).

use antiphon_protocol::client::{
    CallId, Closed, ConnectError, Event, FilterFault, FilterResponseReceived, HandlersAt, ReceivedRequest,
    RequestError, Response, State,
};
use antiphon_protocol::features::Features;
use antiphon_protocol::inspect::{Direction, Inspected};
use antiphon_protocol::value::DataType;
use js_sys::{Array, Function, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::value::code_and_name;

// None of its functions throws; all of them may call the client again.
#[wasm_bindgen]
extern "C" {
    pub type Listener;

    #[wasm_bindgen(method, js_name = stateChanged)]
    fn state_changed(this: &Listener, state: &str);
    #[wasm_bindgen(method)]
    fn connected(this: &Listener, session: &str, max_message_size: f64, features: u32);
    #[wasm_bindgen(method, js_name = connectFailed)]
    fn connect_failed(this: &Listener, code: &str, message: &str, is_retryable: bool);
    #[wasm_bindgen(method)]
    fn disconnected(this: &Listener, reason: &str);
    #[wasm_bindgen(method, js_name = messagesLost)]
    fn messages_lost(this: &Listener, requests: u32, handlers: u32);
    #[wasm_bindgen(method)]
    fn reconnected(
        this: &Listener,
        session: &str,
        max_message_size: f64,
        features: u32,
        lossless: bool,
        new_session: bool,
    );
    #[wasm_bindgen(method)]
    fn closed(this: &Listener, code: &str, reason: &str);
    #[wasm_bindgen(method, js_name = credentialsWanted)]
    pub fn credentials_wanted(this: &Listener, connection: f64);
    #[wasm_bindgen(method, js_name = retryWanted)]
    pub fn retry_wanted(this: &Listener, attempt: u32);

    #[wasm_bindgen(method, js_name = callAnswered)]
    fn call_answered(this: &Listener, call: f64, code: u8, name: Option<&str>, bytes: &[u8]);
    #[wasm_bindgen(method, js_name = callEnded)]
    fn call_ended(this: &Listener, call: f64, response: &JsValue);
    #[wasm_bindgen(method, js_name = callFailed)]
    fn call_failed(this: &Listener, call: f64, failure: &JsValue);
    #[wasm_bindgen(method, js_name = filterAnswered)]
    fn filter_answered(
        this: &Listener,
        call: f64,
        session: &str,
        received: u32,
        expected: u32,
        code: u8,
        name: Option<&str>,
        bytes: &[u8],
    );
    #[wasm_bindgen(method, js_name = filterFailed)]
    fn filter_failed(this: &Listener, call: f64, session: &str, received: u32, expected: u32, failure: &JsValue);
    #[wasm_bindgen(method, js_name = filterEnded)]
    fn filter_ended(this: &Listener, call: f64, failure: &JsValue);

    #[wasm_bindgen(method)]
    fn requested(
        this: &Listener,
        request: f64,
        handler: f64,
        path: &str,
        sender: Option<&str>,
        properties: &JsValue,
        code: u8,
        name: Option<&str>,
        bytes: &[u8],
        time_left: f64,
        key: Option<&str>,
        metadata: &[u8],
    );
    #[wasm_bindgen(method, js_name = requestAbandoned)]
    fn request_abandoned(this: &Listener, request: f64, failure: &JsValue);
    #[wasm_bindgen(method, js_name = handlerLost)]
    fn handler_lost(this: &Listener, handler: f64);

    #[wasm_bindgen(method)]
    fn inspected(
        this: &Listener,
        is_out: bool,
        kind: u8,
        service: u32,
        conversation: f64,
        path: Option<&str>,
        code: u8,
        name: Option<&str>,
        bytes: &[u8],
        size: u32,
    );

    /// Calls `Client::flush` when what runs now is done.
    #[wasm_bindgen(method, js_name = flushSoon)]
    pub fn flush_soon(this: &Listener);

    // What a WebSocket needs.

    /// The constructor of WebSockets, if the application named one.
    #[wasm_bindgen(method, js_name = webSocket)]
    pub fn web_socket(this: &Listener) -> Option<Function>;
    /// Passes the events of a WebSocket on to `client.rs`; what is no socket, since it is not made, was thrown. Gives
    /// what is wrong, if anything.
    #[wasm_bindgen(method)]
    pub fn listen(this: &Listener, connection: f64, socket: &JsValue, is_made: bool) -> Option<String>;
    /// A copy of a message that is to be sent.
    #[wasm_bindgen(method, js_name = copyOf)]
    pub fn copy_of(this: &Listener, frame: &[u8]) -> Uint8Array;
    /// Closes a WebSocket, of whose events nobody wants to hear any more.
    #[wasm_bindgen(method, js_name = closeSocket)]
    pub fn close_socket(this: &Listener, socket: &WebSocket);
    /// Posts a session token to the server, if the WebSocket is not open: the page is left.
    #[wasm_bindgen(method)]
    pub fn leave(this: &Listener, token: &str);
}

impl Listener {
    pub fn tell_state(&self, state: State) {
        self.state_changed(match state {
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Recovering => "recovering",
            State::Closed => "closed",
        });
    }

    /// Tells of an event; `max_message_size` is what the server takes, in bytes, `features` what was agreed on with it.
    pub fn tell(&self, event: Event, max_message_size: f64, features: Features) {
        match event {
            Event::Connected(session) => self.connected(&session.to_text(), max_message_size, features.to_wire()),
            Event::ConnectFailed(ConnectError { code, message, is_retryable }) => {
                self.connect_failed(code.as_str(), &message, is_retryable);
            }
            Event::CallEnded { call, outcome } => self.tell_outcome(call, outcome),
            Event::FilterResponseReceived(response) => self.tell_filter_response(response),
            Event::FilterCallEnded { call, outcome } => {
                let failure = outcome.err().map_or(JsValue::UNDEFINED, |error| failure(&error));
                self.filter_ended(call.0 as f64, &failure);
            }
            Event::RequestReceived(request) => self.tell_request(request),
            Event::RequestAbandoned { request, error } => self.request_abandoned(request.0 as f64, &failure(&error)),
            Event::Disconnected(reason) => self.disconnected(&reason),
            Event::MessagesLost { requests, handlers } => self.messages_lost(requests as u32, handlers as u32),
            Event::HandlerLost(handler) => self.handler_lost(handler.0 as f64),
            Event::Reconnected { session, lossless, new_session } => {
                self.reconnected(&session.to_text(), max_message_size, features.to_wire(), lossless, new_session);
            }
            Event::Closed(Closed { code, reason }) => self.closed(code.as_str(), &reason),
        }
    }

    fn tell_outcome(&self, call: CallId, outcome: Result<Response, RequestError>) {
        let call = call.0 as f64;
        let response = match outcome {
            Ok(Response::Value(value)) => {
                let (code, name) = code_and_name(&value);
                return self.call_answered(call, code, name, &value.bytes);
            }
            Ok(Response::Body(body)) => return self.call_answered(call, DataType::Binary.code(), None, &body),
            Ok(Response::Matched(count)) => count.into(),
            Ok(Response::Registered | Response::Deregistered) => JsValue::UNDEFINED,
            Ok(Response::Pong(time)) => (time.as_secs_f64() * 1000.0).into(),
            Ok(Response::Properties(properties)) => pairs(&properties),
            Ok(Response::PrincipalChanged(changed)) => changed.into(),
            Ok(Response::Handlers(found)) => match found {
                Some(HandlersAt { path, handlers }) => Array::of2(&path.into(), &handlers.into()).into(),
                None => JsValue::UNDEFINED,
            },
            Err(error) => return self.call_failed(call, &failure(&error)),
        };
        self.call_ended(call, &response);
    }

    /// Tells that a call failed, because of an argument that cannot be used.
    #[cold]
    pub fn tell_invalid_argument(&self, call: f64, message: &'static str) {
        self.call_failed(call, &failure(&RequestError::InvalidArgument(message)));
    }

    fn tell_filter_response(&self, response: FilterResponseReceived) {
        let FilterResponseReceived { call, session, outcome, received, expected } = response;
        let (call, session) = (call.0 as f64, session.to_text());
        match outcome {
            Ok(value) => {
                let (code, name) = code_and_name(&value);
                self.filter_answered(call, &session, received, expected, code, name, &value.bytes);
            }
            Err(error) => self.filter_failed(call, &session, received, expected, &failure(&error)),
        }
    }

    fn tell_request(&self, request: ReceivedRequest) {
        let ReceivedRequest { id, handler, path, sender, request, time_left, key, metadata } = request;
        let session = sender.as_ref().map(|sender| sender.session.to_text());
        let properties = match sender {
            Some(sender) if !sender.properties.is_empty() => pairs(&sender.properties),
            _ => JsValue::UNDEFINED,
        };
        let (code, name) = code_and_name(&request);
        let (id, handler) = (id.0 as f64, handler.0 as f64);
        let time_left = time_left.map_or(f64::INFINITY, |left| left.as_secs_f64() * 1000.0);
        let (session, key) = (session.as_deref(), key.as_deref());
        let bytes = &request.bytes;
        self.requested(id, handler, &path, session, &properties, code, name, bytes, time_left, key, &metadata);
    }

    /// A message of `size` bytes passes.
    pub fn tell_inspected(&self, direction: Direction, inspected: &Inspected<'_>, size: usize) {
        let Inspected { kind, service, conversation, path, value } = inspected;
        let (type_name, bytes) = value.as_ref().map_or((None, &[][..]), |value| (Some(value.type_name), value.bytes));
        let data_type = type_name.and_then(DataType::from_name);
        self.inspected(
            direction == Direction::Out,
            *kind as u8,
            service.unwrap_or_default(),
            conversation.0 as f64,
            path.as_deref(),
            data_type.map_or(0, DataType::code),
            if data_type.is_some() { None } else { type_name },
            bytes,
            size as u32,
        );
    }
}

/// What a `MessagingError` is made of: code, message, outcome, reason, faults of a session filter, details.
#[cold]
fn failure(error: &RequestError) -> JsValue {
    let faults = match error {
        RequestError::InvalidFilter(found) => {
            let list = |FilterFault { message, line, column }: &FilterFault| {
                Array::of3(&message.as_str().into(), &(*line).into(), &(*column).into())
            };
            found.iter().map(list).collect::<Array>().into()
        }
        _ => JsValue::UNDEFINED,
    };
    let list = Array::of3(&(*error.code()).into(), &(*error.message()).into(), &error.outcome().as_str().into());
    list.push(&error.reason().map(|reason| reason.0).into());
    list.push(&faults);
    if let RequestError::Refused { details, .. } = error
        && !details.is_empty()
    {
        list.push(&Uint8Array::from(&details[..]));
    }
    list.into()
}

/// Keys and values.
fn pairs(properties: &[(String, String)]) -> JsValue {
    let pair = |(key, value): &(String, String)| Array::of2(&key.as_str().into(), &value.as_str().into());
    properties.iter().map(pair).collect::<Array>().into()
}
