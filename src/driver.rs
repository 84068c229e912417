//! Carries out what the protocol core asks: open a socket, send, set a timer, tell the link.
//!
//! No `RefCell` is borrowed while JavaScript runs: it may call us back.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use antiphon_protocol::client::{ClientConfig, ClientSession, Event, Output, RequestError, Response, State};
use antiphon_protocol::inspect::{Direction, Inspector};
use antiphon_protocol::text;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;
use gloo_timers::callback::Timeout;
use js_sys::{Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::client::credentials_from_js;
use crate::clock::{milliseconds, now};
use crate::link::{Link, key, to_js};
use crate::socket::{Socket, SocketEvent};

/// A session at work. Clones are the same session; an open socket keeps it alive.
#[derive(Clone)]
pub struct Driver(Rc<Inner>);

struct Inner {
    link: Link,
    /// Up to where our query begins.
    address: String,
    core: RefCell<ClientSession>,
    socket: RefCell<Option<Rc<Socket>>>,
    /// Changes whenever a connection is opened or given up.
    attempts: Cell<u32>,
    timer: RefCell<Option<(Moment, Timeout)>>,
    /// What the link knows of.
    state: Cell<State>,
    /// Watches messages pass, while somebody wants to know.
    inspector: RefCell<Option<Inspector>>,
}

impl Driver {
    /// A session that is not connected yet.
    pub fn new(link: Link, address: String, config: ClientConfig) -> Self {
        Self(Rc::new(Inner {
            link,
            address,
            core: RefCell::new(ClientSession::new(config)),
            socket: RefCell::default(),
            attempts: Cell::new(0),
            timer: RefCell::default(),
            state: Cell::new(State::Connecting),
            inspector: RefCell::default(),
        }))
    }

    pub fn link(&self) -> &Link {
        &self.0.link
    }

    /// The core, to be used within one statement; [`Self::drive`] has to follow.
    pub fn core(&self) -> RefMut<'_, ClientSession> {
        self.0.core.borrow_mut()
    }

    /// Changes the core and carries out what follows from it.
    pub fn with_core(&self, change: impl FnOnce(&mut ClientSession)) {
        change(&mut self.core());
        self.drive();
    }

    /// Carries out everything that the core wants done.
    pub fn drive(&self) {
        loop {
            self.report_state();
            // The borrow ends with this statement: `carry_out` may run JavaScript, which may call us back.
            // `while let Some(output) = self.core().poll_output()` would keep it alive.
            let Some(output) = self.core().poll_output() else { break };
            self.carry_out(output);
        }
    }

    fn report_state(&self) {
        let state = self.core().state();
        if self.0.state.replace(state) != state {
            self.link().set_state(state);
        }
    }

    fn carry_out(&self, output: Output) {
        match output {
            Output::Connect => self.open_socket(),
            Output::Send(frame) => {
                // A clone: a socket that is not the browser's may call us back.
                let socket = self.0.socket.borrow().clone();
                if let Some(socket) = socket {
                    socket.send(&frame);
                    // Afterwards: whoever watches may send something of its own.
                    self.inspect(Direction::Out, &frame);
                }
            }
            Output::Disconnect => {
                self.0.attempts.set(self.0.attempts.get() + 1);
                drop(self.0.socket.take());
            }
            Output::Retry(attempt) => {
                let delay = milliseconds(self.link().retry_delay(attempt));
                // The application may have closed the session; then this does nothing.
                self.core().retry_after(now(), delay);
            }
            Output::WakeAt(at) => self.wake_at(at),
            Output::Deliver(event) => self.deliver(event),
        }
    }

    /// Asks for the credentials, then opens the WebSocket.
    fn open_socket(&self) {
        let attempt = self.0.attempts.get() + 1;
        self.0.attempts.set(attempt);
        match self.link().credentials().map(JsCast::dyn_into::<Promise>) {
            Ok(Ok(promise)) => {
                let driver = self.clone();
                spawn_local(async move {
                    let credentials = JsFuture::from(promise).await;
                    // The application may have lost patience meanwhile, or the time for this attempt may be over.
                    if driver.0.attempts.get() == attempt {
                        driver.open_socket_with(credentials);
                    }
                });
            }
            Ok(Err(credentials)) => self.open_socket_with(Ok(credentials)),
            Err(error) => self.open_socket_with(Err(error)),
        }
    }

    fn open_socket_with(&self, credentials: Result<JsValue, JsValue>) {
        let attempt = self.0.attempts.get();
        let opened = credentials.and_then(|credentials| {
            let query = self.core().connect_query(credentials_from_js(&credentials));
            let url = text![self.0.address, query];
            let driver = self.clone();
            Socket::open(&url, self.link(), move |event| driver.handle_socket(event))
        });
        match opened {
            // What ran while it was opened may have ended the session; nobody else would close it then.
            Ok(socket) if self.0.attempts.get() != attempt => drop(socket),
            Ok(socket) => drop(self.0.socket.replace(Some(Rc::new(socket)))),
            Err(_) if self.0.attempts.get() != attempt => {}
            Err(thrown) => {
                let text = self.link().describe(&thrown);
                self.with_core(|core| core.handle_disconnected(now(), &text));
            }
        }
    }

    /// Whether the link is told of messages as they pass.
    pub fn set_inspecting(&self, is_wanted: bool) {
        self.0.inspector.replace(is_wanted.then(Inspector::default));
    }

    fn inspect(&self, direction: Direction, frame: &[u8]) {
        let inspected = match &mut *self.0.inspector.borrow_mut() {
            Some(inspector) => inspector.inspect(direction, frame),
            None => None,
        };
        if let Some(inspected) = inspected {
            self.link().inspected(direction, &inspected, frame.len());
        }
    }

    fn handle_socket(&self, event: SocketEvent) {
        if let SocketEvent::Frame(frame) = &event {
            self.inspect(Direction::In, frame);
        }
        self.with_core(|core| match event {
            SocketEvent::Open => core.handle_open(),
            SocketEvent::Frame(frame) => core.handle_frame(now(), &frame),
            SocketEvent::Text => core.handle_violation(now(), "the server sent a text message"),
            SocketEvent::Closed { code, reason } => {
                let address = &self.0.address;
                let end = address.bytes().position(|byte| byte == b'?');
                let address = address.get(..end.unwrap_or(address.len())).unwrap_or_default();
                let reason = match (code, reason) {
                    // What browsers say of every connection that ended without a goodbye.
                    (1006, _) if core.state() != State::Connecting => String::new(),
                    (1006, _) => {
                        " (nothing listens there, it refused the origin or the path, or the page may not connect there)"
                            .to_owned()
                    }
                    (_, reason) if reason.is_empty() => reason,
                    (_, reason) => text![" (", reason, ")"],
                };
                core.handle_disconnected(
                    now(),
                    &text!["the WebSocket to ", address, " was closed with code ", code, reason],
                );
            }
        });
    }

    fn wake_at(&self, at: Moment) {
        // A timer that rings early does no harm, and a wish is often replaced by a later one.
        if self.0.timer.borrow().as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        // Rounded up: a timer must not ring before its time only to be set again.
        let delay = u32::try_from(at.since(now()).as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        let driver = self.clone();
        let timer = Timeout::new(delay.min(LONGEST_TIMER), move || {
            driver.0.timer.take();
            driver.with_core(|core| core.handle_timeout(now()));
        });
        self.0.timer.replace(Some((at, timer)));
    }

    fn deliver(&self, event: Event) {
        let link = self.link();
        match event {
            Event::Connected(session) => link.connected(session, self.max_message_size()),
            Event::ConnectFailed(error) => {
                self.0.timer.take();
                link.connect_failed(&error);
            }
            Event::ResponseReceived { conversation, outcome } => self.settle(conversation, outcome),
            Event::FilterResponseReceived(response) => link.filter_responded(&response),
            Event::RequestReceived(request) => link.requested(&request),
            Event::RequestAbandoned(conversation) => {
                let error = match self.core().state() {
                    State::Closed => RequestError::SessionClosed { sent: true },
                    _ => RequestError::ConnectionLost,
                };
                link.abandoned(conversation, &error);
            }
            Event::Disconnected(reason) => link.disconnected(&reason),
            Event::MessagesLost { requests, handlers } => link.messages_lost(requests as u32, handlers as u32),
            Event::HandlerLost(registration) => link.handler_lost(registration),
            Event::Reconnected { session, lossless, new_session } => {
                if !lossless {
                    // Conversations of before have no answers, and their numbers may come again.
                    let is_wanted = self.0.inspector.borrow().is_some();
                    self.set_inspecting(is_wanted);
                }
                link.reconnected(session, self.max_message_size(), lossless, new_session);
            }
            Event::Closed(closed) => {
                self.0.timer.take();
                link.closed(&closed);
            }
        }
    }

    /// What the server takes, in bytes.
    fn max_message_size(&self) -> f64 {
        self.core().max_message_size().map_or(f64::INFINITY, |size| size as f64)
    }

    /// Tells the link what a conversation came to.
    fn settle(&self, conversation: ConversationId, outcome: Result<Response, RequestError>) {
        let link = self.link();
        let response = match outcome {
            Ok(Response::Value(value)) => return link.responded_value(conversation, &value),
            Ok(Response::Matched(count)) => count.into(),
            Ok(Response::AllAnswered | Response::Deregistered) => JsValue::UNDEFINED,
            Ok(Response::Body(body)) => Uint8Array::from(&*body).into(),
            Ok(Response::Registered(registration)) => key(registration).into(),
            Ok(Response::Pong(time)) => (time.as_secs_f64() * 1000.0).into(),
            Ok(Response::Properties(properties)) => to_js(&properties),
            Ok(Response::PrincipalChanged(changed)) => changed.into(),
            Err(error) => return link.failed(conversation, &error),
        };
        link.responded(conversation, &response);
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u32 = i32::MAX as u32;
