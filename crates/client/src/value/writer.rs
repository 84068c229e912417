//! From serde to CBOR, as section 7.1 of `docs/protocol.md` has it: shortest heads, floats in eight bytes, containers of
//! indefinite length, keys that are text.

use std::convert::Infallible;

use minicbor::encode::{Encoder, Error};
use serde::Serialize;
use serde::ser::{
    Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{MAX_DEPTH, ValueError};

type Out = Encoder<Vec<u8>>;
type Written<'a> = Result<&'a mut Out, Error<Infallible>>;

/// The bytes of a value.
pub fn to_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, ValueError> {
    let mut out = Encoder::new(Vec::new());
    value.serialize(Writer { out: &mut out, depth: 0 })?;
    Ok(out.into_writer())
}

/// The bytes of one item.
pub fn item(write: impl FnOnce(&mut Out) -> Written<'_>) -> Vec<u8> {
    let mut out = Encoder::new(Vec::new());
    done(write(&mut out));
    out.into_writer()
}

/// Writing into memory does not fail.
fn done(written: Written<'_>) {
    debug_assert!(written.is_ok());
}

/// Writes one item.
struct Writer<'a> {
    out: &'a mut Out,
    /// How many containers are around it.
    depth: usize,
}

/// Writes the items of a container.
struct Container<'a> {
    out: &'a mut Out,
    /// How many containers are around each of them.
    depth: usize,
    /// How many of them end here: an enum variant with content is one in another.
    ends: u8,
}

impl<'a> Writer<'a> {
    fn put(self, write: impl FnOnce(&mut Out) -> Written<'_>) -> Result<(), ValueError> {
        done(write(self.out));
        Ok(())
    }

    fn begin(self, write: impl FnOnce(&mut Out) -> Written<'_>) -> Result<Container<'a>, ValueError> {
        if self.depth >= MAX_DEPTH {
            return Err(ValueError::too_deep());
        }
        done(write(self.out));
        Ok(Container { out: self.out, depth: self.depth + 1, ends: 1 })
    }

    /// An object with one member, called as the variant, that is still to be written.
    fn variant(self, name: &str) -> Result<Container<'a>, ValueError> {
        let container = self.begin(Out::begin_map)?;
        done(container.out.str(name));
        Ok(container)
    }
}

impl<'a> Container<'a> {
    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), ValueError> {
        item.serialize(Writer { out: self.out, depth: self.depth })
    }

    fn member<T: Serialize + ?Sized>(&mut self, key: &str, item: &T) -> Result<(), ValueError> {
        done(self.out.str(key));
        self.item(item)
    }

    /// Begins the container that is the last item of this one.
    fn inner(self, write: impl FnOnce(&mut Out) -> Written<'_>) -> Result<Self, ValueError> {
        let ends = self.ends + 1;
        Ok(Self { ends, ..Writer { out: self.out, depth: self.depth }.begin(write)? })
    }

    fn close(self) -> Result<(), ValueError> {
        for _ in 0..self.ends {
            done(self.out.end());
        }
        Ok(())
    }
}

fn too_large() -> ValueError {
    ValueError::invalid("an integer of more than 64 bits, sign included".into())
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = ValueError;
    type SerializeSeq = Container<'a>;
    type SerializeTuple = Container<'a>;
    type SerializeTupleStruct = Container<'a>;
    type SerializeTupleVariant = Container<'a>;
    type SerializeMap = Container<'a>;
    type SerializeStruct = Container<'a>;
    type SerializeStructVariant = Container<'a>;

    fn serialize_bool(self, value: bool) -> Result<(), ValueError> {
        self.put(|out| out.bool(value))
    }

    fn serialize_i8(self, value: i8) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), ValueError> {
        self.put(|out| out.i64(value))
    }

    fn serialize_i128(self, value: i128) -> Result<(), ValueError> {
        self.serialize_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn serialize_u8(self, value: u8) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), ValueError> {
        self.serialize_i64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), ValueError> {
        self.serialize_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn serialize_u128(self, value: u128) -> Result<(), ValueError> {
        self.serialize_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn serialize_f32(self, value: f32) -> Result<(), ValueError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), ValueError> {
        self.put(|out| out.f64(value))
    }

    fn serialize_char(self, value: char) -> Result<(), ValueError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), ValueError> {
        self.put(|out| out.str(value))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), ValueError> {
        self.put(|out| out.bytes(value))
    }

    fn serialize_none(self) -> Result<(), ValueError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), ValueError> {
        self.put(Out::null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), ValueError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), ValueError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        let mut object = self.variant(variant)?;
        object.item(value)?;
        object.close()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Container<'a>, ValueError> {
        self.begin(Out::begin_array)
    }

    fn serialize_tuple(self, _: usize) -> Result<Container<'a>, ValueError> {
        self.begin(Out::begin_array)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Container<'a>, ValueError> {
        self.begin(Out::begin_array)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, ValueError> {
        self.variant(variant)?.inner(Out::begin_array)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Container<'a>, ValueError> {
        self.begin(Out::begin_map)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Container<'a>, ValueError> {
        self.begin(Out::begin_map)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'a>, ValueError> {
        self.variant(variant)?.inner(Out::begin_map)
    }
}

/// The traits that differ in their names alone.
macro_rules! sequences {
    ($($trait:ident $method:ident,)*) => {
        $(impl $trait for Container<'_> {
            type Ok = ();
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
                self.item(value)
            }

            fn end(self) -> Result<(), ValueError> {
                self.close()
            }
        })*
    };
}

sequences! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! structs {
    ($($trait:ident,)*) => {
        $(impl $trait for Container<'_> {
            type Ok = ();
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), ValueError> {
                self.member(key, value)
            }

            fn end(self) -> Result<(), ValueError> {
                self.close()
            }
        })*
    };
}

structs! { SerializeStruct, SerializeStructVariant, }

impl SerializeMap for Container<'_> {
    type Ok = ();
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        let key = key.serialize(Key)?;
        done(self.out.str(&key));
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.item(value)
    }

    fn end(self) -> Result<(), ValueError> {
        self.close()
    }
}

/// Makes a key of an object: text, or what has an obvious text.
struct Key;

fn no_key() -> ValueError {
    ValueError::invalid("the key of an object must be text, a number, a character or a boolean".into())
}

macro_rules! obvious {
    ($($method:ident $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<String, ValueError> {
            Ok(value.to_string())
        })*
    };
}

impl Serializer for Key {
    type Ok = String;
    type Error = ValueError;
    type SerializeSeq = Impossible<String, ValueError>;
    type SerializeTuple = Impossible<String, ValueError>;
    type SerializeTupleStruct = Impossible<String, ValueError>;
    type SerializeTupleVariant = Impossible<String, ValueError>;
    type SerializeMap = Impossible<String, ValueError>;
    type SerializeStruct = Impossible<String, ValueError>;
    type SerializeStructVariant = Impossible<String, ValueError>;

    obvious! {
        serialize_bool bool,
        serialize_i8 i8,
        serialize_i16 i16,
        serialize_i32 i32,
        serialize_i64 i64,
        serialize_i128 i128,
        serialize_u8 u8,
        serialize_u16 u16,
        serialize_u32 u32,
        serialize_u64 u64,
        serialize_u128 u128,
        serialize_char char,
        serialize_str &str,
    }

    fn serialize_f32(self, _: f32) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_f64(self, _: f64) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_none(self) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<String, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<String, ValueError> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<String, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, ValueError> {
        Err(no_key())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, ValueError> {
        Err(no_key())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, ValueError> {
        Err(no_key())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, ValueError> {
        Err(no_key())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, ValueError> {
        Err(no_key())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, ValueError> {
        Err(no_key())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, ValueError> {
        Err(no_key())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, ValueError> {
        Err(no_key())
    }
}
