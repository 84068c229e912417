//! One WebSocket: what its client sends goes into the hub, by its own task.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use antiphon_protocol::wire::handshake::HandshakeError;
use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tungstenite::protocol::frame::coding::CloseCode;

use super::arriving::Share;
use super::door::{Arrived, Asked, FirstMessage, FirstMessageLimits};
#[cfg(feature = "echo")]
use super::echo::InvalidText;
use super::frames::{Decoder, Incoming};
use super::heads::Violation;
use super::hub::{Connection, ConnectionTurn, Hub};
use super::outbox::{Outbox, Status};
use super::outgoing::Outgoing;
use super::rounds::{Place, Step};
use super::socket::{Socket, Source};
use crate::core::Arrival;

/// How long a client has to take the last messages and to close its end, once the broker has closed its own.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Bytes that a connection reads at a time, before others have their turn. Larger messages take several reads.
const READ_AT_A_TIME: usize = 16 << 10;
/// The same of a message that is larger, which is read to where it stays.
const READ_OF_LARGE: usize = 256 << 10;

/// What arrives of a message shows this often that its client lives.
const SIGN_PERIOD: Duration = Duration::from_millis(500);

/// Close codes (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED: u16 = 1003;
const POLICY_VIOLATION: u16 = 1008;

/// What is wrong with a client that says nothing.
const LATE: Violation = Violation { what: "the first message did not come in time", code: POLICY_VIOLATION };

/// What a client is told whose message does not come to its end.
const OVERDUE: &str = "overdue: a message took too long to arrive";

thread_local! {
    /// What was read is decoded before anything else is read, so all connections of a thread share a buffer.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_AT_A_TIME].into());
}

/// Serves a connection until either end has closed it. `head` is what came together with the request that opened it,
/// and `asked` what the client asks for; if nothing, that comes in the first message. Messages have up to `limit` bytes.
#[expect(clippy::too_many_arguments, reason = "it is called once, by whoever has all of this")]
pub(super) async fn run(
    socket: Socket,
    place: Place,
    head: Bytes,
    limit: usize,
    hub: &Arc<Hub>,
    asked: Option<Asked>,
    first: FirstMessageLimits,
    arrival: Box<Arrival>,
) {
    let (source, sink) = socket.into_split();
    let outbox = Arc::new(Outbox::new(sink, hub.queues()));
    let (decoder, share) = (Decoder::new(limit), Share::new(hub.arriving()));
    let mut reader = Reader { source, decoder, share, place, outbox, connection: None, signed: Instant::now() };
    // As long as the connection is open, nothing is kept of how it was opened.
    let end = match Box::pin(reader.open(head, hub, asked, first, arrival)).await {
        None => reader.run().await,
        Some(end) => end,
    };
    reader.connection = None;
    // A client that takes nothing would keep us writing for ever.
    let _ = tokio::time::timeout(CLOSE_PATIENCE, reader.finish(end)).await;
}

/// Why there is nothing more to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The broker has closed its end.
    Ours,
    /// The client has closed its end, with this code if it gave one.
    Theirs(Option<u16>),
    /// The client sent what is no WebSocket frame.
    Violation,
    /// The same, or too late, before there was a session. The client has been told.
    Refused,
    /// A message has arrived in part, and the rest did not come in time.
    Overdue,
    /// The connection broke.
    Broken,
}

/// Reads what a client sends.
struct Reader {
    source: Source,
    decoder: Decoder,
    /// What the decoder holds, as a part of what all hold.
    share: Share,
    /// Whether it is read from now.
    place: Place,
    outbox: Arc<Outbox>,
    /// Without it, what the client still sends counts no more.
    connection: Option<Connection>,
    /// When the hub was told last that a part of a message has come.
    signed: Instant,
}

impl Reader {
    /// Asks the hub for what the client asks for. Returns why there is nothing more to read, if that is so.
    async fn open(
        &mut self,
        head: Bytes,
        hub: &Arc<Hub>,
        asked: Option<Asked>,
        limits: FirstMessageLimits,
        arrival: Box<Arrival>,
    ) -> Option<End> {
        let (asked, mut rest) = match asked {
            Some(asked) => (asked, head.into()),
            None => {
                let mut first = FirstMessage::new(limits.bytes, head);
                let arrived = tokio::time::timeout(limits.timeout, self.read_first(&mut first)).await;
                self.share.hold(0, &self.outbox);
                match arrived.unwrap_or(Ok(Arrived::Violation(LATE))) {
                    Ok(Arrived::Asked(asked)) => (asked, first.rest()),
                    Ok(Arrived::Violation(Violation { what, code })) => {
                        self.refuse(&HandshakeError::Nothing(what), code, &arrival);
                        return Some(End::Refused);
                    }
                    Ok(Arrived::Close(code)) => return Some(End::Theirs(code)),
                    Err(end) => return Some(end),
                }
            }
        };
        match asked {
            Ok(request) => match hub.open(&request, &arrival, self.outbox.clone()) {
                Some(connection) => {
                    self.connection = Some(connection);
                    self.place.open();
                }
                None => return Some(End::Broken),
            },
            Err(error) => self.refuse(&error, NORMAL, &arrival),
        }
        let end = self.take(&mut rest);
        end.or(self.connection.is_none().then_some(End::Ours))
    }

    /// Reads until there is a first message.
    async fn read_first(&mut self, first: &mut FirstMessage) -> Result<Arrived, End> {
        loop {
            let Self { source, share, place, outbox, .. } = self;
            if let Some(arrived) = first.arrive(|payload| outbox.pong(payload)) {
                return Ok(arrived);
            }
            outbox.flush();
            share.hold(first.memory(), outbox);
            let read = poll_fn(|context| match outbox.poll_flush(context) {
                Status::Open => {
                    ready!(place.poll(context));
                    let read = pin!(source.read_buf(first.room())).poll(context);
                    if read.is_pending() {
                        place.pass();
                    }
                    read.map_err(|error| broken(&error))
                }
                Status::Closing | Status::Closed => Poll::Ready(Err(End::Ours)),
                Status::Broken => Poll::Ready(Err(End::Broken)),
            });
            if read.await? == 0 {
                return Err(End::Broken);
            }
            place.stepped(Step::Request);
        }
    }

    /// Tells a client that what it said is no connect request, and closes the WebSocket with this code.
    fn refuse(&self, error: &HandshakeError, code: u16, arrival: &Arrival) {
        tracing::info!(client = arrival.client_ip, "refused: {error}");
        // There is room: it is the first.
        let _ = self.outbox.push(Instant::now(), Outgoing::Alone(error.response().to_frame().into()));
        self.outbox.close(Some(code), &error.to_string());
        self.outbox.flush();
    }

    /// Brings what arrives into the hub.
    async fn run(&mut self) -> End {
        loop {
            let read = poll_fn(|context| match self.outbox.poll_flush(context) {
                Status::Broken => Poll::Ready(Err(End::Broken)),
                Status::Closing | Status::Closed if self.connection.is_some() => Poll::Ready(Err(End::Ours)),
                // What it asked for before has to be done first.
                Status::Open if self.connection.is_some() && self.outbox.is_paused() => {
                    self.share.stop_clock();
                    self.place.pass();
                    Poll::Pending
                }
                _ => self.poll_read(context),
            });
            match read.await {
                Ok(Read::All) => {}
                // Others first.
                Ok(Read::Part) => tokio::task::yield_now().await,
                Err(end) => return end,
            }
        }
    }

    /// Sends what is to be sent still, and lets the client close its end.
    async fn finish(&mut self, end: End) {
        self.decoder.discard();
        self.share.hold(self.decoder.memory(), &self.outbox);
        let end = match end {
            End::Ours => self.run().await,
            _ => end,
        };
        match end {
            End::Theirs(code) => self.outbox.cut(code.map(answer), ""),
            End::Violation | End::Ours => self.outbox.close(Some(NORMAL), ""),
            End::Overdue => self.outbox.close(Some(POLICY_VIOLATION), OVERDUE),
            End::Refused => return self.take_no_notice().await,
            End::Broken => return,
        }
        self.outbox.flush();
        poll_fn(|context| match self.outbox.poll_flush(context) {
            Status::Open | Status::Closing => Poll::Pending,
            Status::Closed | Status::Broken => Poll::Ready(()),
        })
        .await;
    }

    /// Takes whatever comes until the client has closed its end: a connection that is closed while something comes is
    /// reset, and the client may not see what it was sent last.
    async fn take_no_notice(&mut self) {
        loop {
            let read = poll_fn(|context| {
                self.outbox.poll_flush(context);
                ready!(self.source.poll_ready(context));
                ready!(self.place.poll(context));
                BUFFER.with_borrow_mut(|buffer| {
                    let mut room = ReadBuf::new(buffer);
                    let Poll::Ready(read) = Pin::new(&mut self.source).poll_read(context, &mut room) else {
                        self.place.pass();
                        return Poll::Pending;
                    };
                    self.place.read(room.filled().len());
                    Poll::Ready(read.is_ok() && !room.filled().is_empty())
                })
            });
            if !read.await {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads once.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Read, End>> {
        let read = match self.source.poll_ready(context) {
            // Only then it needs a turn.
            Poll::Ready(()) => {
                ready!(self.place.poll(context));
                self.poll_socket(context)
            }
            Poll::Pending => Poll::Pending,
        };
        if read.is_ready() {
            self.share.hold(self.decoder.memory(), &self.outbox);
            return read;
        }
        self.place.pass();
        if self.share.poll_overdue(context, self.decoder.number(), self.decoder.arrived()).is_ready() {
            tracing::info!("closed: {OVERDUE}");
            return Poll::Ready(Err(End::Overdue));
        }
        read
    }

    fn poll_socket(&mut self, context: &mut Context<'_>) -> Poll<Result<Read, End>> {
        if let Some((large, room)) = self.decoder.large(READ_AT_A_TIME) {
            let mut room = large.limit(room.min(READ_OF_LARGE));
            let read = ready!(pin!(self.source.read_buf(&mut room)).poll(context)).map_err(|error| broken(&error))?;
            self.place.read(read);
            return Poll::Ready(match read {
                0 => Err(End::Broken),
                _ => self.take_large(read).map_or(Ok(Read::Part), Err),
            });
        }
        BUFFER.with_borrow_mut(|buffer| {
            let begun = self.decoder.begun().len();
            let mut room = ReadBuf::new(&mut buffer[begun..]);
            ready!(Pin::new(&mut self.source).poll_read(context, &mut room)).map_err(|error| broken(&error))?;
            let read = room.filled().len();
            if read == 0 {
                return Poll::Ready(Err(End::Broken));
            }
            buffer[..begun].copy_from_slice(self.decoder.begun());
            if let Some(end) = self.take(&mut buffer[..begun + read]) {
                return Poll::Ready(Err(end));
            }
            Poll::Ready(Ok(if begun + read == buffer.len() { Read::Part } else { Read::All }))
        })
    }

    /// Brings what was read into the hub, in one turn. Whether there is nothing more to read.
    fn take(&mut self, bytes: &mut [u8]) -> Option<End> {
        let mut intake = Intake::new(&self.outbox, self.connection.as_ref());
        let length = bytes.len();
        let decoded = self.decoder.decode(bytes, |incoming| intake.take(incoming));
        intake.show_life(&mut self.signed);
        let (end, has_to_wait) = intake.finish(decoded);
        if has_to_wait || self.connection.is_none() {
            self.place.read(length);
        } else {
            self.place.used(length);
        }
        end
    }

    /// The same for what was read of a frame that is too large for the buffer.
    fn take_large(&mut self, read: usize) -> Option<End> {
        let mut intake = Intake::new(&self.outbox, self.connection.as_ref());
        self.decoder.decode_large(read, |incoming| intake.take(incoming));
        intake.show_life(&mut self.signed);
        intake.finish(Ok(())).0
    }
}

/// How much there was to read.
enum Read {
    All,
    /// There is more, most likely.
    Part,
}

/// The code that answers a client's: the same, if it may be sent at all.
fn answer(code: u16) -> u16 {
    if CloseCode::from(code).is_allowed() { code } else { PROTOCOL_ERROR }
}

fn broken(error: &std::io::Error) -> End {
    tracing::debug!(%error, "a connection broke");
    End::Broken
}

/// The way of what was read into the hub.
struct Intake<'a> {
    outbox: &'a Outbox,
    connection: Option<&'a Connection>,
    /// Begins with the first thing that the hub is to know.
    turn: Option<ConnectionTurn<'a>>,
    has_pong: bool,
    end: Option<End>,
}

impl<'a> Intake<'a> {
    fn new(outbox: &'a Outbox, connection: Option<&'a Connection>) -> Self {
        Self { outbox, connection, turn: None, has_pong: false, end: None }
    }

    fn turn(&mut self) -> Option<&mut ConnectionTurn<'a>> {
        if self.turn.is_none() {
            self.turn = self.connection?.enter();
            if self.turn.is_none() {
                self.end = Some(End::Broken);
            }
        }
        self.turn.as_mut()
    }

    fn take(&mut self, incoming: Incoming<'_>) {
        if self.end.is_some() {
            return;
        }
        #[cfg(feature = "echo")]
        if let Some(sent_back) = super::echo::sent_back(self.outbox, &incoming) {
            self.has_pong = true;
            self.end = sent_back.err().map(|InvalidText| End::Violation);
            return;
        }
        match incoming {
            Incoming::Close(code) => {
                self.end = Some(End::Theirs(code));
                if code == Some(GOING_AWAY)
                    && let Some(turn) = self.turn()
                {
                    turn.going_away();
                }
            }
            Incoming::Ping(payload) => {
                self.outbox.pong(payload);
                self.has_pong = true;
                if let Some(turn) = self.turn() {
                    turn.sign_of_life();
                }
            }
            Incoming::Binary(message) => {
                if let Some(turn) = self.turn() {
                    turn.message(&message);
                }
            }
            Incoming::Text(_) => {
                self.outbox.will_close(UNSUPPORTED);
                if let Some(turn) = self.turn() {
                    turn.violation();
                }
            }
            Incoming::Pong => {
                if let Some(turn) = self.turn() {
                    turn.sign_of_life();
                }
            }
        }
    }

    /// Tells the hub that something has come, if it is no message yet and that was not told for a while.
    fn show_life(&mut self, signed: &mut Instant) {
        if self.turn.is_none() && self.end.is_none() && signed.elapsed() >= SIGN_PERIOD {
            *signed = Instant::now();
            if let Some(turn) = self.turn() {
                turn.sign_of_life();
            }
        }
    }

    /// Whether there is nothing more to read, and whether something of this has to wait.
    fn finish(mut self, decoded: Result<(), Violation>) -> (Option<End>, bool) {
        if let Err(Violation { what, code }) = decoded
            && self.end.is_none()
        {
            tracing::debug!("a client sent {what}");
            self.outbox.will_close(code);
            if let Some(turn) = self.turn() {
                turn.violation();
            }
            self.end = Some(End::Violation);
        }
        let has_to_wait = self.turn.is_some_and(ConnectionTurn::leave);
        if self.has_pong {
            self.outbox.flush();
        }
        (self.end, has_to_wait)
    }
}
