//! What a client says when it opens a connection, for tests that write all that follows by hand.

use antiphon_broker::core::Arrival;

/// A connection from an address. Each has a number, from which comes the token of its session.
pub fn arrival(client_ip: &str, connection: u64) -> Arrival {
    let mut random = [0; 18];
    random[..8].copy_from_slice(&connection.to_be_bytes());
    Arrival { client_ip: client_ip.into(), start_time: 1_700_000_000_000, random }
}
