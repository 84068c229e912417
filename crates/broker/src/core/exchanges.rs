//! Requests that were forwarded and not answered yet: who asked, who is to answer, and until when.

use std::sync::Arc;

use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;
use slab::Slab;

use super::per_session::{PerSession, SessionKey};
use super::timers::Timers;

/// A request that was forwarded, and where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub sender: SessionKey,
    pub reply_to: ReplyTo,
    pub recipient: SessionKey,
    /// Between the broker and the recipient; new with every exchange.
    pub conversation: ConversationId,
    /// The path that the handler is registered at: of few paths, where senders choose among very many. Nothing if the
    /// request went to a session.
    pub registered: Option<Arc<str>>,
    pub opened: Moment,
    /// When it is given up.
    pub deadline: Moment,
    /// Bytes of the message to the recipient.
    pub bytes: usize,
}

/// The form in which an answer is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyTo {
    /// As the answer to the request itself.
    Request(ConversationId),
    /// As one of the answers to a request that went to a filter.
    Filter(ConversationId),
}

/// All open exchanges, and the share of each session in them.
///
/// Every exchange is opened here and closed here, once: by its answer, by the time, or with its recipient. The sums are
/// kept on the way.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: Slab<Exchange>,
    by_session: PerSession<Share>,
    deadlines: Timers<usize>,
    /// Number of those whose sender still waits.
    awaited: usize,
}

/// One session's share in the exchanges.
#[derive(Debug, Default)]
struct Share {
    /// Number of those that it is the sender of.
    asked: usize,
    /// The sum of their bytes.
    bytes_asked: usize,
    /// Those that it is the recipient of.
    to_answer: Conversations<usize>,
    /// The sum of their bytes.
    bytes_to_answer: usize,
}

/// Exchanges for which there is always room. What a larger burst took is given back after it.
const ROOM: usize = 1024;

impl Exchanges {
    /// A request was forwarded.
    pub fn open(&mut self, exchange: Exchange) {
        let sender = self.by_session.get_or_default(exchange.sender);
        sender.asked += 1;
        sender.bytes_asked += exchange.bytes;
        self.awaited += 1;
        let recipient = self.by_session.get_or_default(exchange.recipient);
        recipient.bytes_to_answer += exchange.bytes;
        let entry = self.open.vacant_entry();
        recipient.to_answer.open(exchange.conversation, entry.key());
        self.deadlines.insert(exchange.deadline, entry.key());
        entry.insert(exchange);
    }

    /// The recipient answered. Nothing if there is no such exchange, or no longer.
    pub fn close(&mut self, recipient: SessionKey, conversation: ConversationId) -> Option<Exchange> {
        let index = self.by_session.get_mut(recipient)?.to_answer.close(conversation)?;
        Some(self.take(index))
    }

    /// Closes one exchange that is due, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<Exchange> {
        let index = self.deadlines.pop_due(now)?;
        let exchange = self.take(index);
        if let Some(recipient) = self.by_session.get_mut(exchange.recipient) {
            recipient.to_answer.close(exchange.conversation);
        }
        Some(exchange)
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Moment> {
        self.deadlines.first().map(|(at, _)| at)
    }

    /// Closes all exchanges that a session has to answer, in the order in which they were opened.
    pub fn forget_recipient(&mut self, recipient: SessionKey) -> Vec<Exchange> {
        let Some(share) = self.by_session.get_mut(recipient) else { return Vec::new() };
        let unanswered = share.to_answer.close_all();
        unanswered.into_iter().map(|(_, index)| self.take(index)).collect()
    }

    /// A session is over: as [`forget_recipient`](Self::forget_recipient), and nobody waits any more for what it asked
    /// others. That stays open, since they have it.
    pub fn forget_session(&mut self, session: SessionKey) -> Vec<Exchange> {
        let unanswered = self.forget_recipient(session);
        if let Some(share) = self.by_session.remove(session) {
            self.awaited -= share.asked;
        }
        unanswered
    }

    /// Takes an exchange out of everything but the list of its recipient.
    fn take(&mut self, index: usize) -> Exchange {
        let exchange = self.open.remove(index);
        self.deadlines.remove(exchange.deadline, index);
        if let Some(sender) = self.by_session.get_mut(exchange.sender) {
            sender.asked -= 1;
            sender.bytes_asked -= exchange.bytes;
            self.awaited -= 1;
        }
        if let Some(recipient) = self.by_session.get_mut(exchange.recipient) {
            recipient.bytes_to_answer -= exchange.bytes;
        }
        if self.open.is_empty() && self.open.capacity() > ROOM {
            self.open = Slab::new();
        }
        exchange
    }

    /// Number of requests of a session that wait for their answers, and the bytes of the messages that brought them.
    pub fn asked_by(&self, sender: SessionKey) -> (usize, usize) {
        self.by_session.get(sender).map_or((0, 0), |share| (share.asked, share.bytes_asked))
    }

    /// Number of requests that a session has to answer, and the bytes of the messages that brought them.
    pub fn to_answer(&self, recipient: SessionKey) -> (usize, usize) {
        self.by_session.get(recipient).map_or((0, 0), |share| (share.to_answer.len(), share.bytes_to_answer))
    }

    /// Number of open exchanges.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Number of those for which somebody waits.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Number of those with a handler that is registered at `path`.
    pub fn at(&self, path: &str) -> usize {
        self.open.iter().filter(|(_, exchange)| exchange.registered.as_deref() == Some(path)).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What can happen to exchanges; sessions by number, others by how many there are.
    #[derive(Clone, Debug)]
    enum Step {
        Open {
            sender: u64,
            recipient: u64,
            wait: u64,
            bytes: usize,
        },
        /// One of those that were ever opened: perhaps closed already.
        Close(usize),
        PassTime(u64),
        ForgetRecipient(u64),
        /// A session is over, and another one takes its place.
        Replace(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let open = (0..4_u64, 0..4_u64, 0..20_u64, 0..100_usize);
        prop_oneof![
            6 => open.prop_map(|(sender, recipient, wait, bytes)| Step::Open { sender, recipient, wait, bytes }),
            4 => any::<usize>().prop_map(Step::Close),
            2 => (0..8_u64).prop_map(Step::PassTime),
            1 => (0..4_u64).prop_map(Step::ForgetRecipient),
            1 => (0..4_u64).prop_map(Step::Replace),
        ]
    }

    /// The same in one list, where everything is found by looking at all of it.
    #[derive(Default)]
    struct Model {
        open: Vec<Exchange>,
        opened: Vec<(SessionKey, ConversationId)>,
    }

    impl Model {
        fn take(&mut self, is_wanted: impl Fn(&Exchange) -> bool) -> Vec<Exchange> {
            self.open.extract_if(.., |exchange| is_wanted(exchange)).collect()
        }
    }

    proptest! {
        #[test]
        fn sums_lists_and_deadlines_are_those_of_the_open_exchanges(steps in prop::collection::vec(step(), 0..200)) {
            let (mut exchanges, mut model) = (Exchanges::default(), Model::default());
            let mut sessions: Vec<_> = (0..4).map(|number| SessionKey { number, place: number as usize }).collect();
            let (mut now, mut conversations, mut replaced) = (Moment(0), 0, 4);
            for step in steps {
                match step {
                    Step::Open { sender, recipient, wait, bytes } => {
                        conversations += 1;
                        let conversation = ConversationId(conversations);
                        let exchange = Exchange {
                            sender: sessions[sender as usize],
                            reply_to: ReplyTo::Request(conversation),
                            recipient: sessions[recipient as usize],
                            conversation,
                            registered: (wait % 2 == 0).then(|| Arc::from("even")),
                            opened: now,
                            deadline: Moment(now.0 + 1 + wait),
                            bytes,
                        };
                        model.opened.push((exchange.recipient, conversation));
                        model.open.push(exchange.clone());
                        exchanges.open(exchange);
                    }
                    Step::Close(_) if model.opened.is_empty() => {}
                    Step::Close(which) => {
                        let (recipient, conversation) = model.opened[which % model.opened.len()];
                        let closed = model.take(|exchange| exchange.conversation == conversation);
                        prop_assert_eq!(exchanges.close(recipient, conversation), closed.into_iter().next());
                    }
                    Step::PassTime(time) => {
                        now = Moment(now.0 + time);
                        let mut expected = model.take(|exchange| exchange.deadline <= now);
                        let mut due: Vec<_> = std::iter::from_fn(|| exchanges.pop_due(now)).collect();
                        prop_assert!(due.is_sorted_by_key(|exchange| exchange.deadline));
                        due.sort_by_key(|exchange| exchange.conversation);
                        expected.sort_by_key(|exchange| exchange.conversation);
                        prop_assert_eq!(due, expected);
                    }
                    Step::ForgetRecipient(session) => {
                        let key = sessions[session as usize];
                        let expected = model.take(|exchange| exchange.recipient == key);
                        prop_assert_eq!(exchanges.forget_recipient(key), expected);
                    }
                    Step::Replace(session) => {
                        let key = sessions[session as usize];
                        let expected = model.take(|exchange| exchange.recipient == key);
                        prop_assert_eq!(exchanges.forget_session(key), expected);
                        sessions[session as usize].number = replaced;
                        replaced += 1;
                    }
                }
                for key in &sessions {
                    let asked = model.open.iter().filter(|exchange| exchange.sender == *key);
                    let sums = (asked.clone().count(), asked.map(|exchange| exchange.bytes).sum());
                    prop_assert_eq!(exchanges.asked_by(*key), sums);
                    let to_answer = model.open.iter().filter(|exchange| exchange.recipient == *key);
                    let sums = (to_answer.clone().count(), to_answer.map(|exchange| exchange.bytes).sum());
                    prop_assert_eq!(exchanges.to_answer(*key), sums);
                }
                let awaited = model.open.iter().filter(|exchange| sessions.contains(&exchange.sender)).count();
                let even = model.open.iter().filter(|exchange| exchange.registered.is_some()).count();
                prop_assert_eq!((exchanges.len(), exchanges.awaited()), (model.open.len(), awaited));
                prop_assert_eq!((exchanges.at("even"), exchanges.at("odd")), (even, 0));
                let next_due = model.open.iter().map(|exchange| exchange.deadline).min();
                prop_assert_eq!(exchanges.next_due(), next_due);
            }
        }
    }

    #[test]
    fn the_room_of_a_burst_is_given_back() {
        let mut exchanges = Exchanges::default();
        let session = SessionKey { number: 0, place: 0 };
        let conversations = (1..=2 * ROOM as i64).map(ConversationId);
        for conversation in conversations.clone() {
            exchanges.open(Exchange {
                sender: session,
                reply_to: ReplyTo::Filter(conversation),
                recipient: session,
                conversation,
                registered: None,
                opened: Moment(0),
                deadline: Moment(1),
                bytes: 1,
            });
        }
        assert!(exchanges.open.capacity() > ROOM);
        for conversation in conversations {
            assert!(exchanges.close(session, conversation).is_some());
        }
        assert_eq!((exchanges.len(), exchanges.open.capacity()), (0, 0));
    }
}
