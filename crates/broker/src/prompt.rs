//! Asks for a password: at a terminal, without showing it, or from whatever stdin is.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use antiphon_broker::identity::MAX_PASSWORD_BYTES;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A new password. At a terminal it is asked for twice.
pub fn new_password() -> Result<String, String> {
    let stdin = io::stdin();
    let password = if stdin.is_terminal() {
        let first = ask("Password: ")?;
        if ask("The same again: ")? != first {
            return Err("the two are not the same; try again".into());
        }
        first
    } else {
        let mut bytes = Vec::new();
        let limit = MAX_PASSWORD_BYTES as u64 + 3; // and a line's end, and one that is too much
        stdin.lock().take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot read stdin: {error}"))?;
        without_line_end(String::from_utf8(bytes).map_err(|_| "a password is UTF-8")?)
    };
    match password.len() {
        0 => Err("there is no password; type one, or write one to stdin".into()),
        length if length > MAX_PASSWORD_BYTES => Err(format!("a password has at most {MAX_PASSWORD_BYTES} bytes")),
        _ if password.contains(['\n', '\r', '\0']) => Err("a password is one line".into()),
        _ => Ok(password),
    }
}

fn ask(prompt: &str) -> Result<String, String> {
    let failed = |error: io::Error| format!("cannot ask for a password: {error}");
    let mut stderr = io::stderr();
    write!(stderr, "{prompt}").and_then(|()| stderr.flush()).map_err(failed)?;
    let mut line = String::new();
    let hidden = Hidden::begin().map_err(failed)?;
    let read = io::stdin().lock().read_line(&mut line);
    drop(hidden);
    // The Enter that was typed was not shown either.
    let _ = writeln!(stderr);
    read.map_err(failed)?;
    Ok(without_line_end(line))
}

fn without_line_end(mut line: String) -> String {
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    line
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
