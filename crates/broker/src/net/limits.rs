//! The limits of connections.

use std::time::Duration;

use super::traffic::Traffic;

/// The limits of a connection before it has a session, and of the traffic of all.
#[derive(Clone, Debug)]
pub struct Limits {
    /// To send a complete HTTP request; and then, at `/antiphon`, a first message that says what the client asks for.
    pub handshake_timeout: Duration,
    /// Bytes of its head, give or take what one read brings.
    pub max_head_bytes: usize,
    /// Bytes of such a first message.
    pub max_connect_bytes: usize,
    /// Largest WebSocket message, in bytes.
    pub max_message_size: usize,
    /// Connections at the same time.
    pub max_connections: u32,
    /// Connections at the same time from one address; of IPv6, from one network of 64 bits. Addresses of this machine have
    /// as many as they want, unless this or the rate is another one than the default.
    pub max_connections_per_address: u32,
    /// Connections that such an address opens in a second, for long; ten times as many may come at once.
    pub connection_rate: u32,
    /// Once they have sessions.
    pub traffic: Traffic,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            max_head_bytes: 64 << 10,
            max_connect_bytes: 64 << 10,
            max_message_size: 32 << 20,
            max_connections: 16_384,
            max_connections_per_address: 1_024,
            connection_rate: 50,
            traffic: Traffic::default(),
        }
    }
}
