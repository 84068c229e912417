//! Reconnection attempts for an open session, one after another until one succeeds or time is up.

use std::time::Duration;

use super::super::ids::ConnectionId;
use super::idle::PROBE_PATIENCE;
use super::{Attempt, Attempts, Established, Step, backoff};
use crate::text;
use crate::time::Moment;

/// A session that has lost its connection.
#[derive(Debug)]
pub struct Recovering {
    /// What held before.
    last: Established,
    stage: Stage,
    /// The number of the attempt under way, or of the next one. Counted from 1.
    attempt: u32,
    /// Whether the server has forgotten the session, so that a new one is asked for.
    is_fresh: bool,
    give_up_at: Moment,
    /// Why the last attempt came to nothing, if there was one.
    why: String,
}

#[derive(Debug)]
enum Stage {
    /// Until somebody has chosen how long to wait.
    Choosing,
    /// For the next attempt.
    Waiting {
        until: Moment,
    },
    Connecting(Attempt),
}

/// A timer that rings so much later than it should says that this machine slept.
const TIMER_IS_LATE: Duration = Duration::from_secs(1);

impl Recovering {
    /// From now on. `is_violation` says that the server did what no server may do, and `was_of_use` that the connection was
    /// good for something.
    pub fn new(last: Established, is_violation: bool, was_of_use: bool, give_up_at: Moment) -> Self {
        // A server that lets us in only to break the connection, or the protocol, is asked less and less often; and in the
        // latter case not for what it sent before: that would be the same again.
        let attempt = if was_of_use && !is_violation { 1 } else { last.attempt + 1 };
        Self { last, stage: Stage::Choosing, attempt, is_fresh: is_violation, give_up_at, why: String::new() }
    }

    /// What held before.
    pub fn last(&self) -> &Established {
        &self.last
    }

    /// Whether the server is asked for a new session, and not for the one that there was.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The attempt under way.
    pub fn under_way(&self) -> Option<Attempt> {
        match self.stage {
            Stage::Connecting(attempt) => Some(attempt),
            Stage::Choosing | Stage::Waiting { .. } => None,
        }
    }

    /// Somebody has chosen how long to wait before the next attempt, or leaves it to us.
    pub fn retry_after(&mut self, now: Moment, delay: Option<Duration>, random: f64) {
        if let Stage::Choosing = self.stage {
            let delay = delay.unwrap_or_else(|| backoff::delay(self.attempt, random));
            self.stage = Stage::Waiting { until: now + delay };
        }
    }

    /// Makes the next attempt, unless one is under way that may still come to something.
    pub fn retry(&mut self, now: Moment, attempts: &mut Attempts) -> Step {
        match self.under_way() {
            Some(attempt) if now.since(attempt.began) < PROBE_PATIENCE => Step::Nothing,
            Some(_) => Step::OpenAnother(self.begin(now, attempts)),
            None => Step::Open(self.begin(now, attempts)),
        }
    }

    fn begin(&mut self, now: Moment, attempts: &mut Attempts) -> ConnectionId {
        let attempt = attempts.next(now);
        self.stage = Stage::Connecting(attempt);
        attempt.connection
    }

    /// The attempt under way came to nothing; there will be others.
    pub fn fail_attempt(&mut self, why: &str) -> Step {
        if self.under_way().is_none() {
            return Step::Nothing;
        }
        self.stage = Stage::Choosing;
        self.attempt += 1;
        self.why = text![": ", why];
        Step::AttemptFailed { attempt: self.attempt }
    }

    /// Why there is no connection, if that is known: what follows a text that says so.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// The server has forgotten the session, or cannot go on with it, as `why` says: asks for a new one, at once, unless
    /// that is what it was asked for.
    pub fn start_afresh(&mut self, now: Moment, attempts: &mut Attempts, why: &str) -> Step {
        if std::mem::replace(&mut self.is_fresh, true) {
            return self.fail_attempt(why);
        }
        Step::OpenAnother(self.begin(now, attempts))
    }

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Moment {
        self.stage_ends().map_or(self.give_up_at, |at| at.min(self.give_up_at))
    }

    fn stage_ends(&self) -> Option<Moment> {
        match self.stage {
            Stage::Choosing => None,
            Stage::Waiting { until } => Some(until),
            Stage::Connecting(Attempt { deadline, .. }) => Some(deadline),
        }
    }

    /// The time for something is over; nothing if it is that for all attempts together.
    pub fn handle_timeout(&mut self, now: Moment, attempts: &mut Attempts) -> Option<Step> {
        match (&self.stage, self.stage_ends()) {
            (Stage::Connecting(_), Some(at)) if at <= self.give_up_at => {
                Some(self.fail_attempt("the server did not answer"))
            }
            (_, Some(at)) if at <= self.give_up_at => Some(self.retry(now, attempts)),
            // Nobody could try while the machine or the page slept.
            _ if now.since(self.give_up_at) > TIMER_IS_LATE => {
                self.give_up_at = now + attempts.timeout;
                Some(self.retry(now, attempts))
            }
            _ => None,
        }
    }
}
