//! Request handlers: registering them with the server, finding the one that a request is for, answering.

use super::requests::{Pending, Response};
use super::{ClientSession, Event, Output, RequestError};
use crate::text;
use crate::time::Moment;
use crate::value::Value;
use crate::wire::decode_all;
use crate::wire::envelope::response_frame;
use crate::wire::error_reason::ErrorReason;
use crate::wire::layouts::{DeregisterHandler, ForwardedRequest, RegisterHandler, SendToPath, SerialisedValue};
use crate::wire::primitives::{ConversationId, SessionId};
use crate::wire::services::{
    Deregistration, FilterResponseDelivery, MessagingReceiverClient, MessagingSend, Registration, Service, SystemPing,
    UserPing,
};

/// A request that another session sent, for the application to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceivedRequest {
    /// Names the request in [`ClientSession::respond`]; no other request of this session ever has the same.
    pub conversation: ConversationId,
    /// As the sender wrote it.
    pub path: String,
    /// How it found this session.
    pub addressing: Addressing,
    /// The request.
    pub request: Value,
}

/// How a request found the session that is to answer it.
#[derive(Clone, Debug, PartialEq)]
pub enum Addressing {
    /// The server chose a registered handler of this session; the path is the registered one or below it.
    Path {
        /// The registration that it is for.
        registration: ConversationId,
        /// Who asks.
        sender: SessionId,
        /// Of the sender, those that the registration asked for.
        properties: Vec<(String, String)>,
    },
    /// It was sent to this session, by its ID or by a filter. It is for a stream at exactly this path; where there is
    /// none, the application answers [`ErrorReason::UNHANDLED_MESSAGE`].
    Session,
}

/// A registered request handler.
#[derive(Clone, Debug)]
pub(super) struct Handler {
    path: String,
    property_keys: Vec<String>,
    /// Whether it is registered again after the server has lost it.
    pub reregister: bool,
}

/// Requests that may be with the application at the same time; further ones are answered with an error.
const MAX_RECEIVED: usize = 65_536;

/// Longest error text that is sent, in characters; the broker cuts there as well (rules M-18).
const MAX_ERROR_TEXT: usize = 1024;

impl ClientSession {
    /// Register as a request handler for `path` and everything below it.
    ///
    /// [`Response::Registered`](super::Response::Registered) follows when the server has accepted, and from then on
    /// [`Event::RequestReceived`] with the registration named there. `property_keys` say which session properties of
    /// the sender come with each request. With `reregister` it is registered again by itself when the server has lost it,
    /// else [`Event::HandlerLost`] tells of that.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 8.1.
    pub fn register_handler(
        &mut self,
        now: Moment,
        path: &str,
        property_keys: &[String],
        reregister: bool,
    ) -> Result<ConversationId, RequestError> {
        let registration = self.conversations.next_id();
        let deadline = now + self.config.request_timeout;
        let handler = Handler { path: path.to_owned(), property_keys: property_keys.to_vec(), reregister };
        let pending = Pending::Registration { deadline, registration };
        let conversation = self.send_registration(&handler, registration, pending)?;
        self.conversations.open(registration, Pending::Handler(handler));
        Ok(conversation)
    }

    pub(super) fn send_registration(
        &mut self,
        handler: &Handler,
        registration: ConversationId,
        pending: Pending,
    ) -> Result<ConversationId, RequestError> {
        let body = RegisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &handler.path,
            property_keys: handler.property_keys.iter().map(String::as_str).collect(),
            registration,
        };
        self.ask::<Registration>(&body, handler.path.len(), pending, false)
    }

    /// Take a registration back. [`Response::Deregistered`](super::Response::Deregistered) follows; requests that
    /// were delivered before it can still be answered.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`]. A registration that is gone already is [`RequestError::SessionClosed`].
    ///
    /// Source: section 8.1.
    pub fn deregister_handler(
        &mut self,
        now: Moment,
        registration: ConversationId,
    ) -> Result<ConversationId, RequestError> {
        let deadline = now + self.config.request_timeout;
        let pending = Pending::Deregistration { deadline, registration };
        if self.deregistrations_of(registration).is_empty() {
            return self.send_deregistration(registration, pending);
        }
        // Asked already. The server goes by the path, where another handler may be registered by now.
        let conversation = self.conversations.next_id();
        self.open(conversation, pending);
        Ok(conversation)
    }

    /// The conversations in which the server was asked to take back a registration, or that wait for the answer as well.
    fn deregistrations_of(&self, registration: ConversationId) -> Vec<ConversationId> {
        let is_one = |(_, pending): &(ConversationId, &Pending)| match pending {
            Pending::Deregistration { registration: other, .. }
            | Pending::UnconfirmedDeregistration { registration: other } => *other == registration,
            _ => false,
        };
        self.conversations.iter().filter(is_one).map(|(conversation, _)| conversation).collect()
    }

    /// The server has taken back a registration. Returns whether somebody who waits for that in another conversation was
    /// told.
    pub(super) fn handle_deregistered(&mut self, registration: ConversationId) -> bool {
        self.conversations.close(registration);
        let mut is_heard = false;
        for conversation in self.deregistrations_of(registration) {
            let is_waited_for = matches!(self.conversations.get(conversation), Some(Pending::Deregistration { .. }));
            self.abandon(conversation);
            if is_waited_for {
                self.report(conversation, Ok(Response::Deregistered));
            }
            is_heard |= is_waited_for;
        }
        is_heard
    }

    /// The server has accepted a registration. It accepts one for each path, so all others of this path are over, whatever
    /// was heard of them.
    pub(super) fn handle_registered(&mut self, registration: ConversationId) {
        let Some(Handler { path, .. }) = self.handler(registration) else { return };
        let is_over = |(id, pending): &(ConversationId, &Pending)| {
            *id != registration && matches!(pending, Pending::Handler(other) if other.path == *path)
        };
        let over: Vec<_> = self.conversations.iter().filter(is_over).map(|(id, _)| id).collect();
        for other in over {
            self.conversations.close(other);
            self.lose_handler(other);
        }
    }

    /// Answer a request: with a value, or with an error reason and a text for people. The first answer counts; one
    /// that can no longer be delivered is dropped.
    pub fn respond(&mut self, conversation: ConversationId, answer: Result<SerialisedValue<'_>, (ErrorReason, &str)>) {
        let Some(limit) = self.established().map(|connected| connected.max_message_size) else { return };
        let Some(conversation) = self.received.close(conversation) else { return };
        self.received_by_conversation.close(conversation);
        match answer {
            Ok(value) => {
                let frame = response_frame::<MessagingReceiverClient>(conversation, &value);
                if frame.len() > limit {
                    let size = frame.len();
                    let text = text!["the response has ", size, " bytes, the server takes ", limit, " at most"];
                    self.refuse(conversation, ErrorReason::CALLBACK_EXCEPTION, &text);
                } else {
                    self.send(frame);
                }
            }
            Err((reason, text)) => {
                let end = text.char_indices().nth(MAX_ERROR_TEXT).map_or(text.len(), |(at, _)| at);
                self.refuse(conversation, reason, text.get(..end).unwrap_or(text));
            }
        }
    }

    /// `size` is that of the whole message, in bytes.
    pub(super) fn handle_service_request(
        &mut self,
        now: Moment,
        service: u32,
        conversation: ConversationId,
        body: &[u8],
        size: usize,
    ) {
        // Not by `ServiceRequest`: the code for reading the services that only servers offer is not worth its download.
        let served = match service {
            SystemPing::ID | UserPing::ID => decode_all(body).map(|()| self.acknowledge(conversation)),
            MessagingReceiverClient::ID | MessagingSend::ID if size > self.config.max_message_size => {
                let limit = self.config.max_message_size;
                let text =
                    text!["the request has ", size, " bytes on its way, the recipient takes ", limit, " at most"];
                self.refuse(conversation, ErrorReason::INVALID_DATA, &text);
                Ok(())
            }
            MessagingReceiverClient::ID => decode_all(body).map(|request| self.dispatch_request(conversation, request)),
            MessagingSend::ID => decode_all(body).map(|SendToPath { path, request }| {
                self.deliver(conversation, path, Addressing::Session, request);
            }),
            FilterResponseDelivery::ID => decode_all(body).map(|response| {
                self.acknowledge(conversation);
                self.handle_filter_response(response, size);
            }),
            _ => {
                let text = text!["this client does not offer service ", service];
                self.refuse(conversation, ErrorReason::UNSUPPORTED, &text);
                Ok(())
            }
        };
        if let Err(error) = served {
            self.break_off(now, text!["the server sent a malformed request: ", error.message()]);
        }
    }

    fn dispatch_request(&mut self, conversation: ConversationId, request: ForwardedRequest<'_>) {
        if self.handler(request.registration).is_none() {
            let text = text!["this session has no request handler at ", request.path];
            return self.refuse(conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        }
        let properties = request.properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let addressing = Addressing::Path { registration: request.registration, sender: request.sender, properties };
        self.deliver(conversation, request.path, addressing, request.request);
    }

    fn deliver(
        &mut self,
        conversation: ConversationId,
        path: &str,
        addressing: Addressing,
        request: SerialisedValue<'_>,
    ) {
        if self.received.len() >= MAX_RECEIVED {
            let text = text!["this session has ", MAX_RECEIVED, " requests to answer already"];
            return self.refuse(conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
        }
        let id = self.received.next_id();
        // A request that is delivered twice while the first is being answered is answered once.
        if conversation == ConversationId::ONE_WAY || !self.received_by_conversation.open(conversation, id) {
            return;
        }
        self.received.open(id, conversation);
        self.outputs.push_back(Output::Deliver(Event::RequestReceived(ReceivedRequest {
            conversation: id,
            path: path.to_owned(),
            addressing,
            request: request.into(),
        })));
    }

    /// The server accepted a registration that the application was told has failed.
    pub(super) fn take_back(&mut self, registration: ConversationId, accepted: bool) {
        if accepted {
            // Only fails when the session is over, and then there is nothing to take back.
            let _ = self.send_deregistration(registration, Pending::Abandoned);
        }
        self.conversations.close(registration);
    }

    fn send_deregistration(
        &mut self,
        registration: ConversationId,
        pending: Pending,
    ) -> Result<ConversationId, RequestError> {
        let Some(handler) = self.handler(registration) else {
            return Err(RequestError::SessionClosed { sent: false });
        };
        let handler = handler.clone();
        let body = DeregisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &handler.path,
            property_keys: handler.property_keys.iter().map(String::as_str).collect(),
        };
        // It stays until the server has confirmed: requests may arrive that were sent before.
        self.ask::<Deregistration>(&body, handler.path.len(), pending, false)
    }

    /// The request handler of a registration.
    pub(super) fn handler(&self, registration: ConversationId) -> Option<&Handler> {
        match self.conversations.get(registration) {
            Some(Pending::Handler(handler)) => Some(handler),
            _ => None,
        }
    }

    /// The empty answer of a ping or a notice.
    fn acknowledge(&mut self, conversation: ConversationId) {
        if conversation != ConversationId::ONE_WAY {
            self.send(response_frame::<SystemPing>(conversation, &()));
        }
    }
}

/// As the official JavaScript client names it; servers ignore it (section 8.1).
const CONTROL_GROUP: &str = "default";
