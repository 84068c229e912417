//! Numbers by which an application and the client's core name what they talk about.

/// Something that the application asked of the session and waits for. Chosen by the application, counting up; never used
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A request handler or a stream of the application. Chosen by the application, counting up; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandlerId(pub u64);

/// A request that was delivered to the application. Chosen by the core, counting up; never used again in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// A connection of a session, or an attempt to make one. Chosen by the core, counting up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);
