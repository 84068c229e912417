//! Values: what requests and responses carry.
//!
//! - [`Value`]: a data type and bytes, and what it can be made of.
//! - [`IntoValue`]: what can be sent: whatever serde can serialise, and values with a type of their own.
//! - `writer`, `reader`: serde's data model as CBOR, one half in each.
//! - `item`: whatever json can say.
//! - `js`: values of JavaScript, in a browser.
//! - `vectors`: tests by the recorded values of other clients.

mod item;
mod reader;
mod writer;

#[cfg(target_arch = "wasm32")]
mod js;

#[cfg(target_arch = "wasm32")]
pub use js::{JsAnswer, js_handler};

pub(crate) use item::Item;

use std::borrow::Cow;
use std::fmt;

use antiphon_protocol::value as wire;
use antiphon_protocol::value::DataType;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::SerialisedValue;
use serde::{Deserialize, Serialize};

/// The value of a request or response: the name of a data type, and bytes.
///
/// ```
/// # use antiphon_client::{DataType, Value};
/// let value = Value::json(&("open", 3))?;
/// let (state, count): (String, u32) = value.decode()?;
/// assert_eq!((state.as_str(), count), ("open", 3));
///
/// assert_eq!(Value::int64(7).data_type(), Some(DataType::Int64));
/// assert_eq!(Value::int64(7).decode::<i64>()?, 7);
/// # Ok::<(), antiphon_client::ValueError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Value(wire::Value);

impl Value {
    /// A value of data type json: whatever serde can serialise. Members, variants and options are as in `serde_json`; bytes
    /// are bytes.
    ///
    /// # Errors
    ///
    /// [`ValueError`] for what json does not have: integers beyond 64 bits, keys that are no text, more than 256
    /// containers in each other; or what the type's own `Serialize` says.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, ValueError> {
        Ok(Self::new(DataType::Json, writer::to_bytes(value)?))
    }

    /// A value of data type string.
    #[must_use]
    pub fn string(text: &str) -> Self {
        Self::new(DataType::String, writer::item(|out| out.str(text)))
    }

    /// A value of data type int64.
    #[must_use]
    pub fn int64(number: i64) -> Self {
        Self::new(DataType::Int64, writer::item(|out| out.i64(number)))
    }

    /// A value of data type double.
    #[must_use]
    pub fn double(number: f64) -> Self {
        Self::new(DataType::Double, writer::item(|out| out.f64(number)))
    }

    /// A value of data type binary: these bytes.
    #[must_use]
    pub fn binary(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(DataType::Binary, bytes.into())
    }

    /// A value of a data type, in bytes that have been encoded already.
    #[must_use]
    pub fn new(data_type: DataType, bytes: Vec<u8>) -> Self {
        Self(wire::Value::new(data_type, bytes))
    }

    /// The value as a type of the program.
    ///
    /// All data types but record_v2 can be read: a string as text, int64 and double as numbers, binary as bytes, json as
    /// whatever serde makes of it. Null is an `Option` that is none, or `()`.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if the value is not what `T` wants, or the bytes are not what the data type says.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ValueError> {
        match self.data_type() {
            Some(DataType::Binary) => reader::from_binary(&self.0.bytes),
            Some(DataType::RecordV2) | None => Err(ValueError::incompatible(format!(
                "a value of data type {} has bytes to look at, nothing to decode",
                self.type_name()
            ))),
            Some(data_type) => reader::from_bytes(&self.0.bytes, data_type),
        }
    }

    /// Its data type, if it is one that we know.
    #[must_use]
    pub fn data_type(&self) -> Option<DataType> {
        self.0.data_type()
    }

    /// The name of its data type, as on the wire.
    #[must_use]
    pub fn type_name(&self) -> &str {
        &self.0.type_name
    }

    /// As on the wire; of data type binary, the content.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// As on the wire; of data type binary, the content.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.bytes
    }

    pub(crate) fn as_wire(&self) -> SerialisedValue<'_> {
        self.0.as_wire()
    }

    /// A json value as another data type, if that can hold it without loss; else as it is.
    fn retyped(self, data_type: DataType) -> Self {
        match reader::retyped(&self.0.bytes, data_type) {
            Some(Cow::Borrowed(_)) => Self::new(data_type, self.0.bytes),
            Some(Cow::Owned(bytes)) => Self::new(data_type, bytes),
            None => self,
        }
    }
}

impl From<wire::Value> for Value {
    fn from(value: wire::Value) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Value {
    /// Its type and length: what is in it may be anybody's secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({}, {} bytes)", self.type_name(), self.0.bytes.len())
    }
}

/// A type whose values can be sent.
///
/// Whatever serde can serialise goes as data type json; as the answer to a request of another data type it goes as that
/// one, if it can hold the value without loss, which is what the one who asks expects. A [`Value`] goes as it is.
pub trait IntoValue {
    /// The value to be sent; `request` is the data type of the request that it answers, if it is an answer.
    ///
    /// # Errors
    ///
    /// [`ValueError`] for what cannot be sent.
    fn into_value(self, request: Option<DataType>) -> Result<Value, ValueError>;
}

impl IntoValue for Value {
    fn into_value(self, _: Option<DataType>) -> Result<Value, ValueError> {
        Ok(self)
    }
}

impl IntoValue for &Value {
    fn into_value(self, _: Option<DataType>) -> Result<Value, ValueError> {
        Ok(self.clone())
    }
}

impl<T: Serialize> IntoValue for T {
    fn into_value(self, request: Option<DataType>) -> Result<Value, ValueError> {
        let value = Value::json(&self)?;
        Ok(match request {
            Some(data_type) => value.retyped(data_type),
            None => value,
        })
    }
}

/// A value cannot be sent, or is not what the program wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    is_incompatible: bool,
    message: String,
}

impl ValueError {
    fn invalid(message: String) -> Self {
        Self { is_incompatible: false, message }
    }

    fn incompatible(message: String) -> Self {
        Self { is_incompatible: true, message }
    }

    fn malformed(position: usize) -> Self {
        Self::invalid(format!("malformed CBOR at byte {position}"))
    }

    fn too_deep() -> Self {
        Self::invalid(format!("more than {MAX_DEPTH} arrays and objects are nested in each other"))
    }

    fn too_large() -> Self {
        Self::invalid(format!("the value becomes larger than {MAX_BUILT} bytes in memory"))
    }

    /// What a handler answers that cannot read a request.
    pub(crate) fn reason(&self) -> ErrorReason {
        if self.is_incompatible { ErrorReason::INCOMPATIBLE_DATATYPE } else { ErrorReason::INVALID_DATA }
    }

    /// The stable name for programs: `INVALID_DATA` or `INCOMPATIBLE_DATATYPE`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        if self.is_incompatible { "INCOMPATIBLE_DATATYPE" } else { "INVALID_DATA" }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

impl serde::ser::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }
}

impl serde::de::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::invalid(message.to_string())
    }
}

/// Most arrays and maps that may be nested in each other. Deeper input is refused: it has no use, and recursion over it
/// would end the process.
const MAX_DEPTH: usize = 256;

/// Bytes of memory that a value may become, by estimate: one byte of it can be an object of a hundred.
const MAX_BUILT: usize = 1 << 28;

#[cfg(test)]
mod vectors;

#[cfg(test)]
mod tests {
    use super::*;

    /// D-6.
    #[test]
    fn what_a_value_becomes_is_bounded() {
        let objects = |count: usize| Value::new(DataType::Json, [&[0x9f][..], &vec![0xa0; count], &[0xff]].concat());
        assert!(objects(1 << 20).decode::<item::Item>().is_ok());
        let error = objects(5 << 20).decode::<item::Item>().unwrap_err();
        assert_eq!((error.code(), error.reason()), ("INVALID_DATA", ErrorReason::INVALID_DATA));
        let numbers = Value::json(&vec![7; 1_000_000]).unwrap();
        assert_eq!(numbers.decode::<Vec<u8>>().unwrap().len(), 1_000_000);
    }
}
