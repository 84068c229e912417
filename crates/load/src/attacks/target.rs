//! What is attacked, and what an attack comes to.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::peer::Peer;

/// What is attacked.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Where the broker listens.
    pub broker: SocketAddr,
    /// The end.
    pub until: Instant,
    /// Bytes of the largest message that it takes.
    pub largest: usize,
    /// With how many connections, where an attack takes many; if not, with as many as it says itself.
    pub count: Option<usize>,
}

/// What an attack came to.
#[derive(Default)]
pub struct Done {
    /// How often the client could do it.
    pub times: u64,
    /// The longest that a connection was open, if all were to be closed.
    pub longest_open: Option<Duration>,
    /// Connections that are to stay open.
    pub held: Vec<Peer>,
}

/// A client at its worst.
pub type Attack = fn(Target) -> io::Result<Done>;

impl Target {
    /// Whether there is time left.
    #[must_use]
    pub fn is_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// How much there is.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Bytes of the largest value that goes into a message.
    #[must_use]
    pub fn largest_value(&self) -> usize {
        self.largest.saturating_sub(1 << 10)
    }

    /// With how many connections.
    #[must_use]
    pub fn count(&self, usual: usize) -> usize {
        self.count.unwrap_or(usual)
    }
}

impl Done {
    /// Nothing is held.
    #[must_use]
    pub fn times(times: u64) -> Self {
        Self { times, ..Self::default() }
    }
}
