//! Sessions whose connections are cut under load, with an account of every request: what section 10 is for.
//!
//! In a short form by default; `ANTIPHON_LOAD=long`, as `npm run test:load` sets it, makes it the long one. Figures are
//! printed, and shown with `--nocapture`.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::future::IntoFuture;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_broker::core::Broker;
use antiphon_broker::core::BrokerConfig;
use antiphon_broker::core::access::Access;
use antiphon_broker::net::{Server, serve};
use antiphon_client::{
    CloseCode, Events, Messaging, Options, Outcome, Rejection, RequestError, Session, SessionEvent, State,
    WhenDisconnected, connect,
};
use antiphon_load::faults::{Ending, Faults, Proxy, Schedule};
use antiphon_load::load::{Kind, Load, Plan, Rate, Report};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, MutexGuard, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use support::{LONG, TestBroker};

/// Whether there is time for the long form.
fn is_long() -> bool {
    std::env::var_os("ANTIPHON_LOAD").is_some_and(|form| form == "long")
}

/// One at a time: they measure.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// How long sessions look for a connection, and how long a broker keeps them.
const RECONNECT: Duration = Duration::from_secs(30);

/// How long after a cut every promise must have settled.
const SETTLED: Duration = Duration::from_secs(5);

fn options() -> Options {
    Options::new().reconnect_timeout(RECONNECT)
}

async fn open(url: &str) -> Session {
    connect(url, options()).await.expect("connected")
}

/// Answers requests to `path`.
async fn answer(messaging: &Messaging, path: &str, answer: &'static str) {
    messaging.add_request_handler(path, move |_| std::future::ready(Ok(answer))).await.expect("registered");
}

/// What a session answers at `path`.
async fn ask(messaging: &Messaging, path: &str) -> Result<String, RequestError> {
    Ok(messaging.send_request_to_path(path, "?").timeout(LONG).await?.decode()?)
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}/diffusion")
}

/// A broker that keeps sessions, or forgets them as soon as their connection is lost.
async fn broker(reconnect_timeout: Duration) -> TestBroker {
    TestBroker::with(BrokerConfig { reconnect_timeout, ..BrokerConfig::default() }).await
}

async fn proxy(url: &str, faults: Faults) -> Proxy {
    let to = url["ws://".len()..].trim_end_matches("/diffusion").parse().expect("an address");
    Proxy::start("127.0.0.1:0".parse().expect("an address"), to, faults).await.expect("started")
}

/// 100 sessions and 10 handlers that send values of 256 bytes.
fn plan(url: String, seed: u64, duration: Duration) -> Plan {
    Plan {
        // Some runs use the door with nothing in the address.
        url: if seed.is_multiple_of(2) { url.replace("/diffusion", "/antiphon") } else { url },
        sessions: 100,
        handlers: 10,
        handlers_url: None,
        rate: Rate::PerSecond(if cfg!(debug_assertions) { 500.0 } else { 2000.0 }),
        duration,
        reconnect: RECONNECT,
        // Some runs have it, others do not.
        batching: !seed.is_multiple_of(3),
        timeout: LONG,
        attempts: None,
        value_size: 256,
        // Requests to filters make as many answers as there are sessions.
        kinds: [vec![Kind::Path; 20], vec![Kind::Session; 19], vec![Kind::Filter]].concat(),
        filter: None,
        seed,
    }
}

/// The same, of sessions whose connections are left alone.
fn bystanders(url: String, seed: u64, duration: Duration) -> Plan {
    let kinds = vec![Kind::Path];
    Plan { sessions: 20, handlers: 2, rate: Rate::PerSecond(200.0), kinds, ..plan(url, seed, duration) }
}

fn errors(report: &Report) -> u64 {
    report.kinds.values().flat_map(|kind| kind.errors.values()).sum()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// The longest time that a request took.
fn slowest(report: &Report) -> Duration {
    Duration::from_micros(report.kinds.values().map(|kind| kind.latency.max).max().unwrap_or(0))
}

/// The next event of a session's connection, which must come.
async fn next(events: &mut Events) -> SessionEvent {
    loop {
        let event = timeout(LONG, events.next()).await.expect("in time").expect("an open session");
        if !matches!(event, SessionEvent::StateChanged { .. }) {
            return event;
        }
    }
}

/// Waits until a session has another connection. Returns whether nothing was lost.
async fn reconnected(events: &mut Events) -> bool {
    loop {
        if let SessionEvent::Reconnected { lossless, .. } = next(events).await {
            return lossless;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_under_load_lose_nothing_and_do_nothing_twice() {
    let _alone = alone().await;
    let (rounds, cuts, undisturbed) = if is_long() { (10, 100, 4) } else { (1, 60, 1) };
    let undisturbed = Duration::from_secs(undisturbed);
    let disturbed = Duration::from_secs_f64(cuts as f64 / 20.0 + 1.0);
    let broker = broker(RECONNECT).await;
    let proxy = Arc::new(proxy(&broker.url, Faults { endings: Ending::ALL.to_vec(), ..Faults::default() }).await);

    let run = async |seed, duration, cuts: u64| {
        let load = Load::open(&plan(url(proxy.address()), seed, duration)).await.expect("sessions");
        let others = Load::open(&bystanders(broker.url.clone(), seed + 1, duration)).await.expect("sessions");
        let cutter = proxy.clone();
        let schedule = Schedule { per_second: 20.0, at_once: 1, most: Some(cuts) };
        let cutting = async move { cutter.cut_some(schedule).await };
        let (report, bystanders, ()) = tokio::join!(load.run(), others.run(), cutting);
        println!("{report}\n{bystanders}");
        for report in [&report, &bystanders] {
            assert!(report.holds(), "{report}");
            assert_eq!((errors(report), report.sessions_lost), (0, 0), "{report}");
        }
        (report, bystanders)
    };

    let (mut before, mut during) = (Vec::new(), Vec::new());
    // In turns, since the machine is not equally fast all the time.
    for round in 1..=rounds {
        let (_, calm) = run(10 * round, undisturbed, 0).await;
        let (report, beside) = run(10 * round + 5, disturbed, cuts).await;
        assert_eq!(proxy.cut(), round * cuts);
        let recovery = report.recovery;
        // One that is cut while it reconnects is cut twice and has lost its connection once.
        assert!(recovery.disconnections as u64 > cuts / 2, "{report}");
        assert_eq!(recovery.lossless, recovery.disconnections, "{report}");
        assert!(slowest(&report) <= SETTLED, "{report}");
        before.push(calm.kinds[&Kind::Path].latency.p99);
        during.push(beside.kinds[&Kind::Path].latency.p99);
    }
    println!("p99 of sessions that are not cut, in us: without cuts {before:?}, with cuts {during:?}");
    let (before, during) = (median(before), median(during));
    // In the short form it runs beside other tests, and is not optimised.
    assert!(!is_long() || during <= before * 3, "{before} us without cuts, {during} us with");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_forgets_sessions_loses_requests_and_none_without_an_error() {
    let _alone = alone().await;
    let cuts = if is_long() { 1000 } else { 60 };
    let broker = broker(Duration::ZERO).await;
    let endings = vec![Ending::Reset, Ending::Close];
    let proxy = proxy(&broker.url, Faults { endings, ..Faults::default() }).await;
    let load = plan(url(proxy.address()), 5, Duration::from_secs_f64(cuts as f64 / 20.0 + 1.0));
    let load = Load::open(&load).await.expect("sessions");
    let schedule = Schedule { per_second: 20.0, at_once: 1, most: Some(cuts) };
    let (report, ()) = tokio::join!(load.run(), proxy.cut_some(schedule));
    println!("{report}");
    assert!(report.holds(), "{report}");
    assert_eq!(proxy.cut(), cuts);
    let recovery = report.recovery;
    assert_eq!((report.sessions_lost, recovery.handlers_lost), (0, 0), "{report}");
    assert_eq!(recovery.lossy, recovery.disconnections, "{report}");
    // Not always a new one: a client that comes back before the broker has noticed the cut finds its session still there.
    assert!(0 < recovery.new_sessions && recovery.new_sessions <= recovery.disconnections, "{report}");
    assert!(slowest(&report) <= SETTLED, "{report}");
}

/// Rules K-8, K-9: the sessions end with their connections, and those of the handlers stay. A few attempts are enough, since what
/// finds no connection is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_keys_and_retries_every_request_has_an_answer_and_none_is_handled_twice() {
    let _alone = alone().await;
    let cuts = if is_long() { 1000 } else { 60 };
    let broker = broker(Duration::ZERO).await;
    let proxy = proxy(&broker.url, Faults { endings: Ending::ALL.to_vec(), ..Faults::default() }).await;
    let duration = Duration::from_secs_f64(cuts as f64 / 20.0 + 1.0);
    let plan = plan(url(proxy.address()), 6, duration);
    let (kinds, handlers_url) = (vec![Kind::Path], Some(broker.url.clone()));
    let plan = Plan { kinds, handlers_url, attempts: Some(10), ..plan };
    let load = Load::open(&plan).await.expect("sessions");
    let schedule = Schedule { per_second: 20.0, at_once: 1, most: Some(cuts) };
    let (report, ()) = tokio::join!(load.run(), proxy.cut_some(schedule));
    println!("{report}");
    assert!(report.holds(), "{report}");
    assert_eq!((proxy.cut(), errors(&report), report.sessions_lost), (cuts, 0, 0), "{report}");
    assert!(report.recovery.new_sessions > 0, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_outstanding_with_a_forgotten_session_fails_at_once_and_its_handlers_are_back_by_themselves() {
    let _alone = alone().await;
    let broker = broker(Duration::ZERO).await;
    let proxy = proxy(&broker.url, Faults::default()).await;
    let waiting = Arc::new(AtomicUsize::new(0));
    let handler = open(&broker.url).await;
    let arrived = waiting.clone();
    let never = move |_| {
        arrived.fetch_add(1, Ordering::Relaxed);
        std::future::pending::<Result<(), Rejection>>()
    };
    let handler = handler.messaging();
    handler.add_request_handler("never", never).await.expect("registered");
    let (senders, each) = (50, 20);
    let mut requests = JoinSet::new();
    let mut known = JoinSet::new();
    let mut sessions = Vec::new();
    for number in 0..senders {
        let session = open(&url(proxy.address())).await;
        answer(&session.messaging(), &format!("of/{number}"), "here").await;
        let mut events = session.events();
        known.spawn(async move {
            assert!(!reconnected(&mut events).await);
            (number, Instant::now())
        });
        for _ in 0..each {
            let messaging = session.messaging();
            requests.spawn(async move {
                let outcome = ask(&messaging, "never").await;
                (number, outcome, Instant::now())
            });
        }
        sessions.push((session.id(), session));
    }
    let all_arrived = async {
        while waiting.load(Ordering::Relaxed) < senders * each {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, all_arrived).await.expect("delivered");
    let cut_at = Instant::now();
    assert_eq!(proxy.cut_all(Ending::Reset), senders);
    let known: HashMap<_, _> = known.join_all().await.into_iter().collect();
    let failed = requests.join_all().await;
    println!("all of {} requests failed within {:?} of the cut", senders * each, cut_at.elapsed());
    for (number, outcome, at) in failed {
        let error = outcome.expect_err("nobody answers");
        assert_eq!((error.code().as_ref(), error.outcome()), ("CONNECTION_LOST", Outcome::Unknown));
        assert!(at.saturating_duration_since(known[&number]) <= Duration::from_secs(1));
    }
    for (number, (before, session)) in sessions.iter().enumerate() {
        assert_ne!(session.id(), *before);
        let path = format!("of/{number}");
        let asked = async {
            // Its registration is on its way.
            loop {
                let answer = ask(&handler, &path).await;
                if answer.as_ref().err().is_none_or(|error| error.outcome() != Outcome::Refused) {
                    return answer;
                }
            }
        };
        assert_eq!(timeout(Duration::from_secs(1), asked).await.expect("in time"), Ok("here".to_owned()));
    }
}

#[tokio::test]
async fn a_session_survives_50_cuts() {
    let _alone = alone().await;
    let apart = Duration::from_millis(if is_long() { 1000 } else { 100 });
    let broker = broker(RECONNECT).await;
    let proxy = proxy(&broker.url, Faults::default()).await;
    let session = open(&url(proxy.address())).await;
    let other = broker.connect().await;
    let (arrived, may_answer) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrival, permission) = (arrived.clone(), may_answer.clone());
    let slow = move |_| {
        let (arrival, permission) = (arrival.clone(), permission.clone());
        async move {
            arrival.add_permits(1);
            permission.acquire().await.expect("open").forget();
            Ok("there")
        }
    };
    let (messaging, other) = (session.messaging(), other.messaging());
    other.add_request_handler("there", slow).await.expect("registered");
    answer(&messaging, "here", "here").await;
    let mut events = session.events();
    for cut in 0..50 {
        let under_way = ask(&messaging, "there");
        let cutting = async {
            arrived.acquire().await.expect("open").forget();
            let cut_at = Instant::now();
            assert_eq!(proxy.cut_all(Ending::ALL[cut % Ending::ALL.len()]), 1);
            assert!(matches!(next(&mut events).await, SessionEvent::Disconnected { .. }));
            assert_eq!(session.state(), State::Recovering);
            // The answer comes while nobody can be told, and so does a question.
            may_answer.add_permits(1);
            assert_eq!(ask(&other, "here").await, Ok("here".to_owned()));
            assert!(reconnected(&mut events).await, "cut {cut}");
            cut_at
        };
        let (answer, cut_at) = tokio::join!(under_way, cutting);
        assert_eq!(answer, Ok("there".to_owned()), "cut {cut}");
        sleep_until(cut_at + apart).await;
    }
    assert_eq!(session.close().await.code, CloseCode::ClosedByClient);
}

#[tokio::test]
async fn a_request_waits_for_a_connection_only_if_it_says_so() {
    let broker = broker(RECONNECT).await;
    let proxy = proxy(&broker.url, Faults::default()).await;
    let session = open(&url(proxy.address())).await;
    let messaging = session.messaging();
    answer(&messaging, "a", "answer").await;
    let mut events = session.events();
    // The next connection is made and nothing comes of it.
    proxy.freeze();
    proxy.cut_all(Ending::Reset);
    assert!(matches!(next(&mut events).await, SessionEvent::Disconnected { .. }));
    assert_eq!(ask(&messaging, "a").await.expect_err("no connection").code(), "NOT_CONNECTED");
    let patient = || messaging.send_request_to_path("a", "?").when_disconnected(WhenDisconnected::Wait);
    let error = patient().timeout(Duration::from_millis(10)).await.expect_err("no connection");
    assert_eq!((error.code().as_ref(), error.outcome()), ("TIMED_OUT", Outcome::NotSent));
    let id = session.id();
    let patient = patient().timeout(LONG).into_future();
    let thawing = async {
        proxy.thaw();
        next(&mut events).await
    };
    let (answer, event) = tokio::join!(patient, thawing);
    assert_eq!(answer.expect("answered").decode::<String>().as_deref(), Ok("answer"));
    assert_eq!(event, SessionEvent::Reconnected { session: id, lossless: true, new_session: false });
    session.close().await;
    assert!(matches!(next(&mut events).await, SessionEvent::Closed(_)));
    assert_eq!(events.next().await, None);
    assert_eq!(session.events().next().await, None);
}

/// A broker in a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
    /// Open, since the test program in it ends when it cannot say what it has to say.
    _output: BufReader<ChildStdout>,
}

/// Where it is to listen, and for how many seconds it keeps sessions.
const BROKER: &str = "ANTIPHON_TEST_BROKER";

impl Process {
    async fn start(listen: SocketAddr, reconnect_timeout: Duration) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "the_broker_of_other_tests", "--ignored", "--nocapture"]);
        command.env(BROKER, format!("{listen} {}", reconnect_timeout.as_secs()));
        // With one heap for each thread, glibc takes more and more memory for a program that keeps no more.
        command.env("MALLOC_ARENA_MAX", "1");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let find = move || {
            let mut lines = output.by_ref().lines().map_while(Result::ok);
            let address = lines.find_map(|line| line.rsplit_once("listening on ")?.1.parse().ok());
            (address, output)
        };
        let (address, output) = tokio::task::spawn_blocking(find).await.expect("no panic");
        Self { child, address: address.expect("it listens"), _output: output }
    }

    /// Ends it without a chance to say anything.
    fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "other tests start it, in a process of its own"]
fn the_broker_of_other_tests() {
    let Ok(settings) = std::env::var(BROKER) else { return };
    let (listen, seconds) = settings.split_once(' ').expect("two settings");
    let reconnect_timeout = Duration::from_secs(seconds.parse().expect("seconds"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await.expect("a free port");
        println!("listening on {}", listener.local_addr().expect("an address"));
        let config = BrokerConfig { reconnect_timeout, server: fastrand::u64(..), ..BrokerConfig::default() };
        let broker = Broker::new(config, Access::development());
        serve(vec![listener], Server::development(broker), std::future::pending()).await;
    });
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_broker_is_killed_and_comes_back_all_sessions_return_one_after_the_other() {
    let _alone = alone().await;
    let (sessions, handlers) = (980, 20);
    let (before, away) = (Duration::from_millis(500), Duration::from_secs(2));
    let after = Duration::from_secs(if is_long() { 15 } else { 6 });
    let mut broker = Process::start(any_port(), RECONNECT).await;
    let plan = Plan {
        sessions,
        handlers: 0,
        rate: Rate::PerSecond(400.0),
        ..plan(url(broker.address), 7, before + away + after)
    };
    // With 1,000 answers to each, requests to filters would be most of the work.
    let plan = Plan { kinds: vec![Kind::Session], ..plan };
    let load = Load::open(&plan).await.expect("sessions");
    let mut answerers = Vec::new();
    for number in 0..handlers {
        let session = open(&plan.url).await;
        answer(&session.messaging(), &format!("of/{number}"), "here").await;
        answerers.push((session.events(), session));
    }
    let restarting = async {
        sleep(before).await;
        broker.kill();
        sleep(away).await;
        let address = broker.address;
        broker = Process::start(address, RECONNECT).await;
        let back_at = Instant::now();
        for (events, _) in &mut answerers {
            assert!(!reconnected(events).await);
        }
        let asker = open(&url(address)).await;
        for number in 0..handlers {
            let answer = ask(&asker.messaging(), &format!("of/{number}")).await;
            assert_eq!(answer, Ok("here".to_owned()));
        }
        println!("{handlers} handlers are back {:?} after the broker", back_at.elapsed());
    };
    let (report, ()) = tokio::join!(load.run(), restarting);
    println!("{report}");
    assert!(report.holds(), "{report}");
    let recovery = report.recovery;
    assert_eq!((report.sessions_lost, recovery.handlers_lost), (0, 0), "{report}");
    assert!(recovery.disconnections >= sessions && recovery.reconnections == recovery.disconnections, "{report}");
    assert!(Duration::from_micros(recovery.latency.max) <= away + Duration::from_secs(10), "{report}");
    assert!(recovery.most_in_100_ms <= sessions / 5, "{report}");
}

/// Resident memory of a process, in KiB.
#[cfg(target_os = "linux")]
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a Linux with /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn cuts_leave_nothing_in_memory() {
    let _alone = alone().await;
    let (rounds, duration) = if is_long() { (4, 15) } else { (2, 2) };
    let duration = Duration::from_secs(duration);
    let brokers = [Process::start(any_port(), RECONNECT).await, Process::start(any_port(), Duration::ZERO).await];
    let round = async |number: usize| {
        let loads = brokers.iter().enumerate().map(async |(index, broker)| {
            let faults =
                Faults { seed: number as u64, endings: vec![Ending::Reset, Ending::Close], ..Faults::default() };
            let proxy = proxy(&url(broker.address), faults).await;
            let plan = plan(url(proxy.address()), (10 * number + index) as u64, duration);
            let load = Load::open(&plan).await.expect("sessions");
            let cutting = proxy.cut_some(Schedule { per_second: 20.0, at_once: 1, most: None });
            let report = tokio::select! {
                report = load.run() => report,
                () = cutting => unreachable!("it does not end"),
            };
            assert!(report.holds(), "{report}");
            assert!(report.recovery.disconnections > 0, "{report}");
        });
        futures_util::future::join_all(loads).await;
        [std::process::id(), brokers[0].child.id(), brokers[1].child.id()].map(resident)
    };
    let mut after = Vec::new();
    for number in 1..=rounds {
        after.push(round(number).await);
    }
    // What is kept for good is there after half of the rounds.
    for (index, who) in ["clients", "broker", "forgetful broker"].iter().enumerate() {
        let resident: Vec<_> = after.iter().map(|after| after[index]).collect();
        println!("{who}: {resident:?} KiB after each round");
        let (early, last) = (resident[rounds / 2 - 1], resident[rounds - 1]);
        assert!(last <= early + early / 5 + 4096, "{who}: {resident:?} KiB after each round");
    }
}
