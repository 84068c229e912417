//! What the commands of this package have in common: bad usage is answered with one line and status 2.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Something the user has to put right.
pub const BAD_USAGE: u8 = 2;

/// Reads the arguments of a command.
///
/// # Errors
///
/// The status with which the command ends; everything has been said.
pub fn parse<O: Parser>(command: &str) -> Result<O, ExitCode> {
    O::try_parse().map_err(|error| {
        if error.use_stderr() {
            return complain(command, BAD_USAGE, &one_line(&error.to_string()));
        }
        // Help or version were asked for; if they cannot be printed, nobody reads them.
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

/// Says on one line why a command ends, and returns its status.
#[must_use]
pub fn complain(command: &str, status: u8, message: &str) -> ExitCode {
    // Nothing is left to do about a closed stderr.
    let _ = writeln!(std::io::stderr(), "{command}: {message}");
    ExitCode::from(status)
}

/// The first sentence of a usage error; the rest is a lengthy repetition of `--help`.
fn one_line(message: &str) -> String {
    let first = message.lines().next().unwrap_or("bad usage");
    format!("{} (try --help)", first.trim_start_matches("error: "))
}
