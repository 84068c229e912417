//! THE table of settings that are one value or a list of them. From a row come the key in the file, the option of the
//! command line, the variable of the environment, the check, the default, and the lines in `--help` and in the example.

use super::Settings;
use super::addresses::{Address, NatsUrl, Network, Origin};
use super::kinds::{
    Count, Describe, File, Folder, Form, Item, Kind, Level, Many, Maybe, Name, OneOrMore, Path, REQUEST_TIMEOUT, Size,
    Time, Timeouts, Words, Wrong,
};

/// A setting.
pub(super) struct Row {
    /// Where its key stands in the file.
    pub group: Group,
    pub key: &'static str,
    pub help: &'static str,
    /// Whether it holds as soon as the file is read again; else it takes a restart.
    pub is_live: bool,
    pub form: fn() -> Form,
    /// What stands for the value in `--help`.
    pub value_name: fn() -> &'static str,
    pub set: fn(&mut Settings, &[Item]) -> Result<(), Wrong>,
    /// The value, as it could have been given; nothing if there is none.
    pub show: fn(&Settings) -> Vec<String>,
    /// From one to the other.
    pub copy: fn(&Settings, &mut Settings),
}

/// A part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// Above all tables.
    Top,
    /// There, or in `[limits]`, since it is one.
    TopLimit,
    Limits,
    Tls,
    Admin,
    Cluster,
}

impl Group {
    /// The name of the table.
    pub fn table(self) -> &'static str {
        match self {
            Self::Top | Self::TopLimit => "",
            Self::Limits => "limits",
            Self::Tls => "tls",
            Self::Admin => "admin",
            Self::Cluster => "cluster",
        }
    }
}

impl Row {
    /// The key as it would be written in one piece: `tls.key`.
    pub fn path(&self) -> String {
        match self.group.table() {
            "" => self.key.to_owned(),
            table => format!("{table}.{}", self.key),
        }
    }

    /// The name on the command line, without the dashes: `max-sessions`, `tls-key`.
    pub fn flag(&self) -> String {
        let name = match self.group {
            Group::Top | Group::TopLimit | Group::Limits => self.key.to_owned(),
            Group::Tls | Group::Admin | Group::Cluster => format!("{}-{}", self.group.table(), self.key),
        };
        name.replace('_', "-")
    }

    /// The name in the environment: `ANTIPHON_MAX_SESSIONS`.
    pub fn variable(&self) -> String {
        format!("ANTIPHON_{}", self.flag().replace('-', "_").to_uppercase())
    }
}

macro_rules! rows {
    ($($(#[doc = $help:literal])+ $group:ident $key:ident: $kind:expr => $($field:ident).+, $when:ident;)*) => {
        /// In the order of the example.
        pub(super) static ROWS: &[Row] = &[$(Row {
            group: Group::$group,
            key: stringify!($key),
            help: concat!($($help),+),
            is_live: rows!(@$when),
            form: || $kind.form(),
            value_name: || $kind.name(),
            set: |settings, items| {
                settings.$($field).+ = $kind.read(items)?;
                Ok(())
            },
            show: |settings| $kind.show(&settings.$($field).+),
            copy: |from, to| to.$($field).+ = from.$($field).+.clone(),
        },)*];
    };
    (@live) => { true };
    (@restart) => { false };
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// As many of something small as memory can hold by any measure.
const MANY: u64 = 100_000_000;

rows! {
    /// Address and port to listen on, or the port alone; port 0 takes a free one; several are possible
    Top listen: OneOrMore(Address) => listen, restart;
    /// Directory whose files are served beside the WebSocket; read once, at the start
    Top www: Maybe(Folder) => www, restart;
    /// How much to log on stderr: off, error, warn, info, debug or trace
    Top log: Level => log, live;
    /// How to log: text or json, one event in a line
    Top log_format: Words => log_format, restart;
    /// Threads that serve connections, 1 to 64; what is decided is decided by one at a time
    Top threads: Count(1..=64) => threads, restart;
    /// How long a handler has to answer before the sender is told that it does not
    TopLimit request_timeout: REQUEST_TIMEOUT => broker.request_timeout, live;
    /// The same for requests to a path and everything below it; may be given for several paths
    TopLimit request_timeout_for: Timeouts => broker.request_timeouts, live;
    /// Time between system pings, at least 100ms; 0s for none
    TopLimit ping_period: Time::zero_or_at_least(100) => broker.ping_period, restart;
    /// How long a handler that is late with an answer has for a sign of life; 0s if it is asked for none
    Limits probe_timeout: Time::zero_or_at_least(100) => broker.probe_timeout, live;
    /// How long a session may outlive its connection at most; 0s for not at all
    TopLimit reconnect_timeout: Time::zero_or_at_least(1) => broker.reconnect_timeout, live;
    /// How long requests under way may take when the broker is told to stop; 0s for not at all
    TopLimit drain: Time::zero_or_at_least(1) => drain, restart;
    /// Largest message taken from a client: 1KiB to 2047MiB
    TopLimit max_message_size: Size(KIB..=2047 * MIB) => max_message_size, restart;
    /// Web pages that may connect: origins such as https://app.example.com, same-host, loopback
    Top origins: Many(Origin) => origins, live;
    /// Proxies whose X-Forwarded-For and PROXY protocol are believed, as networks
    Top trusted_proxies: Many(Network) => trusted_proxies, live;
    /// Session properties that a client may propose; * for all
    Top proposed_properties: Many(Name) => proposed_properties, live;
    /// Paths that inherit no permissions from their parents
    Top isolated_paths: Many(Path) => isolated_paths, live;

    /// Certificate chain, PEM
    Tls certificate: Maybe(File) => tls.certificate, live;
    /// Its private key, PEM
    Tls key: Maybe(File) => tls.key, live;
    /// How long browsers use nothing but TLS for this host, once they have been there; 0s for what they like
    Tls hsts: Time::zero_or_at_least(1_000) => tls.hsts, live;

    /// Memory of the process, near which it takes nothing new; 0B for any
    Limits memory: Size(0..=1024 * GIB) => limits.traffic.memory, restart;
    /// Connections at the same time
    Limits max_connections: Count(1..=1_000_000) => limits.max_connections, restart;
    /// Connections at the same time from one address; of IPv6, from one network of 64 bits
    Limits max_connections_per_address: Count(1..=1_000_000) => limits.max_connections_per_address, restart;
    /// Connections that such an address opens in a second, for long; ten times as many may come at once
    Limits connection_rate: Count(1..=1_000_000) => limits.connection_rate, restart;
    /// Bytes of the HTTP request that opens a connection
    Limits max_head_bytes: Size(8 * KIB..=16 * MIB) => limits.max_head_bytes, restart;
    /// Bytes of the first message at /antiphon
    Limits max_connect_bytes: Size(KIB..=16 * MIB) => limits.max_connect_bytes, restart;
    /// Time for each of both to arrive
    Limits handshake_timeout: Time::at_least(100) => limits.handshake_timeout, restart;
    /// Sessions at the same time, with those that have lost their connection
    Limits max_sessions: Count(1..=10_000_000) => broker.max_sessions, live;
    /// Unanswered requests from one session
    Limits max_outstanding_requests: Count(1..=MANY) => broker.max_outstanding_requests, live;
    /// Their bytes
    Limits max_outstanding_bytes: Size(KIB..=64 * GIB) => broker.max_outstanding_bytes, live;
    /// Unanswered requests to one session
    Limits max_requests_to_answer: Count(1..=MANY) => broker.max_requests_to_answer, live;
    /// Their bytes
    Limits max_bytes_to_answer: Size(KIB..=64 * GIB) => broker.max_bytes_to_answer, live;
    /// Bytes of requests of all sessions that wait for their turn, or for a handler
    Limits max_waiting_bytes: Size(KIB..=64 * GIB) => broker.max_waiting_bytes, live;
    /// Bytes of a request to a filter, times the sessions that it goes to
    Limits max_fan_out_bytes: Size(KIB..=64 * GIB) => broker.max_fan_out_bytes, live;
    /// How long it is remembered what became of a request with an idempotency key
    Limits repeat_time: Time::zero_or_at_least(1) => broker.repeat_time, live;
    /// Bytes of that, of all requests together
    Limits repeat_memory: Size(0..=64 * GIB) => broker.repeat_memory, live;
    /// Work for one principal at one address at once, in units of 30 ns
    Limits burst_work: Count(1_000..=MANY) => broker.burst_work, restart;
    /// The same in a second
    Limits work_per_second: Count(1_000..=1_000 * MANY) => broker.work_per_second, restart;
    /// Properties that a session may propose
    Limits max_properties: Count(0..=MANY) => broker.max_properties, live;
    /// Request handlers that one session may have registered
    Limits max_registrations: Count(1..=MANY) => broker.max_registrations, restart;
    /// Paths whose handlers one session may watch
    Limits max_watches: Count(0..=MANY) => broker.max_watches, live;
    /// Messages kept of what was sent to one session, for lost connections; half of them may wait for one
    Limits recovery_messages: Count(2..=MANY) => broker.recovery.messages, live;
    /// Their bytes
    Limits recovery_bytes: Size(KIB..=64 * GIB) => broker.recovery.bytes, live;
    /// Bytes kept of what was sent, for lost connections, of all sessions together
    Limits max_recovery_bytes: Size(0..=64 * GIB) => broker.max_recovery_bytes, restart;
    /// Messages that may wait to be sent to one client for longer than queue_patience
    Limits queue_messages: Count(1..=MANY) => limits.traffic.queue_messages, restart;
    /// Their bytes
    Limits queue_bytes: Size(KIB..=64 * GIB) => limits.traffic.queue_bytes, restart;
    /// Time for a client to catch up
    Limits queue_patience: Time::at_least(10) => limits.traffic.queue_patience, restart;
    /// Bytes a second that give a client as much time again
    Limits queue_rate: Size(1..=64 * GIB) => limits.traffic.queue_rate, restart;
    /// Messages that may wait to be sent to one client at any time
    Limits queue_burst_messages: Count(1..=MANY) => limits.traffic.queue_burst_messages, restart;
    /// Their bytes
    Limits queue_burst_bytes: Size(KIB..=64 * GIB) => limits.traffic.queue_burst_bytes, restart;
    /// Bytes that may wait to be sent to all clients together
    Limits max_queued_bytes: Size(KIB..=1024 * GIB) => limits.traffic.max_queued_bytes, restart;
    /// Time to wait for the rest of a message
    Limits message_patience: Time::at_least(10) => limits.traffic.message_patience, restart;
    /// Bytes of it a second, which give as much time again
    Limits message_rate: Size(1..=64 * GIB) => limits.traffic.message_rate, restart;
    /// Bytes of messages, of all clients together, that have arrived in part
    Limits max_unfinished_bytes: Size(KIB..=1024 * GIB) => limits.traffic.max_unfinished_bytes, restart;

    /// Passwords that are checked at the same time, each by a thread
    Limits max_password_checks: Count(1..=64) => identities.max_password_checks, restart;
    /// Credentials that may wait to be checked: passwords, and tokens as many
    Limits max_waiting_logins: Count(1..=1_000_000) => identities.max_waiting_logins, restart;
    /// Passwords that may be tried for one principal in a second, for long; ten times as many at once
    Limits login_rate: Count(1..=1_000_000) => identities.login_rate, restart;
    /// Time to find out who somebody is
    Limits login_timeout: Time::at_least(100) => broker.login_timeout, restart;

    /// Address and port of the health checks, metrics and the console
    Admin listen: Maybe(Address) => admin.listen, restart;

    /// Name of the cluster that this broker is a part of
    Cluster name: Maybe(Name) => cluster.name, restart;
    /// NATS servers that join it
    Cluster nats: Many(NatsUrl) => cluster.nats, restart;
}
