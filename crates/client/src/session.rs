//! The session as a program sees it: handles that send commands to the task in `owner.rs`.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use antiphon_protocol::client::{
    CallId, ClientConfig, ClientSession, CloseCode, Closed, ConnectCode, ConnectError, FilterResponseReceived,
    HandlerId, Patience, ReceivedRequest, RequestError, Response,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::value::Value;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::SessionId;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::owner::{Command, FilterOutcome, Handler, Outcome, Owner, Waiting};

/// What a handler answers: a value, or an error reason and a text for people (at most 1024 characters of it travel).
pub type Answer = Result<Value, (ErrorReason, String)>;

/// How a session connects.
#[derive(Clone, Debug)]
pub struct Options {
    /// Principal, properties, times and sizes. With a `reconnect_timeout` the session outlives its connections.
    pub config: ClientConfig,
    /// Proves who the principal is.
    pub credentials: Credentials,
}

impl Default for Options {
    /// Anonymous, as a client of a type of its own. Does not reconnect.
    fn default() -> Self {
        let environment = format!("RUST_{}_{}", std::env::consts::OS, env!("CARGO_PKG_VERSION"));
        let config = ClientConfig {
            // Of no official client; servers report it as OTHER (section 2.4).
            client_type: "WR",
            properties: vec![("$Environment".to_owned(), environment)],
            ..ClientConfig::default()
        };
        Self { config, credentials: Credentials::None }
    }
}

/// An open session. Clones are the same session.
///
/// Needs a tokio runtime with time and IO. Every future settles, whatever happens to the connection: with what the
/// server sent, or with an error when the time allowed has passed or the session is over. Dropping a future abandons
/// what it waits for; the request may still be acted on.
///
/// With [`ClientConfig::reconnect_timeout`] a session that loses its connection looks for another one. If the server
/// can go on where it was, requests under way get their responses and nobody notices more than the delay. If messages
/// were lost, requests under way fail with [`RequestError::ConnectionLost`], and the request handlers are registered
/// again; if the server has forgotten the session, it also has another [`id`](Self::id). [`Events`] tell which it was.
/// Meanwhile a request fails at once, unless its [`Patience`] says that it waits for a connection; a plain `Duration`
/// as patience does not wait.
///
/// The session is closed when the last handle of it is dropped: clones, [`Registration`]s and [`FilterResponses`]. A
/// handler that owns a clone keeps its session open until somebody calls [`close`](Self::close).
///
/// ```no_run
/// # use std::time::Duration;
/// # use antiphon_client::{Options, Session};
/// # use antiphon_protocol::value::{DataType, Value};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::connect("ws://127.0.0.1:8080/diffusion", Options::default()).await?;
/// let echo = session.add_request_handler("echo", async |received| Ok(received.request)).await?;
/// let request = Value::new(DataType::Binary, b"hello".to_vec());
/// let response = session.send_to_path("echo", request.clone(), Duration::from_secs(5)).await?;
/// assert_eq!(response, request);
/// echo.close().await?;
/// session.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    /// Weak, so that listeners learn of the end.
    events: broadcast::WeakSender<SessionEvent>,
}

/// What is known of a session outside its task.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// None before it is open.
    pub session: Option<SessionId>,
    pub is_connected: bool,
    /// Once it is over.
    pub closed: Option<Closed>,
}

/// What happens to the connection of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The connection is lost; the session looks for another one.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// Messages were lost with the connection.
    MessagesLost {
        /// Number of requests that fail because of that.
        requests: usize,
        /// Number of request handlers that are registered again.
        handlers: usize,
    },
    /// A request handler was lost with the connection, and the server does not take it again.
    HandlerLost {
        /// As it was registered.
        path: String,
    },
    /// The session has a connection again.
    Reconnected {
        /// Its ID now.
        session: SessionId,
        /// Whether no message was lost.
        lossless: bool,
        /// Whether the server had forgotten the session and opened a new one.
        new_session: bool,
    },
}

/// Events that are kept for a listener that does not take them; beyond that the oldest are dropped.
const KEPT_EVENTS: usize = 64;

/// The events of a session from some moment on.
#[derive(Debug)]
pub struct Events(Option<broadcast::Receiver<SessionEvent>>);

impl Events {
    /// The next event; nothing when the session is over. Dropping the future loses nothing. Of more than 64 events that
    /// nobody has taken, the oldest are lost.
    pub async fn next(&mut self) -> Option<SessionEvent> {
        let events = self.0.as_mut()?;
        loop {
            match events.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Session {
    /// Open a session with the server at `url`, for example `ws://127.0.0.1:8080/diffusion`.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], at the latest after the connect timeout of the options.
    ///
    /// Source: sections 2 and 3.
    pub async fn connect(url: &str, options: Options) -> Result<Self, ConnectError> {
        let (commands, received) = mpsc::unbounded_channel();
        let (connecting, connected) = oneshot::channel();
        let (change_status, status) = watch::channel(Status::default());
        let (tell, _) = broadcast::channel(KEPT_EVENTS);
        let events = tell.downgrade();
        tokio::spawn(Owner::new(url, options, connecting, change_status, tell).run(received));
        match connected.await {
            Ok(outcome) => outcome.map(|()| Self { commands, status, events }),
            Err(_) => Err(ConnectError { code: ConnectCode::ConnectionError, message: STOPPED.into() }),
        }
    }

    /// The ID that the server gave the session. It changes when a server that has forgotten the session opens a new
    /// one.
    #[must_use]
    pub fn id(&self) -> SessionId {
        // There is no handle of a session that was never open.
        self.status.borrow().session.unwrap_or(SessionId { server: 0, value: 0 })
    }

    /// Whether the session has a connection now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.status.borrow().is_connected
    }

    /// What happens to the connection from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events(self.events.upgrade().map(|events| events.subscribe()))
    }

    /// Send `request` to one session that handles `path`, and wait for its response. `patience` counts from the first
    /// poll; a `Duration` will do.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; its [outcome](RequestError::outcome) says whether a handler may have run.
    ///
    /// Source: section 8.2.
    pub async fn send_to_path(
        &self,
        path: &str,
        request: Value,
        patience: impl Into<Patience>,
    ) -> Result<Value, RequestError> {
        let (path, patience) = (path.to_owned(), patience.into());
        value(self.ask(move |core, now, call| core.send_to_path(now, call, &path, request.as_wire(), patience)).await?)
    }

    /// Send `request` to one session, for its stream handler at exactly `path`. Otherwise as [`Self::send_to_path`].
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 8.3.
    pub async fn send_to_session(
        &self,
        session: SessionId,
        path: &str,
        request: Value,
        patience: impl Into<Patience>,
    ) -> Result<Value, RequestError> {
        let (path, patience) = (path.to_owned(), patience.into());
        value(
            self.ask(move |core, now, call| {
                core.send_to_session(now, call, session, &path, request.as_wire(), patience)
            })
            .await?,
        )
    }

    /// Send `request` to every session that `filter` matches, for its stream handler at exactly `path`, and wait until
    /// the server says how many these are. `patience` counts from the first poll to the last response.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`], and [`RequestError::InvalidFilter`]; nobody was asked then.
    ///
    /// Source: section 8.4.
    pub async fn send_to_filter(
        &self,
        filter: &str,
        path: &str,
        request: Value,
        patience: impl Into<Patience>,
    ) -> Result<FilterResponses, RequestError> {
        let (filter, path, patience) = (filter.to_owned(), path.to_owned(), patience.into());
        let (reply, outcome) = oneshot::channel();
        let (sender, received) = mpsc::unbounded_channel();
        let mut call = Call::new(self);
        let id = call.id.clone();
        self.command(move |owner| {
            let sent = owner.start_filter(reply, sender, |core, now, call| {
                core.send_to_filter(now, call, &filter, &path, request.as_wire(), patience);
            });
            if let Some(sent) = sent {
                started(&id, sent);
            }
        });
        match call.outcome(outcome).await? {
            Response::Matched(count) => {
                call.over = false;
                Ok(FilterResponses { count, left: count, received, call })
            }
            _ => Err(RequestError::MalformedResponse),
        }
    }

    /// Register `handler` for requests to `path` and everything below it.
    ///
    /// Each request is answered in a task of its own; it is dropped when its answer can no longer be delivered, and a
    /// panic is answered with an error. The order of answers is that in which the futures finish.
    ///
    /// # Errors
    ///
    /// [`RequestError::Refused`] if the server does not accept it; else as [`Self::send_to_path`], with the request
    /// timeout of the options. When the future is dropped, a registration that succeeds later is taken back.
    ///
    /// Source: section 8.1.
    pub async fn add_request_handler<F, A>(&self, path: &str, handler: F) -> Result<Registration, RequestError>
    where
        F: Fn(ReceivedRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let requested = path.to_owned();
        let handler = boxed(handler);
        let (reply, outcome) = oneshot::channel();
        let mut call = Call::new(self);
        let id = call.id.clone();
        let slot = Arc::new(OnceLock::new());
        let registered = slot.clone();
        self.command(move |owner| {
            if reply.is_closed() {
                return;
            }
            let handler = owner.add_handler(&requested, handler, false);
            let _ = slot.set(handler);
            let waiting = Waiting::Registration { handler, reply };
            let call = owner.start(waiting, |core, now, call| {
                core.register_handler(now, call, handler, &requested, &[], true);
            });
            if let Some(call) = call {
                started(&id, call);
            }
        });
        // The task takes back what nobody waits for.
        call.over = true;
        match (call.outcome(outcome).await?, registered.get()) {
            (Response::Registered, Some(id)) => Ok(Registration { session: self.clone(), id: *id }),
            _ => Err(RequestError::MalformedResponse),
        }
    }

    /// Answer the requests that are sent to this session, by its ID or by a filter, at exactly `path`. The server is
    /// not told. A handler that was there before is replaced.
    ///
    /// # Errors
    ///
    /// [`RequestError::SessionClosed`].
    ///
    /// Source: sections 8.3 and 8.4.
    pub async fn add_stream_handler<F, A>(&self, path: &str, handler: F) -> Result<(), RequestError>
    where
        F: Fn(ReceivedRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let path = path.to_owned();
        let handler = boxed(handler);
        let (set, is_set) = oneshot::channel();
        self.command(move |owner| {
            owner.set_stream(path, handler);
            // If nobody waits for it, it is set all the same.
            let _ = set.send(());
        });
        is_set.await.map_err(|_| RequestError::SessionClosed { sent: false })
    }

    /// Measure a round trip to the server.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`], with the request timeout of the options.
    ///
    /// Source: section 6.
    pub async fn ping(&self) -> Result<Duration, RequestError> {
        match self.ask(|core, now, call| core.ping(now, call)).await? {
            Response::Pong(time) => Ok(time),
            _ => Err(RequestError::MalformedResponse),
        }
    }

    /// End the session, for all its handles. Whoever waits for something gets [`RequestError::SessionClosed`]. Settles
    /// when the server has confirmed, or after a second.
    ///
    /// Source: section 11.
    pub async fn close(&self) -> Closed {
        self.command(Owner::close);
        self.closed().await
    }

    /// Wait for the end of the session; settles at once if it is over.
    pub async fn closed(&self) -> Closed {
        let mut status = self.status.clone();
        let closed = status.wait_for(|status| status.closed.is_some()).await.ok();
        let closed = closed.and_then(|status| status.closed.clone());
        closed.unwrap_or_else(|| Closed { code: CloseCode::ConnectionError, reason: STOPPED.into() })
    }

    /// Whether the session is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.status.borrow().closed.is_some()
    }

    /// Begins a call and waits for its outcome.
    async fn ask(&self, begin: impl FnOnce(&mut ClientSession, Moment, CallId) + Send + 'static) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        let mut call = Call::new(self);
        let id = call.id.clone();
        self.command(move |owner| {
            if let Some(call) = owner.start(Waiting::Reply(reply), begin) {
                started(&id, call);
            }
        });
        call.outcome(outcome).await
    }

    fn command(&self, command: impl FnOnce(&mut Owner) + Send + 'static) {
        // When the session is over the command is dropped, and with it the sender that somebody waits for.
        let _ = self.commands.send(Box::new(command));
    }
}

/// The responses to a request that went to a session filter. Dropping them abandons those that have not come yet.
#[derive(Debug)]
pub struct FilterResponses {
    count: u32,
    /// How many have not come yet.
    left: u32,
    /// Bounded by `count`: the core takes no more.
    received: mpsc::UnboundedReceiver<FilterOutcome>,
    call: Call,
}

impl FilterResponses {
    /// The number of sessions that matched; as many responses and errors follow.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The next response or error of a session; nothing when every session has answered. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    ///
    /// The reason why no more will come: [`RequestError::TimedOut`], or the end of the session. Nothing follows.
    pub async fn next(&mut self) -> Option<Result<FilterResponseReceived, RequestError>> {
        if self.call.over {
            return None;
        }
        let received = self.received.recv().await;
        match &received {
            Some(Ok(_)) => self.left = self.left.saturating_sub(1),
            Some(Err(_)) => self.call.over = true,
            None => {
                self.call.over = true;
                // The runtime stops; the task has not even told us.
                return (self.left > 0).then_some(Err(RequestError::SessionClosed { sent: true }));
            }
        }
        received
    }
}

/// A registered request handler. It stays registered when this is dropped, until the session is over.
#[derive(Debug)]
pub struct Registration {
    session: Session,
    id: HandlerId,
}

impl Registration {
    /// Take the registration back. Requests that have been delivered are still answered. Dropping the future stops
    /// only the waiting.
    ///
    /// # Errors
    ///
    /// As [`Session::send_to_path`], with the request timeout of the options. The end of the session is no error: it
    /// ends the registration as well.
    ///
    /// Source: section 8.1.
    pub async fn close(self) -> Result<(), RequestError> {
        let Self { session, id } = self;
        let (reply, outcome) = oneshot::channel();
        session.command(move |owner| {
            let waiting = Waiting::Deregistration { handler: id, reply };
            owner.start(waiting, |core, now, call| core.deregister_handler(now, call, id));
        });
        match outcome.await {
            Ok(Ok(_) | Err(RequestError::SessionClosed { .. })) | Err(_) => Ok(()),
            Ok(Err(error)) => Err(error),
        }
    }
}

/// A call that somebody waits for. When it is dropped before its end, it is abandoned.
#[derive(Debug)]
struct Call {
    /// Empty until the task has started it. The task carries out commands in order, so it has done that, or never
    /// will, when it abandons the call.
    id: Arc<OnceLock<CallId>>,
    commands: mpsc::UnboundedSender<Command>,
    over: bool,
}

impl Call {
    fn new(session: &Session) -> Self {
        Self { id: Arc::default(), commands: session.commands.clone(), over: false }
    }

    async fn outcome(&mut self, outcome: oneshot::Receiver<Outcome>) -> Outcome {
        let outcome = outcome.await;
        self.over = true;
        // The task ended without a word: the session was over before the command, or the runtime stops.
        outcome.unwrap_or_else(|_| Err(RequestError::SessionClosed { sent: self.id.get().is_some() }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let id = self.id.clone();
        let abandon: Command = Box::new(move |owner| {
            if let Some(call) = id.get() {
                owner.abandon(*call);
            }
        });
        // A session that is over has nothing left to abandon.
        let _ = self.commands.send(abandon);
    }
}

/// For people.
const STOPPED: &str = "the task of the session has been stopped";

fn started(slot: &OnceLock<CallId>, call: CallId) {
    // Each call is begun once.
    let _ = slot.set(call);
}

fn value(response: Response) -> Result<Value, RequestError> {
    match response {
        Response::Value(value) => Ok(value),
        _ => Err(RequestError::MalformedResponse),
    }
}

fn boxed<F, A>(handler: F) -> Handler
where
    F: Fn(ReceivedRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    Arc::new(move |request| Box::pin(handler(request)))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use antiphon_broker::core::access::Access;
    use antiphon_broker::core::{Broker, BrokerConfig};
    use antiphon_broker::net::{Limits, Server, Site, serve};
    use antiphon_protocol::value::DataType;
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn connect() -> Session {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("ws://{}/diffusion", listener.local_addr().expect("an address"));
        let broker = Broker::new(BrokerConfig::default(), Access::development());
        let server = Server { broker, site: Site::default(), limits: Limits::default() };
        tokio::spawn(serve(listener, server, pending()));
        Session::connect(&url, Options::default()).await.expect("connected")
    }

    async fn waiting(session: &Session) -> usize {
        let (tell, told) = oneshot::channel();
        session.command(|owner| tell.send(owner.waiting()).expect("waited for"));
        told.await.expect("open")
    }

    #[tokio::test]
    async fn what_is_dropped_is_not_waited_for() {
        let session = connect().await;
        session.add_request_handler("a", async |_| pending().await).await.expect("registered");
        session.add_stream_handler("a", async |_| pending().await).await.expect("set");
        let request = || Value::new(DataType::Binary, Vec::new());
        let responses = session.send_to_filter("all", "a", request(), LONG).await.expect("sent");
        tokio::select! {
            biased;
            _ = session.send_to_path("a", request(), LONG) => panic!("nobody answers"),
            count = waiting(&session) => assert_eq!(count, 2),
        }
        assert_eq!(waiting(&session).await, 1);
        drop(responses);
        assert_eq!(waiting(&session).await, 0);
    }
}
