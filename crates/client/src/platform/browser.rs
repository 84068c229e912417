//! Clock, random numbers, tasks and timers in a page or a worker.

use std::future::pending;
use std::pin::Pin;

use antiphon_protocol::time::Moment;
use gloo_timers::future::TimeoutFuture;
use wasm_bindgen::prelude::*;

/// `Send` natively, where tasks move between threads; nothing in a browser.
pub trait MaybeSend {}
impl<T: ?Sized> MaybeSend for T {}

/// `Sync` natively; nothing in a browser.
pub trait MaybeSync {}
impl<T: ?Sized> MaybeSync for T {}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// A function of the program.
pub(crate) type SharedFn<A, R> = std::rc::Rc<dyn Fn(A) -> R>;

/// A browser, whichever language the page is written in (section 2.4).
pub(crate) const CLIENT_TYPE: &str = "WB";

/// The value of the session property `$Environment`.
pub(crate) fn environment() -> String {
    concat!("RUST_WASM_", env!("CARGO_PKG_VERSION")).to_owned()
}

#[wasm_bindgen]
extern "C" {
    // Not through `window`: workers have none.
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

pub(crate) fn now() -> Moment {
    // A positive number of milliseconds, far below 2^53 microseconds.
    Moment((performance_now() * 1000.0) as u64)
}

/// From 0 to less than 1.
pub(crate) fn random() -> f64 {
    js_sys::Math::random()
}

/// Runs tasks on the event loop of the page or worker.
pub(crate) struct Spawner;

impl Spawner {
    pub fn here() -> Self {
        Self
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        wasm_bindgen_futures::spawn_local(task);
    }
}

/// A timer that can be set again.
#[derive(Default)]
pub(crate) struct Alarm {
    timeout: Option<(Moment, TimeoutFuture)>,
}

impl Alarm {
    pub fn set(&mut self, at: Moment) {
        // A timer that rings early does no harm, and a wish is often replaced by a later one.
        if self.timeout.as_ref().is_some_and(|(set, _)| *set <= at) {
            return;
        }
        // Rounded up: a timer must not ring before its time only to be set again.
        let delay = u32::try_from(at.since(now()).as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        self.timeout = Some((at, TimeoutFuture::new(delay.min(LONGEST_TIMER))));
    }

    /// Waits for the time it was set to, once. Nothing is lost when the future is dropped before.
    pub async fn ring(&mut self) {
        match &mut self.timeout {
            Some((_, timeout)) => timeout.await,
            None => pending().await,
        }
        self.timeout = None;
    }
}

/// What timers of browsers can be set to, in milliseconds; a longer wait takes several.
const LONGEST_TIMER: u32 = i32::MAX as u32;
