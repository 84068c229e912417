//! Requests that nobody waits for any more: their sender has given them up, its session is over, or it was told that the time
//! is over. What was not delivered is not delivered; whoever has it is told (section 18.8).

use std::vec;

use antiphon_protocol::features::Features;
use antiphon_protocol::wire::envelope::request_frame;
use antiphon_protocol::wire::layouts::Cancel;
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{Cancellation, Service};

use super::exchanges::{Exchange, Standing};
use super::headers::delivered_in;
use super::parties::PartyKey;
use super::per_session::SessionKey;
use super::refusal::Refusal;
use super::routing::is_queue_full;
use super::serve::{Answer, Asker, not_offered};
use super::sessions::Session;
use super::{Broker, cost};

/// What a session waits for no more, and whose recipients are still to be told.
#[derive(Debug)]
pub(super) struct GivenUp {
    exchanges: vec::IntoIter<Exchange>,
    is_timed_out: bool,
}

impl Broker {
    /// A session gives one of its requests up, wherever it is. It is too late for one that was answered.
    ///
    /// Source: section 18.8.
    pub(super) fn cancel(&mut self, asker: Asker, request: &Cancel) -> Result<Answer, Refusal> {
        let session = self.sessions.get(asker.session);
        if !session.is_some_and(|session| session.features().has(Features::CANCELLING)) {
            return Err(not_offered(Cancellation::ID));
        }
        let Cancel { conversation, is_timed_out } = *request;
        if conversation == ConversationId::ONE_WAY {
            return Ok(Answer::Sent);
        }
        if self.turns.has_tasks(asker.session) {
            let (looked_at, intake) = self.turns.withdraw(asker.session, conversation);
            self.spend(looked_at);
            self.regulate(asker.session, intake);
        }
        self.queues.withdraw(asker.session, conversation);
        let exchanges = self.exchanges.give_up(asker.session, conversation);
        let key = exchanges.first().and_then(Exchange::awaited_key).filter(|_| !is_timed_out);
        if let Some(key) = key {
            self.cancel_key(key);
        }
        if let Some(party) = self.sessions.party_of(asker.session) {
            self.let_go(party, asker.session, exchanges, is_timed_out);
        }
        Ok(Answer::Sent)
    }

    /// A session waits for the answers to all of these no more.
    pub(super) fn let_go(&mut self, party: PartyKey, sender: SessionKey, exchanges: Vec<Exchange>, is_timed_out: bool) {
        self.let_go_some(party, sender, GivenUp { exchanges: exchanges.into_iter(), is_timed_out });
    }

    /// Tells some of those who have what a session waits for no more; the others later.
    pub(super) fn let_go_some(&mut self, party: PartyKey, sender: SessionKey, mut given_up: GivenUp) {
        let before = self.work;
        while self.work - before < cost::TURN
            && let Some(exchange) = given_up.exchanges.next()
        {
            self.let_go_of(exchange, given_up.is_timed_out);
        }
        if given_up.exchanges.len() > 0 {
            self.turns.let_go(party, sender, given_up);
        }
    }

    /// The sender of an exchange waits for its answer no more.
    pub(super) fn let_go_of(&mut self, exchange: Exchange, is_timed_out: bool) {
        self.is_closed(&exchange);
        let key = exchange.recipient;
        let Some(recipient) = self.sessions.get(key) else { return };
        if exchange.awaited_key().is_some() {
            // What it waited for goes on, for those who ask again.
            return;
        }
        let was_sent = exchange.conversation <= recipient.last_asked();
        if exchange.reply_to.request() == ConversationId::ONE_WAY {
            // Nobody ever waited for it, so it goes on.
            self.exchanges.linger(exchange, Standing::Unwanted);
        } else if was_sent {
            let is_told = recipient.features().has(Features::CANCELLING) && !is_queue_full(&self.config, recipient);
            if is_told {
                let cancel = Cancel { conversation: exchange.conversation, is_timed_out };
                self.send_to(key, request_frame::<Cancellation>(ConversationId::ONE_WAY, &cancel, 16));
            }
            self.exchanges.linger(exchange, if is_told { Standing::Cancelled } else { Standing::Unwanted });
        }
        self.has_more_room(key);
    }

    /// Takes the requests that nobody waits for out of what waits for the connection of a session: it never gets them.
    pub(super) fn withdraw_from_queue(&mut self, recipient: SessionKey) {
        let Some(queued) = self.sessions.get(recipient).map(Session::queued) else { return };
        self.spend(usize::try_from(queued).unwrap_or(usize::MAX));
        let exchanges = &self.exchanges;
        self.sessions.retain_queued(recipient, |message| {
            delivered_in(message).is_none_or(|conversation| exchanges.get(recipient, conversation).is_some())
        });
    }
}
