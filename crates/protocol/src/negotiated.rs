//! The parameters that both ends of a connection agreed on; used by both ends.

use std::time::Duration;

use crate::features::Features;

/// The parameters of a connection, as the connection response gives them (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The protocol version that is spoken.
    pub version: u8,
    /// The largest message that the server takes, in bytes; none if it takes any.
    pub max_message_size: Option<usize>,
    /// Something comes from the server at least this often; none if it does not promise that.
    pub ping_period: Option<Duration>,
    /// What both ends do beyond the protocol.
    pub features: Features,
}

/// The first protocol version with service 203, in place of service 5.
const RE_AUTHENTICATE_SINCE: u8 = 29;

impl Negotiated {
    /// As a client reads it: the version, the milliseconds between pings, and the largest message in bytes; 0 or less stands
    /// for none. Without any features.
    #[must_use]
    pub fn from_wire(version: u8, ping_period: i64, max_message_size: i32) -> Self {
        let period = u64::try_from(ping_period).ok().filter(|period| *period > 0);
        Self {
            version,
            max_message_size: usize::try_from(max_message_size).ok().filter(|size| *size > 0),
            ping_period: period.map(Duration::from_millis),
            features: Features::NONE,
        }
    }

    /// Milliseconds between pings, as a server writes it.
    #[must_use]
    pub fn ping_period_on_wire(&self) -> i64 {
        self.ping_period.map_or(0, |period| i64::try_from(period.as_millis()).unwrap_or(i64::MAX))
    }

    /// The largest message in bytes, as a server writes it.
    #[must_use]
    pub fn max_message_size_on_wire(&self) -> i32 {
        self.max_message_size.map_or(0, |size| i32::try_from(size).unwrap_or(i32::MAX))
    }

    /// Whether a session changes its principal by service 203; by service 5 else.
    #[must_use]
    pub fn has_re_authenticate(&self) -> bool {
        self.version >= RE_AUTHENTICATE_SINCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_writes_a_client_reads() {
        let limited = Negotiated {
            version: 25,
            max_message_size: Some(1 << 20),
            ping_period: Some(Duration::from_secs(90)),
            features: Features::NONE,
        };
        for negotiated in [limited, Negotiated { max_message_size: None, ping_period: None, ..limited }] {
            let (period, size) = (negotiated.ping_period_on_wire(), negotiated.max_message_size_on_wire());
            assert_eq!(Negotiated::from_wire(25, period, size), negotiated);
        }
        assert_eq!(Negotiated::from_wire(25, -1, -1), Negotiated::from_wire(25, 0, 0));
    }
}
