//! The configuration of a session.

use std::time::Duration;

use crate::features::Features;
use crate::recovery::RecoveryLimits;

/// The configuration of a session.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// E.g. `WB` for a browser (section 2.4).
    pub client_type: &'static str,
    /// Who connects; none for anonymous.
    pub principal: Option<String>,
    /// Proposed session properties.
    pub properties: Vec<(String, String)>,
    /// Protocol version to ask for, 22 to 29.
    pub protocol_version: u8,
    /// From [`ClientSession::connect`] to the connection response.
    pub connect_timeout: Duration,
    /// How long the server is asked to keep the session when its connection is lost, and how long we try to get another
    /// one; zero for not at all.
    pub reconnect_timeout: Duration,
    /// How much of what was sent is kept for that.
    pub recovery: RecoveryLimits,
    /// Of a registration and of a ping; requests name their own.
    pub request_timeout: Duration,
    /// Largest message taken from the server, in bytes. What a larger one belongs to fails.
    pub max_message_size: usize,
    /// What the server is offered to do beyond the protocol.
    pub features: Features,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            client_type: "WB",
            principal: None,
            properties: Vec::new(),
            protocol_version: 25,
            connect_timeout: Duration::from_secs(10),
            reconnect_timeout: Duration::ZERO,
            recovery: RecoveryLimits::default(),
            request_timeout: Duration::from_secs(30),
            max_message_size: 32 << 20,
            features: Features::NONE,
        }
    }
}
