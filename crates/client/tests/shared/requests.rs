//! Requests to paths and to sessions.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_client::{DataType, Options, Outcome, Rejection, Request, RequestError, SessionId, Value};
use futures_channel::{mpsc, oneshot};
use futures_util::future::join_all;
use futures_util::{StreamExt, join};
use serde::{Deserialize, Serialize};

use super::{LONG, error_of, open, open_with, unique, until};

pub async fn a_request_to_a_path_is_answered_by_its_handler(broker: &str) {
    let ((asking, asker), (_answering, answerer)) = (open(broker).await, open(broker).await);
    let path = unique("answered");
    let below = format!("{path}/below");
    let (expected, asked) = (asking.id(), below.clone());
    let handler = move |request: Request| {
        let asked = asked.clone();
        async move {
            assert_eq!(request.path(), asked);
            assert_eq!(request.sender().expect("it is said").session, expected);
            Ok(format!("{} to you", request.decode::<String>()?))
        }
    };
    answerer.add_request_handler(&path, handler).await.expect("registered");
    let answer = asker.send_request_to_path(&below, "hello").await.expect("answered");
    assert_eq!(answer.decode::<String>().as_deref(), Ok("hello to you"));
}

pub async fn a_path_that_nobody_handles_is_an_error_that_says_so(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let outcome = messaging.send_request_to_path(&unique("nobody"), ()).await;
    assert_eq!(outcome.as_ref().expect_err("refused").reason().map(|reason| reason.0), Some(109));
    assert_eq!(error_of(outcome), ("UNHANDLED_MESSAGE".to_owned(), Outcome::Refused));
}

pub async fn the_most_specific_handler_answers(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("specific");
    let below = format!("{path}/below");
    messaging.add_request_handler(&path, async |_| Ok("far")).await.expect("registered");
    messaging.add_request_handler(&below, async |_| Ok("near")).await.expect("registered");
    for (asked, expected) in [(path, "far"), (format!("{below}/it"), "near")] {
        let answer = messaging.send_request_to_path(&asked, ()).await.expect("answered");
        assert_eq!(answer.decode::<&str>(), Ok(expected));
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Order {
    number: i64,
    price: f64,
    items: Vec<Item>,
    note: Option<String>,
    by_size: BTreeMap<u32, bool>,
    initial: char,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Item {
    Tea,
    Cake(String),
    Pair(u8, i8),
    Meal { courses: u16, vegetarian: bool },
}

pub fn order() -> Order {
    Order {
        number: -5_000_000_000,
        price: 12.5,
        items: vec![
            Item::Tea,
            Item::Cake("with cherries".to_owned()),
            Item::Pair(200, -100),
            Item::Meal { courses: 3, vegetarian: true },
        ],
        note: None,
        by_size: BTreeMap::from([(7, true), (70_000, false)]),
        initial: 'ü',
    }
}

pub async fn whatever_serde_can_serialise_arrives_as_it_was(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("serde");
    let handler = async |request: Request| {
        assert_eq!(request.value().data_type(), Some(DataType::Json));
        let order: Order = request.decode()?;
        Ok((order, "thank you"))
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let answer = messaging.send_request_to_path(&path, order()).await.expect("answered");
    assert_eq!(answer.decode::<(Order, String)>(), Ok((order(), "thank you".to_owned())));
}

pub async fn typed_values_keep_their_types(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("typed");
    messaging.add_request_handler(&path, async |request: Request| Ok(request.into_value())).await.expect("registered");
    for value in [
        Value::string("text"),
        Value::int64(i64::MIN),
        Value::double(-0.5),
        Value::binary([0, 255]),
        Value::json(&[1, 2]).expect("json"),
        Value::new(DataType::RecordV2, b"a\x02b".to_vec()),
    ] {
        assert_eq!(messaging.send_request_to_path(&path, &value).await, Ok(value));
    }
}

pub async fn an_answer_has_the_type_of_the_request_if_that_can_hold_it(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("same-type");
    let handler = async |request: Request| Ok(request.decode::<Option<i64>>().ok().flatten());
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let text = format!("{path}/text");
    messaging.add_request_handler(&text, async |_| Ok("text")).await.expect("registered");
    for (asked, request, expected) in [
        (&path, Value::int64(5), Value::int64(5)),
        (&text, Value::string(""), Value::string("text")),
        // What a string cannot hold is json.
        (&path, Value::string("x"), Value::new(DataType::String, vec![0xf6])),
        (&text, Value::int64(5), Value::json("text").expect("json")),
        (&text, Value::binary([1]), Value::json("text").expect("json")),
    ] {
        assert_eq!(messaging.send_request_to_path(asked, request).await, Ok(expected));
    }
    let double = unique("double");
    messaging.add_request_handler(&double, async |_| Ok(7)).await.expect("registered");
    assert_eq!(messaging.send_request_to_path(&double, Value::double(0.5)).await, Ok(Value::double(7.0)));
}

pub async fn a_value_that_cannot_be_sent_fails_before_anything_is_sent(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let outcome = messaging.send_request_to_path(&unique("unsendable"), u64::MAX).await;
    assert_eq!(error_of(outcome), ("INVALID_DATA".to_owned(), Outcome::NotSent));
}

pub async fn a_response_that_is_not_what_the_program_wants_is_an_error_that_says_so(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("unreadable");
    messaging.add_request_handler(&path, async |_| Ok("text")).await.expect("registered");
    let ask = async || -> Result<u32, RequestError> { Ok(messaging.send_request_to_path(&path, ()).await?.decode()?) };
    assert_eq!(error_of(ask().await), ("INVALID_DATA".to_owned(), Outcome::Failed));
}

pub async fn a_request_that_nobody_answers_times_out(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("silent");
    let handler = async |_| pending::<Result<(), Rejection>>().await;
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let outcome = messaging.send_request_to_path(&path, ()).timeout(Duration::from_millis(20)).await;
    assert_eq!(error_of(outcome), ("TIMED_OUT".to_owned(), Outcome::Unknown));
}

pub async fn a_request_does_nothing_before_it_is_awaited(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("lazy");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let handler = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    drop(messaging.send_request_to_path(&path, ()));
    messaging.send_request_to_path(&path, ()).await.expect("answered");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

pub async fn a_request_that_is_dropped_is_abandoned_and_its_late_answer_harmless(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("dropped");
    let (asked, mut questions) = mpsc::unbounded();
    let handler = move |_| {
        let (answer, answered) = oneshot::channel::<&str>();
        asked.unbounded_send(answer).expect("the test goes on");
        async { Ok(answered.await?) }
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    let ask =
        async |text: &str| messaging.send_request_to_path(&path, text).await.and_then(|answer| Ok(answer.decode()?));
    let question = until(ask("first"), questions.next()).await.expect("asked");
    let second = async { questions.next().await.expect("asked").send("to the second").expect("waited for") };
    question.send("to the first").expect("waited for");
    let (answer, ()): (Result<String, _>, _) = join!(ask("second"), second);
    assert_eq!(answer.as_deref(), Ok("to the second"));
}

pub async fn many_requests_at_once_get_their_own_answers(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("many");
    messaging.add_request_handler(&path, async |request: Request| Ok(request.into_value())).await.expect("registered");
    let ask = async |number: u32| (number, messaging.send_request_to_path(&path, number).timeout(LONG).await);
    for (number, answer) in join_all((0..500).map(ask)).await {
        assert_eq!(answer.expect("answered").decode(), Ok(number));
    }
}

/// S-17.
pub async fn without_batching_everything_is_as_with_it(broker: &str) {
    let path = unique("both");
    let [(_first, handling), (_second, asking)] =
        [open_with(broker, Options::new().batching(false)).await, open(broker).await];
    let handler = async |request: Request| Ok(request.into_value());
    handling.add_request_handler(&path, handler).await.expect("registered");
    for messaging in [&handling, &asking] {
        let ask = async |number: u32| {
            // Some are too large for a batch.
            let text = "x".repeat(if number.is_multiple_of(50) { 70_000 } else { number as usize });
            let answer = messaging.send_request_to_path(&path, &text).timeout(LONG).await.expect("answered");
            assert_eq!(answer.decode::<String>(), Ok(text));
        };
        join_all((0..200).map(ask)).await;
    }
}

/// S-18: a batch may be larger than what the program takes of each message.
pub async fn a_small_limit_of_messages_leaves_batches_alone(broker: &str) {
    let (_session, messaging) = open_with(broker, Options::new().max_message_size(2000)).await;
    let path = unique("limit");
    messaging.add_request_handler(&path, async |_| Ok("x".repeat(1000))).await.expect("registered");
    let ask = async |_| messaging.send_request_to_path(&path, ()).timeout(LONG).await;
    for answer in join_all((0..500).map(ask)).await {
        assert!(answer.is_ok());
    }
}

pub async fn a_large_value_comes_back_as_it_was(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let path = unique("large");
    messaging.add_request_handler(&path, async |request: Request| Ok(request.into_value())).await.expect("registered");
    let value = Value::binary(vec![7; 4 << 20]);
    let answer = messaging.send_request_to_path(&path, &value).timeout(LONG).await.expect("answered");
    assert!(answer == value);
}

pub async fn a_request_to_a_session_is_answered_by_its_stream_handler_at_exactly_that_path(broker: &str) {
    let ((_asking, asker), (answering, answerer)) = (open(broker).await, open(broker).await);
    let handler = async |request: Request| {
        // The server does not say.
        assert!(request.sender().is_none());
        Ok("here")
    };
    answerer.add_stream_handler("a", handler).addressed(true).await.expect("added");
    let answer = asker.send_request_to_session("a", answering.id(), ()).await.expect("answered");
    assert_eq!(answer.decode::<String>().as_deref(), Ok("here"));
    let outcome = asker.send_request_to_session("a/b", answering.id(), ()).await;
    assert_eq!(error_of(outcome), ("UNHANDLED_MESSAGE".to_owned(), Outcome::Refused));
}

pub async fn a_session_that_is_not_there_is_an_error_that_says_so(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let nobody = SessionId { server: 1, value: 2 };
    let outcome = messaging.send_request_to_session("a", nobody, ()).await;
    assert_eq!(error_of(outcome), ("NO_SUCH_SESSION".to_owned(), Outcome::Refused));
}

pub async fn a_handler_may_ask_others_before_it_answers(broker: &str) {
    let (session, messaging) = open(broker).await;
    let (first, second) = (unique("first"), unique("second"));
    messaging.add_request_handler(&second, async |_| Ok("deep")).await.expect("registered");
    let (asker, next) = (messaging.clone(), second.clone());
    let handler = move |_| {
        let (asker, next) = (asker.clone(), next.clone());
        async move { Ok(asker.send_request_to_path(&next, ()).await?) }
    };
    messaging.add_request_handler(&first, handler).await.expect("registered");
    let answer = messaging.send_request_to_path(&first, ()).await.expect("answered");
    assert_eq!(answer.decode::<String>().as_deref(), Ok("deep"));
    // The handler has a handle of its session.
    session.close().await;
}
