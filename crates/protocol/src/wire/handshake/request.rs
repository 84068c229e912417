//! What a client asks for when it opens a WebSocket (sections 2 and 18.5).

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::NEWEST_VERSION;
use super::properties::{properties_from_text, properties_to_json, properties_to_list};
use super::response::{ConnectResponse, ResponseCode};
use super::secrets::Credentials;
use crate::features::Features;
use crate::text;
use crate::text::{hexadecimal_digit, push};

/// Set by every client of today (section 2.5).
pub const CAPABILITY_UNIFIED: u32 = 8;

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
    /// What the client can do beyond the protocol (section 18.1).
    pub features: Features,
}

/// The parameter that offers features. A server that does not know it ignores it.
const FEATURES: &str = "antiphon";

/// The part of a connect request that makes it a reconnection (section 10).
#[derive(Clone, PartialEq, Eq)]
pub struct Recovery {
    /// As the client sent it; compare it in constant time.
    pub token: String,
    /// `cs`: number of the oldest message that the client can send again.
    pub oldest_sent: u64,
    /// `ss`: number of the last message that the client received.
    pub last_received: u64,
}

impl fmt::Debug for Recovery {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oldest_sent, last_received, .. } = self;
        f.debug_struct("Recovery")
            .field("oldest_sent", oldest_sent)
            .field("last_received", last_received)
            .finish_non_exhaustive()
    }
}

/// Why what a client says first is no connect request. Without anything of what it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Not one of ours: there is no parameter `v`.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter whose value cannot be read.
    #[error("the parameter {name} cannot be read")]
    Malformed {
        /// Of the parameter.
        name: &'static str,
        /// That the client wants to speak, if that much can be read.
        version: Option<u8>,
    },
    /// There are no parameters where they should be; says what is there instead.
    #[error("{0}")]
    Nothing(&'static str),
}

impl HandshakeError {
    /// What a server answers: the version that it was asked for, if that much can be read (section 3).
    #[must_use]
    pub fn response(&self) -> ConnectResponse {
        let version = match self {
            Self::Malformed { version, .. } => *version,
            Self::Missing(_) | Self::Nothing(_) => None,
        };
        ConnectResponse::Refused { version: version.unwrap_or(NEWEST_VERSION), code: ResponseCode::PROTOCOL_ERROR }
    }
}

/// Escapes what `encodeURIComponent` escapes. By hand, because the table of a library would be downloaded by every page.
fn escape_component(value: &str, out: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => {
                push(out, byte.into());
            }
            _ => {
                push(out, '%');
                for digit in [byte >> 4, byte & 0xf] {
                    push(out, hexadecimal_digit(digit.into()).to_ascii_uppercase());
                }
            }
        }
    }
}

impl ConnectRequest {
    /// Asks for the least, at the newest version: an anonymous session without properties and features, which ends with its
    /// connection. Whoever wants more says so in the fields.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            client_type: "WB".into(),
            version: NEWEST_VERSION,
            capabilities: CAPABILITY_UNIFIED,
            reconnect_timeout: 0,
            principal: None,
            credentials: Credentials::None,
            properties: None,
            recovery: None,
            features: Features::NONE,
        }
    }

    /// The query of the URL to open, without the question mark: what a browser can send.
    #[must_use]
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        self.put_parameters(properties_to_json, true, &mut |name, value| {
            if !query.is_empty() {
                push(&mut query, '&');
            }
            query.push_str(name);
            push(&mut query, '=');
            escape_component(value, &mut query);
        });
        query
    }

    /// The same as HTTP headers: names and values.
    #[must_use]
    pub fn to_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        self.put_parameters(properties_to_list, false, &mut |name, value| headers.push((name, value.to_owned())));
        headers
    }

    /// Reads what a client says in its first message through the door that has nothing in the address: the same as in a
    /// query (section 18.5).
    ///
    /// # Errors
    ///
    /// As [`Self::from_query`].
    pub fn from_message(message: &[u8]) -> Result<Self, HandshakeError> {
        let query =
            std::str::from_utf8(message).map_err(|_| HandshakeError::Nothing("the first message is no text"))?;
        Self::from_query(query)
    }

    /// Reads the query of an upgrade request, without the question mark. Unknown parameters are ignored.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] if there is no version, or a known parameter makes no sense.
    pub fn from_query(query: &str) -> Result<Self, HandshakeError> {
        // A `+` stays a `+`: Base64 uses it, and old clients do not escape it (section 2.2).
        Self::from_parameters(|name| {
            let value = query.split('&').find_map(|pair| match pair.split_once('=') {
                Some((other, value)) => (other == name).then_some(value),
                None => (pair == name).then_some(""),
            });
            value.map(|value| percent_decode_str(value).decode_utf8().ok())
        })
    }

    /// Reads the headers of an upgrade request; `header` looks one up by its lower-case name.
    ///
    /// # Errors
    ///
    /// As [`Self::from_query`].
    pub fn from_headers<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, HandshakeError> {
        Self::from_parameters(|name| header(name).map(|value| Some(value.into())))
    }

    /// `get` looks a parameter up: nothing if it is missing, and nothing in that if it is no text.
    fn from_parameters<'a>(get: impl Fn(&'static str) -> Option<Option<Cow<'a, str>>>) -> Result<Self, HandshakeError> {
        let text = |name, version| match get(name) {
            None => Ok(None),
            Some(text) => text.map(Some).ok_or(HandshakeError::Malformed { name, version }),
        };
        let version = text("v", None)?.ok_or(HandshakeError::Missing("v"))?;
        let version = version.trim().parse().map_err(|_| HandshakeError::Malformed { name: "v", version: None })?;
        let malformed = |name| HandshakeError::Malformed { name, version: Some(version) };
        let text = |name| text(name, Some(version));
        let number = |name| match text(name)? {
            None => Ok(0),
            Some(text) => text.trim().parse::<u64>().map_err(|_| malformed(name)),
        };
        let bits = |name| number(name).and_then(|bits| u32::try_from(bits).map_err(|_| malformed(name)));
        let recovery = match text("c")? {
            Some(token) => {
                Some(Recovery { token: token.into_owned(), oldest_sent: number("cs")?, last_received: number("ss")? })
            }
            None => None,
        };
        Ok(Self {
            client_type: text("ty")?.unwrap_or_default().into_owned(),
            version,
            capabilities: bits("ca")?,
            reconnect_timeout: number("r")?,
            principal: text("username")?.map(Cow::into_owned),
            credentials: match text("password")? {
                Some(text) => Credentials::from_parameter(&text).ok_or_else(|| malformed("password"))?,
                None => Credentials::None,
            },
            properties: match text("sp")? {
                Some(text) => Some(properties_from_text(&text).ok_or_else(|| malformed("sp"))?),
                None => None,
            },
            recovery,
            features: Features::from_wire(bits(FEATURES)?),
        })
    }

    /// Puts names and values in the order of the official clients: with a query, who connects comes last.
    fn put_parameters(
        &self,
        write_properties: fn(&[(String, String)]) -> String,
        principal_last: bool,
        put: &mut dyn FnMut(&'static str, &str),
    ) {
        put("ty", &self.client_type);
        put("v", &text![self.version]);
        put("ca", &text![self.capabilities]);
        put("r", &text![self.reconnect_timeout]);
        if !principal_last {
            self.put_principal(put);
        }
        if let Some(Recovery { token, oldest_sent, last_received }) = &self.recovery {
            put("c", token);
            put("cs", &text![*oldest_sent]);
            put("ss", &text![*last_received]);
        }
        if let Some(properties) = &self.properties {
            put("sp", &write_properties(properties));
        }
        if self.features != Features::NONE {
            put(FEATURES, &text![self.features.to_wire()]);
        }
        if principal_last {
            self.put_principal(put);
        }
    }

    fn put_principal(&self, put: &mut dyn FnMut(&'static str, &str)) {
        if self.principal.is_none() && self.credentials == Credentials::None {
            return;
        }
        // Credentials alone go with the empty principal: an authenticator may know by them who connects.
        let principal = self.principal.as_deref().unwrap_or_default();
        put("username", principal);
        match &self.credentials {
            Credentials::None if principal.is_empty() => put("password", ""),
            credentials => put("password", &credentials.to_parameter()),
        }
    }
}
