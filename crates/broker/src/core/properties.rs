//! Session properties: the fixed ones, the proposed ones, and which of them a handler wants (rules 2).

use std::collections::{BTreeMap, BTreeSet};

use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::layouts::Properties;
use antiphon_protocol::wire::primitives::SessionId;

use super::Arrival;
use super::config::BrokerConfig;
use super::identity::Identity;
use super::proposals::{Proposals, is_fixed, is_legal_user_key};
use super::roles::{parse_roles, roles_to_text};

/// All properties of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionProperties {
    /// Sorted, so that equal sessions give equal bytes.
    by_key: BTreeMap<String, String>,
    /// Those in `$Roles`.
    roles: BTreeSet<String>,
    /// The user properties that come with the identity, which are not the session's to propose.
    set_by_broker: BTreeSet<String>,
}

/// Which properties of the sender go with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    all_fixed: bool,
    all_user: bool,
    /// Sorted, as properties are.
    keys: BTreeSet<String>,
}

/// Requests all fixed properties.
pub const ALL_FIXED: &str = "*F";
/// Requests all user-defined properties.
pub const ALL_USER: &str = "*U";

/// Most bytes that the properties of a session, or the keys of a selection, may have in all.
pub const MAX_BYTES: usize = 128 << 10;

/// Fixed properties that a client may set.
const FIXED: usize = 5;

/// What a set of texts takes for each of them besides its characters, about.
const BYTES_PER_KEY: usize = 64;

/// More than a session may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// More than [`MAX_BYTES`].
    #[error("session properties and their keys may have {MAX_BYTES} bytes in all")]
    Bytes,
    /// More user-defined ones than this.
    #[error("a session may have {0} properties of its own")]
    Number(usize),
}

impl Selection {
    /// From the keys of a registration: names and wildcards, in any order. Unknown keys select nothing.
    ///
    /// # Errors
    ///
    /// [`TooLarge`], since a registration keeps them.
    pub fn of_keys(keys: &[&str]) -> Result<Self, TooLarge> {
        if keys.iter().map(|key| key.len() + 1).sum::<usize>() > MAX_BYTES {
            return Err(TooLarge::Bytes);
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
        Self { all_fixed: true, all_user: true, keys: BTreeSet::new() }
    }

    /// About how many bytes it takes to keep.
    pub(super) fn size(&self) -> usize {
        self.keys.iter().map(|key| key.len() + BYTES_PER_KEY).sum()
    }

    fn selects(&self, key: &str) -> bool {
        (if is_fixed(key) { self.all_fixed } else { self.all_user }) || self.keys.contains(key)
    }
}

impl SessionProperties {
    /// Those that `selection` asks for and that exist, at their values now.
    #[must_use]
    pub fn selected(&self, selection: &Selection) -> Properties<'_> {
        fn as_texts<'a>((key, value): (&'a String, &'a String)) -> (&'a str, &'a str) {
            (key, value)
        }
        let has_wildcard = selection.all_fixed || selection.all_user;
        // Properties that are named are looked up, unless that would take longer than to go through all there are.
        if !has_wildcard && selection.keys.len() <= self.by_key.len() {
            return selection.keys.iter().filter_map(|key| self.by_key.get_key_value(key)).map(as_texts).collect();
        }
        self.by_key.iter().filter(|(key, _)| selection.selects(key)).map(as_texts).collect()
    }

    /// The value of one property.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.by_key.get(key).map(String::as_str)
    }

    /// Who the session is; empty if it is anonymous.
    pub(super) fn principal(&self) -> &str {
        self.get("$Principal").unwrap_or_default()
    }

    /// The address that it was opened from.
    pub(super) fn address(&self) -> &str {
        self.get("$ClientIP").unwrap_or_default()
    }

    /// The roles of the session.
    pub(super) fn roles(&self) -> &BTreeSet<String> {
        &self.roles
    }

    /// Whether the session has all of these roles.
    #[must_use]
    pub fn has_roles(&self, roles: &BTreeSet<String>) -> bool {
        roles.is_subset(&self.roles)
    }

    /// Sets who the session is, and what follows from that.
    pub(super) fn set_identity(&mut self, identity: &Identity) {
        for key in std::mem::take(&mut self.set_by_broker) {
            self.by_key.remove(&key);
        }
        for (key, value) in identity.properties.iter().filter(|(key, _)| !is_fixed(key) && is_legal_user_key(key)) {
            self.by_key.insert(key.clone(), value.clone());
            self.set_by_broker.insert(key.clone());
        }
        self.roles = identity.roles.iter().cloned().collect();
        self.by_key.insert("$Principal".to_owned(), identity.principal.clone());
        self.by_key.insert("$Roles".to_owned(), roles_to_text(&self.roles));
        match identity.expiry {
            Some(expiry) => drop(self.by_key.insert("$ExpiryTime".to_owned(), expiry.at.to_string())),
            None => drop(self.by_key.remove("$ExpiryTime")),
        }
    }

    /// Sets what the session proposes, where it is the session's to propose and `trusted`: `most` user-defined ones in all.
    ///
    /// # Errors
    ///
    /// [`TooLarge`]; nothing is set then.
    pub(super) fn propose<'a>(
        &mut self,
        trusted: &Proposals,
        most: usize,
        properties: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), TooLarge> {
        let mut new = BTreeMap::new();
        for (key, value) in properties.filter(|(key, _)| !self.set_by_broker.contains(*key)) {
            if let Some(value) = trusted.take(key, value) {
                new.insert(key.to_owned(), value);
            }
            // The fixed ones are few.
            if new.len() > most + FIXED {
                return Err(TooLarge::Number(most));
            }
        }
        let size = |(key, value): (&String, &String)| key.len() + value.len() + BYTES_PER_KEY;
        let all = || self.by_key.iter().filter(|(key, _)| !new.contains_key(*key)).chain(&new);
        if all().filter(|(key, _)| !is_fixed(key) && !self.set_by_broker.contains(*key)).count() > most {
            return Err(TooLarge::Number(most));
        }
        if all().map(size).sum::<usize>() > MAX_BYTES {
            return Err(TooLarge::Bytes);
        }
        self.by_key.extend(new);
        Ok(())
    }
}

/// Whether these could be the properties of a session.
///
/// # Errors
///
/// [`TooLarge`] if they have too many bytes, of whatever kind they are.
pub(super) fn check_size(properties: &[(&str, &str)]) -> Result<(), TooLarge> {
    let size = properties.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if size > MAX_BYTES { Err(TooLarge::Bytes) } else { Ok(()) }
}

impl FromIterator<(String, String)> for SessionProperties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(properties: I) -> Self {
        let by_key: BTreeMap<String, String> = properties.into_iter().collect();
        let roles = by_key.get("$Roles").map(|text| parse_roles(text)).unwrap_or_default();
        Self { by_key, roles, set_by_broker: BTreeSet::new() }
    }
}

/// The fixed properties of a WebSocket session, what it proposed itself, and what comes with its identity.
///
/// # Errors
///
/// [`TooLarge`] if it proposed too much.
pub(super) fn of_new_session(
    id: SessionId,
    config: &BrokerConfig,
    request: &ConnectRequest,
    arrival: &Arrival,
    identity: &Identity,
) -> Result<SessionProperties, TooLarge> {
    let fixed = [
        ("$SessionId", id.to_string()),
        ("$ClientType", client_type(&request.client_type).into()),
        ("$Transport", "WEBSOCKET".into()),
        ("$ServerName", config.server_name.clone()),
        ("$Connector", "WebSocket".into()),
        ("$ClientIP", arrival.client_ip.clone()),
        ("$StartTime", arrival.start_time.to_string()),
        ("$Environment", "UNKNOWN".into()),
        ("$Country", String::new()),
        ("$Language", String::new()),
        ("$Latitude", "NaN".into()),
        ("$Longitude", "NaN".into()),
    ];
    let mut properties: SessionProperties = fixed.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    properties.set_identity(identity);
    let proposed = request.properties.iter().flatten().map(|(key, value)| (key.as_str(), value.as_str()));
    properties.propose(&config.proposed_properties, config.max_properties, proposed)?;
    Ok(properties)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::core::identity::Expiry;

    fn new_session(client_type: &str, proposed: &[(&str, &str)], roles: &[&str]) -> SessionProperties {
        let request = ConnectRequest {
            client_type: client_type.into(),
            principal: Some("ada".into()),
            properties: Some(proposed.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()),
            ..ConnectRequest::anonymous()
        };
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 1_700_000_000_000, random: [7; 18] };
        let id = SessionId { server: 0xab, value: 1 };
        let config = BrokerConfig { server_name: "here".into(), ..BrokerConfig::default() };
        of_new_session(id, &config, &request, &arrival, &identity("ada", roles)).expect("small enough")
    }

    fn identity(principal: &str, roles: &[&str]) -> Identity {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        Identity { principal: principal.into(), roles, ..Identity::default() }
    }

    fn selected(properties: &SessionProperties, keys: &[&str]) -> Vec<(String, String)> {
        let selection = Selection::of_keys(keys).expect("small enough");
        properties.selected(&selection).into_iter().map(|(key, value)| (key.into(), value.into())).collect()
    }

    #[test]
    fn a_session_has_fourteen_fixed_properties_and_no_others() {
        for (letters, client_type) in [
            ("WB", "JAVASCRIPT_BROWSER"),
            ("PY", "PYTHON"),
            ("WJ", "JAVA"),
            ("WN", "DOTNET"),
            ("WI", "OTHER"),
            ("", "OTHER"),
        ] {
            let properties = new_session(letters, &[("$Environment", "NODE_linux_20")], &["CLIENT", "ADMINISTRATOR"]);
            let expected = [
                ("$ClientIP", "192.0.2.1"),
                ("$ClientType", client_type),
                ("$Connector", "WebSocket"),
                ("$Country", ""),
                ("$Environment", "NODE_linux_20"),
                ("$Language", ""),
                ("$Latitude", "NaN"),
                ("$Longitude", "NaN"),
                ("$Principal", "ada"),
                ("$Roles", r#""ADMINISTRATOR","CLIENT""#),
                ("$ServerName", "here"),
                ("$SessionId", "00000000000000ab-0000000000000001"),
                ("$StartTime", "1700000000000"),
                ("$Transport", "WEBSOCKET"),
            ];
            assert_eq!(selected(&properties, &[ALL_FIXED, ALL_USER]), expected.map(|(k, v)| (k.into(), v.into())));
        }
        assert_eq!(new_session("WB", &[], &[]).get("$Environment"), Some("UNKNOWN"), "of clients before 6.11");
    }

    #[test]
    fn what_is_not_a_sessions_to_propose_is_left_out() {
        let illegal = ["", "a b", "a\tb", "a\rb", "a\nb", "a\"b", "a'b", "a(b", "a)b"];
        let fixed = ["$Principal", "$Roles", "$SessionId", "$ClientIP", "$ServerName", "$Unknown", "$"];
        let proposed: Vec<_> = illegal.iter().chain(&fixed).map(|key| (*key, "mine")).collect();
        let properties = new_session("WB", &proposed, &["CLIENT"]);
        assert_eq!(properties, new_session("WB", &[], &["CLIENT"]));
        let properties = new_session("WB", &[("team", "a"), ("team", "b"), ("a.b-c/d,e", "")], &[]);
        let expected = [("a.b-c/d,e", ""), ("team", "b")];
        assert_eq!(selected(&properties, &[ALL_USER]), expected.map(|(k, v)| (k.into(), v.into())));
    }

    #[test]
    fn wildcards_select_their_kind_and_unknown_keys_nothing() {
        let properties = new_session("WB", &[("team", "a"), ("Team", "b")], &[]);
        let many: [String; 20] = std::array::from_fn(|number| format!("key{number}"));
        for (keys, count) in [
            (&[][..], 0),
            (&["team", "missing", "$Missing"], 1),
            (&[ALL_FIXED], 14),
            (&[ALL_USER], 2),
            (&[ALL_FIXED, "team"], 15),
            (&[ALL_USER, "$Principal", "team"], 3),
            (&["*", "*f", "$*"], 0),
            // More than there are properties.
            (&many.each_ref().map(String::as_str), 0),
            (&[&["team", "$Country"][..], &many.each_ref().map(String::as_str)].concat(), 2),
        ] {
            assert_eq!(selected(&properties, keys).len(), count, "{keys:?}");
        }
    }

    #[test]
    fn to_propose_the_same_again_takes_no_more_room() {
        let mut properties = new_session("WB", &[], &[]);
        let value = "v".repeat(100_000);
        for _ in 0..3 {
            assert_eq!(properties.propose(&Proposals::All, 64, [("key", &*value)].into_iter()), Ok(()));
        }
        assert_eq!(properties.propose(&Proposals::All, 64, [("other", &*value)].into_iter()), Err(TooLarge::Bytes));
        assert_eq!(properties.get("other"), None);
    }

    #[test]
    fn what_comes_with_the_identity_is_not_to_be_proposed_and_goes_with_it() {
        let mut properties = new_session("WB", &[("team", "red"), ("colour", "red")], &[]);
        let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        let expiry = Some(Expiry { within: Duration::from_secs(1), at: 1_700_000_001_000 });
        let set = [("team", "blue"), ("$ClientIP", "mine"), ("tenant", "7")].map(text).to_vec();
        properties.set_identity(&Identity { properties: set, expiry, ..identity("ada", &[]) });
        let user = [("colour", "red"), ("team", "blue"), ("tenant", "7")].map(text);
        assert_eq!(selected(&properties, &[ALL_USER]), user);
        assert_eq!(properties.get("$ClientIP"), Some("192.0.2.1"));
        assert_eq!(properties.get("$ExpiryTime"), Some("1700000001000"));
        let proposed = [("team", "red"), ("colour", "green"), ("$ExpiryTime", "0")];
        properties.propose(&Proposals::All, 64, proposed.into_iter()).expect("small enough");
        let user = [("colour", "green"), ("team", "blue"), ("tenant", "7")].map(text);
        assert_eq!(selected(&properties, &[ALL_USER]), user);
        assert_eq!(properties.get("$ExpiryTime"), Some("1700000001000"));
        properties.set_identity(&identity("bob", &[]));
        assert_eq!(selected(&properties, &[ALL_USER]), [text(("colour", "green"))]);
        assert_eq!(properties.get("$ExpiryTime"), None);
    }

    /// P-6.
    #[test]
    fn a_session_has_a_number_of_properties_of_its_own_and_each_counts_for_more_than_its_characters() {
        let mut properties = new_session("WB", &[("$Country", "fr")], &[]);
        let many: Vec<_> = (0..2000).map(|number| number.to_string()).collect();
        let mut propose = |most: usize, range: std::ops::Range<usize>| {
            properties.propose(&Proposals::All, most, many[range].iter().map(|key| (key.as_str(), "")))
        };
        assert_eq!(propose(3, 0..3), Ok(()));
        assert_eq!(propose(3, 1..3), Ok(()), "the same again");
        assert_eq!(propose(3, 3..4), Err(TooLarge::Number(3)));
        assert_eq!(propose(4, 0..2000), Err(TooLarge::Number(4)));
        assert_eq!(propose(2000, 0..2000), Err(TooLarge::Bytes));
    }
}
