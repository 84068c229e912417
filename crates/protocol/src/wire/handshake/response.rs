//! The first message of a server (section 3).

use super::secrets::SessionToken;
use crate::features::Features;
use crate::wire::primitives::SessionId;
use crate::wire::{DecodeError, Reader};

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
    119 SERVER_INITIALISING "the server is not ready, try again",
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
        /// What the server does beyond the protocol, of what the client offered; none if it says nothing of that, as
        /// official servers do, and ours to a client that offered nothing.
        features: Option<Features>,
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

/// Stands before the features, so that nothing else that a server may write there is taken for them.
const FEATURES: [u8; 4] = *b"FEAT";

impl ConnectResponse {
    /// Reads the first WebSocket message of a server. Bytes after the response are ignored, unless they are its features;
    /// so are bytes after these.
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
            features: match (input.array(), input.array()) {
                (Ok(FEATURES), Ok(bits)) => Some(Features::from_wire(u32::from_be_bytes(bits))),
                _ => None,
            },
        })
    }

    /// The bytes of the WebSocket message.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let mut frame = vec![MAGIC];
        match self {
            Self::Refused { version, code } => frame.extend_from_slice(&[*version, code.0]),
            Self::Accepted { version, code, session, token, ping_period, tail, features } => {
                frame.extend_from_slice(&[*version, code.0]);
                frame.extend_from_slice(&session.server.to_be_bytes());
                frame.extend_from_slice(&session.value.to_be_bytes());
                frame.extend_from_slice(token.as_bytes());
                frame.extend_from_slice(&ping_period.to_be_bytes());
                frame.extend_from_slice(&tail.to_be_bytes());
                if let Some(features) = features {
                    frame.extend_from_slice(&FEATURES);
                    frame.extend_from_slice(&features.to_wire().to_be_bytes());
                }
            }
        }
        frame
    }
}
