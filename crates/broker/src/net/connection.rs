//! One WebSocket: its messages to the hub, and the hub's messages to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Happened, Reporter};

/// Messages that may wait to be sent to one client.
const MAX_QUEUED_MESSAGES: usize = 10_000;
/// Bytes that may wait to be sent to one client, besides a single message of any size.
const MAX_QUEUED_BYTES: usize = 10 << 20;
/// How long a client has to take the last messages and to close its end, once the broker has closed its own.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the hub puts what is to be sent on a connection. Dropping it closes the connection, after what is in it has
/// been sent.
pub(super) struct Outbox {
    frames: mpsc::Sender<Vec<u8>>,
    queued_bytes: Arc<AtomicUsize>,
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
    queued_bytes: Arc<AtomicUsize>,
}

/// The client reads more slowly than it is written to.
pub(super) struct Overflow;

impl Outbox {
    pub fn new() -> (Self, Outgoing) {
        let (sender, frames) = mpsc::channel(MAX_QUEUED_MESSAGES);
        let queued_bytes = Arc::new(AtomicUsize::new(0));
        let (open, closed) = oneshot::channel();
        let outbox = Self { frames: sender, queued_bytes: queued_bytes.clone(), _open: open };
        (outbox, Outgoing { queue: Queue { frames, queued_bytes }, closed })
    }

    pub fn push(&self, frame: Vec<u8>) -> Result<(), Overflow> {
        let length = frame.len();
        let queued = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        if queued > 0 && queued + length > MAX_QUEUED_BYTES {
            return Err(Overflow);
        }
        match self.frames.try_send(frame) {
            Err(mpsc::error::TrySendError::Full(_)) => Err(Overflow),
            // A closed connection reports its end by itself.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
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
        queue.queued_bytes.fetch_sub(length, Ordering::Relaxed);
        next = queue.frames.try_recv().ok();
    }
    sink.flush().await
}
