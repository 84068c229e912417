//! The command line.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, value_parser};

use super::place::printable;
use super::rows::{Group, ROWS};
use super::variables::{CONFIG, PREFIX};
use super::{Settings, Sources};

/// What the command is to do.
#[derive(Debug)]
pub enum Command {
    /// To serve.
    Serve(Sources),
    /// To check a configuration file, and nothing else.
    Check(Sources),
    /// To write a first configuration file.
    Init(PathBuf),
    /// To make the hash of a password.
    HashPassword,
}

/// Why the command does nothing.
#[derive(Debug)]
pub enum Usage {
    /// Help or version were asked for.
    Asked(clap::Error),
    /// What is wrong, in one line.
    Wrong(String),
}

impl Command {
    /// From the arguments and the environment of this process.
    ///
    /// # Errors
    ///
    /// [`Usage`], if there is nothing to do.
    pub fn of_process() -> Result<Self, Usage> {
        let matches = clap_command().try_get_matches().map_err(|error| {
            if error.use_stderr() { Usage::Wrong(one_line(&error.to_string())) } else { Usage::Asked(error) }
        })?;
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
            Some((name, value))
        });
        let variables: Vec<_> = variables.collect();
        let file = |matches: &ArgMatches| matches.get_one::<PathBuf>("FILE").cloned().unwrap_or_default();
        Ok(match matches.subcommand() {
            Some(("check", matches)) => {
                Self::Check(Sources { config: Some(file(matches)), flags: Vec::new(), variables })
            }
            Some(("init", matches)) => Self::Init(file(matches)),
            Some(("passwd", _)) => Self::HashPassword,
            _ => {
                let variable = variables.iter().find(|(name, value)| name == CONFIG && !value.is_empty());
                let config = matches.get_one::<PathBuf>("config").cloned();
                let config = config.or_else(|| variable.map(|(_, value)| value.into()));
                Self::Serve(Sources { config, flags: flags(&matches), variables })
            }
        })
    }
}

/// By number of the row, what stands on the command line.
fn flags(matches: &ArgMatches) -> Vec<(usize, Vec<String>)> {
    let given = ROWS.iter().enumerate().filter_map(|(number, row)| {
        let texts = matches.get_many::<String>(&row.path())?;
        Some((number, texts.cloned().collect()))
    });
    given.collect()
}

fn clap_command() -> clap::Command {
    let defaults = Settings::development();
    let options = ROWS.iter().map(|row| {
        let shown = (row.show)(&defaults);
        let default = if shown.is_empty() { String::new() } else { format!(" [default: {}]", shown.join(", ")) };
        let action = if (row.form)().is_list() { ArgAction::Append } else { ArgAction::Set };
        let heading = if row.group == Group::Limits { "Limits" } else { "Options" };
        Arg::new(row.path())
            .long(row.flag())
            .value_name((row.value_name)())
            .help(format!("{}{default}", row.help.trim()))
            .action(action)
            .help_heading(heading)
    });
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("Configuration file; without one, the broker is for development, on this machine")
        .help_heading("Options");
    let file = |help: &'static str| Arg::new("FILE").required(true).value_parser(value_parser!(PathBuf)).help(help);
    let command = |name: &'static str, about: &'static str| clap::Command::new(name).about(about);
    clap::Command::new("antiphon-broker")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A broker for request-response messaging over WebSocket")
        .after_help("Each option is also a key of the configuration file (max_sessions) and a variable of the environment (ANTIPHON_MAX_SESSIONS). The option wins over the variable, the variable over the file.")
        .args_conflicts_with_subcommands(true)
        .arg(config)
        .args(options)
        .subcommand(command("init", "Write a first configuration file").arg(file("The file, which must not exist")))
        .subcommand(command("passwd", "Read a password from a prompt or stdin, and print its hash"))
        .subcommand(command("check", "Check a configuration file, without starting").arg(file("The configuration file")))
}

/// The first sentence of a usage error, and what was probably meant; the rest is a lengthy repetition of `--help`.
fn one_line(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let first = lines.next().unwrap_or("bad usage").trim_start_matches("error: ");
    // What is missing stands in the next line.
    let missing = lines.next().filter(|_| first.ends_with(':')).map(|next| format!(" {next}")).unwrap_or_default();
    let tip = message.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    printable(&format!("{first}{missing} ({})", tip.unwrap_or("try --help")))
}
