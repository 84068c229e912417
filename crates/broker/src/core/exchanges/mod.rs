//! Requests that were forwarded and not answered yet: who asked, who is to answer, and until when.
//!
//! - `exchange`: one of them.
//! - `asked`: what each sender waits for; `owed`: what each recipient has to answer; `places`: which of its handlers' places are
//!   taken; `keys`: who waits for what becomes of a key.

mod asked;
mod exchange;
mod keys;
mod owed;
mod places;
#[cfg(test)]
mod tests;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;
use slab::Slab;

use super::per_session::SessionKey;
use super::repeats::{Delivery, KeyId};
use super::timers::Timers;
use asked::Asked;
pub(super) use exchange::{Exchange, ReplyTo, Standing};
use keys::Keys;
pub(super) use owed::Load;
use owed::Owed;
use places::Places;

/// All open exchanges, and the share of each session in them.
///
/// Every exchange is opened here and closed here, once: by its answer, by the time, by its sender, or with its recipient. The
/// sums are kept on the way. One whose sender waits no more may [linger](Self::linger): what was sent to its recipient may not
/// have been read, and however fast requests are given up, no more than a limit of them are to be queued for it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: Slab<Exchange>,
    /// Those whose senders wait.
    asked: Asked,
    /// Those that were delivered: all but those that wait for what becomes of a key.
    owed: Owed,
    places: Places,
    keys: Keys,
    deadlines: Timers<usize>,
}

/// The exchanges of a session that is over.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// What it has not answered.
    pub unanswered: Vec<Exchange>,
    /// What it has asked others.
    pub asked: Vec<Exchange>,
}

/// Exchanges for which there is always room. What a larger burst took is given back after it.
const ROOM: usize = 1024;

impl Exchanges {
    /// A request was forwarded; its sender waits.
    pub fn open(&mut self, exchange: Exchange) {
        let index = self.insert(exchange);
        self.asked.add(index, &self.open[index]);
    }

    /// Keeps an exchange that was closed, since nobody waits for it any more, on the list of its recipient: until the
    /// answer comes all the same, or another one that shows that it has read that this one is cancelled, or the broker's own
    /// time for it is over.
    pub fn linger(&mut self, exchange: Exchange, standing: Standing) {
        self.insert(Exchange { standing, ..exchange });
    }

    /// A request was delivered whose sender does not wait by this exchange, but by another one as all do that wait for what
    /// becomes of `key`.
    pub fn open_keyed(&mut self, exchange: Exchange, key: KeyId) {
        self.insert(Exchange { standing: Standing::Keyed(key), ..exchange });
    }

    /// Adds an exchange on the side of its recipient, or of the key that it waits for.
    fn insert(&mut self, exchange: Exchange) -> usize {
        let index = self.open.insert(exchange);
        let exchange = &self.open[index];
        self.deadlines.insert(exchange.due(), index);
        match exchange.awaited_key() {
            Some(key) => self.keys.add(key, index),
            None => {
                self.owed.add(index, exchange);
                self.places.take(exchange);
            }
        }
        index
    }

    /// The recipient answered. Nothing if there is no such exchange, or no longer. What was sent to it before that was read,
    /// so it has heard of whatever was cancelled there.
    pub fn answer(&mut self, recipient: SessionKey, conversation: ConversationId) -> Option<Exchange> {
        let (index, heard) = self.owed.answer(recipient, conversation);
        for index in heard {
            self.take(index);
        }
        Some(self.take(index?))
    }

    /// The sender waits no more for the answers to one of its requests: closes all exchanges of it.
    pub fn give_up(&mut self, sender: SessionKey, request: ConversationId) -> Vec<Exchange> {
        let indices = self.asked.of_request(sender, request, &self.open);
        indices.into_iter().map(|index| self.close(index)).collect()
    }

    /// Whether anybody waits for what becomes of a key.
    pub fn is_awaited(&self, key: KeyId) -> bool {
        self.keys.first(key).is_some()
    }

    /// What becomes of a key is known: closes one of the exchanges that wait for that.
    pub fn pop_waiting(&mut self, key: KeyId) -> Option<Exchange> {
        let index = self.keys.first(key)?;
        Some(self.close(index))
    }

    /// A delivery is not closed by the time before `guard`.
    pub fn extend(&mut self, delivery: Delivery, guard: Moment) {
        let Some(index) = self.owed.get(delivery.recipient, delivery.conversation) else { return };
        let Some(exchange) = self.open.get_mut(index).filter(|exchange| exchange.guard < guard) else { return };
        self.deadlines.remove(exchange.due(), index);
        exchange.guard = guard;
        self.deadlines.insert(exchange.due(), index);
    }

    /// Closes a delivery.
    pub fn close_delivery(&mut self, delivery: Delivery) -> Option<Exchange> {
        let index = self.owed.get(delivery.recipient, delivery.conversation)?;
        Some(self.close(index))
    }

    /// Closes one exchange that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<Exchange> {
        let index = self.deadlines.pop_due(now)?;
        Some(self.close(index))
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| at)
    }

    /// Closes all exchanges that a session has to answer, in the order in which they were opened.
    pub fn forget_recipient(&mut self, recipient: SessionKey) -> Vec<Exchange> {
        self.owed.take_all(recipient).into_iter().map(|index| self.take(index)).collect()
    }

    /// Closes all exchanges whose sender a session is, in the order in which they were opened.
    pub fn forget_sender(&mut self, sender: SessionKey) -> Vec<Exchange> {
        self.asked.all_of(sender).into_iter().map(|index| self.close(index)).collect()
    }

    /// A session is over.
    pub fn forget_session(&mut self, session: SessionKey) -> Forgotten {
        let forgotten = Forgotten { unanswered: self.forget_recipient(session), asked: self.forget_sender(session) };
        self.owed.forget(session);
        self.asked.forget(session);
        self.places.forget(session);
        forgotten
    }

    /// Takes an exchange out of everything.
    fn close(&mut self, index: usize) -> Exchange {
        let exchange = self.take(index);
        if exchange.awaited_key().is_none() {
            self.owed.remove(exchange.recipient, exchange.conversation);
        }
        exchange
    }

    /// Takes an exchange out of everything but the list of its recipient.
    fn take(&mut self, index: usize) -> Exchange {
        let exchange = self.open.remove(index);
        self.deadlines.remove(exchange.due(), index);
        if exchange.is_awaited() {
            self.asked.remove(index, &exchange);
        }
        match exchange.awaited_key() {
            Some(key) => self.keys.remove(key, index),
            None => self.places.give_back(&exchange),
        }
        if self.open.is_empty() && self.open.capacity() > ROOM {
            self.open = Slab::new();
            self.asked.give_back();
        }
        exchange
    }

    /// An exchange by its recipient.
    pub fn get(&self, recipient: SessionKey, conversation: ConversationId) -> Option<&Exchange> {
        self.open.get(self.owed.get(recipient, conversation)?)
    }

    /// Number of requests of a session that wait for their answers, and the bytes of the messages that brought them.
    pub fn asked_by(&self, sender: SessionKey) -> (usize, usize) {
        self.asked.by(sender)
    }

    /// What a session has to answer.
    pub fn load_of(&self, recipient: SessionKey) -> Load {
        self.owed.load_of(recipient)
    }

    /// How many places of a session's handler at `path` are taken.
    pub fn places_taken(&self, recipient: SessionKey, path: &str) -> usize {
        self.places.taken_of(recipient, path)
    }

    /// Since when a session has owed an answer, if it does. What was cancelled it does not owe.
    pub fn owes_since(&self, recipient: SessionKey) -> Option<Moment> {
        self.open.get(self.owed.oldest(recipient)?).map(|exchange| exchange.opened)
    }

    /// Number of open exchanges.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Number of those for which somebody waits.
    pub fn awaited(&self) -> usize {
        self.asked.len()
    }

    /// Number of those with a handler that is registered at `path`, and has not been told that nobody waits.
    pub fn at(&self, path: &str) -> usize {
        let is_there = |exchange: &Exchange| {
            exchange.registered.as_deref() == Some(path) && exchange.standing != Standing::Cancelled
        };
        self.open.iter().filter(|(_, exchange)| is_there(exchange)).count()
    }
}
