//! The places of handlers that take so many requests at a time: a request waits while none is free, and is delivered when one
//! is (section 18.9).

use std::sync::Arc;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::Headers;
use antiphon_protocol::wire::layouts::SendToPath;

use super::exchanges::Exchange;
use super::path::NormalPath;
use super::per_session::SessionKey;
use super::queues::{Taken, Waiting};
use super::refusal::{Failure, Refusal};
use super::routing::NotTaken;
use super::serve::Asker;
use super::{Broker, cost};

const HANDLERS_ARE_FULL: Failure<'_> = Failure::new(
    ErrorReason::BUSY,
    "the request handlers have as many requests to answer as they may have, try again later",
);
pub(super) const NO_PLACE_IN_TIME: Failure<'_> = Failure::new(
    ErrorReason::REQUEST_TIME_OUT,
    "the request handlers had as many requests as they take until the time for this one was over",
);

impl Broker {
    /// Lets a request wait for a place at a handler that is registered at `at`, unless `most` do.
    pub(super) fn wait_for_place(&mut self, waiting: Waiting, at: &Arc<str>, most: u64) -> Result<(), Refusal> {
        if self.queues.len_at(at) as u64 >= most {
            return Err(HANDLERS_ARE_FULL.into());
        }
        self.check_waiting(waiting.len())?;
        self.queues.push(at, waiting);
        Ok(())
    }

    /// An exchange is closed, or its recipient is told that nobody waits for it: somebody else may have its place.
    pub(super) fn is_closed(&mut self, exchange: &Exchange) {
        if exchange.takes_place
            && let Some(path) = &exchange.registered
        {
            self.registry.bring_forward_at(exchange.recipient, path);
            self.queues.mark_ready(path);
        }
    }

    /// A session has less to answer than before, or a connection again: it may be chosen as a handler again.
    pub(super) fn has_more_room(&mut self, recipient: SessionKey) {
        if self.registry.is_set_back(recipient) && !self.is_full(recipient) {
            self.registry.bring_forward(recipient, |path| self.queues.mark_ready(path));
        }
    }

    /// Delivers what waited for places that are free now; what takes too long is done later.
    pub(super) fn serve_queues(&mut self, now: Moment) {
        let before = self.work;
        while let Some(path) = self.queues.pop_ready() {
            while let Some(taken) = self.queues.take(&path) {
                self.spend(cost::REQUEST);
                if let Some(taken) = self.deliver_waiting(now, taken) {
                    self.queues.put_back(taken);
                    break;
                }
                if self.work - before >= cost::TURN {
                    return self.queues.mark_ready(&path);
                }
            }
        }
    }

    /// Delivers a request that has waited, or tells its sender that it is not; returns it if it has to go on waiting.
    fn deliver_waiting(&mut self, now: Moment, mut taken: Taken) -> Option<Taken> {
        let Waiting { asker, deadline, headers, body, name } = &mut taken.waiting;
        let asker = Asker { now, ..*asker };
        if *deadline <= now {
            self.refuse(asker, &NO_PLACE_IN_TIME.into());
            return None;
        }
        // Both were read before it was made to wait.
        let request = decode_all::<SendToPath<'_>>(body).ok()?;
        let path = NormalPath::new(request.path).ok()?;
        let headers = Headers::of(headers);
        let refusal = match self.hand_out(asker, &headers, path, &request, name, None) {
            Ok(()) => return None,
            Err(NotTaken::AllFull(at, _)) if at == taken.path => return Some(taken),
            // There is another handler by now, or none.
            Err(NotTaken::AllFull(at, most)) => {
                let deadline = asker.deadline(self.config.timeout_for(path));
                self.wait_for_place(Waiting { asker, deadline, ..taken.waiting }, &at, most).err()
            }
            Err(NotTaken::Refused(refusal)) => Some(refusal),
        };
        if let Some(refusal) = refusal {
            self.refuse(asker, &refusal);
        }
        None
    }
}
