//! Requests that are sent again by themselves, where that does no harm (rules K-8, K-9).

use std::fmt;
use std::time::Duration;

use antiphon_protocol::client::{ClientSession, Outcome, Patience, State, reconnect_delay};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::SessionId;
use futures_util::{FutureExt, StreamExt, select};

use crate::error::RequestError;
use crate::lock::Ref;
use crate::platform::{self, Alarm, MaybeSend, MaybeSync, SharedFn};
use crate::shared::{Identity, Shared};

/// How often a request is sent at most, and when it is sent again.
///
/// ```no_run
/// # use std::time::Duration;
/// # use antiphon_client::{Messaging, RequestError, Retry};
/// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
/// let order = messaging.send_request_to_path("orders", "one tea").idempotency_key("order 17");
/// let retry = Retry::attempts(10).backoff(|_| Duration::from_millis(200));
/// let answer = order.retry(retry).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Retry {
    attempts: u32,
    backoff: Option<SharedFn<u32, Duration>>,
}

impl Retry {
    /// The request is sent so often at most, the first time included; at least once. With 1 it is not repeated, nor waits for a
    /// connection because of that.
    #[must_use]
    pub fn attempts(attempts: u32) -> Self {
        Self { attempts, backoff: None }
    }

    /// How long to wait after so many attempts, counted from 1. Default: a random part of 100 ms, doubling up to 5 s.
    #[must_use]
    pub fn backoff(mut self, backoff: impl Fn(u32) -> Duration + MaybeSend + MaybeSync + 'static) -> Self {
        self.backoff = Some(Ref::new(backoff));
        self
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

/// By whom the broker knows the keys of a request: equal where it knows them for sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keeper {
    broker: u64,
    /// Nothing for a principal that has been the same since the session was opened.
    session: Option<SessionId>,
    /// How often the principal of the session has begun to change, or has changed.
    changes: u64,
}

impl Keeper {
    fn of(session: SessionId, identity: &Identity) -> Self {
        let is_known = identity.changes == 0 && identity.principal.as_deref().is_some_and(|name| !name.is_empty());
        Self { broker: session.server, session: (!is_known).then_some(session), changes: identity.changes }
    }
}

/// The attempts at one request.
pub(crate) struct Attempts {
    retry: Retry,
    is_keyed: bool,
    patience: Patience,
    start: Moment,
    /// Those that were sent, and the one that may be under way.
    made: u32,
    /// Whether there was a connection for it.
    is_sent: bool,
    /// As the last attempt was made.
    keeper: Option<Keeper>,
    /// The last error after which the request may have been handled.
    doubt: Option<RequestError>,
    /// With which it fails if there is no other attempt.
    last: Option<RequestError>,
}

/// After which errors another attempt may come to something else.
const REPEATED: [&str; 2] = ["NOT_CONNECTED", "BUSY"];

/// The same of requests with a key, besides: what the broker remembers of it is not these.
const REPEATED_WITH_KEY: [&str; 2] = ["CONNECTION_LOST", "REQUEST_TIME_OUT"];

/// How long a broker remembers what became of a key, at least (rules K-4).
const REMEMBERED: Duration = Duration::from_secs(120);

/// Longer than anybody waits; the clock has no room for much more.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Attempts {
    /// One attempt, unless there is a `retry`.
    pub fn new(retry: Option<Retry>, is_keyed: bool, patience: Patience) -> Self {
        Self {
            retry: retry.unwrap_or_else(|| Retry::attempts(1)),
            is_keyed,
            patience,
            start: platform::now(),
            made: 0,
            is_sent: false,
            keeper: None,
            doubt: None,
            last: None,
        }
    }

    /// Whether there may be another one after the one that is under way.
    pub fn has_more(&self) -> bool {
        self.made < self.retry.attempts || (self.is_repeated() && !self.is_sent)
    }

    fn is_repeated(&self) -> bool {
        self.retry.attempts > 1
    }

    /// Begins an attempt: how long it may take; or the error, if the key is not known for sure by whoever would get it. Called
    /// while nothing can happen to the session.
    pub fn begin(&mut self, core: &ClientSession, identity: &Identity) -> Result<Patience, RequestError> {
        let keeper = core.session().map(|session| Keeper::of(session, identity));
        if let Some(doubt) = &self.doubt
            && keeper != self.keeper
        {
            return Err(self.whole(doubt.clone()));
        }
        if let Some(last) = &self.last
            && (self.left_to_repeat().is_zero() || core.state() == State::Closed)
        {
            return Err(self.whole(last.clone()));
        }
        self.keeper = keeper;
        self.made += 1;
        self.is_sent = core.state() == State::Connected;
        // Later attempts wait for a connection by themselves: while they do, the broker may become another one.
        let wait = self.patience.wait && self.last.is_none();
        Ok(Patience { timeout: left(self.patience.timeout, self.start), wait })
    }

    /// An attempt has failed: waits until it is time for the next one, or gives the error with which the request fails.
    pub async fn wait_after(&mut self, shared: &Shared, error: RequestError) -> Result<(), RequestError> {
        // Nothing was sent, so it was no attempt; but without repeats it is the end.
        let is_unsent = error.code() == "NOT_CONNECTED" && self.is_repeated();
        if is_unsent {
            self.made -= 1;
        }
        if self.is_keyed && error.outcome() == Outcome::Unknown {
            self.doubt = Some(error.clone());
        }
        let can_help = may_help(&error.code(), self.is_keyed);
        let before = if error.outcome() == Outcome::NotSent { self.doubt.clone() } else { None };
        let last = before.or_else(|| self.last.take().filter(|_| is_unsent)).unwrap_or(error);
        self.last = Some(last.clone());
        if !can_help || self.made >= self.retry.attempts {
            return Err(self.whole(last));
        }
        let most = self.left_to_repeat();
        let mut alarm = Alarm::default();
        let mut set = |wait: Duration| alarm.set(platform::now() + wait.min(LONGEST_WAIT));
        if is_unsent {
            set(most);
            select! {
                () = Box::pin(alarm.ring()).fuse() => {}
                () = Box::pin(until_not_recovering(shared)).fuse() => {}
            }
            return Ok(());
        }
        let default = || reconnect_delay(self.made, platform::random());
        let wait = self.retry.backoff.as_ref().map_or_else(default, |backoff| backoff(self.made));
        if wait >= most {
            return Err(self.whole(last));
        }
        set(wait);
        select! {
            () = Box::pin(alarm.ring()).fuse() => Ok(()),
            _ = shared.closed.clone().fuse() => Err(self.whole(last)),
        }
    }

    /// An error that tells of all attempts.
    fn whole(&self, error: RequestError) -> RequestError {
        error.after(self.made, self.patience.timeout)
    }

    /// The time for further attempts.
    fn left_to_repeat(&self) -> Duration {
        let most = if self.doubt.is_some() { REMEMBERED } else { Duration::MAX };
        left(self.patience.timeout.min(most), self.start)
    }
}

/// Waits until the session has a connection, or is over.
async fn until_not_recovering(shared: &Shared) {
    // Before the state is looked at: nothing is missed.
    let mut events = shared.listeners.listen();
    while shared.driver.with_core(|core| core.state()) == State::Recovering && events.next().await.is_some() {}
}

/// Whether another attempt may come to something else than this.
fn may_help(code: &str, is_keyed: bool) -> bool {
    REPEATED.contains(&code) || (is_keyed && REPEATED_WITH_KEY.contains(&code))
}

/// What is left of a time that has begun.
fn left(time: Duration, start: Moment) -> Duration {
    time.saturating_sub(platform::now().since(start))
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use antiphon_protocol::wire::error_reason::ErrorReason;

    use super::*;

    #[test]
    fn of_what_another_side_says_only_two_reasons_may_be_others_the_next_time() {
        let of = |is_keyed| {
            let helps = move |reason: &ErrorReason| may_help(&reason.to_text(), is_keyed);
            ErrorReason::ALL.iter().copied().filter(helps).collect::<Vec<_>>()
        };
        assert_eq!(of(false), [ErrorReason::BUSY]);
        assert_eq!(of(true), [ErrorReason::REQUEST_TIME_OUT, ErrorReason::BUSY]);
    }

    #[test]
    fn keys_are_known_to_a_broker_by_principal_or_by_session() {
        let keeper = |server, value, principal: Option<&str>, changes| {
            let session = SessionId { server, value };
            let identity = Identity { session: Some(session), principal: principal.map(str::to_owned), changes };
            Keeper::of(session, &identity)
        };
        // The same principal in two sessions of one broker.
        assert_eq!(keeper(1, 1, Some("ada"), 0), keeper(1, 2, Some("ada"), 0));
        // Another broker; an anonymous session; a principal that was changed, or is being changed.
        assert_ne!(keeper(1, 1, Some("ada"), 0), keeper(2, 1, Some("ada"), 0));
        for nobody in [None, Some("")] {
            assert_eq!(keeper(1, 1, nobody, 0), keeper(1, 1, nobody, 0));
            assert_ne!(keeper(1, 1, nobody, 0), keeper(1, 2, nobody, 0));
        }
        assert_ne!(keeper(1, 1, Some("ada"), 0), keeper(1, 1, Some("bob"), 2));
        assert_ne!(keeper(1, 1, Some("ada"), 2), keeper(1, 2, Some("ada"), 2));
    }
}
