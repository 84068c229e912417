//! What a session says: instructions to its driver, and events for the application.

use super::calls::Response;
use super::error::{Closed, ConnectError, RequestError};
use super::ids::{CallId, ConnectionId, HandlerId, RequestId};
use super::received::ReceivedRequest;
use crate::recovery::Frame;
use crate::time::Moment;
use crate::value::Value;
use crate::wire::primitives::SessionId;

/// An instruction of the session to its driver. Returned by [`ClientSession::poll_output`].
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open a connection with the query of [`ClientSession::connect_query`]. If it is open already, the server asks for
    /// fresh credentials: [`ClientSession::change_principal`] answers.
    Connect(ConnectionId),
    /// Send this as one binary WebSocket message.
    Send(Frame),
    /// Messages wait to be sent together: call [`ClientSession::flush`] when whatever happens now is over, and more than one
    /// thing may have been asked for.
    FlushSoon,
    /// Close the connection, or stop opening it.
    Disconnect,
    /// Call [`ClientSession::retry_after`], to say how long to wait before this attempt to reconnect, counted from 1.
    Retry(u32),
    /// Tell the application.
    Deliver(Event),
    /// Call [`ClientSession::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// An event for the application.
#[derive(Debug, PartialEq)]
pub enum Event {
    /// The session is open.
    Connected(SessionId),
    /// The session could not be opened. Nothing follows.
    ConnectFailed(ConnectError),
    /// What a call came to. Comes exactly once for each, unless it was [abandoned](ClientSession::abandon); but for a
    /// [watch](super::Sought::Changes) again and again, until it fails.
    CallEnded {
        /// As the application named it.
        call: CallId,
        /// Of a request to a session filter, the number of sessions that match, or why nobody was asked.
        outcome: Result<Response, RequestError>,
    },
    /// A session that a filter matched has answered.
    FilterResponseReceived(FilterResponseReceived),
    /// Nothing more will come of a request to a session filter. Comes once for each that went to some, after the
    /// [`Event::CallEnded`] that says to how many.
    FilterCallEnded {
        /// As the application named it.
        call: CallId,
        /// Whether all have answered or failed; or why no more come.
        outcome: Result<(), RequestError>,
    },
    /// Somebody asks; answer with [`ClientSession::respond`].
    RequestReceived(ReceivedRequest),
    /// The answer to a received request can no longer be delivered.
    RequestAbandoned {
        /// Which.
        request: RequestId,
        /// And why.
        error: RequestError,
    },
    /// The connection is lost. The session looks for another one, or [closes](Self::Closed), if it is not to. The reason is
    /// for people.
    Disconnected(String),
    /// Messages were lost with the connection.
    MessagesLost {
        /// Number of requests that were failed because of that.
        requests: usize,
        /// Number of request handlers that are registered again.
        handlers: usize,
    },
    /// A request handler is gone: it was lost with the connection, and was not to be registered again, or could not be; or
    /// another registration of the same path took its place. Or a stream is: another stream or a registration took its place.
    HandlerLost(HandlerId),
    /// The session has a connection again.
    Reconnected {
        /// What it is called now; another ID if the server has forgotten the session and opened a new one.
        session: SessionId,
        /// Whether no message was lost.
        lossless: bool,
        /// Whether it is another session for the server.
        new_session: bool,
    },
    /// The session is over. Nothing follows.
    Closed(Closed),
}

/// One session's answer to a request that went to a session filter.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterResponseReceived {
    /// What is answered.
    pub call: CallId,
    /// Who answered, or failed.
    pub session: SessionId,
    /// The response, or why there is none.
    pub outcome: Result<Value, RequestError>,
    /// How many answers and errors have come, this one included.
    pub received: u32,
    /// How many will come; 0 as long as the server has not said so, which it does first (section 8.4).
    pub expected: u32,
}
