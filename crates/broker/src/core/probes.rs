//! Probes: a session that is late with an answer, and from which nothing comes, is asked for a sign of life. One that gives
//! none has lost its connection, whatever that looks like (rules L-9).

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_protocol::time::{Moment, micros};
use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::services::SystemPing;

use super::ending::Ending;
use super::per_session::{PerSession, SessionKey};
use super::sessions::Pulse;
use super::timers::Timers;
use super::{Broker, Output};

/// No answer is late before this.
const LEAST: Duration = Duration::from_secs(2);
/// An answer is late when it takes so many times as long as those before it did.
const TIMES: u32 = 4;
/// Bytes a second that give a client more time: what is sent to it may take a while to get there.
const RATE: u32 = 32 << 10;
/// The part of what is known of a session's answers that one more replaces: one of so many.
const SMOOTHING: u64 = 8;

/// What is known of the sessions that are asked.
#[derive(Debug, Default)]
pub(super) struct Probes {
    by_session: PerSession<Course>,
    /// When those that owe answers are looked at.
    due: Timers<SessionKey>,
    /// Those that were probed and have given no sign of life since; when that was.
    silent: BTreeMap<SessionKey, Moment>,
}

/// What is known of one session.
#[derive(Debug, Default)]
struct Course {
    /// How long its answers take, about, in microseconds.
    usual: u64,
    /// When it is looked at next, if it is.
    next: Option<Moment>,
}

/// How much time a client has for what was sent to it since something came from it.
fn way(pulse: Pulse) -> Duration {
    Duration::from_secs_f64(pulse.bytes_since as f64 / f64::from(RATE))
}

/// What is to be done about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It is late and silent.
    Probe,
    /// It has given no sign of life.
    Lost,
    /// Look at it again then.
    Later(Moment),
}

impl Probes {
    /// A session has a new connection.
    pub fn start(&mut self, session: SessionKey) {
        self.silent.remove(&session);
        self.by_session.get_or_default(session);
    }

    /// A session has no connection any more.
    pub fn stop(&mut self, session: SessionKey) {
        self.silent.remove(&session);
        if let Some(course) = self.by_session.get_mut(session)
            && let Some(next) = course.next.take()
        {
            self.due.remove(next, session);
        }
    }

    /// A session is over.
    pub fn forget(&mut self, session: SessionKey) {
        self.stop(session);
        self.by_session.remove(session);
    }

    /// Something came from a session. Returns whether it was thought to be silent.
    pub fn heard(&mut self, session: SessionKey) -> bool {
        !self.silent.is_empty() && self.silent.remove(&session).is_some()
    }

    /// A session owes an answer.
    fn asked(&mut self, now: Moment, session: SessionKey) {
        let is_looked_at = self.by_session.get(session).is_none_or(|course| course.next.is_some());
        if !is_looked_at {
            self.look_at(session, now + LEAST);
        }
    }

    /// A session has answered after this time.
    pub fn answered(&mut self, session: SessionKey, took: Duration) {
        if let Some(course) = self.by_session.get_mut(session) {
            course.usual = course.usual - course.usual / SMOOTHING + micros(took) / SMOOTHING;
        }
    }

    /// Whether a session was probed and has given no sign of life yet.
    pub fn is_silent(&self, session: SessionKey) -> bool {
        !self.silent.is_empty() && self.silent.contains_key(&session)
    }

    /// When a session is to be looked at next.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| at)
    }

    /// A session that is to be looked at.
    pub fn pop_due(&mut self, now: Moment) -> Option<SessionKey> {
        let session = self.due.pop_due(now)?;
        if let Some(course) = self.by_session.get_mut(session) {
            course.next = None;
        }
        Some(session)
    }

    fn look_at(&mut self, session: SessionKey, at: Moment) {
        let course = self.by_session.get_or_default(session);
        if let Some(earlier) = course.next.replace(at) {
            self.due.remove(earlier, session);
        }
        self.due.insert(at, session);
    }

    /// What to do about a session that has owed an answer since then; one that was probed has this time for a sign of life.
    fn judge(&self, now: Moment, session: SessionKey, pulse: Pulse, owes_since: Moment, timeout: Duration) -> Due {
        let Some(course) = self.by_session.get(session) else { return Due::Later(now + LEAST) };
        let (until, due) = match self.silent.get(&session) {
            Some(probed) => (*probed + timeout + way(pulse), Due::Lost),
            None => (
                owes_since.max(pulse.heard) + LEAST.max(Duration::from_micros(course.usual) * TIMES) + way(pulse),
                Due::Probe,
            ),
        };
        if until <= now { due } else { Due::Later(until) }
    }
}

impl Broker {
    /// A session owes an answer, and has a connection; or has one when it is back.
    pub(super) fn await_answer(&mut self, now: Moment, key: SessionKey) {
        if !self.config.probe_timeout.is_zero() {
            self.probes.asked(now, key);
        }
    }

    /// Looks at a session that may owe answers.
    pub(super) fn look_after(&mut self, now: Moment, key: SessionKey) {
        let timeout = self.config.probe_timeout;
        let Some(session) = self.sessions.get_mut(key) else { return };
        // Nobody asks it anything, or it is asked again when it has a connection.
        let Some(owes_since) = self.exchanges.owes_since(key).filter(|_| session.can_be_probed()) else { return };
        if timeout.is_zero() {
            return;
        }
        if self.turns.is_paused(key) {
            // What it says is not read.
            return self.probes.look_at(key, now + LEAST);
        }
        match self.probes.judge(now, key, session.pulse(), owes_since, timeout) {
            Due::Later(at) => self.probes.look_at(key, at),
            Due::Lost => self.find_silent(now, key),
            Due::Probe => {
                // Browsers answer this one while a page is too busy for anything else.
                if let Some(connection) = session.connection() {
                    self.outputs.push_back(Output::Ping(connection.id));
                }
                let conversation = session.next_conversation();
                tracing::debug!(session = %session.id(), "late with an answer: probed");
                self.probes.silent.insert(key, now);
                self.send_to(key, request_frame::<SystemPing>(conversation, &(), 0));
                self.probes.look_at(key, now + timeout);
            }
        }
    }

    /// Gives the connection of a session up on which nothing comes: its client may live, on a connection that does not; so the
    /// session stays.
    pub(super) fn find_silent(&mut self, now: Moment, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        if !session.is_kept() {
            return self.abort(key, Ending::Silent);
        }
        if let Some(connection) = session.connection() {
            self.outputs.push_back(Output::Close(connection.id));
        }
        self.lose_connection(now, key, Duration::MAX);
    }
}
