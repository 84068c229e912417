//! The calls of a session: what the program has asked for, and who waits for the outcome.

use std::collections::HashMap;

use antiphon_protocol::client::{CallId, FilterResponseReceived, RequestError, Response};
use futures_channel::{mpsc, oneshot};

use crate::latest::Latest;
use crate::lock::Ref;

/// The outcome of a call.
pub(crate) type Outcome = Result<Response, RequestError>;

/// The responses to a request that went to a session filter, or why no more will come.
pub(crate) type FilterOutcome = Result<FilterResponseReceived, RequestError>;

/// The open calls, each with whoever waits for it.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pending: HashMap<CallId, PendingCall>,
    last: u64,
    /// Nothing comes of a call any more.
    is_over: bool,
}

#[derive(Debug)]
enum PendingCall {
    Reply(oneshot::Sender<Outcome>),
    Responses {
        /// Until the number of them is known.
        count: Option<oneshot::Sender<Outcome>>,
        /// Bounded by that number: the core takes no more.
        responses: mpsc::UnboundedSender<FilterOutcome>,
    },
    Changes {
        /// Until there is the first outcome.
        first: Option<oneshot::Sender<Outcome>>,
        latest: Ref<Latest<Outcome>>,
    },
}

impl Calls {
    /// The number of a call that nobody waits for.
    pub fn number(&mut self) -> CallId {
        self.last += 1;
        CallId(self.last)
    }

    /// A call that comes to one outcome; none when the session is over.
    pub fn add(&mut self) -> Option<(CallId, oneshot::Receiver<Outcome>)> {
        self.add_as(PendingCall::Reply)
    }

    fn add_as(
        &mut self,
        pending: impl FnOnce(oneshot::Sender<Outcome>) -> PendingCall,
    ) -> Option<(CallId, oneshot::Receiver<Outcome>)> {
        if self.is_over {
            return None;
        }
        let id = self.number();
        let (reply, outcome) = oneshot::channel();
        self.pending.insert(id, pending(reply));
        Some((id, outcome))
    }

    /// A call to many, whose outcome is their number; responses follow.
    pub fn add_to_many(
        &mut self,
        responses: mpsc::UnboundedSender<FilterOutcome>,
    ) -> Option<(CallId, oneshot::Receiver<Outcome>)> {
        self.add_as(|count| PendingCall::Responses { count: Some(count), responses })
    }

    /// A call that comes to one outcome after the other, until one is an error.
    pub fn add_changing(&mut self, latest: Ref<Latest<Outcome>>) -> Option<(CallId, oneshot::Receiver<Outcome>)> {
        self.add_as(|first| PendingCall::Changes { first: Some(first), latest })
    }

    /// Nobody waits for this call any more. Whether somebody did.
    pub fn remove(&mut self, call: CallId) -> bool {
        self.pending.remove(&call).is_some()
    }

    /// Gives an outcome to whoever waits for it. Whoever has dropped the other end has abandoned the call as well, or is
    /// about to.
    pub fn end(&mut self, call: CallId, outcome: Outcome) {
        let reply = match self.pending.get_mut(&call) {
            Some(PendingCall::Responses { count, .. }) if outcome.is_ok() => count.take(),
            Some(PendingCall::Changes { first, latest }) if outcome.is_ok() => {
                latest.put(outcome.clone());
                first.take()
            }
            _ => match self.pending.remove(&call) {
                Some(PendingCall::Reply(reply)) => Some(reply),
                Some(PendingCall::Responses { count, .. }) => count,
                Some(PendingCall::Changes { first, latest }) => {
                    latest.put(outcome.clone());
                    first
                }
                None => None,
            },
        };
        if let Some(reply) = reply {
            let _ = reply.send(outcome);
        }
    }

    pub fn respond(&self, response: FilterResponseReceived) {
        if let Some(PendingCall::Responses { responses, .. }) = self.pending.get(&response.call) {
            let _ = responses.unbounded_send(Ok(response));
        }
    }

    /// No more responses will come.
    pub fn end_responses(&mut self, call: CallId, outcome: Result<(), RequestError>) {
        if let (Some(PendingCall::Responses { responses, .. }), Err(error)) = (self.pending.remove(&call), outcome) {
            let _ = responses.unbounded_send(Err(error));
        }
    }

    /// The session is over: those who still wait are told by the end of their channels.
    pub fn close(&mut self) {
        self.is_over = true;
        for (_, call) in self.pending.drain() {
            if let PendingCall::Changes { latest, .. } = call {
                latest.end();
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.pending.len()
    }
}
