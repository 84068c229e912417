//! What goes along with a message between a client and a server that agreed on it (section 18.6): a block before the message,
//! so a message without headers has not a byte more, and whoever does not know one of them passes over it.

use std::time::Duration;

use super::primitives::text_of;
use super::{Decode, DecodeError, Encode, Reader};
use crate::features::Features;
use crate::time::micros;

/// The first byte of a message with headers; no message of the protocol has it.
const WITH_HEADERS: u8 = 61;

/// Most characters of an idempotency key.
pub const MAX_KEY_CHARS: usize = 128;
/// Most bytes of the metadata of a request, in its wire form.
pub const MAX_METADATA_BYTES: usize = 8 << 10;
/// Most bytes of the details of an error.
pub const MAX_DETAILS_BYTES: usize = 64 << 10;

/// The number of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// Of a request: how long its sender, or the server, still waits for the answer, in milliseconds; 4 bytes, big-endian.
    TimeLeft = 1,
    /// Of a request: under which name the server remembers what became of it.
    IdempotencyKey = 2,
    /// Of a request: texts by key, a json value in CBOR.
    Metadata = 3,
    /// Of an error: a json value, in CBOR.
    Details = 4,
    /// Of a registration: how many requests its handler takes at a time, a varint.
    MaxConcurrent = 5,
    /// Of a registration: how many requests may wait while all handlers of the path have as many as they take, a varint.
    MaxQueued = 6,
}

impl Header {
    /// All that are known, in the order in which they are written.
    pub const ALL: [Self; 6] =
        [Self::TimeLeft, Self::IdempotencyKey, Self::Metadata, Self::Details, Self::MaxConcurrent, Self::MaxQueued];

    /// The feature that it belongs to.
    #[must_use]
    pub fn feature(self) -> Features {
        match self {
            Self::TimeLeft => Features::DEADLINES,
            Self::IdempotencyKey => Features::IDEMPOTENCY,
            Self::Metadata => Features::METADATA,
            Self::Details => Features::DETAILS,
            Self::MaxConcurrent | Self::MaxQueued => Features::BUSY,
        }
    }
}

/// The headers of a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    /// In wire form, without the length.
    block: &'a [u8],
    /// Of the connection: headers of others are as if they had not come.
    features: Features,
}

impl<'a> Headers<'a> {
    /// Without any.
    pub const NONE: Self = Self { block: &[], features: Features::NONE };

    /// Reads the headers of a message that came on a connection with these features, and what follows them. Without any for
    /// which there are headers, nothing is taken for one.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if a header is cut short.
    pub fn split(message: &'a [u8], features: Features) -> Result<(Self, &'a [u8]), DecodeError> {
        match message {
            [WITH_HEADERS, rest @ ..] if features.has_any(Features::WITH_HEADERS) => {
                let mut input = Reader::new(rest);
                let block = <&[u8]>::decode(&mut input)?;
                find(block, 0)?;
                Ok((Self { block, features }, input.rest()))
            }
            _ => Ok((Self::NONE, message)),
        }
    }

    /// Those that were written to a [`HeaderBlock`].
    #[must_use]
    pub fn of(block: &'a HeaderBlock) -> Self {
        Self { block: &block.0, features: Features::WITH_HEADERS }
    }

    /// A copy of those that count.
    #[must_use]
    pub fn to_block(&self) -> HeaderBlock {
        let mut block = HeaderBlock::default();
        for header in Header::ALL {
            if self.has(header) {
                block.0.push(header as u8);
                self.get(header).encode(&mut block.0);
            }
        }
        block
    }

    /// Whether there is such a header, also an empty one.
    #[must_use]
    pub fn has(&self, header: Header) -> bool {
        self.features.has(header.feature()) && matches!(find(self.block, header as u8), Ok(Some(_)))
    }

    /// The value of a header. Empty if there is none.
    #[must_use]
    pub fn get(&self, header: Header) -> &'a [u8] {
        let value = if self.features.has(header.feature()) { find(self.block, header as u8) } else { Ok(None) };
        value.ok().flatten().unwrap_or_default()
    }

    /// The value of a header, to be kept.
    // Not at each place where one is: that would be more code than all around it.
    #[inline(never)]
    #[must_use]
    pub fn kept(&self, header: Header) -> Vec<u8> {
        self.get(header).to_vec()
    }

    /// [`Header::TimeLeft`] as a duration, if there is one.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let value = self.get(Header::TimeLeft).try_into().ok()?;
        Some(Duration::from_millis(u32::from_be_bytes(value).into()))
    }

    /// The value of a header that is text. Nothing if there is none, or if it is no text.
    #[must_use]
    pub fn text(&self, header: Header) -> Option<&'a str> {
        text_of(self.get(header)).filter(|text| !text.is_empty())
    }

    /// The value of a header that is a number; 0 if there is none.
    #[must_use]
    pub fn number(&self, header: Header) -> u32 {
        u32::decode(&mut Reader::new(self.get(header))).unwrap_or_default()
    }
}

/// The value of the header with this number, if it is in the block.
#[inline(never)]
fn find(block: &[u8], number: u8) -> Result<Option<&[u8]>, DecodeError> {
    let (mut input, mut found) = (Reader::new(block), None);
    while !input.rest().is_empty() {
        let is_it = input.byte()? == number;
        let value = <&[u8]>::decode(&mut input)?;
        if is_it {
            found = Some(value);
        }
    }
    Ok(found)
}

/// Headers that are to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    /// Adds one, unless its value is empty.
    #[inline(never)]
    pub fn add(&mut self, header: Header, value: &[u8]) {
        if !value.is_empty() {
            self.0.push(header as u8);
            value.encode(&mut self.0);
        }
    }

    /// Adds one that is a number, unless it is 0.
    pub fn add_number(&mut self, header: Header, number: u32) {
        if number > 0 {
            self.add(header, &super::encoded(&number));
        }
    }

    /// Adds [`Header::TimeLeft`]: the first one, so that [`set_time_left`] finds it.
    pub fn add_time_left(&mut self, left: Duration) {
        debug_assert!(self.0.is_empty());
        self.add(Header::TimeLeft, &told(left));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes they have.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// A message with these headers before it; the message itself if there are none.
    #[must_use]
    pub fn before(&self, message: Vec<u8>) -> Vec<u8> {
        if self.0.is_empty() {
            return message;
        }
        let mut frame = Vec::with_capacity(self.0.len() + message.len() + 8);
        frame.push(WITH_HEADERS);
        self.0.as_slice().encode(&mut frame);
        frame.extend_from_slice(&message);
        frame
    }
}

/// How many bytes at the beginning of a message do not go out on a connection with these features: its headers, if it has
/// none for which there are any.
#[must_use]
pub fn surplus(message: &[u8], features: Features) -> usize {
    if features.has_any(Features::WITH_HEADERS) {
        return 0;
    }
    Headers::split(message, Features::WITH_HEADERS).map_or(0, |(_, rest)| message.len() - rest.len())
}

/// Whether a message may go out on a connection with these features: one with a key would be no repeat where keys mean
/// nothing, and be handled again.
#[must_use]
pub fn may_go(message: &[u8], features: Features) -> bool {
    features.has(Features::IDEMPOTENCY)
        || Headers::split(message, Features::IDEMPOTENCY)
            .is_ok_and(|(headers, _)| headers.get(Header::IdempotencyKey).is_empty())
}

/// Sets the time that is left, in a message that says one already: it has waited to be sent.
pub fn set_time_left(message: &mut [u8], left: Duration) {
    let [WITH_HEADERS, rest @ ..] = message else { return };
    // Behind the length of the block.
    let Some(last) = rest.iter().position(|byte| byte & 0x80 == 0) else { return };
    if let Some([header, 4, time @ ..]) = rest.get_mut(last + 1..)
        && *header == Header::TimeLeft as u8
        && let Some(time) = time.first_chunk_mut()
    {
        *time = told(left);
    }
}

/// As it goes over the wire: rounded up, so that a little time is not none.
fn told(left: Duration) -> [u8; 4] {
    u32::try_from(micros(left).div_ceil(1000)).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::encoded;

    proptest! {
        #[test]
        fn headers_survive_the_wire(
            left in any::<Option<u32>>(), values in prop::collection::vec(any::<Vec<u8>>(), 5), message in any::<Vec<u8>>(),
            features in any::<u32>(),
        ) {
            let mut block = HeaderBlock::default();
            if let Some(left) = left {
                block.add_time_left(Duration::from_millis(left.into()));
            }
            for (header, value) in Header::ALL[1..].iter().zip(&values) {
                block.add(*header, value);
            }
            let mut frame = block.before(message.clone());
            prop_assume!(!block.is_empty());
            let features = Features::from_wire(features);
            let cut = frame.len() - message.len();
            prop_assert_eq!(surplus(&frame, features), if features.has_any(Features::WITH_HEADERS) { 0 } else { cut });
            let time = Duration::from_millis(5);
            set_time_left(&mut frame, time);
            if features.has_any(Features::WITH_HEADERS) {
                let (headers, rest) = Headers::split(&frame, features).unwrap();
                prop_assert_eq!(rest, &message);
                let has_time = left.is_some() && features.has(Features::DEADLINES);
                prop_assert_eq!(headers.time_left(), has_time.then_some(time));
                for (header, value) in Header::ALL[1..].iter().zip(&values) {
                    let expected = if features.has(header.feature()) { &value[..] } else { &[] };
                    prop_assert_eq!(headers.get(*header), expected);
                }
            } else {
                prop_assert_eq!(Headers::split(&frame, features), Ok((Headers::NONE, &frame[..])));
            }
        }

        #[test]
        fn nothing_that_arrives_panics(message in any::<Vec<u8>>(), block in any::<Vec<u8>>()) {
            for rest in [message, encoded(&&*block)] {
                let mut frame = [&[WITH_HEADERS][..], &rest].concat();
                if let Ok((headers, _)) = Headers::split(&frame, Features::WITH_HEADERS) {
                    let _ = (headers.time_left(), headers.text(Header::IdempotencyKey), headers.number(Header::MaxQueued));
                }
                set_time_left(&mut frame, Duration::ZERO);
            }
        }
    }

    #[test]
    fn a_message_without_headers_is_the_message() {
        assert_eq!(HeaderBlock::default().before(vec![29]), [29]);
        assert_eq!(Headers::split(&[29], Features::WITH_HEADERS), Ok((Headers::NONE, &[29][..])));
        assert_eq!(Headers::split(&[], Features::WITH_HEADERS), Ok((Headers::NONE, &[][..])));
    }

    #[test]
    fn a_message_with_a_key_goes_only_where_keys_mean_something() {
        let mut block = HeaderBlock::default();
        block.add_time_left(Duration::ZERO);
        assert!(may_go(&[29], Features::NONE) && may_go(&block.before(vec![29]), Features::DEADLINES));
        block.add(Header::IdempotencyKey, b"key");
        let message = block.before(vec![29]);
        assert!(may_go(&message, Features::IDEMPOTENCY));
        assert!(!may_go(&message, Features::NONE) && !may_go(&message, Features::DEADLINES));
    }

    #[test]
    fn headers_that_are_not_known_are_passed_over() {
        let message = [WITH_HEADERS, 9, 200, 1, 0, 3, 1, 0, 201, 1, 7, 29];
        let (headers, rest) = Headers::split(&message, Features::WITH_HEADERS).unwrap();
        assert_eq!((headers.get(Header::Metadata), headers.get(Header::Details), rest), (&[0][..], &[][..], &[29][..]));
    }

    #[test]
    fn headers_that_are_cut_short_are_malformed() {
        let mut block = HeaderBlock::default();
        block.add_time_left(Duration::from_micros(1));
        block.add_number(Header::MaxQueued, 300);
        let whole = block.before(vec![29]);
        assert_eq!(whole, [WITH_HEADERS, 10, 1, 4, 0, 0, 0, 1, 6, 2, 0xac, 2, 29]);
        for end in 1..whole.len() - 1 {
            assert!(Headers::split(&whole[..end], Features::WITH_HEADERS).is_err(), "{end}");
        }
        assert!(Headers::split(&[WITH_HEADERS, 2, 200, 1], Features::WITH_HEADERS).is_err());
    }

    #[test]
    fn time_is_told_in_milliseconds_and_a_little_is_not_none() {
        let told = |micros| u32::from_be_bytes(told(Duration::from_micros(micros)));
        assert_eq!((told(0), told(1), told(1000), told(1001), told(u64::MAX)), (0, 1, 1, 2, u32::MAX));
    }
}
