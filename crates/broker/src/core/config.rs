//! The configuration of a broker: durations and limits.

use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::recovery::RecoveryLimits;

use super::path::NormalPath;
use super::proposals::Proposals;
use super::timeouts::PathTimeouts;

/// The configuration of a broker.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// First half of all session IDs of this broker instance.
    pub server: u64,
    /// `$ServerName` of every session.
    pub server_name: String,
    /// How long a recipient has to answer before the sender is told that it does not.
    pub request_timeout: Duration,
    /// The same for requests to some paths, wherever they go: to a path, a session or a filter.
    pub request_timeouts: PathTimeouts,
    /// Time between system pings; zero for none.
    pub ping_period: Duration,
    /// How long a session that is late with an answer has for a sign of life; zero if it is asked for none.
    pub probe_timeout: Duration,
    /// How long a session may outlive a connection at most, whatever its client asks for; zero for not at all.
    pub reconnect_timeout: Duration,
    /// How much of what was sent is kept for each session, for the case that its connection is lost.
    pub recovery: RecoveryLimits,
    /// Most bytes that are kept for that, in all sessions together.
    pub max_recovery_bytes: usize,
    /// Sessions at the same time, with those that have lost their connection.
    pub max_sessions: usize,
    /// How long it may take to find out who somebody is.
    pub login_timeout: Duration,
    /// What sessions may say of themselves.
    pub proposed_properties: Proposals,
    /// Largest message taken from a client, in bytes.
    pub max_message_size: usize,
    /// Requests of one session that may wait for their answers at the same time.
    pub max_outstanding_requests: usize,
    /// Bytes of those requests. A single request may have more.
    pub max_outstanding_bytes: usize,
    /// Requests that may wait for the answers of one session at the same time; well below what may be queued for it.
    pub max_requests_to_answer: usize,
    /// Bytes of those requests. A single request may have more.
    pub max_bytes_to_answer: usize,
    /// Bytes of requests that wait for their turn or for a handler, of all sessions together.
    pub max_waiting_bytes: usize,
    /// Most bytes of a request (path, type and value) times the sessions that it goes to.
    pub max_fan_out_bytes: usize,
    /// How long it is remembered what became of a request with an idempotency key.
    pub repeat_time: Duration,
    /// Bytes of that, of all requests together.
    pub repeat_memory: usize,
    /// How long others are served before a request to very many sessions goes on.
    pub turn_pause: Duration,
    /// Sessions that such a request asks at first, and at most then. A request to no more of them is delivered at once.
    pub turn_recipients: usize,
    /// Work that is done in one turn, in units of about 30 ns: to find the sessions that a filter matches, for instance.
    pub turn_work: usize,
    /// Work that sessions of one principal at one address may have done at once, before others are served. What they ask for
    /// beyond that is done in turns.
    pub burst_work: usize,
    /// How much of that they may have done in each second.
    pub work_per_second: usize,
    /// Properties that a session may propose.
    pub max_properties: usize,
    /// Request handlers that one session may have registered.
    pub max_registrations: usize,
    /// Paths whose handlers one session may watch.
    pub max_watches: usize,
    /// What is granted to clients that offer it.
    pub features: Features,
    /// Starts the generator that chooses among equal handlers.
    pub seed: u64,
    /// Keys the hash by which sessions are found from their tokens; a secret number from the system's generator.
    pub token_key: u64,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            server: 0,
            server_name: "antiphon".into(),
            request_timeout: Duration::from_secs(60),
            request_timeouts: PathTimeouts::default(),
            ping_period: Duration::from_secs(25),
            probe_timeout: Duration::ZERO,
            reconnect_timeout: Duration::from_secs(300),
            recovery: RecoveryLimits::default(),
            max_recovery_bytes: 256 << 20,
            max_sessions: 20_000,
            login_timeout: Duration::from_secs(10),
            proposed_properties: Proposals::All,
            max_message_size: 32 << 20,
            max_outstanding_requests: 10_000,
            max_outstanding_bytes: 128 << 20,
            max_requests_to_answer: 5_000,
            max_bytes_to_answer: 64 << 20,
            max_waiting_bytes: 256 << 20,
            max_fan_out_bytes: 64 << 20,
            repeat_time: Duration::from_secs(120),
            repeat_memory: 16 << 20,
            turn_pause: Duration::from_millis(1),
            turn_recipients: 128,
            turn_work: 30_000,
            burst_work: 30_000,
            work_per_second: 15_000_000,
            max_properties: 64,
            max_registrations: 10_000,
            max_watches: 1000,
            features: Features::ALL,
            seed: 0,
            token_key: 0,
        }
    }
}

impl BrokerConfig {
    /// How long a recipient has to answer a request to `path`.
    pub(super) fn timeout_for(&self, path: NormalPath<'_>) -> Duration {
        self.request_timeouts.get(path.as_str()).unwrap_or(self.request_timeout)
    }
}
