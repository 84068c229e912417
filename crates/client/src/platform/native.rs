//! Clock, random numbers, tasks and timers on tokio.

use std::future::pending;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::driver::PageEvent;

/// `Send` natively, where tasks move between threads; nothing in a browser.
pub trait MaybeSend: Send {}
impl<T: Send + ?Sized> MaybeSend for T {}

/// `Sync` natively; nothing in a browser.
pub trait MaybeSync: Sync {}
impl<T: Sync + ?Sized> MaybeSync for T {}

pub(crate) type BoxFuture<T> = futures_util::future::BoxFuture<'static, T>;

/// A function of the program.
pub(crate) type SharedFn<A, R> = std::sync::Arc<dyn Fn(A) -> R + Send + Sync>;

/// Of no official client; servers report it as OTHER (section 2.4).
pub(crate) const CLIENT_TYPE: &str = "WR";

/// The value of the session property `$Environment`.
pub(crate) fn environment() -> String {
    format!("RUST_{}_{}", std::env::consts::OS, env!("CARGO_PKG_VERSION"))
}

/// Where time begins for every session of this process.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

pub(crate) fn now() -> Moment {
    Moment::default() + START.elapsed()
}

/// From 0 to less than 1.
pub(crate) fn random() -> f64 {
    fastrand::f64()
}

/// Runs tasks in the tokio runtime that a session was opened in.
pub(crate) struct Spawner(Handle);

impl Spawner {
    /// Of the runtime that the caller is in, which it must be.
    pub fn here() -> Self {
        Self(Handle::current())
    }

    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }
}

/// A timer that can be set again.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl Alarm {
    pub fn set(&mut self, at: Moment) {
        let at = *START + Duration::from_micros(at.0);
        self.is_set = true;
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() == at => {}
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(sleep_until(at))),
        }
    }

    /// Waits for the time it was set to, once. Nothing is lost when the future is dropped before.
    pub async fn ring(&mut self) {
        match &mut self.sleep {
            Some(sleep) if self.is_set => {
                sleep.await;
                self.is_set = false;
            }
            _ => pending().await,
        }
    }
}

/// The page that a session is of: natively there is none, and nothing happens to it.
pub(crate) struct Page;

impl Page {
    pub fn new() -> Self {
        Self
    }

    pub async fn next(&mut self) -> PageEvent {
        pending().await
    }
}

/// No page is left here.
pub(crate) fn tell_of_leaving(_url: &str, _token: &str) {}
