//! The faults that the proxy can cause, and on which connections.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// The faults on every connection of a [`Proxy`](super::Proxy).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// From it everything is drawn that is left to chance.
    pub seed: u64,
    /// How long all bytes take in each direction.
    pub delay: Duration,
    /// Most bytes a second in each direction of each connection.
    pub rate: Option<NonZeroU64>,
    /// Each connection is cut after so many bytes in both directions together; drawn for each.
    pub cut_after_bytes: Option<RangeInclusive<u64>>,
    /// Each connection is cut after so many WebSocket frames in both directions together; drawn for each.
    pub cut_after_frames: Option<RangeInclusive<u64>>,
    /// How connections are cut: in one of these ways, each as likely as it occurs here. Not empty.
    pub endings: Vec<Ending>,
    /// Connections that are made in this time after the start are not cut by the two above.
    pub spare: Duration,
}

impl Default for Faults {
    /// None; what is cut is reset.
    fn default() -> Self {
        Self {
            seed: 0,
            delay: Duration::ZERO,
            rate: None,
            cut_after_bytes: None,
            cut_after_frames: None,
            endings: vec![Ending::Reset],
            spare: Duration::ZERO,
        }
    }
}

/// How a connection is cut. The near side is whoever connected to the proxy, the far side is what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both sides are reset. What was on its way is lost.
    Reset,
    /// Both sides are closed in good order.
    Close,
    /// One side, drawn by lot, is told that nothing more comes; the other direction goes on until it ends by itself.
    HalfClose,
    /// The near side is reset; the far side is left with a connection on which nothing happens any more.
    HalfOpen,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reset, Self::Close, Self::HalfClose, Self::HalfOpen];

    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Close => "close",
            Self::HalfClose => "half-close",
            Self::HalfOpen => "half-open",
        }
    }
}

impl FromStr for Ending {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|ending| ending.as_str() == text)
            .ok_or("write reset, close, half-close or half-open")
    }
}

/// How often faults are made on connections that are drawn by lot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// How often; more than 0.
    pub per_second: f64,
    /// How many connections each time.
    pub at_once: usize,
    /// Ends after so many connections; none for never.
    pub most: Option<u64>,
}
