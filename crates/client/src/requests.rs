//! Requests of other sessions, and the handlers that answer them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use antiphon_protocol::client::{HandlerId, ReceivedRequest, RequestId, Sender};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::MAX_DETAILS_BYTES;
use futures_util::future::{AbortHandle, AbortRegistration};
use serde::{Deserialize, Serialize};

use crate::metadata::{self, Metadata};
use crate::platform::{self, BoxFuture, SharedFn};
use crate::value::{Value, ValueError};

/// A request, as its handler is given it.
#[derive(Clone, Debug)]
pub struct Request {
    path: String,
    sender: Option<Sender>,
    value: Value,
    /// When the sender stops waiting.
    deadline: Option<Moment>,
    key: Option<String>,
    metadata: Metadata,
}

impl Request {
    /// The message path, as it was sent to.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who asks, with the session properties that the handler was registered for. The server says so only where it chose
    /// the handler: not if the request was addressed to this session.
    #[must_use]
    pub fn sender(&self) -> Option<&Sender> {
        self.sender.as_ref()
    }

    /// How long the sender still waits for the answer; none if it did not say. Then the handler's future is dropped.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        Some(self.deadline()?.since(platform::now()))
    }

    /// The idempotency key under which the sender may send the request again, if it named one: [`Ask::idempotency_key`].
    ///
    /// [`Ask::idempotency_key`]: crate::Ask::idempotency_key
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// What the sender says beside the request, by key; `traceparent` and `tracestate` are the W3C trace context.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// When the sender stops waiting.
    pub(crate) fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// What is asked.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What is asked.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }

    /// What is asked, as a type of the program: [`Value::decode`].
    ///
    /// # Errors
    ///
    /// [`ValueError`]; with `?` in a handler it becomes an answer that says so.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ValueError> {
        self.value.decode()
    }
}

impl From<ReceivedRequest> for Request {
    fn from(request: ReceivedRequest) -> Self {
        let deadline = request.time_left.map(|left| platform::now() + left);
        let ReceivedRequest { path, sender, request, key, metadata, .. } = request;
        Self { path, sender, value: request.into(), deadline, key, metadata: metadata::read(metadata) }
    }
}

/// A handler's refusal to answer. The sender gets it as an error whose outcome is `failed`.
///
/// ```
/// # use antiphon_client::{Rejection, Request};
/// async fn half(request: Request) -> Result<u32, Rejection> {
///     let number: u32 = request.decode()?;
///     if number % 2 == 1 {
///         return Err(Rejection::new("only even numbers have a half"));
///     }
///     Ok(number / 2)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub(crate) reason: ErrorReason,
    pub(crate) text: String,
    /// In wire form; empty for none.
    pub(crate) details: Vec<u8>,
}

impl Rejection {
    /// The request is rejected, for a reason that the one who asks should read: `REJECTED_REQUEST`. At most 1024
    /// characters of it travel.
    pub fn new(text: impl Into<String>) -> Self {
        Self::with_reason(ErrorReason::REJECTED_REQUEST, text)
    }

    /// The request is refused with another reason.
    pub fn with_reason(reason: ErrorReason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into(), details: Vec::new() }
    }

    /// With what the one who asks may want to know besides, whatever serde can serialise, at most 64 KiB of it:
    /// [`RequestError::details`]. Dropped where server or asker do not know of details. If it cannot be sent, the text says so.
    ///
    /// ```
    /// # use antiphon_client::Rejection;
    /// let rejection = Rejection::new("sold out").with_details(&[("tea", 0), ("coffee", 2)]);
    /// ```
    ///
    /// [`RequestError::details`]: crate::RequestError::details
    #[must_use]
    pub fn with_details(mut self, details: &(impl Serialize + ?Sized)) -> Self {
        let most = format!("they have more than {MAX_DETAILS_BYTES} bytes");
        match Value::json(details).map(Value::into_bytes) {
            Ok(bytes) if bytes.len() <= MAX_DETAILS_BYTES => self.details = bytes,
            unsendable => {
                let why = unsendable.map_or_else(|error| error.to_string(), |_| most);
                self.text = format!("{} (details were left out: {why})", self.text);
            }
        }
        self
    }
}

impl<E: std::error::Error + 'static> From<E> for Rejection {
    /// The handler failed: `CALLBACK_EXCEPTION` with what the error says; of a value that is not what the handler wants,
    /// `INVALID_DATA` or `INCOMPATIBLE_DATATYPE`.
    fn from(error: E) -> Self {
        let value_error = (&error as &dyn std::error::Error).downcast_ref::<ValueError>();
        let reason = value_error.map_or(ErrorReason::CALLBACK_EXCEPTION, ValueError::reason);
        Self::with_reason(reason, error.to_string())
    }
}

/// A handler's answer to a request.
pub(crate) type Answer = Result<Value, Rejection>;

/// A function of the program that answers requests.
pub(crate) type HandlerFn = SharedFn<Request, BoxFuture<Answer>>;

/// The handlers of a session, and the requests that they are answering.
#[derive(Default)]
pub(crate) struct Handlers {
    handlers: HashMap<HandlerId, Handler>,
    last: u64,
    /// Those that have not been answered.
    requests: HashMap<RequestId, Progress>,
    is_over: bool,
}

pub(crate) struct Handler {
    path: String,
    is_registered: bool,
    /// Is chosen no more, and goes when it has answered what it was given before.
    is_removed: bool,
    answer: HandlerFn,
    max_concurrent: usize,
    running: usize,
    /// Those that wait for their turn, in the order in which they came.
    waiting: BTreeMap<RequestId, Request>,
}

/// How far a request is.
enum Progress {
    /// For its turn at this handler.
    Waiting(HandlerId),
    /// By a task that this ends.
    BeingAnswered(AbortHandle),
}

/// A request whose turn it is.
pub(crate) struct Turn {
    pub handler: HandlerId,
    pub id: RequestId,
    pub request: Request,
    pub answer: HandlerFn,
    /// Ends the answering when the answer can no longer be delivered, even if that happens before it begins.
    pub abort: AbortRegistration,
}

impl Handlers {
    /// A handler that the core may choose from now on; none when the session is over.
    pub fn add(
        &mut self,
        path: &str,
        is_registered: bool,
        max_concurrent: usize,
        answer: HandlerFn,
    ) -> Option<HandlerId> {
        if self.is_over {
            return None;
        }
        self.last += 1;
        let id = HandlerId(self.last);
        let (path, waiting) = (path.to_owned(), BTreeMap::new());
        self.handlers.insert(
            id,
            Handler { path, is_registered, is_removed: false, answer, max_concurrent, running: 0, waiting },
        );
        Some(id)
    }

    /// A handler is chosen no more. Returns the path of one that was registered, and what the caller has to drop, outside
    /// of any lock.
    pub fn remove(&mut self, id: HandlerId) -> (Option<String>, Option<Handler>) {
        let Some(handler) = self.handlers.get_mut(&id) else { return (None, None) };
        handler.is_removed = true;
        let path = handler.is_registered.then(|| handler.path.clone());
        (path, self.take_if_done(id))
    }

    fn take_if_done(&mut self, id: HandlerId) -> Option<Handler> {
        let is_done = self.handlers.get(&id).is_some_and(|handler| handler.is_removed && handler.running == 0);
        if is_done { self.handlers.remove(&id) } else { None }
    }

    /// A request has arrived. Returns it if its turn is now; its path if there is no such handler any more.
    pub fn receive(&mut self, id: RequestId, chosen: HandlerId, request: Request) -> Result<Option<Turn>, String> {
        let Some(handler) = self.handlers.get_mut(&chosen) else { return Err(request.path) };
        if handler.running >= handler.max_concurrent {
            handler.waiting.insert(id, request);
            self.requests.insert(id, Progress::Waiting(chosen));
            return Ok(None);
        }
        handler.running += 1;
        let answer = handler.answer.clone();
        Ok(Some(self.begin(chosen, id, request, answer)))
    }

    /// It is the turn of a request.
    fn begin(&mut self, handler: HandlerId, id: RequestId, request: Request, answer: HandlerFn) -> Turn {
        let (handle, abort) = AbortHandle::new_pair();
        self.requests.insert(id, Progress::BeingAnswered(handle));
        Turn { handler, id, request, answer, abort }
    }

    /// A request is answered, or not to be answered any more. Returns the one whose turn it is then, and what the caller
    /// has to drop, outside of any lock.
    pub fn finish(&mut self, id: RequestId, chosen: HandlerId) -> (Option<Turn>, Option<Handler>) {
        self.requests.remove(&id);
        let Some(handler) = self.handlers.get_mut(&chosen) else { return (None, None) };
        if let Some((id, request)) = handler.waiting.pop_first() {
            let answer = handler.answer.clone();
            return (Some(self.begin(chosen, id, request, answer)), None);
        }
        handler.running -= 1;
        (None, self.take_if_done(chosen))
    }

    /// The answer to a request can no longer be delivered.
    pub fn abandon(&mut self, id: RequestId) {
        match self.requests.remove(&id) {
            Some(Progress::BeingAnswered(abort)) => abort.abort(),
            Some(Progress::Waiting(handler)) => {
                if let Some(handler) = self.handlers.get_mut(&handler) {
                    handler.waiting.remove(&id);
                }
            }
            None => {}
        }
    }

    /// The session is over. What the program gave us is dropped by the caller, outside of any lock.
    pub fn close(&mut self) -> impl Sized + use<> {
        self.is_over = true;
        for (_, progress) in self.requests.drain() {
            if let Progress::BeingAnswered(abort) = progress {
                abort.abort();
            }
        }
        std::mem::take(&mut self.handlers)
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("handlers", &self.handlers.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::primitives::SessionId;

    use super::*;
    use crate::lock::Ref;

    fn request() -> Request {
        let sender = Sender { session: SessionId { server: 1, value: 2 }, properties: Vec::new() };
        Request {
            path: "a".to_owned(),
            sender: Some(sender),
            value: Value::int64(1),
            deadline: None,
            key: None,
            metadata: Metadata::new(),
        }
    }

    /// One handler that answers one request at a time, and three requests.
    fn busy() -> (Handlers, HandlerId) {
        let mut handlers = Handlers::default();
        let answer: HandlerFn = Ref::new(|_| Box::pin(async { Ok(Value::int64(2)) }));
        let handler = handlers.add("a", true, 1, answer).expect("open");
        assert!(handlers.receive(RequestId(1), handler, request()).is_ok_and(|turn| turn.is_some()));
        for id in 2..=3 {
            assert!(handlers.receive(RequestId(id), handler, request()).is_ok_and(|turn| turn.is_none()));
        }
        (handlers, handler)
    }

    #[test]
    fn a_request_that_is_abandoned_before_its_turn_never_has_one() {
        let (mut handlers, handler) = busy();
        handlers.abandon(RequestId(2));
        let (turn, _) = handlers.finish(RequestId(1), handler);
        assert_eq!(turn.map(|turn| turn.id), Some(RequestId(3)));
        let (turn, _) = handlers.finish(RequestId(3), handler);
        assert!(turn.is_none());
    }

    #[test]
    fn a_request_that_is_abandoned_before_its_answering_begins_is_not_answered() {
        let (mut handlers, handler) = busy();
        let (turn, _) = handlers.finish(RequestId(1), handler);
        let second = turn.expect("the next one").abort.handle();
        handlers.abandon(RequestId(2));
        assert!(second.is_aborted());
        let (turn, _) = handlers.finish(RequestId(2), handler);
        let third = turn.expect("the last one").abort.handle();
        assert!(!third.is_aborted());
        drop(handlers.close());
        assert!(third.is_aborted());
    }

    #[test]
    fn a_handler_that_is_removed_answers_what_it_was_given_before() {
        let (mut handlers, handler) = busy();
        let (path, gone) = handlers.remove(handler);
        assert_eq!((path.as_deref(), gone.is_some()), (Some("a"), false));
        for id in 2..=3 {
            let (turn, gone) = handlers.finish(RequestId(id - 1), handler);
            assert_eq!((turn.map(|turn| turn.id), gone.is_some()), (Some(RequestId(id)), false));
        }
        let (turn, gone) = handlers.finish(RequestId(3), handler);
        assert!(turn.is_none() && gone.is_some());
        assert!(handlers.receive(RequestId(4), handler, request()).is_err());
    }
}
