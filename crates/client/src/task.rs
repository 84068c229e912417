//! The task of a session: owns its connection and its timer, gets credentials, carries out what the core wants done.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use antiphon_protocol::client::{Closed, ConnectError, ConnectionId, Event, State};
use antiphon_protocol::recovery::Frame;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use futures_channel::oneshot;
use futures_util::{FutureExt, select};

use crate::driver::{Host, PageEvent};
use crate::events::SessionEvent;
use crate::lock::Ref;
use crate::options::Options;
use crate::platform::{self, Alarm, BoxFuture, Page, Socket, SocketEvent};
use crate::requests::Rejection;
use crate::shared::Shared;

pub(crate) struct Task {
    shared: Ref<Shared>,
    options: Options,
    socket: Option<(ConnectionId, Socket)>,
    /// One that was given up, with a goodbye to be written.
    leaving: Option<Socket>,
    /// Credentials that are being waited for.
    asking: Option<(ConnectionId, BoxFuture<Result<Credentials, String>>)>,
    alarm: Alarm,
    page: Page,
    state: State,
    /// Messages wait to be sent together.
    has_to_flush: bool,
    /// Whoever waits for the session to be open.
    connecting: Option<oneshot::Sender<Result<(), ConnectError>>>,
    /// Those who wait for its end.
    closing: Option<oneshot::Sender<Closed>>,
    is_over: bool,
}

/// What the task waits for.
enum Step {
    Changed,
    Credentials(ConnectionId, Result<Credentials, String>),
    Rang,
    Page(PageEvent),
    Socket(ConnectionId, SocketEvent),
}

impl Task {
    pub fn new(
        shared: Ref<Shared>,
        options: Options,
        connecting: oneshot::Sender<Result<(), ConnectError>>,
        closing: oneshot::Sender<Closed>,
    ) -> Self {
        Self {
            shared,
            options,
            socket: None,
            leaving: None,
            asking: None,
            alarm: Alarm::default(),
            page: Page::new(),
            state: State::Connecting,
            has_to_flush: false,
            connecting: Some(connecting),
            closing: Some(closing),
            is_over: false,
        }
    }

    /// Runs until the session is over.
    pub async fn run(mut self) {
        let shared = self.shared.clone();
        shared.driver.change(&mut self, |core, now| core.connect(now));
        while !self.is_over {
            match self.next().await {
                Step::Changed => shared.driver.drive(&mut self),
                // Asked while there is a connection: those of the session expire soon. The broker asks again if it gets none.
                Step::Credentials(_, given) if self.state == State::Connected => {
                    let principal = shared.identity.get().principal.clone().unwrap_or_default();
                    if let Ok(credentials) = given {
                        drop(shared.call(|core, now, call| {
                            core.change_principal(now, call, &principal, &credentials);
                        }));
                    }
                }
                Step::Credentials(connection, Ok(credentials)) => {
                    shared.driver.open(&mut self, connection, credentials);
                }
                Step::Credentials(connection, Err(reason)) => {
                    shared.driver.handle_disconnected(&mut self, connection, &reason);
                }
                Step::Rang => shared.driver.handle_timeout(&mut self),
                Step::Page(event) => shared.driver.handle_page(&mut self, event),
                Step::Socket(connection, event) => self.handle_socket(connection, event),
            }
            if std::mem::take(&mut self.has_to_flush) {
                shared.driver.flush(&mut self);
            }
            if !self.is_over {
                // Nobody waits for a goodbye on a connection that was lost.
                self.leaving = None;
            }
        }
        let leaving = self.leaving.take();
        // Those who wait learn that it is over before the goodbye is said.
        drop(self);
        if let Some(socket) = leaving {
            socket.close().await;
        }
    }

    async fn next(&mut self) -> Step {
        let Self { shared, socket, asking, alarm, page, .. } = self;
        let mut changed = pin!(shared.changed.raised().fuse());
        let mut asked = pin!(credentials(asking).fuse());
        let mut rang = pin!(alarm.ring().fuse());
        let mut happened = pin!(socket_event(socket).fuse());
        let mut told = pin!(page.next().fuse());
        select! {
            () = changed => Step::Changed,
            (connection, credentials) = asked => Step::Credentials(connection, credentials),
            () = rang => Step::Rang,
            event = told => Step::Page(event),
            (connection, event) = happened => Step::Socket(connection, event),
        }
    }

    fn handle_socket(&mut self, connection: ConnectionId, event: SocketEvent) {
        let shared = self.shared.clone();
        match event {
            SocketEvent::Open => shared.driver.handle_open(self, connection),
            SocketEvent::Message(bytes) => shared.driver.handle_frame(self, connection, &bytes),
            SocketEvent::Violation(text) => shared.driver.handle_violation(self, connection, &text),
            SocketEvent::Closed { code, reason } => shared.driver.handle_closed(self, connection, code, &reason, true),
            SocketEvent::Gone { reason, can_pass } => {
                shared.driver.handle_failed(self, connection, &reason, can_pass);
            }
        }
    }
}

async fn credentials(
    asking: &mut Option<(ConnectionId, BoxFuture<Result<Credentials, String>>)>,
) -> (ConnectionId, Result<Credentials, String>) {
    let Some((connection, asked)) = asking else { return pending().await };
    let given = (*connection, asked.await);
    *asking = None;
    given
}

async fn socket_event(socket: &mut Option<(ConnectionId, Socket)>) -> (ConnectionId, SocketEvent) {
    match socket {
        Some((connection, socket)) => (*connection, socket.next().await),
        None => pending().await,
    }
}

impl Host for Task {
    fn now(&mut self) -> Moment {
        platform::now()
    }

    fn random(&mut self) -> f64 {
        platform::random()
    }

    fn connect(&mut self, connection: ConnectionId) {
        self.asking = Some((connection, (self.options.credentials)(())));
    }

    fn open(&mut self, connection: ConnectionId, url: String) {
        self.socket = Some((connection, Socket::open(url, self.options.config.max_message_size, &self.options.trust)));
    }

    fn send(&mut self, frame: Frame) {
        if let Some((_, socket)) = &mut self.socket {
            socket.send(frame);
        }
    }

    fn flush_soon(&mut self) {
        self.has_to_flush = true;
    }

    fn leave(&mut self, token: &str) {
        if !self.socket.as_ref().is_some_and(|(_, socket)| socket.is_open()) {
            platform::tell_of_leaving(&self.shared.driver.door(), token);
        }
    }

    fn disconnect(&mut self) {
        self.asking = None;
        self.leaving = self.socket.take().map(|(_, socket)| socket);
    }

    fn wake_at(&mut self, at: Moment) {
        self.alarm.set(at);
    }

    fn retry(&mut self, attempt: u32) {
        let delay: Option<Duration> = self.options.retry_delay.as_ref().map(|delay| delay(attempt));
        self.shared.clone().driver.retry_after(self, delay);
    }

    fn state_changed(&mut self, to: State) {
        let from = std::mem::replace(&mut self.state, to);
        self.shared.listeners.tell(&SessionEvent::StateChanged { from, to });
    }

    fn deliver(&mut self, event: Event) {
        let shared = self.shared.clone();
        match event {
            Event::Connected(session) => {
                shared.identity.get().session = Some(session);
                self.tell_connected(Ok(()));
            }
            Event::ConnectFailed(error) => {
                self.tell_connected(Err(error));
                self.is_over = true;
            }
            Event::CallEnded { call, outcome } => shared.calls.get().end(call, outcome),
            Event::FilterResponseReceived(response) => shared.calls.get().respond(response),
            Event::FilterCallEnded { call, outcome } => shared.calls.get().end_responses(call, outcome),
            Event::RequestReceived(request) => {
                let (id, handler) = (request.id, request.handler);
                let received = shared.handlers.get().receive(id, handler, request.into());
                match received {
                    Ok(Some(turn)) => shared.answer(turn),
                    Ok(None) => {}
                    Err(path) => {
                        let text = format!("this session has no handler at {path} any more");
                        shared.respond(id, &Err(Rejection::with_reason(ErrorReason::UNHANDLED_MESSAGE, text)));
                    }
                }
            }
            Event::RequestAbandoned { request, .. } => shared.handlers.get().abandon(request),
            Event::HandlerLost(handler) => {
                if let Some(path) = shared.forget_handler(handler) {
                    shared.listeners.tell(&SessionEvent::HandlerLost { path });
                }
            }
            Event::Disconnected(reason) => shared.listeners.tell(&SessionEvent::Disconnected { reason }),
            Event::MessagesLost { requests, handlers } => {
                shared.listeners.tell(&SessionEvent::MessagesLost { requests, handlers });
            }
            Event::Reconnected { session, lossless, new_session } => {
                {
                    let mut identity = shared.identity.get();
                    identity.session = Some(session);
                    if new_session {
                        // A new one is opened with the same options as the first.
                        identity.principal.clone_from(&self.options.config.principal);
                    }
                }
                shared.listeners.tell(&SessionEvent::Reconnected { session, lossless, new_session });
            }
            Event::Closed(closed) => {
                shared.listeners.tell(&SessionEvent::Closed(closed.clone()));
                if let Some(closing) = self.closing.take() {
                    // Nobody needs to wait for it.
                    let _ = closing.send(closed);
                }
                self.is_over = true;
            }
        }
    }
}

impl Task {
    fn tell_connected(&mut self, outcome: Result<(), ConnectError>) {
        if let Some(connecting) = self.connecting.take() {
            // If nobody waits for it any more, all handles are gone, and the session will be closed.
            let _ = connecting.send(outcome);
        }
    }
}

impl Drop for Task {
    /// The session is over, or the runtime stops.
    fn drop(&mut self) {
        self.shared.end();
    }
}
