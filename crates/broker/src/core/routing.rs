//! From a request to its recipient, from the answer back to the sender.

use antiphon_protocol::path::{self, InvalidPath};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::{
    DeregisterHandler, ForwardedRequest, RegisterHandler, SendToPath, SerialisedValue, ServiceFailure,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{Deregistration, MessagingReceiverClient, Registration, Service};

use super::Broker;
use super::properties::Selection;
use super::registry::{self, Conflict};
use super::sessions::{Outgoing, SessionKey};

/// Longest error text of a recipient that is passed on, in characters (semantics M-18).
const MAX_ERROR_TEXT: usize = 1024;

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
        let registration = registry::Registration {
            session: key,
            conversation: request.registration,
            selection: Selection::of_keys(&request.property_keys),
        };
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
        let recipient = handler.session;
        let Some(answering) = self.sessions.get_mut(&recipient) else { return };
        let conversation = answering.conversations.next_id();
        let Some(asking) = self.sessions.get(&sender) else { return };
        if asking.outstanding >= self.config.max_outstanding_requests {
            let text =
                format!("{} requests of this session wait for an answer, no more are allowed", asking.outstanding);
            return self.refuse(sender, sender_conversation, ErrorReason::COMMUNICATION_FAILURE, &text);
        }
        let body = ForwardedRequest {
            registration: handler.conversation,
            sender: asking.id,
            path: request.path,
            properties: asking.properties.selected(&handler.selection),
            request: request.request.clone(),
        };
        let capacity = request.path.len() + request.request.bytes.len() + 64;
        let frame = request_frame::<MessagingReceiverClient>(conversation, &body, capacity);
        let deadline = now + self.config.request_timeout;
        self.deadlines.insert(deadline, (recipient, conversation));
        if let Some(asking) = self.sessions.get_mut(&sender) {
            asking.outstanding += 1;
        }
        if let Some(answering) = self.sessions.get_mut(&recipient) {
            answering.to_answer += 1;
            answering.conversations.open(conversation, Outgoing::Forwarded { sender, sender_conversation, deadline });
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
        let Some((sender, sender_conversation)) = self.take_forwarded(recipient, conversation) else { return };
        self.settle(sender, |broker| broker.route_response(sender, sender_conversation, answer));
    }

    fn route_response(
        &mut self,
        sender: SessionKey,
        conversation: ConversationId,
        answer: Result<&[u8], ServiceFailure<'_>>,
    ) {
        match answer {
            Ok(body) if decode_all::<SerialisedValue<'_>>(body).is_ok() => {
                self.send_to(sender, || Message::ServiceResponse { conversation, body }.to_frame());
            }
            Ok(_) => {
                let text = "the recipient's answer is malformed";
                self.refuse(sender, conversation, ErrorReason::INVALID_DATA, text);
            }
            Err(ServiceFailure { reason, description }) => {
                let end = description.char_indices().nth(MAX_ERROR_TEXT).map_or(description.len(), |(at, _)| at);
                self.refuse(sender, conversation, reason, &description[..end]);
            }
        }
    }

    /// The only guard against recipients that never answer: the official clients have no timeout (semantics M-15).
    pub(super) fn time_out(&mut self, recipient: SessionKey, conversation: ConversationId) {
        let Some((sender, sender_conversation)) = self.take_forwarded(recipient, conversation) else { return };
        let text = format!("the recipient did not answer within {:?}", self.config.request_timeout);
        self.settle(sender, |broker| {
            broker.refuse(sender, sender_conversation, ErrorReason::REQUEST_TIME_OUT, &text);
        });
    }

    /// The request that a recipient's conversation stands for; the conversation is over then.
    fn take_forwarded(
        &mut self,
        recipient: SessionKey,
        conversation: ConversationId,
    ) -> Option<(SessionKey, ConversationId)> {
        let session = self.sessions.get_mut(&recipient)?;
        match session.conversations.close(conversation) {
            Some(Outgoing::Forwarded { sender, sender_conversation, deadline }) => {
                session.to_answer -= 1;
                self.deadlines.remove(deadline, (recipient, conversation));
                Some((sender, sender_conversation))
            }
            Some(Outgoing::Ping) => {
                session.ping = None;
                None
            }
            None => {
                self.late_answers += 1;
                None
            }
        }
    }

    /// A request of `sender` is over: `tell` says how, if the sender is still there to hear it.
    pub(super) fn settle(&mut self, sender: SessionKey, tell: impl FnOnce(&mut Self)) {
        match self.sessions.get_mut(&sender) {
            Some(session) => {
                session.outstanding -= 1;
                tell(self);
            }
            None => self.late_answers += 1,
        }
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
