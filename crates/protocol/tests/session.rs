//! The client's core, alone against what a server might say.

use std::time::{Duration, Instant};

use antiphon_protocol::client::{
    CallId, ClientConfig, ClientSession, CloseCode, Closed, ConnectCode, Event, HandlerId, HandlerSettings, Outcome,
    Output, Patience, RequestError, RequestId, Response, State,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectResponse, Credentials, ResponseCode, SessionToken};
use antiphon_protocol::wire::layouts::{
    FilterAnswer, FilterOutcome, FilterResponse, ForwardedRequest, SendToPath, SerialisedValue, ServiceFailure,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    Deregistration, FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient, MessagingSend,
    Registration, Service, ServiceRequest, UserPing,
};

const SECOND: Duration = Duration::from_secs(1);
const START: Moment = Moment(0);
const ID: SessionId = SessionId { server: 1, value: 2 };
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "binary", bytes: b"x" };
const WAIT: Patience = Patience { timeout: SECOND, wait: true };

/// Everything that the session wants now.
fn outputs(session: &mut ClientSession) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

/// What it tells the application.
fn events(session: &mut ClientSession) -> Vec<Event> {
    let event = |output| match output {
        Output::Deliver(event) => Some(event),
        _ => None,
    };
    outputs(session).into_iter().filter_map(event).collect()
}

/// What it sends.
fn sent(session: &mut ClientSession) -> Vec<Vec<u8>> {
    let frame = |output| match output {
        Output::Send(frame) => Some(frame.to_vec()),
        _ => None,
    };
    outputs(session).into_iter().filter_map(frame).collect()
}

/// The server's word on a connection: a session, and what it says last.
fn answer(session: &mut ClientSession, now: Moment, code: ResponseCode, tail: i32) {
    let token = SessionToken::from_random([7; 18]);
    let accepted =
        ConnectResponse::Accepted { version: 25, code, session: ID, token, ping_period: 0, tail, features: None };
    let connection = session.connection().expect("connecting");
    session.handle_open(connection);
    session.handle_frame(now, connection, &accepted.to_frame());
}

fn receive(session: &mut ClientSession, now: Moment, frame: &[u8]) {
    session.handle_frame(now, session.connection().expect("connected"), frame);
}

fn cut(session: &mut ClientSession, now: Moment) {
    session.handle_disconnected(now, session.connection().expect("connected"), "cut");
}

/// A session that is open, and reconnects for a minute.
fn open() -> ClientSession {
    let mut session = ClientSession::new(ClientConfig { reconnect_timeout: SECOND * 60, ..ClientConfig::default() });
    session.connect(START);
    answer(&mut session, START, ResponseCode::OK, 0);
    outputs(&mut session);
    session
}

fn call_ended(call: u64, outcome: Result<Response, RequestError>) -> Event {
    Event::CallEnded { call: CallId(call), outcome }
}

/// A handler that the server has accepted; the number that it was told to use.
fn register(session: &mut ClientSession, call: u64, handler: u64, path: &str) -> ConversationId {
    session.register_handler(START, CallId(call), HandlerId(handler), path, HandlerSettings::default());
    let frames = sent(session);
    let (conversation, number) = registration(&frames[0]);
    receive(session, START, &response_frame::<Registration>(conversation, &()));
    assert_eq!(events(session).first(), Some(&call_ended(call, Ok(Response::Registered))));
    number
}

/// The conversation of a message that registers a handler, and the number of the registration.
fn registration(frame: &[u8]) -> (ConversationId, ConversationId) {
    let Ok(Message::ServiceRequest { service, conversation, body }) = Message::decode(frame) else {
        panic!("{frame:?}");
    };
    match ServiceRequest::decode(service, body) {
        Ok(Some(ServiceRequest::Registration(body))) => (conversation, body.registration),
        other => panic!("{other:?}"),
    }
}

const REGISTER: u32 = Registration::ID;
const DEREGISTER: u32 = Deregistration::ID;

/// What the server is asked about registrations: service, conversation and the number of what is registered.
fn questions(session: &mut ClientSession) -> Vec<(u32, ConversationId, ConversationId)> {
    let ask = |frame: Vec<u8>| match Message::decode(&frame) {
        Ok(Message::ServiceRequest { service: REGISTER, .. }) => {
            let (conversation, number) = registration(&frame);
            (REGISTER, conversation, number)
        }
        Ok(Message::ServiceRequest { service, conversation, .. }) => (service, conversation, conversation),
        _ => panic!("{frame:?}"),
    };
    sent(session).into_iter().map(ask).collect()
}

fn begin_to_register(session: &mut ClientSession, call: u64, handler: u64) {
    session.register_handler(START, CallId(call), HandlerId(handler), "a", HandlerSettings::default());
}

/// The server agrees.
fn accept(session: &mut ClientSession, (_, conversation, _): (u32, ConversationId, ConversationId)) {
    receive(session, START, &response_frame::<Registration>(conversation, &()));
}

/// The server sends a request; which handler gets it, or why none does.
fn forward(
    session: &mut ClientSession,
    conversation: i64,
    registration: ConversationId,
    path: &str,
) -> Result<HandlerId, ErrorReason> {
    let body = ForwardedRequest { registration, sender: ID, path, properties: Vec::new(), request: VALUE };
    receive(session, START, &request_frame::<MessagingReceiverClient>(ConversationId(conversation), &body, 0));
    delivered(session)
}

fn address(session: &mut ClientSession, conversation: i64, path: &str) -> Result<HandlerId, ErrorReason> {
    let body = SendToPath { path, request: VALUE };
    receive(session, START, &request_frame::<MessagingSend>(ConversationId(conversation), &body, 0));
    delivered(session)
}

fn delivered(session: &mut ClientSession) -> Result<HandlerId, ErrorReason> {
    for output in outputs(session) {
        match output {
            Output::Deliver(Event::RequestReceived(request)) => return Ok(request.handler),
            Output::Send(frame) => match Message::decode(&frame) {
                Ok(Message::ServiceError { failure: ServiceFailure { reason, .. }, .. }) => return Err(reason),
                other => panic!("{other:?}"),
            },
            _ => {}
        }
    }
    panic!("neither delivered nor refused")
}

const UNHANDLED: Result<HandlerId, ErrorReason> = Err(ErrorReason::UNHANDLED_MESSAGE);

// ---- Connections ----

#[test]
fn a_retry_during_an_attempt_changes_nothing_and_leaves_no_timer_behind() {
    let patience = ClientConfig::default().connect_timeout;
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    outputs(&mut session);
    session.reconnect(START + SECOND);
    assert_eq!(session.poll_output(), None);
    answer(&mut session, START + SECOND * 2, ResponseCode::RECONNECTED, 1);
    assert_eq!(session.state(), State::Connected);
    session.handle_timeout(START + patience * 2);
    assert_eq!(session.state(), State::Connected);
}

#[test]
fn an_attempt_that_is_given_up_before_it_begins_opens_no_connection() {
    let mut session = open();
    cut(&mut session, START);
    outputs(&mut session);
    session.retry_after(START, Some(SECOND * 59), 0.0);
    // Both the retry and the end are due.
    session.handle_timeout(START + SECOND * 60);
    assert_eq!(session.state(), State::Closed);
    assert!(!outputs(&mut session).iter().any(|output| matches!(output, Output::Connect(_))));
}

#[test]
fn what_is_told_of_a_connection_that_was_given_up_is_ignored() {
    let mut session = open();
    let first = session.connection().expect("connected");
    cut(&mut session, START);
    session.reconnect(START);
    let second = session.connection().expect("connecting");
    outputs(&mut session);
    session.handle_open(first);
    session.handle_frame(START, first, b"late");
    session.handle_violation(START, first, "late");
    session.handle_disconnected(START, first, "late");
    assert_eq!((session.poll_output(), session.connection()), (None, Some(second)));
    answer(&mut session, START, ResponseCode::RECONNECTED, 1);
    assert_eq!(session.state(), State::Connected);
}

#[test]
fn s_12_the_first_attempt_to_reconnect_comes_within_a_tenth_of_a_second_unless_the_application_chooses() {
    for (delay, random, expected) in
        [(None, 0.0, Moment(0)), (None, 0.999_999, Moment(99_999)), (Some(SECOND), 0.0, Moment(1_000_000))]
    {
        let mut session = open();
        cut(&mut session, START);
        outputs(&mut session);
        session.retry_after(START, delay, random);
        assert_eq!(outputs(&mut session), [Output::WakeAt(expected)]);
        session.handle_timeout(expected);
        assert!(session.connection().is_some());
    }
}

#[test]
fn a_session_that_does_not_reconnect_says_how_it_lost_its_connection_before_it_closes() {
    let mut session = ClientSession::new(ClientConfig::default());
    session.connect(START);
    answer(&mut session, START, ResponseCode::OK, 0);
    session.send_to_path(START, CallId(1), "path", VALUE, WAIT);
    outputs(&mut session);
    cut(&mut session, START);
    let reason = "the connection was lost: cut".to_owned();
    assert_eq!(
        events(&mut session),
        [
            Event::Disconnected(reason.clone()),
            call_ended(1, Err(RequestError::ConnectionLost)),
            Event::Closed(Closed { code: CloseCode::ConnectionError, reason }),
        ]
    );
}

/// A ping of the session's own, if that is all that it sends.
fn probe(session: &mut ClientSession) -> Option<ConversationId> {
    let frames = sent(session);
    assert!(frames.len() < 2, "{frames:?}");
    match Message::decode(frames.first()?) {
        Ok(Message::ServiceRequest { service: UserPing::ID, conversation, .. }) => Some(conversation),
        other => panic!("{other:?}"),
    }
}

#[test]
fn l_5_a_connection_is_lost_when_nobody_answers_a_probe_and_stays_when_somebody_does() {
    let mut session = open();
    session.reconnect(START);
    let conversation = probe(&mut session).expect("asked");
    session.reconnect(START + SECOND);
    assert_eq!(probe(&mut session), None, "one at a time");
    receive(&mut session, START + SECOND, &response_frame::<UserPing>(conversation, &()));
    session.handle_timeout(START + SECOND * 50);
    assert_eq!((session.state(), events(&mut session)), (State::Connected, vec![]));
    let asked_at = START + SECOND * 60;
    session.reconnect(asked_at);
    assert!(probe(&mut session).is_some());
    session.handle_timeout(asked_at + SECOND * 2);
    assert_eq!(session.state(), State::Connected);
    session.handle_timeout(asked_at + SECOND * 3);
    assert_eq!(session.state(), State::Recovering);
    let reason = "nothing came from the server for 3000 ms".to_owned();
    assert_eq!(events(&mut session), [Event::Disconnected(reason)]);
}

#[test]
fn l_5_a_call_that_times_out_starts_a_probe_unless_it_was_never_sent() {
    let mut session = open();
    session.send_to_path(START, CallId(1), "path", VALUE, SECOND);
    outputs(&mut session);
    session.handle_timeout(START + SECOND);
    assert!(probe(&mut session).is_some());
    let mut session = open();
    cut(&mut session, START);
    session.send_to_path(START, CallId(1), "path", VALUE, WAIT);
    outputs(&mut session);
    session.handle_timeout(START + SECOND);
    assert_eq!(events(&mut session), [call_ended(1, Err(RequestError::NotSentInTime(SECOND)))]);
    assert_eq!(probe(&mut session), None);
}

#[test]
fn s_12_an_attempt_that_has_come_to_nothing_for_three_seconds_makes_way_for_another() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    let first = session.connection().expect("connecting");
    outputs(&mut session);
    session.reconnect(START + SECOND * 2);
    assert_eq!(session.connection(), Some(first));
    session.reconnect(START + SECOND * 3);
    let second = session.connection().expect("connecting");
    assert_eq!(outputs(&mut session)[..2], [Output::Disconnect, Output::Connect(second)]);
}

/// The numbers of the attempts that follow when the server accepts each with this code and drops it after this time.
fn attempts(code: ResponseCode, lasts: Duration) -> Vec<u32> {
    let mut session = open();
    let mut now = START;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        cut(&mut session, now);
        let number = outputs(&mut session).into_iter().find_map(|output| match output {
            Output::Retry(attempt) => Some(attempt),
            _ => None,
        });
        numbers.push(number.expect("another attempt"));
        session.reconnect(now);
        answer(&mut session, now, code, 1);
        now = now + lasts;
    }
    numbers
}

#[test]
fn s_12_a_server_that_accepts_and_drops_is_asked_less_and_less_often() {
    for code in [ResponseCode::OK, ResponseCode::RECONNECTED, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS] {
        assert_eq!(attempts(code, Duration::ZERO), [1, 2, 3, 4]);
        assert_eq!(attempts(code, SECOND * 5), [1; 4], "but not if they last");
    }
}

#[test]
fn s_12_a_server_that_always_wants_what_was_never_sent_is_asked_less_and_less_often() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    outputs(&mut session);
    answer(&mut session, START, ResponseCode::RECONNECTED, 99);
    assert!(
        matches!(outputs(&mut session)[..], [Output::Disconnect, Output::Connect(_), ..]),
        "a new session, at once"
    );
    answer(&mut session, START, ResponseCode::RECONNECTED, 99);
    assert_eq!(outputs(&mut session)[..2], [Output::Disconnect, Output::Retry(2)]);
}

fn closed() -> Event {
    let reason = "the session was closed".to_owned();
    Event::Closed(Closed { code: CloseCode::ClosedByClient, reason })
}

#[test]
fn s_15_a_session_that_is_closed_without_a_connection_takes_another_one_to_say_goodbye() {
    let goodbye = Output::Send(Message::CloseRequest.to_frame().into());
    for is_under_way in [false, true] {
        let mut session = open();
        session.send_to_path(START, CallId(1), "path", VALUE, SECOND);
        cut(&mut session, START);
        if is_under_way {
            session.reconnect(START);
        }
        outputs(&mut session);
        session.close(START);
        assert_eq!(session.state(), State::Closed);
        let connection = session.connection().expect("connecting");
        let outputs_now = outputs(&mut session);
        assert_eq!(outputs_now.contains(&Output::Connect(connection)), !is_under_way);
        let error = RequestError::SessionClosed { sent: true };
        assert!(outputs_now.contains(&Output::Deliver(call_ended(1, Err(error)))), "at once");
        assert!(session.connect_query(Credentials::None).contains("&c="), "with the token");
        answer(&mut session, START, ResponseCode::RECONNECTED, 1);
        assert!(matches!(&outputs(&mut session)[..], [first, Output::WakeAt(_)] | [first] if *first == goodbye));
        receive(&mut session, START, &Message::Abort.to_frame());
        assert_eq!(outputs(&mut session), [Output::Disconnect, Output::Deliver(closed())]);
    }
}

#[test]
fn s_15_a_goodbye_that_cannot_be_said_is_given_up_after_a_second_at_the_latest() {
    let closing = || {
        let mut session = open();
        cut(&mut session, START);
        session.close(START);
        outputs(&mut session);
        session
    };
    let mut session = closing();
    session.handle_timeout(START + SECOND);
    assert_eq!(events(&mut session), [closed()]);
    let mut session = closing();
    cut(&mut session, START);
    assert_eq!(events(&mut session), [closed()], "nothing listens there");
    let mut session = closing();
    let refused = ConnectResponse::Refused { version: 25, code: ResponseCode::UNKNOWN_SESSION };
    receive(&mut session, START, &refused.to_frame());
    assert_eq!(events(&mut session), [closed()], "it is gone");
}

#[test]
fn s_15_a_session_that_is_closed_while_it_is_opened_is_closed_when_it_is_open() {
    let mut session = ClientSession::new(ClientConfig { reconnect_timeout: SECOND, ..ClientConfig::default() });
    session.connect(START);
    session.handle_open(session.connection().expect("connecting"));
    outputs(&mut session);
    session.close(START);
    assert_eq!((session.state(), events(&mut session)), (State::Closed, vec![]));
    answer(&mut session, START, ResponseCode::OK, 0);
    assert_eq!(sent(&mut session), [Message::CloseRequest.to_frame()]);
    cut(&mut session, START);
    assert_eq!(events(&mut session), [closed()]);
}

#[test]
fn a_first_message_that_no_server_sends_is_a_handshake_error_at_a_reconnection_too() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    outputs(&mut session);
    let connection = session.connection().expect("connecting");
    session.handle_violation(START, connection, "a text message");
    let closed = Closed { code: CloseCode::HandshakeError, reason: "a text message".into() };
    assert_eq!(events(&mut session), [Event::Closed(closed)]);
}

#[test]
fn why_the_last_attempt_failed_is_said_when_there_is_no_time_for_another() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    session.handle_disconnected(START, session.connection().expect("connecting"), "refused");
    outputs(&mut session);
    session.handle_timeout(START + SECOND * 60);
    let reason = "no connection for 60000 ms: refused".to_owned();
    assert_eq!(events(&mut session), [Event::Closed(Closed { code: CloseCode::ConnectionTimeout, reason })]);
}

#[test]
fn s_4_what_would_fail_again_is_not_retryable() {
    for can_pass in [true, false] {
        let mut session = ClientSession::new(ClientConfig::default());
        session.connect(START);
        session.handle_failed(START, session.connection().expect("connecting"), "status 403", can_pass);
        let failed = events(&mut session);
        let [Event::ConnectFailed(error)] = &failed[..] else { panic!("{failed:?}") };
        assert_eq!((error.code, error.is_retryable), (ConnectCode::ConnectionError, can_pass));
        assert_eq!(error.message, "no connection: status 403");
    }
}

// ---- Calls ----

#[test]
fn ten_thousand_calls_may_wait_and_are_sent_in_the_order_in_which_they_were_made() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    for call in 1..=10_001 {
        session.send_to_path(START, CallId(call), "path", VALUE, WAIT);
    }
    let refused = Event::CallEnded { call: CallId(10_001), outcome: Err(RequestError::NotConnected) };
    assert_eq!(events(&mut session).pop(), Some(refused));
    // One less: there is room for another one.
    session.abandon(CallId(5_000));
    session.send_to_path(START, CallId(10_002), "path", VALUE, WAIT);
    answer(&mut session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
    let conversations = sent(&mut session).into_iter().map(|frame| match Message::decode(&frame) {
        Ok(Message::ServiceRequest { conversation, .. }) => conversation,
        other => panic!("{other:?}"),
    });
    let conversations: Vec<_> = conversations.collect();
    assert_eq!(conversations.len(), 10_000);
    assert!(conversations.is_sorted());
    assert_eq!(session.open_conversations(), 10_000);
}

#[test]
fn what_becomes_of_ten_times_as_many_waiting_calls_takes_about_ten_times_as_long() {
    // In one of these ways, so many calls come to their end.
    type End = fn(&mut ClientSession, u64);
    let ends: [(&str, End); 4] = [
        ("closed", |session, _| session.close(START)),
        ("timed out", |session, _| session.handle_timeout(START + SECOND)),
        ("abandoned", |session, calls| {
            // From the middle outwards, in both directions.
            for distance in 0..calls / 2 {
                session.abandon(CallId(calls / 2 - distance));
                session.abandon(CallId(calls / 2 + 1 + distance));
            }
        }),
        ("lost", |session, _| {
            answer(session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
            cut(session, START);
            session.reconnect(START);
            answer(session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
        }),
    ];
    for (name, end) in ends {
        let time = |calls: u64| {
            let mut session = open();
            cut(&mut session, START);
            session.reconnect(START);
            for call in 1..=calls {
                session.send_to_path(START, CallId(call), "path", VALUE, WAIT);
            }
            outputs(&mut session);
            let begun = Instant::now();
            end(&mut session, calls);
            let time = begun.elapsed();
            assert_eq!(session.open_conversations(), 0, "{name}");
            time
        };
        // Whoever else has the processor meanwhile makes one of them take longer, but not the shortest of many.
        let (mut few, mut many) = (Duration::MAX, Duration::MAX);
        for attempt in 0..40 {
            (few, many) = (few.min(time(1_000)), many.min(time(10_000)));
            if attempt >= 4 && many < few * 50 {
                break;
            }
        }
        assert!(many < few * 50, "{name}: {few:?} for 1,000, {many:?} for 10,000");
    }
}

#[test]
fn a_call_that_waits_is_not_sent_if_the_server_takes_smaller_messages_now() {
    let mut session = open();
    cut(&mut session, START);
    session.reconnect(START);
    let large = vec![0; 2_000];
    let value = SerialisedValue { type_name: "binary", bytes: &large };
    session.send_to_path(START, CallId(1), "path", value, WAIT);
    outputs(&mut session);
    answer(&mut session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 1_000);
    let events = events(&mut session);
    let Some(Event::CallEnded { call: CallId(1), outcome: Err(error) }) = events.last() else { panic!("{events:?}") };
    assert!(matches!(error, RequestError::MessageTooLarge { limit: 1_000, .. }), "{error:?}");
    assert_eq!(error.outcome(), Outcome::NotSent);
}

#[test]
fn a_request_to_a_filter_ends_when_all_have_answered_and_tells_nothing_once_it_is_abandoned() {
    for is_abandoned in [false, true] {
        let mut session = open();
        session.send_to_filter(START, CallId(9), "all", "path", VALUE, SECOND);
        let frame = sent(&mut session).pop().expect("sent");
        let Ok(Message::ServiceRequest { conversation, body, .. }) = Message::decode(&frame) else { panic!() };
        let Ok(Some(ServiceRequest::MessagingFilterSender(request))) = ServiceRequest::decode(102, body) else {
            panic!()
        };
        let filter_conversation = request.filter_conversation;
        receive(
            &mut session,
            START,
            &response_frame::<MessagingFilterSender>(conversation, &FilterOutcome::Matched(2)),
        );
        assert_eq!(events(&mut session), [call_ended(9, Ok(Response::Matched(2)))]);
        // A second word on that is ignored.
        receive(
            &mut session,
            START,
            &response_frame::<MessagingFilterSender>(conversation, &FilterOutcome::Matched(5)),
        );
        if is_abandoned {
            session.abandon(CallId(9));
        }
        for number in 1..=3 {
            let answer = FilterAnswer::Response(VALUE);
            let body = FilterResponse { filter_conversation, session: ID, answer };
            receive(&mut session, START, &request_frame::<FilterResponseDelivery>(ConversationId(number), &body, 0));
        }
        let told = events(&mut session);
        if is_abandoned {
            assert_eq!(told, []);
        } else {
            assert!(
                matches!(
                    &told[..],
                    [
                        Event::FilterResponseReceived(first),
                        Event::FilterResponseReceived(second),
                        Event::FilterCallEnded { call: CallId(9), outcome: Ok(()) },
                    ] if (first.received, second.received, second.expected) == (1, 2, 2)
                ),
                "{told:?}"
            );
        }
        assert_eq!(session.open_conversations(), 0);
    }
}

#[test]
fn a_request_to_a_filter_ends_once_whether_it_fails_before_the_count_or_later() {
    let lost = RequestError::SessionClosed { sent: true };
    for is_counted in [false, true] {
        let mut session = open();
        session.send_to_filter(START, CallId(1), "all", "path", VALUE, SECOND);
        if is_counted {
            let frame = sent(&mut session).pop().expect("sent");
            let Ok(Message::ServiceRequest { conversation, .. }) = Message::decode(&frame) else { panic!() };
            let count = response_frame::<MessagingFilterSender>(conversation, &FilterOutcome::Matched(2));
            receive(&mut session, START, &count);
            events(&mut session);
        }
        session.close(START);
        let ended = Event::FilterCallEnded { call: CallId(1), outcome: Err(lost.clone()) };
        let expected = if is_counted { ended } else { call_ended(1, Err(lost.clone())) };
        assert_eq!(events(&mut session), [expected]);
    }
}

// ---- Handlers ----

#[test]
fn of_a_stream_and_a_request_handler_at_the_same_path_the_later_one_answers() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    assert_eq!(forward(&mut session, 1, number, "a"), Ok(HandlerId(1)));
    session.add_stream(HandlerId(2), "a", false, SECOND * 60);
    session.add_stream(HandlerId(3), "a/b", false, SECOND * 60);
    assert_eq!(forward(&mut session, 2, number, "a"), Ok(HandlerId(2)));
    assert_eq!(forward(&mut session, 3, number, "a/b"), Ok(HandlerId(3)));
    assert_eq!(forward(&mut session, 4, number, "a/c"), Ok(HandlerId(1)), "below, the request handler answers");
    session.remove_stream(HandlerId(2));
    assert_eq!(forward(&mut session, 5, number, "a"), UNHANDLED, "what it replaced does not come back");
    assert_eq!(forward(&mut session, 6, number, "a/c"), Ok(HandlerId(1)));
    assert_eq!(address(&mut session, 7, "a/b"), UNHANDLED, "a stream of its own kind is needed for that");

    // The server has accepted another one: from then on, that one answers.
    session.add_stream(HandlerId(4), "b", false, SECOND * 60);
    let number = register(&mut session, 2, 5, "b");
    assert_eq!(forward(&mut session, 8, number, "b"), Ok(HandlerId(5)));
}

#[test]
fn a_later_stream_for_addressed_requests_replaces_the_earlier_one() {
    let mut session = open();
    session.add_stream(HandlerId(1), "a", true, SECOND * 60);
    session.add_stream(HandlerId(2), "a", true, SECOND * 60);
    assert_eq!(events(&mut session), [Event::HandlerLost(HandlerId(1))]);
    session.remove_stream(HandlerId(1));
    assert_eq!(address(&mut session, 1, "a"), Ok(HandlerId(2)));
    assert_eq!(address(&mut session, 2, "a/b"), UNHANDLED);
    session.remove_stream(HandlerId(2));
    assert_eq!(address(&mut session, 3, "a"), UNHANDLED);
}

#[test]
fn a_registration_that_was_given_up_gets_no_requests_and_is_taken_back() {
    let mut session = open();
    session.register_handler(START, CallId(1), HandlerId(1), "a", HandlerSettings::default());
    let (conversation, number) = registration(&sent(&mut session)[0]);
    session.abandon(CallId(1));
    assert_eq!(forward(&mut session, 1, number, "a"), UNHANDLED);
    receive(&mut session, START, &response_frame::<Registration>(conversation, &()));
    let [taking_back] = questions(&mut session)[..] else { panic!() };
    assert_eq!(taking_back.0, DEREGISTER);
    accept(&mut session, taking_back);
    assert_eq!(session.open_conversations(), 0);
}

#[test]
fn of_two_registrations_at_a_path_the_second_has_its_turn_when_the_first_is_closed() {
    let mut session = open();
    begin_to_register(&mut session, 1, 1);
    begin_to_register(&mut session, 2, 2);
    let [first] = questions(&mut session)[..] else { panic!("one after the other") };
    accept(&mut session, first);
    // The application learns of the first one's success, and closes it, when the second one is on its way.
    let [second] = questions(&mut session)[..] else { panic!() };
    session.deregister_handler(START, CallId(3), HandlerId(1));
    assert_eq!(questions(&mut session), []);
    let failure = ServiceFailure { description: "", reason: ErrorReason::HANDLER_CONFLICT };
    receive(&mut session, START, &Message::ServiceError { conversation: second.1, failure }.to_frame());
    let [taking_back, again] = questions(&mut session)[..] else { panic!() };
    assert_eq!((taking_back.0, again.0), (DEREGISTER, REGISTER));
    accept(&mut session, taking_back);
    assert_eq!(events(&mut session), [call_ended(3, Ok(Response::Deregistered))]);
    accept(&mut session, again);
    assert_eq!(events(&mut session), [call_ended(2, Ok(Response::Registered))]);
    assert_eq!(forward(&mut session, 1, again.2, "a"), Ok(HandlerId(2)));
}

#[test]
fn a_second_registration_is_refused_while_the_first_one_is_wanted() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    begin_to_register(&mut session, 2, 2);
    let [second] = questions(&mut session)[..] else { panic!() };
    let failure = ServiceFailure { description: "", reason: ErrorReason::HANDLER_CONFLICT };
    receive(&mut session, START, &Message::ServiceError { conversation: second.1, failure }.to_frame());
    let told = events(&mut session);
    assert!(matches!(told[..], [Event::CallEnded { call: CallId(2), outcome: Err(_) }]), "{told:?}");
    assert_eq!(forward(&mut session, 1, number, "a"), Ok(HandlerId(1)));
}

#[test]
fn a_server_that_puts_one_registration_in_the_place_of_another_is_not_asked_to_take_both_back() {
    let mut session = open();
    register(&mut session, 1, 1, "a");
    begin_to_register(&mut session, 2, 2);
    let [second] = questions(&mut session)[..] else { panic!() };
    session.deregister_handler(START, CallId(3), HandlerId(1));
    accept(&mut session, second);
    let told = [call_ended(2, Ok(Response::Registered)), call_ended(3, Ok(Response::Deregistered))];
    assert_eq!(outputs(&mut session)[..2], told.map(Output::Deliver));
    assert_eq!(forward(&mut session, 1, second.2, "a"), Ok(HandlerId(2)));
}

#[test]
fn what_the_server_sent_to_a_handler_before_it_was_closed_goes_to_the_next_one_at_its_path() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    session.deregister_handler(START, CallId(2), HandlerId(1));
    outputs(&mut session);
    assert_eq!(forward(&mut session, 1, number, "a"), UNHANDLED);
    begin_to_register(&mut session, 3, 2);
    outputs(&mut session);
    assert_eq!(forward(&mut session, 2, number, "a"), Ok(HandlerId(2)));
    // But not to one that wants to know more of the sender.
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    session.deregister_handler(START, CallId(2), HandlerId(1));
    let settings = HandlerSettings { property_keys: vec!["$Principal".into()], ..HandlerSettings::default() };
    session.register_handler(START, CallId(3), HandlerId(2), "a", settings);
    outputs(&mut session);
    assert_eq!(forward(&mut session, 3, number, "a"), UNHANDLED);
}

#[test]
fn a_handler_that_is_closed_without_a_connection_is_taken_back_when_there_is_one() {
    for (code, expected) in [
        (ResponseCode::RECONNECTED, vec![DEREGISTER]),
        // The server has forgotten it by itself.
        (ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, vec![]),
    ] {
        let mut session = open();
        register(&mut session, 1, 1, "a");
        cut(&mut session, START);
        outputs(&mut session);
        session.deregister_handler(START, CallId(2), HandlerId(1));
        assert_eq!(events(&mut session), [call_ended(2, Ok(Response::Deregistered))]);
        session.reconnect(START);
        outputs(&mut session);
        answer(&mut session, START, code, 2);
        let asked: Vec<_> = questions(&mut session).into_iter().map(|(service, ..)| service).collect();
        assert_eq!(asked, expected);
    }
}

#[test]
fn a_registration_may_wait_for_a_connection() {
    let mut session = open();
    cut(&mut session, START);
    outputs(&mut session);
    let waiting = HandlerSettings { wait: true, ..HandlerSettings::default() };
    session.register_handler(START, CallId(1), HandlerId(1), "a", HandlerSettings::default());
    assert_eq!(events(&mut session), [call_ended(1, Err(RequestError::NotConnected))]);
    for (call, handler, path) in [(2, 2, "given up"), (3, 3, "a")] {
        session.register_handler(START, CallId(call), HandlerId(handler), path, waiting.clone());
    }
    session.abandon(CallId(2));
    session.reconnect(START);
    outputs(&mut session);
    answer(&mut session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
    let [asked] = questions(&mut session)[..] else { panic!() };
    accept(&mut session, asked);
    assert_eq!(events(&mut session), [call_ended(3, Ok(Response::Registered))]);
    assert_eq!(forward(&mut session, 1, asked.2, "a"), Ok(HandlerId(3)));
    // One that waits in vain was never sent.
    cut(&mut session, START);
    outputs(&mut session);
    session.register_handler(START, CallId(4), HandlerId(4), "b", waiting);
    session.handle_timeout(START + SECOND * 30);
    assert!(events(&mut session).contains(&call_ended(4, Err(RequestError::NotSentInTime(SECOND * 30)))));
}

#[test]
fn a_request_handler_may_answer_addressed_requests_too() {
    let mut session = open();
    session.add_stream(HandlerId(1), "a", true, SECOND * 60);
    let settings = HandlerSettings { addressed: true, ..HandlerSettings::default() };
    session.register_handler(START, CallId(1), HandlerId(2), "a", settings);
    let [asked] = questions(&mut session)[..] else { panic!() };
    accept(&mut session, asked);
    let told = [call_ended(1, Ok(Response::Registered)), Event::HandlerLost(HandlerId(1))];
    assert_eq!(events(&mut session), told);
    assert_eq!(address(&mut session, 1, "a"), Ok(HandlerId(2)));
    assert_eq!(address(&mut session, 2, "a/b"), UNHANDLED, "at exactly its path");
    assert_eq!(forward(&mut session, 3, asked.2, "a/b"), Ok(HandlerId(2)));
    // A stream takes over, and the handler is still registered.
    session.add_stream(HandlerId(3), "a", true, SECOND * 60);
    assert_eq!(address(&mut session, 4, "a"), Ok(HandlerId(3)));
    assert_eq!(forward(&mut session, 5, asked.2, "a"), Ok(HandlerId(2)));
    session.remove_stream(HandlerId(3));
    assert_eq!(address(&mut session, 6, "a"), UNHANDLED);
    session.deregister_handler(START, CallId(2), HandlerId(2));
    outputs(&mut session);
    assert_eq!(forward(&mut session, 7, asked.2, "a"), UNHANDLED);
}

#[test]
fn a_handler_that_takes_too_long_is_told_and_so_is_the_sender() {
    let mut session = open();
    let settings = HandlerSettings { timeout: SECOND * 5, ..HandlerSettings::default() };
    session.register_handler(START, CallId(1), HandlerId(1), "a", settings);
    let [asked] = questions(&mut session)[..] else { panic!() };
    accept(&mut session, asked);
    outputs(&mut session);
    assert!(forward(&mut session, 1, asked.2, "a").is_ok());
    session.handle_timeout(START + SECOND * 4);
    assert_eq!(events(&mut session), []);
    session.handle_timeout(START + SECOND * 5);
    let failure = ServiceFailure { description: "no response within 5000 ms", reason: ErrorReason::REQUEST_TIME_OUT };
    let error = RequestError::TimedOut(SECOND * 5);
    let told = outputs(&mut session);
    let refusal = Message::ServiceError { conversation: ConversationId(1), failure }.to_frame();
    assert!(told.contains(&Output::Send(refusal.into())), "{told:?}");
    assert!(told.contains(&Output::Deliver(Event::RequestAbandoned { request: RequestId(1), error })), "{told:?}");
    session.respond(RequestId(1), Ok(VALUE));
    assert_eq!(sent(&mut session), Vec::<Vec<u8>>::new());
}

#[test]
fn requests_that_nobody_ever_answers_make_room_for_others() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    for conversation in 1..=65_536 {
        assert!(forward(&mut session, conversation, number, "a").is_ok());
    }
    assert_eq!(forward(&mut session, 70_000, number, "a"), Err(ErrorReason::CLUSTER_ROUTING));
    session.handle_timeout(START + SECOND * 60);
    outputs(&mut session);
    assert_eq!(forward(&mut session, 70_001, number, "a"), Ok(HandlerId(1)));
}

#[test]
fn everybody_who_takes_a_handler_back_is_told_when_it_is_gone_and_the_server_is_asked_once() {
    let mut session = open();
    register(&mut session, 1, 1, "a");
    for call in [2, 3] {
        session.deregister_handler(START, CallId(call), HandlerId(1));
    }
    let frames = sent(&mut session);
    assert_eq!(frames.len(), 1);
    let Ok(Message::ServiceRequest { conversation, .. }) = Message::decode(&frames[0]) else { panic!() };
    receive(&mut session, START, &response_frame::<Registration>(conversation, &()));
    let gone = [2, 3].map(|call| call_ended(call, Ok(Response::Deregistered)));
    assert_eq!(events(&mut session), gone);
    // What is gone needs no server.
    session.deregister_handler(START, CallId(4), HandlerId(1));
    assert_eq!(outputs(&mut session), [Output::Deliver(call_ended(4, Ok(Response::Deregistered)))]);
}

#[test]
fn handlers_are_registered_again_after_a_loss_but_not_those_that_were_to_go() {
    let mut session = open();
    register(&mut session, 1, 1, "kept");
    register(&mut session, 2, 2, "going");
    session.deregister_handler(START, CallId(3), HandlerId(2));
    session.register_handler(START, CallId(4), HandlerId(4), "coming", HandlerSettings::default());
    outputs(&mut session);
    cut(&mut session, START);
    session.reconnect(START);
    outputs(&mut session);
    answer(&mut session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
    let (mut told, mut frames) = (Vec::new(), Vec::new());
    for output in outputs(&mut session) {
        match output {
            Output::Deliver(event) => told.push(event),
            Output::Send(frame) => frames.push(frame),
            _ => {}
        }
    }
    assert_eq!(
        told[..2],
        [call_ended(3, Ok(Response::Deregistered)), call_ended(4, Err(RequestError::ConnectionLost)),]
    );
    assert!(told.contains(&Event::MessagesLost { requests: 0, handlers: 1 }), "{told:?}");
    let [frame] = &frames[..] else { panic!("{frames:?}") };
    let (conversation, _) = registration(frame);
    // The server does not take it again.
    let failure = ServiceFailure { description: "", reason: ErrorReason::HANDLER_CONFLICT };
    receive(&mut session, START, &Message::ServiceError { conversation, failure }.to_frame());
    assert_eq!(events(&mut session), [Event::HandlerLost(HandlerId(1))]);
}

#[test]
fn a_request_that_is_delivered_twice_while_it_is_being_answered_is_answered_once() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    let body = ForwardedRequest { registration: number, sender: ID, path: "a", properties: Vec::new(), request: VALUE };
    let frame = request_frame::<MessagingReceiverClient>(ConversationId(5), &body, 0);
    receive(&mut session, START, &frame);
    receive(&mut session, START, &frame);
    let told = events(&mut session);
    let [Event::RequestReceived(request)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(request.id, RequestId(1));
    for _ in 0..2 {
        session.respond(request.id, Ok(VALUE));
    }
    let expected = response_frame::<MessagingReceiverClient>(ConversationId(5), &VALUE);
    assert_eq!(sent(&mut session), [expected]);
}

#[test]
fn a_request_that_is_one_too_many_to_answer_is_refused_and_no_handler_has_run() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    for conversation in 1..=65_536 {
        assert_eq!(forward(&mut session, conversation, number, "a"), Ok(HandlerId(1)));
    }
    assert_eq!(forward(&mut session, 70_000, number, "a"), Err(ErrorReason::CLUSTER_ROUTING));
    let error =
        RequestError::Refused { reason: ErrorReason::CLUSTER_ROUTING, detail: String::new(), details: Vec::new() };
    assert_eq!(error.outcome(), Outcome::Refused);
    session.respond(RequestId(1), Ok(VALUE));
    sent(&mut session);
    assert_eq!(forward(&mut session, 70_001, number, "a"), Ok(HandlerId(1)));
}

#[test]
fn requests_that_can_no_longer_be_answered_say_why() {
    let mut session = open();
    let number = register(&mut session, 1, 1, "a");
    assert!(forward(&mut session, 1, number, "a").is_ok());
    cut(&mut session, START);
    session.reconnect(START);
    answer(&mut session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, 0);
    let abandoned = |request, error| Event::RequestAbandoned { request: RequestId(request), error };
    assert!(events(&mut session).contains(&abandoned(1, RequestError::ConnectionLost)));
    assert!(forward(&mut session, 1, number, "a").is_ok());
    receive(&mut session, START, &Message::Abort.to_frame());
    let closed = Closed { code: CloseCode::ClosedByServer, reason: "the server closed the session".into() };
    assert_eq!(
        events(&mut session),
        [abandoned(2, RequestError::SessionClosed { sent: true }), Event::Closed(closed),]
    );
}
