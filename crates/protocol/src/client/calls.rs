//! Calls: what the application asked of the session and waits for, each with its deadline and what it does with the answer.

use std::time::Duration;

use super::deadlines::Deadlines;
use super::error::RequestError;
use super::ids::{CallId, HandlerId};
use crate::conversation::Conversations;
use crate::numbered::Numbered;
use crate::time::Moment;
use crate::value::Value;
use crate::wire::primitives::ConversationId;

/// The response to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The recipient's response.
    Value(Value),
    /// The number of sessions that a session filter matches; each of them has been sent the request.
    Matched(u32),
    /// The body of a response to a service request that the application put together itself.
    Body(Vec<u8>),
    /// The request handler is registered.
    Registered,
    /// The registration is gone.
    Deregistered,
    /// The server answered a ping after this time.
    Pong(Duration),
    /// The session's own properties.
    Properties(Vec<(String, String)>),
    /// Whether the session has another principal now.
    PrincipalChanged(bool),
    /// The handlers that a request to a path would go to; none if nobody handles it.
    Handlers(Option<HandlersAt>),
}

/// The handlers that a request would go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandlersAt {
    /// The path that they are registered at, e.g. `orders` for a request to `orders/eu`.
    pub path: String,
    /// How many there are; at least one.
    pub handlers: u32,
}

/// How long a call may take, from its beginning to the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Everything included.
    pub timeout: Duration,
    /// Whether it waits for a connection while there is none, instead of failing at once.
    pub wait: bool,
}

impl From<Duration> for Patience {
    /// Does not wait for a connection.
    fn from(timeout: Duration) -> Self {
        Self { timeout, wait: false }
    }
}

/// A call that has not come to its end.
#[derive(Debug)]
pub(super) struct Call {
    pub started: Moment,
    pub timeout: Duration,
    pub purpose: Purpose,
    /// Where its answer comes. None if it is not read from one: registrations say what becomes of theirs.
    pub conversation: Option<ConversationId>,
    /// What it is to send on the next connection: while it waits for one, or, of a watch, on each. Nothing yet of a
    /// registration, which may wait for its turn too.
    pub unsent: Option<Vec<u8>>,
}

/// What a call is for, which decides how it ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A request: one of those that are counted when messages are lost.
    Request(ReadResponse),
    /// A question to the server about this session.
    Query(ReadResponse),
    /// A request to a session filter; the first answer is the number of those that will come.
    Filter {
        /// Of sessions that matched, as soon as the server has said so.
        expected: Option<u32>,
        /// Answers and errors that have come.
        received: u32,
    },
    /// This request handler is to be registered.
    Registration(HandlerId),
    /// The registration of a request handler is to be taken back.
    Deregistration,
    /// The handlers of a path are watched; its answers are as many as there are changes.
    Watch {
        /// Whether the first one has come. It has no deadline then.
        is_answered: bool,
    },
}

/// Reads the body of a response, which came after this time.
pub(super) type ReadResponse = fn(&[u8], Duration) -> Result<Response, RequestError>;

impl Call {
    pub fn new(now: Moment, timeout: Duration, purpose: Purpose, conversation: Option<ConversationId>) -> Self {
        Self { started: now, timeout, purpose, conversation, unsent: None }
    }

    /// Whether it is one request of the application.
    pub fn is_request(&self) -> bool {
        matches!(self.purpose, Purpose::Request(_) | Purpose::Filter { .. })
    }

    /// Whether the server has not got it.
    pub fn is_unsent(&self) -> bool {
        self.unsent.is_some() && !matches!(self.purpose, Purpose::Watch { .. })
    }

    fn deadline(&self) -> Moment {
        self.started + self.timeout
    }

    /// Whether it waits for too long when its deadline has come.
    fn has_deadline(&self) -> bool {
        !matches!(self.purpose, Purpose::Watch { is_answered: true })
    }
}

/// Calls that may have something to send on the next connection at the same time.
const MAX_UNSENT: usize = 10_000;

/// All open calls.
#[derive(Debug, Default)]
pub(super) struct Calls {
    calls: Numbered<Call>,
    /// Whose answer comes in which conversation.
    conversations: Conversations<CallId>,
    deadlines: Deadlines,
    /// How many have something to send on the next connection.
    unsent: usize,
}

impl Calls {
    /// An ID for a conversation with the server.
    pub fn next_conversation(&mut self) -> ConversationId {
        self.conversations.next_id()
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether one more may wait for a connection.
    pub fn may_wait(&self) -> bool {
        self.unsent < MAX_UNSENT
    }

    /// Adds a call, unless there is one with this ID.
    pub fn open(&mut self, id: CallId, call: Call) {
        let (deadline, conversation, is_unsent) = (call.deadline(), call.conversation, call.unsent.is_some());
        if self.calls.insert(id.0, call) {
            self.deadlines.add(deadline, id.0);
            self.unsent += usize::from(is_unsent);
            if let Some(conversation) = conversation {
                self.conversations.open(conversation, id);
            }
        }
    }

    /// Takes a call out; nothing if it has come to its end.
    pub fn end(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(id.0)?;
        self.unsent -= usize::from(call.unsent.is_some());
        if let Some(conversation) = call.conversation {
            self.conversations.close(conversation);
        }
        self.deadlines.tidy(self.calls.len(), &|id| self.calls.get(id).is_some());
        Some(call)
    }

    /// The call that is answered in a conversation.
    pub fn in_conversation(&self, conversation: ConversationId) -> Option<CallId> {
        self.conversations.get(conversation).copied()
    }

    /// What a call is for, and how far it is.
    pub fn purpose_mut(&mut self, id: CallId) -> Option<&mut Purpose> {
        self.calls.get_mut(id.0).map(|call| &mut call.purpose)
    }

    /// The IDs of all, in their order.
    pub fn ids(&self) -> Vec<u64> {
        self.calls.numbers()
    }

    /// Whether a call has something to send on the next connection.
    pub fn is_kept(&self, id: CallId) -> bool {
        self.calls.get(id.0).is_some_and(|call| call.unsent.is_some())
    }

    /// What a call is to send on a connection that is there now, if anything, and when its time is over. It waits for its
    /// answer from now on.
    pub fn take_unsent(&mut self, id: CallId) -> Option<(Vec<u8>, Moment)> {
        let call = self.calls.get_mut(id.0)?;
        let frame = match call.purpose {
            Purpose::Watch { .. } => call.unsent.clone()?,
            _ => {
                let frame = call.unsent.take()?;
                self.unsent -= 1;
                frame
            }
        };
        Some((frame, call.deadline()))
    }

    /// When the next one has waited for too long.
    pub fn next_deadline(&mut self) -> Option<Moment> {
        Some(self.next()?.0)
    }

    fn next(&mut self) -> Option<(Moment, u64)> {
        self.deadlines.next(&|id| self.calls.get(id).is_some_and(Call::has_deadline))
    }

    /// Takes out the one that [`Self::next_deadline`] is about.
    pub fn end_next(&mut self) -> Option<(CallId, Call)> {
        let id = CallId(self.next()?.1);
        Some((id, self.end(id)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Purpose = Purpose::Query(|_, _| Ok(Response::Registered));

    fn call(calls: &mut Calls, id: u64, timeout: u64, unsent: Option<Vec<u8>>) -> ConversationId {
        let conversation = calls.next_conversation();
        let call = Call::new(Moment(0), Duration::from_micros(timeout), READ, Some(conversation));
        calls.open(CallId(id), Call { unsent, ..call });
        conversation
    }

    #[test]
    fn the_call_that_is_due_first_is_the_next_of_those_that_have_not_ended() {
        let mut calls = Calls::default();
        for id in 1..=1000 {
            call(&mut calls, id, id, None);
        }
        for id in 1..=999 {
            assert!(calls.end(CallId(id)).is_some());
        }
        assert_eq!(calls.next_deadline(), Some(Moment(1000)));
        assert_eq!(calls.end_next().map(|(id, _)| id), Some(CallId(1000)));
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn a_call_waits_for_a_connection_until_it_is_sent_and_then_for_its_answer() {
        let mut calls = Calls::default();
        let answered = call(&mut calls, 1, 10, None);
        let waiting = call(&mut calls, 2, 10, Some(vec![2]));
        assert_eq!(
            (calls.in_conversation(answered), calls.in_conversation(waiting)),
            (Some(CallId(1)), Some(CallId(2)))
        );
        assert_eq!((calls.is_kept(CallId(1)), calls.is_kept(CallId(2)), calls.unsent), (false, true, 1));
        let second = (vec![2], Moment(10));
        assert_eq!((calls.take_unsent(CallId(1)), calls.take_unsent(CallId(2))), (None, Some(second)));
        assert_eq!((calls.ids(), calls.unsent), (vec![1, 2], 0));
        for id in [1, 2] {
            assert!(calls.end(CallId(id)).is_some());
        }
        assert_eq!((calls.in_conversation(answered), calls.len(), calls.next_deadline()), (None, 0, None));
    }
}
