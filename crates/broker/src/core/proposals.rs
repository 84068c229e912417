//! What a session may say of itself (rules P-2, P-5).

use std::collections::BTreeSet;

/// Which properties sessions may propose, of those that are a client's to propose at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposals {
    /// Every one.
    All,
    /// Those with these names.
    Only(BTreeSet<String>),
}

impl Proposals {
    /// What becomes of a proposed property; nothing if it is not the session's to propose.
    pub(super) fn take(&self, key: &str, value: &str) -> Option<String> {
        let is_trusted = match self {
            Self::All => true,
            Self::Only(keys) => keys.contains(key),
        };
        if is_trusted { proposed(key, value) } else { None }
    }
}

/// The same, of one that is trusted.
fn proposed(key: &str, value: &str) -> Option<String> {
    match key {
        "$Environment" => Some(value.to_owned()),
        "$Country" => Some(value.to_uppercase()),
        "$Language" => Some(value.to_lowercase()),
        "$Latitude" | "$Longitude" => {
            let valid = value.parse::<f64>().is_ok_and(f64::is_finite);
            Some(if valid { value } else { "NaN" }.to_owned())
        }
        _ if is_fixed(key) || !is_legal_user_key(key) => None,
        _ => Some(value.to_owned()),
    }
}

/// Whether it is the broker's.
pub(super) fn is_fixed(key: &str) -> bool {
    key.starts_with('$')
}

/// Whether it can be a user property.
pub(super) fn is_legal_user_key(key: &str) -> bool {
    !key.is_empty() && !key.contains([' ', '\t', '\r', '\n', '"', '\'', '(', ')'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_places_are_written_as_they_should_be() {
        let places = [("$Country", "fr"), ("$Language", "FR"), ("$Latitude", "48.85"), ("$Longitude", "east")];
        let written = places.map(|(key, value)| Proposals::All.take(key, value));
        assert_eq!(written, ["FR", "fr", "48.85", "NaN"].map(|text| Some(text.to_owned())));
        for bad in ["", "inf", "-infinity", "nan", "1e999", "12,5", "0x10"] {
            assert_eq!(Proposals::All.take("$Latitude", bad).as_deref(), Some("NaN"), "{bad}");
        }
    }

    #[test]
    fn only_trusted_properties_are_taken() {
        let trusted = Proposals::Only(["team", "$Country", "$Principal"].map(String::from).into());
        for (key, taken) in [
            ("team", true),
            ("$Country", true),
            ("Team", false),
            ("$Environment", false),
            ("$Language", false),
            ("$Principal", false),
        ] {
            assert_eq!(trusted.take(key, "X").is_some(), taken, "{key}");
            assert_eq!(Proposals::Only(BTreeSet::new()).take(key, "X"), None, "{key}");
        }
    }
}
