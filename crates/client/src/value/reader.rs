//! From CBOR to serde. Takes definite and indefinite lengths, heads of any length and floats of any width; skips tags;
//! reads `undefined` and simple values without a meaning as null. Allocates in proportion to the bytes, whatever lengths
//! they claim.

use std::borrow::Cow;

use antiphon_protocol::value::DataType;
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as Malformed};
use serde::Deserialize;
use serde::de::value::{BorrowedBytesDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{MAX_BUILT, MAX_DEPTH, ValueError, writer};

/// Reads the one item that `bytes` must be, of a data type that is CBOR.
pub fn from_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8], data_type: DataType) -> Result<T, ValueError> {
    let mut reader = Reader::new(bytes);
    let kind = reader.kind()?;
    if !may_hold(data_type, kind) {
        return Err(ValueError::invalid(format!("a value of data type {} holds something else", data_type.name())));
    }
    let value = T::deserialize(&mut reader)?;
    let position = reader.input.position();
    if position < bytes.len() {
        return Err(ValueError::invalid(format!("bytes after the value, from byte {position}")));
    }
    Ok(value)
}

/// Reads a value of data type binary.
pub fn from_binary<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ValueError> {
    T::deserialize(Binary(bytes))
}

/// The bytes of a json value as another data type, if that can hold it without loss; borrowed if they are the same.
pub fn retyped(bytes: &[u8], data_type: DataType) -> Option<Cow<'_, [u8]>> {
    let mut reader = Reader::new(bytes);
    let kind = reader.kind().ok()?;
    match data_type {
        DataType::Binary => reader.input.bytes().ok().map(|content| Cow::Owned(content.to_owned())),
        DataType::Double if is_integer(kind) => {
            let number = i64::try_from(i128::from(reader.input.int().ok()?)).ok()?;
            (number.unsigned_abs() <= MAX_EXACT).then(|| Cow::Owned(writer::item(|out| out.f64(number as f64))))
        }
        DataType::RecordV2 => None,
        _ => may_hold(data_type, kind).then_some(Cow::Borrowed(bytes)),
    }
}

/// Bytes of memory that an array or an object takes besides what is in it, by estimate.
const CONTAINER: usize = 64;
/// The same for a text, a key, or bytes.
const TEXT: usize = 32;

/// Up to here a float has every integer.
const MAX_EXACT: u64 = 1 << 53;

fn may_hold(data_type: DataType, kind: Type) -> bool {
    match data_type {
        _ if kind == Type::Null => true,
        DataType::String => matches!(kind, Type::String | Type::StringIndef),
        DataType::Int64 => is_integer(kind),
        DataType::Double => matches!(kind, Type::F16 | Type::F32 | Type::F64),
        _ => true,
    }
}

fn is_integer(kind: Type) -> bool {
    use Type::{I8, I16, I32, I64, Int, U8, U16, U32, U64};
    matches!(kind, U8 | U16 | U32 | U64 | I8 | I16 | I32 | I64 | Int)
}

fn is_null(kind: Type) -> bool {
    matches!(kind, Type::Null | Type::Undefined | Type::Simple)
}

/// Reads items one after the other.
struct Reader<'de> {
    input: Decoder<'de>,
    /// How many containers are around the next one.
    depth: usize,
    /// Bytes of memory that the rest may become.
    left: usize,
}

impl<'de> Reader<'de> {
    fn new(bytes: &'de [u8]) -> Self {
        Self { input: Decoder::new(bytes), depth: 0, left: MAX_BUILT }
    }

    /// What comes next takes so many bytes of memory, by estimate.
    fn spend(&mut self, bytes: usize) -> Result<(), ValueError> {
        self.left = self.left.checked_sub(bytes).ok_or_else(ValueError::too_large)?;
        Ok(())
    }

    /// Reads something of an item that has been looked at.
    fn read<T>(&mut self, read: impl FnOnce(&mut Decoder<'de>) -> Result<T, Malformed>) -> Result<T, ValueError> {
        let position = self.input.position();
        read(&mut self.input).map_err(|_| ValueError::malformed(position))
    }

    /// What the next item is, behind its tags: a loop, since they can be stacked as high as the input is long.
    fn kind(&mut self) -> Result<Type, ValueError> {
        loop {
            let kind = self.read(|input| input.datatype())?;
            if kind != Type::Tag {
                return Ok(kind);
            }
            self.read(Decoder::tag)?;
        }
    }

    fn null(&mut self, kind: Type) -> Result<(), ValueError> {
        self.read(|input| match kind {
            Type::Null => input.null(),
            Type::Undefined => input.undefined(),
            _ => input.simple().map(drop),
        })
    }

    fn text(&mut self) -> Result<Cow<'de, str>, ValueError> {
        self.spend(TEXT)?;
        match self.kind()? {
            Type::String => self.read(Decoder::str).map(Cow::Borrowed),
            Type::StringIndef => self.read(|input| input.str_iter()?.collect::<Result<_, _>>()).map(Cow::Owned),
            _ => Err(ValueError::malformed(self.input.position())),
        }
    }

    fn bytes(&mut self) -> Result<Cow<'de, [u8]>, ValueError> {
        self.spend(TEXT)?;
        match self.kind()? {
            Type::Bytes => self.read(Decoder::bytes).map(Cow::Borrowed),
            _ => self
                .read(|input| {
                    input.bytes_iter()?.try_fold(Vec::new(), |mut all, chunk| {
                        all.extend_from_slice(chunk?);
                        Ok(all)
                    })
                })
                .map(Cow::Owned),
        }
    }

    /// Enters an array or a map, of which the decoder has told the length, if it has one.
    fn enter(&mut self, left: Option<u64>) -> Result<Entries<'_, 'de>, ValueError> {
        if self.depth >= MAX_DEPTH {
            return Err(ValueError::too_deep());
        }
        self.spend(CONTAINER)?;
        self.depth += 1;
        Ok(Entries { reader: self, left })
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let kind = self.kind()?;
        match kind {
            Type::Bool => visitor.visit_bool(self.read(Decoder::bool)?),
            kind if is_null(kind) => {
                self.null(kind)?;
                visitor.visit_unit()
            }
            kind if is_integer(kind) => {
                let number = i128::from(self.read(Decoder::int)?);
                match (i64::try_from(number), u64::try_from(number)) {
                    (Ok(number), _) => visitor.visit_i64(number),
                    (_, Ok(number)) => visitor.visit_u64(number),
                    _ => visitor.visit_i128(number),
                }
            }
            Type::F16 => visitor.visit_f64(self.read(Decoder::f16)?.into()),
            Type::F32 => visitor.visit_f64(self.read(Decoder::f32)?.into()),
            Type::F64 => visitor.visit_f64(self.read(Decoder::f64)?),
            Type::String | Type::StringIndef => match self.text()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            Type::Bytes | Type::BytesIndef => match self.bytes()? {
                Cow::Borrowed(bytes) => visitor.visit_borrowed_bytes(bytes),
                Cow::Owned(bytes) => visitor.visit_byte_buf(bytes),
            },
            Type::Array | Type::ArrayIndef => {
                let length = self.read(Decoder::array)?;
                let mut entries = self.enter(length)?;
                let value = visitor.visit_seq(&mut entries)?;
                entries.leave()?;
                Ok(value)
            }
            Type::Map | Type::MapIndef => {
                let length = self.read(Decoder::map)?;
                let mut entries = self.enter(length)?;
                let value = visitor.visit_map(&mut entries)?;
                entries.leave()?;
                Ok(value)
            }
            _ => Err(ValueError::malformed(self.input.position())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        let kind = self.kind()?;
        if is_null(kind) {
            self.null(kind)?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    /// As serde has variants in JSON: a name, or an object with a single member called so.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match self.kind()? {
            Type::Map | Type::MapIndef => {
                let length = self.read(Decoder::map)?;
                let mut entries = self.enter(length)?;
                if !entries.goes_on()? {
                    return Err(ValueError::custom("an object without members is no variant"));
                }
                let value = visitor.visit_enum(Variant(entries.reader))?;
                entries.leave()?;
                Ok(value)
            }
            _ => visitor.visit_enum(self.text()?.into_deserializer()),
        }
    }

    /// Bytes are a list of numbers to those who want one.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.kind()? {
            Type::Bytes | Type::BytesIndef => {
                let bytes = self.bytes()?.into_owned();
                visitor.visit_seq(SeqDeserializer::new(bytes.into_iter()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The entries of an array or a map.
struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many have not been read yet, unless the length is indefinite.
    left: Option<u64>,
}

impl Entries<'_, '_> {
    /// Whether there is another entry; called once for each.
    fn goes_on(&mut self) -> Result<bool, ValueError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(self.reader.read(|input| input.datatype())? != Type::Break),
        }
    }

    /// Reads the end, which must be there.
    fn leave(mut self) -> Result<(), ValueError> {
        if self.goes_on()? {
            return Err(ValueError::custom("there are more items than are wanted"));
        }
        if self.left.is_none() {
            let position = self.reader.input.position();
            self.reader.input.set_position(position + 1);
        }
        self.reader.depth -= 1;
        Ok(())
    }
}

impl<'de> SeqAccess<'de> for &mut Entries<'_, 'de> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ValueError> {
        if self.goes_on()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for &mut Entries<'_, 'de> {
    type Error = ValueError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ValueError> {
        if !self.goes_on()? {
            return Ok(None);
        }
        let kind = self.reader.kind()?;
        let key = match kind {
            Type::String | Type::StringIndef => self.reader.text()?,
            kind if is_integer(kind) => {
                self.reader.spend(TEXT)?;
                Cow::Owned(i128::from(self.reader.read(Decoder::int)?).to_string())
            }
            _ => return Err(ValueError::custom("a key is neither text nor an integer")),
        };
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ValueError> {
        seed.deserialize(&mut *self.reader)
    }
}

/// A variant that is an object with one member.
struct Variant<'a, 'de>(&'a mut Reader<'de>);

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = ValueError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ValueError> {
        let name = self.0.text()?;
        Ok((seed.deserialize(Key(name))?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        <()>::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ValueError> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ValueError> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ValueError> {
        self.0.deserialize_map(visitor)
    }
}

/// The key of an object: text, which may stand for a number.
struct Key<'de>(Cow<'de, str>);

macro_rules! parsed {
    ($($method:ident $visit:ident,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => Err(ValueError::invalid_type(Unexpected::Str(&self.0), &visitor)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    parsed! {
        deserialize_bool visit_bool,
        deserialize_i8 visit_i8,
        deserialize_i16 visit_i16,
        deserialize_i32 visit_i32,
        deserialize_i64 visit_i64,
        deserialize_i128 visit_i128,
        deserialize_u8 visit_u8,
        deserialize_u16 visit_u16,
        deserialize_u32 visit_u32,
        deserialize_u64 visit_u64,
        deserialize_u128 visit_u128,
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A value of data type binary: bytes, or a list of numbers to those who want one.
struct Binary<'de>(&'de [u8]);

impl<'de> Deserializer<'de> for Binary<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        BorrowedBytesDeserializer::new(self.0).deserialize_any(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().copied()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
