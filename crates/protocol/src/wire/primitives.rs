//! Integers, text, bytes, lists and what is built from them directly (section 4.4).

use std::fmt;
use std::str::FromStr;

use super::layout::DecodeBounded;
use super::{Decode, DecodeError, Encode, Reader};
use crate::text::{append_hexadecimal, push};

/// Nothing: the body of many requests and answers.
impl Encode for () {
    fn encode(&self, _out: &mut Vec<u8>) {}
}

impl Decode<'_> for () {
    fn decode(_input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(())
    }
}

/// One byte, 0 or 1; any other byte reads as true.
impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode<'_> for bool {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(input.byte()? != 0)
    }
}

/// A varint32, taken as unsigned.
impl Encode for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        u64::from(*self).encode(out);
    }
}

impl Decode<'_> for u32 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        // Bits beyond the width are discarded (section 4.4).
        #[expect(clippy::cast_possible_truncation)]
        varint(input, 5).map(|value| value as u32)
    }
}

/// A varint32: the two's complement pattern, no zig-zag, so a negative number takes five bytes.
impl Encode for i32 {
    fn encode(&self, out: &mut Vec<u8>) {
        self.cast_unsigned().encode(out);
    }
}

impl Decode<'_> for i32 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u32::decode(input).map(u32::cast_signed)
    }
}

/// A varint64, taken as unsigned: seven bits a byte, least significant first, the top bit says "more".
impl Encode for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

impl Decode<'_> for u64 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        varint(input, 10)
    }
}

/// A varint64: the two's complement pattern, so a negative number takes ten bytes.
impl Encode for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        self.cast_unsigned().encode(out);
    }
}

impl Decode<'_> for i64 {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        u64::decode(input).map(u64::cast_signed)
    }
}

fn varint(input: &mut Reader<'_>, max: usize) -> Result<u64, DecodeError> {
    let mut value = 0;
    for group in 0..max {
        let byte = input.byte()?;
        // The last group of 64 bits has one bit left; `<<` discards the others.
        value |= u64::from(byte & 0x7f) << (7 * group);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::VarintTooLong)
}

/// Bytes behind their length.
impl Encode for &[u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_length(self.len(), out);
        out.extend_from_slice(self);
    }
}

impl<'a> Decode<'a> for &'a [u8] {
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let length = decode_length(input)?;
        input.take(length)
    }
}

/// UTF-8 behind its length in bytes.
impl Encode for &str {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_bytes().encode(out);
    }
}

impl<'a> Decode<'a> for &'a str {
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        text_of(<&[u8]>::decode(input)?).ok_or(DecodeError::InvalidUtf8)
    }
}

/// Bytes as text if they are UTF-8.
pub(super) fn text_of(bytes: &[u8]) -> Option<&str> {
    if cfg!(not(target_family = "wasm")) {
        return std::str::from_utf8(bytes).ok();
    }
    // Half the code, and as fast for texts as short as what a client reads here.
    match bytes.utf8_chunks().next() {
        None => Some(""),
        Some(first) => first.invalid().is_empty().then_some(first.valid()),
    }
}

/// Items behind their number.
impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_length(self.len(), out);
        for item in self {
            item.encode(out);
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Vec<T> {
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        // Every item takes at least a byte, so a false count cannot make us allocate more than the message allows.
        let count = decode_length(input)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(T::decode(input)?);
        }
        Ok(items)
    }
}

/// A key and its value, as an entry of a map.
impl<K: Encode, V: Encode> Encode for (K, V) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<'a, K: Decode<'a>, V: Decode<'a>> Decode<'a> for (K, V) {
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok((K::decode(input)?, V::decode(input)?))
    }
}

/// Byte 0, or byte 1 and the value.
impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<'a, T: Decode<'a>> Decode<'a> for Option<T> {
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError> {
        bool::decode(input)?.then(|| T::decode(input)).transpose()
    }
}

/// A page takes what its broker has checked, and does without the code to check it again.
const CHECKS_BOUNDS: bool = cfg!(not(target_family = "wasm"));

/// The length of what comes next may be `most`.
fn check_length(input: &Reader<'_>, most: usize) -> Result<(), DecodeError> {
    if !CHECKS_BOUNDS {
        return Ok(());
    }
    match decode_length(&mut input.clone())? {
        length if length <= most => Ok(()),
        _ => Err(DecodeError::LengthOutOfBounds),
    }
}

impl<'a> DecodeBounded<'a> for &'a [u8] {
    fn decode_bounded(input: &mut Reader<'a>, most: usize) -> Result<Self, DecodeError> {
        check_length(input, most)?;
        Self::decode(input)
    }
}

impl<'a> DecodeBounded<'a> for &'a str {
    fn decode_bounded(input: &mut Reader<'a>, most: usize) -> Result<Self, DecodeError> {
        check_length(input, most)?;
        Self::decode(input)
    }
}

impl<'a, T: Decode<'a>> DecodeBounded<'a> for Vec<T> {
    fn decode_bounded(input: &mut Reader<'a>, most: usize) -> Result<Self, DecodeError> {
        check_length(input, most)?;
        Self::decode(input)
    }
}

impl<'a, T: DecodeBounded<'a>> DecodeBounded<'a> for Option<T> {
    fn decode_bounded(input: &mut Reader<'a>, most: usize) -> Result<Self, DecodeError> {
        bool::decode(input)?.then(|| T::decode_bounded(input, most)).transpose()
    }
}

/// Writes the length of what follows.
pub(crate) fn encode_length(length: usize, out: &mut Vec<u8>) {
    (length as u64).encode(out);
}

fn decode_length(input: &mut Reader<'_>) -> Result<usize, DecodeError> {
    let length = i32::decode(input)?;
    let left = input.rest().len();
    match usize::try_from(length) {
        Ok(length) if length <= left => Ok(length),
        _ => Err(DecodeError::LengthOutOfBounds),
    }
}

/// Identifies a conversation among those that one side of a connection started (section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationId(pub i64);

impl ConversationId {
    /// Marks a request that nobody answers.
    pub const ONE_WAY: Self = Self(0);
}

impl Encode for ConversationId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode<'_> for ConversationId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        i64::decode(input).map(Self)
    }
}

/// Names a session: which server instance opened it, and which of that server's sessions it is.
///
/// Prints as two times sixteen hexadecimal digits, `c11fef067d9debd4-0000000100000000` (section 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// Of the server instance.
    pub server: u64,
    /// Of the session on that server.
    pub value: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl SessionId {
    /// As it prints.
    #[must_use]
    pub fn to_text(self) -> String {
        let mut text = String::with_capacity(33);
        append_hexadecimal(self.server, &mut text);
        push(&mut text, '-');
        append_hexadecimal(self.value, &mut text);
        text
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a session ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", Self::MESSAGE)]
pub struct InvalidSessionId;

impl InvalidSessionId {
    /// For people.
    pub const MESSAGE: &str = "a session ID is two hexadecimal numbers of at most 16 digits, joined by a hyphen";
}

/// One to sixteen hexadecimal digits a half, upper or lower case; nothing else.
impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        // By hand: what the library has for splitting and for reading numbers would be several times the code.
        let (mut server, mut value, mut digits) = (None, 0, 0);
        for byte in text.bytes() {
            if byte == b'-' && server.is_none() && digits > 0 {
                server = Some(value);
                (value, digits) = (0, 0);
                continue;
            }
            let digit = char::from(byte).to_digit(16).ok_or(InvalidSessionId)?;
            value = value << 4 | u64::from(digit);
            digits += 1;
            if digits > 16 {
                return Err(InvalidSessionId);
            }
        }
        let server = server.filter(|_| digits > 0).ok_or(InvalidSessionId)?;
        Ok(Self { server, value })
    }
}

impl Encode for SessionId {
    fn encode(&self, out: &mut Vec<u8>) {
        self.server.encode(out);
        self.value.encode(out);
    }
}

impl Decode<'_> for SessionId {
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { server: u64::decode(input)?, value: u64::decode(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_parsed_leniently_and_printed_canonically() {
        let canonical = |text: &str| text.parse::<SessionId>().map(|id| id.to_string());
        assert_eq!(canonical("AB-1"), Ok("00000000000000ab-0000000000000001".into()));
        for wrong in ["", "-", "ab", "ab-", "-1", "a-b-c", "+1-1", "1-+1", "g-1", " 1-1", "12345678901234567-1"] {
            assert_eq!(canonical(wrong), Err(InvalidSessionId), "{wrong:?}");
        }
    }

    #[test]
    fn a_false_count_is_refused_before_anything_is_allocated() {
        let mut input = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x07, 0]);
        assert_eq!(Vec::<&str>::decode(&mut input), Err(DecodeError::LengthOutOfBounds));
    }

    #[test]
    fn bits_beyond_the_width_are_discarded() {
        assert_eq!(i32::decode(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x7f])), Ok(-1));
        let ten = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(i64::decode(&mut Reader::new(&ten)), Ok(-1));
    }
}
