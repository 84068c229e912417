//! Until when credentials are good, and when a session is asked for others in time.

use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::CredentialsWanted;

use super::Broker;
use super::ending::Ending;
use super::identity::Expiry;
use super::per_session::{PerSession, SessionKey};
use super::timers::Timers;

/// The sessions whose credentials expire.
#[derive(Debug, Default)]
pub(super) struct Leases {
    by_session: PerSession<Lease>,
    due: Timers<SessionKey>,
}

#[derive(Debug, Default)]
struct Lease {
    /// When the session is asked next, or ends.
    next: Moment,
    ends: Moment,
}

/// What is to be done about credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// They will expire.
    Ask,
    /// They have.
    End,
}

/// The first question comes when a fifth of the time is left, but a minute before the end at the earliest, and at the latest a
/// second before it, or in the middle.
const PART_LEFT: u32 = 5;
const EARLIEST: Duration = Duration::from_secs(60);
const LATEST: Duration = Duration::from_secs(1);

/// Between two questions: each comes when half of the time is over that was left at the one before.
const SHORTEST: Duration = Duration::from_millis(100);

impl Leases {
    /// From now on a session has these credentials.
    pub fn start(&mut self, now: Moment, session: SessionKey, expiry: Option<Expiry>) {
        self.stop(session);
        let Some(Expiry { within, .. }) = expiry else { return };
        let before_end = (within / PART_LEFT).clamp(LATEST.min(within / 2), EARLIEST);
        let lease = self.by_session.get_or_default(session);
        (lease.next, lease.ends) = (now + (within - before_end), now + within);
        self.due.insert(lease.next, session);
    }

    /// A session is over, or its credentials do not expire.
    pub fn stop(&mut self, session: SessionKey) {
        if let Some(lease) = self.by_session.remove(session) {
            self.due.remove(lease.next, session);
        }
    }

    /// When something is to be done next.
    pub fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| at)
    }

    fn pop_due(&mut self, now: Moment) -> Option<(SessionKey, Due)> {
        let session = self.due.pop_due(now)?;
        let lease = self.by_session.get_mut(session)?;
        if lease.ends <= now {
            self.by_session.remove(session);
            return Some((session, Due::End));
        }
        let half = lease.ends.since(now) / 2;
        lease.next = if half < SHORTEST { lease.ends } else { now + half };
        self.due.insert(lease.next, session);
        Some((session, Due::Ask))
    }
}

impl Broker {
    /// Ends a session whose credentials have expired, or asks one whose will. Returns whether there was one.
    pub(super) fn end_lease(&mut self, now: Moment) -> bool {
        match self.leases.pop_due(now) {
            Some((session, Due::End)) => self.abort(session, Ending::CredentialsExpired),
            Some((session, Due::Ask)) => self.want_credentials(session),
            None => return false,
        }
        true
    }

    /// Asks for fresh credentials, if the client understands the question. One that has no connection has to bring some
    /// anyway when it comes back too late, and is asked again when it comes back in time.
    fn want_credentials(&mut self, key: SessionKey) {
        let connection = self.sessions.get(key).and_then(|session| session.connection());
        if connection.is_some_and(|connection| connection.negotiated.features.has(Features::RENEWAL)) {
            self.send_to(key, request_frame::<CredentialsWanted>(ConversationId::ONE_WAY, &(), 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionKey = SessionKey { number: 1, place: 0 };

    /// When a session is asked, and when it ends, in milliseconds.
    fn course(within: Duration) -> (Vec<u64>, u64) {
        let mut leases = Leases::default();
        leases.start(Moment(0), SESSION, Some(Expiry { within, at: 0 }));
        let mut asked = Vec::new();
        loop {
            let now = leases.next_due().expect("it is not over");
            match leases.pop_due(now) {
                Some((SESSION, Due::Ask)) => asked.push(now.0 / 1000),
                Some((SESSION, Due::End)) => return (asked, now.0 / 1000),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_session_is_asked_in_time_and_again_while_there_is_time() {
        let ms = Duration::from_millis;
        assert_eq!(course(ms(0)), (vec![], 0));
        assert_eq!(course(ms(100)), (vec![50], 100));
        assert_eq!(course(ms(1000)), (vec![500, 750, 875], 1000));
        assert_eq!(course(ms(3000)), (vec![2000, 2500, 2750, 2875], 3000));
        assert_eq!(course(ms(20_000)), (vec![16_000, 18_000, 19_000, 19_500, 19_750, 19_875], 20_000));
        let (asked, end) = course(ms(3_600_000));
        assert_eq!((&asked[..3], end), (&[3_540_000, 3_570_000, 3_585_000][..], 3_600_000));
    }

    #[test]
    fn other_credentials_take_the_place_of_the_old_ones() {
        let mut leases = Leases::default();
        for seconds in [10, 1000, 20] {
            leases.start(Moment(0), SESSION, Some(Expiry { within: Duration::from_secs(seconds), at: 0 }));
        }
        assert_eq!(leases.next_due(), Some(Moment(16_000_000)));
        leases.start(Moment(0), SESSION, None);
        assert_eq!(leases.next_due(), None);
    }
}
