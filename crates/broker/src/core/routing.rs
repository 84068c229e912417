//! From a request to its recipient, from the answer back to the sender.

use antiphon_protocol::path::{self, InvalidPath};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::{
    DeregisterHandler, ErrorReport, FilterAnswer, FilterOutcome, FilterResponse, ForwardedRequest, ReasonAndText,
    RegisterHandler, SendToFilter, SendToPath, SendToSession, SerialisedValue, ServiceFailure,
};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{
    Deregistration, FilterResponseDelivery, MessagingFilterSender, MessagingReceiverClient, MessagingSend,
    Registration, Service,
};

use super::Broker;
use super::filter::{Fault, Filter};
use super::properties::Selection;
use super::registry::{self, Conflict};
use super::sessions::{Forwarded, Outgoing, ReplyTo, SessionKey};

/// Longest error text of a recipient that is passed on, in characters (semantics M-18).
const MAX_ERROR_TEXT: usize = 1024;

const OVERWHELMED: &str = "the recipient has as many requests to answer as it may have, try again later";

impl Broker {
    /// Source: section 8.1; semantics M-5.
    pub(super) fn register(&mut self, key: SessionKey, conversation: ConversationId, request: &RegisterHandler<'_>) {
        if request.delivery_service != MessagingReceiverClient::ID {
            let text = format!("this broker delivers to service 88, not to {}", request.delivery_service);
            return self.refuse(key, conversation, ErrorReason::UNSUPPORTED, &text);
        }
        let path = match path::normalise(request.path) {
            Ok(path) => path,
            Err(error) => return self.refuse_path(key, conversation, error),
        };
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.handler_paths.len() >= self.config.max_registrations {
            let text =
                format!("this session has {} request handlers, no more are allowed", session.handler_paths.len());
            return self.refuse(key, conversation, ErrorReason::ACCESS_DENIED, &text);
        }
        let selection = match Selection::of_keys(&request.property_keys) {
            Ok(selection) => selection,
            Err(error) => return self.refuse(key, conversation, ErrorReason::INVALID_DATA, &error.to_string()),
        };
        let registration = registry::Registration { session: key, conversation: request.registration, selection };
        match self.registry.register(path, registration) {
            Ok(()) => {
                session.handler_paths.push(path.to_owned());
                self.send_to(key, || response_frame::<Registration>(conversation, &()));
            }
            Err(Conflict) => {
                let text = format!("this session has a request handler at {path} already");
                self.refuse(key, conversation, ErrorReason::HANDLER_CONFLICT, &text);
            }
        }
    }

    /// Taking back what is not there is no error: the client wants it gone, and it is (semantics M-6).
    pub(super) fn deregister(
        &mut self,
        key: SessionKey,
        conversation: ConversationId,
        request: &DeregisterHandler<'_>,
    ) {
        let path = match path::normalise(request.path) {
            Ok(path) => path,
            Err(error) => return self.refuse_path(key, conversation, error),
        };
        self.registry.deregister(path, key);
        if let Some(session) = self.sessions.get_mut(&key) {
            session.handler_paths.retain(|other| other != path);
        }
        self.send_to(key, || response_frame::<Deregistration>(conversation, &()));
    }

    /// Forwards a request to one handler of the most specific registered path (semantics M-3, M-4).
    pub(super) fn route_to_path(
        &mut self,
        now: Moment,
        sender: SessionKey,
        sender_conversation: ConversationId,
        request: &SendToPath<'_>,
    ) {
        let path = match path::normalise(request.path) {
            Ok(path) => path,
            Err(error) => return self.refuse_path(sender, sender_conversation, error),
        };
        let draws = [self.draw(), self.draw()];
        let Some(handlers) = self.registry.handlers_for(path) else {
            let text = format!("no session handles {}", request.path);
            return self.refuse(sender, sender_conversation, ErrorReason::UNHANDLED_MESSAGE, &text);
        };
        let handler = choose(handlers, draws, |key| self.sessions.get(&key).map_or(0, |session| session.to_answer));
        let (recipient, registration) = (handler.session, handler.conversation);
        if self.has_too_many(sender, 1) {
            return self.refuse_too_many(sender, sender_conversation);
        }
        if self.is_overwhelmed(recipient) {
            return self.refuse_overwhelmed(sender, sender_conversation);
        }
        let Some(conversation) = self.sessions.get_mut(&recipient).map(|session| session.conversations.next_id())
        else {
            return;
        };
        let Some(asking) = self.sessions.get(&sender) else { return };
        let body = ForwardedRequest {
            registration,
            sender: asking.id,
            path: request.path,
            properties: asking.properties.selected(&handler.selection),
            request: request.request.clone(),
        };
        let capacity = request.path.len() + request.request.bytes.len() + 64;
        let frame = request_frame::<MessagingReceiverClient>(conversation, &body, capacity);
        let deadline = now + self.config.request_timeout;
        let forwarded = Forwarded { sender, reply_to: ReplyTo::Request(sender_conversation), deadline };
        self.forward(recipient, conversation, forwarded, frame);
    }

    /// Delivers a request to one session (semantics M-1).
    ///
    /// Source: section 8.3.
    pub(super) fn route_to_session(
        &mut self,
        now: Moment,
        sender: SessionKey,
        sender_conversation: ConversationId,
        request: &SendToSession<'_>,
    ) {
        if let Err(error) = path::normalise(request.path) {
            return self.refuse_path(sender, sender_conversation, error);
        }
        let Some(recipient) = self.key_of(request.session) else {
            return self.refuse_session(sender, sender_conversation, request.session);
        };
        if self.has_too_many(sender, 1) {
            return self.refuse_too_many(sender, sender_conversation);
        }
        if self.is_overwhelmed(recipient) {
            return self.refuse_overwhelmed(sender, sender_conversation);
        }
        let body = SendToPath { path: request.path, request: request.request.clone() };
        let deadline = now + self.config.request_timeout;
        self.deliver(recipient, &body, Forwarded { sender, reply_to: ReplyTo::Request(sender_conversation), deadline });
    }

    /// Delivers a request to every session that a filter matches: first the count, then exactly one answer or error for
    /// each of them (semantics M-9 to M-13).
    ///
    /// Source: section 8.4.
    pub(super) fn route_to_filter(
        &mut self,
        now: Moment,
        sender: SessionKey,
        sender_conversation: ConversationId,
        request: &SendToFilter<'_>,
    ) {
        if let Err(error) = path::normalise(request.path) {
            return self.refuse_path(sender, sender_conversation, error);
        }
        let filter = match Filter::parse(request.filter) {
            Ok(filter) => filter,
            Err(fault) => return self.refuse_filter(sender, sender_conversation, &fault),
        };
        let recipients = self.matching(&filter);
        if self.has_too_many(sender, recipients.len()) {
            return self.refuse_too_many(sender, sender_conversation);
        }
        let limit = self.config.max_fan_out_bytes;
        let SerialisedValue { type_name, bytes } = &request.request;
        if recipients.len().saturating_mul(request.path.len() + type_name.len() + bytes.len()) > limit {
            let text = format!("the request to {} sessions would take more than {limit} bytes", recipients.len());
            return self.refuse(sender, sender_conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
        }
        // Before the first delivery: a session that matches its own filter answers too (semantics M-10, M-11).
        let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        self.send_to(sender, || {
            response_frame::<MessagingFilterSender>(sender_conversation, &FilterOutcome::Matched(count))
        });
        let body = SendToPath { path: request.path, request: request.request.clone() };
        let deadline = now + self.config.request_timeout;
        for recipient in recipients {
            let forwarded = Forwarded { sender, reply_to: ReplyTo::Filter(request.filter_conversation), deadline };
            if self.is_overwhelmed(recipient) {
                self.fail_unsent(recipient, forwarded);
            } else {
                self.deliver(recipient, &body, forwarded);
            }
        }
    }

    /// The sessions that match, in the order in which they were opened. Looks only at those that can.
    fn matching(&self, filter: &Filter) -> Vec<SessionKey> {
        let matches =
            |key: &SessionKey| self.sessions.get(key).is_some_and(|session| filter.matches(&session.properties));
        let mut keys: Vec<_> = if let Some(ids) = filter.required("$SessionId") {
            ids.iter().filter_map(|id| self.key_of(id.parse().ok()?)).filter(matches).collect()
        } else if let Some(principals) = filter.required("$Principal") {
            let sessions = principals.iter().filter_map(|principal| self.by_principal.get(*principal));
            sessions.flatten().copied().filter(matches).collect()
        } else {
            self.sessions.keys().copied().filter(matches).collect()
        };
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Delivers an addressed request.
    fn deliver(&mut self, recipient: SessionKey, body: &SendToPath<'_>, forwarded: Forwarded) {
        let Some(session) = self.sessions.get_mut(&recipient) else { return };
        let conversation = session.conversations.next_id();
        let capacity = body.path.len() + body.request.bytes.len() + 32;
        let frame = request_frame::<MessagingSend>(conversation, body, capacity);
        self.forward(recipient, conversation, forwarded, frame);
    }

    /// Sends a request to its recipient and remembers where the answer goes.
    fn forward(&mut self, recipient: SessionKey, conversation: ConversationId, forwarded: Forwarded, frame: Vec<u8>) {
        self.deadlines.insert(forwarded.deadline, (recipient, conversation));
        if let Some(asking) = self.sessions.get_mut(&forwarded.sender) {
            asking.outstanding += 1;
        }
        if let Some(answering) = self.sessions.get_mut(&recipient) {
            answering.to_answer += 1;
            answering.conversations.open(conversation, Outgoing::Forwarded(forwarded));
        }
        self.send_to(recipient, || frame);
    }

    /// A recipient answered; what it said goes to the sender as it is. A second answer finds nothing and is dropped
    /// (semantics M-16).
    pub(super) fn handle_answer(
        &mut self,
        recipient: SessionKey,
        conversation: ConversationId,
        answer: Result<&[u8], ServiceFailure<'_>>,
    ) {
        if let Some(forwarded) = self.take_forwarded(recipient, conversation) {
            self.route_response(recipient, forwarded, answer);
        }
    }

    /// Passes an answer on, or drops it if the sender is gone.
    pub(super) fn route_response(
        &mut self,
        recipient: SessionKey,
        forwarded: Forwarded,
        answer: Result<&[u8], ServiceFailure<'_>>,
    ) {
        let Forwarded { sender, reply_to, deadline } = forwarded;
        let Some(session) = self.sessions.get_mut(&sender) else {
            self.late_answers += 1;
            return;
        };
        session.outstanding -= 1;
        let answer = match answer {
            Ok(body) => decode_all::<SerialisedValue<'_>>(body).map(|value| (body, value)).map_err(|_| {
                ServiceFailure { description: "the recipient's answer is malformed", reason: ErrorReason::INVALID_DATA }
            }),
            Err(ServiceFailure { reason, description }) => {
                let end = description.char_indices().nth(MAX_ERROR_TEXT).map_or(description.len(), |(at, _)| at);
                Err(ServiceFailure { description: &description[..end], reason })
            }
        };
        match (reply_to, answer) {
            (ReplyTo::Request(ConversationId::ONE_WAY), _) => {}
            (ReplyTo::Request(conversation), Ok((body, _))) => {
                self.send_to(sender, || Message::ServiceResponse { conversation, body }.to_frame());
            }
            (ReplyTo::Request(conversation), Err(ServiceFailure { description, reason })) => {
                self.refuse(sender, conversation, reason, description);
            }
            (ReplyTo::Filter(filter_conversation), answer) => {
                let conversation = session.conversations.next_id();
                // From the deadline of the request, which may have come: the acknowledgement is still on its way.
                let deadline = deadline + self.config.request_timeout;
                session.conversations.open(conversation, Outgoing::FilterResponse { deadline });
                self.deadlines.insert(deadline, (sender, conversation));
                let answer = match answer {
                    Ok((_, value)) => FilterAnswer::Response(value),
                    Err(ServiceFailure { description, reason }) => {
                        FilterAnswer::Error(ReasonAndText { reason, description })
                    }
                };
                let recipient = SessionId { server: self.config.server, value: recipient.0 };
                let body = FilterResponse { filter_conversation, session: recipient, answer };
                self.send_to(sender, || request_frame::<FilterResponseDelivery>(conversation, &body, 64));
            }
        }
    }

    /// The only guard against recipients that never answer: the official clients have no timeout (semantics M-15).
    pub(super) fn time_out(&mut self, recipient: SessionKey, conversation: ConversationId) {
        let Some(forwarded) = self.take_forwarded(recipient, conversation) else { return };
        let description = &*format!("the recipient did not answer within {:?}", self.config.request_timeout);
        let failure = ServiceFailure { description, reason: ErrorReason::REQUEST_TIME_OUT };
        self.route_response(recipient, forwarded, Err(failure));
    }

    /// The request that a recipient's conversation stands for; the conversation is over then.
    fn take_forwarded(&mut self, recipient: SessionKey, conversation: ConversationId) -> Option<Forwarded> {
        let session = self.sessions.get_mut(&recipient)?;
        match session.conversations.close(conversation) {
            Some(Outgoing::Forwarded(forwarded)) => {
                session.to_answer -= 1;
                self.deadlines.remove(forwarded.deadline, (recipient, conversation));
                Some(forwarded)
            }
            Some(Outgoing::Ping) => {
                session.ping = None;
                None
            }
            Some(Outgoing::FilterResponse { deadline }) => {
                self.deadlines.remove(deadline, (recipient, conversation));
                None
            }
            None => {
                self.late_answers += 1;
                None
            }
        }
    }

    /// Whether `more` requests of a session would be more than may wait for their answers.
    fn has_too_many(&self, sender: SessionKey, more: usize) -> bool {
        let outstanding = self.sessions.get(&sender).map_or(0, |session| session.outstanding);
        outstanding + more > self.config.max_outstanding_requests
    }

    /// Whether so many requests wait for the answers of a session that no more are queued for it: it is not to lose its
    /// connection because others ask too much.
    fn is_overwhelmed(&self, recipient: SessionKey) -> bool {
        let waiting = self.sessions.get(&recipient).map_or(0, |session| session.to_answer);
        waiting >= self.config.max_requests_to_answer
    }

    fn refuse_overwhelmed(&mut self, sender: SessionKey, conversation: ConversationId) {
        self.refuse(sender, conversation, ErrorReason::COMMUNICATION_FAILURE, OVERWHELMED);
    }

    /// Answers for a session to which a request was not even sent.
    fn fail_unsent(&mut self, recipient: SessionKey, forwarded: Forwarded) {
        if let Some(asking) = self.sessions.get_mut(&forwarded.sender) {
            asking.outstanding += 1;
        }
        let failure = ServiceFailure { description: OVERWHELMED, reason: ErrorReason::COMMUNICATION_FAILURE };
        self.route_response(recipient, forwarded, Err(failure));
    }

    fn refuse_too_many(&mut self, sender: SessionKey, conversation: ConversationId) {
        let limit = self.config.max_outstanding_requests;
        let text = format!("more than {limit} requests of this session would wait for an answer");
        self.refuse(sender, conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
    }

    fn refuse_filter(&mut self, sender: SessionKey, conversation: ConversationId, fault: &Fault) {
        let report = ErrorReport {
            message: &fault.message,
            line: i32::try_from(fault.line).unwrap_or(i32::MAX),
            column: i32::try_from(fault.column).unwrap_or(i32::MAX),
        };
        let outcome = FilterOutcome::Rejected(vec![report]);
        self.send_to(sender, || response_frame::<MessagingFilterSender>(conversation, &outcome));
    }

    fn refuse_path(&mut self, key: SessionKey, conversation: ConversationId, error: InvalidPath) {
        self.refuse(key, conversation, ErrorReason::INVALID_PATH, &error.to_string());
    }

    /// A number for choosing among equals (SplitMix64); nothing secret depends on it.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Of two handlers drawn at random the one with fewer requests to answer. That reaches all, favours those that keep
/// up, and takes the same time for two handlers and for a thousand.
fn choose(
    handlers: &[registry::Registration],
    draws: [u64; 2],
    to_answer: impl Fn(SessionKey) -> usize,
) -> &registry::Registration {
    let [first, second] = draws.map(|draw| &handlers[(draw % handlers.len() as u64) as usize]);
    if to_answer(second.session) < to_answer(first.session) { second } else { first }
}
