//! The option objects of the API, checked.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_protocol::wire::handshake::{NEWEST_VERSION, OLDEST_VERSION};
use js_sys::Function;
use serde::Deserialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::error::invalid_argument;
use crate::log::Level;
use crate::value;

/// Of `connect`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectOptions {
    pub principal: Option<String>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    pub credentials: JsValue,
    pub properties: Option<BTreeMap<String, String>>,
    connect_timeout: Option<f64>,
    request_timeout: Option<f64>,
    max_message_size: Option<f64>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    signal: JsValue,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    web_socket: JsValue,
    protocol_version: Option<u8>,
    pub log: Level,
}

impl ConnectOptions {
    pub fn from_js(options: &JsValue) -> Result<Self, JsValue> {
        read(options)
    }

    /// Default: 10 s.
    pub fn connect_timeout(&self) -> Result<Duration, JsValue> {
        milliseconds("connectTimeout", self.connect_timeout.unwrap_or(10_000.0))
    }

    /// Default: 30 s.
    pub fn request_timeout(&self) -> Result<Duration, JsValue> {
        milliseconds("requestTimeout", self.request_timeout.unwrap_or(30_000.0))
    }

    /// Bytes. Default: 32 MiB.
    pub fn max_message_size(&self) -> Result<usize, JsValue> {
        match self.max_message_size.unwrap_or(f64::from(32 << 20)) {
            // `as` saturates.
            size if size >= 1024.0 => Ok(size as usize),
            _ => Err(invalid_argument("maxMessageSize must be a number of bytes, at least 1024")),
        }
    }

    pub fn protocol_version(&self) -> Result<u8, JsValue> {
        match self.protocol_version.unwrap_or(25) {
            version @ OLDEST_VERSION..=NEWEST_VERSION => Ok(version),
            _ => Err(invalid_argument("protocolVersion must be from 22 to 29")),
        }
    }

    pub fn signal(&self) -> Result<Option<AbortSignal>, JsValue> {
        signal(&self.signal)
    }

    pub fn web_socket(&self) -> Result<Option<Function>, JsValue> {
        match self.web_socket.dyn_ref() {
            None if !self.web_socket.is_undefined() => {
                Err(invalid_argument("webSocket must be a constructor like that of WebSocket"))
            }
            constructor => Ok(constructor.cloned()),
        }
    }
}

/// Of a request.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestOptions {
    #[serde(rename = "type", with = "serde_wasm_bindgen::preserve")]
    pub data_type: JsValue,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    response_type: JsValue,
    timeout: Option<f64>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    signal: JsValue,
}

impl RequestOptions {
    pub fn from_js(options: &JsValue) -> Result<Self, JsValue> {
        read(options)
    }

    /// The number of the data type to which the response is to be converted, 0 for none.
    pub fn response_code(&self) -> Result<u8, JsValue> {
        value::type_code(&self.response_type)
    }

    pub fn timeout(&self, default: Duration) -> Result<Duration, JsValue> {
        self.timeout.map_or(Ok(default), |timeout| milliseconds("timeout", timeout))
    }

    pub fn signal(&self) -> Result<Option<AbortSignal>, JsValue> {
        signal(&self.signal)
    }
}

/// Of a request handler.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HandlerOptions {
    pub session_properties: Vec<String>,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    request_type: JsValue,
    #[serde(with = "serde_wasm_bindgen::preserve")]
    pub response_type: JsValue,
}

impl HandlerOptions {
    pub fn from_js(options: &JsValue) -> Result<Self, JsValue> {
        let options: Self = read(options)?;
        value::type_code(&options.response_type)?;
        Ok(options)
    }

    /// The number of the data type to which requests are to be converted, 0 for none.
    pub fn request_code(&self) -> Result<u8, JsValue> {
        value::type_code(&self.request_type)
    }
}

fn read<T: Default + for<'de> Deserialize<'de>>(options: &JsValue) -> Result<T, JsValue> {
    // Most calls have no options; null is what some write for none.
    if options.is_undefined() || options.is_null() {
        return Ok(T::default());
    }
    serde_wasm_bindgen::from_value(options.clone())
        .map_err(|error| invalid_argument(&format!("the options cannot be used: {error}")))
}

fn milliseconds(name: &str, value: f64) -> Result<Duration, JsValue> {
    if value.is_nan() || value < 0.0 {
        return Err(invalid_argument(&format!("{name} must be a number of milliseconds, not negative")));
    }
    // Longer than any clock runs is for ever, and Infinity says so.
    Ok(Duration::try_from_secs_f64(value / 1000.0).unwrap_or(Duration::MAX))
}

fn signal(value: &JsValue) -> Result<Option<AbortSignal>, JsValue> {
    if value.is_undefined() || value.is_null() {
        return Ok(None);
    }
    match value.dyn_ref::<AbortSignal>() {
        Some(signal) => Ok(Some(signal.clone())),
        None => Err(invalid_argument("signal must be an AbortSignal")),
    }
}
