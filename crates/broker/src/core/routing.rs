//! From a request to its recipient, from the answer back to the sender.

use antiphon_protocol::path::{self, InvalidPath};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame};
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
use antiphon_protocol::wire::{Decode, Reader};

use super::Broker;
use super::filter::{Fault, Filter, TooMuchWork, Work};
use super::properties::Selection;
use super::registry;
use super::sessions::{Forwarded, Link, Outgoing, ReplyTo, Session, SessionKey};

/// Longest error text of a recipient that is passed on, in characters (rules M-18).
const MAX_ERROR_TEXT: usize = 1024;

/// Most bytes that it may take to keep the paths and property keys of one session's registrations.
const MAX_HANDLER_BYTES: usize = 16 << 20;

const OVERWHELMED: &str = "the recipient has as many requests to answer as it may have, try again later";

impl Broker {
    /// Source: section 8.1; rules M-5.
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
        if session.handler_paths.contains_key(path) {
            let text = format!("this session has a request handler at {path} already");
            return self.refuse(key, conversation, ErrorReason::HANDLER_CONFLICT, &text);
        }
        if session.handler_paths.len() >= self.config.max_registrations {
            let text =
                format!("this session has {} request handlers, no more are allowed", session.handler_paths.len());
            return self.refuse(key, conversation, ErrorReason::ACCESS_DENIED, &text);
        }
        let selection = match Selection::of_keys(&request.property_keys) {
            Ok(selection) => selection,
            Err(error) => return self.refuse(key, conversation, ErrorReason::INVALID_DATA, &error.to_string()),
        };
        let bytes = path.len() + selection.size();
        if session.handler_bytes + bytes > MAX_HANDLER_BYTES {
            let text = format!("the request handlers of this session take more than {MAX_HANDLER_BYTES} bytes");
            return self.refuse(key, conversation, ErrorReason::ACCESS_DENIED, &text);
        }
        session.handler_bytes += bytes;
        session.handler_paths.insert(path.to_owned(), bytes);
        let registration = registry::Registration { session: key, conversation: request.registration, selection };
        self.registry.register(path, registration);
        self.answer::<Registration>(key, conversation, &());
    }

    /// Taking back what is not there is no error: the client wants it gone, and it is (rules M-6).
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
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if let Some(bytes) = session.handler_paths.remove(path) {
            session.handler_bytes -= bytes;
            self.registry.deregister(path, key);
        }
        self.answer::<Deregistration>(key, conversation, &());
    }

    /// Forwards a request to one handler of the most specific registered path (rules M-3, M-4).
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
        let load = |session: &Session| (!session.is_connected(), session.to_answer);
        let handler = choose(handlers, draws, |key| self.sessions.get(&key).map_or((true, 0), load));
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
        let timeout = self.config.timeout_for(path);
        let forwarded = Forwarded::new(now, timeout, sender, ReplyTo::Request(sender_conversation));
        self.forward(recipient, conversation, forwarded, frame);
    }

    /// Delivers a request to one session (rules M-1).
    ///
    /// Source: section 8.3.
    pub(super) fn route_to_session(
        &mut self,
        now: Moment,
        sender: SessionKey,
        sender_conversation: ConversationId,
        request: &SendToSession<'_>,
    ) {
        let path = match path::normalise(request.path) {
            Ok(path) => path,
            Err(error) => return self.refuse_path(sender, sender_conversation, error),
        };
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
        let timeout = self.config.timeout_for(path);
        let reply_to = ReplyTo::Request(sender_conversation);
        self.deliver(recipient, &body, Forwarded::new(now, timeout, sender, reply_to));
    }

    /// Delivers a request to every session that a filter matches: first the count, then exactly one answer or error for
    /// each of them (rules M-9 to M-13).
    ///
    /// Source: section 8.4.
    pub(super) fn route_to_filter(
        &mut self,
        now: Moment,
        sender: SessionKey,
        sender_conversation: ConversationId,
        request: &SendToFilter<'_>,
    ) {
        let path = match path::normalise(request.path) {
            Ok(path) => path,
            Err(error) => return self.refuse_path(sender, sender_conversation, error),
        };
        let filter = match Filter::parse(request.filter) {
            Ok(filter) => filter,
            Err(fault) => return self.refuse_filter(sender, sender_conversation, &fault),
        };
        let recipients = match self.matching(&filter) {
            Ok(recipients) => recipients,
            Err(TooMuchWork) => {
                let text = TooMuchWork.to_string();
                return self.refuse(sender, sender_conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
            }
        };
        if self.has_too_many(sender, recipients.len()) {
            return self.refuse_too_many(sender, sender_conversation);
        }
        let limit = self.config.max_fan_out_bytes;
        let SerialisedValue { type_name, bytes } = &request.request;
        if recipients.len().saturating_mul(request.path.len() + type_name.len() + bytes.len()) > limit {
            let text = format!("the request to {} sessions would take more than {limit} bytes", recipients.len());
            return self.refuse(sender, sender_conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
        }
        // Before the first delivery: a session that matches its own filter answers too (rules M-10, M-11).
        let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
        self.answer::<MessagingFilterSender>(sender, sender_conversation, &FilterOutcome::Matched(count));
        // Who does not want to know how many answers there will be wants none of them.
        let reply_to = match sender_conversation {
            ConversationId::ONE_WAY => ReplyTo::Request(ConversationId::ONE_WAY),
            _ => ReplyTo::Filter(request.filter_conversation),
        };
        let body = SendToPath { path: request.path, request: request.request.clone() };
        let forwarded = Forwarded::new(now, self.config.timeout_for(path), sender, reply_to);
        for recipient in recipients {
            if self.is_overwhelmed(recipient) {
                self.fail_unsent(recipient, forwarded);
            } else {
                self.deliver(recipient, &body, forwarded);
            }
        }
    }

    /// The sessions that match, in the order in which they were opened. Looks only at those that can.
    fn matching(&self, filter: &Filter) -> Result<Vec<SessionKey>, TooMuchWork> {
        let mut work = Work::new();
        let mut matches = |key: &SessionKey| match self.sessions.get(key) {
            Some(session) if session.is_connected() => filter.matches(&session.properties, &mut work),
            _ => Ok(false),
        };
        let mut matching = Vec::new();
        let mut add = |key: SessionKey| {
            // Those that have no connection at the moment are not asked (rules M-9).
            if matches(&key)? {
                matching.push(key);
            }
            Ok(())
        };
        if let Some(ids) = filter.required("$SessionId") {
            ids.iter().filter_map(|id| self.key_of(id.parse().ok()?)).try_for_each(&mut add)?;
        } else if let Some(principals) = filter.required("$Principal") {
            let sessions = principals.iter().filter_map(|principal| self.by_principal.get(*principal));
            sessions.flatten().copied().try_for_each(&mut add)?;
        } else {
            self.sessions.keys().copied().try_for_each(&mut add)?;
        }
        matching.sort_unstable();
        // Two spellings of an ID are two values of one session.
        matching.dedup();
        Ok(matching)
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
    fn forward(
        &mut self,
        recipient: SessionKey,
        conversation: ConversationId,
        mut forwarded: Forwarded,
        frame: Vec<u8>,
    ) {
        forwarded.bytes = frame.len();
        self.deadlines.insert(forwarded.deadline, (recipient, conversation));
        if let Some(asking) = self.sessions.get_mut(&forwarded.sender) {
            asking.outstanding += 1;
        }
        if let Some(answering) = self.sessions.get_mut(&recipient) {
            answering.to_answer += 1;
            answering.bytes_to_answer += forwarded.bytes;
            answering.conversations.open(conversation, Outgoing::Forwarded(forwarded));
        }
        self.send_to(recipient, || frame);
    }

    /// A session answered. What a recipient said goes to the sender as it is; a second answer finds nothing and is
    /// dropped (rules M-16).
    pub(super) fn handle_answer(
        &mut self,
        recipient: SessionKey,
        conversation: ConversationId,
        answer: Result<&[u8], ServiceFailure<'_>>,
    ) {
        let Some(session) = self.sessions.get_mut(&recipient) else { return };
        match session.conversations.close(conversation) {
            Some(Outgoing::Ping) => session.ping = None,
            Some(Outgoing::Forwarded(forwarded)) => {
                session.to_answer -= 1;
                session.bytes_to_answer -= forwarded.bytes;
                self.deadlines.remove(forwarded.deadline, (recipient, conversation));
                if !self.sessions.contains_key(&forwarded.sender) {
                    self.late_answers += 1;
                }
                self.route_response(recipient, forwarded, answer);
            }
            // Empty, so it acknowledges a filter response. Nothing is kept for these: not all clients acknowledge them
            // (section 8.4).
            None if answer == Ok(&[]) => {}
            None => self.late_answers += 1,
        }
    }

    /// Passes an answer on, or drops it if the sender is gone.
    pub(super) fn route_response(
        &mut self,
        recipient: SessionKey,
        forwarded: Forwarded,
        answer: Result<&[u8], ServiceFailure<'_>>,
    ) {
        let Forwarded { sender, reply_to, .. } = forwarded;
        let Some(session) = self.sessions.get_mut(&sender) else { return };
        session.outstanding -= 1;
        let answer = match answer {
            // What stands behind the value is not looked at: there are clients that write too much, and whether their
            // answer can be read is for the sender to say (rules M-17).
            Ok(body) => SerialisedValue::decode(&mut Reader::new(body)).map(|value| (body, value)).map_err(|_| {
                ServiceFailure { description: "the recipient's answer is malformed", reason: ErrorReason::INVALID_DATA }
            }),
            Err(ServiceFailure { reason, description }) => {
                let end = description.char_indices().nth(MAX_ERROR_TEXT).map_or(description.len(), |(at, _)| at);
                Err(ServiceFailure { description: &description[..end], reason })
            }
        };
        match (reply_to, answer) {
            (ReplyTo::Request(conversation), Ok((body, _))) => {
                self.send_answer(sender, conversation, || Message::ServiceResponse { conversation, body }.to_frame());
            }
            (ReplyTo::Request(conversation), Err(ServiceFailure { description, reason })) => {
                self.refuse(sender, conversation, reason, description);
            }
            (ReplyTo::Filter(filter_conversation), answer) => {
                let conversation = session.conversations.next_id();
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

    /// The only guard against recipients that never answer: the official clients have no timeout (rules M-15).
    pub(super) fn time_out(&mut self, recipient: SessionKey, conversation: ConversationId) {
        let Some(session) = self.sessions.get_mut(&recipient) else { return };
        let Some(Outgoing::Forwarded(forwarded)) = session.conversations.close(conversation) else { return };
        session.to_answer -= 1;
        session.bytes_to_answer -= forwarded.bytes;
        let description = &*format!("the recipient did not answer within {:?}", forwarded.timeout);
        let failure = ServiceFailure { description, reason: ErrorReason::REQUEST_TIME_OUT };
        self.route_response(recipient, forwarded, Err(failure));
    }

    /// Whether `more` requests of a session would be more than may wait for their answers.
    fn has_too_many(&self, sender: SessionKey, more: usize) -> bool {
        let outstanding = self.sessions.get(&sender).map_or(0, |session| session.outstanding);
        outstanding + more > self.config.max_outstanding_requests
    }

    /// Whether so many requests wait for the answers of a session that no more are queued for it: it is not to lose its
    /// connection because others ask too much.
    fn is_overwhelmed(&self, recipient: SessionKey) -> bool {
        let Some(session) = self.sessions.get(&recipient) else { return false };
        let is_full = match session.link {
            Link::Connected(_) => false,
            // What is queued for it must be kept until it is back, with room for answers to what it asked itself.
            Link::Lost { sent, .. } => session.sent.sent() - sent >= self.config.recovery.messages as u64 / 2,
        };
        is_full
            || session.to_answer >= self.config.max_requests_to_answer
            || session.bytes_to_answer >= self.config.max_bytes_to_answer
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
        self.answer::<MessagingFilterSender>(sender, conversation, &FilterOutcome::Rejected(vec![report]));
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

/// Of two different handlers drawn at random the one with fewer requests to answer. That reaches all, favours those that
/// keep up, and takes the same time for two handlers and for a thousand. One that has lost its connection is chosen only
/// if all have (rules S-10).
///
/// `load` tells of a session whether it has lost its connection, and how many requests it has to answer.
fn choose(
    handlers: &[registry::Registration],
    draws: [u64; 2],
    load: impl Fn(SessionKey) -> (bool, usize),
) -> &registry::Registration {
    let below = |draw: u64, limit: usize| (draw % limit.max(1) as u64) as usize;
    let first = below(draws[0], handlers.len());
    // One of the others, if there are any.
    let second = (first + 1 + below(draws[1], handlers.len() - 1)) % handlers.len();
    let chosen = if load(handlers[second].session) < load(handlers[first].session) { second } else { first };
    let is_connected = |handler: &&registry::Registration| !load(handler.session).0;
    let from_there_on = handlers[chosen..].iter().chain(&handlers[..chosen]);
    from_there_on.clone().find(is_connected).unwrap_or(&handlers[chosen])
}
