//! Requests with an idempotency key: a repeat is delivered to nobody, and gets what the first one got or gets (section 18.10,
//! rules K-1 to K-5).

use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{Header, Headers, MAX_KEY_CHARS};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};

use super::aftermath::NEVER_DELIVERED;
use super::exchanges::{Exchange, ReplyTo, Standing};
use super::outcome::Outcome;
use super::parties::PartyKey;
use super::path::NormalPath;
use super::per_session::SessionKey;
use super::refusal::{Failure, Refusal};
use super::repeats::{Delivery, Found, KeyId, Known, Memory, Name, Owner};
use super::routing::{clipped, no_room};
use super::serve::Asker;
use super::{Broker, cost};

/// What became of a request that was given up.
const CANCELLED: Failure<'_> = Failure::new(ErrorReason::CANCELLED, "the sender gave the request up");

/// Told instead of an answer for which there was no room.
const LOST: Failure<'_> = Failure::new(
    ErrorReason::COMMUNICATION_FAILURE,
    "the request was answered, and the broker had no room to keep the answer for repeats",
);
const TOO_MANY: &str = "the broker remembers as many idempotency keys as it has room for, try again later";

/// What a request with a key came to; some of those that wait for that are still to be told.
#[derive(Debug)]
pub(super) struct Answering {
    pub key: KeyId,
    pub outcome: Arc<Outcome>,
}

impl Broker {
    /// What the key of a request stands for, if it has one. `to` is the session that it is addressed to.
    #[inline]
    pub(super) fn name_of(
        &self,
        sender: SessionKey,
        headers: &Headers<'_>,
        to: Option<SessionId>,
        path: NormalPath<'_>,
    ) -> Result<Option<Box<Name>>, Refusal> {
        if headers.has(Header::IdempotencyKey) { self.name(sender, headers, to, path) } else { Ok(None) }
    }

    fn name(
        &self,
        sender: SessionKey,
        headers: &Headers<'_>,
        to: Option<SessionId>,
        path: NormalPath<'_>,
    ) -> Result<Option<Box<Name>>, Refusal> {
        let key = headers.text(Header::IdempotencyKey).filter(|key| key.chars().count() <= MAX_KEY_CHARS);
        let Some(key) = key else {
            let text = format!("an idempotency key must be text of 1 to {MAX_KEY_CHARS} characters");
            return Err(Refusal::new(ErrorReason::INVALID_DATA, text));
        };
        let principal = self.sessions.get(sender).map_or("", |session| session.properties().principal());
        let owner = match principal {
            "" => Owner::Session(sender),
            principal => Owner::Principal(principal.into()),
        };
        Ok(Some(Box::new(Name { owner, session: to, path: path.as_str().into(), key: key.into() })))
    }

    /// Answers a request whose key is known, or lets it wait for what becomes of the first one: for as long as its sender says,
    /// and `timeout` at most. Returns whether it is known; if it is not, there is room to remember it.
    pub(super) fn repeat(&mut self, asker: Asker, name: &Name, timeout: Duration) -> Result<bool, Refusal> {
        let reply_to = ReplyTo::Request(asker.conversation);
        let key = match self.repeats.find(name) {
            Some(Found::Key(key)) => key,
            Some(Found::Lost) => {
                self.route_response(asker.session, asker.session, reply_to, Err(LOST));
                return Ok(true);
            }
            None => {
                let party = self.sessions.party_of(asker.session);
                let has_room = party.is_none_or(|party| self.repeats.has_room(party, self.config.repeat_memory));
                return if has_room { Ok(false) } else { Err(no_room(TOO_MANY)) };
            }
        };
        match self.repeats.get(key).cloned() {
            Some(Known::UnderWay(Delivery { recipient, conversation })) => {
                self.check_outstanding(asker.session, 1, 0)?;
                self.wait_for(Exchange {
                    sender: asker.session,
                    reply_to,
                    recipient,
                    conversation,
                    registered: None,
                    takes_place: false,
                    standing: Standing::AwaitsKey(key),
                    opened: asker.now,
                    deadline: asker.deadline(timeout),
                    guard: asker.now + timeout,
                    bytes: 0,
                });
            }
            Some(Known::Over(outcome)) => {
                self.route_response(asker.session, asker.session, reply_to, outcome.as_answer());
            }
            None => {}
        }
        Ok(true)
    }

    /// A request with a key is delivered: for whoever asks with that, and its sender is the first who waits.
    pub(super) fn open_keyed(&mut self, exchange: Exchange, name: Name) {
        let Some(party) = self.sessions.party_of(exchange.sender) else { return };
        let Exchange { recipient, conversation, .. } = exchange;
        let key = self.repeats.begin(name, party, Delivery { recipient, conversation });
        self.exchanges.open_keyed(exchange.clone(), key);
        let standing = Standing::AwaitsKey(key);
        self.wait_for(Exchange { standing, registered: None, takes_place: false, ..exchange });
    }

    /// A request waits for what becomes of a delivery, if it wants an answer. Until its time is over, and for a while after that,
    /// the delivery is not given up.
    fn wait_for(&mut self, exchange: Exchange) {
        let Exchange { recipient, conversation, guard, .. } = exchange;
        self.exchanges.extend(Delivery { recipient, conversation }, guard + self.config.repeat_time);
        if exchange.reply_to != ReplyTo::Request(ConversationId::ONE_WAY) {
            self.exchanges.open(exchange);
        }
    }

    /// A delivery has come to this: it is remembered, unless no handler has run, and all that wait for it are told.
    pub(super) fn settle_key(&mut self, key: KeyId, first: SessionKey, answer: Result<&[u8], Failure<'_>>) {
        let Some(party) = self.repeats.party_of(key) else { return };
        let outcome = Arc::new(Outcome::of(&answer.map_err(clipped)));
        if outcome.is_refusal() {
            self.repeats.give_up(key);
        } else {
            let memory = Memory { time: self.config.repeat_time, bytes: self.config.repeat_memory };
            self.repeats.end(self.now, key, outcome.clone(), memory);
        }
        self.answer_some(party, first, Answering { key, outcome });
    }

    /// Nobody will ever know what became of a delivery: who waits is told that there was no answer in time.
    pub(super) fn give_up_key(&mut self, key: KeyId) {
        self.repeats.give_up(key);
        while let Some(exchange) = self.exchanges.pop_waiting(key) {
            self.time_out(exchange);
        }
    }

    /// A sender wants what it asked for with a key not to be done. If nobody else waits for that, its recipient is told, and so is
    /// whoever asks again. A recipient that cannot be told goes on, and its answer is for those.
    pub(super) fn cancel_key(&mut self, key: KeyId) {
        let Some(Known::UnderWay(delivery)) = self.repeats.get(key).cloned() else { return };
        let Some(recipient) = self.sessions.get(delivery.recipient) else { return };
        let was_sent = delivery.conversation <= recipient.last_asked();
        let goes_on = was_sent && !recipient.features().has(Features::CANCELLING);
        if goes_on || self.exchanges.is_awaited(key) {
            return;
        }
        let Some(exchange) = self.exchanges.close_delivery(delivery) else { return };
        self.settle(&exchange, Err(if was_sent { CANCELLED } else { NEVER_DELIVERED }));
        self.let_go_of(exchange, false);
    }

    /// Tells some of those that wait for a delivery what it came to; the others later, since their number times the bytes of
    /// the answer may be very much. They have the turns of the session that was the first to ask.
    pub(super) fn answer_some(&mut self, party: PartyKey, first: SessionKey, answering: Answering) {
        let before = self.work;
        while self.work - before < cost::TURN
            && let Some(exchange) = self.exchanges.pop_waiting(answering.key)
        {
            self.settle(&exchange, answering.outcome.as_answer());
        }
        if self.exchanges.is_awaited(answering.key) {
            self.turns.answer(party, first, answering);
        }
    }
}
