//! The envelope of every message after the connection response: message type, conversation ID (section 4.1).

use super::layouts::ServiceFailure;
use super::primitives::ConversationId;
use super::services::Service;
use super::{Decode, DecodeError, Encode, Reader};

/// One message, its body still in wire form.
#[derive(Clone, Debug, PartialEq)]
pub enum Message<'a> {
    /// Starts a conversation.
    ServiceRequest {
        /// Number of the service.
        service: u32,
        /// Chosen by the side that asks.
        conversation: ConversationId,
        /// Its layout is the service's.
        body: &'a [u8],
    },
    /// Ends a conversation well.
    ServiceResponse {
        /// From the request.
        conversation: ConversationId,
        /// Its layout is the service's, which only the side that asked knows.
        body: &'a [u8],
    },
    /// Ends a conversation badly.
    ServiceError {
        /// From the request.
        conversation: ConversationId,
        /// Why.
        failure: ServiceFailure<'a>,
    },
    /// Something about topics; a messaging client ignores it.
    Topic,
    /// The server ends the session.
    Abort,
    /// The client ends the session.
    CloseRequest,
}

const SERVICE_REQUEST: u8 = 0;
const TOPIC_VALUE: u8 = 4;
const TOPIC_DELTA: u8 = 5;
const SERVICE_RESPONSE: u8 = 6;
const SERVICE_ERROR: u8 = 7;
const ABORT: u8 = 28;
const CLOSE_REQUEST: u8 = 29;
const FETCH_REPLY: u8 = 34;

const COMPRESSED: u8 = 0x80;
const TYPE_BITS: u8 = 0x3f;

impl<'a> Message<'a> {
    /// Reads one WebSocket message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is empty, of an unknown type, a compressed service message (no one may send these,
    /// section 4.3), or cut short.
    pub fn decode(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(frame);
        let first = input.byte().map_err(|_| DecodeError::EmptyMessage)?;
        let message = match first & TYPE_BITS {
            TOPIC_VALUE | TOPIC_DELTA | FETCH_REPLY => return Ok(Self::Topic),
            _ if first & COMPRESSED != 0 => return Err(DecodeError::UnknownMessageType),
            SERVICE_REQUEST => Self::ServiceRequest {
                service: u32::decode(&mut input)?,
                conversation: ConversationId::decode(&mut input)?,
                body: input.take_rest(),
            },
            SERVICE_RESPONSE => {
                Self::ServiceResponse { conversation: ConversationId::decode(&mut input)?, body: input.take_rest() }
            }
            SERVICE_ERROR => Self::ServiceError {
                conversation: ConversationId::decode(&mut input)?,
                failure: ServiceFailure::decode(&mut input)?,
            },
            ABORT => Self::Abort,
            CLOSE_REQUEST => Self::CloseRequest,
            _ => return Err(DecodeError::UnknownMessageType),
        };
        match input.rest() {
            [] => Ok(message),
            _ => Err(DecodeError::TrailingBytes),
        }
    }

    /// The bytes of one WebSocket message. [`Message::Topic`] has none: we never send it.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let size = match self {
            Self::ServiceRequest { body, .. } | Self::ServiceResponse { body, .. } => body.len(),
            _ => 0,
        };
        let mut frame = Vec::with_capacity(size + 16);
        match self {
            Self::ServiceRequest { service, conversation, body } => {
                frame.push(SERVICE_REQUEST);
                service.encode(&mut frame);
                conversation.encode(&mut frame);
                frame.extend_from_slice(body);
            }
            Self::ServiceResponse { conversation, body } => {
                frame.push(SERVICE_RESPONSE);
                conversation.encode(&mut frame);
                frame.extend_from_slice(body);
            }
            Self::ServiceError { conversation, failure } => {
                frame.push(SERVICE_ERROR);
                conversation.encode(&mut frame);
                failure.encode(&mut frame);
            }
            Self::Topic => {}
            Self::Abort => frame.push(ABORT),
            Self::CloseRequest => frame.push(CLOSE_REQUEST),
        }
        frame
    }
}

/// The message that asks `S` for `request`, encoded in one go. `capacity` is a guess at the length of the body.
#[must_use]
pub fn request_frame<S: Service>(conversation: ConversationId, request: &S::Request<'_>, capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(capacity + 16);
    frame.push(SERVICE_REQUEST);
    S::ID.encode(&mut frame);
    conversation.encode(&mut frame);
    request.encode(&mut frame);
    frame
}

/// The same, by the number of the service, with a body that `encode` appends.
#[must_use]
pub fn request_frame_of(
    service: u32,
    conversation: ConversationId,
    capacity: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut frame = Vec::with_capacity(capacity + 16);
    frame.push(SERVICE_REQUEST);
    service.encode(&mut frame);
    conversation.encode(&mut frame);
    encode(&mut frame);
    frame
}

/// Bytes of most messages; a larger one costs one allocation more.
const SMALL: usize = 64;

/// The message that answers a request to `S` with `response`, encoded in one go.
#[must_use]
pub fn response_frame<S: Service>(conversation: ConversationId, response: &S::Response<'_>) -> Vec<u8> {
    let mut frame = Vec::with_capacity(SMALL);
    frame.push(SERVICE_RESPONSE);
    conversation.encode(&mut frame);
    response.encode(&mut frame);
    frame
}
