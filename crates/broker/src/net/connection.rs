//! One WebSocket: its messages to the hub, and the hub's messages to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Happened, Reporter};

/// Messages that may wait to be sent to one client: more than it may have requests outstanding, since all of them can
/// fail at the same moment.
const MAX_QUEUED_MESSAGES: usize = 12_000;
/// Bytes that may wait to be sent to one client, besides a single message that is larger than this alone.
const MAX_QUEUED_BYTES: usize = 10 << 20;
/// How long a client has to take the last messages and to close its end, once the broker has closed its own.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the hub puts what is to be sent on a connection. Dropping it closes the connection, after what is in it has
/// been sent.
pub(super) struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    _open: oneshot::Sender<Infallible>,
}

/// The other end of an [`Outbox`].
pub(super) struct Outgoing {
    queue: Queue,
    /// Resolves when the outbox is gone, whether or not the client takes what is still in it.
    closed: oneshot::Receiver<Infallible>,
}

struct Queue {
    frames: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<Waiting>,
}

/// What is in a queue.
#[derive(Default)]
struct Waiting {
    /// In messages of at most [`MAX_QUEUED_BYTES`].
    bytes: AtomicUsize,
    /// Whether there is a larger one.
    large: AtomicBool,
}

/// The client reads more slowly than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Outbox {
    pub fn new() -> (Self, Outgoing) {
        let (sender, frames) = mpsc::channel(MAX_QUEUED_MESSAGES);
        let waiting = Arc::<Waiting>::default();
        let (open, closed) = oneshot::channel();
        let outbox = Self { frames: sender, waiting: waiting.clone(), _open: open };
        (outbox, Outgoing { queue: Queue { frames, waiting }, closed })
    }

    pub fn push(&self, frame: Vec<u8>) -> Result<(), Overflow> {
        self.waiting.add(frame.len())?;
        match self.frames.try_send(frame) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
            // A closed connection reports its end by itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}

impl Waiting {
    fn add(&self, length: usize) -> Result<(), Overflow> {
        let overflow = if length > MAX_QUEUED_BYTES {
            self.large.swap(true, Ordering::Relaxed)
        } else {
            self.bytes.fetch_add(length, Ordering::Relaxed) + length > MAX_QUEUED_BYTES
        };
        if overflow { Err(Overflow) } else { Ok(()) }
    }

    fn remove(&self, length: usize) {
        if length > MAX_QUEUED_BYTES {
            self.large.store(false, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(length, Ordering::Relaxed);
        }
    }
}

/// Serves a connection until either end has closed it.
pub(super) async fn run(socket: WebSocket, outgoing: Outgoing, reporter: Reporter) {
    let (sink, stream) = socket.split();
    let Outgoing { queue, closed } = outgoing;
    let mut writing = std::pin::pin!(write_frames(sink, queue));
    let mut reading = std::pin::pin!(read_frames(stream, &reporter));
    // A client that takes nothing would keep us writing for ever.
    let out_of_patience = async {
        let _ = closed.await;
        tokio::time::sleep(CLOSE_PATIENCE).await;
    };
    tokio::select! {
        // Everything is sent, or the connection broke. What still comes from this client counts no more.
        () = &mut writing => {
            let _ = tokio::time::timeout(CLOSE_PATIENCE, reading).await;
            reporter.report(Happened::Gone).await;
        }
        () = &mut reading => {
            reporter.report(Happened::Gone).await;
            let _ = tokio::time::timeout(CLOSE_PATIENCE, writing).await;
        }
        () = out_of_patience => reporter.report(Happened::Gone).await,
    }
}

async fn read_frames(mut stream: SplitStream<WebSocket>, reporter: &Reporter) {
    while let Some(received) = stream.next().await {
        let happened = match received {
            Ok(Message::Binary(frame)) => Happened::Frame(frame),
            Ok(Message::Text(_)) => Happened::Violation,
            Ok(Message::Ping(_) | Message::Pong(_)) => Happened::SignOfLife,
            Ok(Message::Close(_)) => return,
            // The connection broke, or the client sent what is no WebSocket frame or too large a one.
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                reporter.report(Happened::Violation).await;
                return;
            }
        };
        reporter.report(happened).await;
    }
}

async fn write_frames(mut sink: SplitSink<WebSocket, Message>, mut queue: Queue) {
    while let Some(frame) = queue.frames.recv().await {
        if write_all_queued(&mut sink, &mut queue, frame).await.is_err() {
            return;
        }
    }
    let goodbye = CloseFrame { code: close_code::NORMAL, reason: "".into() };
    // The client may be gone; then there is nobody to say it to.
    let _ = sink.send(Message::Close(Some(goodbye))).await;
}

/// Sends `frame` and whatever else is queued with a single flush.
async fn write_all_queued(
    sink: &mut SplitSink<WebSocket, Message>,
    queue: &mut Queue,
    frame: Vec<u8>,
) -> Result<(), axum::Error> {
    let mut next = Some(frame);
    while let Some(frame) = next {
        let length = frame.len();
        sink.feed(Message::Binary(Bytes::from(frame))).await?;
        queue.waiting.remove(length);
        next = queue.frames.try_recv().ok();
    }
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_message_leaves_room_for_small_ones_but_not_for_another_large_one() {
        let (outbox, mut outgoing) = Outbox::new();
        let large = || vec![0; MAX_QUEUED_BYTES + 1];
        assert_eq!(outbox.push(large()), Ok(()));
        assert_eq!(outbox.push(vec![0; 256]), Ok(()));
        assert_eq!(outbox.push(large()), Err(Overflow));
        let sent = outgoing.queue.frames.try_recv().expect("the large one");
        outgoing.queue.waiting.remove(sent.len());
        assert_eq!(outbox.push(large()), Ok(()));
    }

    #[test]
    fn small_messages_may_fill_the_queue_and_no_more() {
        let (outbox, _outgoing) = Outbox::new();
        for _ in 0..10 {
            assert_eq!(outbox.push(vec![0; MAX_QUEUED_BYTES / 10]), Ok(()));
        }
        assert_eq!(outbox.push(vec![0]), Err(Overflow));
    }

    #[test]
    fn messages_are_limited_in_number_too() {
        let (outbox, _outgoing) = Outbox::new();
        let pushed = (0..).take_while(|_| outbox.push(Vec::new()).is_ok()).count();
        assert_eq!(pushed, MAX_QUEUED_MESSAGES);
    }
}
