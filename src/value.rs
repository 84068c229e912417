//! JavaScript values to bytes and back, by `value.js`.

use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::layouts::SerialisedValue;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/value.js")]
extern "C" {
    #[wasm_bindgen(catch, js_name = decode)]
    fn js_decode(code: u8, name: &str, bytes: &[u8], wanted: u8) -> Result<JsValue, JsValue>;
}

/// A JavaScript value in wire form.
pub struct Encoded {
    data_type: DataType,
    bytes: Vec<u8>,
}

impl Encoded {
    /// Copies what `value.js` encoded, which has to be done at once: it uses the buffer again.
    pub fn new(code: u8, bytes: &js_sys::Uint8Array) -> Self {
        // `value.js` knows no other codes.
        let data_type = DataType::from_code(code).unwrap_or(DataType::Json);
        Self { data_type, bytes: bytes.to_vec() }
    }

    /// To be put into a layout.
    pub fn as_wire(&self) -> SerialisedValue<'_> {
        SerialisedValue { type_name: self.data_type.name(), bytes: &self.bytes }
    }
}

/// A value from the wire, converted to data type number `wanted` unless that is 0. Runs nothing of the application.
///
/// # Errors
///
/// A `MessagingError` with code `INCOMPATIBLE_DATATYPE` or `INVALID_DATA`, outcome `failed`.
pub fn decode(value: &Value, wanted: u8) -> Result<JsValue, JsValue> {
    let (code, name) = code_and_name(value);
    js_decode(code, name, &value.bytes, wanted)
}

/// The number of a value's data type, or 0 and the name that is on the wire.
pub fn code_and_name(value: &Value) -> (u8, &str) {
    value.data_type().map_or((0, &value.type_name), |data_type| (data_type.code(), ""))
}
