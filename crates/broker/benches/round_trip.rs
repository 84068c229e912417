//! What a request to a path and its answer cost the broker, on the core alone: two frames in, two frames out.
//!
//! Neither the number of sessions nor that of requests under way may matter much: with 10,000 sessions, and with 5,000
//! requests that wait, a round trip may cost three times what it costs with two sessions; with 1,000 paths in the roles, a
//! quarter more. Exit status 1 if it costs more.
//! All variants take turns in one run, so that a busy machine slows all of them, and the fastest turn of each counts.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon_broker::core::access::Access;
use antiphon_broker::core::permissions::{PathPermission, Permissions, Role};
use antiphon_broker::core::{Arrival, Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::layouts::{RegisterHandler, SendToPath, SerialisedValue};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, Registration, Service};

/// Turns of each variant; an odd one out, first of all the warming up, does no harm.
const TURNS: usize = 40;
const REQUESTS: u32 = 5_000;

const SENDER: ConnectionId = ConnectionId(0);
const PATH: &str = "orders/eu/17";
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };

/// How the sessions of a broker stand when the requests come.
struct Variant {
    name: &'static str,
    sessions: u64,
    /// Of the path `orders/eu`, which the requests go below.
    handlers: u64,
    /// Requests that were sent before and are never answered.
    waiting: i64,
    /// Milliseconds that sessions outlive their connections, so that what is sent to them is kept.
    reconnect_timeout: u64,
    /// Paths to which the roles of the sessions assign permissions, a third of them beside each segment of the path that is
    /// asked; none if there is only one, and those of the stock roles if there are none.
    assigned: usize,
    /// Most that a round trip may cost, in terms of the first variant.
    limit: f64,
}

const TWO_SESSIONS: Variant = Variant {
    name: "two sessions",
    sessions: 2,
    handlers: 1,
    waiting: 0,
    reconnect_timeout: 0,
    assigned: 0,
    limit: 3.0,
};
const HANDLERS: Variant =
    Variant { name: "50 handlers", sessions: 100, handlers: 50, reconnect_timeout: 60_000, ..TWO_SESSIONS };

const VARIANTS: [Variant; 7] = [
    TWO_SESSIONS,
    Variant { name: "kept for reconnection", reconnect_timeout: 60_000, ..TWO_SESSIONS },
    HANDLERS,
    Variant { name: "10,000 sessions", sessions: 10_000, ..HANDLERS },
    Variant { name: "5,000 requests wait", waiting: 5_000, ..HANDLERS },
    Variant { name: "no path in the roles", assigned: 1, limit: 1.25, ..TWO_SESSIONS },
    Variant { name: "1,000 paths in the roles", assigned: 1_000, limit: 1.25, ..TWO_SESSIONS },
];

/// A broker and its sessions, one for each of the connections 0, 1, 2 and so on.
struct Sessions {
    broker: Broker,
    now: Moment,
    conversation: i64,
}

impl Sessions {
    fn open(variant: &Variant) -> Self {
        let config = BrokerConfig { server: 7, ping_period: Duration::ZERO, ..BrokerConfig::default() };
        let permissions = if variant.assigned == 0 { Permissions::stock() } else { permissions(variant.assigned) };
        let broker = Broker::new(config, Access { permissions, ..Access::development() });
        let mut sessions = Self { broker, now: Moment(1_000_000), conversation: 0 };
        for number in 0..variant.sessions {
            sessions.connect(number, variant.reconnect_timeout);
        }
        for number in 1..=variant.handlers {
            sessions.register(ConnectionId(number));
        }
        for _ in 0..variant.waiting {
            sessions.send();
            while sessions.broker.poll_output().is_some() {}
        }
        sessions
    }

    fn connect(&mut self, number: u64, reconnect_timeout: u64) {
        let request = ConnectRequest { reconnect_timeout, ..ConnectRequest::anonymous() };
        let mut random = [7; 18];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 1_700_000_000_000, random };
        self.broker.handle_connect(self.now, ConnectionId(number), &request, &arrival);
        while self.broker.poll_output().is_some() {}
    }

    fn register(&mut self, connection: ConnectionId) {
        let registration = ConversationId(1);
        let handler = RegisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: "",
            path: "orders/eu",
            property_keys: vec!["$Principal"],
            registration,
        };
        self.broker.handle_frame(self.now, connection, &request_frame::<Registration>(ConversationId(2), &handler, 64));
        while self.broker.poll_output().is_some() {}
    }

    fn send(&mut self) -> ConversationId {
        self.conversation += 1;
        self.now = self.now + Duration::from_micros(10);
        let id = ConversationId(self.conversation);
        let frame = request_frame::<MessagingSend>(id, &SendToPath { path: PATH, request: VALUE }, 64);
        self.broker.handle_frame(self.now, SENDER, &frame);
        id
    }

    fn round_trip(&mut self) {
        let id = self.send();
        let (mut asked, mut answered) = (0, 0);
        while let Some(output) = self.broker.poll_output() {
            let Output::Send(connection, frame) = output else { continue };
            match Message::decode(&frame).expect("a message") {
                Message::ServiceRequest { conversation, .. } => {
                    asked += 1;
                    let answer = response_frame::<MessagingReceiverClient>(conversation, &VALUE);
                    self.broker.handle_frame(self.now, connection, &answer);
                }
                Message::ServiceResponse { conversation, .. } => {
                    answered += 1;
                    assert_eq!((connection, conversation), (SENDER, id));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((asked, answered), (1, 1));
    }
}

/// Beside, above and at the path that is asked.
fn permissions(paths: usize) -> Permissions {
    let send = vec![PathPermission::SendToMessageHandler];
    let beside =
        (0..paths / 3).flat_map(|number| ["", "orders/", "orders/eu/"].map(|above| format!("{above}{number}")));
    let mut client = Role { default_path: send.clone(), ..Role::default() };
    client.paths = beside.map(|path| (path, Vec::new())).chain((paths > 1).then(|| (PATH.to_owned(), send))).collect();
    Permissions::new([("CLIENT".to_owned(), client)].into(), &[]).expect("they fit together")
}

fn main() -> ExitCode {
    let mut brokers = VARIANTS.each_ref().map(Sessions::open);
    let mut fastest = [Duration::MAX; VARIANTS.len()];
    for _ in 0..TURNS {
        for (sessions, fastest) in brokers.iter_mut().zip(&mut fastest) {
            let start = Instant::now();
            for _ in 0..REQUESTS {
                sessions.round_trip();
            }
            *fastest = (*fastest).min(start.elapsed() / REQUESTS);
        }
    }
    println!("{:<26}{:>12}", "", "round trip");
    let mut good = true;
    for (variant, time) in VARIANTS.iter().zip(fastest) {
        let ratio = time.as_secs_f64() / fastest[0].as_secs_f64();
        let verdict = if ratio <= variant.limit { "good" } else { "too slow" };
        good &= ratio <= variant.limit;
        println!("{:<26}{:>12}   ratio {ratio:>6.2} {verdict}", variant.name, format!("{} ns", time.as_nanos()));
    }
    if good {
        ExitCode::SUCCESS
    } else {
        println!("too much more than with two sessions");
        ExitCode::FAILURE
    }
}
