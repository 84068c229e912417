//! The command `antiphon-attacks`: starts a broker for each attack, and says what a neighbour noticed.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use antiphon_load::attacks::kinds::ATTACKS;
use antiphon_load::attacks::{HEAD, Noticed, Process, carry_out};
use antiphon_load::usage::{BAD_USAGE, Complaint, command};
use clap::Parser;

/// Attacks a broker, in each way by itself, and says how long the requests of a neighbour took meanwhile.
///
/// Exit status: 1 if the neighbour's session ended; 2 for bad usage.
#[derive(Parser)]
#[command(name = "antiphon-attacks", version)]
struct Options {
    /// The broker's command
    #[arg(long, value_name = "FILE", default_value = "target/release/antiphon-broker")]
    broker: PathBuf,
    /// How long each attack lasts
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Which; all, if none is named
    names: Vec<String>,
}

fn main() -> ExitCode {
    command(async |options: Options| run(&options))
}

fn run(options: &Options) -> Result<ExitCode, Complaint> {
    let known = |name: &String| ATTACKS.iter().any(|(other, _)| other == name);
    if let Some(name) = options.names.iter().find(|name| !known(name)) {
        let names: Vec<_> = ATTACKS.iter().map(|(name, _)| *name).collect();
        return Err(Complaint::new(BAD_USAGE, format!("no attack is called {name}; there are {}", names.join(", "))));
    }
    let mut out = std::io::stdout();
    let failed = |error: std::io::Error| Complaint::new(1, error);
    writeln!(out, "{HEAD}").map_err(failed)?;
    for (name, attack) in ATTACKS {
        if !options.names.is_empty() && !options.names.iter().any(|other| other == name) {
            continue;
        }
        let broker = Process::start(&options.broker).map_err(failed)?;
        let noticed = carry_out(broker.address, *attack, options.duration).map_err(failed)?;
        let noticed = Noticed { peak: broker.peak(), cpu: broker.cpu(), ..noticed };
        writeln!(out, "{name:<17} {noticed}").map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}
