//! Load on a broker, of many sessions in one process, with an account of every request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_client::{
    ConnectError, ErrorReason, Events, Messaging, Options, Rejection, Request, RequestError, Session, SessionEvent,
    SessionId, State, Value, WhenDisconnected, connect,
};
use fastrand::Rng;
use futures_util::{StreamExt, TryStreamExt, stream};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ledger::{EntryId, Ledger, Recipients, Stamp, Verdict};
use crate::lock::lock;

/// What load to make.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of the broker's WebSocket.
    pub url: String,
    /// Sessions that send; at least 1. They and those that handle answer what is sent to a session or a filter.
    pub sessions: usize,
    /// Further sessions, with a request handler each, all at the same path.
    pub handlers: usize,
    /// How fast to send.
    pub rate: Rate,
    /// How long to send. What is pending then is waited for.
    pub duration: Duration,
    /// How long sessions try to get another connection when they lose theirs, and requests wait for it. Zero for not at
    /// all.
    pub reconnect: Duration,
    /// What each request is allowed.
    pub timeout: Duration,
    /// Of requests and responses, in bytes; at least [`Stamp::SIZE`].
    pub value_size: usize,
    /// What is sent: one of these at a time, each as likely as it occurs here. Not empty.
    pub kinds: Vec<Kind>,
    /// For requests to filters: must match exactly the sessions of this load. By default it does.
    pub filter: Option<String>,
    /// Decides what is sent by whom to whom. Also makes path and default filter those of this load alone.
    pub seed: u64,
}

/// How fast requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many a second, whether or not earlier ones have come to their end; more than 0.
    PerSecond(f64),
    /// As fast as it goes: each session that sends has this many under way at any time; at least 1.
    InFlight(usize),
}

/// How requests are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To one of the handlers.
    Path,
    /// To one of all sessions.
    Session,
    /// To all sessions.
    Filter,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// As in the plan.
    pub seed: u64,
    /// Sessions that were opened: all.
    pub sessions: usize,
    /// Those that ended before the load did, for example because the broker closed them. Not a violation by itself.
    pub sessions_lost: usize,
    /// How long it took to open all sessions, in milliseconds.
    pub connect_ms: u64,
    /// How long requests were under way, in milliseconds.
    pub load_ms: u64,
    /// All requests, whatever came of them.
    pub requests: u64,
    /// Requests in each second in which they were under way.
    pub requests_per_second: f64,
    /// What was sent, and what came of it.
    pub kinds: BTreeMap<Kind, KindReport>,
    /// What became of lost connections.
    pub recovery: Recovery,
    /// How often what must not happen did, by name.
    pub violations: BTreeMap<&'static str, u64>,
    /// Some of them, described.
    pub examples: Vec<String>,
}

/// What became of the connections that were lost, if sessions reconnect.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Recovery {
    /// How often a session lost its connection.
    pub disconnections: usize,
    /// How often a session got another one. The rest are sessions that have ended, or have none at the end.
    pub reconnections: usize,
    /// Reconnections with which nothing was lost.
    pub lossless: usize,
    /// Those with which messages were lost; of these, those with which the server opened a new session.
    pub lossy: usize,
    /// See above.
    pub new_sessions: usize,
    /// Requests that failed because of that.
    pub requests_failed: usize,
    /// Request handlers that were lost, and not taken again by the server.
    pub handlers_lost: usize,
    /// Most reconnections within 100 ms.
    pub most_in_100_ms: usize,
    /// From losing a connection to the next one.
    pub latency: Latency,
}

/// What came of the requests of one kind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KindReport {
    /// How many were sent.
    pub requests: u64,
    /// Answers; many to one request to a filter.
    pub answers: u64,
    /// Errors by code, those of single recipients of a filter included.
    pub errors: BTreeMap<String, u64>,
    /// From sending to the last answer, or the error.
    pub latency: Latency,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// Half of them are at most this.
    pub p50: u64,
    /// 9 of 10.
    pub p90: u64,
    /// 99 of 100.
    pub p99: u64,
    /// All.
    pub max: u64,
}

/// Why no load could be made.
#[derive(Debug, PartialEq)]
pub enum LoadError {
    /// A session could not be opened.
    Connect(ConnectError),
    /// A handler could not be registered.
    Register(RequestError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "a session could not be opened: {}: {error}", error.code.as_str()),
            Self::Register(error) => write!(f, "a handler could not be registered: {}: {error}", error.code()),
        }
    }
}

impl std::error::Error for LoadError {}

/// Sessions that are being opened or closed at the same time.
const PARALLEL: usize = 64;

/// How late a request may end. Wide, since the machine may be busy with the load itself.
const GRACE: Duration = Duration::from_secs(1);

/// Makes load and reports what came of it.
///
/// # Errors
///
/// [`LoadError`] if not all of the sessions could be opened and prepared; nothing was sent then.
pub async fn run(plan: &Plan) -> Result<Report, LoadError> {
    Ok(Load::open(plan).await?.run().await)
}

/// Sessions that are ready to send.
pub struct Load {
    plan: Plan,
    crew: Arc<Crew>,
    opened_in: Duration,
    /// Those who look after the connections.
    watching: JoinSet<()>,
}

impl Load {
    /// Opens the sessions of a plan.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if not all of them could be opened and prepared.
    pub async fn open(plan: &Plan) -> Result<Self, LoadError> {
        let start = Instant::now();
        let ledger = Arc::new(Ledger::new(GRACE));
        let path = format!("load/{}", plan.seed);
        let open = |index| open(plan, index, path.clone(), ledger.clone());
        let opening = stream::iter(0..plan.sessions + plan.handlers).map(open).buffer_unordered(PARALLEL);
        // The first failure ends it: all are needed.
        let mut opened: Vec<_> = opening.try_collect().await?;
        opened.sort_unstable_by_key(|(index, _)| *index);
        let sessions: Vec<_> = opened.into_iter().map(|(_, session)| session).collect();
        let by_id = sessions.iter().enumerate().map(|(index, session)| (session.id(), index)).collect();
        let crew = Arc::new(Crew {
            senders: plan.sessions,
            by_id: Mutex::new(by_id),
            filter: plan.filter.clone().unwrap_or_else(|| format!("{PROPERTY} is '{}'", plan.seed)),
            sessions,
            path,
            timeout: plan.timeout,
            when_disconnected: if plan.reconnect.is_zero() { WhenDisconnected::Fail } else { WhenDisconnected::Wait },
            value_size: plan.value_size,
            kinds: plan.kinds.clone(),
            ledger,
            tally: Mutex::default(),
            recoveries: Mutex::default(),
        });
        let watch = |(index, session): (usize, &Session)| watch(crew.clone(), index, session.events());
        let watching = crew.sessions.iter().enumerate().map(watch).collect();
        Ok(Self { plan: plan.clone(), crew, opened_in: start.elapsed(), watching })
    }

    /// Sends what is planned, closes the sessions, and reports.
    pub async fn run(mut self) -> Report {
        let (plan, crew) = (&self.plan, &self.crew);
        let start = Instant::now();
        match plan.rate {
            Rate::PerSecond(rate) => send_at_rate(crew, rate, plan).await,
            Rate::InFlight(count) => send_in_flight(crew, count, plan).await,
        }
        let load = start.elapsed();
        let sessions_lost = crew.sessions.iter().filter(|session| is_closed(session)).count();
        stream::iter(&crew.sessions).for_each_concurrent(PARALLEL, async |session| drop(session.close().await)).await;
        while self.watching.join_next().await.is_some() {}
        crew.report(plan, sessions_lost, self.opened_in, load)
    }
}

/// Keeps account of the connections of one session, to its end.
async fn watch(crew: Arc<Crew>, index: usize, mut events: Events) {
    let mut lost_at = Instant::now();
    while let Some(event) = events.next().await {
        let mut recoveries = lock(&crew.recoveries);
        match event {
            SessionEvent::Disconnected { .. } => {
                lost_at = Instant::now();
                recoveries.disconnections += 1;
            }
            SessionEvent::MessagesLost { requests, .. } => recoveries.requests_failed += requests,
            SessionEvent::HandlerLost { .. } => recoveries.handlers_lost += 1,
            SessionEvent::Reconnected { session, lossless, new_session } => {
                recoveries.reconnected.push((Instant::now(), lost_at.elapsed()));
                recoveries.lossless += usize::from(lossless);
                recoveries.new_sessions += usize::from(new_session);
                lock(&crew.by_id).insert(session, index);
            }
            _ => {}
        }
    }
}

/// Opens and prepares one session.
async fn open(plan: &Plan, index: usize, path: String, ledger: Arc<Ledger>) -> Result<(usize, Session), LoadError> {
    let options = Options::new()
        .connect_timeout(CONNECT_TIMEOUT)
        .reconnect_timeout(plan.reconnect)
        .property(PROPERTY, plan.seed.to_string());
    let session = connect(&plan.url, options).await.map_err(LoadError::Connect)?;
    let messaging = session.messaging();
    let size = plan.value_size;
    let handler = move |request: Request| ready(answer(&ledger, &request, index, size));
    messaging.add_stream_handler(&path, handler.clone()).addressed(true).await.map_err(LoadError::Register)?;
    if index >= plan.sessions {
        // It stays as long as the session.
        messaging.add_request_handler(&path, handler).await.map_err(LoadError::Register)?;
    }
    Ok((index, session))
}

fn answer(ledger: &Ledger, received: &Request, index: usize, size: usize) -> Result<Value, Rejection> {
    let stamp = Stamp::from_bytes(received.value().bytes());
    ledger.handled(stamp, index);
    match stamp {
        Some(Stamp { request, .. }) => Ok(value(Stamp { request, recipient: Some(index) }, size)),
        None => Err(Rejection::with_reason(ErrorReason::INVALID_DATA, "the request is not one of this load")),
    }
}

fn is_closed(session: &Session) -> bool {
    session.state() == State::Closed
}

fn value(stamp: Stamp, size: usize) -> Value {
    Value::binary(stamp.to_bytes(size))
}

/// The session property that the default filter asks for.
const PROPERTY: &str = "load";

/// Thousands of sessions that connect to a busy machine take their time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Sends at moments that are fixed beforehand, so that a slow broker does not get less to do.
async fn send_at_rate(crew: &Arc<Crew>, rate: f64, plan: &Plan) {
    let mut random = Rng::with_seed(plan.seed);
    let mut under_way = JoinSet::new();
    let start = Instant::now();
    let mut number = 0_u64;
    loop {
        let due = start + Duration::from_secs_f64(number as f64 / rate);
        if due >= start + plan.duration {
            break;
        }
        sleep_until(due).await;
        let sender = random.usize(..crew.senders);
        let random = random.fork();
        let crew = crew.clone();
        under_way.spawn(async move { crew.send(sender, random).await });
        while under_way.try_join_next().is_some() {}
        number += 1;
    }
    while under_way.join_next().await.is_some() {}
}

/// Sends the next request when the one before has come to its end, in as many lines as there may be requests under way.
async fn send_in_flight(crew: &Arc<Crew>, count: usize, plan: &Plan) {
    let mut random = Rng::with_seed(plan.seed);
    let end = Instant::now() + plan.duration;
    let mut lines = JoinSet::new();
    for sender in (0..crew.senders).flat_map(|sender| std::iter::repeat_n(sender, count)) {
        let mut random = random.fork();
        let crew = crew.clone();
        lines.spawn(async move {
            while Instant::now() < end && !is_closed(&crew.sessions[sender]) {
                crew.send(sender, random.fork()).await;
            }
        });
    }
    while lines.join_next().await.is_some() {}
}

/// The sessions and what they do.
struct Crew {
    /// Those that send come first.
    sessions: Vec<Session>,
    senders: usize,
    /// Of all IDs that they ever had.
    by_id: Mutex<HashMap<SessionId, usize>>,
    path: String,
    filter: String,
    timeout: Duration,
    when_disconnected: WhenDisconnected,
    value_size: usize,
    kinds: Vec<Kind>,
    ledger: Arc<Ledger>,
    tally: Mutex<BTreeMap<Kind, Tally>>,
    recoveries: Mutex<Recoveries>,
}

#[derive(Default)]
struct Recoveries {
    disconnections: usize,
    /// When, and how long after the loss.
    reconnected: Vec<(Instant, Duration)>,
    lossless: usize,
    new_sessions: usize,
    requests_failed: usize,
    handlers_lost: usize,
}

struct Tally {
    requests: u64,
    answers: u64,
    errors: BTreeMap<String, u64>,
    /// In microseconds.
    latency: Histogram<u64>,
}

impl Crew {
    /// Sends one request and waits for its end.
    async fn send(&self, sender: usize, mut random: Rng) {
        let kind = self.kinds[random.usize(..self.kinds.len())];
        let messaging = self.sessions[sender].messaging();
        let outcome = match kind {
            Kind::Path => {
                let (request, value) = self.begin(Recipients::Any);
                let asked = messaging.send_request_to_path(&self.path, value);
                let outcome = asked.timeout(self.timeout).when_disconnected(self.when_disconnected).await;
                (request, outcome.map(|value| self.take_answer(kind, request, &value, None)))
            }
            Kind::Session => {
                let recipient = random.usize(..self.sessions.len());
                let (request, value) = self.begin(Recipients::One(recipient));
                let to = self.sessions[recipient].id();
                let asked = messaging.send_request_to_session(&self.path, to, value);
                let outcome = asked.timeout(self.timeout).when_disconnected(self.when_disconnected).await;
                (request, outcome.map(|value| self.take_answer(kind, request, &value, None)))
            }
            Kind::Filter => {
                let all = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
                let (request, value) = self.begin(Recipients::All(all));
                (request, self.send_to_filter(&messaging, request, value).await)
            }
        };
        self.settle(kind, outcome);
    }

    async fn send_to_filter(&self, messaging: &Messaging, request: EntryId, value: Value) -> Result<(), RequestError> {
        let asked = messaging.gather(&self.filter, &self.path, value);
        let mut responses = asked.timeout(self.timeout).when_disconnected(self.when_disconnected).await?;
        self.ledger.matched(request, responses.expected());
        while let Some(response) = responses.next().await {
            let response = response?;
            let from = self.session_with(response.session);
            match response.outcome {
                Ok(value) => self.take_answer(Kind::Filter, request, &value, from),
                Err(error) => {
                    self.ledger.failed(request, from);
                    self.tally(Kind::Filter, |tally| tally.count_error(&error));
                }
            }
        }
        Ok(())
    }

    /// The number of the session that has this ID, or ever had it.
    fn session_with(&self, id: SessionId) -> Option<usize> {
        let mut by_id = lock(&self.by_id);
        if let Some(known) = by_id.get(&id) {
            return Some(*known);
        }
        // A session may answer before we have heard that it has a new ID. And if a connection was cut at the wrong
        // moment, the server has opened a session of which no client ever heard: that one can only fail.
        let known = self.sessions.iter().position(|session| session.id() == id);
        let new = || (self.when_disconnected == WhenDisconnected::Wait).then_some(by_id.len() + self.sessions.len());
        let number = known.or_else(new)?;
        by_id.insert(id, number);
        Some(number)
    }

    fn begin(&self, to: Recipients) -> (EntryId, Value) {
        let request = self.ledger.sent(to, self.timeout);
        (request, value(Stamp { request, recipient: None }, self.value_size))
    }

    fn take_answer(&self, kind: Kind, request: EntryId, value: &Value, from: Option<usize>) {
        self.ledger.answered(request, Stamp::from_bytes(value.bytes()), from);
        self.tally(kind, |tally| tally.answers += 1);
    }

    fn settle(&self, kind: Kind, (request, outcome): (EntryId, Result<(), RequestError>)) {
        let took = self.ledger.settled(request, outcome.is_ok());
        self.tally(kind, |tally| {
            tally.requests += 1;
            record(&mut tally.latency, took);
            if let Err(error) = outcome {
                tally.count_error(&error);
            }
        });
    }

    fn tally(&self, kind: Kind, change: impl FnOnce(&mut Tally)) {
        change(lock(&self.tally).entry(kind).or_insert_with(Tally::new));
    }

    fn report(&self, plan: &Plan, sessions_lost: usize, connect: Duration, load: Duration) -> Report {
        let kinds: BTreeMap<_, _> = lock(&self.tally).iter().map(|(kind, tally)| (*kind, tally.report())).collect();
        let requests = kinds.values().map(|kind| kind.requests).sum();
        let recovery = lock(&self.recoveries).report();
        // Filters do not match sessions that have no connection.
        let lost = sessions_lost + recovery.disconnections;
        let Verdict { violations, examples } = self.ledger.verdict(u32::try_from(lost).unwrap_or(u32::MAX));
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Report {
            seed: plan.seed,
            sessions: self.sessions.len(),
            sessions_lost,
            connect_ms: milliseconds(connect),
            load_ms: milliseconds(load),
            requests,
            requests_per_second: requests as f64 / load.as_secs_f64(),
            kinds,
            recovery,
            violations: violations.into_iter().map(|(violation, count)| (violation.as_str(), count)).collect(),
            examples,
        }
    }
}

/// Latencies above this are reported as this: an hour, in microseconds.
const LONGEST_LATENCY: u64 = 3_600_000_000;

impl Recoveries {
    fn report(&self) -> Recovery {
        let mut times: Vec<_> = self.reconnected.iter().map(|(at, _)| *at).collect();
        times.sort_unstable();
        let until = |at: Instant| times.partition_point(|time| *time < at + Duration::from_millis(100));
        let mut latency = latencies();
        for (_, took) in &self.reconnected {
            record(&mut latency, *took);
        }
        Recovery {
            disconnections: self.disconnections,
            reconnections: times.len(),
            lossless: self.lossless,
            lossy: times.len() - self.lossless,
            new_sessions: self.new_sessions,
            requests_failed: self.requests_failed,
            handlers_lost: self.handlers_lost,
            most_in_100_ms: times.iter().enumerate().map(|(first, at)| until(*at) - first).max().unwrap_or(0),
            latency: Latency::of(&latency),
        }
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_LATENCY, 3).expect("bounds that a histogram can have")
}

fn record(latencies: &mut Histogram<u64>, took: Duration) {
    latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: latencies.max() }
    }

    /// In milliseconds, in columns.
    fn columns(self) -> String {
        [self.p50, self.p90, self.p99, self.max].map(|time| format!(" {:>10.3}", time as f64 / 1000.0)).concat()
    }
}

impl Tally {
    fn new() -> Self {
        Self { requests: 0, answers: 0, errors: BTreeMap::new(), latency: latencies() }
    }

    fn count_error(&mut self, error: &RequestError) {
        *self.errors.entry(error.code().into_owned()).or_default() += 1;
    }

    fn report(&self) -> KindReport {
        let latency = Latency::of(&self.latency);
        KindReport { requests: self.requests, answers: self.answers, errors: self.errors.clone(), latency }
    }
}

impl Report {
    /// Whether every request came to exactly one end.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sessions, sessions_lost, connect_ms, load_ms, requests, requests_per_second, .. } = self;
        writeln!(f, "seed      {}", self.seed)?;
        writeln!(f, "sessions  {sessions} opened in {connect_ms} ms, {sessions_lost} lost")?;
        writeln!(f, "requests  {requests} in {load_ms} ms, {requests_per_second:.0}/s")?;
        writeln!(f)?;
        writeln!(f, "kind      requests    answers     errors     p50 ms     p90 ms     p99 ms     max ms")?;
        for (kind, KindReport { requests, answers, errors, latency }) in &self.kinds {
            let errors: u64 = errors.values().sum();
            writeln!(f, "{:7} {requests:>10} {answers:>10} {errors:>10}{}", kind.as_str(), latency.columns())?;
        }
        writeln!(f)?;
        self.recovery.describe(f)?;
        for (kind, report) in &self.kinds {
            for (code, count) in &report.errors {
                writeln!(f, "error     {count} times {code}, {}", kind.as_str())?;
            }
        }
        for (violation, count) in &self.violations {
            writeln!(f, "violation {count} times {violation}")?;
        }
        for example in &self.examples {
            writeln!(f, "          {example}")?;
        }
        let holds = if self.holds() { "holds" } else { "does not hold" };
        write!(f, "each request came to exactly one end: this {holds}")
    }
}

impl Recovery {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disconnections, reconnections, lossless, lossy, new_sessions, requests_failed, .. } = self;
        if *disconnections == 0 {
            return Ok(());
        }
        writeln!(f, "connections lost {disconnections}, reconnected {reconnections}, {lossless} of them without loss")?;
        writeln!(f, "with loss {lossy}, of these new sessions {new_sessions}; requests failed {requests_failed}")?;
        writeln!(f, "handlers lost {}; most reconnections in 100 ms {}", self.handlers_lost, self.most_in_100_ms)?;
        writeln!(f, "reconnecting                            {}", self.latency.columns())?;
        writeln!(f)
    }
}

impl Kind {
    /// As on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Session => "session",
            Self::Filter => "filter",
        }
    }
}
