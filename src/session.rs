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
use js_sys::{Array, Math, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::WebSocket;

use crate::clock::now;
use crate::listener::Listener;

/// A session at work. Clones are the same session.
#[derive(Clone)]
pub struct Session(Rc<Inner>);

struct Inner {
    driver: Driver,
    listener: Listener,
    socket: RefCell<Option<WebSocket>>,
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

    /// The same, for what asks for no time.
    pub fn act(&self, change: impl FnOnce(&mut ClientSession)) {
        self.driver().act(&mut &*self, change);
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
        let listener = self.listener();
        let made = match listener.web_socket() {
            Some(constructor) => Reflect::construct(&constructor, &Array::of1(&url.into())),
            None => WebSocket::new(&url).map(JsValue::from),
        };
        let is_made = made.is_ok();
        let socket = made.unwrap_or_else(|thrown| thrown);
        if let Some(reason) = listener.listen(connection.0 as f64, &socket, is_made) {
            // At once and without any network, as it would be again.
            return self.driver().handle_failed(self, connection, &reason, false);
        }
        let socket = socket.unchecked_into();
        // What ran while it was opened may have ended the session; nobody else would close the socket then.
        if self.driver().with_core(|core| core.connection()) == Some(connection) {
            self.0.socket.replace(Some(socket));
        } else {
            listener.close_socket(&socket);
        }
    }

    fn send(&mut self, frame: Frame) {
        // A clone: a socket that is not the browser's may call us back.
        let socket = self.0.socket.borrow().clone();
        if let Some(socket) = socket {
            let sent = socket.send_with_js_u8_array(&self.listener().copy_of(&frame));
            // Throws only while the socket is connecting, when the core sends nothing.
            debug_assert!(sent.is_ok());
        }
    }

    fn flush_soon(&mut self) {
        self.listener().flush_soon();
    }

    fn leave(&mut self, token: &str) {
        self.listener().leave(token);
    }

    fn disconnect(&mut self) {
        let socket = self.0.socket.take();
        if let Some(socket) = socket {
            self.listener().close_socket(&socket);
        }
    }

    fn wake_at(&mut self, at: Moment) {
        // A timer that rings early does no harm, and a wish is often replaced by a later one.
        if self.0.timer.borrow().as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        // Rounded up: a timer must not ring before its time only to be set again.
        let delay = at.0.saturating_sub(now().0).div_ceil(1000).min(LONGEST_TIMER);
        let session = self.clone();
        let timer = Timeout::new(delay as u32, move || {
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
        let (max_message_size, features) = self.driver().with_core(|core| (core.max_message_size(), core.features()));
        self.listener().tell(event, max_message_size.map_or(f64::INFINITY, |size| size as f64), features);
    }

    fn inspected(&mut self, direction: Direction, inspected: &Inspected<'_>, size: usize) {
        self.listener().tell_inspected(direction, inspected, size);
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u64 = i32::MAX as u64;
