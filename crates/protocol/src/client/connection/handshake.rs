//! Interprets the first message of a server on a connection.

use crate::client::error::ConnectCode;
use crate::features::Features;
use crate::negotiated::Negotiated;
use crate::text;
use crate::wire::handshake::{ConnectResponse, NEWEST_VERSION, OLDEST_VERSION, ResponseCode, SessionToken};
use crate::wire::primitives::SessionId;

/// The server accepted the connection.
#[derive(Debug)]
pub struct Accepted {
    /// Of the session.
    pub session: SessionId,
    /// Presented on reconnection.
    pub token: SessionToken,
    /// With no limit to the size of messages if there is [`Self::resend_from`]: the response has no room for both.
    pub negotiated: Negotiated,
    /// The session goes on and nothing was lost, but for what the server wants to have again: messages from this number on.
    pub resend_from: Option<u64>,
}

/// The server refused the connection, and why.
#[derive(Debug)]
pub struct Refusal {
    /// The server's own, if it refused in due form.
    pub response: Option<ResponseCode>,
    /// For programs.
    pub code: ConnectCode,
    /// For people.
    pub text: String,
}

/// Reads the first message of a server. `is_reconnection` says whether a session was open before, `offered` what the client
/// offered.
pub fn read(frame: &[u8], is_reconnection: bool, offered: Features) -> Result<Accepted, Refusal> {
    let response = ConnectResponse::decode(frame).map_err(|error| Refusal {
        response: None,
        code: ConnectCode::HandshakeError,
        text: text!["the server's first message is no connection response: ", error.message()],
    })?;
    match response {
        ConnectResponse::Accepted { version, .. } if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&version) => {
            Err(Refusal {
                response: None,
                code: ConnectCode::ProtocolVersionMismatch,
                text: text!["the server speaks protocol version ", version, ", this client 22 to 29"],
            })
        }
        // 105 and 106 answer a reconnection only.
        ConnectResponse::Accepted { version, code, session, token, ping_period, tail, features }
            if code == ResponseCode::OK || is_reconnection =>
        {
            let is_lossless = code == ResponseCode::RECONNECTED;
            let max_message_size = if is_lossless { 0 } else { tail };
            let mut negotiated = Negotiated::from_wire(version, ping_period, max_message_size);
            negotiated.features = features.unwrap_or_default() & offered;
            Ok(Accepted {
                session,
                token,
                negotiated,
                resend_from: is_lossless.then(|| u64::try_from(tail).unwrap_or(0)),
            })
        }
        ConnectResponse::Accepted { code, .. } | ConnectResponse::Refused { code, .. } => Err(Refusal {
            response: Some(code),
            code: ConnectCode::of_refusal(code),
            text: text!["the server refused: ", code.text()],
        }),
    }
}
