//! A session at work: what the driver of `antiphon-client` needs of a browser, and whom it tells. Socket and timer are
//! JavaScript's, which is told what to do with them.

use std::cell::Cell;

use antiphon_client::driver::{Driver, Host};
use antiphon_protocol::client::{ClientConfig, ClientSession, ConnectionId, Event, State};
use antiphon_protocol::inspect::{Direction, Inspected};
use antiphon_protocol::recovery::Frame;
use antiphon_protocol::time::Moment;
use js_sys::Math;

use crate::clock::now;
use crate::listener::Listener;

/// A session at work.
pub struct Session {
    driver: Driver,
    listener: Listener,
    /// When the timer rings, if it is set.
    timer: Cell<Moment>,
}

impl Session {
    /// A session that is not connected yet. `address` ends where our query begins.
    pub fn new(listener: Listener, address: String, config: ClientConfig) -> Self {
        Self { driver: Driver::new(address, config), listener, timer: Cell::new(Moment::NEVER) }
    }

    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// The timer has rung.
    pub fn handle_timer(&self) {
        self.timer.set(Moment::NEVER);
        self.driver().handle_timeout(&mut &*self);
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
        if let Some(reason) = self.listener().open_socket(connection.0 as f64, &url) {
            // At once and without any network, as it would be again.
            self.driver().handle_failed(self, connection, &reason, false);
        } else if self.driver().with_core(|core| core.connection()) != Some(connection) {
            // What ran while it was opened has ended the session; nobody else would close the socket.
            self.disconnect();
        }
    }

    fn send(&mut self, frame: Frame) {
        self.listener().send_frame(&frame);
    }

    fn flush_soon(&mut self) {
        self.listener().flush_soon();
    }

    fn leave(&mut self, token: &str) {
        self.listener().leave(token);
    }

    fn disconnect(&mut self) {
        self.listener().close_socket();
    }

    fn wake_at(&mut self, at: Moment) {
        // A timer that rings early does no harm, and a wish is often replaced by a later one.
        if self.timer.get() <= at {
            return;
        }
        // Rounded up: a timer must not ring before its time only to be set again.
        let delay = at.0.saturating_sub(now().0).div_ceil(1000).min(LONGEST_TIMER);
        self.timer.set(at);
        self.listener().set_timer(delay as f64);
    }

    fn retry(&mut self, attempt: u32) {
        self.listener().retry_wanted(attempt);
    }

    fn state_changed(&mut self, state: State) {
        self.listener().tell_state(state);
    }

    fn deliver(&mut self, event: Event) {
        let (max_message_size, features) = self.driver().with_core(|core| (core.max_message_size(), core.features()));
        self.listener().tell(event, max_message_size.map_or(f64::INFINITY, |size| size as f64), features);
    }

    fn inspected(&mut self, direction: Direction, inspected: &Inspected<'_>, size: usize) {
        self.listener().tell_inspected(direction, inspected, size);
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u64 = i32::MAX as u64;
