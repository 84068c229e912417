//! The command `antiphon-faults`: reads its options, and runs the proxy until it is ended.

#![forbid(unsafe_code)]

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU64;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_load::faults::{Ending, Faults, Proxy, Schedule};
use antiphon_load::usage::{BAD_USAGE, Complaint, at_least_one, command, seed};
use bytesize::ByteSize;
use clap::Parser;

/// Carries TCP connections to another address and does to them what networks do.
///
/// Runs until it is ended. Exit status: 2 for bad usage.
#[derive(Parser)]
#[command(name = "antiphon-faults", version)]
struct Options {
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0", value_parser = address)]
    listen: SocketAddr,
    /// Where all connections lead
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    to: SocketAddr,
    /// Decides what is left to chance; drawn at random unless it is given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long all bytes take in each direction
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    delay: Duration,
    /// Most bytes a second in each direction of each connection
    #[arg(long, value_name = "SIZE", value_parser = rate)]
    rate: Option<NonZeroU64>,
    /// Cut each connection after so many bytes; two numbers, such as 100-5000, to draw one between them
    #[arg(long, value_name = "N[-N]", value_parser = range)]
    cut_after_bytes: Option<RangeInclusive<u64>>,
    /// Cut each connection after so many WebSocket frames
    #[arg(long, value_name = "N[-N]", value_parser = range)]
    cut_after_frames: Option<RangeInclusive<u64>>,
    /// Cut connections drawn by lot so often
    #[arg(long, value_name = "R", value_parser = per_second)]
    cuts_per_second: Option<f64>,
    /// Freeze connections drawn by lot so often
    #[arg(long, value_name = "R", value_parser = per_second)]
    freezes_per_second: Option<f64>,
    /// For how long
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    freeze_for: Duration,
    /// Connections that are cut or frozen at a time
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    at_once: usize,
    /// How to cut: reset, close, half-close, half-open, or several of them
    #[arg(long, value_name = "HOW,...", default_value = "reset", value_delimiter = ',')]
    cut_by: Vec<Ending>,
    /// Cut and freeze nothing before this time has passed
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    spare: Duration,
}

/// A name such as `localhost` stands for its first address, an IPv4 one if there is any.
fn address(text: &str) -> Result<SocketAddr, String> {
    let addresses = text.to_socket_addrs().map_err(|_| "write an address and a port, such as 127.0.0.1:8080")?;
    let addresses: Vec<_> = addresses.collect();
    let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    address.copied().ok_or_else(|| "it has no address".into())
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    NonZeroU64::new(text.parse::<ByteSize>()?.as_u64()).ok_or_else(|| "write a size of at least 1".into())
}

fn range(text: &str) -> Result<RangeInclusive<u64>, &'static str> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if 0 < low && low <= high => Ok(low..=high),
        _ => Err("write a number of at least 1, or two such as 100-5000"),
    }
}

fn per_second(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok().filter(|rate| (MIN_RATE..=MAX_RATE).contains(rate));
    rate.ok_or("write a number from 0.001 to 1000")
}

const MIN_RATE: f64 = 0.001;
const MAX_RATE: f64 = 1000.0;

fn main() -> ExitCode {
    command(run)
}

async fn run(options: Options) -> Result<ExitCode, Complaint> {
    let faults = Faults {
        seed: seed(options.seed),
        delay: options.delay,
        rate: options.rate,
        cut_after_bytes: options.cut_after_bytes,
        cut_after_frames: options.cut_after_frames,
        endings: options.cut_by,
        spare: options.spare,
    };
    let seed = faults.seed;
    let started = Proxy::start(options.listen, options.to, faults).await;
    let proxy = started.map_err(|error| Complaint::new(BAD_USAGE, format!("--listen {}: {error}", options.listen)))?;
    // Whoever started us may have closed the pipe; that is no reason not to go on.
    let _ = writeln!(std::io::stdout(), "listening on {}, seed {seed}", proxy.address());
    tokio::time::sleep(options.spare).await;
    let schedule = |per_second| Schedule { per_second, at_once: options.at_once, most: None };
    let cutting = async {
        if let Some(rate) = options.cuts_per_second {
            proxy.cut_some(schedule(rate)).await;
        }
    };
    let freezing = async {
        if let Some(rate) = options.freezes_per_second {
            proxy.freeze_some(schedule(rate), options.freeze_for).await;
        }
    };
    tokio::join!(cutting, freezing);
    std::future::pending().await
}
