//! What the connection says to the rest of the session: what follows from an event, and which way a message takes.

use super::super::error::{Closed, ConnectError, Loss};
use super::super::ids::ConnectionId;
use crate::recovery::Frame;
use crate::time::Moment;
use crate::wire::primitives::SessionId;

/// A consequence of an event on the connection, for the rest of the session to carry out.
#[derive(Debug)]
pub enum Step {
    Nothing,
    /// A connection is to be opened.
    Open(ConnectionId),
    /// The attempt is to be given up for another one, at once.
    OpenAnother(ConnectionId),
    /// There is no session, and there will be none.
    NotOpened(ConnectError),
    /// The session is open.
    Opened(SessionId),
    /// The connection is lost. Somebody has to choose how long to wait before this attempt.
    Lost {
        reason: String,
        attempt: u32,
    },
    /// An attempt came to nothing. The same for the next one.
    AttemptFailed {
        attempt: u32,
    },
    /// Connected again. `missed` is to be sent again; if it is nothing, all that was under way is lost.
    Reconnected {
        now: Moment,
        session: SessionId,
        missed: Option<Vec<Frame>>,
        new_session: bool,
    },
    /// The session is closing, and the server has to be told.
    Goodbye(Goodbye),
    /// The session is over; what is open is lost. `lost` says how it lost its connection, if that is why.
    Ended {
        closed: Closed,
        loss: Loss,
        lost: Option<String>,
    },
}

/// How the server is told that a session is closed.
#[derive(Debug)]
pub enum Goodbye {
    /// At once.
    Send,
    /// As soon as this connection is open.
    Open(ConnectionId),
    /// As soon as the one that is being opened is.
    Wait,
}

/// How a message gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// At once.
    Open,
    /// When there is a connection again.
    Later,
}
