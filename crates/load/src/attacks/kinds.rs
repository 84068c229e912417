//! What a client can do at its worst, each within the limits of the protocol.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_protocol::wire::layouts::{
    GetSessionProperties, Reauthenticate, RegisterHandler, SendToFilter, SendToPath, SendToSession, SerialisedValue,
    WireCredentials,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    Deregistration, GetProperties, MessagingFilterSender, MessagingReceiverServer, MessagingSend, ReAuthenticate,
    Registration, UserPing,
};

use super::peer::{Peer, Wish};

/// A client at its worst, until a moment. Returns how often it could do it.
pub type Attack = fn(broker: SocketAddr, until: Instant) -> io::Result<u64>;

/// All of them, by name.
pub const ATTACKS: &[(&str, Attack)] = &[
    ("nothing", |_, until| {
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Ok(0)
    }),
    ("pings", |broker, until| repeat(broker, until, |peer| peer.request::<UserPing>(&()))),
    ("requests", |broker, until| repeat(broker, until, |peer| to_path(peer, "nobody", &[0xf6]))),
    ("deep-paths", |broker, until| {
        let path = "a/".repeat(1023) + "a";
        repeat(broker, until, |peer| to_path(peer, &path, &[0xf6]))
    }),
    ("cheap-filters", |broker, until| repeat(broker, until, |peer| to_filter(peer, "has nothing"))),
    ("wide-filters", |broker, until| {
        let filter = vec!["a is 'b'"; 1300].join(" or ");
        repeat(broker, until, |peer| to_filter(peer, &filter))
    }),
    ("costly-patterns", |broker, until| {
        let filter = format!("x matches '(?i){}'", r"\\pL".repeat(240));
        repeat(broker, until, |peer| to_filter(peer, &filter))
    }),
    ("large-patterns", |broker, until| {
        let filter = format!("x matches '(?i){}'", r"\\w".repeat(9));
        repeat(broker, until, |peer| to_filter(peer, &filter))
    }),
    ("long-values", long_values),
    ("everybody", |broker, until| repeat(broker, until, |peer| to_filter(peer, "all"))),
    ("registrations", registrations),
    ("outstanding", outstanding),
    ("properties", properties),
    ("many-properties", |broker, until| {
        let pairs = vec![("a", ""); 5_000_000];
        let (credentials, principal) = (WireCredentials::Password("password"), "client");
        repeat(broker, until, |peer| {
            peer.request::<ReAuthenticate>(&Reauthenticate {
                principal,
                credentials: credentials.clone(),
                properties: pairs.clone(),
            })
        })
    }),
    ("empty-keys", |broker, until| {
        repeat(broker, until, |peer| {
            peer.request::<GetProperties>(&GetSessionProperties { session: peer.session, keys: vec![""; 33_000_000] })
        })
    }),
    ("long-type", |broker, until| {
        let type_name = "x".repeat(32_000_000);
        repeat(broker, until, |peer| {
            let request = SerialisedValue { type_name: &type_name, bytes: &[] };
            peer.request::<MessagingReceiverServer>(&SendToSession { session: peer.session, path: "a", request })
        })
    }),
    ("large-values", |broker, until| {
        let bytes = vec![0x20; 4_000_000];
        repeat(broker, until, |peer| to_path(peer, "nobody", &bytes))
    }),
    ("leaving", leaving),
    ("lost-handlers", lost_handlers),
];

/// Sends the same again and again, in large pieces, and reads what comes.
fn repeat(broker: SocketAddr, until: Instant, request: impl Fn(&mut Peer) -> Vec<u8>) -> io::Result<u64> {
    let mut sent = 0;
    while Instant::now() < until {
        let mut peer = Peer::connect(broker, &Wish::default())?;
        peer.discard()?;
        peer.set_patience(Duration::from_millis(200))?;
        let single = request(&mut peer);
        let each = (64 << 10) / single.len();
        let bytes = if each > 1 { single.repeat(each) } else { single };
        while Instant::now() < until {
            match peer.send(&bytes) {
                Ok(()) => sent += each.max(1) as u64,
                // The broker takes it more slowly, as it should; what was cut off ends the session.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(until.saturating_duration_since(Instant::now()));
                }
                Err(_) => break,
            }
        }
    }
    Ok(sent)
}

fn value(bytes: &[u8]) -> SerialisedValue<'_> {
    SerialisedValue { type_name: "json", bytes }
}

fn to_path(peer: &mut Peer, path: &str, bytes: &[u8]) -> Vec<u8> {
    peer.request::<MessagingSend>(&SendToPath { path, request: value(bytes) })
}

fn to_filter(peer: &mut Peer, filter: &str) -> Vec<u8> {
    let filter_conversation = ConversationId(1);
    peer.request::<MessagingFilterSender>(&SendToFilter {
        filter_conversation,
        filter,
        path: "a",
        request: value(&[0xf6]),
    })
}

/// A hundred sessions with a long property each, and filters that look at all of it.
fn long_values(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let properties = vec![("x".to_owned(), "ab".repeat(20_000))];
    let wish = Wish { properties, ..Wish::default() };
    let crowd = (0..100).map(|_| Peer::connect(broker, &wish)).collect::<io::Result<Vec<_>>>()?;
    let filter = r"x matches '(?i)(\\w*a\\w{3})*\\d'";
    let sent = repeat(broker, until, |peer| to_filter(peer, filter));
    drop(crowd);
    sent
}

fn register(peer: &mut Peer, path: &str, keys: &[&str]) -> Vec<u8> {
    peer.request::<Registration>(&RegisterHandler {
        delivery_service: 88,
        control_group: "",
        path,
        property_keys: keys.to_vec(),
        registration: ConversationId(1),
    })
}

/// Registers as much as it may, leaves, and comes again.
fn registrations(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let mut times = 0;
    while Instant::now() < until {
        let mut peer = Peer::connect(broker, &Wish::default())?;
        peer.discard()?;
        let bytes: Vec<u8> = (0..10_000).flat_map(|number| register(&mut peer, &format!("a/{number}"), &[])).collect();
        if peer.send(&bytes).is_ok() {
            times += 1;
        }
        let last = peer.request::<Deregistration>(&antiphon_protocol::wire::layouts::DeregisterHandler {
            delivery_service: 88,
            control_group: "",
            path: "a/0",
            property_keys: vec![],
        });
        let _ = peer.send(&last);
    }
    Ok(times)
}

/// One session asks another as much as it may; the other one leaves.
fn outstanding(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let mut asker = Peer::connect(broker, &Wish::default())?;
    asker.discard()?;
    let mut times = 0;
    while Instant::now() < until {
        let recipient = Peer::connect(broker, &Wish::default())?;
        recipient.discard()?;
        let request = SendToSession { session: recipient.session, path: "a", request: value(&[0xf6]) };
        let bytes: Vec<u8> = (0..5_000).flat_map(|_| asker.request::<MessagingReceiverServer>(&request)).collect();
        asker.send(&bytes)?;
        std::thread::sleep(Duration::from_millis(50));
        times += 1;
    }
    Ok(times)
}

/// A handler that wants all properties, and a session with as many as go into its address.
fn properties(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let mut handler = Peer::connect(broker, &Wish::default())?;
    let registration = register(&mut handler, "properties", &["*U"]);
    handler.send(&registration)?;
    handler.discard()?;
    let many = |count: usize| (0..count).map(|number| (format!("{number:x}"), String::new())).collect();
    let sends = |wish: &Wish| -> io::Result<u64> {
        let mut peer = Peer::connect(broker, wish)?;
        peer.discard()?;
        peer.set_patience(Duration::from_millis(200))?;
        let bytes = to_path(&mut peer, "properties", &[0xf6]).repeat(1000);
        let mut sent = 0;
        while Instant::now() < until && peer.send(&bytes).is_ok() {
            sent += 1000;
        }
        Ok(sent)
    };
    sends(&Wish { properties: many(9_000), ..Wish::default() })
        .or_else(|_| sends(&Wish { properties: many(60), ..Wish::default() }))
}

/// Opens sessions that are to be kept, and leaves them.
fn leaving(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let wish = Wish { keep: 300_000, ..Wish::default() };
    let mut times = 0;
    while Instant::now() < until {
        Peer::connect(broker, &wish)?;
        times += 1;
    }
    Ok(times)
}

/// Very many handlers at one path that have lost their connections, and requests to that path.
fn lost_handlers(broker: SocketAddr, until: Instant) -> io::Result<u64> {
    let wish = Wish { keep: 300_000, ..Wish::default() };
    let end = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
    let mut times = 0;
    while times < 8_000 && Instant::now() < end {
        let mut peer = Peer::connect(broker, &wish)?;
        let bytes = register(&mut peer, "lost", &[]);
        peer.send(&bytes)?;
        peer.receive()?;
        times += 1;
    }
    repeat(broker, until, |peer| to_path(peer, "lost", &[0xf6]))?;
    Ok(times)
}
