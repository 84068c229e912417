//! What an operator changes while the broker runs, and is told about it.

use super::Broker;
use super::access::Principals;
use super::config::BrokerConfig;
use super::ending::Ending;
use super::identity::{Proof, Standing};
use super::permissions::{GrantsByRoles, Permissions};
use super::proposals::Proposals;

impl Broker {
    /// From now on another configuration holds, for what is asked for at each use of it; the rest stays as it was.
    pub fn reconfigure(&mut self, config: BrokerConfig) {
        let BrokerConfig { server, seed, token_key, .. } = self.config;
        self.config = BrokerConfig { server, seed, token_key, ..config };
    }

    /// From now on other permissions hold: for the next request of every session, also of those that are open.
    pub fn set_permissions(&mut self, permissions: Permissions) {
        self.grants = GrantsByRoles::new(permissions);
        self.sessions.grant_anew(&mut self.grants);
        self.watches.look_at_all_again();
    }

    /// From now on open sessions are what `standing` says of their principals and of what showed these; those end whose
    /// credentials are not accepted any more. Principals that are known here stay as they are.
    pub fn set_standing(&mut self, standing: impl Fn(&str, Proof) -> Standing) {
        if matches!(self.principals, Principals::Development) {
            return;
        }
        let mut keys: Vec<_> = self.sessions.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let Some(session) = self.sessions.get(key) else { continue };
            let is_good = match standing(session.properties().principal(), session.proof()) {
                Standing::Unchanged => true,
                Standing::Now(identity) => self
                    .sessions
                    .change_principal(key, &identity, &Proposals::All, usize::MAX, &[], &mut self.grants)
                    .is_ok(),
                Standing::Revoked => false,
            };
            if is_good {
                self.watches.look_again(key);
            } else {
                self.abort(key, Ending::Revoked);
            }
        }
    }

    /// Whoever looks after the memory says whether there is little left. Then new sessions, requests and registrations are
    /// refused; what is under way goes on, and sessions are taken up again.
    pub fn set_memory_scarce(&mut self, is_scarce: bool) {
        self.is_memory_scarce = is_scarce;
    }

    /// Number of open sessions, with those that have no connection at the moment.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Number of requests that wait for an answer, with those that are still to be delivered.
    #[must_use]
    pub fn outstanding_requests(&self) -> usize {
        self.exchanges.awaited() + self.turns.undelivered() + self.queues.len()
    }

    /// Number of requests that the handlers registered at `path` have to answer, whatever paths below they went to.
    #[must_use]
    pub fn requests_at(&self, path: &str) -> usize {
        self.exchanges.at(path)
    }

    /// Number of requests and pings that the broker sent and that wait for an answer, even if nobody wants it any more.
    #[must_use]
    pub fn open_conversations(&self) -> usize {
        self.exchanges.len() + self.pings.unanswered()
    }

    /// Number of idempotency keys of which something is known, and the bytes of what is remembered of requests with them.
    #[must_use]
    pub fn remembered(&self) -> (usize, usize) {
        self.repeats.len()
    }

    /// How many requests the broker itself refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// How many answers came after the first, after the time allowed, or after the sender had gone.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.late_answers
    }

    /// How many requests had to wait for their turn.
    #[must_use]
    pub fn held_requests(&self) -> u64 {
        self.turns.held()
    }

    /// How many sessions ended because their clients did not read what they were sent.
    #[must_use]
    pub fn slow_readers(&self) -> u64 {
        self.slow_readers
    }
}
