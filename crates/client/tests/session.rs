//! The public API of a session, with a broker in the same process.

mod support;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_client::{Options, Session};
use antiphon_protocol::client::{ClientConfig, CloseCode, ConnectCode, ReceivedRequest, RequestError};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use support::{LONG, Link, TestBroker, text};

fn reason<T: std::fmt::Debug>(outcome: Result<T, RequestError>) -> ErrorReason {
    match outcome {
        Err(RequestError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_to_a_path_is_answered_by_its_handler() {
    let broker = TestBroker::start().await;
    let (asker, answerer) = (broker.connect().await, broker.connect().await);
    let expected = asker.id();
    let handler = move |received: ReceivedRequest| async move {
        assert_eq!(received.path, "a/b");
        assert!(received.sender.is_some_and(|sender| sender.session == expected));
        assert_eq!(received.request, text("question"));
        Ok(text("answer"))
    };
    answerer.add_request_handler("a", handler).await.expect("registered");
    assert_eq!(asker.send_to_path("a/b", text("question"), Duration::MAX).await, Ok(text("answer")));
    assert_eq!(reason(asker.send_to_path("b", text("question"), LONG).await), ErrorReason::UNHANDLED_MESSAGE);
}

#[tokio::test]
async fn a_request_to_a_session_is_answered_by_its_stream_handler_at_exactly_that_path() {
    let broker = TestBroker::start().await;
    let (asker, answerer) = (broker.connect().await, broker.connect().await);
    answerer.add_stream_handler("a", async |_| Ok(text("first"))).await.expect("set");
    answerer.add_stream_handler("a", async |_| Ok(text("second"))).await.expect("set");
    let ask = |path| asker.send_to_session(answerer.id(), path, text(""), LONG);
    assert_eq!(ask("a").await, Ok(text("second")));
    assert_eq!(reason(ask("a/b").await), ErrorReason::UNHANDLED_MESSAGE);
}

#[tokio::test]
async fn a_request_to_a_filter_gives_the_count_and_then_every_answer() {
    let broker = TestBroker::start().await;
    let mut sessions = Vec::new();
    for number in 0..3 {
        let session = broker.connect().await;
        let answer =
            move || if number == 0 { Err((ErrorReason::REJECTED_REQUEST, "no".into())) } else { Ok(text("yes")) };
        session.add_stream_handler("a", move |_| std::future::ready(answer())).await.expect("set");
        sessions.push(session);
    }
    let mut responses = sessions[0].send_to_filter("all", "a", text("all?"), LONG).await.expect("sent");
    assert_eq!(responses.count(), 3);
    let mut answers = Vec::new();
    while let Some(response) = responses.next().await {
        let response = response.expect("not the end");
        answers.push((response.session, response.outcome.map_err(|error| error.code().into_owned())));
    }
    answers.sort_unstable_by_key(|(session, _)| session.value);
    let expected = [Err("REJECTED_REQUEST".to_owned()), Ok(text("yes")), Ok(text("yes"))];
    assert_eq!(answers, sessions.iter().map(Session::id).zip(expected).collect::<Vec<_>>());
    assert_eq!(responses.next().await, None);

    let nobody = sessions[0].send_to_filter("none is 'x'", "a", text(""), LONG).await.expect("sent");
    assert_eq!(nobody.count(), 0);
    let invalid = sessions[0].send_to_filter("is is", "a", text(""), LONG).await;
    assert!(matches!(invalid, Err(RequestError::InvalidFilter(_))));
}

#[tokio::test]
async fn what_a_handler_refuses_or_panics_over_reaches_the_sender_as_an_error() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let refuse = async |_| Err((ErrorReason::REJECTED_REQUEST, "not today".to_owned()));
    session.add_request_handler("refuse", refuse).await.expect("registered");
    session.add_request_handler("panic", async |_| panic!("on purpose")).await.expect("registered");
    let refused = RequestError::Refused { reason: ErrorReason::REJECTED_REQUEST, detail: "not today".into() };
    assert_eq!(session.send_to_path("refuse", text(""), LONG).await, Err(refused));
    assert_eq!(reason(session.send_to_path("panic", text(""), LONG).await), ErrorReason::CALLBACK_EXCEPTION);
    assert!(session.ping().await.is_ok());
}

#[tokio::test]
async fn a_handler_whose_registration_is_closed_gets_no_more_requests() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let registration = session.add_request_handler("a", async |_| Ok(text(""))).await.expect("registered");
    assert_eq!(reason(session.add_request_handler("a", async |_| Ok(text(""))).await), ErrorReason::HANDLER_CONFLICT);
    registration.close().await.expect("closed");
    assert_eq!(reason(session.send_to_path("a", text(""), LONG).await), ErrorReason::UNHANDLED_MESSAGE);
    let registration = session.add_request_handler("a", async |_| Ok(text(""))).await.expect("registered");
    session.close().await;
    assert_eq!(registration.close().await, Ok(()));
}

#[tokio::test]
async fn a_registration_that_nobody_waits_for_is_taken_back() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    {
        let mut registering = pin!(session.add_request_handler("a", async |_| Ok(text(""))));
        assert!(registering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // The task of the session sends it now.
        tokio::task::yield_now().await;
    }
    // Once for the registration to be answered, once for what is then sent.
    for _ in 0..2 {
        session.ping().await.expect("answered");
    }
    assert_eq!(reason(session.send_to_path("a", text(""), LONG).await), ErrorReason::UNHANDLED_MESSAGE);
}

#[tokio::test]
async fn a_request_that_nobody_answers_times_out() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    session.add_request_handler("a", async |_| pending().await).await.expect("registered");
    session.add_stream_handler("a", async |_| pending().await).await.expect("set");
    let timeout = Duration::from_millis(20);
    assert_eq!(session.send_to_path("a", text(""), timeout).await, Err(RequestError::TimedOut(timeout)));
    let mut responses = session.send_to_filter("all", "a", text(""), timeout).await.expect("sent");
    assert_eq!(responses.next().await, Some(Err(RequestError::TimedOut(timeout))));
    assert_eq!(responses.next().await, None);
}

#[tokio::test]
async fn a_request_that_is_dropped_is_abandoned_and_its_late_answer_harmless() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let (asked, mut questions) = mpsc::unbounded_channel();
    let handler = move |_| {
        let (answer, answered) = oneshot::channel();
        asked.send(answer).expect("the test goes on");
        async { Ok(answered.await.expect("answered")) }
    };
    session.add_request_handler("a", handler).await.expect("registered");
    let question = tokio::select! {
        _ = session.send_to_path("a", text("first"), LONG) => panic!("nobody has answered"),
        question = questions.recv() => question.expect("asked"),
    };
    let second = async {
        questions.recv().await.expect("asked").send(text("to the second")).expect("waited for");
    };
    question.send(text("to the first")).expect("waited for");
    let (answer, ()) = tokio::join!(session.send_to_path("a", text("second"), LONG), second);
    assert_eq!(answer, Ok(text("to the second")));
}

/// A request, a filter request, a ping and a registration, none of which is answered.
async fn settle_all(session: &Session) -> [RequestError; 4] {
    let filter = async {
        let mut responses = session.send_to_filter("all", "a", text(""), LONG).await?;
        match responses.next().await.expect("an error") {
            Err(error) => Err(error),
            Ok(response) => panic!("{response:?}"),
        }
    };
    let (path, filter, ping, registration) = tokio::join!(
        session.send_to_path("a", text(""), LONG),
        filter,
        session.ping(),
        session.add_request_handler("b", async |_| Ok(text(""))),
    );
    let Err::<(), _>(filter) = filter else { panic!("answered") };
    [path.unwrap_err(), filter, ping.unwrap_err(), registration.unwrap_err()]
}

#[tokio::test]
async fn everything_settles_when_the_broker_stops() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let handler = move |_| {
        asked.send(()).expect("the test goes on");
        pending()
    };
    session.add_request_handler("a", handler).await.expect("registered");
    let stop = async {
        is_asked.recv().await.expect("asked");
        broker.stop().await;
    };
    let (outcome, ()) = tokio::join!(session.send_to_path("a", text(""), LONG), stop);
    assert_eq!(outcome, Err(RequestError::SessionClosed { sent: true }));
    assert_eq!(session.closed().await.code, CloseCode::ClosedByServer);
    assert_eq!(settle_all(&session).await, [(); 4].map(|()| RequestError::SessionClosed { sent: false }));
    assert!(session.is_closed());
}

#[tokio::test]
async fn everything_settles_when_the_connection_is_cut() {
    let broker = TestBroker::start().await;
    let link = Link::to(&broker).await;
    let session = Session::connect(&link.url, Options::default()).await.expect("connected");
    link.freeze();
    let cut = async {
        // All are on their way when the first is.
        tokio::task::yield_now().await;
        link.cut();
    };
    let (errors, ()) = tokio::join!(settle_all(&session), cut);
    assert_eq!(errors, [(); 4].map(|()| RequestError::ConnectionLost));
    assert_eq!(session.closed().await.code, CloseCode::ConnectionError);
}

#[tokio::test]
async fn everything_settles_when_the_connection_goes_silent() {
    let config = BrokerConfig { ping_period: Duration::from_millis(100), ..BrokerConfig::default() };
    let broker = TestBroker::with(config).await;
    let link = Link::to(&broker).await;
    let session = Session::connect(&link.url, Options::default()).await.expect("connected");
    link.freeze();
    assert_eq!(settle_all(&session).await, [(); 4].map(|()| RequestError::ConnectionLost));
    assert_eq!(session.closed().await.code, CloseCode::IdleConnection);
}

#[tokio::test]
async fn a_handler_is_dropped_when_its_session_closes_and_the_sender_is_told() {
    let broker = TestBroker::start().await;
    let (asker, answerer) = (broker.connect().await, broker.connect().await);
    let (held, mut dropped) = mpsc::channel::<()>(1);
    let (asked, is_asked) = oneshot::channel();
    let once = Mutex::new(Some((held, asked)));
    let handler = move |_| {
        let (held, asked) = once.lock().expect("no panic").take().expect("asked once");
        async move {
            asked.send(()).expect("the test goes on");
            pending::<()>().await;
            drop(held);
            Ok(text(""))
        }
    };
    answerer.add_request_handler("a", handler).await.expect("registered");
    let close = async {
        is_asked.await.expect("asked");
        assert_eq!(answerer.close().await.code, CloseCode::ClosedByClient);
    };
    let (outcome, ()) = tokio::join!(asker.send_to_path("a", text(""), LONG), close);
    assert_eq!(reason(outcome), ErrorReason::SESSION_CLOSED);
    assert_eq!(dropped.recv().await, None);
}

#[tokio::test]
async fn a_session_is_closed_when_its_last_handle_is_dropped() {
    let broker = TestBroker::start().await;
    let (asker, answerer) = (broker.connect().await, broker.connect().await);
    let (asked, is_asked) = oneshot::channel();
    let asked = Arc::new(Mutex::new(Some(asked)));
    let handler = move |_| {
        let _ = asked.lock().expect("no panic").take().map(|asked| asked.send(()));
        pending()
    };
    let registration = answerer.add_request_handler("a", handler).await.expect("registered");
    let drop_all = async {
        drop(answerer);
        is_asked.await.expect("asked: the registration keeps the session open");
        drop(registration);
    };
    let (outcome, ()) = tokio::join!(asker.send_to_path("a", text(""), LONG), drop_all);
    assert_eq!(reason(outcome), ErrorReason::SESSION_CLOSED);
}

#[tokio::test]
async fn a_value_that_the_broker_does_not_take_is_not_sent() {
    let config = BrokerConfig { max_message_size: 1024, ..BrokerConfig::default() };
    let broker = TestBroker::with(config).await;
    let session = broker.connect().await;
    let outcome = session.send_to_path("a", text(&"x".repeat(1024)), LONG).await;
    assert!(matches!(outcome, Err(RequestError::MessageTooLarge { limit: 1024, .. })), "{outcome:?}");
    assert!(session.ping().await.is_ok());
}

#[tokio::test]
async fn many_requests_at_once_and_large_ones_get_their_own_answers() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    session.add_request_handler("echo", async |received| Ok(received.request)).await.expect("registered");
    let small = (0..2000).map(|number: u32| number.to_string());
    let large = (0..4).map(|number: u32| number.to_string().repeat(2 << 20));
    let mut asking = JoinSet::new();
    for value in small.chain(large).map(|value| text(&value)) {
        let session = session.clone();
        asking.spawn(async move { (session.send_to_path("echo", value.clone(), LONG).await, value) });
    }
    while let Some(asked) = asking.join_next().await {
        let (answer, value) = asked.expect("no panic");
        assert!(answer.as_ref() == Ok(&value), "{:?}", answer.map(|answer| answer.bytes.len()));
    }
}

#[tokio::test]
async fn what_keeps_a_session_from_opening_has_a_code() {
    let broker = TestBroker::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        listener.local_addr().expect("an address")
    };
    let secret = Options {
        credentials: Credentials::Password("marked-secret".into()),
        config: ClientConfig {
            principal: Some("admin".into()),
            connect_timeout: Duration::from_millis(50),
            ..Options::default().config
        },
    };
    let cases = [
        (broker.url.clone(), ConnectCode::AccessDenied),
        (format!("ws://{gone}/diffusion"), ConnectCode::ConnectionError),
        (broker.url.replace("/diffusion", "/elsewhere"), ConnectCode::ConnectionError),
        (broker.url.replace("ws://", "wss://"), ConnectCode::ConnectionError),
        ("no url".to_owned(), ConnectCode::ConnectionError),
        (format!("ws://{}/", silent.local_addr().expect("an address")), ConnectCode::ConnectionTimeout),
    ];
    for (url, expected) in cases {
        let error = Session::connect(&url, secret.clone()).await.expect_err("not connected");
        assert_eq!(error.code, expected, "{url}: {error}");
        assert!(!error.to_string().contains("marked-secret") && !error.to_string().contains("password="), "{error}");
    }
}
