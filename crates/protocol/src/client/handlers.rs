//! Request handlers: registering them with the server, finding the one that a request is for, answering.

use std::time::Duration;

use super::calls::{Call, Purpose, Response};
use super::connection::Way;
use super::ids::{CallId, HandlerId, RequestId};
use super::messages::Arrival;
use super::received::{MAX_RECEIVED, Open, ReceivedRequest, Sender};
use super::registrations::{Effect, Question, Registration};
use super::{ClientSession, Event, Output, RequestError};
use crate::features::Features;
use crate::text;
use crate::time::Moment;
use crate::wire::decode_all;
use crate::wire::envelope::{Message, request_frame, response_frame};
use crate::wire::error_reason::ErrorReason;
use crate::wire::headers::{Header, HeaderBlock};
use crate::wire::layouts::{Cancel, ForwardedRequest, HandlersNow, SendToPath, SerialisedValue, ServiceFailure};
use crate::wire::primitives::ConversationId;
use crate::wire::services::{
    self, Cancellation, CredentialsWanted, Deregistration, FilterResponseDelivery, HandlersChanged,
    MessagingReceiverClient, MessagingSend, Service, SystemPing, UserPing,
};

/// Longest error text that is sent, in characters; the broker cuts there as well (rules M-18).
const MAX_ERROR_TEXT: usize = 1024;

/// How a request handler is registered, and how it answers.
#[derive(Clone, Debug)]
pub struct HandlerSettings {
    /// Which session properties of the sender come with each request.
    pub property_keys: Vec<String>,
    /// Whether it is registered again by itself when the server has lost it; else [`Event::HandlerLost`] tells of that.
    pub reregister: bool,
    /// Whether it also answers requests that are sent to this session by its ID or by a session filter, at exactly its path.
    pub addressed: bool,
    /// How long it may take for an answer.
    pub timeout: Duration,
    /// How many requests the server sends it at a time, if the server counts them; 0 for as many as come.
    pub max_concurrent: u32,
    /// How many requests may wait at the server while all handlers of the path have as many as they take.
    pub max_queued: u32,
    /// Whether the registration waits for a connection while there is none, instead of failing at once.
    pub wait: bool,
}

impl Default for HandlerSettings {
    fn default() -> Self {
        Self {
            property_keys: Vec::new(),
            reregister: true,
            addressed: false,
            timeout: Duration::from_secs(60),
            max_concurrent: 0,
            max_queued: 0,
            wait: false,
        }
    }
}

impl ClientSession {
    /// Register `handler` for requests to `path` and everything below it.
    ///
    /// [`Response::Registered`] follows when the server has accepted, and from then on [`Event::RequestReceived`]. Where
    /// another registration of the path is under way or is being taken back, this one has its turn after that.
    ///
    /// Source: section 8.1.
    pub fn register_handler(
        &mut self,
        now: Moment,
        call: CallId,
        handler: HandlerId,
        path: &str,
        settings: HandlerSettings,
    ) {
        let HandlerSettings { property_keys, reregister, addressed, timeout, max_concurrent, max_queued, wait } =
            settings;
        let mut headers = HeaderBlock::default();
        headers.add_number(Header::MaxConcurrent, max_concurrent);
        headers.add_number(Header::MaxQueued, max_queued);
        let purpose = Purpose::Registration(handler);
        let is_open = match self.connection.way_for(0, wait && self.calls.may_wait()) {
            Ok(way) => matches!(way, Way::Open),
            Err(error) => return self.report(call, purpose, Err(error)),
        };
        let number = self.calls.next_conversation();
        let (path, is_addressed) = (path.to_owned(), addressed);
        let registration = Registration { number, path, property_keys, reregister, is_addressed, timeout, headers };
        let mut opened = Call::new(now, self.request_timeout, purpose, None);
        opened.unsent = Some(Vec::new());
        self.calls.open(call, opened);
        self.registrations.register(handler, registration, call, is_open);
        self.follow_registrations();
    }

    /// Let `handler` answer no more, and take its registration back; requests that were delivered before it can still be
    /// answered. [`Response::Deregistered`] follows when the server has agreed, or at once if there is nothing to wait for:
    /// no registration, or no connection, and then the server is asked as soon as there is one.
    ///
    /// Source: section 8.1.
    pub fn deregister_handler(&mut self, now: Moment, call: CallId, handler: HandlerId) {
        let purpose = Purpose::Deregistration;
        if let Some(waiting) = self.registrations.close(handler)
            && self.connection.way_for(0, false).is_ok()
        {
            waiting.push(call);
            self.calls.open(call, Call::new(now, self.request_timeout, purpose, None));
        } else {
            self.report(call, purpose, Ok(Response::Deregistered));
        }
        self.follow_registrations();
    }

    /// Let a stream answer requests to exactly `path`, without the server knowing of it.
    ///
    /// With `addressed` it answers requests that are sent to this session by its ID or by a session filter. Without, it
    /// answers those that the server sends to a registration of this session; it shares the path with request handlers, and
    /// whatever came later answers. A registration counts from the server's acceptance on. [`Event::HandlerLost`] tells of a
    /// stream whose place was taken. It may take `timeout` for an answer.
    pub fn add_stream(&mut self, handler: HandlerId, path: &str, addressed: bool, timeout: Duration) {
        self.registrations.add_stream(handler, path, addressed, timeout);
        self.follow_registrations();
    }

    /// Take a stream away. What it has replaced does not come back.
    pub fn remove_stream(&mut self, handler: HandlerId) {
        self.registrations.remove_stream(handler);
    }

    /// Answer a request: with a value, or with an error reason, a text for people, and a json value beside it, in CBOR, which
    /// may be empty for none. The first answer counts; one that can no longer be delivered is dropped. So is the value beside an
    /// error, if there is more of it than the server takes.
    pub fn respond(&mut self, request: RequestId, answer: Result<SerialisedValue<'_>, (ErrorReason, &str, &[u8])>) {
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
            Err((reason, text, details)) => {
                let end = text.char_indices().nth(MAX_ERROR_TEXT).map_or(text.len(), |(at, _)| at);
                let mut headers = HeaderBlock::default();
                // Beside the longest text.
                if self.connection.way_for(details.len() + 4 * MAX_ERROR_TEXT + 32, true).is_ok() {
                    headers.add(Header::Details, details);
                }
                self.refuse_with(conversation, reason, text.get(..end).unwrap_or(text), &headers);
            }
        }
    }

    /// The server asks something.
    pub(super) fn handle_service_request(&mut self, arrival: Arrival<'_>, service: u32, body: &[u8]) {
        let Arrival { now, conversation, size, .. } = arrival;
        // Not by `ServiceRequest`: the code for reading the services that only servers offer is not worth its download.
        let served = match service {
            SystemPing::ID | UserPing::ID => decode_all(body).map(|()| self.acknowledge(conversation)),
            MessagingReceiverClient::ID | MessagingSend::ID if size > self.max_message_size => {
                let limit = self.max_message_size;
                let text =
                    text!["the request has ", size, " bytes on its way, the recipient takes ", limit, " at most"];
                self.refuse(conversation, ErrorReason::INVALID_DATA, &text);
                Ok(())
            }
            MessagingReceiverClient::ID => decode_all(body).map(|request| self.dispatch(arrival, request)),
            MessagingSend::ID => decode_all(body).map(|request| self.dispatch_addressed(arrival, request)),
            HandlersChanged::ID => {
                HandlersNow::split(body).map(|(watch, found)| self.handle_response(now, watch, Ok(found)))
            }
            Cancellation::ID => decode_all(body).map(|cancel| self.handle_cancel(cancel)),
            CredentialsWanted::ID => {
                // The same question as when a connection begins, but to this one there is a session already.
                if let Some(connection) = self.connection() {
                    self.push(Output::Connect(connection));
                }
                Ok(())
            }
            FilterResponseDelivery::ID => decode_all(body).map(|response| {
                self.acknowledge(conversation);
                self.handle_filter_response(arrival, response);
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

    fn dispatch(&mut self, arrival: Arrival<'_>, forwarded: ForwardedRequest<'_>) {
        let ForwardedRequest { registration, sender, path, properties, request } = forwarded;
        let Some(handler) = self.registrations.handler(registration, path) else {
            let text = text!["this session has no request handler at ", path];
            return self.refuse(arrival.conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        };
        let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.deliver_request(arrival, handler, path, Some(Sender { session: sender, properties }), request);
    }

    fn dispatch_addressed(&mut self, arrival: Arrival<'_>, SendToPath { path, request }: SendToPath<'_>) {
        let Some(handler) = self.registrations.addressed(path) else {
            let text = text!["this session has no handler with the option addressed: true at exactly ", path];
            return self.refuse(arrival.conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        };
        self.deliver_request(arrival, handler, path, None, request);
    }

    fn deliver_request(
        &mut self,
        Arrival { now, conversation, headers, .. }: Arrival<'_>,
        handler: HandlerId,
        path: &str,
        sender: Option<Sender>,
        request: SerialisedValue<'_>,
    ) {
        if self.received.is_full() {
            let text = text!["this session has ", MAX_RECEIVED, " requests to answer already, try again later"];
            let knows_busy = self.features().has(Features::BUSY);
            let reason = if knows_busy { ErrorReason::BUSY } else { ErrorReason::CLUSTER_ROUTING };
            return self.refuse(conversation, reason, &text);
        }
        // A request that nobody wants to be answered; or one that is delivered twice while the first is being answered.
        if conversation == ConversationId::ONE_WAY {
            return;
        }
        let (timeout, time_left) = (self.registrations.timeout(handler), headers.time_left());
        // It was given up on its way.
        if time_left == Some(Duration::ZERO) {
            return;
        }
        let Some(id) = self.received.add(now, conversation, timeout, time_left) else { return };
        let (path, request) = (path.to_owned(), request.into());
        let key = headers.text(Header::IdempotencyKey).map(str::to_owned);
        let metadata = headers.kept(Header::Metadata);
        let received = ReceivedRequest { id, handler, path, sender, request, time_left, key, metadata };
        self.deliver(Event::RequestReceived(received));
    }

    /// The sender of a request does not wait for the answer any more.
    fn handle_cancel(&mut self, Cancel { conversation, is_timed_out }: Cancel) {
        if let Some(request) = self.received.in_conversation(conversation) {
            let reason = if is_timed_out { ErrorReason::REQUEST_TIME_OUT } else { ErrorReason::CANCELLED };
            self.received.answer(request);
            self.deliver(Event::RequestAbandoned { request, error: RequestError::GivenUp(reason) });
        }
    }

    /// Answers a service request with an error, unless nobody waits for an answer.
    fn refuse(&mut self, conversation: ConversationId, reason: ErrorReason, description: &str) {
        self.refuse_with(conversation, reason, description, &HeaderBlock::default());
    }

    fn refuse_with(
        &mut self,
        conversation: ConversationId,
        reason: ErrorReason,
        description: &str,
        headers: &HeaderBlock,
    ) {
        if conversation != ConversationId::ONE_WAY {
            let failure = ServiceFailure { description, reason };
            self.send(headers.before(Message::ServiceError { conversation, failure }.to_frame()));
        }
    }

    /// The request that is due has taken too long: whoever answers it is told, and its sender, unless that has stopped waiting.
    pub(super) fn end_due_request(&mut self) {
        let Some((request, Open { conversation, timeout })) = self.received.end_next() else { return };
        let error = match timeout {
            Some(timeout) => {
                let error = RequestError::TimedOut(timeout);
                self.refuse(conversation, ErrorReason::REQUEST_TIME_OUT, &error.message());
                error
            }
            None => RequestError::GivenUp(ErrorReason::REQUEST_TIME_OUT),
        };
        self.deliver(Event::RequestAbandoned { request, error });
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
    pub(super) fn follow_registrations(&mut self) {
        for effect in self.registrations.take_effects() {
            match effect {
                Effect::Ask(handler, question) => self.ask_about(handler, question),
                Effect::End(call, outcome) => self.end_call(call, outcome),
                Effect::Lost(handler) => self.deliver(Event::HandlerLost(handler)),
            }
        }
    }

    /// Asks the server to make a registration, or to take it back.
    fn ask_about(&mut self, handler: HandlerId, question: Question) {
        let conversation = self.calls.next_conversation();
        let Some(registration) = self.registrations.get(handler) else { return };
        let capacity = registration.path.len();
        let frame = match question {
            Question::Register => registration.headers.before(request_frame::<services::Registration>(
                conversation,
                &registration.to_register(),
                capacity,
            )),
            Question::Deregister => {
                request_frame::<Deregistration>(conversation, &registration.to_deregister(), capacity)
            }
        };
        if let Some(call) = self.registrations.ask(handler, question, conversation) {
            self.calls.take_unsent(call);
        }
        match self.connection.way_for(frame.len(), true) {
            Err(error @ RequestError::MessageTooLarge { .. }) if question == Question::Register => {
                self.handle_registration_answer(conversation, Err(error));
            }
            // Without a connection it is kept for the next one.
            _ => self.send(frame),
        }
    }

    /// The server has lost everything that it knew of the session. Returns how many request handlers are to be registered
    /// again.
    pub(super) fn lose_registrations(&mut self) -> usize {
        let again = self.registrations.lose_all();
        self.follow_registrations();
        again
    }

    /// Registers the request handlers again that the server has lost.
    pub(super) fn register_again(&mut self) {
        self.registrations.advance_all();
        self.follow_registrations();
    }
}
