//! Who a session is: principal, roles, properties (rules A-3 and P-1 to P-5, sections 2 and 9).

use std::collections::BTreeMap;

use antiphon_broker::core::Arrival;
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

/// What the broker says to a connect request (section 3.1).
pub fn code(request: &ConnectRequest) -> u8 {
    let principal = request.principal.as_deref().unwrap_or_default();
    let password = match &request.credentials {
        Credentials::Password(password) => password,
        Credentials::None | Credentials::Custom(_) => "",
    };
    if !(22..=29).contains(&request.version) {
        102
    } else if request.recovery.is_some() {
        // Of a session that never was.
        117
    } else if !may_be(principal, password) {
        116
    } else {
        100
    }
}

/// P-1: the fixed properties, and what the session proposes.
pub fn properties(
    id: SessionId,
    server_name: &str,
    request: &ConnectRequest,
    arrival: &Arrival,
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
        ("$Principal", principal),
        ("$Roles", roles_of(principal)),
    ];
    let mut properties = fixed.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    propose(&mut properties, request.properties.iter().flatten());
    properties
}

/// Anybody may be anonymous; the others need the password.
pub fn may_be(principal: &str, password: &str) -> bool {
    let known = PRINCIPALS.iter().any(|(name, _)| *name == principal);
    known && (principal.is_empty() || password == "password")
}

pub fn roles_of(principal: &str) -> &'static str {
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
