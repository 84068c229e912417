//! How much time is left for requests, giving them up, handlers that are busy, idempotency keys, metadata and details of
//! errors: the client's core with a server that knows of these, and without.

use std::time::Duration;

use antiphon_protocol::client::{
    CallId, ClientConfig, ClientSession, Event, HandlerId, Output, Patience, ReceivedRequest, RequestError, RequestId,
    Terms,
};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectResponse, ResponseCode, SessionToken};
use antiphon_protocol::wire::headers::{Header, HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{Cancel, SendToPath, SerialisedValue, ServiceFailure};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{Cancellation, MessagingSend, Service};

const START: Moment = Moment(0);
const SECOND: Duration = Duration::from_secs(1);
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "binary", bytes: b"x" };

/// All that this is about.
fn known() -> Features {
    Features::WITH_HEADERS | Features::CANCELLING
}

/// A session that is open, and reconnects for a minute, with a server that knows these features.
fn open(features: Features) -> ClientSession {
    let config = ClientConfig { features: known(), reconnect_timeout: SECOND * 60, ..ClientConfig::default() };
    let mut session = ClientSession::new(config);
    session.connect(START);
    accept(&mut session, START, ResponseCode::OK, features);
    session
}

fn accept(session: &mut ClientSession, now: Moment, code: ResponseCode, features: Features) {
    accept_from(session, now, code, features, 0);
}

/// The server wants messages again, from number `tail` on, if nothing was lost; else it takes messages of so many bytes.
fn accept_from(session: &mut ClientSession, now: Moment, code: ResponseCode, features: Features, tail: i32) {
    let accepted = ConnectResponse::Accepted {
        version: 25,
        code,
        session: SessionId { server: 1, value: 2 },
        token: SessionToken::from_random([7; 18]),
        ping_period: 0,
        tail,
        features: Some(features),
    };
    let connection = session.connection().expect("connecting");
    session.handle_open(connection);
    session.handle_frame(now, connection, &accepted.to_frame());
}

/// There is another connection, on which all that was known is lost.
fn reconnect(session: &mut ClientSession, now: Moment, features: Features) {
    retry(session, now);
    accept(session, now, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, features);
}

/// The same, and the server takes messages of so many bytes.
fn reconnect_with_limit(session: &mut ClientSession, limit: i32) {
    cut(session);
    retry(session, START);
    accept_from(session, START, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, known(), limit);
    outputs(session);
}

/// Another connection is being opened.
fn retry(session: &mut ClientSession, now: Moment) {
    session.retry_after(now, Some(Duration::ZERO), 0.0);
    session.handle_timeout(now);
}

fn cut(session: &mut ClientSession) {
    session.handle_disconnected(START, session.connection().expect("connected"), "cut");
}

fn outputs(session: &mut ClientSession) -> (Vec<Vec<u8>>, Vec<Event>) {
    let (mut sent, mut told) = (Vec::new(), Vec::new());
    while let Some(output) = session.poll_output() {
        match output {
            Output::Send(frame) => sent.push(frame.to_vec()),
            Output::Deliver(event) => told.push(event),
            _ => {}
        }
    }
    (sent, told)
}

fn sent(session: &mut ClientSession) -> Vec<Vec<u8>> {
    outputs(session).0
}

fn told(session: &mut ClientSession) -> Vec<Event> {
    outputs(session).1
}

fn patience(timeout: Duration) -> Patience {
    Patience { timeout, wait: true }
}

/// Sends a request with these terms, as call 1.
fn send(session: &mut ClientSession, terms: impl Into<Terms>) {
    session.send_to_path(START, CallId(1), "a", VALUE, terms);
}

/// The conversation of a request, and its headers.
fn request(frame: &[u8]) -> (ConversationId, Headers<'_>) {
    let (headers, message) = Headers::split(frame, Features::WITH_HEADERS).expect("well formed");
    match Message::decode(message) {
        Ok(Message::ServiceRequest { service: MessagingSend::ID, conversation, .. }) => (conversation, headers),
        other => panic!("{other:?}"),
    }
}

/// What a message gives up.
fn cancelled(frame: &[u8]) -> Cancel {
    match Message::decode(frame) {
        Ok(Message::ServiceRequest { service: Cancellation::ID, conversation: ConversationId::ONE_WAY, body }) => {
            decode_all(body).expect("well formed")
        }
        other => panic!("{other:?}"),
    }
}

fn failed(error: RequestError) -> Event {
    Event::CallEnded { call: CallId(1), outcome: Err(error) }
}

/// Which say how much time there is.
fn telling(timeout: Duration) -> Terms {
    Terms::new(patience(timeout), true)
}

#[test]
fn a_request_says_how_much_time_is_left_if_that_is_wanted_and_else_nothing() {
    let mut session = open(known());
    sent(&mut session);
    send(&mut session, telling(SECOND));
    session.send_to_path(START, CallId(2), "a", VALUE, patience(SECOND));
    let frames = sent(&mut session);
    assert_eq!(request(&frames[0]).1.time_left(), Some(SECOND));
    assert_eq!(request(&frames[1]).1, Headers::NONE);
}

#[test]
fn a_server_that_knows_no_headers_gets_none() {
    let mut session = open(Features::CANCELLING);
    sent(&mut session);
    send(&mut session, telling(SECOND));
    assert_eq!(request(&sent(&mut session)[0]).1, Headers::NONE);
}

#[test]
fn a_request_that_waited_for_a_connection_says_what_is_left_then() {
    let mut session = open(known());
    cut(&mut session);
    send(&mut session, telling(SECOND));
    assert!(sent(&mut session).is_empty());
    let later = START + Duration::from_millis(700);
    reconnect(&mut session, later, known());
    let frames = sent(&mut session);
    assert_eq!(request(&frames[0]).1.time_left(), Some(Duration::from_millis(300)));
}

#[test]
fn the_server_is_told_of_a_request_that_was_given_up_or_waited_for_too_long() {
    let mut session = open(known());
    send(&mut session, patience(SECOND));
    let (conversation, _) = request(&sent(&mut session).pop().expect("sent"));
    session.abandon(CallId(1));
    assert_eq!(cancelled(&sent(&mut session)[0]), Cancel { conversation, is_timed_out: false });
    session.abandon(CallId(1));
    assert!(sent(&mut session).is_empty(), "it was given up already");

    send(&mut session, patience(SECOND));
    let (conversation, _) = request(&sent(&mut session)[0]);
    session.handle_timeout(START + SECOND);
    let (frames, told) = outputs(&mut session);
    assert_eq!(cancelled(&frames[0]), Cancel { conversation, is_timed_out: true });
    assert_eq!(told, [failed(RequestError::TimedOut(SECOND))]);
}

#[test]
fn it_is_told_of_a_request_to_a_filter_until_all_have_answered() {
    let mut session = open(known());
    session.send_to_filter(START, CallId(1), "all", "a", VALUE, patience(SECOND));
    sent(&mut session);
    session.abandon(CallId(1));
    // The responses come in the first conversation, the request is the second.
    let conversation = ConversationId(2);
    assert_eq!(cancelled(&sent(&mut session)[0]), Cancel { conversation, is_timed_out: false });
}

#[test]
fn what_was_not_sent_is_given_up_without_a_word_and_so_is_all_to_a_server_that_does_not_know() {
    let mut session = open(known());
    cut(&mut session);
    send(&mut session, patience(SECOND));
    session.abandon(CallId(1));
    reconnect(&mut session, START, known());
    assert!(sent(&mut session).is_empty());

    let mut session = open(known() & !Features::CANCELLING);
    send(&mut session, patience(SECOND));
    sent(&mut session);
    session.abandon(CallId(1));
    assert!(sent(&mut session).is_empty());
}

#[test]
fn questions_about_this_session_are_not_cancelled() {
    let mut session = open(known());
    session.ping(START, CallId(1));
    sent(&mut session);
    session.abandon(CallId(1));
    assert!(sent(&mut session).is_empty());
}

/// The server sends a request in conversation 9, with these headers, to a handler that may take ten seconds.
fn receive(session: &mut ClientSession, headers: &HeaderBlock) -> ReceivedRequest {
    session.add_stream(HandlerId(1), "a", true, SECOND * 10);
    handle(session, START, &headers.before(addressed()));
    match told(session).pop() {
        Some(Event::RequestReceived(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// A request in conversation 9.
fn addressed() -> Vec<u8> {
    request_frame::<MessagingSend>(ConversationId(9), &SendToPath { path: "a", request: VALUE }, 0)
}

fn handle(session: &mut ClientSession, now: Moment, frame: &[u8]) {
    session.handle_frame(now, session.connection().expect("connected"), frame);
}

fn cancel(session: &mut ClientSession, conversation: i64, is_timed_out: bool) {
    let cancel = Cancel { conversation: ConversationId(conversation), is_timed_out };
    handle(session, START, &request_frame::<Cancellation>(ConversationId::ONE_WAY, &cancel, 0));
}

fn abandoned(reason: ErrorReason) -> Event {
    Event::RequestAbandoned { request: RequestId(1), error: RequestError::GivenUp(reason) }
}

#[test]
fn a_handler_knows_how_much_time_is_left_if_the_sender_said_so() {
    let mut headers = HeaderBlock::default();
    headers.add_time_left(SECOND);
    assert_eq!(receive(&mut open(known()), &headers).time_left, Some(SECOND));
    assert_eq!(receive(&mut open(known()), &HeaderBlock::default()).time_left, None);
}

#[test]
fn a_request_that_comes_with_no_time_left_is_not_handled() {
    let mut session = open(known());
    session.add_stream(HandlerId(1), "a", true, SECOND * 10);
    let mut headers = HeaderBlock::default();
    headers.add_time_left(Duration::ZERO);
    outputs(&mut session);
    handle(&mut session, START, &headers.before(addressed()));
    assert_eq!(outputs(&mut session), (vec![], vec![]));
}

#[test]
fn a_request_that_its_sender_gave_up_is_abandoned_and_not_answered_any_more() {
    for (is_timed_out, reason) in [(false, ErrorReason::CANCELLED), (true, ErrorReason::REQUEST_TIME_OUT)] {
        let mut session = open(known());
        receive(&mut session, &HeaderBlock::default());
        cancel(&mut session, 8, is_timed_out);
        assert_eq!(outputs(&mut session), (vec![], vec![]), "there is no such request");
        cancel(&mut session, 9, is_timed_out);
        assert_eq!(told(&mut session), [abandoned(reason)]);
        cancel(&mut session, 9, is_timed_out);
        session.respond(RequestId(1), Ok(VALUE));
        assert_eq!(outputs(&mut session), (vec![], vec![]));
    }
}

#[test]
fn a_request_is_abandoned_when_its_senders_time_is_over_and_that_is_no_answer() {
    let mut session = open(known());
    let mut headers = HeaderBlock::default();
    headers.add_time_left(SECOND);
    receive(&mut session, &headers);
    session.handle_timeout(START + SECOND);
    assert_eq!(outputs(&mut session), (vec![], vec![abandoned(ErrorReason::REQUEST_TIME_OUT)]));

    // The handler's own time is less, and its sender still waits.
    let mut session = open(known());
    let mut headers = HeaderBlock::default();
    headers.add_time_left(SECOND * 11);
    receive(&mut session, &headers);
    session.handle_timeout(START + SECOND * 10);
    let (frames, told) = outputs(&mut session);
    let error = RequestError::TimedOut(SECOND * 10);
    assert_eq!(told, [Event::RequestAbandoned { request: RequestId(1), error }]);
    assert!(matches!(Message::decode(&frames[0]), Ok(Message::ServiceError { conversation: ConversationId(9), .. })));
}

#[test]
fn the_codes_of_requests_that_were_given_up_say_which() {
    let [cancelled, timed_out] = [ErrorReason::CANCELLED, ErrorReason::REQUEST_TIME_OUT].map(RequestError::GivenUp);
    assert_eq!((&*cancelled.code(), &*timed_out.code()), ("CANCELLED", "TIMED_OUT"));
    assert_eq!(cancelled.reason(), Some(ErrorReason::CANCELLED));
}

#[test]
fn a_request_that_is_one_too_many_to_answer_is_refused_as_busy_at_a_server_that_knows_of_it() {
    for (features, reason) in [(known(), ErrorReason::BUSY), (Features::NONE, ErrorReason::CLUSTER_ROUTING)] {
        let mut session = open(features);
        session.add_stream(HandlerId(1), "a", true, SECOND * 10);
        let body = SendToPath { path: "a", request: VALUE };
        for conversation in 1..=65_537 {
            handle(&mut session, START, &request_frame::<MessagingSend>(ConversationId(conversation), &body, 0));
        }
        let frames = sent(&mut session);
        let Ok(Message::ServiceError { conversation, failure }) = Message::decode(&frames[0]) else {
            panic!("{frames:?}")
        };
        assert_eq!((frames.len(), conversation, failure.reason), (1, ConversationId(65_537), reason));
    }
}

/// With a key, and waiting for a connection.
fn keyed() -> Terms {
    telling(SECOND).with_key("key")
}

/// The key that a request has.
fn key_of(frame: &[u8]) -> Option<&str> {
    request(frame).1.text(Header::IdempotencyKey)
}

/// What becomes of a request whose key means nothing.
fn knows_no_keys(event: &Event) -> bool {
    matches!(event, Event::CallEnded { call: CallId(1), outcome: Err(RequestError::InvalidArgument(_)) })
}

#[test]
fn a_key_goes_along_with_a_request_and_its_handler_is_told() {
    let mut session = open(known());
    sent(&mut session);
    send(&mut session, keyed());
    let frame = sent(&mut session).pop().expect("sent");
    assert_eq!((key_of(&frame), request(&frame).1.time_left()), (Some("key"), Some(SECOND)));
    let mut headers = HeaderBlock::default();
    headers.add(Header::IdempotencyKey, b"key");
    assert_eq!(receive(&mut open(known()), &headers).key.as_deref(), Some("key"));
    assert_eq!(receive(&mut open(known() & !Features::IDEMPOTENCY), &headers).key, None);
    assert_eq!(receive(&mut open(known()), &HeaderBlock::default()).key, None);
}

#[test]
fn a_request_with_a_key_is_never_sent_to_a_server_that_knows_no_keys() {
    for features in [Features::NONE, known() & !Features::IDEMPOTENCY] {
        let mut session = open(features);
        outputs(&mut session);
        send(&mut session, keyed());
        let (frames, told) = outputs(&mut session);
        assert!(frames.is_empty() && matches!(&told[..], [event] if knows_no_keys(event)), "{told:?}");
    }
    // Nor once there is a connection.
    for (before, then, is_sent) in [(known(), Features::DEADLINES, false), (Features::NONE, known(), true)] {
        let mut session = open(before);
        cut(&mut session);
        outputs(&mut session);
        send(&mut session, keyed());
        assert_eq!(sent(&mut session), Vec::<Vec<u8>>::new());
        reconnect(&mut session, START, then);
        let (frames, told) = outputs(&mut session);
        assert_eq!((frames.len(), told.iter().any(knows_no_keys)), (usize::from(is_sent), !is_sent));
        assert!(frames.iter().all(|frame| key_of(frame) == Some("key")));
    }
}

#[test]
fn a_request_with_a_key_that_is_sent_again_keeps_it_and_where_keys_mean_nothing_the_session_begins_anew() {
    for (features, is_sent) in [(known(), true), (known() & !Features::IDEMPOTENCY, false), (Features::NONE, false)] {
        let mut session = open(known());
        outputs(&mut session);
        send(&mut session, keyed());
        sent(&mut session);
        cut(&mut session);
        retry(&mut session, START);
        outputs(&mut session);
        let connection = session.connection();
        accept_from(&mut session, START, ResponseCode::RECONNECTED, features, 1);
        let frames = sent(&mut session);
        assert_eq!((frames.len(), session.connection() == connection), (usize::from(is_sent), is_sent));
        assert!(frames.iter().all(|frame| key_of(frame) == Some("key")));
        if !is_sent {
            accept(&mut session, START, ResponseCode::OK, features);
            let (frames, told) = outputs(&mut session);
            assert!(frames.is_empty() && told.contains(&failed(RequestError::ConnectionLost)), "{told:?}");
        }
    }
}

#[test]
fn metadata_goes_along_and_is_dropped_where_nobody_knows_of_it() {
    let mut headers = HeaderBlock::default();
    headers.add(Header::Metadata, b"texts");
    for (features, expected) in [(known(), &b"texts"[..]), (known() & !Features::METADATA, b""), (Features::NONE, b"")]
    {
        let mut session = open(features);
        sent(&mut session);
        send(&mut session, telling(SECOND).with_metadata(b"texts"));
        let frame = sent(&mut session).pop().expect("sent");
        let (headers_sent, _) = Headers::split(&frame, features).expect("well formed");
        assert_eq!(headers_sent.get(Header::Metadata), expected);
        if features != Features::NONE {
            assert_eq!(receive(&mut session, &headers).metadata, expected);
        }
        assert_eq!(receive(&mut open(features), &HeaderBlock::default()).metadata, b"");
    }
}

#[test]
fn details_come_with_an_error_where_they_are_known() {
    let mut headers = HeaderBlock::default();
    headers.add(Header::Details, b"more");
    for (features, expected) in [(known(), &b"more"[..]), (known() & !Features::DETAILS, b"")] {
        let mut session = open(features);
        send(&mut session, patience(SECOND));
        let (conversation, _) = request(&sent(&mut session).pop().expect("sent"));
        let failure = ServiceFailure { description: "no", reason: ErrorReason::REJECTED_REQUEST };
        handle(&mut session, START, &headers.before(Message::ServiceError { conversation, failure }.to_frame()));
        let (reason, detail, details) = (ErrorReason::REJECTED_REQUEST, "no".to_owned(), expected.to_vec());
        assert_eq!(told(&mut session), [failed(RequestError::Refused { reason, detail, details })]);
    }
}

#[test]
fn details_go_along_with_an_error_unless_they_are_too_much_for_the_server() {
    for (length, limit, is_sent) in [(4, 0, true), (10_000, 20_000, true), (19_000, 20_000, false)] {
        let mut session = open(known());
        reconnect_with_limit(&mut session, limit);
        receive(&mut session, &HeaderBlock::default());
        let details = vec![7; length];
        session.respond(RequestId(1), Err((ErrorReason::REJECTED_REQUEST, "no", &details)));
        let frame = sent(&mut session).pop().expect("an answer");
        let (headers, message) = Headers::split(&frame, known()).expect("well formed");
        assert_eq!(headers.get(Header::Details), if is_sent { &details[..] } else { &[] });
        assert!(matches!(Message::decode(message), Ok(Message::ServiceError { conversation: ConversationId(9), .. })));
    }
}
