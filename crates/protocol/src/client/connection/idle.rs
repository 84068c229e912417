//! The idle check: notices that nothing comes from the server any more (rules L-5).

use std::time::Duration;

use crate::time::Moment;

/// Watches one connection. Does not set its timer with every message: it is only looked at when it is due.
#[derive(Debug)]
pub struct IdleCheck {
    /// The server promised a sign of life within this time.
    pub patience: Duration,
    last_heard: Moment,
    /// When to look again.
    due: Moment,
    /// Whether nothing came for too long, by a timer that may have been late itself.
    is_suspect: bool,
}

/// How long a connection that seems dead is given, so that what has arrived is read first: timers of hidden pages are late.
const GRACE: Duration = Duration::from_secs(1);

impl IdleCheck {
    /// Of a connection that begins now, with a server that says something every `ping_period`.
    pub fn new(now: Moment, ping_period: Duration) -> Self {
        let patience = ping_period.saturating_mul(2);
        Self { patience, last_heard: now, due: now + patience, is_suspect: false }
    }

    /// Something came.
    pub fn heard(&mut self, now: Moment) {
        self.last_heard = now;
        self.is_suspect = false;
    }

    /// When [`Self::is_dead`] is to be asked.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// Whether nothing will come any more, as far as can be told; if not, says when to ask again.
    pub fn is_dead(&mut self, now: Moment) -> bool {
        let silent_at = self.last_heard + self.patience;
        if silent_at > now {
            self.due = silent_at;
        } else if !self.is_suspect {
            self.is_suspect = true;
            self.due = now + GRACE;
        } else {
            return true;
        }
        false
    }
}
