//! System pings: one a period and session, and which sessions are silent (section 6).

use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;

use super::per_session::{PerSession, SessionKey};
use super::timers::Timers;

/// When sessions are pinged, and what is known of those that have a connection.
#[derive(Debug)]
pub(super) struct Pings {
    /// Zero for no pings.
    period: Duration,
    due: Timers<SessionKey>,
    by_session: PerSession<Pinged>,
}

#[derive(Debug, Default)]
struct Pinged {
    next: Moment,
    /// The last ping, if it was not answered, and when it was sent.
    unanswered: Option<(ConversationId, Moment)>,
}

impl Pings {
    pub fn new(period: Duration) -> Self {
        Self { period, due: Timers::default(), by_session: PerSession::default() }
    }

    /// A session has a new connection. The first ping on it comes after one period.
    pub fn start(&mut self, now: Moment, session: SessionKey) {
        if self.period.is_zero() {
            return;
        }
        let pinged = self.by_session.get_or_default(session);
        self.due.remove(pinged.next, session);
        pinged.next = now + self.period;
        self.due.insert(pinged.next, session);
    }

    /// A session has no connection any more.
    pub fn stop(&mut self, session: SessionKey) {
        if let Some(pinged) = self.by_session.remove(session) {
            self.due.remove(pinged.next, session);
        }
    }

    /// Whether this is the answer to a ping.
    pub fn answered(&mut self, session: SessionKey, conversation: ConversationId) -> bool {
        let Some(pinged) = self.by_session.get_mut(session) else { return false };
        pinged.unanswered.take_if(|(ping, _)| *ping == conversation).is_some()
    }

    /// A session that is to be pinged now, and when the last ping was sent if it was not answered.
    pub fn pop_due(&mut self, now: Moment) -> Option<(SessionKey, Option<Moment>)> {
        let session = self.due.pop_due(now)?;
        let pinged = self.by_session.get_or_default(session);
        Some((session, pinged.unanswered.map(|(_, sent_at)| sent_at)))
    }

    /// A ping was sent. The next one comes after a period, whatever the traffic.
    pub fn sent(&mut self, now: Moment, session: SessionKey, conversation: ConversationId) {
        let pinged = self.by_session.get_or_default(session);
        pinged.unanswered = Some((conversation, now));
        pinged.next = now + self.period;
        self.due.insert(pinged.next, session);
    }

    /// The past of a session was forgotten.
    pub fn forget_unanswered(&mut self, session: SessionKey) {
        if let Some(pinged) = self.by_session.get_mut(session) {
            pinged.unanswered = None;
        }
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| at)
    }

    /// Number of pings that were not answered.
    pub fn unanswered(&self) -> usize {
        self.by_session.values().filter(|pinged| pinged.unanswered.is_some()).count()
    }
}
