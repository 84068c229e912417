//! The report of a load, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::plan::Kind;

/// The result of a run.
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

/// The recovery of lost connections, if sessions reconnect.
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

/// The results of the requests of one kind.
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

impl Latency {
    /// In milliseconds, in columns.
    fn columns(self) -> String {
        [self.p50, self.p90, self.p99, self.max].map(|time| format!(" {:>10.3}", time as f64 / 1000.0)).concat()
    }
}
