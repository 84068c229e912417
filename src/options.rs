//! The option objects of the API, checked.

use std::time::Duration;

use antiphon_protocol::wire::handshake::{NEWEST_VERSION, OLDEST_VERSION};
use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::error::invalid_argument;
use crate::log::Level;
use crate::value;

#[wasm_bindgen(module = "/src/session.js")]
extern "C" {
    /// An argument that must be text, such as a path.
    ///
    /// # Errors
    ///
    /// A `MessagingError` with code `INVALID_ARGUMENT` if it is no string, or has half of a surrogate pair.
    #[wasm_bindgen(catch)]
    pub fn text(name: &str, value: &JsValue) -> Result<String, JsValue>;

    #[wasm_bindgen(catch, js_name = plainOptions)]
    fn plain_options(options: &JsValue, names: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_name = strings)]
    fn js_strings(name: &str, value: &JsValue) -> Result<Vec<String>, JsValue>;

    #[wasm_bindgen(catch, js_name = stringEntries)]
    fn js_string_entries(name: &str, value: &JsValue) -> Result<Vec<String>, JsValue>;
}

/// Declares an option object: JavaScript values by name, undefined where missing. Each is checked where it is used, so
/// that an error can name it.
macro_rules! options {
    ($(#[$meta:meta])* $name:ident { $($field:ident $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Default, Deserialize)]
        #[serde(default)]
        pub struct $name { $(#[serde(rename = $text, with = "serde_wasm_bindgen::preserve")] $field: JsValue,)* }

        impl $name {
            /// # Errors
            ///
            /// A `MessagingError` if `options` are no object.
            pub fn from_js(options: &JsValue) -> Result<Self, JsValue> {
                // Most calls have no options; null is what some write for none.
                if options.is_undefined() || options.is_null() {
                    return Ok(Self::default());
                }
                // A plain copy: what is read here must not run code of the application, which may throw.
                let plain = plain_options(options, concat!($($text, ",",)*))?;
                serde_wasm_bindgen::from_value(plain).map_err(|_| invalid_argument("the options must be an object"))
            }
        }
    };
}

options! {
    /// Of `connect`.
    ConnectOptions {
        principal "principal",
        credentials "credentials",
        properties "properties",
        connect_timeout "connectTimeout",
        request_timeout "requestTimeout",
        max_message_size "maxMessageSize",
        signal "signal",
        web_socket "webSocket",
        protocol_version "protocolVersion",
        log "log",
    }
}

impl ConnectOptions {
    pub fn principal(&self) -> Result<Option<String>, JsValue> {
        optional("principal", &self.principal, "a string", JsValue::as_string)
    }

    /// To be checked when they are used: a function may give them.
    pub fn credentials(&self) -> JsValue {
        self.credentials.clone()
    }

    pub fn properties(&self) -> Result<Vec<(String, String)>, JsValue> {
        if self.properties.is_undefined() || self.properties.is_null() {
            return Ok(Vec::new());
        }
        let mut items = js_string_entries("properties", &self.properties)?.into_iter();
        Ok(std::iter::from_fn(|| Some((items.next()?, items.next()?))).collect())
    }

    /// Default: 10 s.
    pub fn connect_timeout(&self) -> Result<Duration, JsValue> {
        Ok(milliseconds("connectTimeout", &self.connect_timeout)?.unwrap_or(Duration::from_secs(10)))
    }

    /// Default: 30 s.
    pub fn request_timeout(&self) -> Result<Duration, JsValue> {
        Ok(milliseconds("requestTimeout", &self.request_timeout)?.unwrap_or(Duration::from_secs(30)))
    }

    /// Bytes. Default: 32 MiB.
    pub fn max_message_size(&self) -> Result<usize, JsValue> {
        let size = |value: &JsValue| value.as_f64().filter(|size| *size >= 1024.0);
        let size = optional("maxMessageSize", &self.max_message_size, "a number of bytes, at least 1024", size)?;
        // `as` saturates.
        Ok(size.map_or(32 << 20, |size| size as usize))
    }

    /// Default: 25.
    pub fn protocol_version(&self) -> Result<u8, JsValue> {
        let version = |value: &JsValue| {
            let number = value.as_f64()?;
            (OLDEST_VERSION..=NEWEST_VERSION).find(|version| f64::from(*version) == number)
        };
        Ok(optional("protocolVersion", &self.protocol_version, "a number from 22 to 29", version)?.unwrap_or(25))
    }

    pub fn signal(&self) -> Result<Option<AbortSignal>, JsValue> {
        signal(&self.signal)
    }

    pub fn web_socket(&self) -> Result<Option<Function>, JsValue> {
        optional("webSocket", &self.web_socket, "a constructor like that of WebSocket", |value| {
            value.dyn_ref::<Function>().cloned()
        })
    }

    pub fn log(&self) -> Result<Level, JsValue> {
        let level = |value: &JsValue| Level::from_name(&value.as_string()?);
        Ok(optional("log", &self.log, "off, error, warn, info, debug or trace", level)?.unwrap_or_default())
    }
}

options! {
    /// Of a request.
    RequestOptions {
        data_type "type",
        response_type "responseType",
        timeout "timeout",
        signal "signal",
    }
}

impl RequestOptions {
    /// What the application named as the type of the request; undefined for none.
    pub fn data_type(&self) -> &JsValue {
        &self.data_type
    }

    /// The number of the data type to which the response is to be converted, 0 for none.
    pub fn response_code(&self) -> Result<u8, JsValue> {
        value::type_code(&self.response_type)
    }

    pub fn timeout(&self) -> Result<Option<Duration>, JsValue> {
        milliseconds("timeout", &self.timeout)
    }

    pub fn signal(&self) -> Result<Option<AbortSignal>, JsValue> {
        signal(&self.signal)
    }
}

options! {
    /// Of a request handler.
    HandlerOptions {
        session_properties "sessionProperties",
        request_type "requestType",
        response_type "responseType",
    }
}

impl HandlerOptions {
    pub fn session_properties(&self) -> Result<Vec<String>, JsValue> {
        Ok(strings("sessionProperties", &self.session_properties)?.unwrap_or_default())
    }

    /// The number of the data type to which requests are to be converted, 0 for none.
    pub fn request_code(&self) -> Result<u8, JsValue> {
        value::type_code(&self.request_type)
    }

    /// The number of the data type of the answers, 0 for none.
    pub fn response_code(&self) -> Result<u8, JsValue> {
        value::type_code(&self.response_type)
    }
}

/// The keys that `getProperties` is given; all properties if it is given none.
pub fn property_keys(keys: &JsValue) -> Result<Vec<String>, JsValue> {
    Ok(strings("keys", keys)?.unwrap_or_else(|| ["*F", "*U"].map(String::from).to_vec()))
}

fn strings(name: &str, value: &JsValue) -> Result<Option<Vec<String>>, JsValue> {
    if value.is_undefined() || value.is_null() { Ok(None) } else { js_strings(name, value).map(Some) }
}

fn milliseconds(name: &str, value: &JsValue) -> Result<Option<Duration>, JsValue> {
    optional(name, value, "a number of milliseconds, not negative", |value| {
        let milliseconds = value.as_f64().filter(|milliseconds| *milliseconds >= 0.0)?;
        // `as` saturates: infinity, and whatever is longer than clocks run, is for ever.
        Some(Duration::from_micros((milliseconds * 1000.0) as u64))
    })
}

fn signal(value: &JsValue) -> Result<Option<AbortSignal>, JsValue> {
    optional("signal", value, "an AbortSignal", |value| value.dyn_ref::<AbortSignal>().cloned())
}

/// An option that may be missing.
fn optional<T>(
    name: &str,
    value: &JsValue,
    expected: &str,
    read: impl FnOnce(&JsValue) -> Option<T>,
) -> Result<Option<T>, JsValue> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    read(value).map(Some).ok_or_else(|| must_be(name, expected))
}

#[cold]
fn must_be(name: &str, expected: &str) -> JsValue {
    invalid_argument(&format!("{name} must be {expected}"))
}
