//! How much time is left, and giving up.

use std::future::{IntoFuture, pending};
use std::time::Duration;

use antiphon_client::{Messaging, Outcome, Rejection, Request};
use futures_channel::mpsc;
use futures_util::StreamExt;

use super::{LONG, error_of, open, unique, until};

const SECOND: Duration = Duration::from_secs(1);

/// Says so when it is dropped.
struct Guard(mpsc::UnboundedSender<&'static str>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.unbounded_send("dropped");
    }
}

/// A handler that never answers, and says when it begins and when its future is dropped.
async fn silent(messaging: &Messaging, path: &str) -> mpsc::UnboundedReceiver<&'static str> {
    let (told, telling) = mpsc::unbounded();
    let handler = move |_| {
        let guard = Guard(told.clone());
        async move {
            let _ = guard.0.unbounded_send("begun");
            pending::<()>().await;
            drop(guard);
            Ok::<(), Rejection>(())
        }
    };
    messaging.add_request_handler(path, handler).await.expect("registered");
    telling
}

pub async fn a_handler_knows_how_much_time_is_left_if_that_was_named(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("time-left");
    let handler = async |request: Request| Ok(request.time_left().map(|left| left <= SECOND * 5 && left > SECOND));
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let answer = messaging.send_request_to_path(&path, ()).timeout(SECOND * 5).await.expect("answered");
    assert_eq!(answer.decode(), Ok(Some(true)));
    let answer = messaging.send_request_to_path(&path, ()).await.expect("answered");
    assert_eq!(answer.decode(), Ok(None::<bool>));
}

pub async fn a_handler_is_dropped_when_the_request_is(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("dropped");
    let mut telling = silent(&messaging, &path).await;
    let asking = messaging.send_request_to_path(&path, ()).timeout(LONG).into_future();
    assert_eq!(until(asking, telling.next()).await, Some("begun"));
    assert_eq!(telling.next().await, Some("dropped"));
}

pub async fn a_handler_is_dropped_when_its_senders_time_is_over(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("over");
    let mut telling = silent(&messaging, &path).await;
    let outcome = messaging.send_request_to_path(&path, ()).timeout(SECOND).await;
    assert_eq!(error_of(outcome).1, Outcome::Unknown);
    assert_eq!((telling.next().await, telling.next().await), (Some("begun"), Some("dropped")));
}

pub async fn a_request_within_another_one_has_no_more_time_than_that(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let (outer, inner) = (unique("outer"), unique("inner"));
    let told = async |request: Request| Ok(request.time_left().map(|left| left <= SECOND * 5));
    messaging.add_request_handler(&inner, told).await.expect("registered");
    let asking = messaging.clone();
    let handler = move |request: Request| {
        let (asking, inner) = (asking.clone(), inner.clone());
        async move { Ok(asking.send_request_to_path(&inner, ()).timeout(LONG).within(&request).await?) }
    };
    messaging.add_request_handler(&outer, handler).await.expect("registered");
    let answer = messaging.send_request_to_path(&outer, ()).timeout(SECOND * 5).await.expect("answered");
    assert_eq!(answer.decode(), Ok(Some(true)));
}
