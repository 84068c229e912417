//! Class `Client`: a session as JavaScript calls it, the interfaces `ClientPort` and `SocketPort` of `boundary.ts`.
//! Arguments are checked there.

use antiphon_client::driver::PageEvent;
use antiphon_protocol::client::{
    CallId, ClientConfig, ConnectionId, HandlerId, HandlerSettings, Patience, RequestId, Terms,
};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::{Moment, micros};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::{InvalidSessionId, SessionId};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::clock::milliseconds;
use crate::listener::Listener;
use crate::session::Session;
use crate::value::as_wire;

/// A session at work. No method throws; what becomes of a call, the listener is told.
#[wasm_bindgen]
pub struct Client {
    session: Session,
}

#[wasm_bindgen]
impl Client {
    /// A session that is not connected yet. `address` ends where our query begins; keys and values alternate in
    /// `properties`. Times are in milliseconds, that for reconnecting 0 for not at all; `max_message_size` is the largest
    /// message taken from the server, in bytes; `batching` says whether several may come in one WebSocket message.
    #[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
    #[wasm_bindgen(constructor)]
    pub fn new(
        listener: Listener,
        address: String,
        principal: Option<String>,
        properties: &Array,
        protocol_version: u8,
        connect_timeout: f64,
        reconnect_timeout: f64,
        request_timeout: f64,
        max_message_size: f64,
        batching: bool,
    ) -> Self {
        let mut properties = strings(properties).into_iter();
        let config = ClientConfig {
            principal,
            properties: std::iter::from_fn(|| Some((properties.next()?, properties.next()?))).collect(),
            protocol_version,
            connect_timeout: milliseconds(connect_timeout),
            reconnect_timeout: milliseconds(reconnect_timeout),
            request_timeout: milliseconds(request_timeout),
            // Saturates.
            max_message_size: max_message_size as usize,
            features: if batching { Features::ALL } else { !Features::BATCHING },
            ..ClientConfig::default()
        };
        Self { session: Session::new(listener, address, config) }
    }

    /// Sends what waits to be sent together.
    pub fn flush(&self) {
        self.session.driver().flush(&mut &self.session);
    }

    /// Starts connecting; `elapsed` milliseconds of the time allowed have passed already.
    pub fn connect(&self, elapsed: f64) {
        let elapsed = micros(milliseconds(elapsed));
        self.session.change(|core, now| core.connect(Moment(now.0.saturating_sub(elapsed))));
    }

    /// Ends the session.
    pub fn close(&self) {
        self.session.change(|core, now| core.close(now));
    }

    /// Ends the session because the page is left: there will be no event of its connection any more.
    pub fn leave(&self) {
        self.session.driver().handle_page(&mut &self.session, PageEvent::Left);
    }

    /// The page was frozen or hidden, or is back on the network; with `restored`, it comes from the back/forward cache,
    /// where no connection lives.
    pub fn wake(&self, restored: bool) {
        self.session.driver().handle_page(&mut &self.session, PageEvent::Woken { restored });
    }

    /// Opens a connection with credentials: a string, bytes or undefined.
    #[wasm_bindgen(js_name = connectWith)]
    pub fn connect_with(&self, connection: f64, credentials: &JsValue) {
        let credentials = credentials_from_js(credentials);
        self.session.driver().open(&mut &self.session, connection_id(connection), credentials);
    }

    /// There are no credentials for a connection; `reason` is for people.
    #[wasm_bindgen(js_name = cannotConnect)]
    pub fn cannot_connect(&self, connection: f64, reason: &str) {
        self.session.driver().handle_disconnected(&mut &self.session, connection_id(connection), reason);
    }

    /// Says how long to wait before the attempt to reconnect that is due, in milliseconds, if the application says so.
    #[wasm_bindgen(js_name = retryAfter)]
    pub fn retry_after(&self, delay: Option<f64>) {
        self.session.driver().retry_after(&mut &self.session, delay.map(milliseconds));
    }

    /// Sends a request to whichever session handles `path` (`recipient` 0), to the session `whom` (1), or to those that the
    /// session filter `whom` matches (2). The value is of data type `code`; `timeout` is in milliseconds; with `wait` it
    /// waits for a connection while there is none. The recipient is told how much time is left with `is_time_told`.
    #[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
    pub fn send(
        &self,
        call: f64,
        recipient: u8,
        whom: &str,
        path: &str,
        code: u8,
        bytes: &[u8],
        timeout: f64,
        wait: bool,
        is_time_told: bool,
    ) {
        let (value, patience) = (as_wire(code, bytes), Patience { timeout: milliseconds(timeout), wait });
        let session = match recipient {
            TO_SESSION => whom.parse::<SessionId>().ok(),
            _ => None,
        };
        if recipient == TO_SESSION && session.is_none() {
            return self.session.listener().tell_invalid_argument(call, InvalidSessionId::MESSAGE);
        }
        let terms = Terms::new(patience, is_time_told);
        self.session.change(|core, now| match (recipient, session) {
            (_, Some(session)) => core.send_to_session(now, id(call), session, path, value, terms),
            (TO_FILTER, _) => core.send_to_filter(now, id(call), whom, path, value, terms),
            _ => core.send_to_path(now, id(call), path, value, terms),
        });
    }

    /// Sends a service request with this body.
    pub fn invoke(&self, call: f64, service: u32, body: &[u8]) {
        self.session.change(|core, now| core.invoke(now, id(call), service, body));
    }

    /// Measures a round trip.
    pub fn ping(&self, call: f64) {
        self.session.change(|core, now| core.ping(now, id(call)));
    }

    /// Asks for the session's own properties.
    #[wasm_bindgen(js_name = getProperties)]
    pub fn get_properties(&self, call: f64, keys: &Array) {
        let keys = strings(keys);
        self.session.change(|core, now| core.get_properties(now, id(call), &keys));
    }

    /// Gives the session another principal; `credentials` are a string, bytes or undefined.
    #[wasm_bindgen(js_name = changePrincipal)]
    pub fn change_principal(&self, call: f64, principal: &str, credentials: &JsValue) {
        let credentials = credentials_from_js(credentials);
        self.session.change(|core, now| core.change_principal(now, id(call), principal, &credentials));
    }

    /// Registers a request handler, which may take `timeout` milliseconds for an answer, and is sent `max_concurrent`
    /// requests at a time, or infinitely many, while `max_queued` further ones may wait at the server; with `wait` the
    /// registration waits for a connection while there is none.
    #[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
    #[wasm_bindgen(js_name = registerHandler)]
    pub fn register_handler(
        &self,
        call: f64,
        handler: f64,
        path: &str,
        property_keys: &Array,
        reregister: bool,
        addressed: bool,
        timeout: f64,
        max_concurrent: f64,
        max_queued: f64,
        wait: bool,
    ) {
        let (property_keys, timeout) = (strings(property_keys), milliseconds(timeout));
        // These conversions saturate.
        let max_concurrent = if max_concurrent.is_finite() { max_concurrent as u32 } else { 0 };
        let max_queued = max_queued as u32;
        let settings =
            HandlerSettings { property_keys, reregister, addressed, timeout, max_concurrent, max_queued, wait };
        let handler = HandlerId(handler as u64);
        self.session.change(|core, now| core.register_handler(now, id(call), handler, path, settings));
    }

    /// Ends a request handler, and takes its registration back.
    #[wasm_bindgen(js_name = deregisterHandler)]
    pub fn deregister_handler(&self, call: f64, handler: f64) {
        self.session.change(|core, now| core.deregister_handler(now, id(call), HandlerId(handler as u64)));
    }

    /// Nothing more is to be told of this call.
    pub fn abandon(&self, call: f64) {
        self.session.act(|core| core.abandon(id(call)));
    }

    /// Adds a stream, which may take `timeout` milliseconds for an answer.
    #[wasm_bindgen(js_name = addStream)]
    pub fn add_stream(&self, handler: f64, path: &str, addressed: bool, timeout: f64) {
        let (handler, timeout) = (HandlerId(handler as u64), milliseconds(timeout));
        self.session.act(|core| core.add_stream(handler, path, addressed, timeout));
    }

    /// Removes a stream.
    #[wasm_bindgen(js_name = removeStream)]
    pub fn remove_stream(&self, handler: f64) {
        self.session.act(|core| core.remove_stream(HandlerId(handler as u64)));
    }

    /// Answers a request.
    pub fn respond(&self, request: f64, code: u8, bytes: &[u8]) {
        self.session.act(|core| core.respond(RequestId(request as u64), Ok(as_wire(code, bytes))));
    }

    /// Answers a request with an error.
    pub fn refuse(&self, request: f64, reason: i32, text: &str) {
        self.session.act(|core| core.respond(RequestId(request as u64), Err((ErrorReason(reason), text))));
    }

    /// Whether the listener is told of messages as they pass.
    pub fn inspect(&self, is_wanted: bool) {
        self.session.driver().set_inspecting(is_wanted);
    }

    // What happens on a WebSocket.

    /// It is open.
    pub fn opened(&self, connection: f64) {
        self.session.driver().handle_open(&mut &self.session, connection_id(connection));
    }

    /// A binary message has arrived.
    pub fn received(&self, connection: f64, frame: &[u8]) {
        self.session.driver().handle_frame(&mut &self.session, connection_id(connection), frame);
    }

    /// A message has arrived that is not binary; no peer of ours sends these.
    #[wasm_bindgen(js_name = receivedText)]
    pub fn received_text(&self, connection: f64) {
        let text = "the server sent a text message";
        self.session.driver().handle_violation(&mut &self.session, connection_id(connection), text);
    }

    /// Nothing follows. `can_pass` says whether another attempt may succeed.
    pub fn disconnected(&self, connection: f64, code: u16, reason: &str, can_pass: bool) {
        self.session.driver().handle_closed(&mut &self.session, connection_id(connection), code, reason, can_pass);
    }
}

// Whom a request is for: `Recipient` in `boundary.ts`.
const TO_SESSION: u8 = 1;
const TO_FILTER: u8 = 2;

/// Numbers that count up from 1 in JavaScript, where a float holds them exactly.
fn id(call: f64) -> CallId {
    CallId(call as u64)
}

fn connection_id(connection: f64) -> ConnectionId {
    ConnectionId(connection as u64)
}

/// An array of strings.
fn strings(array: &Array) -> Vec<String> {
    array.iter().filter_map(|item| item.as_string()).collect()
}

/// What `options.js` has checked: a string, bytes or undefined.
fn credentials_from_js(value: &JsValue) -> Credentials {
    match value.as_string() {
        Some(password) => Credentials::Password(password),
        None => match value.dyn_ref::<Uint8Array>() {
            Some(bytes) => Credentials::Custom(bytes.to_vec()),
            None => Credentials::None,
        },
    }
}
