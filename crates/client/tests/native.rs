//! A session on tokio, with a broker in the same process: what is true of sessions everywhere, and what only a native
//! program can see.

#[macro_use]
mod shared;
mod support;

use std::future::{IntoFuture, pending};
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_client::{
    CloseCode, ConnectCode, Features, Messaging, Options, Outcome, Rejection, RequestError, Session, Value, connect,
};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use support::{Cable, Condition, LONG, TestBroker};

/// A test for each body, with a broker of its own.
macro_rules! natively {
    ($($module:ident($with:ident) { $($name:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test]
            async fn $name() {
                let broker = super::TestBroker::start().await;
                let $with = super::arrange!($with, broker);
                super::shared::$module::$name(&$with).await;
            })*
        })*
    };
}

/// What a body is given, by its name.
macro_rules! arrange {
    (network, $broker:ident) => {
        super::Cable::to(&$broker).await
    };
    ($with:ident, $broker:ident) => {
        $broker.url.clone()
    };
}
use arrange;

every_test!(natively);

impl shared::Network for Cable {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn take_down(&self) {
        self.set(Condition::Cut);
    }

    fn bring_up(&self) {
        self.set(Condition::Works);
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_and_the_session_goes_on() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let messaging = session.messaging();
    messaging.add_request_handler("panic", async |_| -> Result<(), _> { panic!("on purpose") }).await.expect("added");
    let error = messaging.send_request_to_path("panic", ()).await.expect_err("failed");
    assert_eq!(
        (error.code().as_ref(), error.to_string().as_str()),
        ("CALLBACK_EXCEPTION", "the request handler failed")
    );
    assert!(session.ping().await.is_ok());
}

async fn silent(messaging: &Messaging) -> mpsc::UnboundedReceiver<()> {
    let (asked, is_asked) = mpsc::unbounded_channel();
    let handler = move |_| {
        asked.send(()).expect("the test goes on");
        pending::<Result<(), Rejection>>()
    };
    messaging.add_request_handler("a", handler.clone()).await.expect("registered");
    messaging.add_stream_handler("a", handler).addressed(true).await.expect("added");
    is_asked
}

/// A request, a filter request, a ping and a registration, none of which is answered.
async fn settle_all(session: &Session) -> [RequestError; 4] {
    let messaging = session.messaging();
    let gathering = async {
        let mut responses = messaging.gather("all", "a", ()).timeout(LONG).await?;
        responses.next().await.expect("an error").map(drop)
    };
    let (answered, gathered, pong, registered) = tokio::join!(
        messaging.send_request_to_path("a", ()).timeout(LONG).into_future(),
        gathering,
        session.ping(),
        messaging.add_request_handler("b", async |_| Ok(())).into_future(),
    );
    [answered.unwrap_err(), gathered.unwrap_err(), pong.unwrap_err(), registered.unwrap_err()]
}

fn assert_all(errors: &[RequestError; 4], code: &str) {
    for error in errors {
        assert_eq!(error.code(), code);
    }
}

#[tokio::test]
async fn everything_settles_when_the_broker_stops() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let mut is_asked = silent(&session.messaging()).await;
    let stop = async {
        is_asked.recv().await.expect("asked");
        broker.stop().await;
    };
    let (outcome, ()) = tokio::join!(session.messaging().send_request_to_path("a", ()).into_future(), stop);
    assert_eq!(outcome.expect_err("it is over").code(), "CONNECTION_LOST");
    assert_eq!(session.closed().await.code, CloseCode::ConnectionError);
    assert_all(&settle_all(&session).await, "SESSION_CLOSED");
}

#[tokio::test]
async fn everything_settles_when_the_connection_is_cut() {
    let broker = TestBroker::start().await;
    let cable = Cable::to(&broker).await;
    let session = connect(&cable.url, Options::new().reconnect_timeout(Duration::ZERO)).await.expect("connected");
    cable.set(Condition::Frozen);
    let cut = async {
        // All are on their way when the first is.
        tokio::task::yield_now().await;
        cable.set(Condition::Cut);
    };
    let (errors, ()) = tokio::join!(settle_all(&session), cut);
    assert_all(&errors, "CONNECTION_LOST");
    assert_eq!(session.closed().await.code, CloseCode::ConnectionError);
}

#[tokio::test]
async fn everything_settles_when_the_connection_goes_silent() {
    let config = BrokerConfig { ping_period: Duration::from_millis(500), ..BrokerConfig::default() };
    let broker = TestBroker::with(config).await;
    let cable = Cable::to(&broker).await;
    let session = connect(&cable.url, Options::new().reconnect_timeout(Duration::ZERO)).await.expect("connected");
    cable.set(Condition::Frozen);
    assert_all(&settle_all(&session).await, "CONNECTION_LOST");
    assert_eq!(session.closed().await.code, CloseCode::IdleConnection);
}

#[tokio::test]
async fn a_value_that_the_broker_does_not_take_is_not_sent() {
    let config = BrokerConfig { max_message_size: 1024, ..BrokerConfig::default() };
    let broker = TestBroker::with(config).await;
    let session = broker.connect().await;
    let error = session.messaging().send_request_to_path("a", "x".repeat(1024)).await.expect_err("too large");
    assert_eq!((error.code().as_ref(), error.outcome().as_str()), ("MESSAGE_TOO_LARGE", "not-sent"));
    assert!(error.to_string().ends_with("the server takes 1024 at most"), "{error}");
    assert!(session.ping().await.is_ok());
}

#[tokio::test]
async fn many_requests_of_many_tasks_and_large_ones_get_their_own_answers() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let messaging = session.messaging();
    messaging
        .add_request_handler("echo", async |request: antiphon_client::Request| Ok(request.into_value()))
        .await
        .expect("registered");
    let small = (0..2000).map(|number: u32| number.to_string());
    let large = (0..4).map(|number: u32| number.to_string().repeat(2 << 20));
    let mut asking = JoinSet::new();
    for value in small.chain(large).map(Value::binary) {
        let messaging = messaging.clone();
        asking.spawn(async move { (messaging.send_request_to_path("echo", &value).timeout(LONG).await, value) });
    }
    while let Some(asked) = asking.join_next().await {
        let (answer, value) = asked.expect("no panic");
        assert!(answer.as_ref() == Ok(&value), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_the_time_of_the_options() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("an address"));
    let error = connect(&url, Options::new().connect_timeout(Duration::from_millis(50))).await.expect_err("no session");
    assert_eq!(error.code, ConnectCode::ConnectionTimeout);
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_program_without_tls_is_told_which_feature_it_lacks() {
    let broker = TestBroker::start().await;
    let error = connect(&broker.url.replace("ws://", "wss://"), Options::new()).await.expect_err("no session");
    assert_eq!((error.code, error.is_retryable), (ConnectCode::ConnectionError, false));
    assert!(error.to_string().contains("the feature `tls` of antiphon-client"), "{error}");
}

#[tokio::test]
async fn when_the_runtime_stops_everything_settles() {
    let broker = TestBroker::start().await;
    let url = broker.url.clone();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let session = runtime.block_on(connect(&url, Options::new())).expect("connected");
        sender.send(session).expect("waited for");
    });
    let session = receiver.await.expect("sent");
    assert_eq!(session.closed().await.code, CloseCode::ConnectionError);
    let error = session.ping().await.expect_err("it is over");
    assert_eq!(error.code(), "SESSION_CLOSED");
    assert_eq!(session.events().next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_can_be_used_from_threads_that_know_no_runtime() {
    let broker = TestBroker::start().await;
    let session = broker.connect().await;
    let messaging = session.messaging();
    let answered = std::thread::spawn(move || {
        futures_executor::block_on(async {
            messaging.add_request_handler("a", async |_| Ok("answer")).await?;
            let filter = messaging.send_request_to_filter("none is 'x'", "a", ()).await?;
            let answer = messaging.send_request_to_path("a", ()).await?;
            Ok::<_, RequestError>((filter, answer.decode::<String>()?))
        })
    });
    let answered = tokio::task::spawn_blocking(|| answered.join().expect("no panic")).await.expect("no panic");
    assert_eq!(answered, Ok((0, "answer".to_owned())));
}

#[tokio::test]
async fn a_broker_that_does_not_know_how_to_look_is_not_asked() {
    let broker = TestBroker::with(BrokerConfig { features: !Features::DISCOVERY, ..BrokerConfig::default() }).await;
    let messaging = broker.connect().await.messaging();
    let unsupported = ("UNSUPPORTED".into(), Outcome::Refused);
    let of = |error: RequestError| (error.code(), error.outcome());
    assert_eq!(messaging.count_sessions("all").await.map_err(of), Err(unsupported.clone()));
    assert_eq!(messaging.find_handlers("a").await.map_err(of), Err(unsupported.clone()));
    assert_eq!(messaging.watch_handlers("a").await.map(drop).map_err(of), Err(unsupported));
}
