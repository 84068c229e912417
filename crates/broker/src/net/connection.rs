//! One WebSocket: its messages to the hub, and the hub's messages to it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::hub::{Happened, Reporter};

/// What may wait to be sent to one client for long. More is a burst, which takes its time; a client that has not caught
/// up within [`BURST_PATIENCE`] reads too slowly.
const LASTING: Amount = Amount { messages: 12_000, bytes: 10 << 20 };
/// What may wait to be sent to one client at any time.
const BURST: Amount = Amount { messages: 120_000, bytes: 128 << 20 };
/// How long more than [`LASTING`] may wait.
const BURST_PATIENCE: Duration = Duration::from_secs(5);
/// How long a client has to take the last messages and to close its end, once the broker has closed its own.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the hub puts what is to be sent on a connection. Dropping it closes the connection, after what is in it has
/// been sent.
pub(super) struct Outbox {
    frames: mpsc::UnboundedSender<Bytes>,
    waiting: Arc<Waiting>,
    /// Since when more than [`LASTING`] has been waiting.
    burst_since: Option<Instant>,
    _open: oneshot::Sender<Infallible>,
}

/// The other end of an [`Outbox`].
pub(super) struct Outgoing {
    queue: Queue,
    /// Resolves when the outbox is gone, whether or not the client takes what is still in it.
    closed: oneshot::Receiver<Infallible>,
}

struct Queue {
    frames: mpsc::UnboundedReceiver<Bytes>,
    waiting: Arc<Waiting>,
}

/// A number of messages, and their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Amount {
    messages: usize,
    bytes: usize,
}

/// What is in a queue.
#[derive(Default)]
struct Waiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// The client reads more slowly than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Outbox {
    pub fn new() -> (Self, Outgoing) {
        let (sender, frames) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        let (open, closed) = oneshot::channel();
        let outbox = Self { frames: sender, waiting: waiting.clone(), burst_since: None, _open: open };
        (outbox, Outgoing { queue: Queue { frames, waiting }, closed })
    }

    /// Queues a message; `now` is the time.
    pub fn push(&mut self, now: Instant, frame: Bytes) -> Result<(), Overflow> {
        let waiting = self.waiting.add(frame.len());
        // A closed connection reports its end by itself.
        let _ = self.frames.send(frame);
        if waiting.is_within(LASTING) {
            self.burst_since = None;
            return Ok(());
        }
        let since = *self.burst_since.get_or_insert(now);
        // A single message is always taken.
        let fits = waiting.is_within(BURST) || waiting.messages == 1;
        if fits && now.duration_since(since) <= BURST_PATIENCE { Ok(()) } else { Err(Overflow) }
    }
}

impl Amount {
    fn is_within(self, limit: Self) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}

impl Waiting {
    /// Returns what is in the queue then.
    fn add(&self, length: usize) -> Amount {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        Amount { messages, bytes: self.bytes.fetch_add(length, Ordering::Relaxed) + length }
    }

    fn remove(&self, length: usize) {
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(length, Ordering::Relaxed);
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
            Err(error) => {
                tracing::debug!(%error, "a connection broke");
                if is_violation(error) {
                    reporter.report(Happened::Violation).await;
                }
                return;
            }
        };
        reporter.report(happened).await;
    }
}

/// Whether a client sent what is no WebSocket frame, or too large a one. Otherwise its connection broke, and it may come
/// back on another one.
fn is_violation(error: axum::Error) -> bool {
    use tungstenite::Error;
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error.into_inner().downcast_ref::<Error>() {
        Some(Error::Protocol(ResetWithoutClosingHandshake)) => false,
        Some(Error::Protocol(_) | Error::Capacity(_) | Error::Utf8(_)) => true,
        _ => false,
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
    frame: Bytes,
) -> Result<(), axum::Error> {
    let mut next = Some(frame);
    while let Some(frame) = next {
        let length = frame.len();
        sink.feed(Message::Binary(frame)).await?;
        queue.waiting.remove(length);
        next = queue.frames.try_recv().ok();
    }
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes messages of `length` bytes until one is too many.
    fn fill(outbox: &mut Outbox, now: Instant, length: usize) -> usize {
        (0..).take_while(|_| outbox.push(now, vec![0; length].into()).is_ok()).count()
    }

    /// L-3.
    #[test]
    fn a_burst_is_taken_up_to_a_bound_of_bytes_and_of_messages() {
        let now = Instant::now();
        assert_eq!(fill(&mut Outbox::new().0, now, 1 << 20), BURST.bytes >> 20);
        assert_eq!(fill(&mut Outbox::new().0, now, 0), BURST.messages);
        assert_eq!(Outbox::new().0.push(now, vec![0; BURST.bytes + 1].into()), Ok(()));
    }

    /// L-3.
    #[test]
    fn who_does_not_catch_up_in_time_reads_too_slowly() {
        let (mut outbox, mut outgoing) = Outbox::new();
        let start = Instant::now();
        let push = |outbox: &mut Outbox, after: Duration| outbox.push(start + after, vec![0; 1 << 20].into());
        for _ in 0..LASTING.bytes >> 20 {
            assert_eq!(push(&mut outbox, Duration::ZERO), Ok(()));
        }
        assert_eq!(push(&mut outbox, Duration::from_secs(60)), Ok(()), "the burst begins here");
        assert_eq!(push(&mut outbox, Duration::from_secs(64)), Ok(()));
        // It catches up, and the next burst has time of its own.
        while let Ok(sent) = outgoing.queue.frames.try_recv() {
            outgoing.queue.waiting.remove(sent.len());
        }
        for _ in 0..=LASTING.bytes >> 20 {
            assert_eq!(push(&mut outbox, Duration::from_secs(70)), Ok(()));
        }
        assert_eq!(push(&mut outbox, Duration::from_secs(75)), Ok(()));
        assert_eq!(push(&mut outbox, Duration::from_secs(76)), Err(Overflow));
    }
}
