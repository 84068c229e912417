//! What both ends of a connection do beyond the protocol that every client and server of it knows; used by both ends.

use std::ops::{BitAnd, BitOr, Not};

/// A set of features: one that a client offers, or one that a server grants (section 18).
///
/// Features that are not known here have no name, and are in no set that is agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// The protocol as it is.
    pub const NONE: Self = Self(0);
    /// A WebSocket message may carry several messages ([`crate::batch`]).
    pub const BATCHING: Self = Self(1);
    /// A request says how much time is left for it.
    pub const DEADLINES: Self = Self(1 << 1);
    /// Who gives a request up says so, and its recipient is told.
    pub const CANCELLING: Self = Self(1 << 2);
    /// A registration says how many requests its handler takes at a time; there is a reason for "all have as many as they take".
    pub const BUSY: Self = Self(1 << 3);
    /// A request may have a key under which the server remembers what became of it.
    pub const IDEMPOTENCY: Self = Self(1 << 4);
    /// A request may have texts by key beside its value.
    pub const METADATA: Self = Self(1 << 5);
    /// An error may have a value beside its text.
    pub const DETAILS: Self = Self(1 << 6);
    /// A client may ask, and be told, how many handlers there are for a path; and how many sessions a filter matches.
    pub const DISCOVERY: Self = Self(1 << 7);
    /// The responses to a request to a session filter are delivered one-way: nobody acknowledges them.
    pub const UNACKNOWLEDGED: Self = Self(1 << 8);
    /// The server asks for fresh credentials before those of the session expire.
    pub const RENEWAL: Self = Self(1 << 9);
    /// Those that are known here.
    pub const ALL: Self = Self(
        Self::BATCHING.0
            | Self::DEADLINES.0
            | Self::CANCELLING.0
            | Self::BUSY.0
            | Self::IDEMPOTENCY.0
            | Self::METADATA.0
            | Self::DETAILS.0
            | Self::DISCOVERY.0
            | Self::UNACKNOWLEDGED.0
            | Self::RENEWAL.0,
    );

    /// Those for which there are headers ([`crate::wire::headers`]): a connection with any of them takes messages that have
    /// some.
    pub const WITH_HEADERS: Self =
        Self(Self::DEADLINES.0 | Self::BUSY.0 | Self::IDEMPOTENCY.0 | Self::METADATA.0 | Self::DETAILS.0);

    /// What applications call the first bits, in order.
    pub const NAMES: [&str; 8] =
        ["batching", "deadlines", "cancelling", "busy", "idempotency", "metadata", "details", "discovery"];

    /// As it goes over the wire: a bit for each.
    #[must_use]
    pub const fn from_wire(bits: u32) -> Self {
        Self(bits)
    }

    /// As it goes over the wire.
    #[must_use]
    pub const fn to_wire(self) -> u32 {
        self.0
    }

    /// Whether any of `features` is in this set.
    #[must_use]
    pub fn has_any(self, features: Self) -> bool {
        self & features != Self::NONE
    }

    /// Whether all of `features` are in this set.
    #[must_use]
    pub fn has(self, features: Self) -> bool {
        self & features == features
    }
}

impl BitAnd for Features {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Those known here that are not in the set.
impl Not for Features {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0) & Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sets() {
        let both = Features::BATCHING | Features::UNACKNOWLEDGED;
        assert!(both.has(Features::BATCHING) && both.has(Features::NONE) && !Features::BATCHING.has(both));
        assert_eq!(both & !Features::BATCHING, Features::UNACKNOWLEDGED);
        assert_eq!(Features::from_wire(u32::MAX) & Features::ALL, Features::ALL);
        assert_eq!(Features::from_wire(both.to_wire()), both);
    }
}
