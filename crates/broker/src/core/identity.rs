//! Who somebody is: what a client says of itself, and what it is taken for.
//!
//! The core does not check credentials, which takes time and files. It asks ([`Output::Authenticate`](super::Output)), and
//! is told ([`Broker::handle_authenticated`](super::Broker::handle_authenticated)).

use std::time::Duration;

use antiphon_protocol::wire::handshake::Credentials;

/// What a client says of itself, and the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Empty if it is anonymous, or if the credentials say it.
    pub principal: String,
    /// Never printed.
    pub credentials: Credentials,
    /// From where.
    pub client_ip: String,
}

/// Names a question that the core asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What became of a [`Login`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The credentials are right.
    Accepted(Identity),
    /// They are not; nobody is told why, but the log of the broker.
    Refused,
    /// Nobody has looked at them: others are waiting, as many as may be.
    Busy,
}

/// What a session is by its credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Empty if it is anonymous.
    pub principal: String,
    /// Its roles, in any order.
    pub roles: Vec<String>,
    /// User properties that the broker sets; no session can propose others.
    pub properties: Vec<(String, String)>,
    /// Until when that is true; for as long as the session lives if nothing.
    pub expiry: Option<Expiry>,
    /// What showed it.
    pub proof: Proof,
}

/// By what an identity was shown: the same for the same password, or for tokens of the same issuer and key, and nothing can
/// be learned of these from it. The default is that of anonymous sessions, which have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proof(pub u64);

/// What an identity is worth when other credentials are accepted than at the time when it was shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds as it is.
    Unchanged,
    /// The same credentials show this one now.
    Now(Identity),
    /// They are not accepted any more.
    Revoked,
}

/// When credentials expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// From now.
    pub within: Duration,
    /// `$ExpiryTime`: milliseconds since 1970.
    pub at: u64,
}
