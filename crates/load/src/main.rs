//! The command `antiphon-load`: reads its options, makes the load, prints the report.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use antiphon_load::ledger::Stamp;
use antiphon_load::load::{self, Kind, Plan, Rate};
use antiphon_load::usage::{Complaint, at_least_one, command, seed};
use bytesize::ByteSize;
use clap::Parser;

/// Makes load on a broker and checks that every request comes to exactly one end.
///
/// Exit status: 0 if that holds, 1 if not or if a session could not be opened, 2 for bad usage.
#[derive(Parser)]
#[command(name = "antiphon-load", version)]
struct Options {
    /// Of the broker
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8080/diffusion", value_parser = url)]
    url: String,
    /// Sessions that send
    #[arg(long, value_name = "N", default_value = "100", value_parser = at_least_one)]
    sessions: usize,
    /// Further sessions with a request handler, all at one path
    #[arg(long, value_name = "N", default_value = "10")]
    handlers: usize,
    /// Requests a second; max for as many as it goes
    #[arg(long, value_name = "R", default_value = "max")]
    rate: RateOption,
    /// With --rate max: requests that each session has under way at the same time
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    in_flight: usize,
    /// How long to send
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    duration: Duration,
    /// What each request is allowed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    /// How long sessions that lose their connection try to get another one; 0s for not at all
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = reconnect)]
    reconnect: Duration,
    /// Each message in a WebSocket message of its own, also what is sent at the same time
    #[arg(long)]
    no_batching: bool,
    /// Of requests and responses, at least 16
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = value_size)]
    value_size: usize,
    /// What is sent: path, session, filter, or several of them; what is named twice is sent twice as often
    #[arg(long, value_name = "KIND,...", default_value = "path", value_delimiter = ',', value_parser = kind)]
    kind: Vec<Kind>,
    /// For requests to filters, instead of one that matches the sessions of this load; must match them and no others
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Decides what is sent by whom to whom; drawn at random unless it is given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Report as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
enum RateOption {
    Max,
    PerSecond(f64),
}

impl FromStr for RateOption {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(rate) if (MIN_RATE..=MAX_RATE).contains(&rate) => Ok(Self::PerSecond(rate)),
            _ => Err("write max, or a number of requests a second from 0.001 to 1000000"),
        }
    }
}

const MIN_RATE: f64 = 0.001;
const MAX_RATE: f64 = 1e6;

fn url(text: &str) -> Result<String, &'static str> {
    let is_known = ["ws://", "wss://"].iter().any(|scheme| text.starts_with(scheme));
    if is_known { Ok(text.into()) } else { Err("it must begin with ws:// or wss://") }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration.is_zero() || duration > LONGEST { Err("write more than 0s, at most 1day".into()) } else { Ok(duration) }
}

fn reconnect(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if duration > LONGEST { Err("write at most 1day".into()) } else { Ok(duration) }
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn value_size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(text.parse::<ByteSize>()?.as_u64()).map_err(|error| error.to_string())?;
    if (Stamp::SIZE..=LARGEST_VALUE).contains(&size) { Ok(size) } else { Err("write 16 to 1GiB".into()) }
}

const LARGEST_VALUE: usize = 1 << 30;

fn kind(text: &str) -> Result<Kind, &'static str> {
    let kinds = [Kind::Path, Kind::Session, Kind::Filter];
    kinds.into_iter().find(|kind| kind.as_str() == text).ok_or("write path, session or filter")
}

fn main() -> ExitCode {
    command(run)
}

async fn run(options: Options) -> Result<ExitCode, Complaint> {
    let plan = Plan {
        url: options.url,
        sessions: options.sessions,
        handlers: options.handlers,
        handlers_url: None,
        rate: match options.rate {
            RateOption::Max => Rate::InFlight(options.in_flight),
            RateOption::PerSecond(rate) => Rate::PerSecond(rate),
        },
        duration: options.duration,
        reconnect: options.reconnect,
        batching: !options.no_batching,
        timeout: options.timeout,
        attempts: None,
        value_size: options.value_size,
        kinds: options.kind,
        filter: options.filter,
        seed: seed(options.seed),
    };
    let report = load::run(&plan).await.map_err(|error| Complaint::new(1, error))?;
    let text = if options.json { serde_json::to_string(&report) } else { Ok(report.to_string()) };
    let text = text.map_err(|error| Complaint::new(1, error))?;
    // The exit status tells it as well.
    let _ = writeln!(std::io::stdout(), "{text}");
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
