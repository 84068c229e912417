//! What is left to do when a session is over, or has lost its past: others are told of what it has not answered, and its
//! request handlers are taken out. Both may be thousands, so they are done a part at a time (`turns`).

use std::vec;

use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::ConversationId;

use super::exchanges::Exchange;
use super::parties::PartyKey;
use super::per_session::SessionKey;
use super::refusal::Failure;
use super::registry::Leftover;
use super::{Broker, cost};

/// What the sender is told of a request that waited for its recipient's connection in vain: nobody knows of it.
pub(super) const NEVER_DELIVERED: Failure<'_> = Failure::new(
    ErrorReason::CLUSTER_ROUTING,
    "the session that was to answer had no connection, and the request was not delivered",
);

/// What a session has not answered and will not, and whose senders are still to be told.
#[derive(Debug)]
pub(super) struct Failing {
    pub unanswered: vec::IntoIter<Exchange>,
    /// Of later conversations the client of the session knows nothing.
    pub last_asked: ConversationId,
    pub why: &'static str,
}

impl Broker {
    /// Takes out some of the request handlers of a session that is over; the others later.
    pub(super) fn take_out_some(&mut self, party: PartyKey, key: SessionKey, mut paths: Leftover) {
        let before = self.work;
        while self.work - before < cost::TURN / 4
            && let Some(path) = paths.next()
        {
            self.registry.take_out(key, &path);
            self.queues.mark_ready(&path);
            self.spend(cost::REGISTRATION);
        }
        if paths.len() > 0 {
            self.turns.take_out(party, key, paths);
        }
    }

    /// Tells everybody who waits for these answers of one session that they will not come. Of conversations after
    /// `last_asked` its client knows nothing.
    pub(super) fn fail(
        &mut self,
        party: PartyKey,
        key: SessionKey,
        unanswered: Vec<Exchange>,
        last_asked: ConversationId,
        why: &'static str,
    ) {
        self.fail_some(party, key, Failing { unanswered: unanswered.into_iter(), last_asked, why });
    }

    /// Tells some of those who wait for answers of one session that these will not come; the others later.
    pub(super) fn fail_some(&mut self, party: PartyKey, session: SessionKey, mut failing: Failing) {
        let before = self.work;
        let Failing { unanswered, last_asked, why } = &mut failing;
        while self.work - before < cost::TURN
            && let Some(exchange) = unanswered.next()
        {
            // Of conversations after the last that its client can know of, it knows nothing.
            let failure = if exchange.conversation <= *last_asked {
                Failure::new(ErrorReason::SESSION_CLOSED, why)
            } else {
                NEVER_DELIVERED
            };
            self.settle(&exchange, Err(failure));
        }
        if failing.unanswered.len() > 0 {
            self.turns.fail(party, session, failing);
        }
    }
}
