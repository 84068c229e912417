//! Class `Client`: a session as `link.js` uses it. Arguments are checked there, and promises kept there, under the
//! number of the conversation that a method returns; the link is told what came of it.

use antiphon_protocol::client::{ClientSession, FilterRequest, Patience, RequestError};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::{ConversationId, InvalidSessionId, SessionId};
use js_sys::Array;
use wasm_bindgen::prelude::*;

use crate::clock::{milliseconds, now};
use crate::driver::Driver;
use crate::link::{Link, key};
use crate::options::{client_config, strings};
use crate::value::as_wire;

/// A session at work.
///
/// What a method throws is a `MessagingError`. *After those that start a conversation, call [`flush`](Self::flush)*, when
/// the number that they returned is known: what they sent goes out then, and nobody is told anything before.
#[wasm_bindgen(skip_typescript)]
pub struct Client {
    driver: Driver,
}

#[wasm_bindgen]
impl Client {
    /// A session that is not connected yet. `address` ends where our query begins; `options` are those of
    /// [`client_config`].
    #[wasm_bindgen(constructor, skip_typescript)]
    pub fn new(link: Link, address: String, options: &Array) -> Self {
        Self { driver: Driver::new(link, address, client_config(options)) }
    }

    /// Starts connecting; `elapsed` milliseconds of the time allowed have passed already.
    #[wasm_bindgen(skip_typescript)]
    pub fn connect(&self, elapsed: f64) {
        let begun = Moment(now().0.saturating_sub(milliseconds(elapsed).as_micros() as u64));
        self.driver.with_core(|core| core.connect(begun));
    }

    /// Ends the session; [`Link::closed`] follows.
    #[wasm_bindgen(skip_typescript)]
    pub fn close(&self) {
        self.driver.with_core(|core| core.close(now()));
    }

    /// Ends the session because the page is left: there will be no event of its connection any more.
    #[wasm_bindgen(skip_typescript)]
    pub fn leave(&self) {
        self.driver.with_core(|core| {
            core.close(now());
            core.handle_disconnected(now(), "the page was left");
        });
    }

    /// The page was frozen or hidden, or is back on the network; with `restored`, it comes from the back/forward cache,
    /// where no connection lives.
    #[wasm_bindgen(skip_typescript)]
    pub fn wake(&self, restored: bool) {
        self.driver.with_core(|core| {
            if restored {
                // The events of a connection that died in the cache are late.
                core.handle_disconnected(now(), "the page was in the back/forward cache");
            } else {
                // Timers are late then.
                core.handle_timeout(now());
            }
            core.retry_now(now());
        });
    }

    /// Starts a request to whichever session handles `path`. The value is of data type `code`; `timeout` is in
    /// milliseconds; with `wait` it waits for a connection while there is none.
    #[wasm_bindgen(js_name = sendToPath, skip_typescript)]
    pub fn send_to_path(&self, path: &str, code: u8, bytes: &[u8], timeout: f64, wait: bool) -> Result<f64, JsValue> {
        let patience = Patience { timeout: milliseconds(timeout), wait };
        self.start(|core| core.send_to_path(now(), path, as_wire(code, bytes), patience))
    }

    /// Starts a request to one session.
    #[wasm_bindgen(js_name = sendToSession, skip_typescript)]
    pub fn send_to_session(
        &self,
        path: &str,
        code: u8,
        bytes: &[u8],
        timeout: f64,
        wait: bool,
        session: &str,
    ) -> Result<f64, JsValue> {
        let session: SessionId =
            session.parse().map_err(|_| self.driver.link().invalid_argument(InvalidSessionId::MESSAGE))?;
        let patience = Patience { timeout: milliseconds(timeout), wait };
        self.start(|core| core.send_to_session(now(), session, path, as_wire(code, bytes), patience))
    }

    /// Starts a request to every session that a filter matches. Gives two conversations: of their number, and of their
    /// responses.
    #[wasm_bindgen(js_name = sendToFilter, skip_typescript)]
    pub fn send_to_filter(
        &self,
        path: &str,
        code: u8,
        bytes: &[u8],
        timeout: f64,
        wait: bool,
        filter: &str,
    ) -> Result<Array, JsValue> {
        let patience = Patience { timeout: milliseconds(timeout), wait };
        let sent = self.driver.core().send_to_filter(now(), filter, path, as_wire(code, bytes), patience);
        sent.map(|FilterRequest { count, responses }| Array::of2(&key(count).into(), &key(responses).into()))
            .map_err(|error| self.driver.link().error(&error))
    }

    /// Starts a service request with this body.
    #[wasm_bindgen(skip_typescript)]
    pub fn invoke(&self, service: u32, body: &[u8]) -> Result<f64, JsValue> {
        self.start(|core| core.invoke(now(), service, body))
    }

    /// Starts measuring a round trip, in milliseconds.
    #[wasm_bindgen(skip_typescript)]
    pub fn ping(&self) -> Result<f64, JsValue> {
        self.start(|core| core.ping(now()))
    }

    /// Starts asking for the session's own properties: a list of keys and values.
    #[wasm_bindgen(js_name = getProperties, skip_typescript)]
    pub fn get_properties(&self, keys: &Array) -> Result<f64, JsValue> {
        self.start(|core| core.get_properties(now(), &strings(keys)))
    }

    /// Starts giving the session another principal; `credentials` are a string, bytes or undefined.
    #[wasm_bindgen(js_name = changePrincipal, skip_typescript)]
    pub fn change_principal(&self, principal: &str, credentials: &JsValue) -> Result<f64, JsValue> {
        self.start(|core| core.change_principal(now(), principal, &credentials_from_js(credentials)))
    }

    /// Starts registering a request handler; the response is the number of the registration.
    #[wasm_bindgen(skip_typescript)]
    pub fn register(&self, path: &str, property_keys: &Array, reregister: bool) -> Result<f64, JsValue> {
        self.start(|core| core.register_handler(now(), path, &strings(property_keys), reregister))
    }

    /// Starts taking a registration back.
    #[wasm_bindgen(skip_typescript)]
    pub fn deregister(&self, registration: f64) -> Result<f64, JsValue> {
        self.start(|core| core.deregister_handler(now(), id(registration)))
    }

    /// Answers a request.
    #[wasm_bindgen(skip_typescript)]
    pub fn respond(&self, conversation: f64, code: u8, bytes: &[u8]) {
        self.driver.with_core(|core| core.respond(id(conversation), Ok(as_wire(code, bytes))));
    }

    /// Answers a request with an error.
    #[wasm_bindgen(skip_typescript)]
    pub fn refuse(&self, conversation: f64, reason: i32, text: &str) {
        self.driver.with_core(|core| core.respond(id(conversation), Err((ErrorReason(reason), text))));
    }

    /// Nobody is interested in this conversation any more.
    #[wasm_bindgen(skip_typescript)]
    pub fn abandon(&self, conversation: f64) {
        self.driver.with_core(|core| core.abandon(id(conversation)));
    }

    /// Whether [`Link::inspected`] is called with messages as they pass.
    #[wasm_bindgen(skip_typescript)]
    pub fn inspect(&self, is_wanted: bool) {
        self.driver.set_inspecting(is_wanted);
    }

    /// Sends what is to be sent, and tells the link what there is to tell.
    #[wasm_bindgen(skip_typescript)]
    pub fn flush(&self) {
        self.driver.drive();
    }

    fn start(
        &self,
        start: impl FnOnce(&mut ClientSession) -> Result<ConversationId, RequestError>,
    ) -> Result<f64, JsValue> {
        let started = start(&mut self.driver.core());
        started.map(key).map_err(|error| self.driver.link().error(&error))
    }
}

/// A conversation that JavaScript was told of.
fn id(key: f64) -> ConversationId {
    ConversationId(key as i64)
}

/// What `options.js` has checked.
pub fn credentials_from_js(value: &JsValue) -> Credentials {
    match value.as_string() {
        Some(password) => Credentials::Password(password),
        None => match value.dyn_ref::<js_sys::Uint8Array>() {
            Some(bytes) => Credentials::Custom(bytes.to_vec()),
            None => Credentials::None,
        },
    }
}
