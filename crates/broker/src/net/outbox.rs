//! The outbox of a connection: the hub adds messages, the connection takes and sends them; their number and bytes are
//! bounded (rules L-3).

use std::convert::Infallible;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

/// What may wait to be sent to one client for long. More is a burst, which takes its time; a client that has not caught
/// up within [`BURST_PATIENCE`] reads too slowly.
const LASTING: Amount = Amount { messages: 12_000, bytes: 10 << 20 };
/// What may wait to be sent to one client at any time.
const BURST: Amount = Amount { messages: 120_000, bytes: 128 << 20 };
/// How long more than [`LASTING`] may wait.
const BURST_PATIENCE: Duration = Duration::from_secs(5);

/// A message that is to be sent.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// In a WebSocket message of its own.
    Alone(Bytes),
    /// With others of these that are there at the same time.
    Together(Bytes),
}

/// Where the hub puts what is to be sent on a connection. Dropping it closes the connection, after what is in it has
/// been sent.
pub(super) struct Outbox {
    frames: mpsc::UnboundedSender<Outgoing>,
    backlog: Arc<Backlog>,
    /// Since when more than [`LASTING`] has been waiting.
    burst_since: Option<Instant>,
    _open: oneshot::Sender<Infallible>,
}

/// The connection's end of an [`Outbox`].
pub(super) struct OutboxReceiver {
    pub frames: Frames,
    /// Resolves when the outbox is gone, whether or not the client takes what is still in it.
    pub closed: oneshot::Receiver<Infallible>,
}

/// The messages in an outbox, in order.
pub(super) struct Frames {
    queue: mpsc::UnboundedReceiver<Outgoing>,
    backlog: Arc<Backlog>,
}

/// A number of messages, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    messages: usize,
    bytes: usize,
}

/// The messages and bytes that were put in and are not sent yet.
#[derive(Default)]
struct Backlog {
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

/// The client reads more slowly than it is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Outbox {
    pub fn new() -> (Self, OutboxReceiver) {
        let (sender, queue) = mpsc::unbounded_channel();
        let backlog = Arc::<Backlog>::default();
        let (open, closed) = oneshot::channel();
        let outbox = Self { frames: sender, backlog: backlog.clone(), burst_since: None, _open: open };
        (outbox, OutboxReceiver { frames: Frames { queue, backlog }, closed })
    }

    /// Queues a message; `now` is the time.
    pub fn push(&mut self, now: Instant, message: Outgoing) -> Result<(), Overflow> {
        let backlog = self.backlog.add(message.len());
        // A closed connection reports its end by itself.
        let _ = self.frames.send(message);
        if backlog.is_within(LASTING) {
            self.burst_since = None;
            return Ok(());
        }
        let since = *self.burst_since.get_or_insert(now);
        // A single message is always taken.
        let fits = backlog.is_within(BURST) || backlog.messages == 1;
        if fits && now.duration_since(since) <= BURST_PATIENCE { Ok(()) } else { Err(Overflow) }
    }
}

impl Frames {
    /// The next message, when there is one; nothing when the outbox is gone and empty.
    pub async fn next(&mut self) -> Option<Outgoing> {
        self.queue.recv().await
    }

    /// The next message, if it is there already.
    pub fn next_queued(&mut self) -> Option<Outgoing> {
        self.queue.try_recv().ok()
    }

    /// So much was sent.
    pub fn sent(&self, amount: Amount) {
        self.backlog.remove(amount);
    }
}

impl Outgoing {
    fn len(&self) -> usize {
        let (Self::Alone(message) | Self::Together(message)) = self;
        message.len()
    }
}

impl Amount {
    /// A message.
    pub fn of(message: &Outgoing) -> Self {
        Self { messages: 1, bytes: message.len() }
    }

    fn is_within(self, limit: Self) -> bool {
        self.messages <= limit.messages && self.bytes <= limit.bytes
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Backlog {
    /// Returns what there is then.
    fn add(&self, length: usize) -> Amount {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        Amount { messages, bytes: self.bytes.fetch_add(length, Ordering::Relaxed) + length }
    }

    fn remove(&self, amount: Amount) {
        self.messages.fetch_sub(amount.messages, Ordering::Relaxed);
        self.bytes.fetch_sub(amount.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Outgoing {
        Outgoing::Together(vec![0; length].into())
    }

    /// Pushes messages of `length` bytes until one is too many.
    fn fill(outbox: &mut Outbox, now: Instant, length: usize) -> usize {
        (0..).take_while(|_| outbox.push(now, message(length)).is_ok()).count()
    }

    /// L-3.
    #[test]
    fn a_burst_is_taken_up_to_a_bound_of_bytes_and_of_messages() {
        let now = Instant::now();
        assert_eq!(fill(&mut Outbox::new().0, now, 1 << 20), BURST.bytes >> 20);
        assert_eq!(fill(&mut Outbox::new().0, now, 0), BURST.messages);
        assert_eq!(Outbox::new().0.push(now, message(BURST.bytes + 1)), Ok(()));
    }

    /// L-3.
    #[test]
    fn who_does_not_catch_up_in_time_reads_too_slowly() {
        let (mut outbox, mut receiver) = Outbox::new();
        let start = Instant::now();
        let push = |outbox: &mut Outbox, after: Duration| outbox.push(start + after, message(1 << 20));
        for _ in 0..LASTING.bytes >> 20 {
            assert_eq!(push(&mut outbox, Duration::ZERO), Ok(()));
        }
        assert_eq!(push(&mut outbox, Duration::from_secs(60)), Ok(()), "the burst begins here");
        assert_eq!(push(&mut outbox, Duration::from_secs(64)), Ok(()));
        // It catches up, and the next burst has time of its own.
        let mut caught_up = Amount::default();
        while let Some(message) = receiver.frames.next_queued() {
            caught_up += Amount::of(&message);
        }
        receiver.frames.sent(caught_up);
        for _ in 0..=LASTING.bytes >> 20 {
            assert_eq!(push(&mut outbox, Duration::from_secs(70)), Ok(()));
        }
        assert_eq!(push(&mut outbox, Duration::from_secs(75)), Ok(()));
        assert_eq!(push(&mut outbox, Duration::from_secs(76)), Err(Overflow));
    }
}
