//! Describes messages for people who watch them (`session.inspect`).

use crate::conversation::Conversations;
use crate::features::Features;
use crate::wire::envelope::Message;
use crate::wire::headers::Headers;
use crate::wire::layouts::{
    FilterAnswer, FilterResponse, ForwardedRequest, RegisterHandler, SendToPath, SerialisedValue,
};
use crate::wire::primitives::ConversationId;
use crate::wire::services::{
    FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient, MessagingReceiverServer, MessagingSend,
    Registration, Service,
};
use crate::wire::{DecodeError, decode_all};

/// Watches both directions of one connection, so that it knows what a response answers.
#[derive(Debug, Default)]
pub struct Inspector {
    /// What was asked, by who asks and conversation: both ends count from 1.
    sent: Conversations<Asked>,
    received: Conversations<Asked>,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Out,
    /// From the server.
    In,
}

/// One message of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspected<'a> {
    /// What it is.
    pub kind: Kind,
    /// Number of the service; none for an answer to something that was not seen.
    pub service: Option<u32>,
    /// Chosen by the side that asked.
    pub conversation: ConversationId,
    /// The message path, of an answer as well.
    pub path: Option<String>,
    /// The value that it carries.
    pub value: Option<SerialisedValue<'a>>,
}

/// The kind of a message of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It asks.
    Request,
    /// It answers.
    Response,
    /// It says why there is no answer.
    Error,
}

#[derive(Clone, Debug)]
struct Asked {
    service: u32,
    path: Option<String>,
}

/// Questions that are remembered for their answers, in each direction; then they are all forgotten.
const MAX_OPEN: usize = 10_000;

impl Inspector {
    /// Nothing for what is no message of a service: the connection response, with its secret, among it.
    pub fn inspect<'a>(&mut self, direction: Direction, frame: &'a [u8]) -> Option<Inspected<'a>> {
        let (asked, answered) = match direction {
            Direction::Out => (&mut self.sent, &mut self.received),
            Direction::In => (&mut self.received, &mut self.sent),
        };
        let (kind, conversation, body) =
            match Message::decode(Headers::split(frame, Features::WITH_HEADERS).ok()?.1).ok()? {
                Message::ServiceRequest { service, conversation, body } => {
                    let (path, value) = path_and_value(service, body).unwrap_or_default();
                    let path = path.map(str::to_owned);
                    if conversation != ConversationId::ONE_WAY {
                        if asked.len() >= MAX_OPEN {
                            *asked = Conversations::default();
                        }
                        asked.open(conversation, Asked { service, path: path.clone() });
                    }
                    return Some(Inspected { kind: Kind::Request, service: Some(service), conversation, path, value });
                }
                Message::ServiceResponse { conversation, body } => (Kind::Response, conversation, body),
                Message::ServiceError { conversation, .. } => (Kind::Error, conversation, &[][..]),
                Message::Topic | Message::Abort | Message::CloseRequest => return None,
            };
        let asked = answered.close(conversation);
        let (service, path) = asked.map_or((None, None), |asked| (Some(asked.service), asked.path));
        let value = match service {
            Some(MessagingSend::ID | MessagingReceiverServer::ID | MessagingReceiverClient::ID) => {
                decode_all(body).ok()
            }
            _ => None,
        };
        Some(Inspected { kind, service, conversation, path, value })
    }
}

/// What a request says that people look for. Never credentials.
fn path_and_value(service: u32, body: &[u8]) -> Option<(Option<&str>, Option<SerialisedValue<'_>>)> {
    // Not by `ServiceRequest`: the code for reading what is not shown is not worth its download.
    Some(match service {
        MessagingSend::ID => sent(decode_all(body))?,
        MessagingReceiverServer::ID => sent(SendToPath::of_send_to_session(body))?,
        MessagingFilterSender::ID => sent(SendToPath::of_send_to_filter(body))?,
        MessagingReceiverClient::ID => {
            let ForwardedRequest { path, request, .. } = decode_all(body).ok()?;
            (Some(path), Some(request))
        }
        Registration::ID => (Some(RegisterHandler::path_in(body).ok()?), None),
        FilterResponseDelivery::ID => match decode_all(body).ok()? {
            FilterResponse { answer: FilterAnswer::Response(value), .. } => (None, Some(value)),
            _ => return None,
        },
        _ => return None,
    })
}

fn sent<'a>(request: Result<SendToPath<'a>, DecodeError>) -> Option<(Option<&'a str>, Option<SerialisedValue<'a>>)> {
    let SendToPath { path, request } = request.ok()?;
    Some((Some(path), Some(request)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::envelope::{request_frame, response_frame};
    use crate::wire::error_reason::ErrorReason;
    use crate::wire::layouts::{ChangePrincipal, ServiceFailure, WireCredentials};
    use crate::wire::services::{ChangeOwnPrincipal, SystemPing};

    const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "string", bytes: b"\x61x" };

    fn ask(conversation: i64) -> Vec<u8> {
        let request = SendToPath { path: "orders/eu", request: VALUE };
        request_frame::<MessagingSend>(ConversationId(conversation), &request, 0)
    }

    #[test]
    fn a_response_is_known_by_its_request() {
        let mut inspector = Inspector::default();
        let request = ask(7);
        let seen = inspector.inspect(Direction::Out, &request).unwrap();
        assert_eq!((seen.kind, seen.service, seen.path.as_deref()), (Kind::Request, Some(85), Some("orders/eu")));
        assert_eq!(seen.value, Some(VALUE));
        let response = response_frame::<MessagingSend>(ConversationId(7), &VALUE);
        let seen = inspector.inspect(Direction::In, &response).unwrap();
        assert_eq!((seen.kind, seen.service, seen.path.as_deref()), (Kind::Response, Some(85), Some("orders/eu")));
        assert_eq!(seen.value, Some(VALUE));
        let again = inspector.inspect(Direction::In, &response).unwrap();
        assert_eq!((again.service, again.path, again.value), (None, None, None));
    }

    #[test]
    fn both_ends_have_a_conversation_of_the_same_number() {
        let mut inspector = Inspector::default();
        inspector.inspect(Direction::Out, &ask(1)).unwrap();
        inspector.inspect(Direction::In, &request_frame::<SystemPing>(ConversationId(1), &(), 0));
        let failure = ServiceFailure { description: "", reason: ErrorReason::UNHANDLED_MESSAGE };
        let error = Message::ServiceError { conversation: ConversationId(1), failure }.to_frame();
        let seen = inspector.inspect(Direction::In, &error).unwrap();
        assert_eq!((seen.kind, seen.service, seen.path.as_deref()), (Kind::Error, Some(85), Some("orders/eu")));
        let answer = response_frame::<SystemPing>(ConversationId(1), &());
        let seen = inspector.inspect(Direction::Out, &answer);
        assert_eq!(seen.unwrap().service, Some(55));
    }

    #[test]
    fn credentials_are_not_shown() {
        let request = ChangePrincipal { principal: "ada", credentials: WireCredentials::Password("secret") };
        let frame = request_frame::<ChangeOwnPrincipal>(ConversationId(1), &request, 0);
        let mut inspector = Inspector::default();
        let seen = format!("{:?}", inspector.inspect(Direction::Out, &frame));
        assert!(!seen.contains("secret") && !seen.contains("ada"), "{seen}");
    }

    #[test]
    fn what_is_no_message_is_not_shown() {
        for frame in [&b"#\x19d"[..], b"", b"\x1c", b"\x00", b"\xff\xff"] {
            assert_eq!(Inspector::default().inspect(Direction::In, frame), None);
        }
    }

    #[test]
    fn what_is_never_answered_is_forgotten() {
        let mut inspector = Inspector::default();
        for conversation in 1..=3 * MAX_OPEN as i64 {
            inspector.inspect(Direction::Out, &ask(conversation));
            assert!(inspector.sent.len() <= MAX_OPEN);
        }
    }
}
