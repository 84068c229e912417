//! What goes along with requests, idempotency keys and metadata, and with errors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use antiphon_client::{Features, Outcome, Rejection, Request, Value};

use super::{error_of, open, unique};

pub async fn a_request_that_is_repeated_under_its_key_is_handled_once(broker: &str) {
    let (session, messaging) = open(broker).await;
    assert!(session.supports(Features::IDEMPOTENCY));
    let (path, count) = (unique("repeated"), Arc::new(AtomicU32::new(0)));
    let handler = move |request: Request| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok((request.idempotency_key().map(str::to_owned), number)) }
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    for (key, expected) in [("one", 0), ("one", 0), ("two", 1)] {
        let answer = messaging.send_request_to_path(&path, ()).idempotency_key(key).await.expect("answered");
        assert_eq!(answer.decode(), Ok((Some(key.to_owned()), expected)));
    }
    let answer = messaging.send_request_to_path(&path, ()).await.expect("answered");
    assert_eq!(answer.decode(), Ok((None::<String>, 2)));
}

pub async fn a_key_that_is_none_is_an_error_that_says_so(broker: &str) {
    let (_session, messaging) = open(broker).await;
    for key in [String::new(), "é".repeat(129)] {
        let outcome = messaging.send_request_to_path("a", ()).idempotency_key(key).await;
        assert!(outcome.as_ref().is_err_and(|error| error.to_string().contains("1 to 128 characters")), "{outcome:?}");
        assert_eq!(error_of(outcome), ("INVALID_ARGUMENT".to_owned(), Outcome::NotSent));
    }
    let outcome = messaging.send_request_to_path(&unique("nobody"), ()).idempotency_key("é".repeat(128)).await;
    assert_eq!(error_of(outcome).0, "UNHANDLED_MESSAGE");
}

pub async fn metadata_reaches_the_handler_and_a_trace_goes_on_with_requests_within_it(broker: &str) {
    let (session, messaging) = open(broker).await;
    assert!(session.supports(Features::METADATA));
    let (outer, inner) = (unique("outer"), unique("inner"));
    messaging.add_request_handler(&inner, async |request: Request| Ok(request.metadata().clone())).await.expect("ok");
    let (asking, below) = (messaging.clone(), inner.clone());
    let handler = move |request: Request| {
        let (asking, inner) = (asking.clone(), below.clone());
        async move {
            let asked = asking.send_request_to_path(&inner, ()).metadata([("step", "2")]).within(&request);
            Ok(asked.await?)
        }
    };
    messaging.add_request_handler(&outer, handler).await.expect("registered");
    let trace = [("traceparent", "00-1-2-01"), ("tracestate", "a=b"), ("step", "1")];
    for (path, step) in [(inner, "1"), (outer, "2")] {
        let answer = messaging.send_request_to_path(&path, ()).metadata(trace).await.expect("answered");
        let expected = [("step", step), ("traceparent", "00-1-2-01"), ("tracestate", "a=b")];
        assert_eq!(answer.decode(), Ok(BTreeMap::from(expected)));
    }
    let outcome = messaging.gather("all", "a", ()).metadata([("a", "x".repeat(8192))]).await.map(drop);
    assert_eq!(error_of(outcome), ("INVALID_ARGUMENT".to_owned(), Outcome::NotSent));
}

pub async fn the_details_of_an_error_reach_the_one_who_asks(broker: &str) {
    let (session, messaging) = open(broker).await;
    assert!(session.supports(Features::DETAILS));
    let path = unique("details");
    let handler = async |request: Request| match request.decode::<u32>()? {
        0 => Err(Rejection::new("no")),
        most => Err::<(), _>(Rejection::new("no").with_details(&"x".repeat(most as usize))),
    };
    messaging.add_request_handler(&path, handler).await.expect("registered");
    for (length, expected) in [(0, None), (4, Some(4)), (60_000, Some(60_000)), (70_000, None)] {
        let error = messaging.send_request_to_path(&path, length).await.expect_err("rejected");
        let details = error.details().map(|details| details.decode::<String>().expect("a text").len());
        assert_eq!((&*error.code(), details), ("REJECTED_REQUEST", expected));
        let text = error.to_string();
        assert!(text.starts_with("no") && text.contains("left out") == (length == 70_000), "{text}");
    }
    let error = messaging.send_request_to_path(&unique("nobody"), Value::int64(1)).await.expect_err("refused");
    assert_eq!(error.details(), None);
}
