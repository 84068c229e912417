//! Stopping: what is under way may end, nothing begins any more, and then every connection is closed (rules S-14).

use std::time::Duration;

use antiphon_protocol::time::Moment;

use super::ending::Ending;
use super::{Broker, Output};

/// Whether the broker goes on, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// Requests under way have until then to be answered.
    Stopping { until: Moment },
    /// All connections are closed.
    Stopped,
}

impl Broker {
    /// The broker is about to stop. From now on it begins no session and no request. Once all requests under way are
    /// answered, or `grace` is over, it closes every connection, and has no sessions any more.
    ///
    /// Clients are not told that their sessions are over: they look for a successor by themselves, as they do when a
    /// broker has crashed.
    pub fn stop(&mut self, now: Moment, grace: Duration) {
        self.now = now;
        self.phase = Phase::Stopping { until: now + grace };
        // Those without a connection can only come back to a successor.
        while let Some((_, key)) = self.sessions.next_expiry() {
            self.end(key, Ending::Stopping);
        }
        while let Some(connection) = self.logins.forget_any_connection() {
            self.outputs.push_back(Output::Close(connection));
        }
        self.end_grace(now);
    }

    pub(super) fn is_serving(&self) -> bool {
        self.phase == Phase::Serving
    }

    /// When requests under way have had their time.
    pub(super) fn grace_ends(&self) -> Option<Moment> {
        match self.phase {
            Phase::Stopping { until } => Some(until),
            Phase::Serving | Phase::Stopped => None,
        }
    }

    /// Closes all connections if the grace is over.
    pub(super) fn end_grace(&mut self, now: Moment) {
        if self.grace_ends().is_some_and(|until| until <= now) {
            self.close_all();
        }
    }

    /// Closes all connections if nobody waits for an answer any more.
    pub(super) fn close_if_settled(&mut self) {
        if self.grace_ends().is_some()
            && self.exchanges.awaited() == 0
            && self.turns.is_empty()
            && self.queues.is_empty()
        {
            self.close_all();
        }
    }

    fn close_all(&mut self) {
        self.phase = Phase::Stopped;
        let mut keys: Vec<_> = self.sessions.keys().collect();
        keys.sort_unstable();
        for key in keys {
            if let Some(connection) = self.sessions.get(key).and_then(|session| session.connection()) {
                self.outputs.push_back(Output::Close(connection.id));
            }
            // Who waits learns it from the end of its own connection.
            self.forget(key, Ending::Stopping);
        }
    }
}
