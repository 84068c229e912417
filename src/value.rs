//! Converts values between JavaScript, which has their data type as a number, and the wire, which has its name. What is in
//! them is written and read in JavaScript.

use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::layouts::SerialisedValue;

/// A value that JavaScript encoded.
pub fn as_wire(code: u8, bytes: &[u8]) -> SerialisedValue<'_> {
    // `value.js` knows no other codes.
    let data_type = DataType::from_code(code).unwrap_or(DataType::Json);
    SerialisedValue { type_name: data_type.name(), bytes }
}

/// The number of a value's data type, or 0 and the name that is on the wire.
pub fn code_and_name(value: &Value) -> (u8, Option<&str>) {
    value.data_type().map_or((0, Some(&*value.type_name)), |data_type| (data_type.code(), None))
}
