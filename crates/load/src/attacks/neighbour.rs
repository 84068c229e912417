//! A client that does nothing out of the ordinary: how long its requests take, and opening connections.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon_protocol::wire::envelope::{Message, response_frame};
use antiphon_protocol::wire::layouts::{RegisterHandler, SendToPath, SerialisedValue};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, Registration};
use hdrhistogram::Histogram;

use super::peer::{Peer, Wish, frame, upgrade};

/// Requests in a second, and connections.
const REQUESTS: u32 = 100;
const CONNECTIONS: u32 = 20;
const PATH: &str = "neighbour";

/// What a neighbour does.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// It asks a hundred times a second, and answers itself.
    pub asks: bool,
    /// It opens a connection twenty times a second.
    pub connects: bool,
}

/// The times that were noticed, in microseconds. Each counts from when it was due, so a broker that stands still for a
/// second is late for all that was due in that second.
pub struct Noticed {
    /// From request to response.
    pub requests: Histogram<u64>,
    /// Of those, how many failed.
    pub failed: u64,
    /// From the first packet to the answer that a WebSocket is open.
    pub connections: Histogram<u64>,
    /// From when a request was due to when it was made, which is within its time: the machine, and not the broker.
    pub late: Histogram<u64>,
}

/// A neighbour that is at work.
pub struct AtWork {
    asks: Option<Work<Asked>>,
    connects: Option<Work<Histogram<u64>>>,
}

/// The times of requests, of those how much they were late, and how many failed.
type Asked = (Histogram<u64>, Histogram<u64>, u64);

type Work<T> = JoinHandle<io::Result<T>>;

impl Neighbour {
    /// Has it work for so long.
    ///
    /// # Errors
    ///
    /// If it gets no session.
    pub fn spawn(self, broker: SocketAddr, duration: Duration) -> io::Result<AtWork> {
        let asks = if self.asks {
            let pair = Pair::open(broker)?;
            Some(thread::spawn(move || pair.ask(duration)))
        } else {
            None
        };
        let connects = self.connects.then(|| thread::spawn(move || connect(broker, duration)));
        Ok(AtWork { asks, connects })
    }
}

impl AtWork {
    /// What it noticed.
    ///
    /// # Errors
    ///
    /// If its session ended.
    pub fn wait(self) -> io::Result<Noticed> {
        let (requests, late, failed) = self.asks.map(join).transpose()?.unwrap_or((histogram()?, histogram()?, 0));
        let connections = self.connects.map(join).transpose()?.unwrap_or(histogram()?);
        Ok(Noticed { requests, failed, connections, late })
    }
}

fn join<T>(thread: Work<T>) -> io::Result<T> {
    thread.join().map_err(|_| io::Error::other("the neighbour panicked"))?
}

fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new(3).map_err(io::Error::other)
}

fn wish() -> Wish {
    Wish { principal: Some("control"), is_neighbour: true, ..Wish::default() }
}

/// Acts so often in a second, for so long, and takes account of how long each time took, and of how late it was.
fn regularly(
    rate: u32,
    duration: Duration,
    mut act: impl FnMut() -> io::Result<()>,
) -> io::Result<(Histogram<u64>, Histogram<u64>)> {
    let (mut times, mut late) = (histogram()?, histogram()?);
    let micros = |since: Instant| u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / rate;
        // If it lasts much longer, it has waited long enough to know.
        if due >= start + duration || start.elapsed() > duration * 4 + Duration::from_secs(5) {
            break;
        }
        let wait = due.saturating_duration_since(Instant::now());
        thread::sleep(wait);
        // If there was nothing to wait for, the one before has taken that long.
        if !wait.is_zero() {
            late.record(micros(due)).map_err(io::Error::other)?;
        }
        act()?;
        times.record(micros(due)).map_err(io::Error::other)?;
    }
    Ok((times, late))
}

/// One that asks, and one that answers.
struct Pair {
    asker: Peer,
}

impl Pair {
    fn open(broker: SocketAddr) -> io::Result<Self> {
        let mut handler = Peer::connect(broker, &wish())?;
        let (registration, path) = (ConversationId(1), PATH);
        handler.ask::<Registration>(&RegisterHandler {
            delivery_service: 88,
            control_group: "",
            path,
            property_keys: vec![],
            registration,
        })?;
        handler.receive()?;
        thread::spawn(move || answer(handler));
        Ok(Self { asker: Peer::connect(broker, &wish())? })
    }

    fn ask(mut self, duration: Duration) -> io::Result<Asked> {
        let mut failed = 0;
        let (times, late) = regularly(REQUESTS, duration, || {
            self.asker.ask::<MessagingSend>(&SendToPath { path: PATH, request: VALUE })?;
            loop {
                match Message::decode(&self.asker.receive()?) {
                    Ok(Message::ServiceRequest { .. }) => {}
                    Ok(Message::ServiceError { .. }) => {
                        failed += 1;
                        return Ok(());
                    }
                    _ => return Ok(()),
                }
            }
        })?;
        Ok((times, late, failed))
    }
}

fn connect(broker: SocketAddr, duration: Duration) -> io::Result<Histogram<u64>> {
    regularly(CONNECTIONS, duration, || upgrade(broker, &wish()).map(drop)).map(|(times, _)| times)
}

const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };

fn answer(mut handler: Peer) -> io::Result<()> {
    loop {
        let message = handler.receive()?;
        if let Ok(Message::ServiceRequest { conversation, .. }) = Message::decode(&message) {
            handler.send(&frame(&response_frame::<MessagingReceiverClient>(conversation, &VALUE)))?;
        }
    }
}
