//! The task that owns the core of one session. Handles of the session send it commands; it carries out what the core
//! says.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::client::{
    Addressing, ClientSession, ConnectError, Event, FilterRequest, FilterResponseReceived, Output, ReceivedRequest,
    RequestError, Response,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::ConversationId;
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

/// A request handler that the server knows of.
struct Registered {
    path: String,
    handler: Handler,
}

/// What a conversation came to.
pub(crate) type Outcome = Result<Response, RequestError>;

/// What comes of a request to a session filter: an answer or an error of each session, or the reason why no more come.
pub(crate) type FilterOutcome = Result<FilterResponseReceived, RequestError>;

/// Who waits for a conversation.
pub(crate) enum Waiting {
    Reply(oneshot::Sender<Outcome>),
    Responses(mpsc::UnboundedSender<FilterOutcome>),
    Registration { path: String, handler: Handler, reply: oneshot::Sender<Outcome> },
    Deregistration { registration: ConversationId, reply: oneshot::Sender<Outcome> },
}

/// Longest time between two attempts to reconnect.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

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
    waiting: HashMap<ConversationId, Waiting>,
    /// By registration.
    handlers: HashMap<ConversationId, Registered>,
    /// For addressed requests, by exact path.
    streams: HashMap<String, Handler>,
    answering: JoinSet<(ConversationId, Answer)>,
    /// Ends what is in `answering`, by the conversation of the request.
    aborts: HashMap<ConversationId, AbortHandle>,
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
            waiting: HashMap::new(),
            handlers: HashMap::new(),
            streams: HashMap::new(),
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
                        if let Ok((conversation, answer)) = answered {
                            self.respond(conversation, &answer);
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

    /// Starts a conversation, unless nobody waits for it any more, and returns its ID.
    pub fn start(
        &mut self,
        waiting: Waiting,
        send: impl FnOnce(&mut ClientSession, Moment) -> Result<ConversationId, RequestError>,
    ) -> Option<ConversationId> {
        if waiting.is_unwanted() {
            return None;
        }
        let now = self.now();
        match send(&mut self.core, now) {
            Ok(conversation) => {
                self.waiting.insert(conversation, waiting);
                Some(conversation)
            }
            Err(error) => {
                waiting.settle(Err(error));
                None
            }
        }
    }

    /// Starts the two conversations of a request to a session filter.
    pub fn start_filter(
        &mut self,
        count: Waiting,
        responses: Waiting,
        send: impl FnOnce(&mut ClientSession, Moment) -> Result<FilterRequest, RequestError>,
    ) -> Option<FilterRequest> {
        let mut request = None;
        self.start(count, |core, now| {
            let sent = send(core, now)?;
            request = Some(sent);
            Ok(sent.count)
        });
        if let Some(request) = request {
            self.waiting.insert(request.responses, responses);
        }
        request
    }

    /// Nobody waits for this conversation any more.
    pub fn abandon(&mut self, conversation: ConversationId) {
        if self.waiting.remove(&conversation).is_some() {
            self.core.abandon(conversation);
        }
    }

    /// Sets the handler for addressed requests at exactly `path`.
    pub fn set_stream(&mut self, path: String, handler: Handler) {
        self.streams.insert(path, handler);
    }

    /// How many conversations somebody waits for.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
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
                Output::Connect => self.connect(),
                Output::Send(frame) => {
                    if let Some(connection) = &mut self.connection {
                        connection.send(frame);
                    }
                }
                Output::Disconnect => leaving = self.connection.take(),
                Output::Retry(attempt) => {
                    // Full jitter, so that many sessions that lost their connections together do not return together.
                    let longest = Duration::from_millis(100).saturating_mul(1 << attempt.min(6)).min(LONGEST_DELAY);
                    self.core.retry_after(self.now(), longest.mul_f64(fastrand::f64()));
                }
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
            Event::ResponseReceived { conversation, outcome } => self.settle(conversation, outcome),
            Event::FilterResponseReceived(response) => {
                if let Some(Waiting::Responses(responses)) = self.waiting.get(&response.conversation) {
                    // Whoever has dropped the other end has abandoned the conversation as well, or is about to.
                    let _ = responses.send(Ok(response));
                }
            }
            Event::RequestReceived(request) => self.call_handler(request),
            Event::RequestAbandoned(conversation) => {
                if let Some(answer) = self.aborts.remove(&conversation) {
                    answer.abort();
                }
            }
            Event::HandlerLost(registration) => {
                if let Some(Registered { path, .. }) = self.handlers.remove(&registration) {
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

    /// Tells whoever waits for a conversation.
    fn settle(&mut self, conversation: ConversationId, outcome: Outcome) {
        let Some(waiting) = self.waiting.remove(&conversation) else { return };
        match (waiting, outcome) {
            (Waiting::Registration { path, handler, reply }, Ok(Response::Registered(registration))) => {
                if reply.send(Ok(Response::Registered(registration))).is_ok() {
                    self.handlers.insert(registration, Registered { path, handler });
                } else {
                    // Nobody could ever take it back. Fails only when the session is over, and the registration too.
                    let _ = self.core.deregister_handler(self.now(), registration);
                }
            }
            (Waiting::Deregistration { registration, reply }, Ok(response)) => {
                self.handlers.remove(&registration);
                Waiting::Reply(reply).settle(Ok(response));
            }
            (waiting, outcome) => waiting.settle(outcome),
        }
    }

    fn call_handler(&mut self, request: ReceivedRequest) {
        let conversation = request.conversation;
        let handler = match &request.addressing {
            Addressing::Path { registration, .. } => {
                self.handlers.get(registration).map(|registered| &registered.handler)
            }
            Addressing::Session => self.streams.get(&request.path),
        };
        let Some(handler) = handler.cloned() else {
            let text = format!("this session has no handler at {}", request.path);
            return self.respond(conversation, &Err((ErrorReason::UNHANDLED_MESSAGE, text)));
        };
        let answer = async move {
            // A handler that panics has failed; the session has not.
            let answer = AssertUnwindSafe(async move { handler(request).await }).catch_unwind().await;
            let failed = || Err((ErrorReason::CALLBACK_EXCEPTION, "the request handler failed".into()));
            (conversation, answer.unwrap_or_else(|_| failed()))
        };
        self.aborts.insert(conversation, self.answering.spawn(answer));
    }

    fn respond(&mut self, conversation: ConversationId, answer: &Answer) {
        self.aborts.remove(&conversation);
        match answer {
            Ok(value) => self.core.respond(conversation, Ok(value.as_wire())),
            Err((reason, text)) => self.core.respond(conversation, Err((*reason, text))),
        }
    }

    fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Open => self.core.handle_open(),
            Happened::Frame(frame) => self.core.handle_frame(self.now(), &frame),
            Happened::Violation(text) => self.core.handle_violation(self.now(), &text),
            Happened::Gone(reason) => self.core.handle_disconnected(self.now(), &reason),
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
            Self::Responses(responses) => responses.is_closed(),
        }
    }

    fn settle(self, outcome: Outcome) {
        // An error is of somebody who does not wait any more.
        match (self, outcome) {
            (Self::Reply(reply) | Self::Registration { reply, .. } | Self::Deregistration { reply, .. }, outcome) => {
                let _ = reply.send(outcome);
            }
            (Self::Responses(responses), Err(error)) => {
                let _ = responses.send(Err(error));
            }
            // They end when the sender is dropped.
            (Self::Responses(_), Ok(_)) => {}
        }
    }
}

async fn next_of(connection: &mut Option<Connection>) -> Happened {
    match connection {
        Some(connection) => connection.next().await,
        None => std::future::pending().await,
    }
}
