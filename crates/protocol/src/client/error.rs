//! Errors of the client: codes, outcomes, messages.

use std::borrow::Cow;
use std::time::Duration;

use crate::text;
use crate::time::micros;
use crate::wire::DecodeError;
use crate::wire::error_reason::ErrorReason;
use crate::wire::handshake::ResponseCode;
use crate::wire::headers::{Header, Headers};

/// Why a request, or another conversation with the server, did not produce a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
#[non_exhaustive]
pub enum RequestError {
    /// The server or the recipient refused. `detail` is the peer's own text.
    Refused {
        /// For programs.
        reason: ErrorReason,
        /// For people; may be empty.
        detail: String,
        /// What the peer says beside it: a json value in CBOR; empty if there is none.
        details: Vec<u8>,
    },
    /// Something that the application wants cannot be done, for a reason that people can read; nothing was sent.
    InvalidArgument(&'static str),
    /// Of a received request: its sender does not wait for the answer any more. It has given the request up, or its time is
    /// over; the reason says which.
    GivenUp(ErrorReason),
    /// The session filter does not parse; at least one fault, unless the server named none. Nobody was asked.
    InvalidFilter(Vec<FilterFault>),
    /// No response within the time the caller allowed. The recipient may still act on the request.
    TimedOut(Duration),
    /// No connection within the time the caller allowed; nothing was sent.
    NotSentInTime(Duration),
    /// There is no connection now; nothing was sent.
    NotConnected,
    /// The connection went first. Sending again is safe only if the request is idempotent.
    ConnectionLost,
    /// The session ended first. Sending again is safe only if the request is idempotent, or was not sent.
    SessionClosed {
        /// Whether the request had been sent.
        sent: bool,
    },
    /// The server would close the session for a message of this size; nothing was sent.
    MessageTooLarge {
        /// Of the message, in bytes.
        size: usize,
        /// What the server told us, in bytes.
        limit: usize,
    },
    /// The response is larger than this client takes. The handler has run.
    ResponseTooLarge {
        /// Of the message that brought it, in bytes.
        size: usize,
        /// [`ClientConfig::max_message_size`](super::ClientConfig::max_message_size).
        limit: usize,
    },
    /// The server's response does not have the layout that it should have.
    MalformedResponse,
}

/// Why whatever is under way comes to nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// The session is over.
    Session,
    /// What was sent is lost.
    Connection,
}

impl Loss {
    /// Of what was sent.
    pub fn error(self) -> RequestError {
        match self {
            Self::Session => RequestError::SessionClosed { sent: true },
            Self::Connection => RequestError::ConnectionLost,
        }
    }
}

/// Where a session filter does not parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterFault {
    /// For people.
    pub message: String,
    /// From 1.
    pub line: i32,
    /// From 0.
    pub column: i32,
}

/// For texts.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    micros(duration) / 1000
}

/// Whether the request may have been acted on: what a caller must know before sending it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing left this client.
    NotSent,
    /// It was sent, and no handler ran.
    Refused,
    /// A handler ran and failed, or its answer is unusable.
    Failed,
    /// A handler may have run.
    Unknown,
}

impl Outcome {
    /// As in the JavaScript API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not-sent",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl RequestError {
    /// An error that came with these headers.
    #[inline(never)]
    pub(super) fn refused(reason: ErrorReason, text: &str, headers: &Headers<'_>) -> Self {
        Self::Refused { reason, detail: text.to_owned(), details: headers.kept(Header::Details) }
    }

    /// For people.
    #[must_use]
    pub fn message(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Self::Refused { reason, detail, .. } if detail.is_empty() => {
                return Cow::Owned(text!["refused with ", reason.to_text()]);
            }
            Self::Refused { detail, .. } => detail,
            Self::InvalidArgument(text) => text,
            Self::GivenUp(ErrorReason::CANCELLED) => "the sender has given the request up",
            Self::GivenUp(_) => "the sender's time for the request is over",
            Self::InvalidFilter(faults) => match faults.first() {
                Some(FilterFault { message, line, column }) => {
                    let text = text!["the session filter does not parse at ", *line, ":", *column, ": ", message];
                    return Cow::Owned(text);
                }
                None => "the session filter does not parse",
            },
            Self::TimedOut(time) => return Cow::Owned(text!["no response within ", milliseconds(*time), " ms"]),
            Self::NotSentInTime(time) => {
                return Cow::Owned(text!["no connection within ", milliseconds(*time), " ms, nothing was sent"]);
            }
            Self::NotConnected => "the session is not connected, nothing was sent",
            Self::ConnectionLost => "the connection was lost before the response arrived",
            Self::SessionClosed { sent: true } => "the session was closed before the response arrived",
            Self::SessionClosed { sent: false } => "the session is closed",
            Self::MessageTooLarge { size, limit } => {
                return Cow::Owned(text!["the message has ", *size, " bytes, the server takes ", *limit, " at most"]);
            }
            Self::ResponseTooLarge { size, limit } => {
                return Cow::Owned(text!["the response has ", *size, " bytes, this client takes ", *limit, " at most"]);
            }
            Self::MalformedResponse => "the server's response is malformed",
        })
    }

    /// The stable name for programs, e.g. `TIMED_OUT`.
    #[must_use]
    pub fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Refused { reason, .. } => return reason.to_text(),
            Self::InvalidArgument(_) => "INVALID_ARGUMENT",
            Self::GivenUp(ErrorReason::CANCELLED) => "CANCELLED",
            Self::InvalidFilter(_) => "INVALID_FILTER",
            Self::TimedOut(_) | Self::NotSentInTime(_) | Self::GivenUp(_) => "TIMED_OUT",
            Self::NotConnected => "NOT_CONNECTED",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::SessionClosed { .. } => "SESSION_CLOSED",
            Self::MessageTooLarge { .. } | Self::ResponseTooLarge { .. } => "MESSAGE_TOO_LARGE",
            Self::MalformedResponse => "INVALID_DATA",
        })
    }

    /// Whether a handler may have run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Refused { reason, .. } => match *reason {
                _ if reason.is_refusal() => Outcome::Refused,
                ErrorReason::CALLBACK_EXCEPTION | ErrorReason::REJECTED_REQUEST => Outcome::Failed,
                _ => Outcome::Unknown,
            },
            Self::InvalidFilter(_) => Outcome::Refused,
            Self::NotConnected
            | Self::InvalidArgument(_)
            | Self::NotSentInTime(_)
            | Self::SessionClosed { sent: false }
            | Self::MessageTooLarge { .. } => Outcome::NotSent,
            Self::MalformedResponse | Self::ResponseTooLarge { .. } => Outcome::Failed,
            Self::TimedOut(_) | Self::GivenUp(_) | Self::ConnectionLost | Self::SessionClosed { sent: true } => {
                Outcome::Unknown
            }
        }
    }

    /// The number that the other side gave, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<ErrorReason> {
        match self {
            Self::Refused { reason, .. } | Self::GivenUp(reason) => Some(*reason),
            _ => None,
        }
    }
}

impl From<DecodeError> for RequestError {
    /// Of a response.
    fn from(_: DecodeError) -> Self {
        Self::MalformedResponse
    }
}

macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// The stable name for programs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

codes! {
    /// Why a session could not be opened (rules S-4).
    ConnectCode {
        /// The address is no URL that can be connected to.
        InvalidUrl "INVALID_URL",
        /// No WebSocket could be opened.
        ConnectionError "CONNECTION_ERROR",
        /// The WebSocket broke before the connection response.
        TransportError "TRANSPORT_ERROR",
        /// No session within the time allowed.
        ConnectionTimeout "CONNECTION_TIMEOUT",
        /// Unknown principal or wrong credentials.
        AccessDenied "ACCESS_DENIED",
        /// The server has as many sessions as it may have.
        LicenseExceeded "LICENSE_EXCEEDED",
        /// The server does not speak our protocol version.
        ProtocolVersionMismatch "PROTOCOL_VERSION_MISMATCH",
        /// The server is starting, or has too much to do.
        ServerInitialising "SERVER_INITIALISING",
        /// Another refusal.
        HandshakeRejected "HANDSHAKE_REJECTED",
        /// The server's first message is no connection response.
        HandshakeError "HANDSHAKE_ERROR",
    }
}

impl ConnectCode {
    pub(super) fn of_refusal(code: ResponseCode) -> Self {
        match code {
            ResponseCode::DOWNGRADE => Self::ProtocolVersionMismatch,
            ResponseCode::LICENCE_EXCEEDED => Self::LicenseExceeded,
            ResponseCode::AUTHENTICATION_FAILED => Self::AccessDenied,
            ResponseCode::SERVER_INITIALISING => Self::ServerInitialising,
            _ => Self::HandshakeRejected,
        }
    }

    /// Whether the same attempt can succeed later, as far as this says.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::ConnectionError | Self::TransportError | Self::ConnectionTimeout | Self::ServerInitialising
        )
    }
}

/// A session could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// For programs.
    pub code: ConnectCode,
    /// For people.
    pub message: String,
    /// Whether the same attempt can succeed later.
    pub is_retryable: bool,
}

impl ConnectError {
    /// As retryable as its code.
    #[must_use]
    pub fn new(code: ConnectCode, message: String) -> Self {
        Self { code, message, is_retryable: code.is_retryable() }
    }
}

codes! {
    /// Why a session is over (rules 1.5).
    CloseCode {
        /// By our own close.
        ClosedByClient "CLOSED_BY_CLIENT",
        /// By the server.
        ClosedByServer "CLOSED_BY_SERVER",
        /// The connection was lost.
        ConnectionError "CONNECTION_ERROR",
        /// The server does not keep to the protocol.
        TransportError "TRANSPORT_ERROR",
        /// Nothing came from the server for too long.
        IdleConnection "IDLE_CONNECTION",
        /// No connection within the time allowed for reconnecting.
        ConnectionTimeout "CONNECTION_TIMEOUT",
        /// The server did not let the session in again.
        AccessDenied "ACCESS_DENIED",
        /// The server has as many sessions as it may have.
        LicenseExceeded "LICENSE_EXCEEDED",
        /// The server does not speak our protocol version any more.
        ProtocolVersionMismatch "PROTOCOL_VERSION_MISMATCH",
        /// Another refusal.
        HandshakeRejected "HANDSHAKE_REJECTED",
        /// The server's first message is no connection response.
        HandshakeError "HANDSHAKE_ERROR",
    }
}

impl From<ConnectCode> for CloseCode {
    /// Of a refusal that ends the session.
    fn from(code: ConnectCode) -> Self {
        match code {
            ConnectCode::AccessDenied => Self::AccessDenied,
            ConnectCode::LicenseExceeded => Self::LicenseExceeded,
            ConnectCode::ProtocolVersionMismatch => Self::ProtocolVersionMismatch,
            ConnectCode::HandshakeError => Self::HandshakeError,
            _ => Self::HandshakeRejected,
        }
    }
}

/// The end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// For programs.
    pub code: CloseCode,
    /// For people.
    pub reason: String,
}
