//! Who a session is: principal, roles, properties (rules A-3, I-3 and P-1 to P-5, sections 2 and 9).

use std::collections::BTreeMap;
use std::time::Duration;

use antiphon_broker::core::Arrival;
use antiphon_broker::core::identity::{Expiry, Identity, Login, Proof, Standing, Verdict};
use antiphon_protocol::wire::handshake::{ConnectRequest, Credentials};
use antiphon_protocol::wire::primitives::SessionId;

/// The principals that may connect, all with the same password, and their roles in alphabetical order (A-3, P-3).
const PRINCIPALS: [(&str, &str); 5] = [
    ("", "\"CLIENT\",\"CLIENT_CONTROL\""),
    ("admin", "\"ADMINISTRATOR\""),
    ("client", "\"CLIENT\""),
    ("control", "\"AUTHENTICATION_HANDLER\",\"CLIENT_CONTROL\",\"TOPIC_CONTROL\""),
    ("operator", "\"OPERATOR\""),
];

/// Who knows the principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// The broker, which has them for development.
    Inside,
    /// Others, whom it asks, and who take tokens as well.
    Outside,
}

/// What credentials show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// For how long, if it is a token. A token is the time that it is good for.
    pub good_for: Option<Duration>,
}

/// What the broker says to a connect request (section 3.1), before it looks at the credentials.
pub fn refusal(request: &ConnectRequest) -> Option<u8> {
    if !(22..=29).contains(&request.version) {
        Some(102)
    } else if request.recovery.is_some() {
        // Of a session that never was.
        Some(117)
    } else {
        None
    }
}

/// Principal and password of a connect request.
pub fn login(request: &ConnectRequest) -> (String, String) {
    let password = match &request.credentials {
        Credentials::Password(password) => password,
        Credentials::None | Credentials::Custom(_) => "",
    };
    (request.principal.clone().unwrap_or_default(), password.to_owned())
}

/// What those say whom a broker asks.
pub fn verdict(Login { principal, credentials, .. }: &Login) -> Verdict {
    let Credentials::Password(password) = credentials else {
        let is_anonymous = principal.is_empty() && *credentials == Credentials::None;
        return if is_anonymous { Verdict::Accepted(identity(principal, None)) } else { Verdict::Refused };
    };
    match shown(Known::Outside, principal, password) {
        Some(Shown { good_for }) => Verdict::Accepted(identity(principal, good_for)),
        None => Verdict::Refused,
    }
}

/// What they say when they are asked again.
pub fn standing(gone: &[String], takes_tokens: bool, principal: &str, proof: Proof) -> Standing {
    if proof == OF_TOKENS {
        return if takes_tokens { Standing::Unchanged } else { Standing::Revoked };
    }
    match gone.iter().any(|other| other == principal) {
        true => Standing::Revoked,
        false => Standing::Now(identity(principal, None)),
    }
}

const OF_TOKENS: Proof = Proof(1);

fn identity(principal: &str, good_for: Option<Duration>) -> Identity {
    let roles = roles_of(principal).split(',').map(|name| name.trim_matches('"').to_owned());
    Identity {
        principal: principal.to_owned(),
        roles: roles.collect(),
        properties: Vec::new(),
        expiry: good_for.map(|within| Expiry { within, at: expiry_time(within) }),
        proof: if good_for.is_some() { OF_TOKENS } else { Proof::default() },
    }
}

/// `$ExpiryTime` of a token that is good for so long.
fn expiry_time(good_for: Duration) -> u64 {
    1_700_000_000_000 + u64::try_from(good_for.as_millis()).expect("short")
}

/// Sets who a session is.
pub fn become_another(properties: &mut BTreeMap<String, String>, principal: &str, shown: Shown) {
    properties.insert("$Principal".into(), principal.into());
    properties.insert("$Roles".into(), roles_of(principal).into());
    match shown.good_for {
        Some(good_for) => drop(properties.insert("$ExpiryTime".into(), expiry_time(good_for).to_string())),
        None => drop(properties.remove("$ExpiryTime")),
    }
}

/// P-1: the fixed properties, and what the session proposes.
pub fn properties(
    id: SessionId,
    server_name: &str,
    request: &ConnectRequest,
    arrival: &Arrival,
    shown: Shown,
) -> BTreeMap<String, String> {
    let principal = request.principal.as_deref().unwrap_or_default();
    let client_type = match &*request.client_type {
        "WB" => "JAVASCRIPT_BROWSER",
        "PY" => "PYTHON",
        _ => "OTHER",
    };
    let fixed = [
        ("$SessionId", &*id.to_string()),
        ("$ClientType", client_type),
        ("$Transport", "WEBSOCKET"),
        ("$ServerName", server_name),
        ("$Connector", "WebSocket"),
        ("$ClientIP", &arrival.client_ip),
        ("$StartTime", &arrival.start_time.to_string()),
        ("$Environment", "UNKNOWN"),
        ("$Country", ""),
        ("$Language", ""),
        ("$Latitude", "NaN"),
        ("$Longitude", "NaN"),
    ];
    let mut properties = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    become_another(&mut properties, principal, shown);
    propose(&mut properties, request.properties.iter().flatten());
    properties
}

/// Anybody may be anonymous; the others need the password, or a token where those are taken.
pub fn shown(known: Known, principal: &str, password: &str) -> Option<Shown> {
    PRINCIPALS.iter().find(|(name, _)| *name == principal)?;
    let good_for = password.strip_suffix("ms").and_then(|time| time.parse().ok()).map(Duration::from_millis);
    match (principal, good_for) {
        ("", _) if known == Known::Inside || password.is_empty() => Some(Shown { good_for: None }),
        ("", _) => None,
        (_, None) => (password == "password").then_some(Shown { good_for: None }),
        (_, good_for) => (known == Known::Outside).then_some(Shown { good_for }),
    }
}

fn roles_of(principal: &str) -> &'static str {
    PRINCIPALS.iter().find(|(name, _)| *name == principal).map_or("", |(_, roles)| roles)
}

/// P-2: what a session may say about itself; of the fixed properties only some.
pub fn propose<'a>(properties: &mut BTreeMap<String, String>, proposed: impl Iterator<Item = &'a (String, String)>) {
    for (key, value) in proposed {
        let illegal = |character: char| " \t\r\n\"'()".contains(character);
        let value = match &**key {
            "$Environment" => value.clone(),
            "$Country" => value.to_uppercase(),
            "$Language" => value.to_lowercase(),
            key if key.is_empty() || key.starts_with('$') || key.contains(illegal) => continue,
            _ => value.clone(),
        };
        properties.insert(key.clone(), value);
    }
}
