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
    // Inlined, so that a place that makes one kind of message has the code for that kind.
    #[inline]
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        match self {
            Self::ServiceRequest { service, conversation, body } => {
                request_frame_of(*service, *conversation, body.len(), |frame| frame.extend_from_slice(body))
            }
            Self::ServiceResponse { conversation, body } => {
                let mut frame = answer_head(SERVICE_RESPONSE, *conversation, body.len());
                frame.extend_from_slice(body);
                frame
            }
            Self::ServiceError { conversation, failure } => {
                let mut frame = answer_head(SERVICE_ERROR, *conversation, SMALL);
                failure.encode(&mut frame);
                frame
            }
            Self::Topic => Vec::new(),
            Self::Abort => vec![ABORT],
            Self::CloseRequest => vec![CLOSE_REQUEST],
        }
    }
}

/// The message that asks `S` for `request`, encoded in one go. `capacity` is a guess at the length of the body.
#[must_use]
pub fn request_frame<S: Service>(conversation: ConversationId, request: &S::Request<'_>, capacity: usize) -> Vec<u8> {
    request_frame_of(S::ID, conversation, capacity, |frame| request.encode(frame))
}

/// The same, by the number of the service, with a body that `encode` appends.
#[must_use]
pub fn request_frame_of(
    service: u32,
    conversation: ConversationId,
    capacity: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Vec<u8> {
    let mut frame = request_head(service, conversation, capacity);
    encode(&mut frame);
    frame
}

/// What a request begins with, and room for so much more. One function for all services.
#[inline(never)]
fn request_head(service: u32, conversation: ConversationId, capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(capacity + 16);
    frame.push(SERVICE_REQUEST);
    service.encode(&mut frame);
    conversation.encode(&mut frame);
    frame
}

/// Bytes of most messages; a larger one costs one allocation more.
const SMALL: usize = 64;

/// The message that answers a request to `S` with `response`, encoded in one go.
#[must_use]
pub fn response_frame<S: Service>(conversation: ConversationId, response: &S::Response<'_>) -> Vec<u8> {
    let mut frame = answer_head(SERVICE_RESPONSE, conversation, SMALL);
    response.encode(&mut frame);
    frame
}

/// What an answer begins with, and room for so much more.
#[inline(never)]
fn answer_head(kind: u8, conversation: ConversationId, capacity: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(capacity + 16);
    frame.push(kind);
    conversation.encode(&mut frame);
    frame
}
