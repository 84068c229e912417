//! The state of a session, shared by its handles and its task.
//!
//! Handles change the core and raise the signal; the task carries out what the core wants done. So whatever is asked for
//! at the same time is written together, in the order in which the core was told.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon_protocol::client::{CallId, ClientSession, Closed, HandlerId, RequestId, Response};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::SessionId;
use futures_channel::{mpsc, oneshot};
use futures_util::FutureExt;
use futures_util::future::{Abortable, Shared as SharedFuture};

use crate::calls::{Calls, FilterOutcome, Outcome};
use crate::driver::Driver;
use crate::error::RequestError;
use crate::events::Listeners;
use crate::latest::Latest;
use crate::lock::{Lock, Ref};
use crate::options::Options;
use crate::platform::{self, SharedFn, Spawner};
use crate::requests::{Answer, Handlers, Rejection, Turn};
use crate::responses::FilterResponse;
use crate::signal::Signal;

/// The state of a session, shared by its handles and its task.
pub(crate) struct Shared {
    pub driver: Driver,
    pub changed: Signal,
    pub calls: Lock<Calls>,
    pub handlers: Lock<Handlers>,
    /// For the responses to requests that are sent to exactly this filter. None when the session is over.
    pub filter_handlers: Lock<Option<HashMap<String, SharedFn<FilterResponse, ()>>>>,
    pub listeners: Listeners,
    pub identity: Lock<Identity>,
    /// Settles when the session is over.
    pub closed: SharedFuture<oneshot::Receiver<Closed>>,
    pub request_timeout: Duration,
    pub spawner: Spawner,
}

/// The identity of a session.
pub(crate) struct Identity {
    /// None before it is open.
    pub session: Option<SessionId>,
    pub principal: Option<String>,
    /// How often the principal has begun to change, or has changed.
    pub changes: u64,
}

impl Shared {
    pub fn new(address: String, options: &Options, closed: oneshot::Receiver<Closed>) -> Self {
        let config = options.config.clone();
        Self {
            identity: Lock::new(Identity { session: None, principal: config.principal.clone(), changes: 0 }),
            request_timeout: config.request_timeout,
            driver: Driver::new(address, config),
            changed: Signal::default(),
            calls: Lock::default(),
            handlers: Lock::default(),
            filter_handlers: Lock::new(Some(HashMap::new())),
            listeners: Listeners::default(),
            closed: closed.shared(),
            spawner: Spawner::here(),
        }
    }

    /// Changes the core; the task carries out what follows from it.
    pub fn change(&self, change: impl FnOnce(&mut ClientSession, Moment)) {
        let now = platform::now();
        self.driver.with_core(|core| change(core, now));
        self.changed.raise();
    }

    /// Starts a call that comes to one outcome.
    ///
    /// # Errors
    ///
    /// If the session is over.
    pub fn call(
        self: &Ref<Self>,
        start: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Result<Call, RequestError> {
        let added = self.calls.get().add();
        self.start(added, start)
    }

    /// Starts a call to many, whose outcome is their number; responses follow.
    ///
    /// # Errors
    ///
    /// If the session is over.
    pub fn call_many(
        self: &Ref<Self>,
        start: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Result<(Call, mpsc::UnboundedReceiver<FilterOutcome>), RequestError> {
        let (responses, received) = mpsc::unbounded();
        let added = self.calls.get().add_to_many(responses);
        Ok((self.start(added, start)?, received))
    }

    /// Starts a call that comes to one outcome after the other: each is the latest until it is taken.
    ///
    /// # Errors
    ///
    /// If the session is over.
    pub fn call_changing(
        self: &Ref<Self>,
        start: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Result<(Call, Ref<Latest<Outcome>>), RequestError> {
        let latest = Ref::new(Latest::default());
        let added = self.calls.get().add_changing(latest.clone());
        Ok((self.start(added, start)?, latest))
    }

    fn start(
        self: &Ref<Self>,
        added: Option<(CallId, oneshot::Receiver<Outcome>)>,
        start: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Result<Call, RequestError> {
        let (id, outcome) = added.ok_or_else(|| RequestError::closed(false))?;
        self.change(|core, now| start(core, now, id));
        Ok(Call { shared: self.clone(), id, outcome })
    }

    /// Takes a handler out, which the core chooses no more. Returns its path if it was registered.
    pub fn forget_handler(&self, handler: HandlerId) -> Option<String> {
        // What the program gave us is dropped when nothing is locked: it may be a session.
        let (path, _handler) = {
            let mut handlers = self.handlers.get();
            handlers.remove(handler)
        };
        path
    }

    /// Answers a request whose turn it is, in a task of its own. It is dropped when its answer can no longer be delivered.
    pub fn answer(self: &Ref<Self>, turn: Turn) {
        let Turn { handler, id, request, answer, abort } = turn;
        let shared = self.clone();
        self.spawner.spawn(async move {
            // A handler that panics has failed; the session has not.
            let answering = AssertUnwindSafe(async move { answer(request).await }).catch_unwind();
            if let Ok(answer) = Abortable::new(answering, abort).await {
                let failed =
                    || Err(Rejection::with_reason(ErrorReason::CALLBACK_EXCEPTION, "the request handler failed"));
                shared.respond(id, &answer.unwrap_or_else(|_| failed()));
            }
            let (next, _handler) = {
                let mut handlers = shared.handlers.get();
                handlers.finish(id, handler)
            };
            if let Some(turn) = next {
                shared.answer(turn);
            }
        });
    }

    pub fn respond(&self, id: RequestId, answer: &Answer) {
        self.change(|core, _| match answer {
            Ok(value) => core.respond(id, Ok(value.as_wire())),
            Err(Rejection { reason, text, details }) => core.respond(id, Err((*reason, text, details))),
        });
    }

    /// The session is over: whoever waits is told, and what the program gave us is dropped.
    pub fn end(&self) {
        self.calls.get().close();
        let handlers = self.handlers.get().close();
        drop(handlers);
        let filter_handlers = self.filter_handlers.get().take();
        drop(filter_handlers);
        self.listeners.end();
    }
}

/// A call that somebody waits for. When it is dropped before its end, it is abandoned.
pub(crate) struct Call {
    shared: Ref<Shared>,
    id: CallId,
    outcome: oneshot::Receiver<Outcome>,
}

impl Future for Call {
    type Output = Result<Response, RequestError>;

    /// The outcome. Of a call to many it is not the end.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The task ends without a word when the runtime stops.
        let outcome = std::task::ready!(self.outcome.poll_unpin(context));
        Poll::Ready(outcome.map_or_else(|_| Err(RequestError::closed(true)), |outcome| outcome.map_err(Into::into)))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let was_waited_for = self.shared.calls.get().remove(self.id);
        if was_waited_for {
            self.shared.change(|core, _| core.abandon(self.id));
        }
    }
}
