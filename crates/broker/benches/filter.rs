//! What a request to a session filter costs: parsing, matching, delivery, answers and the count, on the core alone.
//!
//! The number of sessions that a filter does not match must not matter much where an index finds those that it does:
//! among 10,000 sessions such a request may cost three times what it costs among 100. Exit status 1 if it costs more.
//! All variants take turns in one run, so that a busy machine slows all of them, and the fastest turn of each counts.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Arrival, Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::handshake::{ConnectRequest, Credentials};
use antiphon_protocol::wire::layouts::{FilterOutcome, SendToFilter, SerialisedValue};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{FilterResponseDelivery, MessagingFilterSender, MessagingSend, Service};

const FEW: u64 = 100;
const MANY: u64 = 10_000;
/// Most that a request may cost among [`MANY`] sessions, in terms of one among [`FEW`].
const LIMIT: f64 = 3.0;

/// Turns of each variant; an odd one out, first of all the warming up, does no harm.
const TURNS: usize = 25;
const REQUESTS: u32 = 400;
/// A scan of many sessions takes so much longer that fewer will do.
const SCANS: u32 = 4;

const SENDER: ConnectionId = ConnectionId(0);
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };

/// A broker with many sessions, one of which is the only one of the principal `admin`.
struct Sessions {
    broker: Broker,
    now: Moment,
    conversation: i64,
}

impl Sessions {
    fn open(count: u64) -> Self {
        let config =
            BrokerConfig { server: 7, ping_period: Duration::ZERO, turn_work: usize::MAX, ..BrokerConfig::default() };
        let mut broker = Broker::new(config, Access::development());
        let now = Moment(1_000_000);
        for number in 0..count {
            let admin = number == count / 2;
            let request = ConnectRequest {
                principal: admin.then(|| "admin".into()),
                credentials: if admin { Credentials::Password("password".into()) } else { Credentials::None },
                properties: Some(vec![("Tier".into(), (number % 10).to_string())]),
                ..ConnectRequest::anonymous()
            };
            let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 1_700_000_000_000, random: [7; 18] };
            broker.handle_connect(now, ConnectionId(number), &request, &arrival);
            while broker.poll_output().is_some() {}
        }
        assert_eq!(broker.session_count(), usize::try_from(count).expect("a small number"), "all are accepted");
        Self { broker, now, conversation: 0 }
    }

    /// One request to a filter that matches one session, with all that follows.
    fn request(&mut self, filter: &str) {
        self.conversation += 1;
        self.now = self.now + Duration::from_micros(10);
        let id = ConversationId(self.conversation);
        let request = SendToFilter { filter_conversation: id, filter, path: "inbox", request: VALUE };
        let frame = request_frame::<MessagingFilterSender>(id, &request, 64);
        self.broker.handle_frame(self.now, SENDER, &frame);
        let (mut count, mut answers) = (None, 0);
        while let Some(output) = self.broker.poll_output() {
            let Output::Send(connection, frame) = output else { continue };
            match Message::decode(&frame).expect("a message") {
                Message::ServiceRequest { service: MessagingSend::ID, conversation, .. } => {
                    let answer = response_frame::<MessagingSend>(conversation, &VALUE);
                    self.broker.handle_frame(self.now, connection, &answer);
                }
                Message::ServiceRequest { service: FilterResponseDelivery::ID, conversation, .. } => {
                    answers += 1;
                    let acknowledgement = response_frame::<FilterResponseDelivery>(conversation, &());
                    self.broker.handle_frame(self.now, connection, &acknowledgement);
                }
                Message::ServiceResponse { conversation, body } if conversation == id => {
                    match decode_all(body).expect("an outcome") {
                        FilterOutcome::Matched(matched) => count = Some(matched),
                        FilterOutcome::Rejected(reports) => panic!("{filter}: {reports:?}"),
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((count, answers), (Some(1), 1), "{filter}");
    }
}

/// The same request among [`FEW`] sessions and among [`MANY`].
struct Variant {
    name: &'static str,
    /// The filter for a broker with so many sessions.
    filter: fn(u64) -> String,
    /// Whether an index finds the session, so that the others may not matter.
    indexed: bool,
}

fn session_id(count: u64) -> String {
    SessionId { server: 7, value: count / 2 }.to_string()
}

const VARIANTS: [Variant; 5] = [
    Variant { name: "principal", filter: |_| "$Principal is 'admin'".into(), indexed: true },
    Variant { name: "session ID", filter: |count| format!("$SessionId is '{}'", session_id(count)), indexed: true },
    Variant {
        name: "principal inside `and`",
        filter: |_| "$Transport is 'WEBSOCKET' and ($Principal is 'admin' and has Tier)".into(),
        indexed: true,
    },
    Variant {
        name: "session ID inside `and`",
        filter: |count| format!("has Tier and $SessionId in '{}'", session_id(count)),
        indexed: true,
    },
    Variant { name: "scan", filter: |_| "$Principal matches 'adm.*'".into(), indexed: false },
];

/// The fastest time of a request so far.
#[derive(Clone, Copy)]
struct Fastest(Duration);

impl Fastest {
    fn take_turn(&mut self, sessions: &mut Sessions, filter: &str, requests: u32) {
        let start = Instant::now();
        for _ in 0..requests {
            sessions.request(filter);
        }
        self.0 = self.0.min(start.elapsed() / requests);
    }
}

fn main() -> ExitCode {
    let mut brokers = [FEW, MANY].map(Sessions::open);
    let mut fastest = [[Fastest(Duration::MAX); 2]; VARIANTS.len()];
    for _ in 0..TURNS {
        for (variant, fastest) in VARIANTS.iter().zip(&mut fastest) {
            let requests = if variant.indexed { REQUESTS } else { SCANS };
            for ((sessions, count), fastest) in brokers.iter_mut().zip([FEW, MANY]).zip(fastest) {
                fastest.take_turn(sessions, &(variant.filter)(count), requests);
            }
        }
    }
    println!("{:<26}{FEW:>12}{MANY:>12} sessions, time of a request", "");
    let mut good = true;
    for (variant, [few, many]) in VARIANTS.iter().zip(fastest) {
        let ratio = many.0.as_secs_f64() / few.0.as_secs_f64();
        let verdict = match (variant.indexed, ratio <= LIMIT) {
            (false, _) => "",
            (true, true) => "good",
            (true, false) => {
                good = false;
                "too slow"
            }
        };
        let [few, many] = [few.0, many.0].map(|time| format!("{time:.2?}"));
        println!("{:<26}{few:>12}{many:>12}   ratio {ratio:>6.2} {verdict}", variant.name);
    }
    if good {
        ExitCode::SUCCESS
    } else {
        println!("more than {LIMIT} times the cost among {MANY} sessions");
        ExitCode::FAILURE
    }
}
