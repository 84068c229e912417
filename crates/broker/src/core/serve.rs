//! Serves requests to the broker, by service: each ends in an answer or a refusal.
//!
//! A new service is a line in `serve` and a function, here or beside those that are about the same.

use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::Headers;
use antiphon_protocol::wire::layouts::Reauthenticate;
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    CredentialsWanted, FilterResponseDelivery, HandlerSearch, HandlerUnwatch, HandlerWatch, HandlersChanged,
    MessagingReceiverClient, Service, ServiceRequest, SessionCount, SetProperties, SystemPing, UserPing, service_name,
};

use super::ending::Ending;
use super::per_session::SessionKey;
use super::refusal::{Failure, Refusal};
use super::{Broker, cost};

/// The origin of a request: session, time and conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    pub now: Moment,
    pub session: SessionKey,
    pub conversation: ConversationId,
    /// Until when the sender waits, if it said so.
    pub due: Option<Moment>,
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
    /// Until when it waits for an answer that others have so much time for.
    pub fn deadline(self, timeout: Duration) -> Moment {
        let guard = self.now + timeout;
        self.due.map_or(guard, |due| due.min(guard))
    }

    /// The answer of service `S`.
    pub fn answer<S: Service>(self, response: &S::Response<'_>) -> Answer {
        Answer::Now(response_frame::<S>(self.conversation, response))
    }
}

impl Broker {
    /// A session asks for a service.
    pub(super) fn handle_request(&mut self, asker: Asker, headers: &Headers<'_>, service: u32, body: &[u8]) {
        self.spend(cost::request(body.len()));
        let answer = match ServiceRequest::decode(service, body) {
            Ok(Some(request)) => {
                if tracing::enabled!(tracing::Level::TRACE) {
                    self.trace_request(asker, service, &request);
                }
                self.serve(asker, headers, request)
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
            ServiceRequest::HandlerSearch(request) => Some(request.path),
            ServiceRequest::HandlerWatch(request) => Some(request.path),
            _ => None,
        };
        let (sender, service) = (self.sessions.id_of(asker.session), service_name(service).unwrap_or("unknown"));
        tracing::trace!(%sender, conversation = asker.conversation.0, service, path, "request");
    }

    fn serve(&mut self, asker: Asker, headers: &Headers<'_>, request: ServiceRequest<'_>) -> Result<Answer, Refusal> {
        match request {
            ServiceRequest::UserPing(()) => Ok(asker.answer::<UserPing>(&())),
            ServiceRequest::MessagingSend(request) => self.route_to_path(asker, headers, &request),
            ServiceRequest::MessagingReceiverServer(request) => self.route_to_session(asker, headers, &request),
            ServiceRequest::MessagingFilterSender(request) => self.route_to_filter(asker, headers, &request),
            ServiceRequest::Registration(request) => self.register(asker, headers, &request),
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
            ServiceRequest::Cancellation(request) => self.cancel(asker, &request),
            ServiceRequest::SystemPing(()) => Err(not_offered(SystemPing::ID)),
            ServiceRequest::MessagingReceiverClient(_) => Err(not_offered(MessagingReceiverClient::ID)),
            ServiceRequest::FilterResponseDelivery(_) => Err(not_offered(FilterResponseDelivery::ID)),
            ServiceRequest::SetProperties(_) => Err(not_offered(SetProperties::ID)),
            ServiceRequest::CredentialsWanted(()) => Err(not_offered(CredentialsWanted::ID)),
            ServiceRequest::SessionCount(request) => {
                self.check_discovery::<SessionCount>(asker.session)?;
                self.count_sessions(asker, &request)
            }
            ServiceRequest::HandlerSearch(request) => {
                self.check_discovery::<HandlerSearch>(asker.session)?;
                self.find_handlers(asker, &request)
            }
            ServiceRequest::HandlerWatch(request) => {
                self.check_discovery::<HandlerWatch>(asker.session)?;
                self.watch_handlers(asker, &request)
            }
            ServiceRequest::HandlerUnwatch(watch) => {
                self.check_discovery::<HandlerUnwatch>(asker.session)?;
                Ok(self.unwatch_handlers(asker, watch))
            }
            ServiceRequest::HandlersChanged(_) => Err(not_offered(HandlersChanged::ID)),
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
        self.send_failure(asker.session, asker.conversation, refusal.as_failure());
    }

    /// Sends an error as the answer to a request, if it wants one.
    pub(super) fn send_failure(&mut self, session: SessionKey, conversation: ConversationId, failure: Failure<'_>) {
        if conversation != ConversationId::ONE_WAY {
            let (failure, headers) = self.failure_to(session, failure);
            self.send_to(session, headers.before(Message::ServiceError { conversation, failure }.to_frame()));
        }
    }
}

/// Nobody offers this service, or not on this connection.
pub(super) fn not_offered(service: u32) -> Refusal {
    let text = match service_name(service) {
        Some(name) => format!("this broker does not offer service {service} ({name})"),
        None => format!("this broker does not offer service {service}"),
    };
    Refusal::new(ErrorReason::UNSUPPORTED, text)
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::envelope::request_frame;
    use antiphon_protocol::wire::handshake::ConnectRequest;
    use antiphon_protocol::wire::layouts::{
        ChangePrincipal, DeregisterHandler, GetSessionProperties, RegisterHandler, SendToFilter, SendToPath,
        SendToSession, SerialisedValue, WireCredentials,
    };
    use antiphon_protocol::wire::primitives::SessionId;
    use antiphon_protocol::wire::services::{
        ChangeOwnPrincipal, CloseClient, Deregistration, GetOwnProperties, GetProperties, MessagingFilterSender,
        MessagingReceiverServer, MessagingSend, ReAuthenticate, Registration,
    };

    use super::*;
    use crate::core::access::Access;
    use crate::core::permissions::{PathPermission, Permissions, Role};
    use crate::core::{Arrival, BrokerConfig, ConnectionId, Output};

    /// Everything that a client may ask for.
    fn requests(conversation: ConversationId, own: SessionId) -> Vec<Vec<u8>> {
        fn frame<S: Service>(conversation: ConversationId, request: &S::Request<'_>) -> Vec<u8> {
            request_frame::<S>(conversation, request, 0)
        }
        let (delivery_service, control_group, property_keys) = (88, "", vec![]);
        let (path, credentials) = ("here", WireCredentials::None(&[]));
        let request = SerialisedValue { type_name: "string", bytes: b"\xf6" };
        let registration = ConversationId(5);
        let register = RegisterHandler { delivery_service, control_group, path, property_keys: vec![], registration };
        let filter = SendToFilter { filter_conversation: registration, filter: "all", path, request: request.clone() };
        vec![
            frame::<UserPing>(conversation, &()),
            frame::<Registration>(conversation, &register),
            frame::<Registration>(conversation, &register),
            frame::<Deregistration>(
                conversation,
                &DeregisterHandler { delivery_service, control_group, path, property_keys },
            ),
            frame::<GetProperties>(conversation, &GetSessionProperties { session: own, keys: vec!["*F"] }),
            frame::<GetOwnProperties>(conversation, &()),
            frame::<ChangeOwnPrincipal>(
                conversation,
                &ChangePrincipal { principal: "", credentials: credentials.clone() },
            ),
            frame::<ReAuthenticate>(conversation, &Reauthenticate { principal: "", credentials, properties: vec![] }),
            frame::<CloseClient>(conversation, &SessionId { value: 99, ..own }),
            frame::<MessagingSend>(conversation, &SendToPath { path: "nobody", request: request.clone() }),
            frame::<MessagingReceiverServer>(conversation, &SendToSession { session: own, path: "a//b", request }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "no filter", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "not all", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &filter),
            // Nobody offers this one.
            Message::ServiceRequest { service: 9999, conversation, body: &[] }.to_frame(),
        ]
    }

    const CONNECTION: ConnectionId = ConnectionId(1);
    const OWN: SessionId = SessionId { server: 0, value: 0 };

    /// A broker with one anonymous session.
    fn with_a_session(permissions: Permissions) -> Broker {
        let access = Access { permissions, ..Access::development() };
        let mut broker = Broker::new(BrokerConfig::default(), access);
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 0, random: [7; 18] };
        broker.handle_connect(Moment(0), CONNECTION, &ConnectRequest::anonymous(), &arrival);
        while broker.poll_output().is_some() {}
        broker
    }

    #[test]
    fn every_request_is_answered_but_one_with_conversation_0() {
        let mut broker = with_a_session(Permissions::stock());
        for conversation in [ConversationId(7), ConversationId::ONE_WAY] {
            for request in requests(conversation, OWN) {
                broker.handle_frame(Moment(1), CONNECTION, &request);
                let mut answers = 0;
                while let Some(output) = broker.poll_output() {
                    let Output::Send(_, frame) = output else { continue };
                    match Message::decode(&frame).expect("a message") {
                        // A request to a filter that matches reaches this session itself, which answers.
                        Message::ServiceRequest { service: 85, conversation, .. } => {
                            let body = b"\x06string\x01\xf6";
                            let answer = Message::ServiceResponse { conversation, body }.to_frame();
                            broker.handle_frame(Moment(1), CONNECTION, &answer);
                        }
                        Message::ServiceRequest { service, .. } => {
                            assert_eq!((service, conversation), (103, ConversationId(7)), "what nobody asked for");
                        }
                        _ => answers += 1,
                    }
                }
                assert_eq!(answers, usize::from(conversation != ConversationId::ONE_WAY), "{request:x?}");
            }
        }
        assert_eq!((broker.session_count(), broker.outstanding_requests(), broker.open_conversations()), (1, 0, 0));
    }

    /// The roles of the session, which may do nothing unless `client` says so.
    fn only(client: Role) -> Permissions {
        let roles = [("CLIENT", client), ("CLIENT_CONTROL", Role::default())];
        let roles = roles.map(|(name, role)| (name.to_owned(), role));
        Permissions::new(roles.into(), &[]).expect("they fit together")
    }

    #[test]
    fn every_request_passes_the_gate_before_anything_comes_of_it() {
        let mut broker = with_a_session(only(Role::default()));
        let mut reasons = Vec::new();
        for request in requests(ConversationId(7), OWN) {
            broker.handle_frame(Moment(1), CONNECTION, &request);
            while let Some(output) = broker.poll_output() {
                let Output::Send(CONNECTION, frame) = output else { panic!("{output:?}") };
                reasons.push(match Message::decode(&frame) {
                    Ok(Message::ServiceError { failure, .. }) => failure.reason.0,
                    Ok(Message::ServiceResponse { .. }) => 0,
                    other => panic!("{other:?}"),
                });
            }
        }
        // What is only about the session itself takes no permission; a path that is none, and a service that is none, are
        // refused for that.
        assert_eq!(reasons, [0, 103, 103, 0, 0, 0, 0, 0, 103, 103, 202, 103, 103, 103, 104]);
        assert_eq!(broker.refusals(), 9);
    }

    #[test]
    fn a_refusal_names_the_permission_and_the_path() {
        let send = vec![PathPermission::SendToMessageHandler, PathPermission::SendToSession];
        let mut broker = with_a_session(only(Role {
            default_path: send,
            paths: [("here".to_owned(), vec![])].into(),
            ..Role::default()
        }));
        for request in requests(ConversationId(7), OWN) {
            broker.handle_frame(Moment(1), CONNECTION, &request);
        }
        let denied = std::iter::from_fn(|| broker.poll_output()).filter_map(|output| match output {
            Output::Send(_, frame) => match Message::decode(&frame) {
                Ok(Message::ServiceError { failure, .. }) if failure.reason == ErrorReason::ACCESS_DENIED => {
                    Some(failure.description.strip_prefix("the session lacks the permission ")?.to_owned())
                }
                _ => None,
            },
            _ => None,
        });
        let (register, filter) = ("REGISTER_HANDLER for here", "SEND_TO_SESSION for here");
        assert_eq!(denied.collect::<Vec<_>>(), [register, register, "MODIFY_SESSION", filter, filter, filter]);
    }
}
