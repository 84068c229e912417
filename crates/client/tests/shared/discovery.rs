//! Looking before one asks.

use std::time::Duration;

use antiphon_client::{Features, HandlerWatch, HandlersAt, Messaging, Options, Outcome, Registration, Request};
use futures_util::StreamExt;

use super::{Network, error_of, open, open_with, unique};

async fn register(messaging: &Messaging, path: &str) -> Registration {
    messaging.add_request_handler(path, async |_: Request| Ok(())).await.expect("registered")
}

fn at(path: &str, handlers: u32) -> Option<HandlersAt> {
    Some(HandlersAt { path: path.to_owned(), handlers })
}

async fn next(watch: &mut HandlerWatch) -> Option<HandlersAt> {
    watch.next().await.expect("an open session").expect("a change")
}

pub async fn sessions_are_counted_and_handlers_found(broker: &str) {
    let name = unique("counted");
    let (session, messaging) = open_with(broker, Options::new().property("counted", &name)).await;
    assert!(session.supports(Features::DISCOVERY));
    assert_eq!(messaging.count_sessions(&format!("counted is '{name}'")).await, Ok(1));
    assert_eq!(messaging.count_sessions("counted is 'nothing'").await, Ok(0));
    let error = messaging.count_sessions("nonsense").await.expect_err("a fault");
    assert_eq!((&*error.code(), error.faults().len()), ("INVALID_FILTER", 1));
    let path = unique("found");
    assert_eq!(messaging.find_handlers(&path).await, Ok(None));
    register(&messaging, &path).await;
    assert_eq!(messaging.find_handlers(&format!("{path}/below")).await, Ok(at(&path, 1)));
}

pub async fn a_watch_has_what_there_is_and_each_change(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("watched");
    let mut watch = messaging.watch_handlers(&format!("{path}/below")).await.expect("watched");
    assert_eq!(next(&mut watch).await, None);
    let registration = register(&messaging, &path).await;
    assert_eq!(next(&mut watch).await, at(&path, 1));
    registration.close().await;
    assert_eq!(next(&mut watch).await, None);
}

pub async fn of_changes_that_nobody_has_taken_there_is_the_last_one(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("untaken");
    let mut watch = messaging.watch_handlers(&path).await.expect("watched");
    let mut other = messaging.watch_handlers(&path).await.expect("watched");
    assert_eq!(next(&mut other).await, None);
    register(&messaging, &path).await;
    assert_eq!(next(&mut other).await, at(&path, 1));
    // It has been told of both by now.
    messaging.find_handlers(&path).await.expect("an answer");
    assert_eq!(next(&mut watch).await, at(&path, 1));
}

pub async fn a_watch_ends_with_its_session(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("over");
    let mut watch = messaging.watch_handlers(&path).await.expect("watched");
    assert_eq!(next(&mut watch).await, None);
    session.close().await;
    assert_eq!(watch.next().await, None);
    assert_eq!(watch.next().await, None);
    assert_eq!(error_of(messaging.watch_handlers(&path).await), ("SESSION_CLOSED".to_owned(), Outcome::NotSent));
}

pub async fn a_question_has_a_time(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let timed_out = ("TIMED_OUT".to_owned(), Outcome::Unknown);
    assert_eq!(error_of(messaging.count_sessions("all").timeout(Duration::ZERO).await), timed_out);
    assert_eq!(error_of(messaging.find_handlers("a").timeout(Duration::ZERO).await), timed_out);
    assert_eq!(error_of(messaging.watch_handlers("a").timeout(Duration::ZERO).await), timed_out);
}

pub async fn a_watch_goes_on_after_a_lost_connection(network: &impl Network) {
    let (session, messaging) = open(&network.url()).await;
    let path = unique("goes-on");
    let mut events = session.events();
    let mut watch = messaging.watch_handlers(&path).await.expect("watched");
    assert_eq!(next(&mut watch).await, None);
    network.take_down();
    while !matches!(events.next().await, Some(antiphon_client::SessionEvent::Disconnected { .. })) {}
    network.bring_up();
    while !matches!(events.next().await, Some(antiphon_client::SessionEvent::Reconnected { .. })) {}
    register(&messaging, &path).await;
    assert_eq!(next(&mut watch).await, at(&path, 1));
}
