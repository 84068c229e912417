//! Class `Messaging`, the operations, and class `Registration`. What applications read about them stands in
//! `index.d.ts`.

use antiphon_protocol::wire::primitives::ConversationId;
use js_sys::{JsString, Promise};
use wasm_bindgen::prelude::*;

use crate::driver::Driver;
use crate::error::invalid_argument;
use crate::handler::Handler;
use crate::options::{HandlerOptions, RequestOptions};
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
        let timeout = options.timeout(self.driver.request_timeout())?;
        let signal = options.signal()?;
        if let Some(signal) = signal.as_ref().filter(|signal| signal.aborted()) {
            return Err(signal.reason());
        }
        let wanted = options.response_code()?;
        let value = value::encode(request, &options.data_type)?;
        let response_code = if wanted == 0 { value.named_code } else { wanted };
        Ok(self
            .driver
            .ask(response_code, signal, |session, now| session.send_to_path(now, &path, value.as_wire(), timeout)))
    }

    fn try_add_handler(&self, path: &JsValue, handler: JsValue, options: &JsValue) -> Result<Promise, JsValue> {
        let path = text("path", path)?;
        let options = HandlerOptions::from_js(options)?;
        let handler = Handler::new(handler, options.request_code()?, options.response_type)?;
        Ok(self.driver.register(path, &options.session_properties, handler))
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
    pub fn add_request_handler(&self, path: &JsValue, handler: JsValue, options: &JsValue) -> Promise {
        self.try_add_handler(path, handler, options).unwrap_or_else(|error| Promise::reject(&error))
    }
}

/// A registered request handler.
#[wasm_bindgen(skip_typescript)]
pub struct Registration {
    driver: Driver,
    id: ConversationId,
    path: String,
    /// The promise of the first call of `close`.
    closing: Option<Promise>,
}

impl Registration {
    pub(crate) fn new(driver: Driver, id: ConversationId, path: String) -> Self {
        Self { driver, id, path, closing: None }
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
    pub fn close(&mut self) -> Promise {
        let Self { driver, id, closing, .. } = self;
        closing.get_or_insert_with(|| driver.deregister(*id)).clone()
    }
}

fn text(name: &str, value: &JsValue) -> Result<String, JsValue> {
    let Some(string) = value.dyn_ref::<JsString>() else {
        return Err(invalid_argument(&format!("the {name} must be a string")));
    };
    let text = String::from(string);
    // What cannot be said in UTF-8 became this character; only then is a closer look worth its time.
    if text.contains('\u{fffd}') && !string.is_valid_utf16() {
        return Err(invalid_argument(&format!("the {name} has half of a surrogate pair")));
    }
    Ok(text)
}
