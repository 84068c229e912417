//! Why a session ends.

/// Why a session ends, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A close request.
    ByClient,
    /// The same from outside of its connection.
    ByToken,
    BySession,
    ConnectionLost,
    /// The connection looks open, but nothing comes.
    Silent,
    Expired,
    CredentialsExpired,
    /// What it logged in with is not accepted any more.
    Revoked,
    MakesRoom,
    SlowReader,
    Violation,
    Stopping,
}

impl Ending {
    pub fn text(self) -> &'static str {
        match self {
            Self::ByClient => "by its client",
            Self::ByToken => "by its client, which left without a connection",
            Self::BySession => "by another session",
            Self::ConnectionLost => "its connection is lost, and it was not to be kept",
            Self::Silent => "its client was silent for two ping periods, and it was not to be kept",
            Self::Expired => "its client did not come back in time",
            Self::CredentialsExpired => "its credentials have expired",
            Self::Revoked => "what it logged in with is not accepted any more",
            Self::MakesRoom => "it had no connection, and another session needed its place",
            Self::SlowReader => "its client does not read what it is sent",
            Self::Violation => "its client sent what no client may send",
            Self::Stopping => "the broker stops",
        }
    }
}
