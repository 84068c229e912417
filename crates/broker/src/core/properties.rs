//! Session properties: the fixed ones, the proposed ones, and which of them a handler wants (semantics section 2).

use std::collections::{BTreeMap, HashSet};

use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::layouts::Properties;
use antiphon_protocol::wire::primitives::SessionId;

use super::Arrival;

/// All properties of a session, by key. Sorted, so that equal sessions give equal bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionProperties(BTreeMap<String, String>);

/// Which properties of the sender go with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    all_fixed: bool,
    all_user: bool,
    keys: HashSet<String>,
}

/// Requests all fixed properties.
pub const ALL_FIXED: &str = "*F";
/// Requests all user-defined properties.
pub const ALL_USER: &str = "*U";

/// Most bytes that the properties of a session, or the keys of a selection, may have in all.
pub const MAX_BYTES: usize = 128 << 10;

/// More than [`MAX_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session properties and their keys may have {MAX_BYTES} bytes in all")]
pub struct TooLarge;

impl Selection {
    /// From the keys of a registration: names and wildcards, in any order. Unknown keys select nothing.
    ///
    /// # Errors
    ///
    /// [`TooLarge`], since a registration keeps them.
    pub fn of_keys(keys: &[&str]) -> Result<Self, TooLarge> {
        if keys.iter().map(|key| key.len() + 1).sum::<usize>() > MAX_BYTES {
            return Err(TooLarge);
        }
        let all_fixed = keys.contains(&ALL_FIXED);
        let all_user = keys.contains(&ALL_USER);
        let covered = |key: &str| if is_fixed(key) { all_fixed } else { all_user };
        let named = |key: &&&str| ![ALL_FIXED, ALL_USER].contains(key) && !covered(key);
        let keys = keys.iter().filter(named).map(|key| (*key).to_owned()).collect();
        Ok(Self { all_fixed, all_user, keys })
    }

    /// All properties.
    #[must_use]
    pub fn all() -> Self {
        Self { all_fixed: true, all_user: true, keys: HashSet::new() }
    }

    fn selects(&self, key: &str) -> bool {
        (if is_fixed(key) { self.all_fixed } else { self.all_user }) || self.keys.contains(key)
    }
}

impl SessionProperties {
    /// Those that `selection` asks for and that exist, at their values now.
    #[must_use]
    pub fn selected(&self, selection: &Selection) -> Properties<'_> {
        if *selection == Selection::default() {
            return Vec::new();
        }
        let entries = self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        entries.filter(|(key, _)| selection.selects(key)).collect()
    }

    /// The value of one property.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets who the session is and which roles it has.
    pub(super) fn set_principal(&mut self, principal: &str, roles: &[&str]) {
        let mut roles = roles.to_vec();
        roles.sort_unstable();
        roles.dedup();
        let roles: Vec<_> = roles.iter().map(|role| format!("\"{role}\"")).collect();
        self.0.insert("$Principal".to_owned(), principal.to_owned());
        self.0.insert("$Roles".to_owned(), roles.join(","));
    }

    /// Sets what the session proposes, where it is the session's to propose. Every legal key is trusted.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; nothing is set then.
    pub(super) fn propose<'a>(
        &mut self,
        properties: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Result<(), TooLarge> {
        let old = self.0.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        if old + properties.clone().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_BYTES {
            return Err(TooLarge);
        }
        for (key, value) in properties {
            if let Some(value) = proposed(key, value) {
                self.0.insert(key.to_owned(), value);
            }
        }
        Ok(())
    }
}

impl FromIterator<(String, String)> for SessionProperties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(properties: I) -> Self {
        Self(properties.into_iter().collect())
    }
}

/// The roles in the value of `$Roles`: what is in double quotes, with `\` before `"`, `'` and `\` (semantics P-3).
#[must_use]
pub fn parse_roles(text: &str) -> Vec<String> {
    let mut roles = Vec::new();
    let mut characters = text.chars();
    while characters.any(|character| character == '"') {
        let mut role = String::new();
        loop {
            match characters.next() {
                Some('\\') => role.extend(characters.next()),
                Some('"') => break,
                Some(character) => role.push(character),
                None => return roles,
            }
        }
        roles.push(role);
    }
    roles
}

/// The fourteen fixed properties of a WebSocket session, and what it proposed itself.
///
/// # Errors
///
/// [`TooLarge`] if it proposed too much.
pub(super) fn of_new_session(
    id: SessionId,
    server_name: &str,
    request: &ConnectRequest,
    arrival: &Arrival,
    roles: &[&str],
) -> Result<SessionProperties, TooLarge> {
    let fixed = [
        ("$SessionId", id.to_string()),
        ("$ClientType", client_type(&request.client_type).into()),
        ("$Transport", "WEBSOCKET".into()),
        ("$ServerName", server_name.into()),
        ("$Connector", "WebSocket".into()),
        ("$ClientIP", arrival.client_ip.clone()),
        ("$StartTime", arrival.start_time.to_string()),
        ("$Environment", "UNKNOWN".into()),
        ("$Country", String::new()),
        ("$Language", String::new()),
        ("$Latitude", "NaN".into()),
        ("$Longitude", "NaN".into()),
    ];
    let mut properties = SessionProperties(fixed.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
    properties.set_principal(request.principal.as_deref().unwrap_or_default(), roles);
    properties.propose(request.properties.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str())))?;
    Ok(properties)
}

/// What becomes of a proposed property; nothing if the key is not a client's to propose.
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

fn is_fixed(key: &str) -> bool {
    key.starts_with('$')
}

fn is_legal_user_key(key: &str) -> bool {
    !key.is_empty() && !key.contains([' ', '\t', '\r', '\n', '"', '\'', '(', ')'])
}

/// Source: section 2.4.
fn client_type(letters: &str) -> &'static str {
    match letters {
        "WB" => "JAVASCRIPT_BROWSER",
        "PY" => "PYTHON",
        "WJ" => "JAVA",
        "WN" => "DOTNET",
        _ => "OTHER",
    }
}
