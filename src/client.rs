//! Sessions as JavaScript calls them, by number: the interfaces `ClientPort` and `SocketPort` of `boundary.ts`, where each
//! function has the number of its session in front. Arguments are checked there. None of them throws; what becomes of a
//! call, the listener is told.
//!
//! They are functions and no class, since each method of a class brings the code with it that borrows an object.

use std::cell::RefCell;

use antiphon_client::driver::PageEvent;
use antiphon_protocol::client::{
    CallId, ClientConfig, ConnectionId, HandlerId, HandlerSettings, Patience, RequestId, Sought, Terms,
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

thread_local! {
    /// The sessions at work, each at its number.
    static SESSIONS: RefCell<Vec<Option<Session>>> = const { RefCell::new(Vec::new()) };
}

/// The session with this number, which JavaScript has not let go of.
#[inline(never)]
fn session(client: u32) -> Session {
    // A clone: what is called may call JavaScript, which may begin another session.
    SESSIONS.with_borrow(|sessions| sessions[client as usize].clone().expect("a session that is there"))
}

/// Lets go of a session, of which nothing is called any more.
#[wasm_bindgen]
pub fn free(client: u32) {
    SESSIONS.with_borrow_mut(|sessions| sessions[client as usize].take());
}

/// The number of a new session that is not connected yet. `address` ends where our query begins; keys and values alternate in
/// `properties`. Times are in milliseconds, that for reconnecting 0 for not at all; `max_message_size` is the largest
/// message taken from the server, in bytes; `batching` says whether several may come in one WebSocket message.
#[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
#[wasm_bindgen]
pub fn create(
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
) -> u32 {
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
    let session = Some(Session::new(listener, address, config));
    SESSIONS.with_borrow_mut(|sessions| {
        let place = sessions.iter().position(Option::is_none).unwrap_or(sessions.len());
        match sessions.get_mut(place) {
            Some(free) => *free = session,
            None => sessions.push(session),
        }
        place as u32
    })
}

/// Sends what waits to be sent together.
#[wasm_bindgen]
pub fn flush(client: u32) {
    let session = session(client);
    session.driver().flush(&mut &session);
}

/// Starts connecting; `elapsed` milliseconds of the time allowed have passed already.
#[wasm_bindgen]
pub fn connect(client: u32, elapsed: f64) {
    let elapsed = micros(milliseconds(elapsed));
    session(client).change(|core, now| core.connect(Moment(now.0.saturating_sub(elapsed))));
}

/// Ends the session.
#[wasm_bindgen]
pub fn close(client: u32) {
    session(client).change(|core, now| core.close(now));
}

/// Ends the session because the page is left: there will be no event of its connection any more.
#[wasm_bindgen]
pub fn leave(client: u32) {
    let session = session(client);
    session.driver().handle_page(&mut &session, PageEvent::Left);
}

/// The page was frozen or hidden, or is back on the network; with `restored`, it comes from the back/forward cache,
/// where no connection lives.
#[wasm_bindgen]
pub fn wake(client: u32, restored: bool) {
    let session = session(client);
    session.driver().handle_page(&mut &session, PageEvent::Woken { restored });
}

/// Opens a connection with credentials: a string, bytes or undefined.
#[wasm_bindgen(js_name = connectWith)]
pub fn connect_with(client: u32, connection: f64, credentials: &JsValue) {
    let credentials = credentials_from_js(credentials);
    let session = session(client);
    session.driver().open(&mut &session, connection_id(connection), credentials);
}

/// There are no credentials for a connection; `reason` is for people.
#[wasm_bindgen(js_name = cannotConnect)]
pub fn cannot_connect(client: u32, connection: f64, reason: &str) {
    let session = session(client);
    session.driver().handle_disconnected(&mut &session, connection_id(connection), reason);
}

/// Says how long to wait before the attempt to reconnect that is due, in milliseconds, if the application says so.
#[wasm_bindgen(js_name = retryAfter)]
pub fn retry_after(client: u32, delay: Option<f64>) {
    let session = session(client);
    session.driver().retry_after(&mut &session, delay.map(milliseconds));
}

/// Sends a request to whichever session handles `path` (`recipient` 0), to the session `whom` (1), or to those that the
/// session filter `whom` matches (2). The value is of data type `code`; `timeout` is in milliseconds; with `wait` it
/// waits for a connection while there is none. The recipient is told how much time is left with `is_time_told`.
/// `key` is its idempotency key, and `metadata` what is said beside it, a json value; empty for none.
#[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
#[wasm_bindgen]
pub fn send(
    client: u32,
    call: f64,
    recipient: u8,
    whom: &str,
    path: &str,
    code: u8,
    bytes: &[u8],
    timeout: f64,
    wait: bool,
    is_time_told: bool,
    key: &str,
    metadata: &[u8],
) {
    let (value, patience) = (as_wire(code, bytes), Patience { timeout: milliseconds(timeout), wait });
    let addressee = match recipient {
        TO_SESSION => whom.parse::<SessionId>().ok(),
        _ => None,
    };
    if recipient == TO_SESSION && addressee.is_none() {
        return session(client).listener().tell_invalid_argument(call, InvalidSessionId::MESSAGE);
    }
    let terms = Terms::new(patience, is_time_told).with_key(key).with_metadata(metadata);
    session(client).change(|core, now| match (recipient, addressee) {
        (_, Some(addressee)) => core.send_to_session(now, id(call), addressee, path, value, terms),
        (TO_FILTER, _) => core.send_to_filter(now, id(call), whom, path, value, terms),
        _ => core.send_to_path(now, id(call), path, value, terms),
    });
}

/// Sends a service request with this body.
#[wasm_bindgen]
pub fn invoke(client: u32, call: f64, service: u32, body: &[u8]) {
    session(client).change(|core, now| core.invoke(now, id(call), service, body));
}

/// Asks how many sessions the session filter `whom` matches (`what` 0), or which handlers the path `whom` has (1), and
/// whenever these change (2). The answer may take `timeout` milliseconds.
#[wasm_bindgen]
pub fn look(client: u32, call: f64, what: u8, whom: &str, timeout: f64) {
    let sought = match what {
        COUNT => Sought::Sessions,
        FIND => Sought::Handlers,
        _ => Sought::Changes,
    };
    session(client).change(|core, now| core.look(now, id(call), sought, whom, milliseconds(timeout)));
}

/// Measures a round trip.
#[wasm_bindgen]
pub fn ping(client: u32, call: f64) {
    session(client).change(|core, now| core.ping(now, id(call)));
}

/// Asks for the session's own properties.
#[wasm_bindgen(js_name = getProperties)]
pub fn get_properties(client: u32, call: f64, keys: &Array) {
    let keys = strings(keys);
    session(client).change(|core, now| core.get_properties(now, id(call), &keys));
}

/// Gives the session another principal; `credentials` are a string, bytes or undefined.
#[wasm_bindgen(js_name = changePrincipal)]
pub fn change_principal(client: u32, call: f64, principal: &str, credentials: &JsValue) {
    let credentials = credentials_from_js(credentials);
    session(client).change(|core, now| core.change_principal(now, id(call), principal, &credentials));
}

/// Registers a request handler, which may take `timeout` milliseconds for an answer, and is sent `max_concurrent`
/// requests at a time, or infinitely many, while `max_queued` further ones may wait at the server; with `wait` the
/// registration waits for a connection while there is none.
#[expect(clippy::too_many_arguments, reason = "each crosses the boundary by itself")]
#[wasm_bindgen(js_name = registerHandler)]
pub fn register_handler(
    client: u32,
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
    let settings = HandlerSettings { property_keys, reregister, addressed, timeout, max_concurrent, max_queued, wait };
    let handler = HandlerId(handler as u64);
    session(client).change(|core, now| core.register_handler(now, id(call), handler, path, settings));
}

/// Ends a request handler, and takes its registration back.
#[wasm_bindgen(js_name = deregisterHandler)]
pub fn deregister_handler(client: u32, call: f64, handler: f64) {
    session(client).change(|core, now| core.deregister_handler(now, id(call), HandlerId(handler as u64)));
}

/// Nothing more is to be told of this call.
#[wasm_bindgen]
pub fn abandon(client: u32, call: f64) {
    session(client).act(|core| core.abandon(id(call)));
}

/// Adds a stream, which may take `timeout` milliseconds for an answer.
#[wasm_bindgen(js_name = addStream)]
pub fn add_stream(client: u32, handler: f64, path: &str, addressed: bool, timeout: f64) {
    let (handler, timeout) = (HandlerId(handler as u64), milliseconds(timeout));
    session(client).act(|core| core.add_stream(handler, path, addressed, timeout));
}

/// Removes a stream.
#[wasm_bindgen(js_name = removeStream)]
pub fn remove_stream(client: u32, handler: f64) {
    session(client).act(|core| core.remove_stream(HandlerId(handler as u64)));
}

/// Answers a request.
#[wasm_bindgen]
pub fn respond(client: u32, request: f64, code: u8, bytes: &[u8]) {
    session(client).act(|core| core.respond(RequestId(request as u64), Ok(as_wire(code, bytes))));
}

/// Answers a request with an error; `details` are a json value, empty for none.
#[wasm_bindgen]
pub fn refuse(client: u32, request: f64, reason: i32, text: &str, details: &[u8]) {
    session(client).act(|core| core.respond(RequestId(request as u64), Err((ErrorReason(reason), text, details))));
}

/// Whether the listener is told of messages as they pass.
#[wasm_bindgen]
pub fn inspect(client: u32, is_wanted: bool) {
    session(client).driver().set_inspecting(is_wanted);
}

// What happens on a WebSocket.

/// It is open.
#[wasm_bindgen]
pub fn opened(client: u32, connection: f64) {
    let session = session(client);
    session.driver().handle_open(&mut &session, connection_id(connection));
}

/// A binary message has arrived.
#[wasm_bindgen]
pub fn received(client: u32, connection: f64, frame: &[u8]) {
    let session = session(client);
    session.driver().handle_frame(&mut &session, connection_id(connection), frame);
}

/// A message has arrived that is not binary; no peer of ours sends these.
#[wasm_bindgen(js_name = receivedText)]
pub fn received_text(client: u32, connection: f64) {
    let text = "the server sent a text message";
    let session = session(client);
    session.driver().handle_violation(&mut &session, connection_id(connection), text);
}

/// Nothing follows. `can_pass` says whether another attempt may succeed.
#[wasm_bindgen]
pub fn disconnected(client: u32, connection: f64, code: u16, reason: &str, can_pass: bool) {
    let session = session(client);
    session.driver().handle_closed(&mut &session, connection_id(connection), code, reason, can_pass);
}

// Whom a request is for: `Recipient` in `boundary.ts`.
const TO_SESSION: u8 = 1;
const TO_FILTER: u8 = 2;

// What is looked for: `Sought` in `boundary.ts`.
const COUNT: u8 = 0;
const FIND: u8 = 1;

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
