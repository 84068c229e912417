//! The stamp in every value that is sent, by which an answer shows to which request it belongs.

/// Names a request in the account of one ledger; they count up from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId(pub u64);

/// What a value says of itself: the request that it is or answers, and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The request.
    pub request: EntryId,
    /// Who answers; nobody in the request itself.
    pub recipient: Option<usize>,
}

impl Stamp {
    /// Bytes that a stamp takes in a value, at least.
    pub const SIZE: usize = 16;

    /// A value of `size` bytes, but at least [`Self::SIZE`], that says this. What follows the stamp depends on it.
    #[must_use]
    pub fn to_bytes(self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size.max(Self::SIZE));
        bytes.extend_from_slice(&self.request.0.to_be_bytes());
        let recipient = self.recipient.map_or(NOBODY, |recipient| recipient as u64);
        bytes.extend_from_slice(&recipient.to_be_bytes());
        bytes.resize(size.max(Self::SIZE), self.filling());
        bytes
    }

    /// What a value says; nothing if it is damaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (recipient, rest) = rest.split_first_chunk()?;
        let recipient = match u64::from_be_bytes(*recipient) {
            NOBODY => None,
            recipient => Some(usize::try_from(recipient).ok()?),
        };
        let stamp = Self { request: EntryId(u64::from_be_bytes(*request)), recipient };
        rest.iter().all(|byte| *byte == stamp.filling()).then_some(stamp)
    }

    fn filling(self) -> u8 {
        (self.request.0 % 251) as u8
    }
}

/// Stands for no recipient.
const NOBODY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_survives_in_a_value_of_any_size_and_damage_shows() {
        for size in [0, 16, 17, 256] {
            for (request, recipient) in [(300, None), (u64::MAX, Some(9))] {
                let stamp = Stamp { request: EntryId(request), recipient };
                let mut bytes = stamp.to_bytes(size);
                assert_eq!(bytes.len(), size.max(Stamp::SIZE));
                assert_eq!(Stamp::from_bytes(&bytes), Some(stamp));
                if let Some(last) = bytes.get_mut(16..).and_then(<[u8]>::last_mut) {
                    *last ^= 1;
                    assert_eq!(Stamp::from_bytes(&bytes), None);
                }
            }
        }
        assert_eq!(Stamp::from_bytes(&[0; 15]), None);
    }
}
