//! Request and response values: a data type and bytes. Nothing here looks into the bytes (section 7).

use std::borrow::Cow;

use crate::wire::layouts::SerialisedValue;

/// The data types that have a name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DataType {
    /// Raw bytes.
    Binary = 14,
    /// One CBOR item.
    Json = 15,
    /// Text or null.
    String = 17,
    /// A signed 64-bit integer or null.
    Int64 = 18,
    /// A 64-bit float or null.
    Double = 19,
    /// Records of text fields.
    RecordV2 = 20,
}

impl DataType {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Binary, Self::Json, Self::String, Self::Int64, Self::Double, Self::RecordV2];

    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Json => "json",
            Self::String => "string",
            Self::Int64 => "int64",
            Self::Double => "double",
            Self::RecordV2 => "record_v2",
        }
    }

    /// The data type's number in the APIs; it is not on the wire.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The data type with this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.code() == code)
    }

    /// The data type with this name on the wire; names compare without regard to case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|data_type| data_type.name().eq_ignore_ascii_case(name))
    }
}

/// A value that is kept beyond the message it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// As on the wire; also a name that is no [`DataType`].
    pub type_name: Cow<'static, str>,
    /// As on the wire.
    pub bytes: Vec<u8>,
}

impl Value {
    /// A value of a data type that we know.
    #[must_use]
    pub fn new(data_type: DataType, bytes: Vec<u8>) -> Self {
        Self { type_name: Cow::Borrowed(data_type.name()), bytes }
    }

    /// Its data type, if it is one that we know.
    #[must_use]
    pub fn data_type(&self) -> Option<DataType> {
        DataType::from_name(&self.type_name)
    }

    /// To be put into a layout.
    #[must_use]
    pub fn as_wire(&self) -> SerialisedValue<'_> {
        SerialisedValue { type_name: &self.type_name, bytes: &self.bytes }
    }
}

impl From<SerialisedValue<'_>> for Value {
    fn from(value: SerialisedValue<'_>) -> Self {
        let type_name = match DataType::from_name(value.type_name) {
            Some(data_type) if data_type.name() == value.type_name => Cow::Borrowed(data_type.name()),
            _ => Cow::Owned(value.type_name.to_owned()),
        };
        Self { type_name, bytes: value.bytes.to_owned() }
    }
}
