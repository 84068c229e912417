//! What a session does when its connection is gone.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_client::{
    CloseCode, Credentials, Events, Features, Options, Outcome, Request, SessionEvent, State, WhenDisconnected,
};
use futures_channel::{mpsc, oneshot};
use futures_util::future::join_all;
use futures_util::{StreamExt, join};

use super::{LONG, Network, error_of, open, open_with, unique};

/// Waits for an event of a session.
async fn find(events: &mut Events, is_it: impl Fn(&SessionEvent) -> bool) -> SessionEvent {
    loop {
        let event = events.next().await.expect("an open session");
        if is_it(&event) {
            return event;
        }
    }
}

async fn disconnected(events: &mut Events) {
    find(events, |event| matches!(event, SessionEvent::Disconnected { .. })).await;
}

async fn reconnected(events: &mut Events) -> SessionEvent {
    find(events, |event| matches!(event, SessionEvent::Reconnected { .. })).await
}

pub async fn a_request_under_way_gets_its_answer_over_the_next_connection(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let path = unique("under-way");
    let (asked, mut questions) = mpsc::unbounded();
    let handler = move |_| {
        let (answer, answered) = oneshot::channel::<&str>();
        asked.unbounded_send(answer).expect("the test goes on");
        async { Ok(answered.await?) }
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let mut events = session.events();
    let cut = async {
        let answer = questions.next().await.expect("asked");
        network.take_down();
        disconnected(&mut events).await;
        answer.send("late").expect("waited for");
        network.bring_up();
    };
    let (outcome, ()) = join!(messaging.send_request_to_path(&path, ()).timeout(LONG).into_future(), cut);
    assert_eq!(outcome.expect("answered").decode::<String>().as_deref(), Ok("late"));
}

/// S-20: at whatever moment the connection is lost.
pub async fn what_was_sent_together_gets_its_answers_over_the_next_connection(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    assert!(session.supports(Features::BATCHING));
    let path = unique("together");
    messaging.add_request_handler(&path, async |request: Request| Ok(request.into_value())).await.expect("registered");
    let mut events = session.events();
    let ask = async |number: u32| (number, messaging.send_request_to_path(&path, number).timeout(LONG).await);
    for _ in 0..3 {
        let asked = join_all((0..300).map(ask));
        let cut = async {
            network.take_down();
            disconnected(&mut events).await;
            network.bring_up();
            reconnected(&mut events).await;
        };
        for (number, answer) in join!(asked, cut).0 {
            assert_eq!(answer.expect("answered").decode(), Ok(number));
        }
        assert!(session.supports(Features::BATCHING));
    }
}

pub async fn events_tell_of_a_lost_connection_and_of_the_next_one(network: &impl Network) {
    let (session, _) = open(&network.url()).await;
    let mut events = session.events();
    let changed = |from, to| SessionEvent::StateChanged { from, to };
    network.take_down();
    assert_eq!(events.next().await, Some(changed(State::Connected, State::Recovering)));
    assert!(matches!(events.next().await, Some(SessionEvent::Disconnected { reason }) if !reason.is_empty()));
    assert_eq!(session.state(), State::Recovering);
    network.bring_up();
    assert_eq!(events.next().await, Some(changed(State::Recovering, State::Connected)));
    let again = SessionEvent::Reconnected { session: session.id(), lossless: true, new_session: false };
    assert_eq!(events.next().await, Some(again));
    assert_eq!(session.state(), State::Connected);
    assert!(session.ping().await.is_ok());
}

pub async fn a_handler_is_still_there_after_a_lost_connection(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let path = unique("still-there");
    messaging.add_request_handler(&path, async |request: Request| Ok(request.into_value())).await.expect("registered");
    messaging.add_stream_handler("a", async |_| Ok("stream")).addressed(true).await.expect("added");
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    network.bring_up();
    reconnected(&mut events).await;
    let answer = messaging.send_request_to_path(&path, "there?").await.expect("answered");
    assert_eq!(answer.decode::<String>().as_deref(), Ok("there?"));
    assert!(messaging.send_request_to_session("a", session.id(), ()).await.is_ok());
}

pub async fn a_request_waits_for_a_connection_only_if_it_says_so(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let path = unique("waits");
    messaging.add_request_handler(&path, async |_| Ok("answer")).await.expect("registered");
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    let outcome = messaging.send_request_to_path(&path, ()).await;
    assert_eq!(error_of(outcome), ("NOT_CONNECTED".to_owned(), Outcome::NotSent));
    let patient = messaging.send_request_to_path(&path, ()).when_disconnected(WhenDisconnected::Wait).timeout(LONG);
    let (outcome, ()) = join!(patient.into_future(), async { network.bring_up() });
    assert_eq!(outcome.expect("answered").decode::<String>().as_deref(), Ok("answer"));
}

pub async fn a_request_that_waits_has_its_deadline_all_the_same(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    let patient = messaging.send_request_to_path("a", ()).when_disconnected(WhenDisconnected::Wait);
    let outcome = patient.timeout(Duration::from_millis(20)).await;
    assert_eq!(error_of(outcome), ("TIMED_OUT".to_owned(), Outcome::NotSent));
}

pub async fn a_session_that_does_not_reconnect_ends_with_its_connection(network: &impl Network) {
    let (session, messaging) = open_with(&network.url(), Options::new().reconnect_timeout(Duration::ZERO)).await;
    let path = unique("ends");
    let (asked, mut is_asked) = mpsc::unbounded();
    let handler = move |_| {
        asked.unbounded_send(()).expect("the test goes on");
        std::future::pending::<Result<(), _>>()
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let cut = async {
        is_asked.next().await.expect("asked");
        network.take_down();
    };
    let (outcome, ()) = join!(messaging.send_request_to_path(&path, ()).into_future(), cut);
    assert_eq!(error_of(outcome), ("CONNECTION_LOST".to_owned(), Outcome::Unknown));
    assert_eq!(session.closed().await.code, CloseCode::ConnectionError);
}

pub async fn a_session_that_finds_no_connection_gives_up(network: &impl Network) {
    let options = Options::new().reconnect_timeout(Duration::from_millis(200));
    let (session, messaging) = open_with(&network.url(), options).await;
    let events = session.events();
    network.take_down();
    let closed = session.closed().await;
    assert_eq!(closed.code, CloseCode::ConnectionTimeout);
    assert_eq!(events.collect::<Vec<_>>().await.pop(), Some(SessionEvent::Closed(closed)));
    assert_eq!(error_of(messaging.send_request_to_path("a", ()).await).0, "SESSION_CLOSED");
}

pub async fn a_session_can_be_closed_while_it_has_no_connection(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    let patient = messaging.send_request_to_path("a", ()).when_disconnected(WhenDisconnected::Wait).timeout(LONG);
    let (outcome, closed) = join!(patient.into_future(), session.close());
    assert_eq!(closed.code, CloseCode::ClosedByClient);
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::NotSent));
}

pub async fn credentials_are_asked_for_again_with_every_connection(network: &impl Network) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let ask = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, String>(Credentials::Password("password".to_owned())) }
    };
    let options = Options::new().principal("control").credentials_from(ask);
    let (session, _) = open_with(&network.url(), options).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    network.bring_up();
    reconnected(&mut events).await;
    assert!(asked.load(Ordering::Relaxed) > 1);
    assert_eq!(session.principal().as_deref(), Some("control"));
}

pub async fn the_program_chooses_how_long_to_wait_for_the_next_attempt(network: &impl Network) {
    let (asked, mut attempts) = mpsc::unbounded();
    let delay = move |attempt| {
        asked.unbounded_send(attempt).expect("the test goes on");
        Duration::from_millis(1)
    };
    let (session, _) = open_with(&network.url(), Options::new().reconnect_delay(delay)).await;
    let mut events = session.events();
    network.take_down();
    assert_eq!(attempts.by_ref().take(3).collect::<Vec<_>>().await, [1, 2, 3]);
    network.bring_up();
    reconnected(&mut events).await;
}

pub async fn an_attempt_can_be_made_at_once(network: &impl Network) {
    let options = Options::new().reconnect_delay(|_| Duration::from_secs(3600));
    let (session, _) = open_with(&network.url(), options).await;
    let mut events = session.events();
    network.take_down();
    disconnected(&mut events).await;
    network.bring_up();
    session.reconnect();
    reconnected(&mut events).await;
}
