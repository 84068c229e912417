//! Generates load on a broker from many sessions in one process, and accounts for every request.

mod plan;
mod report;
mod requests;
mod sessions;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Ledger, Verdict};
pub use plan::{Kind, Plan, Rate};
pub use report::{KindReport, Latency, Recovery, Report};
use requests::Requests;
pub use sessions::LoadError;
use sessions::Sessions;

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
    sessions: Arc<Sessions>,
    requests: Arc<Requests>,
    ledger: Arc<Ledger>,
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
        let sessions = Arc::new(Sessions::open(plan, &path, &ledger).await?);
        let requests = Arc::new(Requests::new(plan, path, sessions.clone(), ledger.clone()));
        let watching = sessions.watch();
        Ok(Self { plan: plan.clone(), sessions, requests, ledger, opened_in: start.elapsed(), watching })
    }

    /// Sends what is planned, closes the sessions, and reports.
    pub async fn run(mut self) -> Report {
        let start = Instant::now();
        match self.plan.rate {
            Rate::PerSecond(rate) => self.send_at_rate(rate).await,
            Rate::InFlight(count) => self.send_in_flight(count).await,
        }
        let took = start.elapsed();
        let sessions_lost = self.sessions.closed();
        self.sessions.close().await;
        while self.watching.join_next().await.is_some() {}
        self.report(took, sessions_lost)
    }

    /// Sends at moments that are fixed beforehand, so that a slow broker does not get less to do.
    async fn send_at_rate(&self, rate: f64) {
        let mut random = Rng::with_seed(self.plan.seed);
        let mut under_way = JoinSet::new();
        let start = Instant::now();
        let mut number = 0_u64;
        loop {
            let due = start + Duration::from_secs_f64(number as f64 / rate);
            if due >= start + self.plan.duration {
                break;
            }
            sleep_until(due).await;
            let sender = random.usize(..self.plan.sessions);
            let random = random.fork();
            let requests = self.requests.clone();
            under_way.spawn(async move { requests.send(sender, random).await });
            while under_way.try_join_next().is_some() {}
            number += 1;
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Has `count` requests of each sender under way at any time: the next is sent when one has come to its end.
    async fn send_in_flight(&self, count: usize) {
        let mut random = Rng::with_seed(self.plan.seed);
        let end = Instant::now() + self.plan.duration;
        let mut senders = JoinSet::new();
        for sender in (0..self.plan.sessions).flat_map(|sender| std::iter::repeat_n(sender, count)) {
            let mut random = random.fork();
            let (requests, sessions) = (self.requests.clone(), self.sessions.clone());
            senders.spawn(async move {
                while Instant::now() < end && !sessions.is_closed(sender) {
                    requests.send(sender, random.fork()).await;
                }
            });
        }
        while senders.join_next().await.is_some() {}
    }

    fn report(&self, took: Duration, sessions_lost: usize) -> Report {
        let kinds = self.requests.report();
        let requests = kinds.values().map(|kind| kind.requests).sum();
        let recovery = self.sessions.recovery();
        // Filters do not match sessions that have no connection.
        let lost = sessions_lost + recovery.disconnections;
        let Verdict { violations, examples } = self.ledger.verdict(u32::try_from(lost).unwrap_or(u32::MAX));
        let milliseconds = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Report {
            seed: self.plan.seed,
            sessions: self.sessions.len(),
            sessions_lost,
            connect_ms: milliseconds(self.opened_in),
            load_ms: milliseconds(took),
            requests,
            requests_per_second: requests as f64 / took.as_secs_f64(),
            kinds,
            recovery,
            violations: violations.into_iter().map(|(violation, count)| (violation.as_str(), count)).collect(),
            examples,
        }
    }
}
