//! Request handlers and stream handlers.

use std::future::{IntoFuture, pending};
use std::sync::{Arc, Mutex};

use antiphon_client::{ErrorReason, Options, Outcome, Rejection, Request, Value};
use futures_channel::{mpsc, oneshot};
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, join};

use super::{error_of, open, open_with, unique, until};

pub async fn what_a_handler_rejects_reaches_the_one_who_asks(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("rejects");
    let handler = async |_| Err::<(), _>(Rejection::new("not today"));
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let outcome = messaging.send_request_to_path(&path, ()).await;
    assert_eq!(outcome.as_ref().expect_err("rejected").to_string(), "not today");
    assert_eq!(error_of(outcome), ("REJECTED_REQUEST".to_owned(), Outcome::Failed));

    let other = unique("rejects");
    let handler = async |_| Err::<(), _>(Rejection::with_reason(ErrorReason::ACCESS_DENIED, "not you"));
    messaging.add_request_handler(&other, handler).await.expect("registered");
    assert_eq!(error_of(messaging.send_request_to_path(&other, ()).await).0, "ACCESS_DENIED");
}

pub async fn what_a_handler_fails_of_reaches_the_one_who_asks(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("fails");
    let handler = async |request: Request| Ok(request.decode::<String>()?.parse::<u32>()?);
    messaging.add_request_handler(&path, handler).await.expect("registered");
    assert_eq!(messaging.send_request_to_path(&path, "17").await.expect("answered").decode(), Ok(17));
    let outcome = messaging.send_request_to_path(&path, "seventeen").await;
    assert_eq!(outcome.as_ref().expect_err("failed").to_string(), "invalid digit found in string");
    assert_eq!(error_of(outcome), ("CALLBACK_EXCEPTION".to_owned(), Outcome::Failed));
}

pub async fn a_request_that_a_handler_cannot_read_is_an_error_that_says_so(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("cannot-read");
    let handler = async |request: Request| Ok(request.decode::<u32>()?);
    messaging.add_request_handler(&path, handler).await.expect("registered");
    assert_eq!(error_of(messaging.send_request_to_path(&path, "text").await).0, "INVALID_DATA");
    let record = Value::new(antiphon_client::DataType::RecordV2, Vec::new());
    assert_eq!(error_of(messaging.send_request_to_path(&path, record).await).0, "INCOMPATIBLE_DATATYPE");
}

pub async fn a_path_can_be_registered_once(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("once");
    messaging.add_request_handler(&path, async |_| Ok("first")).await.expect("registered");
    let outcome = messaging.add_request_handler(&path, async |_| Ok("second")).await;
    assert_eq!(error_of(outcome), ("HANDLER_CONFLICT".to_owned(), Outcome::Refused));
    let answer = messaging.send_request_to_path(&path, ()).await.expect("answered");
    assert_eq!(answer.decode::<String>().as_deref(), Ok("first"));
}

pub async fn a_handler_whose_registration_is_closed_gets_no_more_requests(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("closed");
    let registration = messaging.add_request_handler(&path, async |_| Ok(())).await.expect("registered");
    assert_eq!(registration.path(), path);
    registration.close().await;
    assert_eq!(error_of(messaging.send_request_to_path(&path, ()).await).0, "UNHANDLED_MESSAGE");
    // It ends with the session as well.
    let registration = messaging.add_request_handler(&path, async |_| Ok(())).await.expect("registered");
    session.close().await;
    registration.close().await;
}

pub async fn a_handler_stays_when_its_registration_is_dropped(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("stays");
    drop(messaging.add_request_handler(&path, async |_| Ok(())).await.expect("registered"));
    assert!(messaging.send_request_to_path(&path, ()).await.is_ok());
}

pub async fn a_registration_that_nobody_waits_for_is_taken_back(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("dropped");
    let mut registering = messaging.add_request_handler(&path, async |_| Ok(())).into_future();
    assert!(registering.as_mut().now_or_never().is_none());
    drop(registering);
    // Once for the registration to be answered, once for what is then sent.
    for _ in 0..2 {
        session.ping().await.expect("answered");
    }
    assert_eq!(error_of(messaging.send_request_to_path(&path, ()).await).0, "UNHANDLED_MESSAGE");
    assert!(messaging.add_request_handler(&path, async |_| Ok(())).await.is_ok());
}

pub async fn a_handler_learns_who_asks(broker: &str) {
    let (asking, asker) = open_with(broker, Options::new().property("team", "blue").property("size", "7")).await;
    let (_answering, answerer) = open(broker).await;
    let path = unique("who");
    let handler = async |request: Request| {
        let sender = request.sender().expect("it is said");
        Ok((sender.session.to_string(), sender.properties.clone()))
    };
    answerer.add_request_handler(&path, handler).session_properties(&["team"]).await.expect("registered");
    let answer = asker.send_request_to_path(&path, ()).await.expect("answered");
    let expected = (asking.id().to_string(), vec![("team".to_owned(), "blue".to_owned())]);
    assert_eq!(answer.decode::<(String, Vec<(String, String)>)>(), Ok(expected));
}

pub async fn requests_are_answered_at_the_same_time_unless_the_handler_says_otherwise(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let (path, one_by_one) = (unique("concurrent"), unique("one-by-one"));
    let (asked, mut questions) = mpsc::unbounded();
    let handler = move |request: Request| {
        let (answer, answered) = oneshot::channel::<()>();
        asked.unbounded_send((request.decode::<u32>(), answer)).expect("the test goes on");
        async { Ok(answered.await?) }
    };
    messaging.add_request_handler(&path, handler.clone()).await.expect("registered");
    messaging.add_request_handler(&one_by_one, handler).max_concurrent(1).max_queued(2).await.expect("registered");
    let ask = |path| join_all((0..3_u32).map(|number| messaging.send_request_to_path(path, number).into_future()));

    let all = async {
        let answers: Vec<_> = questions.by_ref().take(3).map(|(_, answer)| answer).collect().await;
        for answer in answers {
            answer.send(()).expect("waited for");
        }
    };
    let (outcomes, ()) = join!(ask(&path), all);
    assert!(outcomes.iter().all(Result::is_ok));

    let in_turn = async {
        for number in 0..3 {
            let (asked, answer) = questions.next().await.expect("asked");
            assert_eq!(asked, Ok(number));
            // The others wait.
            assert!(questions.try_recv().is_err());
            answer.send(()).expect("waited for");
        }
    };
    let (outcomes, ()) = join!(ask(&one_by_one), in_turn);
    assert!(outcomes.iter().all(Result::is_ok));
}

pub async fn a_handler_that_has_as_many_requests_as_it_takes_is_busy(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("busy");
    let (told, mut telling) = mpsc::unbounded();
    let handler = move |_| {
        let _ = told.unbounded_send(());
        pending::<Result<(), Rejection>>()
    };
    messaging.add_request_handler(&path, handler).max_concurrent(1).await.expect("registered");
    let asking = messaging.send_request_to_path(&path, ()).into_future();
    let busy = async {
        telling.next().await;
        error_of(messaging.send_request_to_path(&path, ()).await)
    };
    assert_eq!(until(asking, busy).await, ("BUSY".to_owned(), Outcome::Refused));
}

pub async fn a_handler_is_dropped_when_its_session_closes_and_the_sender_is_told(broker: &str) {
    let ((_asking, asker), (answering, answerer)) = (open(broker).await, open(broker).await);
    let path = unique("ends");
    let (held, mut dropped) = mpsc::channel::<()>(1);
    let (asked, is_asked) = oneshot::channel();
    let once = Mutex::new(Some((held, asked)));
    let handler = move |_| {
        let (held, asked) = once.lock().expect("no panic").take().expect("asked once");
        async move {
            asked.send(()).expect("the test goes on");
            pending::<()>().await;
            drop(held);
            Ok(())
        }
    };
    answerer.add_request_handler(&path, handler).await.expect("registered");
    let close = async {
        is_asked.await.expect("asked");
        answering.close().await;
    };
    let (outcome, ()) = join!(asker.send_request_to_path(&path, ()).into_future(), close);
    assert_eq!(error_of(outcome), ("SESSION_CLOSED".to_owned(), Outcome::Unknown));
    assert!(dropped.next().await.is_none());
}

pub async fn a_stream_handler_that_is_closed_answers_no_more(broker: &str) {
    let (session, messaging) = open(broker).await;
    let ask = async || messaging.send_request_to_session("a", session.id(), ()).await;
    let stream = messaging.add_stream_handler("a", async |_| Ok(())).addressed(true).await.expect("added");
    assert_eq!(stream.path(), "a");
    assert!(ask().await.is_ok());
    stream.close().await;
    assert_eq!(error_of(ask().await), ("UNHANDLED_MESSAGE".to_owned(), Outcome::Refused));
}

pub async fn a_later_stream_handler_takes_the_place_of_an_earlier_one(broker: &str) {
    let (session, messaging) = open(broker).await;
    let ask = async || messaging.send_request_to_session("a", session.id(), ()).await;
    let first = messaging.add_stream_handler("a", async |_| Ok("first")).addressed(true).await.expect("added");
    let second = messaging.add_stream_handler("a", async |_| Ok("second")).addressed(true).await.expect("added");
    first.close().await;
    assert_eq!(ask().await.expect("answered").decode::<String>().as_deref(), Ok("second"));
    second.close().await;
    // Nothing comes back.
    assert_eq!(error_of(ask().await).0, "UNHANDLED_MESSAGE");
}

pub async fn a_stream_handler_that_is_not_addressed_answers_in_place_of_a_request_handler(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("in-place");
    messaging.add_request_handler(&path, async |_| Ok("registered")).await.expect("registered");
    let stream = messaging.add_stream_handler(&path, async |_| Ok("stream")).await.expect("added");
    let ask = async |path: &str| messaging.send_request_to_path(path, ()).await;
    let below = format!("{path}/below");
    assert_eq!(ask(&path).await.expect("answered").decode::<String>().as_deref(), Ok("stream"));
    assert_eq!(ask(&below).await.expect("answered").decode::<String>().as_deref(), Ok("registered"));
    stream.close().await;
    assert_eq!(error_of(ask(&path).await).0, "UNHANDLED_MESSAGE");
    assert!(ask(&below).await.is_ok());
}

pub async fn a_handler_of_an_address_answers_no_path_and_the_other_way_round(broker: &str) {
    let (session, messaging) = open(broker).await;
    let path = unique("apart");
    messaging.add_request_handler(&path, async |_| Ok(())).await.expect("registered");
    let outcome = messaging.send_request_to_session(&path, session.id(), ()).await;
    assert_eq!(error_of(outcome).0, "UNHANDLED_MESSAGE");
    let other = unique("apart");
    messaging.add_stream_handler(&other, async |_| Ok(())).addressed(true).await.expect("added");
    assert_eq!(error_of(messaging.send_request_to_path(&other, ()).await).0, "UNHANDLED_MESSAGE");
    let asked = Arc::new(());
    let handler = move |_| {
        let asked = asked.clone();
        async move { Ok(Arc::strong_count(&asked)) }
    };
    messaging.add_stream_handler(&path, handler).addressed(true).await.expect("added");
    let answered = messaging.send_request_to_session(&path, session.id(), ()).into_future();
    assert!(until(pending::<()>(), answered).await.is_ok());
}
