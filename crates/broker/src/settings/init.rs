//! A first configuration file, with a user whose password is fresh.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::identity::passwords::PasswordHash;

/// Writes a first configuration file, which only its owner may read. Returns the password of its user `admin`.
///
/// # Errors
///
/// One line that says why there is no such file.
pub fn init(file: &Path) -> Result<String, String> {
    let password = fresh_password()?;
    let hash = PasswordHash::of(&password)?;
    write_new(file, &FIRST.replace("HASH", &hash.to_text())).map_err(|error| {
        let instead = match error.kind() {
            ErrorKind::AlreadyExists => "it exists; name a file that does not, or `check` this one".into(),
            _ => format!("cannot write it: {error}; name a file that can be written"),
        };
        format!("{}: {instead}", file.display())
    })?;
    Ok(password)
}

fn write_new(file: &Path, text: &str) -> Result<(), Error> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let written = opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all());
    if written.is_err() {
        // Half a file is worse than none.
        let _ = std::fs::remove_file(file);
    }
    written
}

/// A hundred random bits, in characters that nobody takes for others.
fn fresh_password() -> Result<String, String> {
    const CHARACTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    let characters = random.map(|byte| char::from(CHARACTERS[usize::from(byte) % CHARACTERS.len()]));
    let groups: Vec<String> = characters.chunks(5).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

const FIRST: &str = r#"# The configuration of antiphon-broker. All keys, and what they mean: docs/broker.toml.
#
#   antiphon-broker check broker.toml       says whether this file will do
#   antiphon-broker --config broker.toml    starts the broker with it
#   kill -HUP                               makes a broker read it again
#
# Nothing is granted that does not stand here.

listen = ["0.0.0.0:8080"] # every address of this machine, port 8080

# Web pages that may connect. "same-host": those that come from the host name that they connect to.
origins = ["same-host"]
# origins = ["https://app.example.com"]

# Files to serve beside the WebSocket.
# www = "site"

# Without TLS, passwords and messages can be read on their way. Either here, or in a proxy before the broker:
# [tls]
# certificate = "cert.pem"
# key = "key.pem"

# A user for each program and each person. `antiphon-broker passwd` makes the hash of a password.
[[users]]
name = "admin"
password = "HASH"
roles = ["ADMINISTRATOR"]

# [[users]]
# name = "orders"
# password = "$argon2id$..."
# roles = ["CLIENT_CONTROL"]

# Sessions without a name and a password. They may send requests, and register no handlers.
# [anonymous]
# roles = ["CLIENT"]
"#;
