//! A client that does nothing out of the ordinary: how long its requests take.

use std::io;
use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use antiphon_protocol::wire::envelope::{Message, response_frame};
use antiphon_protocol::wire::layouts::{RegisterHandler, SendToPath, SerialisedValue};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, Registration};
use hdrhistogram::Histogram;

use super::peer::{Peer, Wish, frame};

/// Requests in a second.
const RATE: u32 = 100;
const PATH: &str = "neighbour";

/// Asks a hundred times a second, and answers itself, for as long as it is told to.
///
/// The time of a request counts from when it was to be sent, so a broker that stands still for a second is late for all
/// requests of that second.
///
/// # Errors
///
/// If its session ends.
pub fn run(broker: SocketAddr, duration: Duration) -> io::Result<Histogram<u64>> {
    let wish = Wish { principal: Some("control"), ..Wish::default() };
    let mut handler = Peer::connect(broker, &wish)?;
    let registration = ConversationId(1);
    let path = PATH;
    handler.ask::<Registration>(&RegisterHandler {
        delivery_service: 88,
        control_group: "",
        path,
        property_keys: vec![],
        registration,
    })?;
    handler.receive()?;
    thread::spawn(move || answer(handler));
    let mut asker = Peer::connect(broker, &wish)?;
    let mut times = Histogram::new(3).map_err(io::Error::other)?;
    let start = Instant::now();
    for number in 0.. {
        let due = start + Duration::from_secs(1) * number / RATE;
        if due >= start + duration {
            break;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        asker.ask::<MessagingSend>(&SendToPath { path, request: VALUE })?;
        while matches!(Message::decode(&asker.receive()?), Ok(Message::ServiceRequest { .. })) {}
        let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
        times.record(micros.max(1)).map_err(io::Error::other)?;
        // It has waited long enough to know.
        if start.elapsed() > duration * 4 + Duration::from_secs(5) {
            break;
        }
    }
    Ok(times)
}

/// The same on a thread of its own.
#[must_use]
pub fn spawn(broker: SocketAddr, duration: Duration) -> JoinHandle<io::Result<Histogram<u64>>> {
    thread::spawn(move || run(broker, duration))
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
