//! The plan of a load: sessions, requests, rate.

use std::time::Duration;

use serde::Serialize;

/// The load to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the broker's WebSocket.
    pub url: String,
    /// Sessions that send; at least 1. They and those that handle answer what is sent to a session or a filter.
    pub sessions: usize,
    /// Further sessions, with a request handler each, all at the same path.
    pub handlers: usize,
    /// Where these connect, if that is somewhere else.
    pub handlers_url: Option<String>,
    /// How fast to send.
    pub rate: Rate,
    /// How long to send. What is pending then is waited for.
    pub duration: Duration,
    /// How long sessions try to get another connection when they lose theirs, and requests wait for it. Zero for not at
    /// all.
    pub reconnect: Duration,
    /// Whether messages that are sent at the same time share a WebSocket message.
    pub batching: bool,
    /// What each request is allowed.
    pub timeout: Duration,
    /// Each request to a path or a session has a key, and is sent so often at most, as a principal of the development
    /// profile; nothing for no keys, one attempt, and anonymous sessions.
    pub attempts: Option<u32>,
    /// Of requests and responses, in bytes; at least [`Stamp::SIZE`](crate::ledger::Stamp::SIZE).
    pub value_size: usize,
    /// What is sent: one of these at a time, each as likely as it occurs here. Not empty.
    pub kinds: Vec<Kind>,
    /// For requests to filters: must match exactly the sessions of this load. By default it does.
    pub filter: Option<String>,
    /// Decides what is sent by whom to whom. Also makes path and default filter those of this load alone.
    pub seed: u64,
}

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many a second, whether or not earlier ones have come to their end; more than 0.
    PerSecond(f64),
    /// As fast as it goes: each session that sends has this many under way at any time; at least 1.
    InFlight(usize),
}

/// How requests are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To one of the handlers.
    Path,
    /// To one of all sessions.
    Session,
    /// To all sessions.
    Filter,
}

impl Kind {
    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Session => "session",
            Self::Filter => "filter",
        }
    }
}
