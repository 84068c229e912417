//! The messaging component: the six operations, and `gather`.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use antiphon_protocol::client::Response;
use antiphon_protocol::wire::primitives::SessionId;
use futures_util::StreamExt;

use crate::calls::FilterOutcome;
use crate::draft::Draft;
use crate::error::{RequestError, unexpected};
use crate::gather::Gathering;
use crate::handle::Handle;
use crate::lock::Ref;
use crate::options::WhenDisconnected;
use crate::platform::{BoxFuture, MaybeSend, MaybeSync};
use crate::registration::{AddRequestHandler, AddStreamHandler, FilterRegistration};
use crate::requests::{HandlerFn, Rejection, Request};
use crate::responses::{FilterResponse, ResponseFn};
use crate::retry::{Attempts, Retry};
use crate::shared::Call;
use crate::value::{IntoValue, Value};

/// Requests and responses between sessions. Clones are of the same session.
///
/// Operations are futures that can be given options before they are awaited, and do nothing before:
///
/// ```no_run
/// # use std::time::Duration;
/// # use antiphon_client::{Messaging, RequestError, WhenDisconnected};
/// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
/// let answer = messaging
///     .send_request_to_path("greet", "Ada")
///     .timeout(Duration::from_secs(2))
///     .when_disconnected(WhenDisconnected::Wait)
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Messaging(pub(crate) Ref<Handle>);

impl Messaging {
    pub(crate) fn new(handle: Ref<Handle>) -> Self {
        Self(handle)
    }

    /// Send `request` to one session that handles `path`, and wait for its response.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; its [outcome](RequestError::outcome) says whether a handler may have run.
    pub fn send_request_to_path(&self, path: &str, request: impl IntoValue) -> Ask {
        self.ask(None, path, request)
    }

    /// Send `request` to one session, for its stream handler at exactly `path`, and wait for its response.
    ///
    /// # Errors
    ///
    /// As [`Self::send_request_to_path`].
    pub fn send_request_to_session(&self, path: &str, session: SessionId, request: impl IntoValue) -> Ask {
        self.ask(Some(session), path, request)
    }

    fn ask(&self, session: Option<SessionId>, path: &str, request: impl IntoValue) -> Ask {
        Ask { handle: self.0.clone(), session, draft: Draft::new(path, request), retry: None }
    }

    /// Send `request` to every session that `filter` matches, for its stream handler at exactly `path`, and wait until
    /// the server says how many these are. The responses go to [`AskMany::on_response`], else to the
    /// [handler](Self::add_filter_response_handler) for this filter.
    ///
    /// # Errors
    ///
    /// As [`Self::send_request_to_path`]; where a filter does not parse, [`RequestError::faults`] tell why.
    pub fn send_request_to_filter(&self, filter: &str, path: &str, request: impl IntoValue) -> AskMany {
        let draft = Draft::new(path, request);
        AskMany { handle: self.0.clone(), filter: filter.to_owned(), draft, on_response: None }
    }

    /// Send `request` to every session that `filter` matches, and take their responses as a stream.
    ///
    /// ```no_run
    /// # use antiphon_client::{Messaging, RequestError};
    /// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
    /// use futures_util::TryStreamExt;
    ///
    /// let mut answers = messaging.gather("team is 'blue'", "status", ()).await?;
    /// while let Some(answer) = answers.try_next().await? {
    ///     println!("{}: {}", answer.session, answer.outcome?.decode::<String>()?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Self::send_request_to_filter`].
    pub fn gather(&self, filter: &str, path: &str, request: impl IntoValue) -> Gather {
        let draft = Draft::new(path, request);
        Gather { handle: self.0.clone(), filter: filter.to_owned(), draft, at_least: None }
    }

    /// Register `handler` for requests to `path` and everything below it.
    ///
    /// Each request is answered in a task of its own; it is dropped when its answer can no longer be delivered, and a
    /// panic is answered with an error. The order of answers is that in which the futures finish.
    ///
    /// # Errors
    ///
    /// `HANDLER_CONFLICT` and others if the server does not accept it; else as [`Self::send_request_to_path`], with the
    /// request timeout of the options. When the future is dropped, a registration that succeeds later is taken back.
    pub fn add_request_handler<F, A, V>(&self, path: &str, handler: F) -> AddRequestHandler
    where
        F: Fn(Request) -> A + MaybeSend + MaybeSync + 'static,
        A: Future<Output = Result<V, Rejection>> + MaybeSend + 'static,
        V: IntoValue + 'static,
    {
        AddRequestHandler::new(self.0.clone(), path, handler_fn(handler))
    }

    /// Answer, without telling the server, requests to exactly `path` that it sends to this session: because a request
    /// handler of this session is registered there or above, in whose place this one answers; or with
    /// [`addressed`](AddStreamHandler::addressed), because they are addressed to this session, by its ID or by a filter. A
    /// stream handler that was there before is replaced.
    ///
    /// # Errors
    ///
    /// `SESSION_CLOSED`.
    pub fn add_stream_handler<F, A, V>(&self, path: &str, handler: F) -> AddStreamHandler
    where
        F: Fn(Request) -> A + MaybeSend + MaybeSync + 'static,
        A: Future<Output = Result<V, Rejection>> + MaybeSend + 'static,
        V: IntoValue + 'static,
    {
        AddStreamHandler::new(self.0.clone(), path, handler_fn(handler))
    }

    /// Take the responses to requests that are sent to exactly this filter, unless they have an
    /// [`on_response`](AskMany::on_response) of their own or are [gathered](Self::gather). Replaces a handler that was
    /// there before. When the session is over, the handler is dropped with its registration.
    pub fn add_filter_response_handler<F>(&self, filter: &str, handler: F) -> FilterRegistration
    where
        F: Fn(FilterResponse) + MaybeSend + MaybeSync + 'static,
    {
        FilterRegistration::new(self.0.clone(), filter, Ref::new(handler))
    }
}

impl fmt::Debug for Messaging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messaging").finish_non_exhaustive()
    }
}

fn handler_fn<F, A, V>(handler: F) -> HandlerFn
where
    F: Fn(Request) -> A + MaybeSend + MaybeSync + 'static,
    A: Future<Output = Result<V, Rejection>> + MaybeSend + 'static,
    V: IntoValue + 'static,
{
    Ref::new(move |request: Request| {
        let data_type = request.value().data_type();
        let answer = handler(request);
        Box::pin(async move { Ok(answer.await?.into_value(data_type)?) })
    })
}

/// The options that all requests have.
macro_rules! draft_options {
    ($($builder:ident)*) => {
        $(impl $builder {
            /// From the first poll to the last response. Default: the request timeout of the session's options.
            /// `Duration::MAX` leaves it to the server. The handler is told: [`Request::time_left`].
            pub fn timeout(mut self, timeout: Duration) -> Self {
                self.draft.timeout = Some(timeout);
                self
            }

            /// What to do while there is no connection. Default: fail.
            pub fn when_disconnected(mut self, what: WhenDisconnected) -> Self {
                self.draft.when_disconnected = what;
                self
            }

            /// The request that is being answered when this one is sent: this one takes no longer than its sender waits, and
            /// has its trace context, `traceparent` and `tracestate` of its [metadata](Request::metadata), unless it names a
            /// `traceparent`.
            pub fn within(mut self, request: &Request) -> Self {
                self.draft.deadline = request.deadline();
                self.draft.outer.clone_from(request.metadata());
                self
            }

            /// Texts by key for whoever handles the request, at most 8 KiB in all: [`Request::metadata`]. Dropped where server or
            /// handler do not know of metadata. Names of later calls replace those of earlier ones.
            pub fn metadata<K: Into<String>, V: Into<String>>(mut self, metadata: impl IntoIterator<Item = (K, V)>) -> Self {
                self.draft.metadata.extend(metadata.into_iter().map(|(key, text)| (key.into(), text.into())));
                self
            }
        })*
    };
}

draft_options! { Ask AskMany Gather }

/// A request to one session; awaited, its response.
#[must_use = "a request is sent when it is awaited"]
pub struct Ask {
    handle: Ref<Handle>,
    /// None for whoever handles the path.
    session: Option<SessionId>,
    draft: Draft,
    retry: Option<Retry>,
}

impl Ask {
    /// Lets the request be sent again without being handled twice: the broker remembers what became of it under this key,
    /// which has 1 to 128 characters, for 2 minutes from its answer on, and a repeat, at the same path and from the same
    /// principal, gets that answer. The handler is told: [`Request::idempotency_key`].
    ///
    /// With a server that remembers nothing, for which [`Session::supports`] no [`IDEMPOTENCY`], it fails as `INVALID_ARGUMENT`,
    /// and nothing is sent.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use antiphon_client::{Messaging, Outcome, RequestError};
    /// # async fn example(messaging: Messaging) -> Result<(), RequestError> {
    /// let order = || {
    ///     let asked = messaging.send_request_to_path("orders", "one tea");
    ///     asked.idempotency_key("order 17").timeout(Duration::from_secs(2))
    /// };
    /// let answer = match order().await {
    ///     // There will be one tea, whatever became of the first request.
    ///     Err(error) if error.outcome() == Outcome::Unknown => order().await?,
    ///     other => other?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// [`Session::supports`]: crate::Session::supports
    /// [`IDEMPOTENCY`]: crate::Features::IDEMPOTENCY
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.draft.key = Some(key.into());
        self
    }

    /// Sends the request again when it has failed, that does no harm and can help: as `BUSY` and, if it has a
    /// [key](Self::idempotency_key), as `CONNECTION_LOST` or `REQUEST_TIME_OUT`, as long as the broker remembers that. While there
    /// is no connection it waits for one, and what was not sent is no attempt. All attempts together have
    /// the [`timeout`](Self::timeout) of the request. If nothing helps, it fails with the last error, or with the one that
    /// leaves open whether the request was handled; its text says how many attempts there were. Default: one attempt.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }
}

impl IntoFuture for Ask {
    type Output = Result<Value, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { handle, session, draft, retry } = self;
            let is_keyed = draft.key.is_some();
            let (path, request, terms) = draft.finish(&handle)?;
            let mut attempts = Attempts::new(retry, is_keyed, terms.patience());
            let mut kept = Some((path, request));
            while let Some((path, request)) = &kept {
                let mut begun = Ok(());
                let call = handle.shared.call(|core, now, call| {
                    let patience = attempts.begin(core, &handle.shared.identity.get());
                    begun = patience.map(|patience| {
                        let (request, terms) = (request.as_wire(), terms.clone().within(patience));
                        match session {
                            Some(session) => core.send_to_session(now, call, session, path, request, terms),
                            None => core.send_to_path(now, call, path, request, terms),
                        }
                    });
                });
                begun?;
                if !attempts.has_more() {
                    // What was sent is not kept until the answer is here.
                    kept = None;
                }
                let outcome = match call {
                    Ok(call) => call.await,
                    Err(error) => Err(error),
                };
                match outcome {
                    Ok(Response::Value(value)) => return Ok(value.into()),
                    Ok(_) => return Err(unexpected()),
                    Err(error) => attempts.wait_after(&handle.shared, error).await?,
                }
            }
            Err(unexpected())
        })
    }
}

/// A request to a session filter; awaited, the number of sessions that it went to.
#[must_use = "a request is sent when it is awaited"]
pub struct AskMany {
    handle: Ref<Handle>,
    filter: String,
    draft: Draft,
    on_response: Option<ResponseFn>,
}

impl AskMany {
    /// Takes the responses to this request.
    pub fn on_response(mut self, handler: impl Fn(FilterResponse) + MaybeSend + MaybeSync + 'static) -> Self {
        self.on_response = Some(Ref::new(handler));
        self
    }
}

impl IntoFuture for AskMany {
    type Output = Result<u32, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { handle, filter, draft, on_response } = self;
            let path = draft.path.clone();
            let Sent { expected, call, mut responses } = send_to_many(&handle, &filter, draft).await?;
            // Without the handle: it does not keep the session open.
            let shared = handle.shared.clone();
            handle.shared.spawner.spawn(async move {
                while let Some(Ok(response)) = responses.next().await {
                    let handler =
                        on_response.clone().or_else(|| shared.filter_handlers.get().as_ref()?.get(&filter).cloned());
                    if let Some(handler) = handler {
                        handler(FilterResponse::new(&filter, &path, response));
                    }
                }
                drop(call);
            });
            Ok(expected)
        })
    }
}

/// A request to a session filter; awaited, its responses as a stream.
#[must_use = "a request is sent when it is awaited"]
pub struct Gather {
    handle: Ref<Handle>,
    filter: String,
    draft: Draft,
    at_least: Option<u32>,
}

impl Gather {
    /// So many responses are enough: the stream ends with the last of them, or with `NOT_ENOUGH` as soon as there cannot
    /// be as many.
    pub fn at_least(mut self, values: u32) -> Self {
        self.at_least = Some(values);
        self
    }
}

impl IntoFuture for Gather {
    type Output = Result<Gathering, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { handle, filter, draft, at_least } = self;
            let Sent { expected, call, responses } = send_to_many(&handle, &filter, draft).await?;
            Ok(Gathering::new(handle, call, responses, expected, at_least))
        })
    }
}

/// A request to a session filter whose responses are coming in.
struct Sent {
    expected: u32,
    call: Call,
    responses: futures_channel::mpsc::UnboundedReceiver<FilterOutcome>,
}

async fn send_to_many(handle: &Handle, filter: &str, draft: Draft) -> Result<Sent, RequestError> {
    let (path, request, terms) = draft.finish(handle)?;
    let (mut call, responses) = handle
        .shared
        .call_many(|core, now, call| core.send_to_filter(now, call, filter, &path, request.as_wire(), terms))?;
    drop((path, request));
    match (&mut call).await? {
        Response::Matched(expected) => Ok(Sent { expected, call, responses }),
        _ => Err(unexpected()),
    }
}
