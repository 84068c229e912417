//! What one client may take of what everybody shares: the time of the core, places for sessions, memory for recovery. On the
//! core alone, with frames written by hand; time passes when a test says so.

#[path = "support/opening.rs"]
mod opening;

use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, Recovery, ResponseCode};
use antiphon_protocol::wire::layouts::{FilterOutcome, SendToFilter, SendToSession, SerialisedValue};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{MessagingFilterSender, MessagingReceiverServer, Service, UserPing};
use opening::arrival;

const ATTACKER: &str = "192.0.2.66";
const NEIGHBOUR: &str = "192.0.2.1";

struct World {
    broker: Broker,
    now: Moment,
    connections: u64,
    /// When the broker wants to be woken.
    wakes: Option<Moment>,
}

/// A session as its client knows it.
struct Client {
    connection: ConnectionId,
    session: SessionId,
    token: String,
    code: ResponseCode,
}

impl World {
    fn new(config: BrokerConfig) -> Self {
        let config = BrokerConfig { ping_period: Duration::ZERO, ..config };
        let broker = Broker::new(config, Access::development());
        Self { broker, now: Moment(1_000_000), connections: 0, wakes: None }
    }

    fn connect(&mut self, address: &str, recovery: Option<Recovery>) -> Result<Client, ResponseCode> {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let request = ConnectRequest { reconnect_timeout: 300_000, recovery, ..ConnectRequest::anonymous() };
        self.broker.handle_connect(self.now, connection, &request, &arrival(address, self.connections));
        let response = self.said_to(connection).remove(0);
        match ConnectResponse::decode(&response).expect("a connection response") {
            ConnectResponse::Accepted { session, token, code, .. } => {
                Ok(Client { connection, session, token: token.as_text().to_owned(), code })
            }
            ConnectResponse::Refused { code, .. } => Err(code),
        }
    }

    fn open(&mut self, address: &str) -> Client {
        self.connect(address, None).expect("a session")
    }

    /// Comes back with a token, having received nothing after the connection response.
    fn come_back(&mut self, address: &str, token: &str) -> Result<ResponseCode, ResponseCode> {
        let recovery = Recovery { token: token.to_owned(), oldest_sent: 1, last_received: 0 };
        self.connect(address, Some(recovery)).map(|client| client.code)
    }

    fn lose(&mut self, client: &Client) {
        self.broker.handle_disconnected(self.now, client.connection);
        self.said_to(client.connection);
    }

    /// What the broker says to a connection, without taking turns.
    fn said_to(&mut self, connection: ConnectionId) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send(to, frame) | Output::SendTogether(to, frame) if to == connection => {
                    said.push(frame.to_vec());
                }
                Output::WakeAt(at) => self.wakes = Some(at),
                _ => {}
            }
        }
        said
    }

    fn ask<S: Service>(&mut self, client: &Client, number: i64, request: &S::Request<'_>) -> Vec<Vec<u8>> {
        let frame = request_frame::<S>(ConversationId(number), request, 0);
        self.broker.handle_frame(self.now, client.connection, &frame);
        self.said_to(client.connection)
    }

    fn ask_filter(&mut self, client: &Client, number: i64, filter: &str) -> Vec<Vec<u8>> {
        let filter_conversation = ConversationId(number);
        let request = SendToFilter { filter_conversation, filter, path: "a", request: VALUE };
        self.ask::<MessagingFilterSender>(client, number, &request)
    }

    /// Wakes the broker, if it wants that, after so much time.
    fn wake(&mut self, after: Duration, connection: ConnectionId) -> Vec<Vec<u8>> {
        self.now = self.now + after;
        if self.wakes.take_if(|at| *at <= self.now).is_some() {
            self.broker.handle_timeout(self.now);
        }
        self.said_to(connection)
    }
}

const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "binary", bytes: b"x" };
const TURN: Duration = Duration::from_millis(1);

fn counts(said: &[Vec<u8>]) -> usize {
    let is_count = |frame: &&Vec<u8>| match Message::decode(frame) {
        Ok(Message::ServiceResponse { body, .. }) => matches!(decode_all(body), Ok(FilterOutcome::Matched(_))),
        _ => false,
    };
    said.iter().filter(is_count).count()
}

/// M-23.
#[test]
fn who_asks_for_more_than_its_share_waits_for_its_turns_and_nobody_else_does() {
    let mut world = World::new(BrokerConfig::default());
    let (attacker, other, neighbour) = (world.open(ATTACKER), world.open(ATTACKER), world.open(NEIGHBOUR));
    let costly = vec!["a is 'b'"; 1000].join(" or ");
    let mut answered = 0;
    for number in 1..=200 {
        answered += counts(&world.ask_filter(&attacker, number, &costly));
    }
    assert!(answered < 20, "{answered} at once");
    assert!(world.ask::<UserPing>(&other, 1, &()).is_empty(), "sessions of one party share what there is for one");
    assert_eq!(world.ask::<UserPing>(&neighbour, 1, &()).len(), 1, "at once");
    // The party's other session has its turn among the first of the party, not behind 200.
    let mut turns = 0;
    while world.wake(TURN, other.connection).is_empty() {
        turns += 1;
        assert!(turns < 5);
    }
    // While it goes on, the neighbour is served at once, always.
    while world.wakes.is_some() {
        assert_eq!(world.ask::<UserPing>(&neighbour, 2, &()).len(), 1);
        let done = counts(&world.wake(TURN, attacker.connection));
        assert!(done < 20, "{done} in a turn");
        turns += 1;
        assert!(turns < 1000, "all is done in the end");
    }
    assert!(turns > 10, "{turns}");
    world.now = world.now + Duration::from_secs(1);
    assert_eq!(counts(&world.ask_filter(&attacker, 1, "has a")), 1, "at once again");
}

/// M-23.
#[test]
fn a_share_comes_back_with_the_time() {
    let mut world = World::new(BrokerConfig::default());
    let client = world.open(NEIGHBOUR);
    let at_once =
        |world: &mut World| (0..2000).take_while(|_| !world.ask::<UserPing>(&client, 1, &()).is_empty()).count();
    let first = at_once(&mut world);
    assert!((100..2000).contains(&first), "{first}");
    while !world.wake(TURN, client.connection).is_empty() {}
    world.now = world.now + Duration::from_secs(1);
    assert_eq!(at_once(&mut world), first);
}

/// S-21.
#[test]
fn who_opens_and_leaves_sessions_ends_its_own() {
    let mut world = World::new(BrokerConfig { max_sessions: 100, ..BrokerConfig::default() });
    let neighbours: Vec<_> = (0..3).map(|_| world.open(NEIGHBOUR)).collect();
    for neighbour in &neighbours {
        world.lose(neighbour);
    }
    world.now = world.now + Duration::from_secs(10);
    for _ in 0..1000 {
        let left = world.open(ATTACKER);
        world.lose(&left);
    }
    for neighbour in &neighbours {
        assert_eq!(world.come_back(NEIGHBOUR, &neighbour.token), Ok(ResponseCode::RECONNECTED));
    }
}

/// S-21.
#[test]
fn who_has_much_kept_for_it_loses_its_own() {
    let mut world = World::new(BrokerConfig { max_recovery_bytes: 1 << 20, ..BrokerConfig::default() });
    let (neighbour, sender) = (world.open(NEIGHBOUR), world.open("192.0.2.2"));
    let large = vec![0; 200 << 10];
    let send = |world: &mut World, session: SessionId, bytes: &[u8]| {
        world.now = world.now + Duration::from_secs(1);
        let request = SerialisedValue { type_name: "binary", bytes };
        world.ask::<MessagingReceiverServer>(&sender, 1, &SendToSession { session, path: "a", request });
    };
    send(&mut world, neighbour.session, b"small");
    world.lose(&neighbour);
    let crowd: Vec<_> = (0..20).map(|_| world.open(ATTACKER)).collect();
    for member in &crowd {
        world.lose(member);
        send(&mut world, member.session, &large);
    }
    assert_eq!(world.come_back(NEIGHBOUR, &neighbour.token), Ok(ResponseCode::RECONNECTED));
    let without_loss = crowd.iter().filter(|member| {
        let code = world.come_back(ATTACKER, &member.token);
        code == Ok(ResponseCode::RECONNECTED)
    });
    assert!((1..6).contains(&without_loss.count()), "as much as there is room for");
}
