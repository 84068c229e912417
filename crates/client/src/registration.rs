//! Registers handlers, and takes them back.

use std::fmt;
use std::future::{IntoFuture, ready};
use std::time::Duration;

use antiphon_protocol::client::{HandlerId, HandlerSettings, Response};

use crate::error::{RequestError, unexpected};
use crate::handle::Handle;
use crate::lock::Ref;
use crate::options::WhenDisconnected;
use crate::platform::BoxFuture;
use crate::requests::HandlerFn;
use crate::responses::ResponseFn;
use crate::shared::Call;

/// A request handler that is to be registered; awaited, its registration.
#[must_use = "a handler is registered when this is awaited"]
pub struct AddRequestHandler {
    handle: Ref<Handle>,
    path: String,
    handler: HandlerFn,
    max_concurrent: usize,
    settings: HandlerSettings,
}

impl AddRequestHandler {
    pub(crate) fn new(handle: Ref<Handle>, path: &str, handler: HandlerFn) -> Self {
        let settings = HandlerSettings::default();
        Self { handle, path: path.to_owned(), handler, max_concurrent: usize::MAX, settings }
    }

    /// Session properties of whoever asks that come with each request; they are in [`Request::sender`].
    ///
    /// [`Request::sender`]: crate::Request::sender
    pub fn session_properties(mut self, keys: &[&str]) -> Self {
        self.settings.property_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self
    }

    /// How many requests are answered at the same time. A server that counts them sends no more, and tells whoever asks
    /// meanwhile that all are busy, unless [`Self::max_queued`] lets them wait; from other servers further ones wait here,
    /// in order. Default: as many as come.
    pub fn max_concurrent(mut self, requests: usize) -> Self {
        self.max_concurrent = requests.max(1);
        // More than can be said are as many as come.
        self.settings.max_concurrent = u32::try_from(self.max_concurrent).unwrap_or(0);
        self
    }

    /// How many requests may wait at the server while all handlers of the path answer as many as they take. Default: 0.
    pub fn max_queued(mut self, requests: u32) -> Self {
        self.settings.max_queued = requests;
        self
    }

    /// Whether it is registered again when messages were lost or the session is a new one. Default: yes.
    pub fn reregister(mut self, reregister: bool) -> Self {
        self.settings.reregister = reregister;
        self
    }

    /// Whether it also answers requests that are addressed to this session, by its ID or by a filter, at exactly its path.
    /// Default: no.
    pub fn addressed(mut self, addressed: bool) -> Self {
        self.settings.addressed = addressed;
        self
    }

    /// How long it may take for an answer. Then the one who asks is told `REQUEST_TIME_OUT`, and the handler's future is
    /// dropped. Default: a minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// What to do while there is no connection; it may wait for the request timeout of the options. Default: fail.
    pub fn when_disconnected(mut self, what: WhenDisconnected) -> Self {
        self.settings.wait = what == WhenDisconnected::Wait;
        self
    }
}

impl IntoFuture for AddRequestHandler {
    type Output = Result<Registration, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { handle, path, handler, max_concurrent, settings } = self;
            let added = handle.shared.handlers.get().add(&path, true, max_concurrent, handler);
            let id = added.ok_or_else(|| RequestError::closed(false))?;
            let registering = Registering { handle, id, is_done: false };
            let call = registering.handle.shared.call(|core, now, call| {
                core.register_handler(now, call, id, &path, settings);
            })?;
            match call.await? {
                Response::Registered => Ok(registering.done(path)),
                _ => Err(unexpected()),
            }
        })
    }
}

/// A request handler that is being registered. Taken back when it is dropped before it is done.
struct Registering {
    handle: Ref<Handle>,
    id: HandlerId,
    is_done: bool,
}

impl Registering {
    fn done(mut self, path: String) -> Registration {
        self.is_done = true;
        Registration { handle: self.handle.clone(), path, id: self.id, is_registered: true }
    }
}

impl Drop for Registering {
    fn drop(&mut self) {
        if !self.is_done {
            let shared = &self.handle.shared;
            let call = shared.calls.get().number();
            // If it is registered, or may be. Nobody waits for what comes of it.
            shared.change(|core, now| core.deregister_handler(now, call, self.id));
            shared.forget_handler(self.id);
        }
    }
}

/// A stream handler that is to be added; awaited, its registration.
#[must_use = "a handler is added when this is awaited"]
pub struct AddStreamHandler {
    handle: Ref<Handle>,
    path: String,
    handler: HandlerFn,
    max_concurrent: usize,
    addressed: bool,
    timeout: Duration,
}

impl AddStreamHandler {
    pub(crate) fn new(handle: Ref<Handle>, path: &str, handler: HandlerFn) -> Self {
        let timeout = HandlerSettings::default().timeout;
        Self { handle, path: path.to_owned(), handler, max_concurrent: usize::MAX, addressed: false, timeout }
    }

    /// How many requests are answered at the same time; further ones wait, in order. Default: as many as come.
    pub fn max_concurrent(mut self, requests: usize) -> Self {
        self.max_concurrent = requests.max(1);
        self
    }

    /// Whether it answers requests that are addressed to this session, by its ID or by a filter, and no others. Default:
    /// no.
    pub fn addressed(mut self, addressed: bool) -> Self {
        self.addressed = addressed;
        self
    }

    /// How long it may take for an answer. Then the one who asks is told `REQUEST_TIME_OUT`, and the handler's future is
    /// dropped. Default: a minute.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    fn add(self) -> Result<Registration, RequestError> {
        let Self { handle, path, handler, max_concurrent, addressed, timeout } = self;
        let added = handle.shared.handlers.get().add(&path, false, max_concurrent, handler);
        let id = added.ok_or_else(|| RequestError::closed(false))?;
        handle.shared.change(|core, _| core.add_stream(id, &path, addressed, timeout));
        Ok(Registration { handle, path, id, is_registered: false })
    }
}

impl IntoFuture for AddStreamHandler {
    type Output = Result<Registration, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(ready(self.add()))
    }
}

/// A request handler or stream handler. **It stays when this is dropped**, until the session is over.
pub struct Registration {
    handle: Ref<Handle>,
    path: String,
    id: HandlerId,
    /// At the server.
    is_registered: bool,
}

impl Registration {
    /// As it was added.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Take the handler back. It gets no more requests from now on; those that have been delivered are still answered. Waits
    /// until the server agrees, or finds out that there is nothing to wait for; without a connection the server is asked
    /// when there is one. Dropping the future stops only the waiting.
    pub async fn close(self) {
        let closing = self.begin_to_close();
        if let Some(call) = closing {
            // Whatever comes of it: the handler is gone.
            let _ = call.await;
        }
    }

    fn begin_to_close(self) -> Option<Call> {
        let Self { handle, id, is_registered, .. } = self;
        let shared = &handle.shared;
        let call = if is_registered {
            shared.call(|core, now, call| core.deregister_handler(now, call, id)).ok()
        } else {
            shared.change(|core, _| core.remove_stream(id));
            None
        };
        shared.forget_handler(id);
        call
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A handler for the responses to requests that are sent to one filter. **It stays when this is dropped**, until the
/// session is over.
pub struct FilterRegistration {
    handle: Ref<Handle>,
    filter: String,
    handler: ResponseFn,
}

impl FilterRegistration {
    pub(crate) fn new(handle: Ref<Handle>, filter: &str, handler: ResponseFn) -> Self {
        let replaced = match &mut *handle.shared.filter_handlers.get() {
            Some(handlers) => handlers.insert(filter.to_owned(), handler.clone()),
            // It would be kept for good, and whatever it owns, if that is the session.
            None => None,
        };
        drop(replaced);
        Self { handle, filter: filter.to_owned(), handler }
    }

    /// The text of the filter.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Take the handler back, unless another one has taken its place.
    pub fn close(self) {
        let mut handlers = self.handle.shared.filter_handlers.get();
        let Some(handlers) = &mut *handlers else { return };
        if handlers.get(&self.filter).is_some_and(|handler| Ref::ptr_eq(handler, &self.handler)) {
            // Ours is the last one, and is dropped after the lock.
            handlers.remove(&self.filter);
        }
    }
}

impl fmt::Debug for FilterRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilterRegistration").field("filter", &self.filter).finish_non_exhaustive()
    }
}
