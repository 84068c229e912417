//! Requests that are sent again by themselves (rules K-8, K-9).

use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use antiphon_client::{Messaging, Options, Outcome, Rejection, Request, Retry, SessionEvent};
use futures_channel::{mpsc, oneshot};
use futures_util::{StreamExt, join};

use super::{LONG, Network, error_of, open, open_with, unique, until};

const AT_ONCE: Duration = Duration::ZERO;

/// A handler that takes one request at a time; gives what answers each.
async fn slow(messaging: &Messaging, path: &str) -> mpsc::UnboundedReceiver<oneshot::Sender<u32>> {
    let (told, telling) = mpsc::unbounded();
    let handler = move |_| {
        let (answer, answered) = oneshot::channel();
        let _ = told.unbounded_send(answer);
        async { Ok(answered.await?) }
    };
    messaging.add_request_handler(path, handler).max_concurrent(1).await.expect("registered");
    telling
}

pub async fn a_request_that_meets_busy_handlers_is_sent_again(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("busy");
    let mut asked = slow(&messaging, &path).await;
    let first = messaging.send_request_to_path(&path, ()).into_future();
    let (tried, mut tries) = mpsc::unbounded();
    let backoff = move |attempt| {
        let _ = tried.unbounded_send(attempt);
        Duration::from_millis(1)
    };
    let second = messaging.send_request_to_path(&path, ()).retry(Retry::attempts(u32::MAX).backoff(backoff));
    let answering = async {
        let answer = asked.next().await.expect("asked");
        // It has been refused twice by then.
        assert_eq!((tries.next().await, tries.next().await), (Some(1), Some(2)));
        answer.send(1).expect("waited for");
        asked.next().await.expect("asked again").send(2).expect("waited for");
    };
    // In this order: the first one has the place.
    let (first, second, ()) = join!(first, second.into_future(), answering);
    assert_eq!([first, second].map(|answer| answer.expect("answered").decode()), [Ok(1), Ok(2)]);
}

pub async fn attempts_are_all_that_are_made(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("attempts");
    let mut asked = slow(&messaging, &path).await;
    let first = messaging.send_request_to_path(&path, ()).into_future();
    let tries = Arc::new(AtomicU32::new(0));
    let counted = tries.clone();
    let backoff = move |attempt| {
        counted.store(attempt, Ordering::Relaxed);
        AT_ONCE
    };
    let trying = async {
        let answer = asked.next().await.expect("asked");
        let outcome = messaging.send_request_to_path(&path, ()).retry(Retry::attempts(3).backoff(backoff)).await;
        drop(answer);
        outcome
    };
    let outcome = until(first, trying).await;
    let text = outcome.as_ref().map_err(ToString::to_string).expect_err("refused");
    assert!(text.ends_with(" (3 attempts)"), "{text}");
    assert_eq!(error_of(outcome), ("BUSY".to_owned(), Outcome::Refused));
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

pub async fn what_was_handled_is_not_sent_again(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let (path, count) = (unique("handled"), Arc::new(AtomicU32::new(0)));
    let counted = count.clone();
    let handler = move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), _>(Rejection::new("no")) }
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let asked = messaging.send_request_to_path(&path, ()).idempotency_key("key");
    let outcome = asked.retry(Retry::attempts(5).backoff(|_| AT_ONCE)).await;
    assert_eq!(error_of(outcome).0, "REJECTED_REQUEST");
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

pub async fn an_attempt_that_would_come_too_late_is_not_waited_for(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("late");
    let mut asked = slow(&messaging, &path).await;
    let first = messaging.send_request_to_path(&path, ()).into_future();
    let trying = async {
        let answer = asked.next().await.expect("asked");
        for (timeout, wait) in [(LONG, LONG), (Duration::MAX, Duration::MAX)] {
            let trying = messaging.send_request_to_path(&path, ()).timeout(timeout);
            let outcome = trying.retry(Retry::attempts(3).backoff(move |_| wait)).await;
            assert_eq!(error_of(outcome).0, "BUSY");
        }
        drop(answer);
    };
    until(first, trying).await;
}

pub async fn what_waits_for_its_next_attempt_fails_when_the_session_closes(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("closed");
    let mut asked = slow(&messaging, &path).await;
    let first = messaging.send_request_to_path(&path, ()).into_future();
    let (tried, mut tries) = mpsc::unbounded();
    let backoff = move |attempt| {
        let _ = tried.unbounded_send(attempt);
        LONG
    };
    let trying = async {
        let _answer = asked.next().await.expect("asked");
        let trying = messaging.send_request_to_path(&path, ()).timeout(Duration::MAX);
        let trying = trying.retry(Retry::attempts(3).backoff(backoff)).into_future();
        let closing = async {
            tries.next().await.expect("refused");
            session.close().await;
        };
        join!(trying, closing).0
    };
    let (_, outcome) = join!(first, trying);
    assert_eq!(error_of(outcome).0, "BUSY");
}

pub async fn a_request_that_finds_no_connection_is_sent_when_there_is_one(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let path = unique("found");
    let (told, mut telling) = mpsc::unbounded();
    let handler = move |_: Request| {
        let _ = told.unbounded_send(());
        pending::<Result<(), Rejection>>()
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let mut events = session.events();
    network.take_down();
    while !matches!(events.next().await.expect("an open session"), SessionEvent::Disconnected { .. }) {}
    let ask = |attempts| {
        let retry = Retry::attempts(attempts).backoff(|_| panic!("it was not sent"));
        messaging.send_request_to_path(&path, ()).retry(retry)
    };
    // One attempt is no repeat, and what has no connection in time was not sent.
    for (attempts, timeout) in [(1, LONG), (2, Duration::from_millis(1))] {
        let outcome = ask(attempts).timeout(timeout).await;
        assert_eq!(error_of(outcome), ("NOT_CONNECTED".to_owned(), Outcome::NotSent));
    }
    // The first is polled before the other.
    let sent = async {
        network.bring_up();
        telling.next().await.expect("asked");
        session.close().await;
    };
    let (outcome, ()) = join!(ask(2).timeout(LONG).into_future(), sent);
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::Unknown));
}

pub async fn what_waits_for_a_connection_fails_when_the_session_closes(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let mut events = session.events();
    network.take_down();
    while !matches!(events.next().await.expect("an open session"), SessionEvent::Disconnected { .. }) {}
    let asking = messaging.send_request_to_path("nowhere", ()).timeout(Duration::MAX).retry(Retry::attempts(2));
    let (outcome, ()) = join!(asking.into_future(), async {
        session.close().await;
    });
    assert_eq!(error_of(outcome), ("NOT_CONNECTED".to_owned(), Outcome::NotSent));
}

pub async fn what_would_come_to_the_same_again_is_not_sent_again(broker: &str) {
    let path = unique("gone");
    let (told, mut telling) = mpsc::unbounded();
    let handler = move |_: Request| {
        let _ = told.unbounded_send(());
        pending::<Result<(), Rejection>>()
    };
    let (_session, messaging) = open_with(broker, Options::new().principal("control").password("password")).await;
    // With a key as well: the broker remembers that there will be no answer.
    for key in [None, Some(unique("key"))] {
        let (answering, of_answering) = open(broker).await;
        of_answering.add_request_handler(&path, handler.clone()).await.expect("registered");
        let retry = Retry::attempts(4).backoff(|_| panic!("there is no other attempt"));
        let mut asking = messaging.send_request_to_path(&path, ()).retry(retry);
        if let Some(key) = key {
            asking = asking.idempotency_key(key);
        }
        let closing = async {
            telling.next().await.expect("asked");
            answering.close().await;
        };
        let (outcome, _) = join!(asking.into_future(), closing);
        assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::Unknown));
    }
}
