//! Variables of the environment: which of them are settings, and which were meant to be.

use std::ffi::OsString;

use super::place::nearest;
use super::rows::{ROWS, Row};
use super::{Fault, Place};

/// What the names of all of them begin with.
pub(super) const PREFIX: &str = "ANTIPHON_";

/// The configuration file.
pub(super) const CONFIG: &str = "ANTIPHON_CONFIG";

/// Those that the command-line client reads.
const OF_THE_CLIENT: [&str; 3] = ["ANTIPHON_BROKER", "ANTIPHON_PRINCIPAL", "ANTIPHON_PASSWORD"];

/// The names of those that are no settings. They may have another purpose: for a service that is named antiphon, Kubernetes sets
/// `ANTIPHON_PORT` and more in every container.
///
/// # Errors
///
/// The first that has almost the name of a setting: it would be missed by whoever has mistyped it.
pub(super) fn without_meaning(variables: &[(String, OsString)]) -> Result<Vec<String>, Fault> {
    let own = ROWS.iter().map(Row::variable);
    let known: Vec<_> = own.chain([CONFIG.to_owned()]).chain(OF_THE_CLIENT.map(str::to_owned)).collect();
    let mut others = Vec::new();
    for (name, _) in variables.iter().filter(|(name, _)| !known.contains(name)) {
        if let Some(meant) = nearest(without_prefix(name), known.iter().map(|name| without_prefix(name))) {
            let text = format!("there is no such variable; did you mean {PREFIX}{meant}?");
            return Err(Fault { place: Place::Variable(name.clone()), key: String::new(), text });
        }
        others.push(name.clone());
    }
    Ok(others)
}

/// What is the same in all names makes none of them like another.
fn without_prefix(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Result<Vec<String>, Fault> {
        let variables: Vec<_> = names.iter().map(|name| ((*name).to_owned(), OsString::new())).collect();
        without_meaning(&variables)
    }

    #[test]
    fn a_variable_that_is_nearly_a_setting_was_meant_to_be_one() {
        for (mistyped, meant) in [
            ("ANTIPHON_MAX_SESIONS", "ANTIPHON_MAX_SESSIONS"),
            ("ANTIPHON_MAXSESSIONS", "ANTIPHON_MAX_SESSIONS"),
            ("ANTIPHON_LOGS", "ANTIPHON_LOG"),
            ("ANTIPHON_CONFIGURATION", ""),
            ("ANTIPHON_CONFG", "ANTIPHON_CONFIG"),
            ("ANTIPHON_TLS_CERT", ""),
            ("ANTIPHON_TLS_KEYS", "ANTIPHON_TLS_KEY"),
            ("ANTIPHON_ORIGIN", "ANTIPHON_ORIGINS"),
            ("ANTIPHON_PASWORD", "ANTIPHON_PASSWORD"),
        ] {
            let says = of(&[mistyped]).map_or_else(|fault| fault.text, |_| String::new());
            assert!(says.ends_with(&format!("did you mean {meant}?")) || meant.is_empty() && says.is_empty(), "{says}");
        }
    }

    #[test]
    fn what_other_programs_set_is_left_to_them() {
        let service = ["HOST", "PORT", "PORT_WS"].map(|name| format!("ANTIPHON_SERVICE_{name}"));
        let port = ["", "_8080_TCP", "_8080_TCP_ADDR", "_8080_TCP_PORT", "_8080_TCP_PROTO", "_443_TCP"];
        let port = port.map(|name| format!("ANTIPHON_PORT{name}"));
        let tests = ["ANTIPHON_SEED", "ANTIPHON_BATCHING", "ANTIPHON_DOOR"].map(str::to_owned);
        let others: Vec<_> = service.into_iter().chain(port).chain(tests).collect();
        let given = others.iter().map(String::as_str).chain(["ANTIPHON_LOG", CONFIG]).chain(OF_THE_CLIENT);
        assert_eq!(of(&given.collect::<Vec<_>>()), Ok(others));
    }
}
