//! Request handlers: registering them with the server, finding the one that a request is for, answering.

use super::calls::{Call, Purpose, Response};
use super::ids::{CallId, HandlerId, RequestId};
use super::received::{MAX_RECEIVED, ReceivedRequest, Sender};
use super::registrations::{Effect, Registration};
use super::{ClientSession, Event, RequestError};
use crate::text;
use crate::time::Moment;
use crate::wire::decode_all;
use crate::wire::envelope::{Message, request_frame, response_frame};
use crate::wire::error_reason::ErrorReason;
use crate::wire::layouts::{ForwardedRequest, SendToPath, SerialisedValue, ServiceFailure};
use crate::wire::primitives::ConversationId;
use crate::wire::services::{
    self, Deregistration, FilterResponseDelivery, MessagingReceiverClient, MessagingSend, Service, SystemPing, UserPing,
};

/// Longest error text that is sent, in characters; the broker cuts there as well (rules M-18).
const MAX_ERROR_TEXT: usize = 1024;

impl ClientSession {
    /// Register `handler` for requests to `path` and everything below it.
    ///
    /// [`Response::Registered`] follows when the server has accepted, and from then on [`Event::RequestReceived`].
    /// `property_keys` say which session properties of the sender come with each request. With `reregister` it is registered
    /// again by itself when the server has lost it, else [`Event::HandlerLost`] tells of that.
    ///
    /// Source: section 8.1.
    pub fn register_handler(
        &mut self,
        now: Moment,
        call: CallId,
        handler: HandlerId,
        path: &str,
        property_keys: &[String],
        reregister: bool,
    ) {
        let number = self.calls.next_conversation();
        let conversation = self.calls.next_conversation();
        let registration =
            Registration { number, path: path.to_owned(), property_keys: property_keys.to_vec(), reregister };
        let frame = registration_frame(conversation, &registration);
        let purpose = Purpose::Registration(handler);
        match self.connection.way_for(frame.len(), false) {
            Ok(_) => {
                self.registrations.register(handler, registration, conversation, call);
                self.calls.open(call, Call::new(now, self.config.request_timeout, purpose, None));
                self.send(frame);
            }
            Err(error) => self.report(call, purpose, Err(error)),
        }
    }

    /// Take back the registration of `handler`. [`Response::Deregistered`] follows, at once if there is none; requests that
    /// were delivered before it can still be answered.
    ///
    /// Source: section 8.1.
    pub fn deregister_handler(&mut self, now: Moment, call: CallId, handler: HandlerId) {
        let purpose = Purpose::Deregistration(handler);
        let Some(registration) = self.registrations.get(handler) else {
            let outcome = self.connection.way_for(0, true).map(|_| Response::Deregistered);
            return self.report(call, purpose, outcome);
        };
        // It is asked once: it goes by the path, where another handler may be registered by now.
        if !self.registrations.is_deregistering(handler) {
            let conversation = self.calls.next_conversation();
            let frame = deregistration_frame(conversation, registration);
            if let Err(error) = self.connection.way_for(frame.len(), false) {
                return self.report(call, purpose, Err(error));
            }
            self.registrations.deregister(handler, conversation);
            self.send(frame);
        }
        self.registrations.wait(handler, call);
        self.calls.open(call, Call::new(now, self.config.request_timeout, purpose, None));
    }

    /// Let a stream answer requests to exactly `path`, without the server knowing of it.
    ///
    /// With `addressed` it answers requests that are sent to this session by its ID or by a session filter. Without, it
    /// answers those that the server sends to a registration of this session; it shares the path with request handlers, and
    /// whatever came later answers. A registration counts from the server's acceptance on. [`Event::HandlerLost`] tells of a
    /// stream whose place was taken.
    pub fn add_stream(&mut self, handler: HandlerId, path: &str, addressed: bool) {
        self.registrations.add_stream(handler, path, addressed);
        self.follow_registrations();
    }

    /// Take a stream away. What it has replaced does not come back.
    pub fn remove_stream(&mut self, handler: HandlerId) {
        self.registrations.remove_stream(handler);
    }

    /// Answer a request: with a value, or with an error reason and a text for people. The first answer counts; one
    /// that can no longer be delivered is dropped.
    pub fn respond(&mut self, request: RequestId, answer: Result<SerialisedValue<'_>, (ErrorReason, &str)>) {
        let Some(conversation) = self.received.answer(request) else { return };
        match answer {
            Ok(value) => {
                let frame = response_frame::<MessagingReceiverClient>(conversation, &value);
                match self.connection.way_for(frame.len(), true) {
                    Err(RequestError::MessageTooLarge { size, limit }) => {
                        let text = text!["the response has ", size, " bytes, the server takes ", limit, " at most"];
                        self.refuse(conversation, ErrorReason::CALLBACK_EXCEPTION, &text);
                    }
                    _ => self.send(frame),
                }
            }
            Err((reason, text)) => {
                let end = text.char_indices().nth(MAX_ERROR_TEXT).map_or(text.len(), |(at, _)| at);
                self.refuse(conversation, reason, text.get(..end).unwrap_or(text));
            }
        }
    }

    /// The server asks something; `size` is that of the whole message, in bytes.
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
            MessagingReceiverClient::ID => decode_all(body).map(|request| self.dispatch(conversation, request)),
            MessagingSend::ID => decode_all(body).map(|request| self.dispatch_addressed(conversation, request)),
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

    /// The empty answer of a ping or a notice.
    fn acknowledge(&mut self, conversation: ConversationId) {
        if conversation != ConversationId::ONE_WAY {
            self.send(response_frame::<SystemPing>(conversation, &()));
        }
    }

    fn dispatch(&mut self, conversation: ConversationId, forwarded: ForwardedRequest<'_>) {
        let ForwardedRequest { registration, sender, path, properties, request } = forwarded;
        let Some(handler) = self.registrations.handler(registration, path) else {
            let text = text!["this session has no request handler at ", path];
            return self.refuse(conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        };
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.deliver_request(conversation, handler, path, Some(Sender { session: sender, properties }), request);
    }

    fn dispatch_addressed(&mut self, conversation: ConversationId, SendToPath { path, request }: SendToPath<'_>) {
        let Some(handler) = self.registrations.addressed(path) else {
            let text = text!["this session has no stream with addressed: true at ", path];
            return self.refuse(conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        };
        self.deliver_request(conversation, handler, path, None, request);
    }

    fn deliver_request(
        &mut self,
        conversation: ConversationId,
        handler: HandlerId,
        path: &str,
        sender: Option<Sender>,
        request: SerialisedValue<'_>,
    ) {
        if self.received.is_full() {
            let text = text!["this session has ", MAX_RECEIVED, " requests to answer already, try again later"];
            return self.refuse(conversation, ErrorReason::CLUSTER_ROUTING, &text);
        }
        // A request that nobody wants to be answered; or one that is delivered twice while the first is being answered.
        if conversation == ConversationId::ONE_WAY {
            return;
        }
        let Some(id) = self.received.add(conversation) else { return };
        let (path, request) = (path.to_owned(), request.into());
        self.deliver(Event::RequestReceived(ReceivedRequest { id, handler, path, sender, request }));
    }

    /// Answers a service request with an error, unless nobody waits for an answer.
    fn refuse(&mut self, conversation: ConversationId, reason: ErrorReason, description: &str) {
        if conversation != ConversationId::ONE_WAY {
            let failure = ServiceFailure { description, reason };
            self.send(Message::ServiceError { conversation, failure }.to_frame());
        }
    }

    /// The server answered what it was asked about a registration.
    pub(super) fn handle_registration_answer(
        &mut self,
        conversation: ConversationId,
        answer: Result<(), RequestError>,
    ) {
        self.registrations.answer(conversation, answer);
        self.follow_registrations();
    }

    /// Carries out what has become of registrations and streams.
    fn follow_registrations(&mut self) {
        for effect in self.registrations.take_effects() {
            match effect {
                Effect::End(call, outcome) => self.end_call(call, outcome),
                Effect::Lost(handler) => self.deliver(Event::HandlerLost(handler)),
                Effect::TakeBack(registration) => {
                    let conversation = self.calls.next_conversation();
                    self.send(deregistration_frame(conversation, &registration));
                }
            }
        }
    }

    /// The server has lost everything that it knew of the session. Returns how many request handlers are to be registered
    /// again.
    pub(super) fn lose_registrations(&mut self) -> usize {
        self.registrations.lose_all();
        self.follow_registrations();
        self.registrations.len()
    }

    /// Registers the request handlers again that the server has lost.
    pub(super) fn register_again(&mut self) {
        for handler in self.registrations.handlers() {
            let Some(registration) = self.registrations.get(handler) else { continue };
            let conversation = self.calls.next_conversation();
            let frame = registration_frame(conversation, registration);
            // Only fails for a server that takes smaller messages than before.
            if self.connection.way_for(frame.len(), false).is_ok() {
                self.registrations.register_again(handler, conversation);
                self.send(frame);
            } else {
                self.registrations.lose(handler);
            }
        }
        self.follow_registrations();
    }
}

/// The message that asks for a registration.
fn registration_frame(conversation: ConversationId, registration: &Registration) -> Vec<u8> {
    request_frame::<services::Registration>(conversation, &registration.to_register(), registration.path.len())
}

/// The message that takes a registration back.
fn deregistration_frame(conversation: ConversationId, registration: &Registration) -> Vec<u8> {
    request_frame::<Deregistration>(conversation, &registration.to_deregister(), registration.path.len())
}
