//! The load generator: as a library and as a command, on a broker in the process of the test.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::process::Output;
use std::time::Duration;

use antiphon_client::{ConnectCode, ErrorReason, Rejection, Request, Value};
use antiphon_load::load::{Kind, LoadError, Plan, Rate, Report, run};

use serde_json::Value as Json;

use support::{LONG, TestBroker};

fn plan(broker: &TestBroker) -> Plan {
    Plan {
        url: broker.url.clone(),
        sessions: 4,
        handlers: 2,
        handlers_url: None,
        rate: Rate::InFlight(2),
        duration: Duration::from_millis(200),
        reconnect: Duration::ZERO,
        batching: true,
        timeout: LONG,
        attempts: None,
        value_size: 256,
        kinds: vec![Kind::Path, Kind::Session, Kind::Filter],
        filter: None,
        seed: 7,
    }
}

fn answers(report: &Report, kind: Kind) -> (u64, u64) {
    let kind = &report.kinds[&kind];
    assert!(kind.errors.is_empty(), "{report}");
    (kind.requests, kind.answers)
}

#[tokio::test]
async fn a_load_of_all_kinds_has_an_answer_to_everything() {
    let broker = TestBroker::start().await;
    // Somebody else is there; the default filter does not match it.
    let _other = broker.connect().await;
    for batching in [true, false] {
        let report = run(&Plan { batching, ..plan(&broker) }).await.expect("sessions");
        assert!(report.holds(), "{report}");
        assert_eq!((report.sessions, report.sessions_lost), (6, 0));
        for (kind, each) in [(Kind::Path, 1), (Kind::Session, 1), (Kind::Filter, 6)] {
            let (requests, answers) = answers(&report, kind);
            assert!(requests > 0);
            assert_eq!(answers, requests * each, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_rate_is_kept_to_the_request() {
    let broker = TestBroker::start().await;
    let plan = Plan { rate: Rate::PerSecond(200.0), kinds: vec![Kind::Path], ..plan(&broker) };
    let report = run(&plan).await.expect("sessions");
    assert!(report.holds(), "{report}");
    assert_eq!(answers(&report, Kind::Path), (40, 40));
    assert!(report.load_ms >= 195, "{report}");
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_are_ends_like_any_other() {
    let broker = TestBroker::start().await;
    let plan = Plan { handlers: 0, kinds: vec![Kind::Path], ..plan(&broker) };
    let report = run(&plan).await.expect("sessions");
    assert!(report.holds(), "{report}");
    let path = &report.kinds[&Kind::Path];
    assert_eq!(path.answers, 0);
    assert_eq!(path.errors.iter().collect::<Vec<_>>(), [(&"UNHANDLED_MESSAGE".to_owned(), &path.requests)]);
}

#[tokio::test]
async fn answers_of_somebody_else_break_the_invariant() {
    let broker = TestBroker::start().await;
    let impostor = broker.connect().await.messaging();
    impostor.add_request_handler("load/7", async |_| Ok("anything")).await.expect("registered");
    impostor.add_stream_handler("load/7", async |_| Ok("anything")).addressed(true).await.expect("set");
    let everybody = Plan { filter: Some("all".into()), kinds: vec![Kind::Path, Kind::Filter], ..plan(&broker) };
    let report = run(&everybody).await.expect("sessions");
    assert!(!report.holds());
    assert_eq!(report.violations["wrong-count"], report.kinds[&Kind::Filter].requests, "{report}");
    assert!(report.violations["mismatch"] >= report.kinds[&Kind::Filter].requests, "{report}");
}

#[tokio::test]
async fn a_handler_that_ran_although_the_sender_is_told_that_none_did_breaks_the_invariant() {
    let broker = TestBroker::start().await;
    let impostor = broker.connect().await.messaging();
    let asks = impostor.clone();
    let passes_on = move |request: Request| {
        let sender = request.sender().expect("a sender").session;
        let asked = asks.send_request_to_session("load/7", sender, request.into_value());
        async move {
            asked.await.expect("an answer");
            Err::<Value, _>(Rejection::with_reason(ErrorReason::UNHANDLED_MESSAGE, "nobody is here"))
        }
    };
    impostor.add_request_handler("load/7", passes_on).await.expect("registered");
    let plan = Plan { handlers: 0, kinds: vec![Kind::Path], ..plan(&broker) };
    let report = run(&plan).await.expect("sessions");
    let requests = report.kinds[&Kind::Path].requests;
    assert!(requests > 0);
    assert_eq!(report.violations.iter().collect::<Vec<_>>(), [(&"handled-after-all", &requests)], "{report}");
}

#[tokio::test]
async fn without_a_broker_there_is_no_load() {
    let broker = TestBroker::start().await;
    let plan = plan(&broker);
    broker.stop().await;
    let error = run(&plan).await.expect_err("no sessions");
    assert!(matches!(error, LoadError::Connect(ref error) if error.code == ConnectCode::ConnectionError), "{error}");
}

/// Runs the command to its end.
async fn command(args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_antiphon-load"));
    command.args(args);
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it runs")
}

#[tokio::test]
async fn the_command_reports_in_json_and_says_with_its_status_whether_the_invariant_holds() {
    let broker = TestBroker::start().await;
    let args = ["--url", &broker.url, "--sessions", "3", "--handlers", "2", "--kind", "path,session,filter"];
    let args = [&args[..], &["--rate", "300", "--duration", "200ms", "--seed", "11", "--json"]].concat();
    let output = command(&args).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected =
        serde_json::json!({ "seed": 11, "sessions": 5, "sessions_lost": 0, "requests": 60, "violations": {} });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&report[key], value, "{key}");
    }
    assert_eq!(
        report["kinds"]["filter"]["answers"].as_u64(),
        report["kinds"]["filter"]["requests"].as_u64().map(|n| n * 5)
    );

    let impostor = broker.connect().await.messaging();
    impostor.add_stream_handler("load/11", async |_| Ok("anything")).addressed(true).await.expect("set");
    let output = command(&[&args[..], &["--filter", "all"]].concat()).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn the_command_answers_bad_usage_with_one_line_and_status_2() {
    for args in [
        &["--sessions", "0"][..],
        &["--sessions", "many"],
        &["--rate", "0"],
        &["--rate", "fast"],
        &["--rate", "NaN"],
        &["--in-flight", "0"],
        &["--duration", "0s"],
        &["--duration", "10"],
        &["--timeout", "2days"],
        &["--value-size", "15"],
        &["--kind", "path,topic"],
        &["--kind", ""],
        &["--url", "http://127.0.0.1:8080/"],
        &["--nonsense"],
    ] {
        let output = command(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let message = String::from_utf8(output.stderr).expect("text");
        assert_eq!(message.lines().count(), 1, "{args:?}: {message}");
        assert!(message.starts_with("antiphon-load: ") && output.stdout.is_empty(), "{args:?}: {message}");
    }
    let closed = command(&["--url", "ws://127.0.0.1:9/diffusion"]).await;
    assert_eq!(closed.status.code(), Some(1));
}
