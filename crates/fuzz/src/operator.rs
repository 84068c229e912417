//! What an operator writes: the configuration file, and the keys of those whose tokens are believed.

use std::path::Path;

use antiphon_broker::core::permissions::Permissions;
use antiphon_broker::identity::Keys;
use antiphon_broker::identity::passwords::PasswordHash;
use antiphon_broker::net::Origins;
use antiphon_broker::settings::{Fault, Place, Settings};

use crate::tokens;

/// What is wrong is told in one line, which says where.
pub(crate) fn configuration(bytes: &[u8]) {
    let file = Path::new("broker.toml");
    let lines = 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
    let check = |fault: Fault| {
        assert!(!fault.text.is_empty() && !fault.to_string().contains(|c: char| c.is_control()), "{fault:?}");
        match fault.place {
            Place::File { line, .. } => assert!(line <= lines, "{fault:?} in a file of {lines} lines"),
            place => panic!("{place:?} is no place in a file"),
        }
    };
    let settings = match Settings::parse(file, bytes.to_vec()) {
        Ok(settings) => settings,
        Err(fault) => return check(fault),
    };
    if let Err(fault) = Permissions::new(settings.roles.clone(), &settings.isolated_paths) {
        check(settings.fault(&fault.place.join("."), fault.problem));
    }
    for (index, user) in settings.users.iter().enumerate() {
        if let Err(text) = user.password.0.parse::<PasswordHash>() {
            check(settings.fault(&format!("users[{index}].password"), text));
        }
    }
    let _ = Origins::new(&settings.origins);
    let _ = settings.not_served();
}

/// The text of a key set; whatever keys are in it, tokens can be checked with them.
pub(crate) fn key_set(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Keys::from_jwks(text) {
        Ok(keys) => tokens::check_with(&keys),
        Err(error) => assert!(!error.is_empty()),
    }
}
