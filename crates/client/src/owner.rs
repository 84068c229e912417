//! The task that owns the core of one session. Handles of the session send it commands; it carries out what the core
//! says.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::client::{
    CallId, ClientSession, ConnectError, Event, FilterResponseReceived, HandlerId, Output, ReceivedRequest,
    RequestError, RequestId, Response,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::connection::{Connection, Happened};
use crate::session::{Answer, Options, SessionEvent, Status};

/// Something to be done by the task. Not bounded: only the program itself makes them, and waits for what comes of them.
pub(crate) type Command = Box<dyn FnOnce(&mut Owner) + Send>;

/// A function of the program that answers requests.
pub(crate) type Handler = Arc<dyn Fn(ReceivedRequest) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A request handler or a stream.
struct Registered {
    path: String,
    handler: Handler,
    is_stream: bool,
}

/// What a call came to.
pub(crate) type Outcome = Result<Response, RequestError>;

/// What comes of a request to a session filter: an answer or an error of each session, or the reason why no more come.
pub(crate) type FilterOutcome = Result<FilterResponseReceived, RequestError>;

/// Who waits for a call.
pub(crate) enum Waiting {
    Reply(oneshot::Sender<Outcome>),
    Registration { handler: HandlerId, reply: oneshot::Sender<Outcome> },
    Deregistration { handler: HandlerId, reply: oneshot::Sender<Outcome> },
}

/// Commands that are carried out before anything else gets its turn; what they send is written together.
const COMMANDS_AT_ONCE: usize = 64;

/// The owner of a session's core, its connection and its handlers.
pub(crate) struct Owner {
    core: ClientSession,
    /// Where the core's time starts.
    start: Instant,
    url: String,
    max_message_size: usize,
    credentials: Credentials,
    connection: Option<Connection>,
    wake_at: Option<Moment>,
    /// Numbers of calls and handlers that have been given out.
    calls: u64,
    handler_ids: u64,
    waiting: HashMap<CallId, Waiting>,
    /// Who takes the responses to requests to session filters.
    responses: HashMap<CallId, mpsc::UnboundedSender<FilterOutcome>>,
    handlers: HashMap<HandlerId, Registered>,
    answering: JoinSet<(RequestId, Answer)>,
    /// Ends what is in `answering`.
    aborts: HashMap<RequestId, AbortHandle>,
    connecting: Option<oneshot::Sender<Result<(), ConnectError>>>,
    status: watch::Sender<Status>,
    events: broadcast::Sender<SessionEvent>,
    over: bool,
}

impl Owner {
    pub fn new(
        url: &str,
        options: Options,
        connecting: oneshot::Sender<Result<(), ConnectError>>,
        status: watch::Sender<Status>,
        events: broadcast::Sender<SessionEvent>,
    ) -> Self {
        Self {
            max_message_size: options.config.max_message_size,
            core: ClientSession::new(options.config),
            start: Instant::now(),
            url: url.to_owned(),
            credentials: options.credentials,
            connection: None,
            wake_at: None,
            calls: 0,
            handler_ids: 0,
            waiting: HashMap::new(),
            responses: HashMap::new(),
            handlers: HashMap::new(),
            answering: JoinSet::new(),
            aborts: HashMap::new(),
            connecting: Some(connecting),
            status,
            events,
            over: false,
        }
    }

    /// Runs until the session is over. It is closed when all handles are gone.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut has_handles = true;
        let mut timer = std::pin::pin!(sleep_until(self.start));
        self.core.connect(self.now());
        loop {
            let leaving = self.carry_out();
            if self.over {
                // Those who wait learn that it is over before the goodbye is said.
                drop((self, commands));
                if let Some(connection) = leaving {
                    connection.close().await;
                }
                return;
            }
            if let Some(at) = self.wake_at.map(|at| self.start + Duration::from_micros(at.0))
                && timer.deadline() != at
            {
                timer.as_mut().reset(at);
            }
            tokio::select! {
                happened = next_of(&mut self.connection) => self.handle(happened),
                command = commands.recv(), if has_handles => match command {
                    Some(command) => {
                        command(&mut self);
                        for _ in 1..COMMANDS_AT_ONCE {
                            let Ok(command) = commands.try_recv() else { break };
                            command(&mut self);
                        }
                    }
                    None => {
                        has_handles = false;
                        self.close();
                    }
                },
                Some(answered) = self.answering.join_next() => {
                    let mut next = Some(answered);
                    while let Some(answered) = next {
                        // The error is that of an answer that nobody wants any more.
                        if let Ok((request, answer)) = answered {
                            self.respond(request, &answer);
                        }
                        next = self.answering.try_join_next();
                    }
                }
                () = &mut timer, if self.wake_at.is_some() => {
                    self.wake_at = None;
                    self.core.handle_timeout(self.now());
                }
            }
        }
    }

    // What handles of the session ask for.

    /// Begins a call, unless nobody waits for it any more, and returns its number.
    pub fn start(
        &mut self,
        waiting: Waiting,
        begin: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Option<CallId> {
        if waiting.is_unwanted() {
            return None;
        }
        let call = self.next_call();
        self.waiting.insert(call, waiting);
        let now = self.now();
        begin(&mut self.core, now, call);
        Some(call)
    }

    /// Sends a request to a session filter.
    pub fn start_filter(
        &mut self,
        count: oneshot::Sender<Outcome>,
        responses: mpsc::UnboundedSender<FilterOutcome>,
        begin: impl FnOnce(&mut ClientSession, Moment, CallId),
    ) -> Option<CallId> {
        let call = self.start(Waiting::Reply(count), begin)?;
        self.responses.insert(call, responses);
        Some(call)
    }

    fn next_call(&mut self) -> CallId {
        self.calls += 1;
        CallId(self.calls)
    }

    /// Nobody waits for this call any more.
    pub fn abandon(&mut self, call: CallId) {
        let is_waited_for = self.waiting.remove(&call).is_some() | self.responses.remove(&call).is_some();
        if is_waited_for {
            self.core.abandon(call);
        }
    }

    /// Sets the handler for addressed requests at exactly `path`.
    pub fn set_stream(&mut self, path: String, handler: Handler) {
        let id = self.add_handler(&path, handler, true);
        self.core.add_stream(id, &path, true);
    }

    /// Keeps a handler, which is not registered yet.
    pub fn add_handler(&mut self, path: &str, handler: Handler, is_stream: bool) -> HandlerId {
        self.handler_ids += 1;
        let id = HandlerId(self.handler_ids);
        self.handlers.insert(id, Registered { path: path.to_owned(), handler, is_stream });
        id
    }

    /// How many calls somebody waits for.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.keys().chain(self.responses.keys()).collect::<std::collections::HashSet<_>>().len()
    }

    pub fn close(&mut self) {
        self.core.close(self.now());
    }

    // What the core wants.

    /// Carries out everything that the core wants done. Returns a connection to be closed.
    fn carry_out(&mut self) -> Option<Connection> {
        let mut leaving = None;
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect(_) => self.connect(),
                Output::Send(frame) => {
                    if let Some(connection) = &mut self.connection {
                        connection.send(frame);
                    }
                }
                Output::Disconnect => leaving = self.connection.take(),
                Output::Retry(_) => self.core.retry_after(self.now(), None, fastrand::f64()),
                // A timer that rings early does no harm, and a wish is often replaced by a later one.
                Output::WakeAt(at) => self.wake_at = Some(self.wake_at.map_or(at, |set| set.min(at))),
                Output::Deliver(event) => self.deliver(event),
            }
        }
        leaving
    }

    fn connect(&mut self) {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}{}", self.url, self.core.connect_query(self.credentials.clone()));
        self.connection = Some(Connection::open(url, self.max_message_size));
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::Connected(session) => {
                self.status.send_modify(|status| (status.session, status.is_connected) = (Some(session), true));
                self.tell_connected(Ok(()));
            }
            Event::ConnectFailed(error) => {
                self.tell_connected(Err(error));
                self.over = true;
            }
            Event::CallEnded { call, outcome } => self.settle(call, outcome),
            Event::FilterResponseReceived(response) => {
                if let Some(responses) = self.responses.get(&response.call) {
                    // Whoever has dropped the other end has abandoned the call as well, or is about to.
                    let _ = responses.send(Ok(response));
                }
            }
            Event::FilterCallEnded { call, outcome } => {
                if let Some(responses) = self.responses.remove(&call)
                    && let Err(error) = outcome
                {
                    let _ = responses.send(Err(error));
                }
            }
            Event::RequestReceived(request) => self.call_handler(request),
            Event::RequestAbandoned { request, .. } => {
                if let Some(answer) = self.aborts.remove(&request) {
                    answer.abort();
                }
            }
            Event::HandlerLost(handler) => {
                if let Some(Registered { path, is_stream: false, .. }) = self.handlers.remove(&handler) {
                    self.tell(SessionEvent::HandlerLost { path });
                }
            }
            Event::Disconnected(reason) => {
                self.status.send_modify(|status| status.is_connected = false);
                self.tell(SessionEvent::Disconnected { reason });
            }
            Event::MessagesLost { requests, handlers } => self.tell(SessionEvent::MessagesLost { requests, handlers }),
            Event::Reconnected { session, lossless, new_session } => {
                self.status.send_modify(|status| (status.session, status.is_connected) = (Some(session), true));
                self.tell(SessionEvent::Reconnected { session, lossless, new_session });
            }
            Event::Closed(closed) => {
                self.status.send_modify(|status| (status.is_connected, status.closed) = (false, Some(closed)));
                self.over = true;
            }
        }
    }

    fn tell(&self, event: SessionEvent) {
        // Nobody needs to listen.
        let _ = self.events.send(event);
    }

    fn tell_connected(&mut self, outcome: Result<(), ConnectError>) {
        if let Some(connecting) = self.connecting.take() {
            // If nobody waits for it any more, all handles are gone, and the session will be closed.
            let _ = connecting.send(outcome);
        }
    }

    /// Tells whoever waits for a call.
    fn settle(&mut self, call: CallId, outcome: Outcome) {
        match (self.waiting.remove(&call), outcome) {
            (Some(Waiting::Registration { handler, reply }), Ok(response)) => {
                if reply.send(Ok(response)).is_err() {
                    // Nobody could ever take it back.
                    let (now, call) = (self.now(), self.next_call());
                    self.core.deregister_handler(now, call, handler);
                }
            }
            (Some(Waiting::Registration { handler, reply }), Err(error)) => {
                self.handlers.remove(&handler);
                Waiting::Reply(reply).settle(Err(error));
            }
            (Some(Waiting::Deregistration { handler, reply }), Ok(response)) => {
                self.handlers.remove(&handler);
                Waiting::Reply(reply).settle(Ok(response));
            }
            (Some(waiting), outcome) => waiting.settle(outcome),
            (None, _) => {}
        }
    }

    fn call_handler(&mut self, request: ReceivedRequest) {
        let id = request.id;
        let Some(handler) = self.handlers.get(&request.handler).map(|registered| registered.handler.clone()) else {
            let text = format!("this session has no handler at {}", request.path);
            return self.respond(id, &Err((ErrorReason::UNHANDLED_MESSAGE, text)));
        };
        let answer = async move {
            // A handler that panics has failed; the session has not.
            let answer = AssertUnwindSafe(async move { handler(request).await }).catch_unwind().await;
            let failed = || Err((ErrorReason::CALLBACK_EXCEPTION, "the request handler failed".into()));
            (id, answer.unwrap_or_else(|_| failed()))
        };
        self.aborts.insert(id, self.answering.spawn(answer));
    }

    fn respond(&mut self, request: RequestId, answer: &Answer) {
        self.aborts.remove(&request);
        match answer {
            Ok(value) => self.core.respond(request, Ok(value.as_wire())),
            Err((reason, text)) => self.core.respond(request, Err((*reason, text))),
        }
    }

    fn handle(&mut self, happened: Happened) {
        let (now, connection) = (self.now(), self.core.connection().unwrap_or_default());
        match happened {
            Happened::Open => self.core.handle_open(connection),
            Happened::Frame(frame) => self.core.handle_frame(now, connection, &frame),
            Happened::Violation(text) => self.core.handle_violation(now, connection, &text),
            Happened::Gone(reason) => self.core.handle_disconnected(now, connection, &reason),
        }
    }

    fn now(&self) -> Moment {
        Moment::default() + self.start.elapsed()
    }
}

impl Waiting {
    fn is_unwanted(&self) -> bool {
        match self {
            Self::Reply(reply) | Self::Registration { reply, .. } => reply.is_closed(),
            // What was accepted once is taken back even if nobody looks.
            Self::Deregistration { .. } => false,
        }
    }

    fn settle(self, outcome: Outcome) {
        let (Self::Reply(reply) | Self::Registration { reply, .. } | Self::Deregistration { reply, .. }) = self;
        // An error is of somebody who does not wait any more.
        let _ = reply.send(outcome);
    }
}

async fn next_of(connection: &mut Option<Connection>) -> Happened {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}
