//! What goes along with requests and errors: who gets which headers, and what these say when the message is sent (section
//! 18.6).

use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{
    Header, HeaderBlock, Headers, MAX_DETAILS_BYTES, MAX_METADATA_BYTES, set_time_left,
};
use antiphon_protocol::wire::layouts::ServiceFailure;
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, Service};
use bytes::Bytes;

use super::Broker;
use super::exchanges::Standing;
use super::per_session::SessionKey;
use super::refusal::{Failure, Refusal};
use super::sessions::Session;

impl Broker {
    /// A request to a session with its headers: the time that is left, if its sender said so, and what is passed on.
    pub(super) fn with_headers(
        &self,
        recipient: SessionKey,
        time_left: Option<Duration>,
        headers: &Headers<'_>,
        frame: Vec<u8>,
    ) -> Vec<u8> {
        let features = self.sessions.get(recipient).map_or(Features::NONE, Session::features);
        if !features.has_any(Features::WITH_HEADERS) {
            return frame;
        }
        let mut block = HeaderBlock::default();
        if let Some(left) = time_left.filter(|_| features.has(Features::DEADLINES)) {
            block.add_time_left(left);
        }
        for header in [Header::IdempotencyKey, Header::Metadata] {
            if features.has(header.feature()) {
                block.add(header, headers.get(header));
            }
        }
        block.before(frame)
    }

    /// A message that goes out on another connection than it was meant for: what it says of the time is true again.
    pub(super) fn with_time_left(&self, now: Moment, recipient: SessionKey, message: Bytes) -> Bytes {
        let headers = Headers::split(&message, Features::DEADLINES);
        if headers.is_ok_and(|(headers, _)| headers.time_left().is_none()) {
            return message;
        }
        let exchange = delivered_in(&message).and_then(|conversation| self.exchanges.get(recipient, conversation));
        let awaited = exchange.filter(|exchange| exchange.standing == Standing::Awaited);
        let mut message = message.to_vec();
        set_time_left(&mut message, awaited.map_or(Duration::ZERO, |exchange| exchange.deadline.since(now)));
        message.into()
    }

    /// A failure as a session is told of it: with a reason that it knows, and details only if it knows of these.
    pub(super) fn failure_to<'a>(
        &self,
        session: SessionKey,
        failure: Failure<'a>,
    ) -> (ServiceFailure<'a>, HeaderBlock) {
        let features = self.sessions.get(session).map_or(Features::NONE, Session::features);
        let reason = match failure.reason {
            ErrorReason::BUSY if !features.has(Features::BUSY) => ErrorReason::CLUSTER_ROUTING,
            reason => reason,
        };
        let mut headers = HeaderBlock::default();
        if features.has(Features::DETAILS) && failure.details.len() <= MAX_DETAILS_BYTES {
            headers.add(Header::Details, failure.details);
        }
        (ServiceFailure { description: failure.description, reason }, headers)
    }
}

/// Refuses a request with too much metadata. What is in it is not looked at.
pub(super) fn check_metadata(headers: &Headers<'_>) -> Result<(), Refusal> {
    if headers.get(Header::Metadata).len() > MAX_METADATA_BYTES {
        let text = format!("the metadata of the request has more than {MAX_METADATA_BYTES} bytes");
        return Err(Refusal::new(ErrorReason::INVALID_DATA, text));
    }
    Ok(())
}

/// The conversation in which a message delivers a request; nothing if it is another message.
pub(super) fn delivered_in(message: &[u8]) -> Option<ConversationId> {
    let (_, bare) = Headers::split(message, Features::WITH_HEADERS).ok()?;
    match Message::decode(bare) {
        Ok(Message::ServiceRequest {
            service: MessagingSend::ID | MessagingReceiverClient::ID, conversation, ..
        }) => Some(conversation),
        _ => None,
    }
}
