//! Carries out what the protocol core asks: send, settle a promise, call a handler, set a timer.
//!
//! No `RefCell` is borrowed while JavaScript runs: it may call us back.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use antiphon_protocol::client::{
    ClientConfig, ClientSession, CloseCode, Closed, Event, FilterRequest, Output, Patience, ReceivedRequest,
    RequestError, Response, State,
};
use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use gloo_timers::callback::Timeout;
use js_sys::{Array, Function, Object, Promise, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::AbortSignal;

use crate::error;
use crate::handler::{Answer, FilterCall, Handlers, RequestHandler};
use crate::log::Level;
use crate::messaging::Registration;
use crate::options::{Request, milliseconds, text};
use crate::page::{Page, PageEvent};
use crate::platform::{self, Deferred, now, without_value};
use crate::session::Session;
use crate::socket::{Socket, SocketEvent};
use crate::value;

#[wasm_bindgen(module = "/src/session.js")]
extern "C" {
    type Emitter;

    #[wasm_bindgen(constructor)]
    fn new() -> Emitter;

    #[wasm_bindgen(method, catch)]
    fn on(this: &Emitter, event: &JsValue, listener: &JsValue) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method)]
    fn emit(this: &Emitter, event: &str, details: &JsValue) -> JsValue;

    /// Milliseconds to wait before an attempt to reconnect, by the function of the application if there is one.
    #[wasm_bindgen(js_name = retryDelay)]
    fn retry_delay(attempt: u32, delay: &JsValue) -> f64;
}

/// A session at work. Clones are the same session; an open socket keeps it alive.
#[derive(Clone)]
pub struct Driver(Rc<Inner>);

struct Inner {
    /// Up to where our query begins.
    address: String,
    credentials: JsValue,
    web_socket: Option<Function>,
    /// As the options have it.
    first_principal: String,
    principal: RefCell<String>,
    request_timeout: Duration,
    /// Chooses how long to wait before an attempt to reconnect; undefined for our own choice.
    delay: JsValue,
    level: Level,
    core: RefCell<ClientSession>,
    socket: RefCell<Option<Rc<Socket>>>,
    /// Changes whenever a connection is opened or given up.
    attempts: Cell<u32>,
    timer: RefCell<Option<(Moment, Timeout)>>,
    connecting: RefCell<Option<Connecting>>,
    /// Who waits for what, by conversation.
    waiting: RefCell<Conversations<Waiting>>,
    handlers: Handlers,
    session: Cell<Option<SessionId>>,
    state: Cell<State>,
    emitter: Emitter,
    closed: Deferred,
    /// Tells of what happens to the page, while the session is open.
    page: RefCell<Option<Page>>,
}

/// How to connect.
pub struct Connector {
    /// Up to where our query begins.
    pub address: String,
    /// A string, bytes, undefined, or a function that returns one of them or a promise of it.
    pub credentials: JsValue,
    pub web_socket: Option<Function>,
    pub request_timeout: Duration,
    /// A function from the number of an attempt to milliseconds, or undefined.
    pub delay: JsValue,
    pub level: Level,
}

/// The promise of `connect`.
struct Connecting {
    settle: Deferred,
    _abort: Option<AbortListener>,
    /// What went wrong outside the core, for the error's `cause`.
    cause: JsValue,
}

struct Waiting {
    settle: Deferred,
    /// Where the application called.
    site: JsValue,
    what: Asked,
    _abort: Option<AbortListener>,
}

enum Asked {
    /// Number of the data type to which the response is to be converted, 0 for none.
    Request {
        response_code: u8,
    },
    FilterCount,
    FilterResponses(FilterCall),
    Service,
    Registration {
        path: String,
        handler: RequestHandler,
    },
    Deregistration {
        registration: ConversationId,
    },
    Ping,
    Properties,
    Principal {
        principal: String,
    },
}

impl Driver {
    /// A session that is not connected yet.
    pub fn new(config: ClientConfig, connector: Connector) -> Self {
        let Connector { address, credentials, web_socket, request_timeout, delay, level } = connector;
        Self(Rc::new(Inner {
            address,
            credentials,
            web_socket,
            first_principal: config.principal.clone().unwrap_or_default(),
            principal: RefCell::new(config.principal.clone().unwrap_or_default()),
            request_timeout,
            delay,
            level,
            core: RefCell::new(ClientSession::new(config)),
            socket: RefCell::default(),
            attempts: Cell::new(0),
            timer: RefCell::default(),
            connecting: RefCell::default(),
            waiting: RefCell::default(),
            handlers: Handlers::new(),
            session: Cell::new(None),
            state: Cell::new(State::Connecting),
            emitter: Emitter::new(),
            closed: Deferred::new(),
            page: RefCell::default(),
        }))
    }

    /// Connects; the promise is of a [`Session`].
    pub fn connect(&self, signal: Option<AbortSignal>) -> Promise {
        if let Some(reason) = aborted(signal.as_ref()) {
            return Promise::reject(&reason);
        }
        let settle = Deferred::new();
        let promise = settle.promise();
        let abort = signal.map(|signal| {
            let driver = self.clone();
            AbortListener::new(
                signal,
                Box::new(move |reason| {
                    if let Some(connecting) = driver.0.connecting.take() {
                        connecting.settle.reject(reason);
                    }
                    driver.with_core(|core| core.close(now()));
                }),
            )
        });
        let cause = JsValue::UNDEFINED;
        self.0.connecting.replace(Some(Connecting { settle, _abort: abort, cause }));
        self.with_core(|core| core.connect(now()));
        promise
    }

    /// The canonical text of the session ID.
    pub fn id(&self) -> String {
        // When the session is over, it is still known what it was called.
        let open = self.0.core.borrow().session();
        open.or(self.0.session.get()).map(|id| id.to_string()).unwrap_or_default()
    }

    pub fn principal(&self) -> String {
        self.0.principal.borrow().clone()
    }

    pub fn state(&self) -> &'static str {
        state_name(self.0.core.borrow().state())
    }

    /// Settles when the session is over.
    pub fn closed(&self) -> Promise {
        self.0.closed.promise()
    }

    pub fn on(&self, event: &JsValue, listener: &JsValue) -> Result<JsValue, JsValue> {
        self.0.emitter.on(event, listener)
    }

    pub fn close(&self) -> Promise {
        self.with_core(|core| core.close(now()));
        without_value(&self.closed())
    }

    /// Where the application adds functions to be called.
    ///
    /// # Errors
    ///
    /// A `MessagingError` if the session is closed.
    pub fn open_handlers(&self) -> Result<&Handlers, JsValue> {
        if self.0.core.borrow().state() == State::Closed {
            let error = RequestError::SessionClosed { sent: false };
            return Err(error::from_request_error(&error, &error::call_site()));
        }
        Ok(&self.0.handlers)
    }

    /// The promise is of the response.
    pub fn send_to_path(&self, path: &str, request: Request) -> Promise {
        let patience = self.patience_of(&request);
        let what = Asked::Request { response_code: request.response_code };
        self.start(what, request.signal, |core, now| core.send_to_path(now, path, request.value.as_wire(), patience))
    }

    /// The promise is of the response.
    pub fn send_to_session(&self, session: SessionId, path: &str, request: Request) -> Promise {
        let patience = self.patience_of(&request);
        let what = Asked::Request { response_code: request.response_code };
        self.start(what, request.signal, |core, now| {
            core.send_to_session(now, session, path, request.value.as_wire(), patience)
        })
    }

    /// The promise is of the number of sessions that match.
    ///
    /// # Errors
    ///
    /// A `MessagingError` if what is to take the responses cannot be called.
    pub fn send_to_filter(&self, filter: &str, path: &str, request: Request) -> Result<Promise, JsValue> {
        let patience = self.patience_of(&request);
        let Request { value, response_code, signal, on_response, .. } = request;
        let call = self.0.handlers.filter_call(filter, path, response_code, &on_response)?;
        let sent = self.0.core.borrow_mut().send_to_filter(now(), filter, path, value.as_wire(), patience);
        let count = sent.map(|FilterRequest { count, responses }| {
            let settle = call.ended();
            self.wait(responses, settle, Asked::FilterResponses(call), signal.map(|signal| (signal, count)));
            count
        });
        Ok(self.promise_outcome(count, Asked::FilterCount, None))
    }

    /// The promise is of the body of the response.
    pub fn invoke(&self, service: u32, body: &[u8]) -> Promise {
        self.start(Asked::Service, None, |core, now| core.invoke(now, service, body))
    }

    fn patience_of(&self, request: &Request) -> Patience {
        Patience { timeout: request.timeout.unwrap_or(self.0.request_timeout), wait: request.wait }
    }

    pub fn ping(&self) -> Promise {
        self.start(Asked::Ping, None, |core, now| core.ping(now))
    }

    /// The promise is of an object.
    pub fn get_properties(&self, keys: &[String]) -> Promise {
        self.start(Asked::Properties, None, |core, now| core.get_properties(now, keys))
    }

    /// The promise is of a boolean.
    ///
    /// # Errors
    ///
    /// A `MessagingError` for credentials that cannot be used.
    pub fn change_principal(&self, principal: String, credentials: &JsValue) -> Result<Promise, JsValue> {
        let credentials = credentials_from_js(credentials)?;
        let what = Asked::Principal { principal: principal.clone() };
        Ok(self.start(what, None, |core, now| core.change_principal(now, &principal, &credentials)))
    }

    /// The promise is of a [`Registration`].
    pub fn register(&self, path: String, handler: RequestHandler) -> Promise {
        let property_keys = handler.session_properties();
        let reregister = handler.reregister();
        let what = Asked::Registration { path: path.clone(), handler };
        self.start(what, None, |core, now| core.register_handler(now, &path, &property_keys, reregister))
    }

    /// The promise settles when no further requests will come.
    pub fn deregister(&self, registration: ConversationId) -> Promise {
        if !self.0.handlers.has(registration) {
            // It ended with the session.
            return Promise::resolve(&JsValue::UNDEFINED);
        }
        self.start(Asked::Deregistration { registration }, None, |core, now| core.deregister_handler(now, registration))
    }

    /// Starts a conversation and promises its outcome.
    fn start(
        &self,
        what: Asked,
        signal: Option<AbortSignal>,
        send: impl FnOnce(&mut ClientSession, Moment) -> Result<ConversationId, RequestError>,
    ) -> Promise {
        let sent = send(&mut self.0.core.borrow_mut(), now());
        self.promise_outcome(sent, what, signal)
    }

    /// Promises the outcome of what was sent, and sends it. Apart from [`Self::start`], which exists once for every
    /// operation, to be in the download only once.
    fn promise_outcome(
        &self,
        sent: Result<ConversationId, RequestError>,
        what: Asked,
        signal: Option<AbortSignal>,
    ) -> Promise {
        let conversation = match sent {
            Ok(conversation) => conversation,
            Err(error) => return Promise::reject(&error::from_request_error(&error, &error::call_site())),
        };
        let settle = Deferred::new();
        let promise = settle.promise();
        self.wait(conversation, settle, what, signal.map(|signal| (signal, conversation)));
        self.drive();
        promise
    }

    /// Remembers who waits for a conversation; the signal ends the waiting for this one and another.
    fn wait(
        &self,
        conversation: ConversationId,
        settle: Deferred,
        what: Asked,
        signal: Option<(AbortSignal, ConversationId)>,
    ) {
        let abort = signal.map(|(signal, other)| {
            let driver = self.clone();
            let aborted = move |reason: &JsValue| {
                driver.abort(conversation, reason);
                driver.abort(other, reason);
            };
            AbortListener::new(signal, Box::new(aborted))
        });
        let waiting = Waiting { settle, site: error::call_site(), what, _abort: abort };
        self.0.waiting.borrow_mut().open(conversation, waiting);
    }

    /// The application is no longer interested.
    fn abort(&self, conversation: ConversationId, reason: &JsValue) {
        let waiting = self.0.waiting.borrow_mut().close(conversation);
        if let Some(waiting) = waiting {
            waiting.settle.reject(reason);
            self.with_core(|core| core.abandon(conversation));
        }
    }

    /// Changes the core and carries out what follows from it.
    fn with_core(&self, change: impl FnOnce(&mut ClientSession)) {
        change(&mut self.0.core.borrow_mut());
        self.drive();
    }

    /// Carries out everything that the core wants done.
    fn drive(&self) {
        loop {
            self.report_state();
            // The borrow ends with this statement: `carry_out` may run JavaScript, which may call us back.
            // `while let Some(output) = self.0.core.borrow_mut().poll_output()` would keep it alive.
            let Some(output) = self.0.core.borrow_mut().poll_output() else { break };
            self.carry_out(output);
        }
    }

    fn report_state(&self) {
        let to = self.0.core.borrow().state();
        let from = self.0.state.replace(to);
        if from != to {
            self.emit("statechange", &(state_name(from), state_name(to)));
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
                }
            }
            Output::Disconnect => {
                self.0.attempts.set(self.0.attempts.get() + 1);
                drop(self.0.socket.take());
            }
            Output::Retry(attempt) => {
                let delay = milliseconds(retry_delay(attempt, &self.0.delay));
                // The function may have closed the session; then this does nothing.
                self.0.core.borrow_mut().retry_after(now(), delay);
            }
            Output::WakeAt(at) => self.wake_at(at),
            Output::Deliver(event) => self.deliver(event),
        }
    }

    /// Asks for the credentials if that is what the application wants, then opens the WebSocket.
    fn open_socket(&self) {
        let attempt = self.0.attempts.get() + 1;
        self.0.attempts.set(attempt);
        let given = self.0.credentials.clone();
        let Some(function) = given.dyn_ref::<Function>() else {
            return self.open_socket_with(Ok(given));
        };
        // What it throws rejects the promise; a value and a promise are one case.
        let asked = match function.call0(&JsValue::UNDEFINED) {
            Ok(credentials) => Promise::resolve(&credentials),
            Err(error) => Promise::reject(&error),
        };
        let driver = self.clone();
        spawn_local(async move {
            let credentials = JsFuture::from(asked).await;
            // The application may have lost patience meanwhile, or the time for this attempt may be over.
            if driver.0.attempts.get() == attempt {
                driver.open_socket_with(credentials);
            }
        });
    }

    fn open_socket_with(&self, credentials: Result<JsValue, JsValue>) {
        let opened = credentials
            .map_err(|error| (format!("the credentials function failed: {}", error::text_of(&error)), error))
            .and_then(|value| credentials_from_js(&value).map_err(|error| (error::text_of(&error), error)))
            .and_then(|credentials| {
                let query = self.0.core.borrow().connect_query(credentials);
                let driver = self.clone();
                let url = format!("{}{query}", self.0.address);
                Socket::open(&url, self.0.web_socket.as_ref(), move |event| {
                    driver.handle_socket(event);
                })
                .map_err(|error| (error::text_of(&error), error))
            });
        match opened {
            Ok(socket) => drop(self.0.socket.replace(Some(Rc::new(socket)))),
            Err((text, cause)) => {
                if let Some(connecting) = &mut *self.0.connecting.borrow_mut() {
                    connecting.cause = cause;
                }
                self.with_core(|core| core.handle_disconnected(now(), &text));
            }
        }
    }

    fn handle_socket(&self, event: SocketEvent) {
        self.with_core(|core| match event {
            SocketEvent::Open => core.handle_open(),
            SocketEvent::Frame(frame) => core.handle_frame(now(), &frame),
            SocketEvent::Text => core.handle_violation(now(), "the server sent a text message"),
            SocketEvent::Closed { code, reason } => {
                let address = self.0.address.split('?').next().unwrap_or_default();
                let reason = match (code, reason) {
                    // What browsers say of every connection that ended without a goodbye.
                    (1006, _) if core.state() != State::Connecting => String::new(),
                    (1006, _) => " (nothing listens there, it refused the origin or the path, or the connection broke)"
                        .to_owned(),
                    (_, reason) if reason.is_empty() => reason,
                    (_, reason) => format!(" ({reason})"),
                };
                core.handle_disconnected(
                    now(),
                    &format!("the WebSocket to {address} was closed with code {code}{reason}"),
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
        match event {
            Event::Connected(session) => {
                self.0.session.set(Some(session));
                self.0.level.log(Level::Info, || format!("session {session} is open"));
                self.watch_page();
                if let Some(connecting) = self.0.connecting.take() {
                    connecting.settle.resolve(&Session::new(self.clone()).into());
                }
            }
            Event::ConnectFailed(error) => {
                self.0.timer.take();
                if let Some(connecting) = self.0.connecting.take() {
                    connecting.settle.reject(&error::from_connect_error(&error, &connecting.cause));
                }
            }
            Event::ResponseReceived { conversation, outcome } => self.settle(conversation, outcome),
            Event::FilterResponseReceived(response) => {
                let call = match self.0.waiting.borrow().get(response.conversation) {
                    Some(Waiting { what: Asked::FilterResponses(call), .. }) => call.clone(),
                    _ => return,
                };
                call.take(&response);
            }
            Event::RequestReceived(request) => self.call_handler(&request),
            Event::RequestAbandoned(conversation) => {
                let error = match self.0.core.borrow().state() {
                    State::Closed => RequestError::SessionClosed { sent: true },
                    _ => RequestError::ConnectionLost,
                };
                self.0.handlers.abandon(conversation, &error::from_request_error(&error, &JsValue::UNDEFINED));
            }
            Event::Disconnected(reason) => {
                self.0.level.log(Level::Info, || reason.clone());
                self.emit("disconnect", &(reason,));
            }
            Event::MessagesLost { requests, handlers } => {
                self.emit("messageloss", &(requests as u32, handlers as u32));
            }
            Event::HandlerLost(registration) => {
                self.0.level.log(Level::Warn, || "a request handler is no longer registered".to_owned());
                self.0.handlers.remove(registration);
            }
            Event::Reconnected { session, lossless, new_session } => {
                self.0.session.set(Some(session));
                if new_session {
                    // Opened with the same options as the first.
                    self.0.principal.replace(self.0.first_principal.clone());
                }
                self.0.level.log(Level::Info, || format!("session {session} is connected again"));
                self.emit("reconnect", &(lossless, new_session));
            }
            Event::Closed(closed) => self.finish(&closed),
        }
    }

    fn watch_page(&self) {
        let driver = self.clone();
        let page = Page::watch(move |happened| {
            driver.with_core(|core| match happened {
                PageEvent::Left => core.close(now()),
                // Also if it does not know yet: the events of a connection that died in the cache are late.
                PageEvent::Restored => {
                    core.handle_disconnected(now(), "the page was in the back/forward cache");
                    core.retry_now(now());
                }
                // Timers are late then.
                PageEvent::Woken => {
                    core.handle_timeout(now());
                    core.retry_now(now());
                }
            });
        });
        self.0.page.replace(Some(page));
    }

    /// Resolves or rejects the promise that waits for `conversation`.
    fn settle(&self, conversation: ConversationId, outcome: Result<Response, RequestError>) {
        let waiting = self.0.waiting.borrow_mut().close(conversation);
        let Some(Waiting { settle, site, what, .. }) = waiting else { return };
        let settled = match (outcome, what) {
            (Ok(Response::Value(value)), Asked::Request { response_code }) => {
                value::decode(&value, response_code).map_err(|error| error::show_caller(error, &site))
            }
            (Ok(Response::Registered(registration)), Asked::Registration { path, handler }) => {
                self.0.handlers.add(registration, &path, &handler);
                Ok(Registration::new(self.clone(), registration, path).into())
            }
            (Ok(Response::Matched(count)), Asked::FilterCount) => Ok(count.into()),
            (Ok(Response::AllAnswered), Asked::FilterResponses(_)) => Ok(JsValue::UNDEFINED),
            (Ok(Response::Body(body)), Asked::Service) => Ok(Uint8Array::from(&*body).into()),
            (Ok(_), Asked::Deregistration { registration }) => {
                self.0.handlers.remove(registration);
                Ok(JsValue::UNDEFINED)
            }
            (Ok(Response::Pong(time)), Asked::Ping) => Ok((time.as_secs_f64() * 1000.0).into()),
            (Ok(Response::Properties(properties)), Asked::Properties) => {
                let entries = properties.iter().map(|(key, value)| Array::of2(&key.into(), &value.into()));
                // Defines the keys, whatever they are; it fails only for what is no list of pairs.
                Object::from_entries(&entries.collect::<Array>()).map(JsValue::from)
            }
            (Ok(Response::PrincipalChanged(changed)), Asked::Principal { principal }) => {
                if changed {
                    self.0.principal.replace(principal);
                }
                Ok(changed.into())
            }
            // The core answers each question in kind.
            (Ok(_), _) => Err(error::from_request_error(&RequestError::MalformedResponse, &site)),
            (Err(error), _) => Err(error::from_request_error(&error, &site)),
        };
        match settled {
            Ok(value) => settle.resolve(&value),
            Err(error) => settle.reject(&error),
        }
    }

    fn call_handler(&self, request: &ReceivedRequest) {
        let driver = self.clone();
        let conversation = request.conversation;
        let path = request.path.clone();
        self.0.handlers.call(request, move |answer| {
            if let Err((reason @ (ErrorReason::CALLBACK_EXCEPTION | ErrorReason::INVALID_DATA), _)) = &answer {
                // Not what it threw: that may be anything.
                driver.0.level.log(Level::Warn, || format!("the request handler for {path} failed: {reason}"));
            }
            driver.respond(conversation, &answer);
        });
    }

    fn respond(&self, conversation: ConversationId, answer: &Answer) {
        self.with_core(|core| match answer {
            Ok(value) => core.respond(conversation, Ok(value.as_wire())),
            Err((reason, text)) => core.respond(conversation, Err((*reason, text))),
        });
    }

    fn finish(&self, closed: &Closed) {
        self.0.timer.take();
        self.0.page.take();
        self.0.handlers.clear();
        let Closed { code, reason } = closed;
        let by_client = *code == CloseCode::ClosedByClient;
        self.0.level.log(Level::Info, || format!("the session is closed: {reason}"));
        if matches!(code, CloseCode::ConnectionError | CloseCode::TransportError | CloseCode::IdleConnection) {
            self.emit("disconnect", &(reason,));
        }
        let info = self.emit("close", &(code.as_str(), reason, by_client));
        self.0.closed.resolve(&info);
    }

    /// Tells listeners, and returns what they are told: an object. `details` are its members in the order of `EVENTS` in
    /// `session.js`.
    fn emit(&self, event: &str, details: &impl Serialize) -> JsValue {
        // Texts and flags: there is nothing that could fail.
        self.0.emitter.emit(event, &serde_wasm_bindgen::to_value(details).unwrap_or_default())
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u32 = i32::MAX as u32;

/// The reason of a signal that is aborted already.
pub fn aborted(signal: Option<&AbortSignal>) -> Option<JsValue> {
    signal.filter(|signal| signal.aborted()).map(AbortSignal::reason)
}

/// Listens to an abort signal until it is dropped.
struct AbortListener {
    signal: AbortSignal,
    closure: Closure<dyn Fn()>,
}

impl AbortListener {
    /// `aborted` is called with the signal's reason.
    fn new(signal: AbortSignal, aborted: Box<dyn Fn(&JsValue)>) -> Self {
        let closure = Closure::<dyn Fn()>::new({
            let signal = signal.clone();
            move || aborted(&signal.reason())
        });
        // Neither throws: the function is one.
        let _ = signal.add_event_listener_with_callback("abort", closure.as_ref().unchecked_ref());
        Self { signal, closure }
    }
}

impl Drop for AbortListener {
    fn drop(&mut self) {
        let _ = self.signal.remove_event_listener_with_callback("abort", self.closure.as_ref().unchecked_ref());
    }
}

fn credentials_from_js(value: &JsValue) -> Result<Credentials, JsValue> {
    if value.is_undefined() || value.is_null() {
        return Ok(Credentials::None);
    }
    if value.is_string() {
        return Ok(Credentials::Password(text("credentials", value)?));
    }
    let bytes = value.dyn_ref::<Uint8Array>();
    let bytes = bytes.ok_or_else(|| error::invalid_argument("credentials must be a string or a Uint8Array"))?;
    Ok(Credentials::Custom(bytes.to_vec()))
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Recovering => "recovering",
        State::Closed => "closed",
    }
}

/// The proposed session properties: those of the application, and where we run unless it says that itself.
pub fn proposed_properties(given: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut properties: Vec<_> = given.into_iter().collect();
    if !properties.iter().any(|(key, _)| key == ENVIRONMENT) {
        properties.push((ENVIRONMENT.to_owned(), platform::environment()));
    }
    properties
}

const ENVIRONMENT: &str = "$Environment";
