//! JavaScript values to bytes and back, by `value.js`.

use std::borrow::Cow;

use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::layouts::SerialisedValue;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(module = "/src/value.js")]
extern "C" {
    type JsEncoded;

    #[wasm_bindgen(method, getter)]
    fn code(this: &JsEncoded) -> u8;

    #[wasm_bindgen(method, getter)]
    fn named(this: &JsEncoded) -> bool;

    #[wasm_bindgen(method, getter)]
    fn bytes(this: &JsEncoded) -> js_sys::Uint8Array;

    #[wasm_bindgen(catch, js_name = encode)]
    fn js_encode(value: &JsValue, data_type: &JsValue) -> Result<JsEncoded, JsValue>;

    #[wasm_bindgen(catch, js_name = encodeAnswer)]
    fn js_encode_answer(value: &JsValue, data_type: &JsValue, request_code: u8) -> Result<JsEncoded, JsValue>;

    #[wasm_bindgen(catch, js_name = decode)]
    fn js_decode(code: u8, name: &str, bytes: &[u8], wanted: u8) -> Result<JsValue, JsValue>;

    /// The number of the data type that an application named; 0 if it named none.
    ///
    /// # Errors
    ///
    /// A `MessagingError` with code `INVALID_ARGUMENT` for something that is no data type.
    #[wasm_bindgen(catch, js_name = typeCode)]
    pub fn type_code(data_type: &JsValue) -> Result<u8, JsValue>;
}

/// A JavaScript value in wire form.
pub struct Encoded {
    data_type: DataType,
    bytes: Vec<u8>,
    /// The data type to which the response is to be converted unless something else was asked for: that of the
    /// request if it was named, 0 if it was inferred.
    pub named_code: u8,
}

impl Encoded {
    fn from_js(encoded: &JsEncoded) -> Self {
        let code = encoded.code();
        // `value.js` knows no other codes.
        let data_type = DataType::from_code(code).unwrap_or(DataType::Json);
        let named_code = if encoded.named() { code } else { 0 };
        // Before anything else can run: `value.js` uses the buffer again.
        Self { data_type, bytes: encoded.bytes().to_vec(), named_code }
    }

    /// To be put into a layout.
    pub fn as_wire(&self) -> SerialisedValue<'_> {
        SerialisedValue { type_name: self.data_type.name(), bytes: &self.bytes }
    }
}

/// A request, or an answer whose type was named. Runs getters and `toJSON` of the application.
///
/// # Errors
///
/// A `MessagingError` with code `INVALID_DATA` or `INVALID_ARGUMENT`.
pub fn encode(value: &JsValue, data_type: &JsValue) -> Result<Encoded, JsValue> {
    js_encode(value, data_type).map(|encoded| Encoded::from_js(&encoded))
}

/// What a handler answers to a request of type `request`.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_answer(value: &JsValue, data_type: &JsValue, request: &Value) -> Result<Encoded, JsValue> {
    js_encode_answer(value, data_type, code_of(request)).map(|encoded| Encoded::from_js(&encoded))
}

/// A value from the wire, converted to data type number `wanted` unless that is 0. Runs nothing of the application.
///
/// # Errors
///
/// A `MessagingError` with code `INCOMPATIBLE_DATATYPE` or `INVALID_DATA`, outcome `failed`.
pub fn decode(value: &Value, wanted: u8) -> Result<JsValue, JsValue> {
    let code = code_of(value);
    let name = if code == 0 { &*value.type_name } else { "" };
    js_decode(code, name, &value.bytes, wanted)
}

/// The name of the data type as handlers are told it: that of the wire.
pub fn type_name(value: &Value) -> Cow<'static, str> {
    value.data_type().map_or_else(|| value.type_name.clone(), |data_type| data_type.name().into())
}

fn code_of(value: &Value) -> u8 {
    value.data_type().map_or(0, DataType::code)
}
