//! Requests to session filters, and gathering.

use std::future::pending;
use std::time::Duration;

use antiphon_client::{FilterResponse, Messaging, Options, Outcome, Rejection, Session, SessionId};
use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use super::{LONG, error_of, open, open_with, unique};

/// Three sessions that a filter matches; the first of them rejects.
struct Group {
    filter: String,
    sessions: Vec<Session>,
}

impl Group {
    async fn open(broker: &str) -> Self {
        let name = unique("group");
        let mut sessions = Vec::new();
        for number in 0..3 {
            let (session, messaging) = open_with(broker, Options::new().property("group", &name)).await;
            let handler = move |_| async move { if number == 0 { Err(Rejection::new("not me")) } else { Ok(number) } };
            messaging.add_stream_handler("a", handler).addressed(true).await.expect("added");
            sessions.push(session);
        }
        Self { filter: format!("group is '{name}'"), sessions }
    }

    /// What each is expected to answer.
    fn answers(&self) -> Vec<(SessionId, Result<u32, String>)> {
        let answer = |(number, session): (usize, &Session)| {
            let rejected = || "REJECTED_REQUEST".to_owned();
            (session.id(), if number == 0 { Err(rejected()) } else { Ok(number as u32) })
        };
        sorted(self.sessions.iter().enumerate().map(answer).collect())
    }
}

type Answers = Vec<(SessionId, Result<u32, String>)>;

fn sorted(mut answers: Answers) -> Answers {
    answers.sort_unstable_by_key(|(session, _)| session.value);
    answers
}

/// Takes responses to where the test can see them.
fn collector() -> (impl Fn(FilterResponse) + Send + Sync + 'static, mpsc::UnboundedReceiver<FilterResponse>) {
    let (sender, responses) = mpsc::unbounded();
    (move |response| sender.unbounded_send(response).expect("the test goes on"), responses)
}

fn answer_of(response: FilterResponse) -> (SessionId, Result<u32, String>) {
    let answer = response.outcome.map(|value| value.decode().expect("a number"));
    (response.session, answer.map_err(|error| error.code().into_owned()))
}

pub async fn a_request_to_a_filter_gives_the_count_and_then_every_response(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let (handler, responses) = collector();
    let count = messaging.send_request_to_filter(&group.filter, "a", ()).on_response(handler).await;
    assert_eq!(count, Ok(3));
    let responses: Vec<_> = responses.take(3).collect().await;
    assert!(responses.iter().all(|response| response.filter == group.filter && response.path == "a"));
    assert_eq!(responses.iter().map(|response| response.received).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(sorted(responses.into_iter().map(answer_of).collect()), group.answers());
}

pub async fn the_handler_of_a_filter_takes_the_responses_to_requests_without_one_of_their_own(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let (handler, responses) = collector();
    let registration = messaging.add_filter_response_handler(&group.filter, handler);
    assert_eq!(registration.filter(), group.filter);
    let (own, own_responses) = collector();
    let count = messaging.send_request_to_filter(&group.filter, "a", ()).on_response(own).await;
    assert_eq!(count, Ok(3));
    assert_eq!(own_responses.take(3).count().await, 3);
    assert_eq!(messaging.send_request_to_filter(&group.filter, "a", ()).await, Ok(3));
    let answers = responses.take(3).map(answer_of).collect().await;
    assert_eq!(sorted(answers), group.answers());
}

pub async fn a_filter_handler_that_is_closed_or_replaced_gets_nothing(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let nothing = |_: FilterResponse| panic!("it is not there any more");
    let replaced = messaging.add_filter_response_handler(&group.filter, nothing);
    let (handler, mut responses) = collector();
    let registration = messaging.add_filter_response_handler(&group.filter, handler);
    // The one that took its place stays.
    replaced.close();
    assert_eq!(messaging.send_request_to_filter(&group.filter, "a", ()).await, Ok(3));
    assert_eq!(responses.by_ref().take(3).count().await, 3);
    registration.close();
    assert_eq!(messaging.send_request_to_filter(&group.filter, "a", ()).await, Ok(3));
    // The handler went with its registration, and the other end with it.
    assert!(responses.next().await.is_none());
}

pub async fn a_filter_handler_that_is_added_to_a_closed_session_is_not_kept(broker: &str) {
    let (session, messaging) = open(broker).await;
    session.close().await;
    let (handler, mut responses) = collector();
    // One that owns its session would keep it, and be kept by it, for good.
    let own = messaging.clone();
    let owning = move |response| {
        let _session = &own;
        handler(response);
    };
    drop(messaging.add_filter_response_handler("all", owning));
    assert_eq!(responses.next().now_or_never(), Some(None));
}

pub async fn a_filter_that_matches_nobody_gives_zero(broker: &str) {
    let (_session, messaging) = open(broker).await;
    assert_eq!(messaging.send_request_to_filter("group is 'none'", "a", ()).await, Ok(0));
}

pub async fn a_filter_that_does_not_parse_says_where(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let outcome = messaging.send_request_to_filter("group is", "a", ()).await;
    let faults = outcome.as_ref().expect_err("refused").faults();
    assert!(faults.iter().any(|fault| fault.line == 1 && fault.column > 1), "{faults:?}");
    assert_eq!(error_of(outcome), ("INVALID_FILTER".to_owned(), Outcome::Refused));
    assert_eq!(
        messaging.gather("group is", "a", ()).await.err().map(|error| error.code().into_owned()),
        Some("INVALID_FILTER".into())
    );
}

pub async fn what_is_gathered_is_a_stream_of_values_and_errors(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let gathering = messaging.gather(&group.filter, "a", ()).await.expect("sent");
    assert_eq!(gathering.expected(), 3);
    let gathered: Vec<_> = gathering.try_collect().await.expect("all answer");
    let answers = gathered.into_iter().map(|gathered| {
        let answer = gathered.outcome.map(|value| value.decode().expect("a number"));
        (gathered.session, answer.map_err(|error| error.code().into_owned()))
    });
    assert_eq!(sorted(answers.collect()), group.answers());
}

pub async fn gathering_ends_when_enough_have_answered(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let mut gathering = messaging.gather(&group.filter, "a", ()).at_least(1).await.expect("sent");
    let mut values = 0;
    while let Some(gathered) = gathering.next().await {
        values += usize::from(gathered.expect("not the end").outcome.is_ok());
    }
    assert_eq!(values, 1);
    assert!(gathering.next().await.is_none());
}

pub async fn gathering_fails_as_soon_as_there_cannot_be_enough(broker: &str) {
    let group = Group::open(broker).await;
    let (_session, messaging) = open(broker).await;
    let gathering = messaging.gather(&group.filter, "a", ()).at_least(3).timeout(LONG).await.expect("sent");
    let outcome: Result<Vec<_>, _> = gathering.try_collect().await;
    let text = outcome.as_ref().expect_err("one rejects").to_string();
    assert!(text.contains("of the 3 matching sessions gave a response, at least 3 are needed"), "{text}");
    assert_eq!(error_of(outcome), ("NOT_ENOUGH".to_owned(), Outcome::Unknown));
}

async fn silent(broker: &str) -> (Session, Messaging, String) {
    let name = unique("silent");
    let (session, messaging) = open_with(broker, Options::new().property("group", &name)).await;
    let handler = async |_| pending::<Result<(), Rejection>>().await;
    messaging.add_stream_handler("a", handler).addressed(true).await.expect("added");
    (session, messaging, format!("group is '{name}'"))
}

pub async fn gathering_ends_with_an_error_at_its_deadline(broker: &str) {
    let (_session, messaging, filter) = silent(broker).await;
    let mut gathering = messaging.gather(&filter, "a", ()).timeout(Duration::from_millis(500)).await.expect("sent");
    let outcome = gathering.next().await.expect("an error");
    assert_eq!(error_of(outcome), ("TIMED_OUT".to_owned(), Outcome::Unknown));
    assert!(gathering.next().await.is_none());
}

pub async fn gathering_what_nobody_matches_ends_at_once(broker: &str) {
    let (_session, messaging) = open(broker).await;
    let mut gathering = messaging.gather("group is 'none'", "a", ()).await.expect("sent");
    assert_eq!(gathering.expected(), 0);
    assert!(gathering.next().await.is_none());
    let mut gathering = messaging.gather("group is 'none'", "a", ()).at_least(1).await.expect("sent");
    assert_eq!(error_of(gathering.next().await.expect("an error")).0, "NOT_ENOUGH");
}

pub async fn what_is_gathered_can_be_dropped(broker: &str) {
    let group = Group::open(broker).await;
    let (session, messaging) = open(broker).await;
    drop(messaging.gather(&group.filter, "a", ()).await.expect("sent"));
    // The responses of all come nevertheless.
    assert!(session.ping().await.is_ok());
    assert_eq!(messaging.gather(&group.filter, "a", ()).await.expect("sent").count().await, 3);
}
