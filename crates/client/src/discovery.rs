//! Looking before one asks: how many sessions a filter matches, which handlers there are for a path, and when these change.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use antiphon_protocol::client::{self as core, HandlersAt, Response, Sought};
use futures_util::Stream;

use crate::calls::Outcome;
use crate::error::{RequestError, unexpected};
use crate::handle::Handle;
use crate::latest::Latest;
use crate::lock::Ref;
use crate::messaging::Messaging;
use crate::platform::BoxFuture;
use crate::shared::Call;

/// Looking before one asks.
impl Messaging {
    /// Count the sessions that `filter` matches, as [`Self::send_request_to_filter`] would.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: `UNSUPPORTED` if the server does not have [`Features::DISCOVERY`](crate::Features::DISCOVERY); where a
    /// filter does not parse, [`RequestError::faults`] tell why.
    pub fn count_sessions(&self, filter: &str) -> CountSessions {
        CountSessions::new(self.0.clone(), filter)
    }

    /// Find out where a request to `path` would go.
    ///
    /// # Errors
    ///
    /// [`RequestError`]: `UNSUPPORTED` as above, `ACCESS_DENIED` if this session may not send requests there.
    pub fn find_handlers(&self, path: &str) -> FindHandlers {
        FindHandlers::new(self.0.clone(), path)
    }

    /// Watch where a request to `path` would go.
    ///
    /// ```no_run
    /// # use antiphon_client::{Messaging, RequestError};
    /// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
    /// use futures_util::TryStreamExt;
    ///
    /// let mut watch = messaging.watch_handlers("orders").await?;
    /// while let Some(found) = watch.try_next().await? {
    ///     println!("{} take orders", found.map_or(0, |found| found.handlers));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::find_handlers`].
    pub fn watch_handlers(&self, path: &str) -> WatchHandlers {
        WatchHandlers::new(self.0.clone(), path)
    }
}

/// A question to the server about what there is.
struct Question {
    handle: Ref<Handle>,
    sought: Sought,
    /// A session filter or a path.
    whom: String,
    timeout: Option<Duration>,
}

impl Question {
    fn ask(self) -> Result<Call, RequestError> {
        let Self { handle, sought, whom, timeout } = self;
        let timeout = timeout.unwrap_or(handle.shared.request_timeout);
        handle.shared.call(|core, now, call| core.look(now, call, sought, &whom, timeout))
    }
}

/// A question how many sessions a filter matches; awaited, their number.
#[must_use = "the server is asked when this is awaited"]
pub struct CountSessions(Question);

/// A question where a request to a path would go; awaited, the handlers there, if there are any.
#[must_use = "the server is asked when this is awaited"]
pub struct FindHandlers(Question);

/// A watch that is to begin; awaited, the watch.
#[must_use = "the server is asked when this is awaited"]
pub struct WatchHandlers(Question);

macro_rules! questions {
    ($($question:ident $sought:ident)*) => {
        $(impl $question {
            pub(crate) fn new(handle: Ref<Handle>, whom: &str) -> Self {
                Self(Question { handle, sought: Sought::$sought, whom: whom.to_owned(), timeout: None })
            }

            /// How long the answer may take. Default: the request timeout of the session's options.
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.0.timeout = Some(timeout);
                self
            }
        })*
    };
}

questions! { CountSessions Sessions FindHandlers Handlers WatchHandlers Changes }

impl IntoFuture for CountSessions {
    type Output = Result<u32, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.0.ask()?.await? {
                Response::Matched(count) => Ok(count),
                _ => Err(unexpected()),
            }
        })
    }
}

impl IntoFuture for FindHandlers {
    type Output = Result<Option<HandlersAt>, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            match self.0.ask()?.await? {
                Response::Handlers(found) => Ok(found),
                _ => Err(unexpected()),
            }
        })
    }
}

impl IntoFuture for WatchHandlers {
    type Output = Result<HandlerWatch, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Question { handle, sought, whom, timeout } = self.0;
            let timeout = timeout.unwrap_or(handle.shared.request_timeout);
            let (mut call, latest) =
                handle.shared.call_changing(|core, now, call| core.look(now, call, sought, &whom, timeout))?;
            match (&mut call).await? {
                Response::Handlers(_) => Ok(HandlerWatch { _handle: handle, call: Some(call), latest, last: None }),
                _ => Err(unexpected()),
            }
        })
    }
}

/// The handlers that a request to a path would go to: what there is at first, and then each time that it changes. Of changes
/// that nobody has taken only the last one is kept. Dropping it ends the watch.
///
/// After a reconnection the server is asked again by itself; that is told only if something has changed. The stream ends with
/// the session. An error says that the server refuses to go on: it has no room for the watch any more, or requests may not be
/// sent there. Nothing follows.
#[must_use = "dropping it ends the watch"]
pub struct HandlerWatch {
    /// Keeps the session open.
    _handle: Ref<Handle>,
    /// Until nothing follows.
    call: Option<Call>,
    latest: Ref<Latest<Outcome>>,
    /// What was taken last.
    last: Option<Option<HandlersAt>>,
}

impl Stream for HandlerWatch {
    type Item = Result<Option<HandlersAt>, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.call.is_none() {
            return Poll::Ready(None);
        }
        match self.latest.poll_take(context) {
            Poll::Ready(Some(Ok(Response::Handlers(found)))) if self.last.as_ref() != Some(&found) => {
                self.last = Some(found.clone());
                Poll::Ready(Some(Ok(found)))
            }
            // As it was before the connection was lost.
            Poll::Ready(Some(Ok(_))) => self.poll_next(context),
            Poll::Ready(Some(Err(error))) => {
                self.call = None;
                let is_over =
                    matches!(error, core::RequestError::SessionClosed { .. } | core::RequestError::ConnectionLost);
                Poll::Ready((!is_over).then(|| Err(error.into())))
            }
            Poll::Ready(None) => {
                self.call = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl fmt::Debug for HandlerWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandlerWatch").field("last", &self.last).finish_non_exhaustive()
    }
}
