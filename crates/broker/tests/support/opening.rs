//! What a client says when it opens a connection, for tests that write all that follows by hand.

use antiphon_broker::core::Arrival;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::handshake::{ConnectRequest, Credentials};

/// Asks for an anonymous session without properties and features, which ends with its connection.
pub fn connect_request() -> ConnectRequest {
    ConnectRequest {
        client_type: "WB".into(),
        version: 29,
        capabilities: 8,
        reconnect_timeout: 0,
        principal: None,
        credentials: Credentials::None,
        properties: None,
        recovery: None,
        features: Features::NONE,
    }
}

/// A connection from an address. Each has a number, from which comes the token of its session.
pub fn arrival(client_ip: &str, connection: u64) -> Arrival {
    let mut random = [0; 18];
    random[..8].copy_from_slice(&connection.to_be_bytes());
    Arrival { client_ip: client_ip.into(), start_time: 1_700_000_000_000, random }
}
