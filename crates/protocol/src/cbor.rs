//! CBOR items for native callers: a checking reader and a writer (section 7.1).
//!
//! The browser client has a codec of its own in `src/value.js`, which turns JavaScript values into the same bytes;
//! the broker never looks into a value.

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as Malformed};

/// Most arrays and maps that may be nested in each other. Deeper input is refused: it has no use, and recursion over
/// it would end the process.
pub const MAX_DEPTH: usize = 256;

/// One CBOR item as JSON and the other data types can mean it.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// Null; `undefined` and simple values without a meaning read as null too.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of 64 bits and a sign: -2^64 to 2^64-1.
    Integer(i128),
    /// A float of any width.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Item>),
    /// An object; order is kept and nothing is done about keys that come twice.
    Map(Vec<(String, Item)>),
}

/// Why bytes are not one CBOR item that we take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// Not CBOR, cut short, or with a length that runs past the end.
    #[error("malformed CBOR at byte {position}")]
    Malformed {
        /// Where, counted from 0.
        position: usize,
    },
    /// More than [`MAX_DEPTH`] containers in each other.
    #[error("more than {MAX_DEPTH} arrays and objects are nested in each other")]
    TooDeep,
    /// A key that is neither text nor an integer.
    #[error("the key at byte {position} is neither text nor an integer")]
    UnsupportedKey {
        /// Where, counted from 0.
        position: usize,
    },
    /// Bytes after the item.
    #[error("bytes after the item, from byte {position}")]
    TrailingBytes {
        /// Where, counted from 0.
        position: usize,
    },
    /// The integer does not fit CBOR's 64 bits and a sign.
    #[error("an integer of more than 64 bits and a sign")]
    IntegerTooLarge,
}

impl Item {
    /// Reads the one item that `bytes` must be.
    ///
    /// Takes definite and indefinite lengths, heads of any length and floats of any width; skips tags. Allocates in
    /// proportion to `bytes`, whatever lengths they claim.
    ///
    /// # Errors
    ///
    /// A [`CborError`] if `bytes` are anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CborError> {
        let mut input = Decoder::new(bytes);
        let item = read(&mut input, 0)?;
        let position = input.position();
        if position == bytes.len() { Ok(item) } else { Err(CborError::TrailingBytes { position }) }
    }

    /// The bytes as the official JavaScript client writes them: shortest heads, floats in eight bytes, containers of
    /// indefinite length.
    ///
    /// # Errors
    ///
    /// [`CborError::TooDeep`] and [`CborError::IntegerTooLarge`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, CborError> {
        let mut out = Vec::new();
        self.write(&mut out, 0)?;
        Ok(out)
    }

    fn write(&self, out: &mut Vec<u8>, depth: usize) -> Result<(), CborError> {
        if depth > MAX_DEPTH {
            return Err(CborError::TooDeep);
        }
        match self {
            Self::Null => out.push(0xf6),
            Self::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
            Self::Integer(value) => {
                let (major, magnitude) = if *value < 0 { (1, -1 - value) } else { (0, *value) };
                let magnitude = u64::try_from(magnitude).map_err(|_| CborError::IntegerTooLarge)?;
                write_head(major, magnitude, out);
            }
            Self::Float(value) => {
                out.push(0xfb);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Text(text) => write_text(text, out),
            Self::Bytes(bytes) => {
                write_head(2, bytes.len() as u64, out);
                out.extend_from_slice(bytes);
            }
            Self::Array(items) => {
                out.push(0x9f);
                for item in items {
                    item.write(out, depth + 1)?;
                }
                out.push(0xff);
            }
            Self::Map(entries) => {
                out.push(0xbf);
                for (key, item) in entries {
                    write_text(key, out);
                    item.write(out, depth + 1)?;
                }
                out.push(0xff);
            }
        }
        Ok(())
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    write_head(3, text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

fn write_head(major: u8, value: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    match value {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

/// `depth` is the number of containers around this item, so the recursion ends at [`MAX_DEPTH`].
fn read(input: &mut Decoder<'_>, depth: usize) -> Result<Item, CborError> {
    let position = input.position();
    let malformed = |_: Malformed| CborError::Malformed { position };
    let mut kind = input.datatype().map_err(malformed)?;
    // A loop, since tags can be stacked as high as the input is long.
    while kind == Type::Tag {
        input.tag().map_err(malformed)?;
        kind = input.datatype().map_err(malformed)?;
    }
    Ok(match kind {
        Type::Bool => Item::Bool(input.bool().map_err(malformed)?),
        Type::Null => input.null().map(|()| Item::Null).map_err(malformed)?,
        Type::Undefined => input.undefined().map(|()| Item::Null).map_err(malformed)?,
        Type::Simple => input.simple().map(|_| Item::Null).map_err(malformed)?,
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            Item::Integer(input.int().map_err(malformed)?.into())
        }
        Type::F16 => Item::Float(input.f16().map_err(malformed)?.into()),
        Type::F32 => Item::Float(input.f32().map_err(malformed)?.into()),
        Type::F64 => Item::Float(input.f64().map_err(malformed)?),
        Type::String => Item::Text(input.str().map_err(malformed)?.to_owned()),
        Type::StringIndef => {
            Item::Text(input.str_iter().map_err(malformed)?.collect::<Result<_, _>>().map_err(malformed)?)
        }
        Type::Bytes => Item::Bytes(input.bytes().map_err(malformed)?.to_owned()),
        Type::BytesIndef => {
            let mut bytes = Vec::new();
            for chunk in input.bytes_iter().map_err(malformed)? {
                bytes.extend_from_slice(chunk.map_err(malformed)?);
            }
            Item::Bytes(bytes)
        }
        Type::Array | Type::ArrayIndef => {
            let mut left = enter(input.array().map_err(malformed)?, depth)?;
            let mut items = Vec::new();
            while goes_on(input, &mut left)? {
                items.push(read(input, depth + 1)?);
            }
            Item::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let mut left = enter(input.map().map_err(malformed)?, depth)?;
            let mut entries = Vec::new();
            while goes_on(input, &mut left)? {
                let position = input.position();
                let key = match read(input, depth + 1)? {
                    Item::Text(key) => key,
                    Item::Integer(key) => key.to_string(),
                    _ => return Err(CborError::UnsupportedKey { position }),
                };
                entries.push((key, read(input, depth + 1)?));
            }
            Item::Map(entries)
        }
        Type::Break | Type::Tag | Type::Unknown(_) => return Err(CborError::Malformed { position }),
    })
}

fn enter(length: Option<u64>, depth: usize) -> Result<Option<u64>, CborError> {
    if depth < MAX_DEPTH { Ok(length) } else { Err(CborError::TooDeep) }
}

/// Whether the container has another entry; `left` counts them down unless the length is indefinite.
fn goes_on(input: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, CborError> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None => {
            let position = input.position();
            if input.datatype().map_err(|_| CborError::Malformed { position })? != Type::Break {
                return Ok(true);
            }
            input.set_position(position + 1);
            Ok(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_256_containers_may_be_nested() {
        let nested = |depth: usize| [vec![0x81; depth], vec![0xf6]].concat();
        let item = Item::from_bytes(&nested(256)).expect("256 pass");
        assert!(item.to_bytes().is_ok());
        assert_eq!(Item::from_bytes(&nested(257)), Err(CborError::TooDeep));
        assert_eq!(Item::from_bytes(&nested(1_000_000)), Err(CborError::TooDeep));
        assert_eq!(Item::Array(vec![item]).to_bytes(), Err(CborError::TooDeep));
    }

    #[test]
    fn a_million_tags_do_not_exhaust_the_stack() {
        let tagged = [vec![0xc1; 1_000_000], vec![0x05]].concat();
        assert_eq!(Item::from_bytes(&tagged), Ok(Item::Integer(5)));
    }

    #[test]
    fn false_lengths_are_refused() {
        for head in [0x5bu8, 0x7b, 0x9b, 0xbb] {
            let bytes = [vec![head], vec![0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]].concat();
            assert!(matches!(Item::from_bytes(&bytes), Err(CborError::Malformed { .. })), "{head:x}");
        }
    }

    #[test]
    fn an_item_is_all_there_is() {
        assert_eq!(Item::from_bytes(&[1, 1]), Err(CborError::TrailingBytes { position: 1 }));
        for cut in [&[][..], &[0x65, 0x61], &[0xff], &[0x9f, 1], &[0xbf, 0x61, 0x61, 0xff]] {
            assert!(Item::from_bytes(cut).is_err(), "{cut:x?}");
        }
    }
}
