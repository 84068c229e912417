//! How a connection begins: the parameters of the HTTP upgrade (section 2) and the first message of the server
//! (section 3).
//!
//! - `request`: what a client asks for, as a query or as headers.
//! - `properties`: the two textual forms of proposed session properties in it.
//! - `secrets`: credentials and session tokens.
//! - `response`: what a server answers.

mod properties;
mod request;
mod response;
mod secrets;

pub use request::{CAPABILITY_UNIFIED, ConnectRequest, HandshakeError, Recovery};
pub use response::{ConnectResponse, ResponseCode};
pub use secrets::{Credentials, SessionToken, TOKEN_LENGTH};

/// The oldest protocol version that this crate speaks.
pub const OLDEST_VERSION: u8 = 22;
/// The newest protocol version that this crate speaks.
pub const NEWEST_VERSION: u8 = 29;
