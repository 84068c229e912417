//! The sessions of a load: they are opened together, answer what the load sends, and may lose their connections.

use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_client::{
    ConnectError, ErrorReason, Events, Options, Rejection, Request, RequestError, Session, SessionEvent, SessionId,
    State, Value, connect,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::plan::Plan;
use super::report::Recovery;
use super::tally::RecoveryTally;
use crate::ledger::{Ledger, Stamp};
use crate::lock::lock;

/// The session property that the default filter asks for; its value is the seed.
pub(super) const PROPERTY: &str = "load";

/// Sessions that are being opened or closed at the same time.
const PARALLEL: usize = 64;

/// Thousands of sessions that connect to a busy machine take their time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// An error that prevents the load.
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

/// All sessions of a load. Each has a number, from 0.
pub(super) struct Sessions {
    all: Vec<Session>,
    /// Their numbers by all IDs that they ever had.
    numbers: Mutex<HashMap<SessionId, usize>>,
    /// Whether those that lose their connection get another one.
    reconnect: bool,
    recoveries: Mutex<RecoveryTally>,
}

impl Sessions {
    /// Opens the sessions of a plan, those that send first. What they answer at `path` goes into the ledger.
    pub async fn open(plan: &Plan, path: &str, ledger: &Arc<Ledger>) -> Result<Self, LoadError> {
        let open = |number| open(plan, number, path, ledger.clone());
        let opening = stream::iter(0..plan.sessions + plan.handlers).map(open).buffered(PARALLEL);
        // The first failure ends it: all are needed.
        let all: Vec<_> = opening.try_collect().await?;
        let numbers = all.iter().enumerate().map(|(number, session)| (session.id(), number)).collect();
        let reconnect = !plan.reconnect.is_zero();
        Ok(Self { all, numbers: Mutex::new(numbers), reconnect, recoveries: Mutex::default() })
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, number: usize) -> &Session {
        &self.all[number]
    }

    pub fn is_closed(&self, number: usize) -> bool {
        self.all[number].state() == State::Closed
    }

    /// How many have ended.
    pub fn closed(&self) -> usize {
        (0..self.len()).filter(|number| self.is_closed(*number)).count()
    }

    /// The number of the session that has this ID, or ever had it.
    pub fn number_of(&self, id: SessionId) -> Option<usize> {
        let mut numbers = lock(&self.numbers);
        if let Some(known) = numbers.get(&id) {
            return Some(*known);
        }
        // A session may answer before we have heard that it has a new ID. And if a connection was cut at the wrong
        // moment, the server has opened a session of which no client ever heard: that one can only fail.
        let known = self.all.iter().position(|session| session.id() == id);
        let number = known.or_else(|| self.reconnect.then_some(numbers.len() + self.len()))?;
        numbers.insert(id, number);
        Some(number)
    }

    /// Keeps account of all connections, in tasks that end with the sessions.
    pub fn watch(self: &Arc<Self>) -> JoinSet<()> {
        let watch = |(number, session): (usize, &Session)| self.clone().watch_one(number, session.events());
        self.all.iter().enumerate().map(watch).collect()
    }

    async fn watch_one(self: Arc<Self>, number: usize, mut events: Events) {
        let mut lost_at = Instant::now();
        while let Some(event) = events.next().await {
            match event {
                SessionEvent::Disconnected { .. } => lost_at = Instant::now(),
                SessionEvent::Reconnected { session, .. } => drop(lock(&self.numbers).insert(session, number)),
                _ => {}
            }
            lock(&self.recoveries).count(&event, lost_at);
        }
    }

    pub async fn close(&self) {
        stream::iter(&self.all).for_each_concurrent(PARALLEL, async |session| drop(session.close().await)).await;
    }

    pub fn recovery(&self) -> Recovery {
        lock(&self.recoveries).report()
    }
}

/// Opens and prepares one session.
async fn open(plan: &Plan, number: usize, path: &str, ledger: Arc<Ledger>) -> Result<Session, LoadError> {
    let mut options = Options::new()
        .connect_timeout(CONNECT_TIMEOUT)
        .reconnect_timeout(plan.reconnect)
        .batching(plan.batching)
        .property(PROPERTY, plan.seed.to_string());
    if plan.attempts.is_some() {
        options = options.principal("control").password("password");
    }
    let handlers_url = plan.handlers_url.as_ref().filter(|_| number >= plan.sessions);
    let session = connect(handlers_url.unwrap_or(&plan.url), options).await.map_err(LoadError::Connect)?;
    let messaging = session.messaging();
    let size = plan.value_size;
    let handler = move |request: Request| ready(answer(&ledger, &request, number, size));
    messaging.add_stream_handler(path, handler.clone()).addressed(true).await.map_err(LoadError::Register)?;
    if number >= plan.sessions {
        // It stays as long as the session.
        messaging.add_request_handler(path, handler).await.map_err(LoadError::Register)?;
    }
    Ok(session)
}

fn answer(ledger: &Ledger, received: &Request, number: usize, size: usize) -> Result<Value, Rejection> {
    let stamp = Stamp::from_bytes(received.value().bytes());
    ledger.handled(stamp, number);
    match stamp {
        Some(Stamp { request, .. }) => Ok(stamped(Stamp { request, recipient: Some(number) }, size)),
        None => Err(Rejection::with_reason(ErrorReason::INVALID_DATA, "the request is not one of this load")),
    }
}

/// A value that says `stamp` and has `size` bytes.
pub(super) fn stamped(stamp: Stamp, size: usize) -> Value {
    Value::binary(stamp.to_bytes(size))
}
