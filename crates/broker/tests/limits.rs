//! What many sessions and long filters cost, and what is left of it in memory: nothing that grows. On the core alone,
//! with frames written by hand; time stands still unless a test moves it.

#[path = "support/opening.rs"]
mod opening;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::timeouts::PathTimeouts;
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::layouts::{
    DeregisterHandler, FilterAnswer, FilterOutcome, FilterResponse, RegisterHandler, SendToFilter, SerialisedValue,
    ServiceFailure,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    Deregistration, FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient, MessagingSend,
    Registration, Service,
};
use opening::arrival;

/// Counts the bytes that this thread has allocated and not freed, and the most there ever were.
struct Counting;

thread_local! {
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static MOST_BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all work is the system allocator's; the counters have no destructor and do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.set(LIVE_BYTES.get().wrapping_add(layout.size()));
        MOST_BYTES.set(MOST_BYTES.get().max(LIVE_BYTES.get()));
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller keeps the rules of this same function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live_bytes() -> usize {
    LIVE_BYTES.get()
}

/// How many bytes more than now there are at most while something is done.
fn most_bytes_during(action: impl FnOnce()) -> usize {
    let now = live_bytes();
    MOST_BYTES.set(now);
    action();
    MOST_BYTES.get() - now
}

const SENDER: ConnectionId = ConnectionId(0);
const FILTER: ConversationId = ConversationId(77);
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x65hello" };
const TIMEOUT: Duration = Duration::from_secs(60);

/// A broker and its sessions, one for each of the connections 0, 1, 2 and so on.
struct Sessions {
    broker: Broker,
    now: Moment,
    asked: i64,
}

/// The outcome of a request to a filter.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The count, and for every answer in order the number of the session and the reason if it is an error.
    Matched(u32, Vec<(u64, Option<ErrorReason>)>),
    Refused(ErrorReason, String),
}

impl Sessions {
    fn open(count: u64) -> Self {
        Self::with(
            BrokerConfig {
                ping_period: Duration::ZERO,
                request_timeout: TIMEOUT,
                turn_pause: Duration::ZERO,
                ..BrokerConfig::default()
            },
            count,
        )
    }

    fn with(config: BrokerConfig, count: u64) -> Self {
        let broker = Broker::new(config, Access::development());
        let mut sessions = Self { broker, now: Moment(1_000_000), asked: 0 };
        for number in 0..count {
            sessions.connect(ConnectionId(number));
        }
        assert_eq!(sessions.broker.session_count() as u64, count);
        sessions
    }

    fn connect(&mut self, connection: ConnectionId) {
        let properties = Some(vec![("number".into(), connection.0.to_string())]);
        let request = ConnectRequest { properties, ..ConnectRequest::anonymous() };
        self.broker.handle_connect(self.now, connection, &request, &arrival("192.0.2.1", connection.0));
        self.discard_outputs();
    }

    /// What the broker wants next. What it does a part at a time goes on whenever it has nothing else to say.
    fn next_output(&mut self) -> Option<Output> {
        loop {
            match self.broker.poll_output()? {
                Output::WakeAt(at) if at <= self.now => self.broker.handle_timeout(self.now),
                output => return Some(output),
            }
        }
    }

    fn discard_outputs(&mut self) {
        while self.next_output().is_some() {}
    }

    fn next_id(&mut self) -> ConversationId {
        self.asked += 1;
        ConversationId(self.asked)
    }

    /// Puts a request to a filter into the broker, which says nothing yet.
    fn ask(&mut self, filter: &str) -> ConversationId {
        // It has done nothing for a while.
        self.now = self.now + Duration::from_secs(1);
        let id = self.next_id();
        let request = SendToFilter { filter_conversation: FILTER, filter, path: "inbox", request: VALUE };
        self.broker.handle_frame(self.now, SENDER, &request_frame::<MessagingFilterSender>(id, &request, 64));
        id
    }

    /// Lets everything happen that follows at once. Sessions of which `answers` is true answer, and the sender
    /// acknowledges if it `acknowledges`.
    fn settle(&mut self, id: ConversationId, answers: impl Fn(u64) -> bool, acknowledges: bool) -> Outcome {
        let mut count = None;
        let mut results = Vec::new();
        while let Some(output) = self.next_output() {
            let Output::Send(connection, frame) = output else { continue };
            match Message::decode(&frame).expect("a message") {
                Message::ServiceRequest { service: MessagingSend::ID, conversation, .. } => {
                    if answers(connection.0) {
                        let answer = response_frame::<MessagingSend>(conversation, &VALUE);
                        self.broker.handle_frame(self.now, connection, &answer);
                    }
                }
                Message::ServiceRequest { service: FilterResponseDelivery::ID, conversation, body } => {
                    assert_eq!(connection, SENDER);
                    assert!(count.is_some(), "the count comes first");
                    let response: FilterResponse<'_> = decode_all(body).expect("a response");
                    assert_eq!(response.filter_conversation, FILTER);
                    results.push((
                        response.session.value,
                        match response.answer {
                            FilterAnswer::Response(value) => {
                                assert_eq!(value, VALUE);
                                None
                            }
                            FilterAnswer::Error(error) => Some(error.reason),
                        },
                    ));
                    if acknowledges {
                        let frame = response_frame::<FilterResponseDelivery>(conversation, &());
                        self.broker.handle_frame(self.now, connection, &frame);
                    }
                }
                Message::ServiceResponse { conversation, body } => {
                    assert_eq!((connection, conversation), (SENDER, id));
                    match decode_all(body).expect("an outcome") {
                        FilterOutcome::Matched(matched) => count = Some(matched),
                        FilterOutcome::Rejected(reports) => panic!("{reports:?}"),
                    }
                }
                Message::ServiceError { conversation, failure: ServiceFailure { description, reason } } => {
                    assert_eq!((connection, conversation), (SENDER, id));
                    return Outcome::Refused(reason, description.to_owned());
                }
                other => panic!("{other:?}"),
            }
        }
        Outcome::Matched(count.expect("a count"), results)
    }

    fn send_to_filter(&mut self, filter: &str) -> Outcome {
        let id = self.ask(filter);
        self.settle(id, |_| true, true)
    }

    /// Checks that nobody waits for anything, now or at any time.
    fn assert_idle(&mut self) {
        assert_eq!(self.broker.outstanding_requests(), 0);
        assert_eq!(self.broker.open_conversations(), 0);
        self.broker.handle_timeout(self.now + Duration::from_secs(1_000_000));
        assert_eq!(self.broker.poll_output(), None);
    }

    /// The reason that the broker refuses a request of the sender with, if it does.
    fn refusal(&mut self, frame: &[u8]) -> Option<ErrorReason> {
        self.refusal_of(SENDER, frame)
    }

    /// The same of any client.
    fn refusal_of(&mut self, client: ConnectionId, frame: &[u8]) -> Option<ErrorReason> {
        self.broker.handle_frame(self.now, client, frame);
        let Some(Output::Send(to, frame)) = self.next_output() else { panic!("no answer") };
        assert_eq!(to, client);
        match Message::decode(&frame).expect("a message") {
            Message::ServiceResponse { .. } => None,
            Message::ServiceError { failure, .. } => Some(failure.reason),
            other => panic!("{other:?}"),
        }
    }
}

const MANY: u64 = 5_000;

#[test]
fn a_request_to_five_thousand_sessions_is_answered_by_each_of_them_once_and_leaves_nothing_behind() {
    let mut sessions = Sessions::open(MANY);
    let at_first = live_bytes();
    let everyone: BTreeSet<u64> = (0..MANY).collect();
    let mut fan_out = |acknowledges: bool| {
        let id = sessions.ask("all");
        assert_eq!(sessions.broker.outstanding_requests(), 5_000);
        assert!(sessions.broker.open_conversations() < 300, "others are served before the rest is delivered");
        let Outcome::Matched(count, answers) = sessions.settle(id, |_| true, acknowledges) else { panic!("refused") };
        assert_eq!((count, answers.len()), (5_000, 5_000));
        assert!(answers.iter().all(|(_, error)| error.is_none()));
        assert_eq!(answers.iter().map(|(session, _)| *session).collect::<BTreeSet<_>>(), everyone);
        drop(answers);
        sessions.assert_idle();
        live_bytes()
    };
    // More are asked in one turn than at first.
    fan_out(true);
    let after = fan_out(true);
    // The room that collections keep for the next time, 326 bytes a session when this was written: in every session for
    // four open conversations, and in the queues of deadlines and of outputs for as many as there were.
    let retained = after - at_first;
    assert!(retained < 5_000 * 400, "{retained} bytes retained");
    for acknowledges in [true, false, true] {
        assert_eq!(fan_out(acknowledges), after, "nothing grows from one time to the next");
    }
    assert_eq!(sessions.broker.late_answers(), 0);
}

#[test]
fn sessions_that_leave_or_never_answer_leave_nothing_behind_either() {
    let mut sessions = Sessions::open(MANY);
    sessions.send_to_filter("all");
    let before = live_bytes();

    let id = sessions.ask("all");
    let Outcome::Matched(5_000, answers) = sessions.settle(id, |number| number % 2 == 0, true) else {
        panic!("refused")
    };
    assert_eq!(answers.len(), 2_500);
    drop(answers);
    for number in (1..MANY).step_by(4) {
        sessions.broker.handle_disconnected(sessions.now, ConnectionId(number));
    }
    sessions.now = sessions.now + TIMEOUT;
    sessions.broker.handle_timeout(sessions.now);
    let mut reasons = Vec::new();
    while let Some(output) = sessions.next_output() {
        let Output::Send(SENDER, frame) = output else { continue };
        let Ok(Message::ServiceRequest { body, .. }) = Message::decode(&frame) else { panic!("{frame:x?}") };
        match decode_all(body).expect("a response") {
            FilterResponse { answer: FilterAnswer::Error(error), .. } => reasons.push(error.reason),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reasons[..1_250], [ErrorReason::SESSION_CLOSED; 1_250]);
    assert_eq!(reasons[1_250..], [ErrorReason::REQUEST_TIME_OUT; 1_250]);
    drop(reasons);
    sessions.assert_idle();
    for number in (1..MANY).step_by(4) {
        sessions.connect(ConnectionId(number));
    }
    sessions.send_to_filter("all");
    // Not the same to the byte: the order in which sessions come decides how full the nodes of an index are.
    let after = live_bytes();
    assert!(after < before + 10_000, "{before} bytes before, {after} after");
    assert_eq!(sessions.broker.late_answers(), 0, "nobody answered late");
}

#[test]
fn a_sender_that_leaves_during_its_request_to_everyone_leaves_nothing_behind() {
    let mut sessions = Sessions::open(MANY);
    sessions.send_to_filter("all");
    sessions.broker.handle_disconnected(sessions.now, SENDER);
    sessions.connect(SENDER);
    let before = live_bytes();

    sessions.ask("all");
    let mut delivered = Vec::new();
    while let Some(output) = sessions.next_output() {
        let Output::Send(connection, frame) = output else { continue };
        if let Ok(Message::ServiceRequest { conversation, .. }) = Message::decode(&frame) {
            delivered.push((connection, conversation));
        }
    }
    assert_eq!(delivered.len(), 5_000);
    sessions.broker.handle_disconnected(sessions.now, SENDER);
    for (connection, conversation) in delivered.drain(..).filter(|(connection, _)| connection.0 % 2 == 0) {
        sessions.broker.handle_frame(sessions.now, connection, &response_frame::<MessagingSend>(conversation, &VALUE));
    }
    drop(delivered);
    assert_eq!(sessions.broker.late_answers(), 2_499, "all that answered but the sender itself");
    sessions.now = sessions.now + TIMEOUT;
    sessions.broker.handle_timeout(sessions.now);
    assert_eq!(sessions.broker.late_answers(), 2_499, "to say nothing is not to answer late");
    sessions.assert_idle();
    sessions.connect(SENDER);
    // The new session of the sender has no room for conversations yet.
    assert!(live_bytes() <= before, "{} more bytes", live_bytes() - before);
}

#[test]
fn sessions_that_come_and_go_leave_nothing_behind() {
    let mut sessions = Sessions::with(BrokerConfig::default(), 10);
    let mut come_and_go = || {
        for number in 10..1_000 {
            sessions.connect(ConnectionId(number));
        }
        for number in 10..1_000 {
            sessions.broker.handle_disconnected(sessions.now, ConnectionId(number));
        }
        sessions.discard_outputs();
        live_bytes()
    };
    let after = come_and_go();
    for _ in 0..5 {
        assert_eq!(come_and_go(), after);
    }
    for number in 0..10 {
        sessions.broker.handle_disconnected(sessions.now, ConnectionId(number));
    }
    sessions.assert_idle();
}

#[test]
fn values_that_are_named_again_and_again_cost_nothing() {
    let mut sessions = Sessions::open(MANY);
    for (key, separator) in [("$Principal in ", " "), ("", " or ")] {
        let one = if key.is_empty() { "$Principal is ''" } else { "''" };
        let filter = format!("{key}{}", vec![one; 800].join(separator));
        let bytes = most_bytes_during(|| {
            sessions.ask(&filter);
            sessions.discard_outputs();
        });
        assert!(bytes < 5_000 * 1_000, "{bytes} bytes");
        sessions.now = sessions.now + TIMEOUT;
        sessions.broker.handle_timeout(sessions.now);
        sessions.discard_outputs();
        sessions.assert_idle();
    }
}

#[test]
fn a_filter_that_would_hold_up_everybody_is_refused() {
    let mut sessions = Sessions::open(MANY);
    sessions.send_to_filter("all");
    let before = live_bytes();
    let long = "has z or ".repeat(1_819) + "has z";
    let Outcome::Refused(reason, text) = sessions.send_to_filter(&long) else { panic!("accepted") };
    assert_eq!(reason, ErrorReason::CLUSTER_ROUTING);
    assert!(text.contains("too long"), "{text}");
    drop((long, text));
    assert_eq!(live_bytes(), before);
    sessions.assert_idle();

    let with_index = format!("$Principal is 'nobody' and ({})", "has z or ".repeat(1_800) + "has z");
    assert_eq!(sessions.send_to_filter(&with_index), Outcome::Matched(0, vec![]), "nobody had to be looked at");
    let list = format!("number in {}", "'no' ".repeat(3_000));
    assert_eq!(sessions.send_to_filter(&list), Outcome::Matched(0, vec![]), "a list is as fast as one value");
}

#[test]
fn what_the_registrations_of_one_session_take_is_limited() {
    let mut sessions = Sessions::open(1);
    let keys: Vec<_> = (0..1_200).map(|number| format!("key{number}")).collect();
    let property_keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let paths: Vec<_> = (0..1_000).map(|number| format!("path{number}")).collect();
    let before = live_bytes();
    let mut registered = 0;
    loop {
        let registration = sessions.next_id();
        let request = RegisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: "",
            path: &paths[registered],
            property_keys: property_keys.clone(),
            registration,
        };
        let id = sessions.next_id();
        match sessions.refusal(&request_frame::<Registration>(id, &request, 0)) {
            None => registered += 1,
            Some(reason) => {
                assert_eq!(reason, ErrorReason::CLUSTER_ROUTING);
                break;
            }
        }
    }
    let kept = live_bytes() - before;
    assert!((4 << 20..24 << 20).contains(&kept), "{registered} registrations keep {kept} bytes");
    for path in &paths[..registered] {
        let request = DeregisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: "",
            path,
            property_keys: vec![],
        };
        let id = sessions.next_id();
        assert_eq!(sessions.refusal(&request_frame::<Deregistration>(id, &request, 0)), None);
    }
    assert!(live_bytes() - before < 64 << 10, "{} bytes are left", live_bytes() - before);
}

#[test]
fn what_registrations_take_is_no_more_than_they_count_for_and_limited_for_a_party() {
    let mut sessions = Sessions::open(40);
    let before = live_bytes();
    let mut registered = 0;
    'all: for client in 0..40 {
        for number in 0..10_000 {
            let registration = sessions.next_id();
            let request = RegisterHandler {
                delivery_service: MessagingReceiverClient::ID,
                control_group: "",
                path: &format!("{client}/{number}"),
                property_keys: vec![],
                registration,
            };
            let id = sessions.next_id();
            match sessions.refusal_of(ConnectionId(client), &request_frame::<Registration>(id, &request, 0)) {
                None => registered += 1,
                Some(reason) => {
                    assert_eq!(reason, ErrorReason::CLUSTER_ROUTING);
                    break 'all;
                }
            }
        }
    }
    let kept = live_bytes() - before;
    assert!((200_000..270_000).contains(&registered), "{registered} registrations");
    assert!(kept < 64 << 20, "{registered} registrations keep {kept} bytes");
}

#[test]
fn looking_up_the_time_allowed_for_a_path_allocates_nothing() {
    let mut timeouts = PathTimeouts::default();
    for path in ["orders", "orders/slow", "inbox"] {
        timeouts.set(path, TIMEOUT).expect("a path");
    }
    let bytes = most_bytes_during(|| {
        assert_eq!(timeouts.get("orders/slow/17"), Some(TIMEOUT));
        assert_eq!(timeouts.get("other"), None);
    });
    assert_eq!(bytes, 0);
}
