//! A flag that wakes the task of a session.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;

/// Tells a task that there is something to do. Signals that come before it looks count as one.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    is_raised: AtomicBool,
    task: AtomicWaker,
}

impl Signal {
    pub fn raise(&self) {
        self.is_raised.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Waits until it is raised, and takes it down. Nothing is lost when the future is dropped before.
    pub async fn raised(&self) {
        poll_fn(|context| {
            self.task.register(context.waker());
            if self.is_raised.swap(false, Ordering::AcqRel) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
