//! The machinery behind `layouts.rs`: one declaration yields the struct, its encoder and its decoder.

/// Something that can be written to the wire.
pub trait Encode {
    /// Appends the wire form to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

/// Something that can be read from the wire, borrowing text and bytes from the message.
pub trait Decode<'a>: Sized {
    /// Reads one value from the front of `input`.
    ///
    /// # Errors
    ///
    /// A [`DecodeError`] if the bytes are not such a value. How much of `input` was consumed is then unspecified.
    fn decode(input: &mut Reader<'a>) -> Result<Self, DecodeError>;
}

/// Something whose length the wire form begins with: text, bytes, lists.
pub trait DecodeBounded<'a>: Decode<'a> {
    /// Reads one value of at most `most` bytes, or items, from the front of `input`: nothing of a longer one is looked at.
    ///
    /// # Errors
    ///
    /// As [`Decode::decode`].
    fn decode_bounded(input: &mut Reader<'a>, most: usize) -> Result<Self, DecodeError>;
}

/// Why bytes from the network are not what they should be. Without numbers: each variant that has some makes everything that
/// reads larger, and with it the download.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum DecodeError {
    /// The message stops inside a value.
    UnexpectedEnd,
    /// A variable-length integer goes on past its width.
    VarintTooLong,
    /// A length or a count is negative, or larger than what is left of the message or than its layout allows.
    LengthOutOfBounds,
    /// Text that is not UTF-8.
    InvalidUtf8,
    /// The byte that selects one of several forms has no meaning.
    UnknownForm,
    /// The value is complete but the message goes on.
    TrailingBytes,
    /// A WebSocket message of no bytes.
    EmptyMessage,
    /// The first byte names no message type that may arrive here.
    UnknownMessageType,
    /// A connection response that does not begin with `#`, or with a response code that does not exist.
    NotAConnectionResponse,
}

impl DecodeError {
    /// For people.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::UnexpectedEnd => "the message ends inside a value",
            Self::VarintTooLong => "a variable-length integer is too long",
            Self::LengthOutOfBounds => "a length is out of bounds",
            Self::InvalidUtf8 => "text that is not UTF-8",
            Self::UnknownForm => "a byte that selects no form",
            Self::TrailingBytes => "bytes after the end",
            Self::EmptyMessage => "an empty message",
            Self::UnknownMessageType => "unknown message type",
            Self::NotAConnectionResponse => "not a connection response",
        }
    }
}

/// Reads from the front of a message.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedEnd`] if there is none.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedEnd`] if there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Everything that is left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `N` bytes as an array, for integers of fixed width.
    ///
    /// # Errors
    ///
    /// [`DecodeError::UnexpectedEnd`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::UnexpectedEnd)?;
        self.rest = rest;
        Ok(*taken)
    }
}

/// The wire form of `value` in a buffer of its own.
#[must_use]
pub fn encoded(value: &impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode(&mut out);
    out
}

/// Reads one value that takes up all of `bytes`.
///
/// # Errors
///
/// As [`Decode::decode`], and [`DecodeError::TrailingBytes`] if something follows the value.
pub fn decode_all<'a, T: Decode<'a>>(bytes: &'a [u8]) -> Result<T, DecodeError> {
    let mut input = Reader::new(bytes);
    let value = T::decode(&mut input)?;
    match input.rest() {
        [] => Ok(value),
        _ => Err(DecodeError::TrailingBytes),
    }
}

/// Reads what a layout or a choice declares: `type`, or `type [..most]` with a bound.
macro_rules! decode_declared {
    ($input:ident, $life:lifetime, $type:ty) => {
        <$type as $crate::wire::Decode<$life>>::decode($input)
    };
    ($input:ident, $life:lifetime, $type:ty, $most:expr) => {
        <$type as $crate::wire::layout::DecodeBounded<$life>>::decode_bounded($input, $most)
    };
}

/// Declares a layout: fields in wire order, each with the most bytes or items it may have where its type has a length. The
/// lifetime is that of the message the text and bytes are read from, if there are any.
macro_rules! layout {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::wire::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::wire::Encode::encode(&self.$field, out);)*
            }
        }

        impl $crate::wire::Decode<'_> for $name {
            fn decode(input: &mut $crate::wire::Reader<'_>) -> Result<Self, $crate::wire::DecodeError> {
                Ok(Self { $($field: $crate::wire::Decode::decode(input)?,)* })
            }
        }
    };
    ($(#[$meta:meta])* $name:ident<$life:lifetime> {
        $($(#[$field_meta:meta])* $field:ident: $type:ty $([..$most:expr])?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name<$life> { $($(#[$field_meta])* pub $field: $type,)* }

        impl $crate::wire::Encode for $name<'_> {
            fn encode(&self, out: &mut Vec<u8>) {
                $($crate::wire::Encode::encode(&self.$field, out);)*
            }
        }

        impl<$life> $crate::wire::Decode<$life> for $name<$life> {
            fn decode(input: &mut $crate::wire::Reader<$life>) -> Result<Self, $crate::wire::DecodeError> {
                Ok(Self { $($field: $crate::wire::layout::decode_declared!(input, $life, $type $(, $most)?)?,)* })
            }
        }
    };
}

/// Declares a choice: a byte that says which form follows.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident<$life:lifetime> {
        $($(#[$form_meta:meta])* $byte:literal => $form:ident($type:ty $([..$most:expr])?),)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name<$life> { $($(#[$form_meta])* $form($type),)* }

        impl $crate::wire::Encode for $name<'_> {
            fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$form(value) => {
                        out.push($byte);
                        $crate::wire::Encode::encode(value, out);
                    })*
                }
            }
        }

        impl<$life> $crate::wire::Decode<$life> for $name<$life> {
            fn decode(input: &mut $crate::wire::Reader<$life>) -> Result<Self, $crate::wire::DecodeError> {
                match input.byte()? {
                    $($byte => {
                        Ok(Self::$form($crate::wire::layout::decode_declared!(input, $life, $type $(, $most)?)?))
                    })*
                    _ => Err($crate::wire::DecodeError::UnknownForm),
                }
            }
        }
    };
}

pub(crate) use {choice, decode_declared, layout};
