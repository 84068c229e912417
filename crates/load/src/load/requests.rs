//! The requests of a load: each is sent, waited for, and accounted for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_client::{Ask, Messaging, Outcome, RequestError, Retry, Value, WhenDisconnected};
use fastrand::Rng;
use futures_util::StreamExt;

use super::plan::{Kind, Plan};
use super::report::KindReport;
use super::sessions::{PROPERTY, Sessions, stamped};
use super::tally::RequestTally;
use crate::ledger::{EntryId, Ledger, Recipients, Stamp};
use crate::lock::lock;

/// Sends requests from one session of a load to others.
pub(super) struct Requests {
    sessions: Arc<Sessions>,
    ledger: Arc<Ledger>,
    kinds: Vec<Kind>,
    path: String,
    filter: String,
    timeout: Duration,
    when_disconnected: WhenDisconnected,
    attempts: Option<u32>,
    /// What all keys of this load begin with.
    seed: u64,
    value_size: usize,
    tallies: Mutex<BTreeMap<Kind, RequestTally>>,
}

impl Requests {
    pub fn new(plan: &Plan, path: String, sessions: Arc<Sessions>, ledger: Arc<Ledger>) -> Self {
        Self {
            sessions,
            ledger,
            kinds: plan.kinds.clone(),
            path,
            filter: plan.filter.clone().unwrap_or_else(|| format!("{PROPERTY} is '{}'", plan.seed)),
            timeout: plan.timeout,
            when_disconnected: if plan.reconnect.is_zero() { WhenDisconnected::Fail } else { WhenDisconnected::Wait },
            attempts: plan.attempts,
            seed: plan.seed,
            value_size: plan.value_size,
            tallies: Mutex::default(),
        }
    }

    /// Sends one request and waits for its end.
    pub async fn send(&self, sender: usize, mut random: Rng) {
        let kind = self.kinds[random.usize(..self.kinds.len())];
        let messaging = self.sessions.get(sender).messaging();
        let (entry, outcome) = match kind {
            Kind::Path => {
                let (entry, value) = self.begin(Recipients::Any);
                let outcome = self.ask(entry, messaging.send_request_to_path(&self.path, value)).await;
                (entry, outcome.map(|value| self.take_answer(kind, entry, &value, None)))
            }
            Kind::Session => {
                let recipient = random.usize(..self.sessions.len());
                let (entry, value) = self.begin(Recipients::One(recipient));
                let asked = messaging.send_request_to_session(&self.path, self.sessions.get(recipient).id(), value);
                let outcome = self.ask(entry, asked).await;
                (entry, outcome.map(|value| self.take_answer(kind, entry, &value, None)))
            }
            Kind::Filter => {
                let all = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
                let (entry, value) = self.begin(Recipients::All(all));
                (entry, self.send_to_filter(&messaging, entry, value).await)
            }
        };
        self.end(kind, entry, outcome);
    }

    async fn ask(&self, entry: EntryId, mut asked: Ask) -> Result<Value, RequestError> {
        if let Some(attempts) = self.attempts {
            asked = asked.idempotency_key(format!("{}/{}", self.seed, entry.0)).retry(Retry::attempts(attempts));
        }
        asked.timeout(self.timeout).when_disconnected(self.when_disconnected).await
    }

    /// What came of all of them so far.
    pub fn report(&self) -> BTreeMap<Kind, KindReport> {
        lock(&self.tallies).iter().map(|(kind, tally)| (*kind, tally.report())).collect()
    }

    async fn send_to_filter(&self, messaging: &Messaging, entry: EntryId, value: Value) -> Result<(), RequestError> {
        let asked = messaging.gather(&self.filter, &self.path, value);
        let mut responses = asked.timeout(self.timeout).when_disconnected(self.when_disconnected).await?;
        self.ledger.matched(entry, responses.expected());
        while let Some(response) = responses.next().await {
            let response = response?;
            let from = self.sessions.number_of(response.session);
            match response.outcome {
                Ok(value) => self.take_answer(Kind::Filter, entry, &value, from),
                Err(error) => {
                    if no_handler_ran(&error) {
                        self.ledger.unhandled(entry, from);
                    }
                    self.ledger.failed(entry, from);
                    self.tally(Kind::Filter, |tally| tally.count_error(&error));
                }
            }
        }
        Ok(())
    }

    fn begin(&self, to: Recipients) -> (EntryId, Value) {
        let entry = self.ledger.sent(to, self.timeout);
        (entry, stamped(Stamp { request: entry, recipient: None }, self.value_size))
    }

    fn take_answer(&self, kind: Kind, entry: EntryId, value: &Value, from: Option<usize>) {
        self.ledger.answered(entry, Stamp::from_bytes(value.bytes()), from);
        self.tally(kind, RequestTally::count_answer);
    }

    fn end(&self, kind: Kind, entry: EntryId, outcome: Result<(), RequestError>) {
        if outcome.as_ref().is_err_and(no_handler_ran) {
            self.ledger.unhandled(entry, None);
        }
        let took = self.ledger.settled(entry, outcome.is_ok());
        self.tally(kind, |tally| {
            tally.count_request(took);
            if let Err(error) = &outcome {
                tally.count_error(error);
            }
        });
    }

    fn tally(&self, kind: Kind, change: impl FnOnce(&mut RequestTally)) {
        change(lock(&self.tallies).entry(kind).or_default());
    }
}

/// Whether an error tells the sender that no handler was given the request.
fn no_handler_ran(error: &RequestError) -> bool {
    matches!(error.outcome(), Outcome::NotSent | Outcome::Refused)
}
