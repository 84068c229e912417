//! Class `Messaging`, the operations, and class `Registration`. What applications read about them stands in
//! `index.d.ts`.

use antiphon_protocol::wire::primitives::ConversationId;
use js_sys::Promise;
use wasm_bindgen::prelude::*;

use crate::driver::{Driver, aborted};
use crate::handler::request_handler;
use crate::options::{HandlerOptions, RequestOptions, text};
use crate::value;

/// The messaging component of a session.
#[wasm_bindgen(skip_typescript)]
pub struct Messaging {
    driver: Driver,
}

impl Messaging {
    pub(crate) fn new(driver: Driver) -> Self {
        Self { driver }
    }

    fn try_send_to_path(&self, path: &JsValue, request: &JsValue, options: &JsValue) -> Result<Promise, JsValue> {
        let path = text("path", path)?;
        let options = RequestOptions::from_js(options)?;
        let timeout = options.timeout()?.unwrap_or(self.driver.request_timeout());
        let signal = options.signal()?;
        let wanted = options.response_code()?;
        let (value, named) = value::encode(request, options.data_type())?;
        // Only now: what the application runs while its value is read may abort the request.
        if let Some(reason) = aborted(signal.as_ref()) {
            return Err(reason);
        }
        let response_code = if wanted == 0 { named } else { wanted };
        Ok(self
            .driver
            .ask(response_code, signal, |session, now| session.send_to_path(now, &path, value.as_wire(), timeout)))
    }

    fn try_add_handler(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Result<Promise, JsValue> {
        let path = text("path", path)?;
        let options = HandlerOptions::from_js(options)?;
        let handler = request_handler(handler, options.request_code()?, options.response_code()?)?;
        Ok(self.driver.register(path, &options.session_properties()?, handler))
    }
}

#[wasm_bindgen]
impl Messaging {
    /// Sends a request to whichever session handles `path`; the promise is of the response.
    // An ordinary function: an async one would run later, when the caller may have changed what it sends.
    #[wasm_bindgen(js_name = sendRequestToPath, skip_typescript)]
    pub fn send_request_to_path(&self, path: &JsValue, request: &JsValue, options: &JsValue) -> Promise {
        self.try_send_to_path(path, request, options).unwrap_or_else(|error| Promise::reject(&error))
    }

    /// Registers a request handler; the promise is of a [`Registration`].
    #[wasm_bindgen(js_name = addRequestHandler, skip_typescript)]
    pub fn add_request_handler(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Promise {
        self.try_add_handler(path, handler, options).unwrap_or_else(|error| Promise::reject(&error))
    }
}

/// A registered request handler.
#[wasm_bindgen(skip_typescript)]
pub struct Registration {
    driver: Driver,
    id: ConversationId,
    path: String,
}

impl Registration {
    pub(crate) fn new(driver: Driver, id: ConversationId, path: String) -> Self {
        Self { driver, id, path }
    }
}

#[wasm_bindgen]
impl Registration {
    /// The registered path, as the application wrote it.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn path(&self) -> String {
        self.path.clone()
    }

    /// Takes the registration back; the promise settles when no further requests will come.
    #[wasm_bindgen(skip_typescript)]
    pub fn close(&self) -> Promise {
        // Called again, it asks again unless the registration is gone: the first time may have failed.
        self.driver.deregister(self.id)
    }
}
