//! The command `antiphon-attacks`: attacks a broker in many ways, and says what a neighbour noticed.

#![forbid(unsafe_code)]

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use antiphon_load::attacks::kinds::ATTACKS;
use antiphon_load::attacks::neighbour::Neighbour;
use antiphon_load::attacks::process::Process;
use antiphon_load::attacks::target::{Attack, Target};
use antiphon_load::attacks::{HEAD, carry_out, floor};
use antiphon_load::usage::{BAD_USAGE, Complaint, command};
use bytesize::ByteSize;
use clap::Parser;
use serde_json::json;

/// Attacks a broker, in each way by itself, and says how long the requests and connections of a neighbour took meanwhile.
///
/// A broker is started for each attack. It counts connections from this machine as it does those from others; the attackers
/// and the neighbour come from different addresses.
///
/// Exit status: 1 if the neighbour's session ended; 2 for bad usage.
#[derive(Parser)]
#[command(name = "antiphon-attacks", version)]
struct Options {
    /// The broker's command
    #[arg(long, value_name = "FILE", default_value = "target/release/antiphon-broker")]
    broker: PathBuf,
    /// Attack the broker that listens there instead
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "floor")]
    at: Option<SocketAddr>,
    /// Attack a server instead that does next to nothing: what opening a connection takes whatever the server is
    #[arg(long)]
    floor: bool,
    /// How long each attack lasts
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// How long what an attack holds stays open after it, until memory is looked at
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    afterwards: Duration,
    /// The largest message that the broker takes
    #[arg(long, value_name = "SIZE", default_value = "4MiB")]
    largest: ByteSize,
    /// With how many connections, where an attack takes many
    #[arg(long, value_name = "NUMBER")]
    count: Option<usize>,
    /// Print a line of JSON for each attack instead of a table
    #[arg(long)]
    json: bool,
    /// Which; all, if none is named
    names: Vec<String>,
    /// Be the server that does next to nothing
    #[arg(long, hide = true)]
    serve_floor: bool,
}

fn main() -> ExitCode {
    command(async |options: Options| {
        if options.serve_floor {
            floor::run().await.map_err(failed)?;
        }
        run(&options)
    })
}

fn failed(error: std::io::Error) -> Complaint {
    Complaint::new(1, error)
}

fn run(options: &Options) -> Result<ExitCode, Complaint> {
    let known = |name: &String| ATTACKS.iter().any(|(other, _)| other == name);
    if let Some(name) = options.names.iter().find(|name| !known(name)) {
        let names: Vec<_> = ATTACKS.iter().map(|(name, _)| *name).collect();
        return Err(Complaint::new(BAD_USAGE, format!("no attack is called {name}; there are {}", names.join(", "))));
    }
    let mut out = std::io::stdout();
    if !options.json {
        writeln!(out, "{:<19} {HEAD}    MiB   then  CPU s  closed", "attack").map_err(failed)?;
    }
    for (name, attack) in ATTACKS {
        if options.names.is_empty() || options.names.iter().any(|other| other == name) {
            let line = attacked(options, name, *attack).map_err(failed)?;
            writeln!(out, "{line}").map_err(failed)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Carries out one attack. Returns what is to be said of it.
fn attacked(options: &Options, name: &str, attack: Attack) -> std::io::Result<String> {
    let started = match options.at {
        Some(_) => None,
        None if options.floor => Some(Process::start(&std::env::current_exe()?, &["--serve-floor"])?),
        // As many from one address as usual, but one: with the usual number, connections from this machine do not count.
        None => {
            let largest = options.largest.as_u64().to_string();
            let limits = ["--max-connections-per-address", "1023", "--max-message-size", &largest];
            Some(Process::start(&options.broker, &[&["--listen", "127.0.0.1:0"], &limits[..]].concat())?)
        }
    };
    let address = options.at.or(started.as_ref().map(|process| process.address));
    let address = address.ok_or_else(|| std::io::Error::other("there is no broker"))?;
    let neighbour = Neighbour { asks: !options.floor, connects: options.at.is_none() };
    let largest = usize::try_from(options.largest.as_u64()).map_err(std::io::Error::other)?;
    let target = Target { broker: address, until: Instant::now() + options.duration, largest, count: options.count };
    let (noticed, ()) = carry_out(target, neighbour, attack, || {
        std::thread::sleep(options.afterwards);
    })?;
    let process = started.as_ref();
    let (peak, then) = (process.and_then(Process::peak), process.and_then(Process::resident));
    let (cpu, closed) = (process.and_then(Process::cpu), process.map(Process::closed).unwrap_or_default());
    if options.json {
        let line =
            json!({ "name": name, "noticed": noticed, "peak": peak, "then": then, "cpu": cpu, "closed": closed });
        return Ok(line.to_string());
    }
    let closed: Vec<_> = closed.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let (peak, then, cpu) = (peak.unwrap_or(0), then.unwrap_or(0), cpu.unwrap_or(0.0));
    Ok(format!("{name:<19} {noticed} {peak:>6} {then:>6} {cpu:>6.1}  {}", closed.join(", ")))
}
