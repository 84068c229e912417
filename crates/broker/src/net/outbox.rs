//! The outbox of a connection: what is to be sent on it. Whoever has put something in writes it at once, or has the
//! connection's own task write it if it may be in a batch. What the socket does not take waits, bounded in number and bytes
//! (rules L-3), and the connection's own task goes on with it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Instant;

use antiphon_protocol::batch::{Batcher, MAX_BATCH_BYTES};
use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::backlog::{Backlog, Overflow, Queues};
use super::heads::{Kind, head};
use super::outgoing::{Amount, Outgoing};
use super::socket::Sink;

/// Bytes of frames that are put together to be written at once. A larger frame is written from where it is.
const COPIED: usize = 16 << 10;

/// Answers to pings that wait at most; each has 125 bytes at most.
const PONGS: usize = 16;

/// Room for frames that is kept while none wait. What a burst took beyond it is given back.
const ROOM: usize = 64;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(COPIED));
}

/// What is to be sent on a connection.
pub(super) struct Outbox {
    sink: Sink,
    waiting: Mutex<Waiting>,
    /// Nothing more is to be read for now.
    is_paused: AtomicBool,
    /// The connection's task.
    owner: AtomicWaker,
}

/// What a connection's task has to know of its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Open,
    /// Nothing more will be put in, and something waits.
    Closing,
    /// Everything is sent, the close frame too.
    Closed,
    /// The connection broke.
    Broken,
}

struct Waiting {
    status: Status,
    /// What was put in since something was last taken out.
    queue: VecDeque<Outgoing>,
    /// Answer the last [`PONGS`] pings. They overtake messages.
    pongs: VecDeque<Bytes>,
    /// The client is to be pinged. That overtakes messages as well.
    has_ping: bool,
    /// What was taken out, unless somebody is writing it.
    taken: Taken,
    /// Somebody is writing.
    is_writing: bool,
    /// The socket takes no more.
    is_full: bool,
    /// The connection's task is to write.
    is_due: bool,
    /// What the close frame says, instead of what whoever closes it gives.
    close_code: Option<u16>,
    /// What is not sent yet is to be dropped, but for a frame that has begun; then this close frame is to be sent.
    cut: Option<Bytes>,
    backlog: Backlog,
}

/// A WebSocket frame.
struct Frame {
    kind: Kind,
    payload: Bytes,
    /// The messages in it.
    messages: Amount,
}

/// What was written.
#[derive(Default)]
struct Sent {
    bytes: usize,
    /// Those whose last byte was among them.
    messages: Amount,
}

/// What is being written.
#[derive(Default)]
struct Taken {
    queue: VecDeque<Outgoing>,
    /// The first of it, in frames.
    frames: VecDeque<Frame>,
    /// Bytes of the first one, with its head, that are sent.
    sent: usize,
}

impl Outbox {
    /// What waits in it is a part of what waits in `all`.
    pub fn new(sink: Sink, all: Arc<Queues>) -> Self {
        let waiting = Waiting {
            status: Status::Open,
            queue: VecDeque::new(),
            pongs: VecDeque::new(),
            has_ping: false,
            taken: Taken::default(),
            is_writing: false,
            is_full: false,
            is_due: false,
            close_code: None,
            cut: None,
            backlog: Backlog::new(all),
        };
        Self { sink, waiting: Mutex::new(waiting), is_paused: AtomicBool::new(false), owner: AtomicWaker::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing below panics; and what waits for one client is nobody else's concern.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the connection's task read nothing more, or go on.
    pub fn set_paused(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Release);
        if !is_paused {
            self.owner.wake();
        }
    }

    /// For the connection's task: whether it is to read nothing for now. It is woken when that is over.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Queues a message; `now` is the time. [`Self::flush`] sends it. If too much waits for this client now, returns when
    /// to look again ([`Self::time_is_over`]), unless somebody does already.
    pub fn push(&self, now: Instant, message: Outgoing) -> Result<Option<Instant>, Overflow> {
        let mut waiting = self.lock();
        if waiting.status != Status::Open {
            return Ok(None);
        }
        let pushed = waiting.backlog.add(now, message.amount());
        waiting.queue.push_back(message);
        pushed
    }

    /// The time has come that [`Self::push`] asked for. Returns when to look again, if too much waits still.
    pub fn time_is_over(&self, now: Instant) -> Result<Option<Instant>, Overflow> {
        let mut waiting = self.lock();
        if waiting.status == Status::Open { waiting.backlog.time_is_over(now) } else { Ok(None) }
    }

    /// Bytes of memory that is taken by what waits, about.
    pub fn memory(&self) -> usize {
        self.lock().backlog.memory()
    }

    /// Answers a ping.
    pub fn pong(&self, payload: &[u8]) {
        let mut waiting = self.lock();
        if waiting.status == Status::Open {
            // A client that sends more than it reads gets no answer to the first of them (RFC 6455, section 5.5.3).
            if waiting.pongs.len() == PONGS {
                waiting.pongs.pop_front();
            }
            waiting.pongs.push_back(Bytes::copy_from_slice(payload));
        }
    }

    /// Pings the client.
    pub fn ping(&self) {
        let mut waiting = self.lock();
        if waiting.status == Status::Open {
            (waiting.has_ping, waiting.is_due) = (true, true);
            self.owner.wake();
        }
    }

    /// When it is closed, the code will be this one.
    pub fn will_close(&self, code: u16) {
        self.lock().close_code.get_or_insert(code);
    }

    /// Nothing more is put in. What is in it is sent, then the close frame, with this code if there is one, and a reason.
    pub fn close(&self, code: Option<u16>, reason: &str) {
        let mut waiting = self.lock();
        if waiting.status == Status::Open {
            waiting.status = Status::Closing;
            waiting.pongs = VecDeque::new();
            let code = waiting.close_code.or(code);
            waiting.queue.push_back(Outgoing::Close(close_payload(code, reason)));
            self.owner.wake();
        }
    }

    /// The same, without what is in it: the client counts nothing more, or is not to get it.
    pub fn cut(&self, code: Option<u16>, reason: &str) {
        let mut waiting = self.lock();
        if matches!(waiting.status, Status::Open | Status::Closing) {
            waiting.status = Status::Closing;
            waiting.pongs = VecDeque::new();
            waiting.cut = Some(close_payload(code, reason));
            if !waiting.is_writing {
                waiting.carry_out_cut();
            }
            self.owner.wake();
        }
    }

    /// Nothing is sent any more.
    pub fn give_up(&self) {
        self.lock().give_up();
        self.owner.wake();
    }

    /// Has what is queued written: at once, or, where it may be in a batch, by the connection's own task, which has its turn
    /// after all that are ready now. What these put in goes along, and nothing waits for what is not there yet.
    pub fn flush_together(&self) {
        let mut waiting = self.lock();
        if !matches!(waiting.queue.back(), Some(Outgoing::Together(_))) {
            drop(waiting);
            return self.flush();
        }
        if !std::mem::replace(&mut waiting.is_due, true) {
            self.owner.wake();
        }
    }

    /// Writes what is queued, as much as the socket takes. If somebody else is about it, they will.
    pub fn flush(&self) {
        let mut waiting = self.lock();
        if waiting.is_writing || waiting.is_full {
            return;
        }
        while let Some(mut taken) = waiting.take() {
            waiting.is_writing = true;
            drop(waiting);
            let mut sent = Sent::default();
            let written = taken.write(&self.sink, &mut sent);
            waiting = self.lock();
            waiting.is_writing = false;
            if waiting.status == Status::Broken {
                return;
            }
            waiting.backlog.remove(sent.bytes, sent.messages);
            waiting.taken = taken;
            waiting.carry_out_cut();
            if let Err(error) = written {
                return self.is_stuck(&mut waiting, &error);
            }
        }
        if let Err(error) = self.sink.try_flush() {
            return self.is_stuck(&mut waiting, &error);
        }
        if waiting.status == Status::Closing {
            waiting.status = Status::Closed;
            self.sink.goodbye();
            self.owner.wake();
        }
        waiting.give_back();
    }

    /// The socket takes no more, for now or for ever.
    fn is_stuck(&self, waiting: &mut Waiting, error: &std::io::Error) {
        if error.kind() == ErrorKind::WouldBlock {
            waiting.is_full = true;
        } else {
            tracing::debug!(%error, "a connection broke");
            waiting.give_up();
        }
        self.owner.wake();
    }

    /// For the connection's task, which is woken when the answer may be another one: goes on with what the socket did
    /// not take.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Status {
        self.owner.register(context.waker());
        loop {
            {
                let mut waiting = self.lock();
                let is_due = std::mem::take(&mut waiting.is_due);
                if !waiting.is_full && !is_due {
                    return waiting.status;
                }
                // If it broke, so will writing.
                if waiting.is_full && self.sink.poll_write_ready(context).is_pending() {
                    return waiting.status;
                }
                waiting.is_full = false;
            }
            self.flush();
        }
    }
}

impl Waiting {
    /// What is to be written next.
    fn take(&mut self) -> Option<Taken> {
        if self.taken.queue.is_empty() {
            std::mem::swap(&mut self.taken.queue, &mut self.queue);
        }
        if self.taken.sent == 0 {
            for payload in std::mem::take(&mut self.pongs).into_iter().rev() {
                self.taken.frames.push_front(Frame { kind: Kind::Pong, payload, messages: Amount::default() });
            }
            if std::mem::take(&mut self.has_ping) {
                let payload = Bytes::new();
                self.taken.frames.push_front(Frame { kind: Kind::Ping, payload, messages: Amount::default() });
            }
        }
        let is_something = !self.taken.queue.is_empty() || !self.taken.frames.is_empty();
        is_something.then(|| std::mem::take(&mut self.taken))
    }

    fn give_up(&mut self) {
        self.status = Status::Broken;
        self.discard();
        self.taken = Taken::default();
        self.pongs = VecDeque::new();
        self.backlog.cut(Amount::default());
    }

    fn discard(&mut self) {
        self.backlog.discard(&mut self.queue);
        self.backlog.discard(&mut self.taken.queue);
    }

    /// If it is to be done, and nobody is writing.
    fn carry_out_cut(&mut self) {
        if let Some(payload) = self.cut.take() {
            self.discard();
            self.taken.cut();
            let begun = self.taken.frames.front();
            self.backlog.cut(begun.map(|frame| frame.messages).unwrap_or_default());
            let is_closing = begun.is_some_and(|frame| frame.kind == Kind::Close);
            if !is_closing {
                self.queue.push_back(Outgoing::Close(payload));
            }
        }
    }

    /// Gives back the room that a burst took.
    fn give_back(&mut self) {
        for queue in [&mut self.queue, &mut self.taken.queue] {
            if queue.is_empty() && queue.capacity() > ROOM {
                *queue = VecDeque::new();
            }
        }
        if self.taken.frames.is_empty() && self.taken.frames.capacity() > ROOM {
            self.taken.frames = VecDeque::new();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.discard();
    }
}

impl Taken {
    /// Drops all frames but the one of which a part is sent.
    fn cut(&mut self) {
        self.frames.truncate(usize::from(self.sent > 0));
        self.frames.shrink_to_fit();
    }

    /// Puts what is to be written next into frames, unless there are some, and in batches what may be sent together.
    fn pack(&mut self) {
        if !self.frames.is_empty() {
            return;
        }
        let mut batcher = Batcher::<Bytes>::default();
        let (mut batched, mut packed) = (Amount::default(), 0);
        while packed < MAX_BATCH_BYTES
            && let Some(outgoing) = self.queue.pop_front()
        {
            let amount = outgoing.amount();
            packed += amount.bytes;
            let (batch, other) = match outgoing {
                Outgoing::Together(message) => (batcher.push(message, MAX_BATCH_BYTES), None),
                Outgoing::Alone(message) => (batcher.take(), Some((Kind::Binary, message, amount))),
                Outgoing::Close(payload) => (batcher.take(), Some((Kind::Close, payload, amount))),
                #[cfg(feature = "echo")]
                Outgoing::Text(text) => (batcher.take(), Some((Kind::Text, text, amount))),
            };
            if let Some(payload) = batch {
                self.frames.push_back(Frame { kind: Kind::Binary, payload, messages: std::mem::take(&mut batched) });
            }
            match other {
                Some((kind, payload, messages)) => self.frames.push_back(Frame { kind, payload, messages }),
                None => batched += amount,
            }
        }
        if let Some(payload) = batcher.take() {
            self.frames.push_back(Frame { kind: Kind::Binary, payload, messages: batched });
        }
    }

    /// Writes as much as the socket takes, and adds it to `sent`.
    fn write(&mut self, sink: &Sink, sent: &mut Sent) -> std::io::Result<()> {
        loop {
            self.pack();
            let Some(first) = self.frames.front() else { return Ok(()) };
            let written = if first.length() > COPIED {
                let (head, size) = head(first.kind, first.payload.len());
                let mut parts = &mut [IoSlice::new(&head[..size]), IoSlice::new(&first.payload)][..];
                IoSlice::advance_slices(&mut parts, self.sent);
                sink.try_write_vectored(parts)
            } else {
                BUFFER.with_borrow_mut(|buffer| {
                    buffer.clear();
                    for frame in &self.frames {
                        if buffer.len() + frame.length() > COPIED {
                            break;
                        }
                        let (head, size) = head(frame.kind, frame.payload.len());
                        buffer.extend_from_slice(&head[..size]);
                        buffer.extend_from_slice(&frame.payload);
                    }
                    sink.try_write(&buffer[self.sent..])
                })
            };
            match written? {
                0 => return Err(ErrorKind::WriteZero.into()),
                written => self.advance(written, sent),
            }
        }
    }

    fn advance(&mut self, written: usize, sent: &mut Sent) {
        self.sent += written;
        sent.bytes += written;
        while let Some(frame) = self.frames.front() {
            let length = frame.length();
            if self.sent < length {
                return;
            }
            self.sent -= length;
            sent.messages += frame.messages;
            self.frames.pop_front();
        }
    }
}

impl Frame {
    /// With its head.
    fn length(&self) -> usize {
        head(self.kind, self.payload.len()).1 + self.payload.len()
    }
}

/// What a close frame says.
fn close_payload(code: Option<u16>, reason: &str) -> Bytes {
    code.map_or_else(Bytes::new, |code| [&code.to_be_bytes(), reason.as_bytes()].concat().into())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::socket::Socket;
    use super::super::traffic::Traffic;
    use super::*;

    #[tokio::test]
    async fn what_several_put_in_before_the_connections_task_has_its_turn_is_one_batch() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (_, sink) = Socket::Plain(listener.accept().await.unwrap().0).into_split();
        let outbox = Outbox::new(sink, Queues::new(Traffic::default()));
        for text in ["a", "b"] {
            assert_eq!(outbox.push(Instant::now(), Outgoing::Together(text.into())), Ok(None));
            outbox.flush_together();
        }
        assert_eq!(poll_fn(|context| Poll::Ready(outbox.poll_flush(context))).await, Status::Open);
        let mut frame = [0; 7];
        client.read_exact(&mut frame).await.unwrap();
        assert_eq!(&frame, b"\x82\x05>\x01a\x01b");

        assert_eq!(outbox.push(Instant::now(), Outgoing::Alone("c".into())), Ok(None));
        outbox.flush_together();
        client.read_exact(&mut frame[..3]).await.unwrap();
        assert_eq!(&frame[..3], b"\x82\x01c", "at once");
    }

    #[test]
    fn messages_keep_their_order_alone_or_together() {
        let message = |text: &'static str| Bytes::from_static(text.as_bytes());
        let mut taken = Taken::default();
        taken.queue.extend([
            Outgoing::Together(message("a")),
            Outgoing::Together(message("b")),
            Outgoing::Alone(message("c")),
            Outgoing::Together(message("d")),
            Outgoing::Alone(message("e")),
            Outgoing::Close(message("")),
        ]);
        taken.pack();
        let frames: Vec<_> =
            taken.frames.iter().map(|frame| (frame.kind, &frame.payload[..], frame.messages.messages)).collect();
        let expected: [(Kind, &[u8], usize); 5] = [
            (Kind::Binary, b">\x01a\x01b", 2),
            (Kind::Binary, b"c", 1),
            (Kind::Binary, b"d", 1),
            (Kind::Binary, b"e", 1),
            (Kind::Close, b"", 0),
        ];
        assert_eq!(frames, expected);
    }
}
