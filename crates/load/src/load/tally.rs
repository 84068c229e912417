//! Counts and latencies, collected while a load runs.

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_client::{RequestError, SessionEvent};
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::report::{KindReport, Latency, Recovery};

/// Counts the results of the requests of one kind.
#[derive(Default)]
pub(super) struct RequestTally {
    requests: u64,
    answers: u64,
    errors: BTreeMap<String, u64>,
    latencies: Latencies,
}

impl RequestTally {
    pub fn count_answer(&mut self) {
        self.answers += 1;
    }

    pub fn count_error(&mut self, error: &RequestError) {
        *self.errors.entry(error.code().into_owned()).or_default() += 1;
    }

    /// A request has ended.
    pub fn count_request(&mut self, took: Duration) {
        self.requests += 1;
        self.latencies.record(took);
    }

    pub fn report(&self) -> KindReport {
        let Self { requests, answers, errors, latencies } = self;
        KindReport { requests: *requests, answers: *answers, errors: errors.clone(), latency: latencies.report() }
    }
}

/// Counts lost connections and their recovery.
#[derive(Default)]
pub(super) struct RecoveryTally {
    disconnections: usize,
    /// When, and how long after the loss.
    reconnected: Vec<(Instant, Duration)>,
    lossless: usize,
    new_sessions: usize,
    requests_failed: usize,
    handlers_lost: usize,
}

impl RecoveryTally {
    /// Counts an event of a session, which lost its connection at `lost_at`.
    pub fn count(&mut self, event: &SessionEvent, lost_at: Instant) {
        match event {
            SessionEvent::Disconnected { .. } => self.disconnections += 1,
            SessionEvent::MessagesLost { requests, .. } => self.requests_failed += requests,
            SessionEvent::HandlerLost { .. } => self.handlers_lost += 1,
            SessionEvent::Reconnected { lossless, new_session, .. } => {
                self.reconnected.push((Instant::now(), lost_at.elapsed()));
                self.lossless += usize::from(*lossless);
                self.new_sessions += usize::from(*new_session);
            }
            _ => {}
        }
    }

    pub fn report(&self) -> Recovery {
        let mut times: Vec<_> = self.reconnected.iter().map(|(at, _)| *at).collect();
        times.sort_unstable();
        let until = |at: Instant| times.partition_point(|time| *time < at + Duration::from_millis(100));
        let mut latencies = Latencies::default();
        for (_, took) in &self.reconnected {
            latencies.record(*took);
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
            latency: latencies.report(),
        }
    }
}

/// How long things took, in microseconds.
struct Latencies(Histogram<u64>);

/// What takes longer is reported as this: an hour, in microseconds.
const LONGEST_LATENCY: u64 = 3_600_000_000;

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_max(LONGEST_LATENCY, 3).expect("bounds that a histogram can have"))
    }
}

impl Latencies {
    fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn report(&self) -> Latency {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: self.0.max() }
    }
}
