//! A session at work: what the driver of `antiphon-client` needs of a browser, and whom it tells.
//!
//! No `RefCell` is borrowed while JavaScript runs: it may call us back.

use std::cell::RefCell;
use std::rc::Rc;

use antiphon_client::driver::{Driver, Host};
use antiphon_protocol::client::{ClientConfig, ClientSession, ConnectionId, Event, State};
use antiphon_protocol::inspect::{Direction, Inspected};
use antiphon_protocol::recovery::Frame;
use antiphon_protocol::time::Moment;
use gloo_timers::callback::Timeout;
use js_sys::Math;

use crate::clock::now;
use crate::listener::Listener;
use crate::socket::Socket;

/// A session at work. Clones are the same session.
#[derive(Clone)]
pub struct Session(Rc<Inner>);

struct Inner {
    driver: Driver,
    listener: Listener,
    socket: RefCell<Option<Rc<Socket>>>,
    timer: RefCell<Option<(Moment, Timeout)>>,
}

impl Session {
    /// A session that is not connected yet. `address` ends where our query begins.
    pub fn new(listener: Listener, address: String, config: ClientConfig) -> Self {
        let driver = Driver::new(address, config);
        Self(Rc::new(Inner { driver, listener, socket: RefCell::default(), timer: RefCell::default() }))
    }

    pub fn driver(&self) -> &Driver {
        &self.0.driver
    }

    pub fn listener(&self) -> &Listener {
        &self.0.listener
    }

    /// Changes the core and carries out what follows from it.
    pub fn change(&self, change: impl FnOnce(&mut ClientSession, Moment)) {
        self.driver().change(&mut &*self, change);
    }
}

impl Host for &Session {
    fn now(&mut self) -> Moment {
        now()
    }

    fn random(&mut self) -> f64 {
        Math::random()
    }

    fn connect(&mut self, connection: ConnectionId) {
        self.listener().credentials_wanted(connection.0 as f64);
    }

    fn open(&mut self, connection: ConnectionId, url: String) {
        let opened = Socket::open(&url, connection.0 as f64, self.listener());
        // What ran while it was opened may have ended the session; nobody else would close the socket then.
        let is_wanted = self.driver().with_core(|core| core.connection()) == Some(connection);
        match opened {
            Ok(socket) if is_wanted => drop(self.0.socket.replace(Some(Rc::new(socket)))),
            Ok(socket) => drop(socket),
            // At once and without any network, as it would be again.
            Err(reason) => self.driver().handle_failed(self, connection, &reason, false),
        }
    }

    fn send(&mut self, frame: Frame) {
        // A clone: a socket that is not the browser's may call us back.
        let socket = self.0.socket.borrow().clone();
        if let Some(socket) = socket {
            socket.send(&frame);
        }
    }

    fn leave(&mut self, token: &str) {
        self.listener().leave(token);
    }

    fn disconnect(&mut self) {
        let socket = self.0.socket.take();
        drop(socket);
    }

    fn wake_at(&mut self, at: Moment) {
        // A timer that rings early does no harm, and a wish is often replaced by a later one.
        if self.0.timer.borrow().as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        // Rounded up: a timer must not ring before its time only to be set again.
        let delay = u32::try_from(at.0.saturating_sub(now().0).div_ceil(1000)).unwrap_or(u32::MAX);
        let session = self.clone();
        let timer = Timeout::new(delay.min(LONGEST_TIMER), move || {
            session.0.timer.take();
            session.driver().handle_timeout(&mut &session);
        });
        self.0.timer.replace(Some((at, timer)));
    }

    fn retry(&mut self, attempt: u32) {
        self.listener().retry_wanted(attempt);
    }

    fn state_changed(&mut self, state: State) {
        self.listener().tell_state(state);
    }

    fn deliver(&mut self, event: Event) {
        if matches!(event, Event::ConnectFailed(_) | Event::Closed(_)) {
            self.0.timer.take();
        }
        let max_message_size = self.driver().with_core(|core| core.max_message_size());
        self.listener().tell(event, max_message_size.map_or(f64::INFINITY, |size| size as f64));
    }

    fn inspected(&mut self, direction: Direction, inspected: &Inspected<'_>, size: usize) {
        self.listener().tell_inspected(direction, inspected, size);
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u32 = i32::MAX as u32;
