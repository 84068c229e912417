//! How a connection begins: the parameters of the HTTP upgrade (section 2) and the first message of the server
//! (section 3).

use std::borrow::Cow;
use std::fmt;

use base64ct::{Base64, Encoding as _};
use percent_encoding::percent_decode_str;
use serde::de::{Deserializer as _, MapAccess, Visitor};

use super::layouts::WireCredentials;
use super::primitives::SessionId;
use super::{DecodeError, Reader, decode_all, encoded};
use crate::text;
use crate::text::hexadecimal_digit;

/// The oldest protocol version that this crate speaks.
pub const OLDEST_VERSION: u8 = 22;
/// The newest protocol version that this crate speaks.
pub const NEWEST_VERSION: u8 = 29;

/// Set by every client of today (section 2.5).
pub const CAPABILITY_UNIFIED: u32 = 8;

/// Proves who a principal is. Never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// No proof.
    #[default]
    None,
    /// A password.
    Password(String),
    /// Bytes that the server's authenticator understands.
    Custom(Vec<u8>),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Password(_) => "Password(…)",
            Self::Custom(_) => "Custom(…)",
        })
    }
}

impl Credentials {
    /// As they travel in a service request.
    #[must_use]
    pub fn as_wire(&self) -> WireCredentials<'_> {
        match self {
            // As the official JavaScript client writes absent credentials, so that every server accepts them.
            Self::None => WireCredentials::Password(""),
            Self::Password(password) => WireCredentials::Password(password),
            Self::Custom(bytes) => WireCredentials::Custom(bytes),
        }
    }

    fn to_parameter(&self) -> String {
        Base64::encode_string(&encoded(&self.as_wire()))
    }

    fn from_parameter(text: &str) -> Result<Self, HandshakeError> {
        let malformed = || HandshakeError::Malformed("password");
        if text.is_empty() {
            return Ok(Self::None);
        }
        let bytes = Base64::decode_vec(text).map_err(|_| malformed())?;
        decode_all::<WireCredentials<'_>>(&bytes).map(Self::from).map_err(|_| malformed())
    }
}

impl From<WireCredentials<'_>> for Credentials {
    fn from(credentials: WireCredentials<'_>) -> Self {
        match credentials {
            WireCredentials::None(_) | WireCredentials::Password("") => Self::None,
            WireCredentials::Password(password) => Self::Password(password.to_owned()),
            WireCredentials::Custom(bytes) => Self::Custom(bytes.to_owned()),
        }
    }
}

/// Number of bytes in a session token.
pub const TOKEN_LENGTH: usize = 24;

/// The secret that lets its bearer take over a session: 24 ASCII characters. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; TOKEN_LENGTH]);

impl SessionToken {
    /// A token made of 18 bytes from the system's generator.
    #[must_use]
    pub fn from_random(random: [u8; TOKEN_LENGTH / 4 * 3]) -> Self {
        let mut token = [0; TOKEN_LENGTH];
        let written = Base64::encode(&random, &mut token);
        debug_assert_eq!(written.map(str::len), Ok(TOKEN_LENGTH));
        Self(token)
    }

    /// The token's text as bytes, for a comparison in constant time.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; TOKEN_LENGTH] {
        &self.0
    }

    /// The token's text, to present it on reconnection.
    #[must_use]
    pub fn as_text(&self) -> &str {
        // Tokens are ASCII; one that is no text cannot be presented, and so opens nothing.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

/// What a client asks for when it opens a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// `WB` for a browser; section 2.4 has others.
    pub client_type: String,
    /// Protocol version that the client wants to speak.
    pub version: u8,
    /// Capability bits (section 2.5).
    pub capabilities: u32,
    /// Milliseconds that the server is asked to keep the session when its connection is lost; 0 for not at all.
    pub reconnect_timeout: u64,
    /// Who wants to connect; none for anonymous.
    pub principal: Option<String>,
    /// Proof of that.
    pub credentials: Credentials,
    /// Proposed session properties, in the order given; none if the parameter is missing.
    pub properties: Option<Vec<(String, String)>>,
    /// Takes up an existing session instead of opening one.
    pub recovery: Option<Recovery>,
}

/// The part of a connect request that makes it a reconnection (section 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// As the client sent it; compare it in constant time.
    pub token: String,
    /// `cs`: number of the oldest message that the client can send again.
    pub oldest_sent: u64,
    /// `ss`: number of the last message that the client received.
    pub last_received: u64,
}

/// Why the parameters of an upgrade request are not a connect request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not one of ours: there is no parameter `v`.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter whose value cannot be read.
    #[error("the parameter {0} cannot be read")]
    Malformed(&'static str),
}

/// Escapes what `encodeURIComponent` escapes. By hand, because the table of a library would be downloaded by every page.
fn escape_component(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                out.push(byte.into());
            }
            _ => {
                out.push('%');
                out.push(hexadecimal_digit(u32::from(byte >> 4)).to_ascii_uppercase());
                out.push(hexadecimal_digit(u32::from(byte & 0xf)).to_ascii_uppercase());
            }
        }
    }
}

impl ConnectRequest {
    /// The query of the URL to open, without the question mark: what a browser can send.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        for (name, value) in self.parameters(properties_to_json, true) {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            escape_component(&value, &mut query);
        }
        query
    }

    /// The same as HTTP headers: names and values.
    #[must_use]
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        self.parameters(properties_to_list, false)
    }

    /// Reads the query of an upgrade request, without the question mark. Unknown parameters are ignored.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if there is no version, or a known parameter makes no sense.
    pub fn from_query(query: &str) -> Result<Self, HandshakeError> {
        let mut parameters = Vec::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A `+` stays a `+`: Base64 uses it, and old clients do not escape it (section 2.2).
            let value = percent_decode_str(value).decode_utf8().map_err(|_| HandshakeError::Malformed("query"))?;
            parameters.push((name, value));
        }
        Self::from_parameters(|name| {
            parameters.iter().find(|(other, _)| *other == name).map(|(_, value)| Cow::Borrowed(value.as_ref()))
        })
    }

    /// Reads the headers of an upgrade request; `header` looks one up by its lower-case name.
    ///
    /// # Errors
    ///
    /// As [`Self::from_query`].
    pub fn from_headers<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, HandshakeError> {
        Self::from_parameters(|name| header(name).map(Cow::Borrowed))
    }

    fn from_parameters<'a>(get: impl Fn(&'static str) -> Option<Cow<'a, str>>) -> Result<Self, HandshakeError> {
        fn number<T: std::str::FromStr>(name: &'static str, text: &str) -> Result<T, HandshakeError> {
            text.trim().parse().map_err(|_| HandshakeError::Malformed(name))
        }
        let version = get("v").ok_or(HandshakeError::Missing("v"))?;
        let optional = |name, missing| get(name).map_or(Ok(missing), |text| number(name, &text));
        let recovery = match get("c") {
            Some(token) => Some(Recovery {
                token: token.into_owned(),
                oldest_sent: optional("cs", 0)?,
                last_received: optional("ss", 0)?,
            }),
            None => None,
        };
        Ok(Self {
            client_type: get("ty").unwrap_or_default().into_owned(),
            version: number("v", &version)?,
            capabilities: get("ca").map_or(Ok(0), |text| number("ca", &text))?,
            reconnect_timeout: optional("r", 0)?,
            principal: get("username").map(Cow::into_owned),
            credentials: get("password").map_or(Ok(Credentials::None), |text| Credentials::from_parameter(&text))?,
            properties: get("sp").map(|text| properties_from_text(&text)).transpose()?,
            recovery,
        })
    }

    /// Names and values in the order of the official clients: with a query, who connects comes last.
    fn parameters(
        &self,
        write_properties: impl Fn(&[(String, String)]) -> String,
        principal_last: bool,
    ) -> Vec<(&'static str, String)> {
        let mut parameters = vec![
            ("ty", self.client_type.clone()),
            ("v", text![self.version]),
            ("ca", text![self.capabilities]),
            ("r", text![self.reconnect_timeout]),
        ];
        let recovery = self.recovery.iter().flat_map(|recovery| {
            [("c", recovery.token.clone()), ("cs", text![recovery.oldest_sent]), ("ss", text![recovery.last_received])]
        });
        let properties = self.properties.iter().map(|properties| ("sp", write_properties(properties)));
        let session = recovery.chain(properties);
        let who = self.principal.iter().flat_map(|principal| {
            let credentials = match (&self.credentials, principal.is_empty()) {
                (Credentials::None, true) => String::new(),
                (credentials, _) => credentials.to_parameter(),
            };
            [("username", principal.clone()), ("password", credentials)]
        });
        if principal_last {
            parameters.extend(session.chain(who));
        } else {
            parameters.extend(who.chain(session));
        }
        parameters
    }
}

/// Both textual forms of section 2.6.
fn properties_from_text(text: &str) -> Result<Vec<(String, String)>, HandshakeError> {
    let properties = match text.trim_start().as_bytes().first() {
        None => Some(Vec::new()),
        Some(b'{') => properties_from_json(text),
        Some(_) => properties_from_list(text),
    };
    properties.ok_or(HandshakeError::Malformed("sp"))
}

/// Keeps the order and, as the official client does, whatever comes twice; the later value counts.
fn properties_from_json(text: &str) -> Option<Vec<(String, String)>> {
    struct Pairs;
    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of strings")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let pairs = deserializer.deserialize_map(Pairs).ok()?;
    deserializer.end().ok()?;
    Some(pairs)
}

fn properties_to_json(properties: &[(String, String)]) -> String {
    let mut text = String::from("{");
    for (index, (key, value)) in properties.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json_string(key, &mut text);
        text.push(':');
        json_string(value, &mut text);
    }
    text.push('}');
    text
}

fn json_string(value: &str, out: &mut String) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control @ '\0'..' ' => {
                out.push_str("\\u00");
                out.push(hexadecimal_digit(u32::from(control) >> 4));
                out.push(hexadecimal_digit(u32::from(control) & 0xf));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Quoted strings between commas, alternating key and value.
fn properties_from_list(text: &str) -> Option<Vec<(String, String)>> {
    let mut characters = text.chars().peekable();
    let mut strings = Vec::new();
    loop {
        if characters.next()? != '"' {
            return None;
        }
        let mut string = String::new();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => string.push(match characters.next()? {
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    literal @ ('\\' | '"' | '\'') => literal,
                    _ => return None,
                }),
                character => string.push(character),
            }
        }
        strings.push(string);
        match characters.next() {
            Some(',') => {}
            Some(_) => return None,
            None => break,
        }
    }
    let mut strings = strings.into_iter();
    let mut pairs = Vec::new();
    while let Some(key) = strings.next() {
        pairs.push((key, strings.next()?));
    }
    Some(pairs)
}

fn properties_to_list(properties: &[(String, String)]) -> String {
    let mut text = String::new();
    for string in properties.iter().flat_map(|(key, value)| [key, value]) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push('"');
        for character in string.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\t' => text.push_str("\\t"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// What a server says to a connect request (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseCode(pub u8);

macro_rules! response_codes {
    ($($code:literal $name:ident $text:literal,)*) => {
        impl ResponseCode {
            $(#[doc = $text] pub const $name: Self = Self($code);)*

            /// The name of the code; none for a number that the protocol does not have.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 { $($code => Some(stringify!($name)),)* _ => None }
            }

            /// What the code means, for people.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self.0 { $($code => $text,)* _ => "the server answered with a code that does not exist" }
            }
        }
    };
}

response_codes! {
    100 OK "a new session is open",
    102 DOWNGRADE "the server does not speak the protocol version asked for",
    105 RECONNECTED "the session goes on and nothing was lost",
    106 RECONNECTED_WITH_MESSAGE_LOSS "the session goes on but messages were lost",
    107 REVERSE_CONNECTION_ACCEPTED "a reverse connection was accepted",
    111 REJECTED "the server rejected the connection",
    113 LICENCE_EXCEEDED "the server has as many sessions as it may have",
    114 RECONNECTION_UNSUPPORTED "the server does not support reconnection",
    115 PROTOCOL_ERROR "the server could not make sense of the connect request",
    116 AUTHENTICATION_FAILED "the principal is unknown or the credentials are wrong",
    117 UNKNOWN_SESSION "the session to reconnect to is gone",
    118 RECONNECTION_FAILED_MESSAGE_LOSS "reconnection failed because messages were lost",
    119 SERVER_INITIALISING "the server is starting, try again",
}

/// The first message of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectResponse {
    /// The connection serves a session: codes 100, 105 and 106.
    Accepted {
        /// What the server will speak.
        version: u8,
        /// Which of the three.
        code: ResponseCode,
        /// The session's ID.
        session: SessionId,
        /// The session's secret.
        token: SessionToken,
        /// Milliseconds between system pings; 0 or less for none.
        ping_period: i64,
        /// For 105 the number of the first message that the server wants to have again, else the largest message it
        /// takes, in bytes; 0 or less for no limit.
        tail: i32,
    },
    /// Any other code; the server closes the WebSocket.
    Refused {
        /// The version that was asked for.
        version: u8,
        /// Why.
        code: ResponseCode,
    },
}

const MAGIC: u8 = b'#';

impl ConnectResponse {
    /// Reads the first WebSocket message of a server. Bytes after the response are ignored.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is something else, or its code is not one of section 3.1.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(frame);
        let [magic, version, code] = input.array()?;
        let code = ResponseCode(code);
        if magic != MAGIC || code.name().is_none() {
            return Err(DecodeError::NotAConnectionResponse);
        }
        if !matches!(code, ResponseCode::OK | ResponseCode::RECONNECTED | ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS) {
            return Ok(Self::Refused { version, code });
        }
        Ok(Self::Accepted {
            version,
            code,
            session: SessionId {
                server: u64::from_be_bytes(input.array()?),
                value: u64::from_be_bytes(input.array()?),
            },
            token: SessionToken(input.array()?),
            ping_period: i64::from_be_bytes(input.array()?),
            tail: i32::from_be_bytes(input.array()?),
        })
    }

    /// The bytes of the WebSocket message.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![MAGIC];
        match self {
            Self::Refused { version, code } => frame.extend_from_slice(&[*version, code.0]),
            Self::Accepted { version, code, session, token, ping_period, tail } => {
                frame.extend_from_slice(&[*version, code.0]);
                frame.extend_from_slice(&session.server.to_be_bytes());
                frame.extend_from_slice(&session.value.to_be_bytes());
                frame.extend_from_slice(token.as_bytes());
                frame.extend_from_slice(&ping_period.to_be_bytes());
                frame.extend_from_slice(&tail.to_be_bytes());
            }
        }
        frame
    }
}
