//! Serves requests to the broker, by service: each ends in an answer or a refusal.
//!
//! A new service is a line in `serve` and a function, here or beside those that are about the same.

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::{Reauthenticate, ServiceFailure};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    FilterResponseDelivery, MessagingReceiverClient, Service, ServiceRequest, SetProperties, SystemPing, UserPing,
    service_name,
};

use super::ending::Ending;
use super::per_session::SessionKey;
use super::refusal::Refusal;
use super::{Broker, cost};

/// The origin of a request: session, time and conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    pub now: Moment,
    pub session: SessionKey,
    pub conversation: ConversationId,
}

/// The answer to a session's request.
#[derive(Debug)]
pub(super) enum Answer {
    /// This message.
    Now(Vec<u8>),
    /// What another session will say.
    Later,
    /// It was sent already, since it had to come before something else.
    Sent,
}

impl Asker {
    /// The answer of service `S`.
    pub fn answer<S: Service>(self, response: &S::Response<'_>) -> Answer {
        Answer::Now(response_frame::<S>(self.conversation, response))
    }
}

impl Broker {
    /// A session asks for a service.
    pub(super) fn handle_request(&mut self, asker: Asker, service: u32, body: &[u8]) {
        self.spend(cost::request(body.len()));
        let answer = match ServiceRequest::decode(service, body) {
            Ok(Some(request)) => {
                self.trace_request(asker, service, &request);
                self.serve(asker, request)
            }
            Ok(None) => Err(not_offered(service)),
            Err(_) => return self.abort(asker.session, Ending::Violation),
        };
        match answer {
            Ok(answer) => self.send_answer(asker, answer),
            Err(refusal) => self.refuse(asker, &refusal),
        }
    }

    /// Tells the operator what a session asks for: never what it sends along.
    fn trace_request(&self, asker: Asker, service: u32, request: &ServiceRequest<'_>) {
        let path = match request {
            ServiceRequest::MessagingSend(request) => Some(request.path),
            ServiceRequest::MessagingReceiverServer(request) => Some(request.path),
            ServiceRequest::MessagingFilterSender(request) => Some(request.path),
            ServiceRequest::Registration(request) => Some(request.path),
            ServiceRequest::Deregistration(request) => Some(request.path),
            _ => None,
        };
        let (sender, service) = (self.sessions.id_of(asker.session), service_name(service).unwrap_or("unknown"));
        tracing::trace!(%sender, conversation = asker.conversation.0, service, path, "request");
    }

    fn serve(&mut self, asker: Asker, request: ServiceRequest<'_>) -> Result<Answer, Refusal> {
        match request {
            ServiceRequest::UserPing(()) => Ok(asker.answer::<UserPing>(&())),
            ServiceRequest::MessagingSend(request) => self.route_to_path(asker, &request),
            ServiceRequest::MessagingReceiverServer(request) => self.route_to_session(asker, &request),
            ServiceRequest::MessagingFilterSender(request) => self.route_to_filter(asker, &request),
            ServiceRequest::Registration(request) => self.register(asker, &request),
            ServiceRequest::Deregistration(request) => self.deregister(asker, &request),
            ServiceRequest::ChangeOwnPrincipal(request) => {
                self.change_principal(asker, request.principal, request.credentials, &[])
            }
            ServiceRequest::ReAuthenticate(Reauthenticate { principal, credentials, properties }) => {
                self.change_principal(asker, principal, credentials, &properties)
            }
            ServiceRequest::GetProperties(request) => self.tell_properties(asker, &request),
            ServiceRequest::GetOwnProperties(()) => self.tell_own_properties(asker),
            ServiceRequest::CloseClient(session) => self.close_client(asker, session),
            ServiceRequest::SystemPing(()) => Err(not_offered(SystemPing::ID)),
            ServiceRequest::MessagingReceiverClient(_) => Err(not_offered(MessagingReceiverClient::ID)),
            ServiceRequest::FilterResponseDelivery(_) => Err(not_offered(FilterResponseDelivery::ID)),
            ServiceRequest::SetProperties(_) => Err(not_offered(SetProperties::ID)),
        }
    }

    /// Sends the answer to a request, if it wants one (section 5).
    pub(super) fn send_answer(&mut self, asker: Asker, answer: Answer) {
        match answer {
            Answer::Now(frame) if asker.conversation != ConversationId::ONE_WAY => self.send_to(asker.session, frame),
            Answer::Now(_) | Answer::Later | Answer::Sent => {}
        }
    }

    /// Tells a session that what it asked for does not happen.
    pub(super) fn refuse(&mut self, asker: Asker, refusal: &Refusal) {
        self.refusals += 1;
        let (session, conversation) = (self.sessions.id_of(asker.session), asker.conversation.0);
        let (reason, why) = (&refusal.reason, &*refusal.text);
        tracing::debug!(%session, conversation, %reason, why, "request refused");
        self.send_failure(asker.session, asker.conversation, refusal.as_wire());
    }

    /// Sends an error as the answer to a request, if it wants one.
    pub(super) fn send_failure(
        &mut self,
        session: SessionKey,
        conversation: ConversationId,
        failure: ServiceFailure<'_>,
    ) {
        if conversation != ConversationId::ONE_WAY {
            self.send_to(session, Message::ServiceError { conversation, failure }.to_frame());
        }
    }
}

fn not_offered(service: u32) -> Refusal {
    let text = match service_name(service) {
        Some(name) => format!("this broker does not offer service {service} ({name})"),
        None => format!("this broker does not offer service {service}"),
    };
    Refusal::new(ErrorReason::UNSUPPORTED, text)
}
