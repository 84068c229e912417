//! Carries out what the protocol core asks: open a connection, send, set a timer, tell the application. All faces of the
//! client stand on it: JavaScript, Rust in a browser, Rust natively.
//!
//! **Why it looks like this.** It is a plain, synchronous state machine between two others: the core, which says what is
//! to be done, and a [`Host`], which can do it. It knows no future, no channel, no timer and no socket, so that the
//! JavaScript face, whose download is counted in bytes, has nothing in it that it does not use; what happens later comes
//! back as a call of a method. The host is a parameter and not a field: a task has itself as `&mut`, and the JavaScript
//! face has an object that it may be called back from. For that the core is locked for one statement at a time, and never
//! while the host runs.

use std::time::Duration;

use antiphon_protocol::batch;
use antiphon_protocol::client::{ClientConfig, ClientSession, ConnectionId, Event, Output, State};
use antiphon_protocol::inspect::{Direction, Inspected, Inspector};
use antiphon_protocol::recovery::Frame;
use antiphon_protocol::text;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::Credentials;

use crate::lock::Lock;

/// The platform and the application of one face, which carry out what the core wants done.
///
/// Every method may call the driver again.
pub trait Host {
    /// The time, by a clock that never goes back.
    fn now(&mut self) -> Moment;

    /// A number from 0 to less than 1, drawn at random.
    fn random(&mut self) -> f64;

    /// Get credentials, now or later, then call [`Driver::open`], or
    /// [`Driver::handle_disconnected`] if there are none. While the session is connected, the server asks for fresh ones: give
    /// them to it by [`ClientSession::change_principal`], if there are any.
    fn connect(&mut self, connection: ConnectionId);

    /// Open a WebSocket. What happens on it comes by the `handle_*` methods of the driver, never before this returns.
    fn open(&mut self, connection: ConnectionId, url: String);

    /// Send a binary message.
    fn send(&mut self, frame: Frame);

    /// Call [`Driver::flush`] when the code that runs now is done: what it sends goes out together.
    fn flush_soon(&mut self);

    /// The page is left. If the WebSocket is not open, the server is to be told otherwise: by posting `token`, which is a
    /// secret, to its [door](Driver::door) for that, whatever comes of it.
    fn leave(&mut self, token: &str);

    /// Close the WebSocket, or stop opening it; nothing of it is to be heard any more.
    fn disconnect(&mut self);

    /// Call [`Driver::handle_timeout`] at this time. Replaces any earlier wish; a call that comes early does no harm.
    fn wake_at(&mut self, at: Moment);

    /// Call [`Driver::retry_after`]: the application may say how long it wants to wait before this attempt to reconnect,
    /// counted from 1.
    fn retry(&mut self, attempt: u32);

    /// The state of the session has changed.
    fn state_changed(&mut self, state: State);

    /// Tell the application.
    fn deliver(&mut self, event: Event);

    /// A message of `size` bytes passes; told while [inspecting](Driver::set_inspecting) only.
    fn inspected(&mut self, _direction: Direction, _inspected: &Inspected<'_>, _size: usize) {}
}

/// What happens to a page that its connections do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEvent {
    /// It is left for good.
    Left,
    /// It was frozen, hidden or without a network.
    Woken {
        /// From the back/forward cache.
        restored: bool,
    },
}

/// A session at work: its core, and how far what it asked for has been carried out.
pub struct Driver {
    /// Up to where our query begins, which is behind `?` or `&`. At any other, what we ask for is in the first message
    /// (section 18.5).
    address: String,
    inner: Lock<Inner>,
}

struct Inner {
    core: ClientSession,
    /// What the host knows of.
    state: State,
    /// Whether [`Driver::drive`] is at work.
    is_driving: bool,
    /// What is to be said first on the WebSocket that is being opened, if it is not in the address: it has secrets in it.
    first: Option<String>,
    /// Watches messages pass, while somebody wants to know.
    inspector: Option<Inspector>,
}

/// One thing to be done by the host.
enum Step {
    State(State),
    Output(Output),
}

impl Driver {
    /// A session that is not connected yet. `address` is that of the server, up to where our query begins; without `?` or
    /// `&` at its end, nothing that we say will be in the address.
    #[must_use]
    pub fn new(address: String, config: ClientConfig) -> Self {
        let core = ClientSession::new(config);
        let state = State::Connecting;
        Self { address, inner: Lock::new(Inner { core, state, is_driving: false, first: None, inspector: None }) }
    }

    /// Looks at the core, or changes it; then [`Self::drive`] has to follow. Must not call the driver.
    pub fn with_core<T>(&self, with: impl FnOnce(&mut ClientSession) -> T) -> T {
        with(&mut self.inner.get().core)
    }

    /// Changes the core and carries out what follows from it.
    pub fn change(&self, host: &mut impl Host, change: impl FnOnce(&mut ClientSession, Moment)) {
        let now = host.now();
        self.act(host, |core| change(core, now));
    }

    /// The same, for what asks for no time: a platform's clock may take longer than the change.
    pub fn act(&self, host: &mut impl Host, change: impl FnOnce(&mut ClientSession)) {
        self.with_core(change);
        self.drive(host);
    }

    /// Carries out everything that the core wants done. What follows from a call of the host is carried out when the host has
    /// returned: in order, and without a deeper stack for each message of a batch.
    pub fn drive(&self, host: &mut impl Host) {
        if std::mem::replace(&mut self.inner.get().is_driving, true) {
            return;
        }
        // The lock ends within `next_step`: the host may call us back.
        while let Some(step) = self.next_step() {
            match step {
                Step::State(state) => host.state_changed(state),
                Step::Output(output) => self.carry_out(host, output),
            }
        }
        self.inner.get().is_driving = false;
    }

    fn next_step(&self) -> Option<Step> {
        let mut inner = self.inner.get();
        let state = inner.core.state();
        if std::mem::replace(&mut inner.state, state) != state {
            return Some(Step::State(state));
        }
        inner.core.poll_output().map(Step::Output)
    }

    fn carry_out(&self, host: &mut impl Host, output: Output) {
        match output {
            Output::Connect(connection) => host.connect(connection),
            Output::Send(frame) => {
                // Afterwards the bytes are the host's, and whoever watches may send something of its own.
                let watched = self.is_inspecting().then(|| frame.clone());
                host.send(frame);
                if let Some(frame) = watched {
                    self.inspect(host, Direction::Out, &frame);
                }
            }
            Output::FlushSoon => host.flush_soon(),
            Output::Disconnect => host.disconnect(),
            Output::Retry(attempt) => host.retry(attempt),
            Output::WakeAt(at) => host.wake_at(at),
            Output::Deliver(event) => {
                if matches!(event, Event::Reconnected { lossless: false, .. }) {
                    // Conversations of before have no answers, and their numbers may come again.
                    self.set_inspecting(self.is_inspecting());
                }
                host.deliver(event);
            }
        }
    }

    /// Opens a WebSocket with these credentials, unless this connection has been given up meanwhile.
    pub fn open(&self, host: &mut impl Host, connection: ConnectionId, credentials: Credentials) {
        let url = {
            let mut inner = self.inner.get();
            if inner.core.connection() != Some(connection) {
                return;
            }
            let (mut url, query) = (self.address.clone(), inner.core.connect_query(credentials));
            match url.as_bytes().last() {
                Some(b'?' | b'&') => url.push_str(&query),
                _ => inner.first = Some(query),
            }
            url
        };
        host.open(connection, url);
    }

    /// Says how long the application wants to wait before the attempt that [`Host::retry`] named; without `delay` the core
    /// chooses.
    pub fn retry_after(&self, host: &mut impl Host, delay: Option<Duration>) {
        let random = host.random();
        self.change(host, |core, now| core.retry_after(now, delay, random));
    }

    /// The WebSocket is open.
    pub fn handle_open(&self, host: &mut impl Host, connection: ConnectionId) {
        let first = {
            let mut inner = self.inner.get();
            if inner.core.handle_open(connection) { inner.first.take() } else { None }
        };
        if let Some(query) = first {
            host.send(query.into_bytes().into());
        }
        self.drive(host);
    }

    /// A binary message has arrived.
    pub fn handle_frame(&self, host: &mut impl Host, connection: ConnectionId, frame: &[u8]) {
        if self.is_inspecting() && self.with_core(|core| core.connection()) == Some(connection) {
            self.inspect(host, Direction::In, frame);
        }
        self.change(host, |core, now| core.handle_frame(now, connection, frame));
    }

    /// Sends what waits to be sent together.
    pub fn flush(&self, host: &mut impl Host) {
        self.act(host, ClientSession::flush);
    }

    /// The server did what no server may do; `text` says what.
    pub fn handle_violation(&self, host: &mut impl Host, connection: ConnectionId, text: &str) {
        self.change(host, |core, now| core.handle_violation(now, connection, text));
    }

    /// The WebSocket was closed, or could not be opened, with a code and a reason as a browser tells it; `can_pass` says
    /// whether another attempt may succeed.
    pub fn handle_closed(
        &self,
        host: &mut impl Host,
        connection: ConnectionId,
        code: u16,
        reason: &str,
        can_pass: bool,
    ) {
        let is_opening = self.with_core(|core| core.is_opening());
        let reason = match (code, reason) {
            // What browsers say of every connection that ended without a goodbye.
            (ABNORMAL, "") if is_opening => {
                " (nothing listens there, it refused the origin or the path, or the page may not connect there)".into()
            }
            (_, "") => String::new(),
            (_, reason) => text![" (", reason, ")"],
        };
        let text = text!["the WebSocket to ", self.server(), " was closed with code ", code, reason];
        self.handle_failed(host, connection, &text, can_pass);
    }

    /// The connection is gone, or was never made; `reason` is for people.
    pub fn handle_disconnected(&self, host: &mut impl Host, connection: ConnectionId, reason: &str) {
        self.handle_failed(host, connection, reason, true);
    }

    /// The same; `can_pass` says whether another attempt may succeed.
    pub fn handle_failed(&self, host: &mut impl Host, connection: ConnectionId, reason: &str, can_pass: bool) {
        self.change(host, |core, now| core.handle_failed(now, connection, reason, can_pass));
    }

    /// Where a page that is left posts the token of its session (protocol 11): beside the address of WebSockets.
    #[must_use]
    pub fn door(&self) -> String {
        // `ws` becomes `http`, `wss` becomes `https`.
        text!["http", self.server().trim_start_matches("ws").trim_end_matches('/'), "/close"]
    }

    /// The address without any query.
    fn server(&self) -> &str {
        // Less code than `split`.
        let end = self.address.bytes().position(|byte| byte == b'?');
        self.address.get(..end.unwrap_or(self.address.len())).unwrap_or_default()
    }

    /// Something has happened to the page.
    pub fn handle_page(&self, host: &mut impl Host, event: PageEvent) {
        let reason = match event {
            PageEvent::Left => {
                let token = self.with_core(|core| core.token().map(str::to_owned));
                if let Some(token) = token {
                    host.leave(&token);
                }
                "the page was left"
            }
            PageEvent::Woken { restored: true } => "the page was in the back/forward cache",
            PageEvent::Woken { restored: false } => "",
        };
        self.change(host, |core, now| {
            if event == PageEvent::Left {
                core.close(now);
            }
            match core.connection() {
                // There will be no event of its connection any more, or a late one.
                Some(connection) if !reason.is_empty() => core.handle_disconnected(now, connection, reason),
                // Timers are late then.
                _ => core.handle_timeout(now),
            }
            core.reconnect(now);
        });
    }

    /// The time of [`Host::wake_at`] has come.
    pub fn handle_timeout(&self, host: &mut impl Host) {
        self.change(host, |core, now| core.handle_timeout(now));
    }

    /// Whether the host is told of messages as they pass.
    pub fn set_inspecting(&self, is_wanted: bool) {
        self.inner.get().inspector = is_wanted.then(Inspector::default);
    }

    fn is_inspecting(&self) -> bool {
        self.inner.get().inspector.is_some()
    }

    fn inspect(&self, host: &mut impl Host, direction: Direction, frame: &[u8]) {
        let features = self.with_core(|core| core.features());
        for message in batch::messages(frame, features).flatten() {
            let inspected = match &mut self.inner.get().inspector {
                Some(inspector) => inspector.inspect(direction, message),
                None => None,
            };
            if let Some(inspected) = inspected {
                host.inspected(direction, &inspected, message.len());
            }
        }
    }
}

/// The code of a WebSocket that ended without a closing handshake (RFC 6455, section 7.1.5).
pub(crate) const ABNORMAL: u16 = 1006;
