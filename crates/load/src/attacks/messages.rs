//! Attacks by what is said in a session.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use antiphon_protocol::wire::layouts::{
    DeregisterHandler, GetSessionProperties, Reauthenticate, RegisterHandler, SendToFilter, SendToPath, SendToSession,
    SerialisedValue, WireCredentials,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    Deregistration, GetProperties, MessagingFilterSender, MessagingReceiverServer, MessagingSend, ReAuthenticate,
    Registration, UserPing,
};

use super::peer::{Peer, Wish};
use super::target::{Done, Target};

/// `null`, in CBOR.
const NULL: &[u8] = &[0xf6];
/// Milliseconds for which sessions are to be kept.
const KEPT: u64 = 300_000;
/// Registrations of a session, and requests to one, at most.
const REGISTRATIONS: usize = 10_000;
const REQUESTS: usize = 5_000;

/// Sends the same again and again, in large pieces, and reads what comes.
fn repeat(target: Target, request: impl Fn(&mut Peer) -> Vec<u8>) -> io::Result<Done> {
    let mut sent = 0;
    while target.is_on() {
        let mut peer = Peer::connect(target.broker, &Wish::default())?;
        peer.discard()?;
        let single = request(&mut peer);
        let each = ((64 << 10) / single.len()).max(1);
        let bytes = single.repeat(each);
        while target.is_on() && peer.send_until(&bytes, target.until).is_ok() {
            sent += each as u64;
        }
    }
    Ok(Done::times(sent))
}

/// A request in JSON.
fn json(bytes: &[u8]) -> SerialisedValue<'_> {
    SerialisedValue { type_name: "json", bytes }
}

pub(super) fn to_path(peer: &mut Peer, path: &str, bytes: &[u8]) -> Vec<u8> {
    peer.request::<MessagingSend>(&SendToPath { path, request: json(bytes) })
}

pub(super) fn to_filter(peer: &mut Peer, filter: &str, bytes: &[u8]) -> Vec<u8> {
    let (filter_conversation, path, request) = (ConversationId(1), "a", json(bytes));
    peer.request::<MessagingFilterSender>(&SendToFilter { filter_conversation, filter, path, request })
}

pub(super) fn register(peer: &mut Peer, path: &str, keys: &[&str]) -> Vec<u8> {
    peer.request::<Registration>(&RegisterHandler {
        delivery_service: 88,
        control_group: "",
        path,
        property_keys: keys.to_vec(),
        registration: ConversationId(1),
    })
}

/// Requests that the broker answers itself.
pub fn pings(target: Target) -> io::Result<Done> {
    repeat(target, |peer| peer.request::<UserPing>(&()))
}

/// Requests that nobody handles.
pub fn requests(target: Target) -> io::Result<Done> {
    repeat(target, |peer| to_path(peer, "nobody", NULL))
}

/// Paths of a thousand segments.
pub fn deep_paths(target: Target) -> io::Result<Done> {
    let path = "a/".repeat(1023) + "a";
    repeat(target, |peer| to_path(peer, &path, NULL))
}

/// Filters that match nobody.
pub fn cheap_filters(target: Target) -> io::Result<Done> {
    repeat(target, |peer| to_filter(peer, "has nothing", NULL))
}

/// Filters with a thousand parts.
pub fn wide_filters(target: Target) -> io::Result<Done> {
    let filter = vec!["a is 'b'"; 1300].join(" or ");
    repeat(target, |peer| to_filter(peer, &filter, NULL))
}

/// Patterns that take long to compile.
pub fn costly_patterns(target: Target) -> io::Result<Done> {
    let filter = format!("x matches '(?i){}'", r"\\pL".repeat(240));
    repeat(target, |peer| to_filter(peer, &filter, NULL))
}

/// Patterns that are large when compiled.
pub fn large_patterns(target: Target) -> io::Result<Done> {
    let filter = format!("x matches '(?i){}'", r"\\w".repeat(9));
    repeat(target, |peer| to_filter(peer, &filter, NULL))
}

/// A hundred sessions with a long property each, and filters that look at all of it.
pub fn long_values(target: Target) -> io::Result<Done> {
    let properties = vec![("x".to_owned(), "ab".repeat(20_000))];
    let wish = Wish { properties, ..Wish::default() };
    let crowd = (0..target.count(100)).map(|_| Peer::connect(target.broker, &wish)).collect::<io::Result<Vec<_>>>()?;
    let filter = r"x matches '(?i)(\\w*a\\w{3})*\\d'";
    let Done { times, .. } = repeat(target, |peer| to_filter(peer, filter, NULL))?;
    Ok(Done { times, held: crowd, ..Done::default() })
}

/// Requests to all sessions.
pub fn everybody(target: Target) -> io::Result<Done> {
    repeat(target, |peer| to_filter(peer, "all", NULL))
}

/// Registers as much as it may, leaves, and comes again.
pub fn registrations(target: Target) -> io::Result<Done> {
    let mut times = 0;
    while target.is_on() {
        let Ok(mut peer) = Peer::connect(target.broker, &Wish::default()) else { continue };
        peer.discard()?;
        let bytes: Vec<u8> =
            (0..REGISTRATIONS).flat_map(|number| register(&mut peer, &format!("a/{number}"), &[])).collect();
        let last = peer.request::<Deregistration>(&DeregisterHandler {
            delivery_service: 88,
            control_group: "",
            path: "a/0",
            property_keys: vec![],
        });
        let bytes = [bytes, last].concat();
        times += u64::from(matches!(peer.send_until(&bytes, target.until), Ok(true)));
    }
    Ok(Done::times(times))
}

/// The same in many sessions at once that stay, each at paths of its own.
pub fn many_registrations(target: Target) -> io::Result<Done> {
    let mut held = Vec::new();
    while target.is_on() && held.len() < target.count(1000) {
        let Ok(mut peer) = Peer::connect(target.broker, &Wish::default()) else { continue };
        peer.discard()?;
        let at = held.len();
        let bytes: Vec<u8> =
            (0..REGISTRATIONS).flat_map(|number| register(&mut peer, &format!("{at}/{number}"), &[])).collect();
        // Most is in the buffers of both ends, and the broker takes it from there.
        peer.send_until(&bytes, target.until)?;
        held.push(peer);
    }
    std::thread::sleep(target.left());
    Ok(Done { times: held.len() as u64, held, ..Done::default() })
}

/// One session asks another as much as it may; the other one leaves.
pub fn outstanding(target: Target) -> io::Result<Done> {
    let mut asker = Peer::connect(target.broker, &Wish::default())?;
    asker.discard()?;
    let mut times = 0;
    while target.is_on() {
        let recipient = Peer::connect(target.broker, &Wish::default())?;
        recipient.discard()?;
        let request = SendToSession { session: recipient.session, path: "a", request: json(NULL) };
        let bytes: Vec<u8> = (0..REQUESTS).flat_map(|_| asker.request::<MessagingReceiverServer>(&request)).collect();
        asker.send_until(&bytes, target.until)?;
        thread::sleep(Duration::from_millis(50));
        times += 1;
    }
    Ok(Done::times(times))
}

/// A handler that wants all properties, and a session with as many as go into its address.
pub fn properties(target: Target) -> io::Result<Done> {
    let mut handler = Peer::connect(target.broker, &Wish::default())?;
    let registration = register(&mut handler, "properties", &["*U"]);
    handler.send(&registration)?;
    handler.discard()?;
    let many = |count: usize| (0..count).map(|number| (format!("{number:x}"), String::new())).collect();
    let sends = |wish: &Wish| -> io::Result<u64> {
        let mut peer = Peer::connect(target.broker, wish)?;
        peer.discard()?;
        let bytes = to_path(&mut peer, "properties", NULL).repeat(1000);
        let mut sent = 0;
        while target.is_on() && peer.send_until(&bytes, target.until)? {
            sent += 1000;
        }
        Ok(sent)
    };
    let sent = sends(&Wish { properties: many(9_000), ..Wish::default() })
        .or_else(|_| sends(&Wish { properties: many(60), ..Wish::default() }))?;
    Ok(Done { times: sent, held: vec![handler], ..Done::default() })
}

/// A message with millions of properties.
pub fn many_properties(target: Target) -> io::Result<Done> {
    let pairs = vec![("a", ""); target.largest_value() / 3];
    let (credentials, principal) = (WireCredentials::Password("password"), "client");
    repeat(target, |peer| {
        peer.request::<ReAuthenticate>(&Reauthenticate {
            principal,
            credentials: credentials.clone(),
            properties: pairs.clone(),
        })
    })
}

/// A message with millions of keys.
pub fn empty_keys(target: Target) -> io::Result<Done> {
    repeat(target, |peer| {
        peer.request::<GetProperties>(&GetSessionProperties {
            session: peer.session,
            keys: vec![""; target.largest_value()],
        })
    })
}

/// The name of a data type that is as long as a message may be.
pub fn long_type(target: Target) -> io::Result<Done> {
    let type_name = "x".repeat(target.largest_value());
    repeat(target, |peer| {
        let request = SerialisedValue { type_name: &type_name, bytes: &[] };
        peer.request::<MessagingReceiverServer>(&SendToSession { session: peer.session, path: "a", request })
    })
}

/// Values as long as a message may be, that nobody handles.
pub fn largest_values(target: Target) -> io::Result<Done> {
    let bytes = vec![0x20; target.largest_value()];
    repeat(target, |peer| to_path(peer, "nobody", &bytes))
}

/// Opens sessions that are to be kept, and leaves them.
pub fn leaving(target: Target) -> io::Result<Done> {
    open_and_leave(target, &Wish { keep: KEPT, ..Wish::default() })
}

/// The same with sessions that are not to be kept.
pub fn sessions(target: Target) -> io::Result<Done> {
    open_and_leave(target, &Wish::default())
}

fn open_and_leave(target: Target, wish: &Wish) -> io::Result<Done> {
    let mut times = 0;
    while target.is_on() {
        // Some are refused, as more than may come in a second.
        times += u64::from(Peer::connect(target.broker, wish).is_ok());
    }
    Ok(Done::times(times))
}

/// Very many handlers at one path that have lost their connections, and requests to that path.
pub fn lost_handlers(target: Target) -> io::Result<Done> {
    let wish = Wish { keep: KEPT, ..Wish::default() };
    let end = Instant::now() + target.left() / 2;
    let mut times = 0;
    while times < 8_000 && Instant::now() < end {
        let Ok(mut peer) = Peer::connect(target.broker, &wish) else { continue };
        let bytes = register(&mut peer, "lost", &[]);
        peer.send(&bytes)?;
        peer.receive()?;
        times += 1;
    }
    repeat(target, |peer| to_path(peer, "lost", NULL))?;
    Ok(Done::times(times))
}
