//! Command-line errors: one line and exit status 2; and what else the commands of this package have in common.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Something the user has to put right.
pub const BAD_USAGE: u8 = 2;

/// Why a command ends before it has done its work: its exit status, and what it says.
pub struct Complaint {
    status: u8,
    message: String,
}

impl Complaint {
    /// With this exit status and message.
    pub fn new(status: u8, message: impl Display) -> Self {
        Self { status, message: message.to_string() }
    }
}

/// The main function of a command: reads its arguments and runs it, or says on one line why it cannot.
pub fn command<O: Parser>(run: impl AsyncFnOnce(O) -> Result<ExitCode, Complaint>) -> ExitCode {
    let options = match O::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            return complain::<O>(Complaint::new(BAD_USAGE, one_line(&error.to_string())));
        }
        Err(error) => {
            // Help or version were asked for; if they cannot be printed, nobody reads them.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(options)),
        Err(error) => Err(Complaint::new(1, error)),
    };
    outcome.unwrap_or_else(complain::<O>)
}

/// Reads a number that is not 0.
///
/// # Errors
///
/// What to write instead.
pub fn at_least_one(text: &str) -> Result<usize, &'static str> {
    text.parse().ok().filter(|number| *number > 0).ok_or("write a number, at least 1")
}

/// The seed that was given, or one drawn at random.
#[must_use]
pub fn seed(given: Option<u64>) -> u64 {
    given.unwrap_or_else(|| fastrand::u64(..))
}

fn complain<O: Parser>(Complaint { status, message }: Complaint) -> ExitCode {
    // Nothing is left to do about a closed stderr.
    let _ = writeln!(std::io::stderr(), "{}: {message}", O::command().get_name());
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
