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

/// The first sentence of a usage error, with what it lists; the rest is a lengthy repetition of `--help`.
fn one_line(message: &str) -> String {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("bad usage").trim_start_matches("error: ");
    let listed: Vec<_> = lines.take_while(|line| !line.trim().is_empty()).map(str::trim).collect();
    let listed = if first.ends_with(':') { format!(" {}", listed.join(", ")) } else { String::new() };
    format!("{first}{listed} (try --help)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_is_missing_is_named() {
        let message = "error: the following required arguments were not provided:\n  --to <A:P>\n  --x\n\nUsage: ...";
        let line = "the following required arguments were not provided: --to <A:P>, --x (try --help)";
        assert_eq!(one_line(message), line);
        assert_eq!(one_line("error: bad number\n  [possible: 1]\n"), "bad number (try --help)");
    }
}
