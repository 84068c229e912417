//! The events of a session, as streams.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use antiphon_protocol::client::{Closed, State};
use antiphon_protocol::wire::primitives::SessionId;
use futures_util::Stream;

use crate::lock::{Lock, Ref};

/// An event of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The state of the session has changed.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
    },
    /// The connection is lost; the session looks for another one.
    Disconnected {
        /// For people.
        reason: String,
    },
    /// Messages were lost with the connection.
    MessagesLost {
        /// Number of requests that fail because of that.
        requests: usize,
        /// Number of request handlers that are registered again.
        handlers: usize,
    },
    /// A request handler is registered no more: it was lost with the connection, and was not to be, or could not be,
    /// registered again.
    HandlerLost {
        /// As it was registered.
        path: String,
    },
    /// The session has a connection again.
    Reconnected {
        /// Its ID now.
        session: SessionId,
        /// Whether no message was lost.
        lossless: bool,
        /// Whether the server had forgotten the session and opened a new one.
        new_session: bool,
    },
    /// The session is over. Nothing follows.
    Closed(Closed),
}

/// The events of a session from some moment on; ends with the session. Of more than 64 events that nobody has taken,
/// the oldest are lost.
#[derive(Debug)]
pub struct Events(Ref<Lock<Queue>>);

/// Events that are kept for a listener that does not take them.
const KEPT_EVENTS: usize = 64;

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<SessionEvent>,
    reader: Option<Waker>,
    is_over: bool,
}

impl Stream for Events {
    type Item = SessionEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<SessionEvent>> {
        let mut queue = self.0.get();
        match queue.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.is_over => Poll::Ready(None),
            None => {
                queue.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The listeners of a session.
#[derive(Debug, Default)]
pub(crate) struct Listeners(Lock<List>);

#[derive(Debug, Default)]
struct List {
    queues: Vec<Ref<Lock<Queue>>>,
    is_over: bool,
}

impl Listeners {
    pub fn listen(&self) -> Events {
        let mut list = self.0.get();
        let queue = Ref::new(Lock::new(Queue { is_over: list.is_over, ..Queue::default() }));
        // One that has no other owner than this list is gone.
        list.queues.retain(|queue| Ref::strong_count(queue) > 1);
        list.queues.push(queue.clone());
        Events(queue)
    }

    pub fn tell(&self, event: &SessionEvent) {
        for queue in &self.0.get().queues {
            let reader = {
                let mut queue = queue.get();
                if queue.events.len() == KEPT_EVENTS {
                    queue.events.pop_front();
                }
                queue.events.push_back(event.clone());
                queue.reader.take()
            };
            wake(reader);
        }
    }

    /// Nothing follows.
    pub fn end(&self) {
        let mut list = self.0.get();
        list.is_over = true;
        for queue in list.queues.drain(..) {
            let reader = {
                let mut queue = queue.get();
                queue.is_over = true;
                queue.reader.take()
            };
            wake(reader);
        }
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}
