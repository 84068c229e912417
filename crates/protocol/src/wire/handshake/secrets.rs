//! Credentials and session tokens, which are never printed.

use std::fmt;

use base64ct::{Base64, Encoding as _};

use crate::text::push;
use crate::wire::layouts::WireCredentials;
use crate::wire::primitives::text_of;
use crate::wire::{decode_all, encoded};

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

    /// As they travel in an upgrade request.
    #[must_use]
    pub fn to_parameter(&self) -> String {
        base64(&encoded(&self.as_wire()))
    }

    /// Reads what [`Self::to_parameter`] writes; nothing if it is something else.
    #[must_use]
    pub fn from_parameter(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::None);
        }
        let bytes = Base64::decode_vec(text).ok()?;
        decode_all::<WireCredentials<'_>>(&bytes).ok().map(Self::from)
    }
}

/// Base64, in a small part of the library's code, which would be in what browsers download.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut text, mut bits, mut left) = (String::new(), 0, 0);
    for byte in bytes {
        bits = bits << 8 | usize::from(*byte);
        left += 8;
        while left >= 6 {
            left -= 6;
            push(&mut text, char::from(DIGITS[bits >> left & 63]));
        }
    }
    if left > 0 {
        push(&mut text, char::from(DIGITS[bits << (6 - left) & 63]));
    }
    while text.len() % 4 > 0 {
        push(&mut text, '=');
    }
    text
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
pub struct SessionToken(pub(super) [u8; TOKEN_LENGTH]);

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
        text_of(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_library() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..=bytes.len() {
            assert_eq!(base64(&bytes[..length]), Base64::encode_string(&bytes[..length]));
        }
    }
}
