//! A request to very many sessions, and who is served while it is delivered. On the core alone, with frames written by
//! hand: a turn is taken when the test says so.

#[path = "support/opening.rs"]
mod opening;

use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, Recovery};
use antiphon_protocol::wire::layouts::{
    FilterAnswer, FilterOutcome, FilterResponse, SendToFilter, SendToPath, SendToSession, SerialisedValue,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    FilterResponseDelivery, MessagingFilterSender, MessagingReceiverServer, MessagingSend, Service, UserPing,
};
use opening::arrival;

const NOW: Moment = Moment(1_000_000);
const TURN: usize = 4;
const SENDER: u64 = 0;
/// Sessions that outlive their connections want this much time, in milliseconds.
const KEPT: u64 = 60_000;

/// Something that a client sees.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// A request that is addressed to it, to this path.
    Request(String),
    /// The number of those that a filter matched.
    Count(u32),
    /// What one of them answered, by its number.
    Result(u64, Result<(), ErrorReason>),
    /// The answer to something else.
    Answer,
    Refused(ErrorReason),
    Closed,
    /// Nothing more is read of what it sends.
    Paused,
    Resumed,
}

use Seen::{Answer, Closed, Count, Paused, Refused, Request, Result as Got, Resumed};

/// A broker and its sessions: each has the number of its first connection.
struct Sessions {
    broker: Broker,
    is_due: bool,
    /// The answers that are wanted of each session, and what was seen, with the number of the connection.
    seen: Vec<(u64, Seen)>,
    delivered: Vec<(u64, ConversationId)>,
    conversation: i64,
    tokens: Vec<String>,
}

impl Sessions {
    fn open(count: u64) -> Self {
        Self::with(BrokerConfig { turn_recipients: TURN, ..config() }, count)
    }

    fn with(config: BrokerConfig, count: u64) -> Self {
        let broker = Broker::new(config, Access::development());
        let (seen, delivered, tokens) = (Vec::new(), Vec::new(), Vec::new());
        let mut sessions = Self { broker, is_due: false, seen, delivered, conversation: 0, tokens };
        for number in 0..count {
            sessions.connect(number, None);
        }
        sessions
    }

    fn connect(&mut self, connection: u64, recovery: Option<Recovery>) {
        let request = ConnectRequest { reconnect_timeout: KEPT, recovery, ..ConnectRequest::anonymous() };
        self.broker.handle_connect(NOW, ConnectionId(connection), &request, &arrival("192.0.2.1", connection));
        let Some(Output::Send(_, frame)) = self.broker.poll_output() else { panic!("no response") };
        match ConnectResponse::decode(&frame).expect("a connection response") {
            ConnectResponse::Accepted { token, .. } => self.tokens.push(token.as_text().to_owned()),
            ConnectResponse::Refused { code, .. } => panic!("{code:?}"),
        }
        self.look();
    }

    /// Takes everything that the broker wants, but no turn.
    fn look(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send(ConnectionId(to), frame) | Output::SendTogether(ConnectionId(to), frame) => {
                    self.see(to, &frame)
                }
                Output::Close(ConnectionId(connection)) => self.seen.push((connection, Closed)),
                Output::Authenticate(..) => unreachable!("the broker knows them"),
                Output::Ping(_) => {}
                Output::Pause(ConnectionId(connection)) => self.seen.push((connection, Paused)),
                Output::Resume(ConnectionId(connection)) => self.seen.push((connection, Resumed)),
                Output::WakeAt(at) => self.is_due = at <= NOW,
            }
        }
    }

    fn see(&mut self, to: u64, frame: &[u8]) {
        let seen = match Message::decode(frame).expect("a message") {
            Message::ServiceRequest { service: MessagingSend::ID, conversation, body } => {
                self.delivered.push((to, conversation));
                Request(decode_all::<SendToPath<'_>>(body).expect("a request").path.to_owned())
            }
            Message::ServiceRequest { service: FilterResponseDelivery::ID, body, .. } => {
                let FilterResponse { session, answer, .. } = decode_all(body).expect("a response");
                Got(
                    session.value,
                    match answer {
                        FilterAnswer::Response(_) => Ok(()),
                        FilterAnswer::Error(error) => Err(error.reason),
                    },
                )
            }
            Message::ServiceResponse { body, .. } => match decode_all(body) {
                Ok(FilterOutcome::Matched(count)) => Count(count),
                _ => Answer,
            },
            Message::ServiceError { failure, .. } => Refused(failure.reason),
            Message::Abort => return,
            other => panic!("{other:?}"),
        };
        self.seen.push((to, seen));
    }

    fn handle(&mut self, connection: u64, frame: &[u8]) {
        self.broker.handle_frame(NOW, ConnectionId(connection), frame);
        self.look();
    }

    fn ask<S: Service>(&mut self, connection: u64, request: &S::Request<'_>) {
        self.conversation += 1;
        self.handle(connection, &request_frame::<S>(ConversationId(self.conversation), request, 0));
    }

    fn ask_all(&mut self, connection: u64, filter: &str, path: &str) {
        let filter_conversation = ConversationId(self.conversation + 1);
        let request = SendToFilter { filter_conversation, filter, path, request: VALUE };
        self.ask::<MessagingFilterSender>(connection, &request);
    }

    fn ask_one(&mut self, connection: u64, session: u64, path: &str) {
        let session = SessionId { server: 0, value: session };
        self.ask::<MessagingReceiverServer>(connection, &SendToSession { session, path, request: VALUE });
    }

    /// Others were heard. Returns whether there was something to go on with.
    fn take_turn(&mut self) -> bool {
        let is_due = std::mem::take(&mut self.is_due);
        if is_due {
            self.broker.handle_timeout(NOW);
            self.look();
        }
        is_due
    }

    /// Takes all turns, and lets everybody answer.
    fn settle(&mut self) {
        while self.take_turn() {}
        for (connection, conversation) in std::mem::take(&mut self.delivered) {
            self.handle(connection, &response_frame::<MessagingSend>(conversation, &VALUE));
        }
        assert_eq!(self.broker.outstanding_requests(), 0);
    }

    /// What was seen since the last time.
    fn seen(&mut self) -> Vec<(u64, Seen)> {
        std::mem::take(&mut self.seen)
    }
}

const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };

fn config() -> BrokerConfig {
    BrokerConfig { ping_period: Duration::ZERO, turn_pause: Duration::ZERO, ..BrokerConfig::default() }
}

/// Those who were asked, in order.
fn asked(seen: &[(u64, Seen)], path: &str) -> Vec<u64> {
    seen.iter().filter(|(_, seen)| *seen == Request(path.into())).map(|(to, _)| *to).collect()
}

fn results(seen: &[(u64, Seen)]) -> Vec<(u64, Result<(), ErrorReason>)> {
    let of_sender = seen.iter().filter(|(to, _)| *to == SENDER);
    let results = of_sender.filter_map(|(_, seen)| match seen {
        Got(session, result) => Some((*session, *result)),
        _ => None,
    });
    results.collect()
}

/// M-20.
#[test]
fn others_are_served_before_everybody_was_asked() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    let seen = sessions.seen();
    assert_eq!(seen[0], (SENDER, Count(10)), "all are counted at once");
    assert_eq!(asked(&seen, "everybody"), [0, 1, 2, 3]);
    assert_eq!(sessions.broker.outstanding_requests(), 10);
    sessions.ask::<UserPing>(9, &());
    sessions.ask_one(8, 7, "one");
    assert_eq!(sessions.seen(), [(9, Answer), (7, Request("one".into()))]);
    assert!(sessions.take_turn());
    assert_eq!(asked(&sessions.seen(), "everybody"), [4, 5, 6, 7]);
    assert!(sessions.take_turn() && !sessions.take_turn());
    assert_eq!(asked(&sessions.seen(), "everybody"), [8, 9]);
    sessions.settle();
    assert_eq!(results(&sessions.seen()), (0..10).map(|number| (number, Ok(()))).collect::<Vec<_>>());
}

/// M-20.
#[test]
fn others_are_served_while_a_filter_is_matched_that_takes_long() {
    let mut sessions = Sessions::with(BrokerConfig { turn_work: 3, ..config() }, 10);
    sessions.ask_all(SENDER, "all", "everybody");
    assert_eq!((sessions.seen(), sessions.broker.outstanding_requests()), (vec![], 1));
    sessions.ask::<UserPing>(9, &());
    assert_eq!(sessions.seen(), [(9, Answer)]);
    // One that has not been looked at.
    sessions.broker.handle_disconnected(NOW, ConnectionId(9));
    sessions.settle();
    assert_eq!(sessions.seen()[0], (SENDER, Count(9)));
}

/// M-20.
#[test]
fn several_who_ask_everybody_take_turns() {
    let mut sessions = Sessions::open(12);
    sessions.ask_all(0, "all", "first");
    sessions.ask_all(1, "all", "second");
    assert_eq!(asked(&sessions.seen(), "second"), [0, 1, 2, 3]);
    for (path, expected) in [("first", 4), ("second", 4), ("first", 8), ("second", 8)] {
        assert!(sessions.take_turn());
        assert_eq!(asked(&sessions.seen(), path), (expected..expected + 4).collect::<Vec<_>>());
    }
    assert!(!sessions.take_turn());
    sessions.settle();
}

/// M-19.
#[test]
fn what_a_session_asks_for_after_it_asked_everybody_comes_after_that() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "first");
    sessions.ask_one(SENDER, 9, "second");
    sessions.ask_all(SENDER, "all", "third");
    sessions.ask_one(SENDER, 9, "fourth");
    sessions.ask::<UserPing>(SENDER, &());
    while sessions.take_turn() {}
    let seen = sessions.seen();
    let of_last = seen.iter().filter(|(to, _)| *to == 9).map(|(_, seen)| seen.clone());
    assert_eq!(of_last.collect::<Vec<_>>(), ["first", "second", "third", "fourth"].map(|path| Request(path.into())));
    let of_sender = seen.iter().filter(|(to, seen)| *to == SENDER && !matches!(seen, Request(_)));
    assert_eq!(of_sender.map(|(_, seen)| seen.clone()).collect::<Vec<_>>(), [Count(10), Count(10), Answer]);
    sessions.settle();
}

#[test]
fn answers_do_not_wait_for_what_their_session_asks_everybody() {
    let mut sessions = Sessions::open(10);
    sessions.ask_one(9, SENDER, "one");
    sessions.ask_all(SENDER, "all", "everybody");
    let (_, conversation) = sessions.delivered.remove(0);
    sessions.seen();
    sessions.handle(SENDER, &response_frame::<MessagingSend>(conversation, &VALUE));
    assert_eq!(sessions.seen(), [(9, Answer)]);
    sessions.settle();
}

/// M-24.
#[test]
fn nothing_more_is_read_of_a_session_that_asks_for_more_than_can_wait_until_half_of_it_is_done() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    let mut pings = 0;
    while sessions.seen.last() != Some(&(SENDER, Paused)) {
        sessions.ask::<UserPing>(SENDER, &());
        pings += 1;
        assert!(pings < 10_000, "without end");
    }
    assert!(pings > 1_000);
    // What was read already.
    sessions.ask::<UserPing>(SENDER, &());
    assert_eq!(sessions.seen().iter().filter(|(_, seen)| *seen == Paused).count(), 1);
    while sessions.take_turn() {}
    let seen = sessions.seen();
    let answered = || seen.iter().filter(|(_, seen)| *seen == Answer);
    let before = seen.iter().take_while(|seen| **seen != (SENDER, Resumed)).filter(|(_, seen)| *seen == Answer).count();
    assert_eq!((answered().count(), seen.iter().filter(|(_, seen)| *seen == Resumed).count()), (pings + 1, 1));
    assert!((pings / 2 - 5..pings / 2 + 5).contains(&before), "{before} of {pings}");
    sessions.settle();
}

/// L-8.
#[test]
fn what_waits_for_its_turn_is_bounded_over_all_sessions() {
    let mut sessions = Sessions::with(BrokerConfig { turn_recipients: TURN, max_waiting_bytes: 300, ..config() }, 10);
    for sender in [SENDER, 1] {
        sessions.ask_all(sender, "all", "everybody");
        sessions.ask_one(sender, 9, &"held".repeat(20));
    }
    sessions.seen();
    for sender in [SENDER, 1] {
        sessions.ask_one(sender, 9, &"more".repeat(20));
    }
    assert_eq!(sessions.seen(), [SENDER, 1].map(|sender| (sender, Refused(ErrorReason::CLUSTER_ROUTING))));
    while sessions.take_turn() {}
    assert_eq!(asked(&sessions.seen(), &"held".repeat(20)), [9, 9]);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.ask_one(SENDER, 9, &"more".repeat(20));
    assert_eq!(sessions.broker.refusals(), 2, "there is room again");
    sessions.settle();
}

/// M-13.
#[test]
fn whoever_leaves_before_it_was_asked_is_a_result_too() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.handle(9, &Message::CloseRequest.to_frame());
    sessions.seen();
    sessions.settle();
    let results = results(&sessions.seen());
    assert_eq!(results.len(), 10);
    assert_eq!(results.iter().filter(|(_, result)| result.is_err()).count(), 1);
    assert!(results.contains(&(9, Err(ErrorReason::CLUSTER_ROUTING))), "nobody was asked: {results:?}");
}

/// S-6.
#[test]
fn whoever_loses_its_connection_before_it_was_asked_is_asked_when_it_is_back() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.broker.handle_disconnected(NOW, ConnectionId(9));
    while sessions.take_turn() {}
    assert_eq!(asked(&sessions.seen(), "everybody").len(), 9);
    let token = sessions.tokens[9].clone();
    sessions.connect(10, Some(Recovery { token, oldest_sent: 1, last_received: 0 }));
    assert_eq!(sessions.seen(), [(10, Request("everybody".into()))]);
    sessions.settle();
    assert!(results(&sessions.seen()).contains(&(9, Ok(()))));
}

/// M-21.
#[test]
fn whoever_has_no_room_when_it_would_be_asked_is_not_asked() {
    let mut sessions =
        Sessions::with(BrokerConfig { turn_recipients: TURN, max_requests_to_answer: 1, ..config() }, 10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.ask_one(8, 9, "one");
    while sessions.take_turn() {}
    let seen = sessions.seen();
    assert_eq!(asked(&seen, "everybody").len(), 9);
    assert_eq!(results(&seen), [(9, Err(ErrorReason::CLUSTER_ROUTING))]);
    sessions.settle();
}

#[test]
fn when_the_sender_is_gone_nobody_else_is_asked() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.ask_one(SENDER, 9, "one");
    sessions.handle(SENDER, &Message::CloseRequest.to_frame());
    while sessions.take_turn() {}
    let seen = sessions.seen();
    assert_eq!((asked(&seen, "everybody").len(), asked(&seen, "one").len()), (TURN, 0));
    assert_eq!(sessions.broker.outstanding_requests(), 0);
}

/// S-6.
#[test]
fn when_the_sender_is_back_it_has_all_results() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.broker.handle_disconnected(NOW, ConnectionId(SENDER));
    sessions.seen();
    while sessions.take_turn() {}
    for (connection, conversation) in std::mem::take(&mut sessions.delivered) {
        sessions.handle(connection, &response_frame::<MessagingSend>(conversation, &VALUE));
    }
    // The count and one request to itself had arrived.
    let token = sessions.tokens[0].clone();
    sessions.connect(10, Some(Recovery { token, oldest_sent: 1, last_received: 2 }));
    let back = sessions.seen().into_iter().filter(|(to, _)| *to == 10).map(|(_, seen)| seen);
    // It has not answered itself yet.
    assert_eq!(back.collect::<Vec<_>>(), (1..10).map(|number| Got(number, Ok(()))).collect::<Vec<_>>());
}

/// S-7.
#[test]
fn a_sender_that_lost_messages_has_forgotten_what_it_asked_everybody() {
    let recovery = RecoveryLimits { messages: 1, bytes: 1000 };
    let mut sessions = Sessions::with(BrokerConfig { turn_recipients: TURN, recovery, ..config() }, 10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.broker.handle_disconnected(NOW, ConnectionId(SENDER));
    let token = sessions.tokens[0].clone();
    sessions.connect(10, Some(Recovery { token, oldest_sent: 1, last_received: 0 }));
    assert!(!sessions.take_turn());
    assert_eq!(asked(&sessions.seen(), "everybody").len(), TURN);
}

/// S-14.
#[test]
fn a_broker_that_stops_asks_those_who_were_counted_and_nobody_else() {
    let mut sessions = Sessions::open(10);
    sessions.ask_all(SENDER, "all", "everybody");
    sessions.ask_one(SENDER, 9, "one");
    sessions.broker.stop(NOW, Duration::from_secs(5));
    sessions.look();
    assert!(sessions.take_turn());
    assert!(!sessions.seen.iter().any(|(_, seen)| *seen == Closed), "it is under way");
    while sessions.take_turn() {}
    for (connection, conversation) in std::mem::take(&mut sessions.delivered) {
        sessions.handle(connection, &response_frame::<MessagingSend>(conversation, &VALUE));
    }
    let seen = sessions.seen();
    assert_eq!(asked(&seen, "one"), Vec::<u64>::new(), "that was not begun");
    assert!(seen.contains(&(SENDER, Refused(ErrorReason::CLUSTER_ROUTING))));
    assert_eq!(results(&seen).len(), 10);
    assert_eq!(seen.iter().filter(|(_, seen)| *seen == Closed).count(), 10, "then all are closed");
}
