//! `connect` and class `Session`. What applications read about them stands in `index.d.ts`.

use antiphon_protocol::client::ClientConfig;
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::driver::{Connector, Driver, proposed_properties};
use crate::error;
use crate::messaging::{Messaging, or_rejected};
use crate::options::{ConnectOptions, milliseconds, property_keys, text};
use crate::platform::server_address;

/// Opens a session. The promise is of a [`Session`], or rejects with a `ConnectError`. `elapsed` is the part of the time
/// allowed that has passed already, in milliseconds.
#[wasm_bindgen(skip_typescript)]
pub fn connect(url: &JsValue, options: &JsValue, elapsed: Option<f64>) -> Promise {
    let prepared = server_address(url).and_then(|address| {
        ConnectOptions::from_js(options)
            .map(|options| prepare(address, options, elapsed.unwrap_or_default()))
            .map_err(|error| unusable(&error))
    });
    match prepared {
        Ok((driver, signal)) => driver.connect(signal),
        Err(error) => Promise::reject(&error),
    }
}

fn prepare(address: String, options: ConnectOptions, elapsed: f64) -> (Driver, Option<AbortSignal>) {
    let config = ClientConfig {
        principal: options.principal,
        properties: proposed_properties(options.properties),
        protocol_version: options.protocol_version,
        connect_timeout: options.connect_timeout.saturating_sub(milliseconds(elapsed)),
        request_timeout: options.request_timeout,
        max_message_size: options.max_message_size,
        reconnect_timeout: options.reconnect_timeout,
        ..ClientConfig::default()
    };
    let connector = Connector {
        address,
        credentials: options.credentials,
        web_socket: options.web_socket,
        request_timeout: options.request_timeout,
        delay: options.delay,
        level: options.log,
    };
    (Driver::new(config, connector), options.signal)
}

/// What `connect` rejects with for an option that cannot be used.
fn unusable(error: &JsValue) -> JsValue {
    error::connect_error_before("INVALID_ARGUMENT", &error::text_of(error), error)
}

/// A session with a server.
#[wasm_bindgen(skip_typescript)]
pub struct Session {
    driver: Driver,
    messaging: JsValue,
}

impl Session {
    pub(crate) fn new(driver: Driver) -> Self {
        let messaging = Messaging::new(driver.clone()).into();
        Self { driver, messaging }
    }
}

#[wasm_bindgen]
impl Session {
    /// The session ID in canonical text form.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn id(&self) -> String {
        self.driver.id()
    }

    /// Who this session is; empty for anonymous.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn principal(&self) -> String {
        self.driver.principal()
    }

    /// What the session is doing.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn state(&self) -> String {
        self.driver.state().to_owned()
    }

    /// The messaging component: always the same [`Messaging`].
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn messaging(&self) -> JsValue {
        self.messaging.clone()
    }

    /// A promise that settles when the session is over.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn closed(&self) -> Promise {
        self.driver.closed()
    }

    /// Adds a listener; returns the function that takes it out.
    ///
    /// # Errors
    ///
    /// `TypeError` if the listener is no function.
    #[wasm_bindgen(skip_typescript)]
    pub fn on(&self, event: &JsValue, listener: &JsValue) -> Result<JsValue, JsValue> {
        self.driver.on(event, listener)
    }

    /// Measures a round trip to the server in milliseconds.
    #[wasm_bindgen(skip_typescript)]
    pub fn ping(&self) -> Promise {
        self.driver.ping()
    }

    /// The session's own properties; `keys` is an array of strings, or undefined for all.
    #[wasm_bindgen(js_name = getProperties, skip_typescript)]
    pub fn get_properties(&self, keys: &JsValue) -> Promise {
        or_rejected(property_keys(keys).map(|keys| self.driver.get_properties(&keys)))
    }

    /// Gives the session another principal; the promise says whether the server accepted it.
    #[wasm_bindgen(js_name = changePrincipal, skip_typescript)]
    pub fn change_principal(&self, principal: &JsValue, credentials: &JsValue) -> Promise {
        or_rejected(
            text("principal", principal).and_then(|principal| self.driver.change_principal(principal, credentials)),
        )
    }

    /// Ends the session; the promise settles when the connection is closed.
    #[wasm_bindgen(skip_typescript)]
    pub fn close(&self) -> Promise {
        self.driver.close()
    }
}
