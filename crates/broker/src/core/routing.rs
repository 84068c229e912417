//! Routes requests to their recipients, and answers back to the senders.

use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, request_frame_of};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{
    FilterAnswer, FilterResponse, ForwardedRequest, ReasonAndText, SendToPath, SendToSession, SerialisedValue,
    ServiceFailure,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{FilterResponseDelivery, MessagingReceiverClient, MessagingSend, Service};
use antiphon_protocol::wire::{Decode, Reader, encoded};

use super::choice::{Availability, Handler};
use super::exchanges::{Exchange, Exchanges, Load, ReplyTo, Standing};
use super::gate::Action;
use super::headers::check_metadata;
use super::path::NormalPath;
use super::per_session::SessionKey;
use super::probes::Probes;
use super::queues::Waiting;
use super::refusal::{Failure, Refusal};
use super::registry::Chosen;
use super::repeats::Name;
use super::serve::{Answer, Asker};
use super::session_services::no_such_session;
use super::sessions::{Session, Sessions};
use super::{Broker, BrokerConfig};

/// Longest error text of a recipient that is passed on, in characters (rules M-18).
const MAX_ERROR_TEXT: usize = 1024;

pub(super) const RECIPIENT_IS_FULL: Failure<'_> =
    Failure::new(ErrorReason::BUSY, "the recipient has as many requests to answer as it may have, try again later");
/// Of a request that is not delivered.
pub(super) const TOO_LATE: Failure<'_> =
    Failure::new(ErrorReason::REQUEST_TIME_OUT, "the time for the request was over before it was delivered");

/// Where a request goes.
struct To {
    session: SessionKey,
    /// New with this request.
    conversation: ConversationId,
    /// The path that its handler is registered at, if it goes to one.
    registered: Option<Arc<str>>,
    /// Whether that takes so many requests at a time.
    takes_place: bool,
    /// What its key stands for, if it has one: few have.
    name: Option<Box<Name>>,
}

/// Why no handler gets a request now.
#[derive(Debug)]
pub(super) enum NotTaken {
    Refused(Refusal),
    /// All handlers at this path have as many as they take. It may wait if fewer than so many do.
    AllFull(Arc<str>, u64),
}

impl Broker {
    /// Forwards a request to one handler of the most specific registered path (rules M-3, M-4).
    ///
    /// Source: section 8.2.
    pub(super) fn route_to_path(
        &mut self,
        asker: Asker,
        headers: &Headers<'_>,
        request: &SendToPath<'_>,
    ) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::SendToPath, request.path)?;
        check_metadata(headers)?;
        check_time(asker)?;
        self.spend(path.as_str().len() / 4);
        let room = self.check_room(asker.session, 1, request.request.bytes.len());
        let mut name = self.name_of(asker.session, headers, None, path)?;
        match self.hand_out(asker, headers, path, request, &mut name, Some(room)) {
            Ok(()) => {}
            Err(NotTaken::Refused(refusal)) => return Err(refusal),
            Err(NotTaken::AllFull(at, most)) => {
                let deadline = asker.deadline(self.config.timeout_for(path));
                let (headers, body) = (headers.to_block(), encoded(request).into());
                self.wait_for_place(Waiting { asker, deadline, headers, body, name }, &at, most)?;
            }
        }
        Ok(Answer::Later)
    }

    /// Forwards a request to a handler that can take it, if there is one and there is room for it. Those that wait already
    /// come first: `room` is nothing for one of them. `name` is taken if the request is delivered.
    pub(super) fn hand_out(
        &mut self,
        asker: Asker,
        headers: &Headers<'_>,
        path: NormalPath<'_>,
        request: &SendToPath<'_>,
        name: &mut Option<Box<Name>>,
        room: Option<Result<(), Refusal>>,
    ) -> Result<(), NotTaken> {
        let timeout = self.config.timeout_for(path);
        let (has_waited, room) = (room.is_none(), room.unwrap_or(Ok(())));
        if let Some(name) = name
            && self.repeat(asker, name, timeout).map_err(NotTaken::Refused)?
        {
            return Ok(());
        }
        let availability = |handler: &Handler, at: &str| {
            let of_session = availability(&self.config, &self.sessions, &self.exchanges, &self.probes, handler.session);
            let most = handler.capacity.at_a_time as usize;
            let is_busy = most > 0 && self.exchanges.places_taken(handler.session, at) >= most;
            if is_busy { of_session.max(Availability::Busy) } else { of_session }
        };
        let (registered, handler) = match self.registry.choose(path, &mut self.random, availability) {
            Chosen::Handler(at, handler) if has_waited || self.queues.len_at(at) == 0 => (at.clone(), handler),
            Chosen::Handler(at, _) => {
                self.queues.mark_ready(at);
                return Err(room.map_or_else(NotTaken::Refused, |()| NotTaken::AllFull(at.clone(), u64::MAX)));
            }
            Chosen::Nobody => {
                let text = format!("no session handles {}", request.path);
                return Err(NotTaken::Refused(Refusal::new(ErrorReason::UNHANDLED_MESSAGE, text)));
            }
            Chosen::AllFull(at, most) => {
                return Err(room.map_or_else(NotTaken::Refused, |()| NotTaken::AllFull(at.clone(), most)));
            }
        };
        room.map_err(NotTaken::Refused)?;
        let (recipient, takes_place) = (handler.session, handler.capacity.at_a_time > 0);
        let Some(conversation) = self.sessions.get_mut(recipient).map(Session::next_conversation) else {
            return Ok(());
        };
        let Some(sender) = self.sessions.get_mut(asker.session) else { return Ok(()) };
        let body = ForwardedRequest {
            registration: handler.registration,
            sender: sender.id(),
            path: request.path,
            properties: vec![],
            request: request.request.clone(),
        };
        let properties = sender.selected(handler.selection.as_ref());
        let capacity = request.path.len() + properties.len() + request.request.bytes.len() + 64;
        let frame = request_frame_of(MessagingReceiverClient::ID, conversation, capacity, |out| {
            body.encode_with(&properties, out);
        });
        let to = To { session: recipient, conversation, registered: Some(registered), takes_place, name: name.take() };
        self.forward(asker, ReplyTo::Request(asker.conversation), to, timeout, headers, frame);
        Ok(())
    }

    /// Delivers a request to one session (rules M-1).
    ///
    /// Source: section 8.3.
    pub(super) fn route_to_session(
        &mut self,
        asker: Asker,
        headers: &Headers<'_>,
        request: &SendToSession<'_>,
    ) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::SendToSession, request.path)?;
        check_metadata(headers)?;
        check_time(asker)?;
        let timeout = self.config.timeout_for(path);
        let name = self.name_of(asker.session, headers, Some(request.session), path)?;
        // Before anything else: the session may be over by now.
        if let Some(name) = &name
            && self.repeat(asker, name, timeout)?
        {
            return Ok(Answer::Later);
        }
        let recipient = self.sessions.with_id(request.session).ok_or_else(|| no_such_session(request.session))?;
        self.check_room(asker.session, 1, request.request.bytes.len())?;
        if self.is_full(recipient) {
            return Err(RECIPIENT_IS_FULL.into());
        }
        let body = SendToPath { path: request.path, request: request.request.clone() };
        let capacity = body.path.len() + body.request.bytes.len() + 32;
        let Some(conversation) = self.sessions.get_mut(recipient).map(Session::next_conversation) else {
            return Ok(Answer::Later);
        };
        let frame = request_frame::<MessagingSend>(conversation, &body, capacity);
        let to = To { session: recipient, conversation, registered: None, takes_place: false, name };
        self.forward(asker, ReplyTo::Request(asker.conversation), to, timeout, headers, frame);
        Ok(Answer::Later)
    }

    /// Delivers an addressed request, as the message `frame` of a conversation.
    pub(super) fn deliver(
        &mut self,
        asker: Asker,
        reply_to: ReplyTo,
        recipient: SessionKey,
        timeout: Duration,
        headers: &Headers<'_>,
        frame: impl FnOnce(ConversationId) -> Vec<u8>,
    ) {
        let Some(conversation) = self.sessions.get_mut(recipient).map(Session::next_conversation) else { return };
        let to = To { session: recipient, conversation, registered: None, takes_place: false, name: None };
        self.forward(asker, reply_to, to, timeout, headers, frame(conversation));
    }

    /// Sends a request to its recipient and remembers where the answer goes: the only place where an exchange is opened. Its
    /// deadline is that of its sender, or the end of `timeout` if that comes first or the sender said nothing.
    fn forward(
        &mut self,
        asker: Asker,
        reply_to: ReplyTo,
        to: To,
        timeout: Duration,
        headers: &Headers<'_>,
        frame: Vec<u8>,
    ) {
        let To { session: recipient, conversation, registered, takes_place, name } = to;
        let guard = asker.now + timeout;
        let deadline = asker.deadline(timeout);
        // A request with a key goes on when its time is over.
        let time_left = asker.due.filter(|_| name.is_none()).map(|_| deadline.since(asker.now));
        let frame = self.with_headers(recipient, time_left, headers, frame);
        let (from, to) = (self.sessions.id_of(asker.session), self.sessions.id_of(recipient));
        tracing::trace!(sender = %from, recipient = %to, delivery = conversation.0, "request forwarded");
        self.await_answer(asker.now, recipient);
        let exchange = Exchange {
            sender: asker.session,
            reply_to,
            recipient,
            conversation,
            registered,
            takes_place,
            standing: Standing::Awaited,
            opened: asker.now,
            deadline,
            guard,
            bytes: u32::try_from(frame.len()).unwrap_or(u32::MAX),
        };
        match name {
            Some(name) => self.open_keyed(exchange, *name),
            None => self.exchanges.open(exchange),
        }
        self.send_to(recipient, frame);
    }

    /// A session answered. What a recipient said goes to the sender as it is; a second answer finds nothing and is
    /// dropped (rules M-16).
    pub(super) fn handle_answer(
        &mut self,
        now: Moment,
        recipient: SessionKey,
        conversation: ConversationId,
        answer: Result<&[u8], Failure<'_>>,
    ) {
        let exchange = self.exchanges.answer(recipient, conversation);
        // Perhaps also from what it has heard to be cancelled.
        self.has_more_room(recipient);
        // Not moved: it is large.
        if let Some(exchange) = &exchange {
            self.probes.answered(recipient, now.since(exchange.opened));
            self.is_closed(exchange);
            if matches!(exchange.standing, Standing::Unwanted | Standing::Cancelled) {
                self.late_answers += 1;
            }
            self.settle(exchange, answer);
        } else if !self.pings.answered(recipient, conversation) && answer != Ok(&[]) {
            // An empty one acknowledges a filter response. Nothing is kept for these: not all clients acknowledge them
            // (section 8.4).
            self.late_answers += 1;
        }
    }

    /// An exchange is due. The broker's own limit is the only guard against recipients that never answer: the official
    /// clients have no timeout (rules M-15). If the recipient has no connection, it does not get the request any more.
    pub(super) fn time_out(&mut self, exchange: Exchange) {
        if let Standing::Keyed(key) = exchange.standing {
            self.give_up_key(key);
        }
        if !exchange.is_awaited() {
            self.is_closed(&exchange);
            return self.has_more_room(exchange.recipient);
        }
        let timeout = exchange.deadline.since(exchange.opened);
        let description = &*format!("the recipient did not answer within {timeout:?}");
        self.settle(&exchange, Err(Failure::new(ErrorReason::REQUEST_TIME_OUT, description)));
        self.let_go_of(exchange, true);
    }

    /// Tells the sender what an exchange came to, if it waits for that.
    pub(super) fn settle(&mut self, exchange: &Exchange, answer: Result<&[u8], Failure<'_>>) {
        let key = match exchange.standing {
            Standing::Awaited | Standing::AwaitsKey(_) => None,
            Standing::Keyed(key) => Some(key),
            Standing::Unwanted | Standing::Cancelled => return,
        };
        let (from, to) = (self.sessions.id_of(exchange.sender), self.sessions.id_of(exchange.recipient));
        let (delivery, outcome) = (exchange.conversation.0, answer.as_ref().err().map(|failure| failure.reason));
        match outcome {
            None => tracing::trace!(sender = %from, recipient = %to, delivery, "request answered"),
            Some(reason) => tracing::trace!(sender = %from, recipient = %to, delivery, %reason, "request failed"),
        }
        match key {
            Some(key) => self.settle_key(key, exchange.sender, answer),
            None => self.route_response(exchange.recipient, exchange.sender, exchange.reply_to, answer),
        }
    }

    /// Passes an answer on, or drops it if the sender is gone.
    pub(super) fn route_response(
        &mut self,
        recipient: SessionKey,
        sender: SessionKey,
        reply_to: ReplyTo,
        answer: Result<&[u8], Failure<'_>>,
    ) {
        let Some(session) = self.sessions.get_mut(sender) else { return };
        let answer = match answer {
            // What stands behind the value is not looked at: there are clients that write too much, and whether their
            // answer can be read is for the sender to say (rules M-17).
            Ok(body) => SerialisedValue::decode(&mut Reader::new(body))
                .map(|value| (body, value))
                .map_err(|_| Failure::new(ErrorReason::INVALID_DATA, "the recipient's answer is malformed")),
            Err(failure) => Err(clipped(failure)),
        };
        match (reply_to, answer) {
            (ReplyTo::Request(ConversationId::ONE_WAY), _) => {}
            (ReplyTo::Request(conversation), Ok((body, _))) => {
                self.send_to(sender, Message::ServiceResponse { conversation, body }.to_frame());
            }
            (ReplyTo::Request(conversation), Err(failure)) => self.send_failure(sender, conversation, failure),
            (ReplyTo::Filter { responses: filter_conversation, .. }, answer) => {
                let conversation = match session.connection() {
                    Some(connection) if connection.negotiated.features.has(Features::UNACKNOWLEDGED) => {
                        ConversationId::ONE_WAY
                    }
                    _ => session.next_conversation(),
                };
                let (answer, headers) = match answer {
                    Ok((_, value)) => (FilterAnswer::Response(value), HeaderBlock::default()),
                    Err(failure) => {
                        let (ServiceFailure { description, reason }, headers) = self.failure_to(sender, failure);
                        (FilterAnswer::Error(ReasonAndText { reason, description }), headers)
                    }
                };
                let body = FilterResponse { filter_conversation, session: self.sessions.id_of(recipient), answer };
                let frame = request_frame::<FilterResponseDelivery>(conversation, &body, 64);
                self.send_to(sender, headers.before(frame));
            }
        }
    }

    pub(super) fn is_full(&self, recipient: SessionKey) -> bool {
        availability(&self.config, &self.sessions, &self.exchanges, &self.probes, recipient) >= Availability::Full
    }
}

/// Whether a session can take a request. It is full if so many wait for its answers that no more are queued for it: it is
/// not to lose its connection because others ask too much.
fn availability(
    config: &BrokerConfig,
    sessions: &Sessions,
    exchanges: &Exchanges,
    probes: &Probes,
    recipient: SessionKey,
) -> Availability {
    let Some(session) = sessions.get(recipient) else { return Availability::Gone };
    let Load { requests, bytes, to_answer } = exchanges.load_of(recipient);
    let is_loaded = requests >= config.max_requests_to_answer || bytes >= config.max_bytes_to_answer;
    if is_loaded || is_queue_full(config, session) {
        Availability::Full
    } else if session.is_connected() && !probes.is_silent(recipient) {
        Availability::Ready(to_answer)
    } else {
        Availability::Disconnected(to_answer)
    }
}

/// Whether no more is to be queued for a session without a connection. What is queued must be kept until it is back, with room
/// for answers to what it asked itself.
pub(super) fn is_queue_full(config: &BrokerConfig, session: &Session) -> bool {
    !session.is_connected() && session.queued() >= config.recovery.messages as u64 / 2
}

/// Refuses a request for which its sender waits no more.
pub(super) fn check_time(asker: Asker) -> Result<(), Refusal> {
    if asker.due.is_some_and(|due| due <= asker.now) { Err(TOO_LATE.into()) } else { Ok(()) }
}

/// A failure with as much of its text as is passed on.
pub(super) fn clipped(failure: Failure<'_>) -> Failure<'_> {
    let text = failure.description;
    let end = text.char_indices().nth(MAX_ERROR_TEXT).map_or(text.len(), |(at, _)| at);
    Failure { description: &text[..end], ..failure }
}

/// A limit of the broker is reached, and nobody was asked: the sender may try again.
pub(super) fn no_room(text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(ErrorReason::CLUSTER_ROUTING, text)
}
