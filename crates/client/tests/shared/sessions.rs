//! Opening sessions, asking about them, closing them.

use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_client::{
    ALL_FIXED_PROPERTIES, ALL_USER_PROPERTIES, CloseCode, ConnectCode, Credentials, Features, Messaging, Options,
    Outcome, Rejection, RequestError, Session, SessionEvent, State, connect,
};
use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, join};

use super::{error_of, open, open_with, unique, until};

pub async fn sessions_have_ids_and_are_connected(broker: &str) {
    let ((first, _), (second, _)) = (open(broker).await, open(broker).await);
    assert_ne!(first.id(), second.id());
    assert_eq!(first.id().to_string().parse(), Ok(first.id()));
    assert_eq!((first.state(), second.state()), (State::Connected, State::Connected));
    assert_eq!(first.clone().id(), first.id());
}

pub async fn a_session_has_its_principal_and_properties(broker: &str) {
    let options = Options::new().principal("control").password("password").property("team", "blue");
    let (session, _) = open_with(broker, options).await;
    assert_eq!(session.principal().as_deref(), Some("control"));
    let properties = session.properties(&["team", "$Principal", "none"]).await.expect("answered");
    assert_eq!(properties.get("team").map(String::as_str), Some("blue"));
    assert_eq!(properties.get("$Principal").map(String::as_str), Some("control"));
    assert_eq!(properties.len(), 2);
    let all = session.properties(&[ALL_FIXED_PROPERTIES, ALL_USER_PROPERTIES]).await.expect("answered");
    assert!(all.contains_key("$SessionId") && all.contains_key("team"));
    assert!(all.get("$Environment").is_some_and(|environment| environment.starts_with("RUST_")), "{all:?}");
}

pub async fn a_session_can_change_its_principal(broker: &str) {
    let (session, _) = open(broker).await;
    assert_eq!(session.principal(), None);
    let wrong = Credentials::Password("wrong".to_owned());
    assert_eq!(session.change_principal("control", wrong).await, Ok(false));
    assert_eq!(session.principal(), None);
    let right = Credentials::Password("password".to_owned());
    assert_eq!(session.change_principal("control", right).await, Ok(true));
    assert_eq!(session.principal().as_deref(), Some("control"));
}

pub async fn a_round_trip_is_measured(broker: &str) {
    let (session, _) = open(broker).await;
    assert!(session.ping().await.expect("answered") < super::LONG);
}

pub async fn a_service_can_be_asked_by_its_number(broker: &str) {
    let (session, _) = open(broker).await;
    // USER_PING, whose bodies are empty (section 6).
    assert_eq!(session.invoke(56, &[]).await, Ok(Vec::new()));
    assert_eq!(error_of(session.invoke(4321, &[]).await).1, Outcome::Refused);
}

pub async fn closing_says_who_closed(broker: &str) {
    let (session, _) = open(broker).await;
    let closed = session.close().await;
    assert_eq!(closed.code, CloseCode::ClosedByClient);
    assert_eq!(session.state(), State::Closed);
    // Again, and by who only waits.
    assert_eq!(session.close().await, closed);
    assert_eq!(session.closed().await, closed);
}

/// A request, a filter request and a registration that nobody answers, and a ping.
async fn wait_for_everything(session: &Session, messaging: &Messaging, path: &str) -> [RequestError; 4] {
    let gathering = async {
        let mut responses = messaging.gather("all", path, ()).await?;
        responses.next().await.expect("not the end")
    };
    let (answer, gathered, registered, pong) = join!(
        messaging.send_request_to_path(path, ()).into_future(),
        gathering,
        messaging.add_request_handler(path, async |_| Ok(())).into_future(),
        session.ping(),
    );
    [
        answer.expect_err("nobody answers"),
        gathered.map(|gathered| gathered.outcome).expect_err("nobody answers"),
        registered.map(drop).expect_err("it is over"),
        pong.expect_err("it is over"),
    ]
}

pub async fn everything_settles_when_a_session_closes(broker: &str) {
    let ((session, messaging), (_other, answerer)) = (open(broker).await, open(broker).await);
    let path = unique("settles");
    let (asked, mut is_asked) = mpsc::unbounded();
    let handler = move |_| {
        asked.unbounded_send(()).expect("the test goes on");
        pending::<Result<(), Rejection>>()
    };
    answerer.add_request_handler(&path, handler).await.expect("registered");
    let close = async {
        is_asked.next().await.expect("asked");
        session.close().await
    };
    let (outcome, closed) = join!(messaging.send_request_to_path(&path, ()).into_future(), close);
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::Unknown));
    assert_eq!(closed.code, CloseCode::ClosedByClient);
}

pub async fn a_session_that_is_closed_does_nothing_more(broker: &str) {
    let (session, messaging) = open(broker).await;
    session.close().await;
    for error in wait_for_everything(&session, &messaging, "a").await {
        assert_eq!((error.code().as_ref(), error.outcome()), ("SESSION_CLOSED", Outcome::NotSent));
    }
    let outcome = messaging.add_stream_handler("a", async |_| Ok(())).await;
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::NotSent));
}

pub async fn events_tell_of_the_end_and_end(broker: &str) {
    let (session, _) = open(broker).await;
    let events = session.events();
    let closed = session.close().await;
    let told: Vec<_> = events.collect().await;
    let expected =
        [SessionEvent::StateChanged { from: State::Connected, to: State::Closed }, SessionEvent::Closed(closed)];
    assert_eq!(told, expected);
    assert_eq!(session.events().next().await, None);
}

/// A request to a session of which `drop_all` drops every handle.
async fn asked_while_dropping(broker: &str, drop_all: impl AsyncFnOnce(Session, Messaging, String)) {
    let ((_asking, asker), (answering, answerer)) = (open(broker).await, open(broker).await);
    let path = unique("last-handle");
    let (outcome, ()) = join!(
        async {
            // Until the handler is there.
            loop {
                let outcome = asker.send_request_to_path(&path, ()).await;
                if !outcome.as_ref().is_err_and(|error| error.code() == "UNHANDLED_MESSAGE") {
                    return outcome;
                }
            }
        },
        drop_all(answering, answerer, path.clone()),
    );
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::Unknown));
}

fn asked_handler() -> (
    impl Fn(antiphon_client::Request) -> futures_util::future::Pending<Result<(), Rejection>> + Send + Sync,
    mpsc::UnboundedReceiver<()>,
) {
    let (asked, is_asked) = mpsc::unbounded();
    let handler = move |_| {
        asked.unbounded_send(()).expect("the test goes on");
        futures_util::future::pending()
    };
    (handler, is_asked)
}

pub async fn a_session_is_closed_when_its_last_handle_is_dropped(broker: &str) {
    asked_while_dropping(broker, async |session, messaging, path| {
        let (handler, mut is_asked) = asked_handler();
        messaging.add_request_handler(&path, handler).await.expect("registered");
        is_asked.next().await.expect("asked");
        drop((session, messaging));
    })
    .await;
}

pub async fn a_registration_keeps_a_session_open(broker: &str) {
    asked_while_dropping(broker, async |session, messaging, path| {
        let (handler, mut is_asked) = asked_handler();
        let registration = messaging.add_request_handler(&path, handler).await.expect("registered");
        drop((session, messaging));
        is_asked.next().await.expect("asked: the registration keeps the session open");
        drop(registration);
    })
    .await;
}

pub async fn what_keeps_a_session_from_opening_has_a_code(broker: &str) {
    let secret = Options::new().principal("admin").password("marked-secret");
    let elsewhere = format!("{}/elsewhere", broker.trim_end_matches("/diffusion"));
    for (url, expected, is_retryable) in [
        (broker, ConnectCode::AccessDenied, false),
        ("ws://127.0.0.1:1", ConnectCode::ConnectionError, true),
        (&elsewhere, ConnectCode::ConnectionError, true),
        ("no url", ConnectCode::InvalidUrl, false),
        ("ftp://127.0.0.1", ConnectCode::InvalidUrl, false),
    ] {
        let error = connect(url, secret.clone()).await.expect_err("not connected");
        assert_eq!((error.code, error.is_retryable), (expected, is_retryable), "{url}: {error}");
        let text = error.to_string();
        assert!(!text.contains("marked-secret") && !text.contains("password="), "{text}");
    }
}

pub async fn credentials_may_come_from_a_function(broker: &str) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, String>(Credentials::Password("password".to_owned())) }
    };
    let (session, _) = open_with(broker, Options::new().principal("control").credentials_from(ask)).await;
    assert_eq!((asked.load(Ordering::Relaxed), session.principal().as_deref()), (1, Some("control")));

    let none = Options::new().credentials_from(async || Err("the vault is locked"));
    let error = connect(broker, none).await.expect_err("not connected");
    assert_eq!(error.code, ConnectCode::ConnectionError);
    assert_eq!(error.message, "no connection: the credentials function failed: the vault is locked");
}

pub async fn a_connect_that_is_dropped_opens_no_session(broker: &str) {
    let name = unique("never");
    let mut connecting = Box::pin(connect(broker, Options::new().property("group", &name)));
    assert!(connecting.as_mut().now_or_never().is_none());
    drop(connecting);
    let (_session, messaging) = open(broker).await;
    let found = messaging.send_request_to_filter(&format!("group is '{name}'"), "a", ()).await;
    assert_eq!(found, Ok(0));
    let slow = Options::new().connect_timeout(Duration::ZERO);
    let error = until(pending::<()>(), connect(broker, slow)).await.expect_err("no time");
    assert_eq!(error.code, ConnectCode::ConnectionTimeout);
}

/// S-17.
pub async fn batching_is_there_unless_the_program_wants_none(broker: &str) {
    for (options, is_there) in [
        (Options::new(), true),
        (Options::new().batching(true), true),
        (Options::new().batching(false), false),
        (Options::new().batching(false).batching(true), true),
    ] {
        let (session, _) = open_with(broker, options).await;
        assert_eq!(session.supports(Features::BATCHING), is_there);
        session.close().await;
        assert!(!session.supports(Features::BATCHING));
    }
}
