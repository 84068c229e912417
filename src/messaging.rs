//! Class `Messaging`, the operations, and class `Registration`. What applications read about them stands in
//! `index.d.ts`.

use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::driver::Driver;
use crate::error::{at_caller, invalid_argument};
use crate::handler::request_handler;
use crate::options::{Request, text};

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
        let request = Request::from_js(request, options)?;
        Ok(self.driver.send_to_path(&path, request))
    }

    fn try_send_to_session(
        &self,
        path: &JsValue,
        session: &JsValue,
        request: &JsValue,
        options: &JsValue,
    ) -> Result<Promise, JsValue> {
        let path = text("path", path)?;
        let session: SessionId =
            text("session ID", session)?.parse().map_err(|error| invalid_argument(&format!("{error}")))?;
        let request = Request::from_js(request, options)?;
        Ok(self.driver.send_to_session(session, &path, request))
    }

    fn try_send_to_filter(
        &self,
        filter: &JsValue,
        path: &JsValue,
        request: &JsValue,
        options: &JsValue,
    ) -> Result<Promise, JsValue> {
        let filter = text("filter", filter)?;
        let path = text("path", path)?;
        let request = Request::from_js(request, options)?;
        self.driver.send_to_filter(&filter, &path, request)
    }

    fn try_add_handler(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Result<Promise, JsValue> {
        let path = text("path", path)?;
        Ok(self.driver.register(path, request_handler(handler, options)?))
    }

    fn try_invoke(&self, service: u32, body: &JsValue) -> Result<Promise, JsValue> {
        let Some(body) = body.dyn_ref::<Uint8Array>() else {
            return Err(invalid_argument("the body of a service request must be a Uint8Array"));
        };
        Ok(self.driver.invoke(service, &body.to_vec()))
    }
}

// Ordinary functions: asynchronous ones would run later, when the caller may have changed what it sends.
#[wasm_bindgen]
impl Messaging {
    /// Sends a request to whichever session handles `path`; the promise is of the response.
    #[wasm_bindgen(js_name = sendRequestToPath, skip_typescript)]
    pub fn send_request_to_path(&self, path: &JsValue, request: &JsValue, options: &JsValue) -> Promise {
        or_rejected(self.try_send_to_path(path, request, options))
    }

    /// Sends a request to one session; the promise is of the response.
    #[wasm_bindgen(js_name = sendRequestToSession, skip_typescript)]
    pub fn send_request_to_session(
        &self,
        path: &JsValue,
        session: &JsValue,
        request: &JsValue,
        options: &JsValue,
    ) -> Promise {
        or_rejected(self.try_send_to_session(path, session, request, options))
    }

    /// Sends a request to every session that a filter matches; the promise is of their number.
    #[wasm_bindgen(js_name = sendRequestToFilter, skip_typescript)]
    pub fn send_request_to_filter(
        &self,
        filter: &JsValue,
        path: &JsValue,
        request: &JsValue,
        options: &JsValue,
    ) -> Promise {
        or_rejected(self.try_send_to_filter(filter, path, request, options))
    }

    /// Registers a request handler; the promise is of a [`Registration`].
    #[wasm_bindgen(js_name = addRequestHandler, skip_typescript)]
    pub fn add_request_handler(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Promise {
        or_rejected(self.try_add_handler(path, handler, options))
    }

    /// Sets a local stream; returns something with `path` and `close`.
    ///
    /// # Errors
    ///
    /// A `MessagingError` for an argument that cannot be used, and on a closed session.
    #[wasm_bindgen(js_name = addStreamHandler, skip_typescript)]
    pub fn add_stream_handler(&self, path: &JsValue, handler: &JsValue, options: &JsValue) -> Result<JsValue, JsValue> {
        self.driver.open_handlers()?.add_stream(path, handler, options).map_err(at_caller)
    }

    /// Sets a local handler for the responses to one filter; returns something with `filter` and `close`.
    ///
    /// # Errors
    ///
    /// As [`Self::add_stream_handler`].
    #[wasm_bindgen(js_name = addFilterResponseHandler, skip_typescript)]
    pub fn add_filter_response_handler(&self, filter: &JsValue, handler: &JsValue) -> Result<JsValue, JsValue> {
        self.driver.open_handlers()?.add_filter_handler(filter, handler).map_err(at_caller)
    }

    /// Sends a service request with this body; the promise is of the body of the response.
    #[wasm_bindgen(skip_typescript)]
    pub fn invoke(&self, service: u32, body: &JsValue) -> Promise {
        or_rejected(self.try_invoke(service, body))
    }
}

/// What is wrong with the arguments of a method rejects the promise that it returns.
pub fn or_rejected(result: Result<Promise, JsValue>) -> Promise {
    result.unwrap_or_else(|error| Promise::reject(&at_caller(error)))
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
