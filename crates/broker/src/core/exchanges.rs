//! Requests that were forwarded and not answered yet: who asked, who is to answer, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;
use slab::Slab;

use super::per_session::{Numbered, PerSession, SessionKey, give_back};
use super::repeats::{Delivery, KeyId};
use super::timers::Timers;

/// A request that was forwarded, and where its answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    pub sender: SessionKey,
    pub reply_to: ReplyTo,
    pub recipient: SessionKey,
    /// Between the broker and the recipient; new with every delivery.
    pub conversation: ConversationId,
    /// The path that the handler is registered at: of few paths, where senders choose among very many. Nothing if the
    /// request went to a session.
    pub registered: Option<Arc<str>>,
    /// Whether it has one of the places of that handler, which takes so many requests at a time.
    pub takes_place: bool,
    pub standing: Standing,
    pub opened: Moment,
    /// When its sender is told that no answer came.
    pub deadline: Moment,
    /// When it is closed at the latest, whoever waits: the broker's own limit. Not before the deadline.
    pub guard: Moment,
    /// Bytes of the message to the recipient.
    pub bytes: u32,
}

/// Every request moves an exchange several times. The compiler does that in a few instructions up to this size, and
/// calls a function for more.
const _: () = assert!(size_of::<Exchange>() <= 128);

impl Exchange {
    /// When it is due.
    fn due(&self) -> Moment {
        if self.is_awaited() { self.deadline } else { self.guard }
    }

    /// Whether its sender waits.
    pub fn is_awaited(&self) -> bool {
        matches!(self.standing, Standing::Awaited | Standing::AwaitsKey(_))
    }

    /// The key, if it only waits for what becomes of one.
    pub fn awaited_key(&self) -> Option<KeyId> {
        if let Standing::AwaitsKey(key) = self.standing { Some(key) } else { None }
    }

    /// The path at which it has a place of its recipient's handler: until that has heard that nobody waits.
    fn place(&self) -> Option<&Arc<str>> {
        self.registered.as_ref().filter(|_| self.takes_place && self.standing != Standing::Cancelled)
    }
}

/// Who wants the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// The sender waits for it.
    Awaited,
    /// The sender waits for what becomes of this key: a request with it was delivered before, in the conversation.
    AwaitsKey(KeyId),
    /// Nobody, and the recipient does not know.
    Unwanted,
    /// Nobody, and the recipient was told: it does no more for it once it has read that.
    Cancelled,
    /// All that wait for what becomes of this key. The sender is the first of them, and waits by another exchange.
    Keyed(KeyId),
}

/// The form in which an answer is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyTo {
    /// As the answer to the request itself.
    Request(ConversationId),
    /// As one of the answers to a request that went to a filter: under the number that its sender chose for these.
    Filter { request: ConversationId, responses: ConversationId },
}

impl ReplyTo {
    /// The conversation in which the sender asked.
    pub fn request(self) -> ConversationId {
        match self {
            Self::Request(request) | Self::Filter { request, .. } => request,
        }
    }
}

/// All open exchanges, and the share of each session in them.
///
/// Every exchange is opened here and closed here, once: by its answer, by the time, by its sender, or with its recipient. The
/// sums are kept on the way. One whose sender waits no more may [linger](Self::linger): what was sent to its recipient may not
/// have been read, and however fast requests are given up, no more than a limit of them are to be queued for it.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: Slab<Exchange>,
    /// Of those whose senders wait, where they are in `open`.
    neighbours: Vec<Neighbours>,
    by_session: PerSession<Share>,
    deadlines: Timers<usize>,
    /// Those that wait for what becomes of a key.
    waiting: Numbered<KeyId, BTreeSet<usize>>,
    /// Number of those whose sender still waits.
    awaited: usize,
}

/// The exchanges beside one in the list of its sender.
#[derive(Clone, Copy, Debug, Default)]
struct Neighbours {
    previous: Option<u32>,
    next: Option<u32>,
}

/// One session's share in the exchanges.
#[derive(Debug, Default)]
struct Share {
    /// What it asks others. There are sessions that never do.
    asking: Option<Box<Asking>>,
    /// Those that it is the recipient of.
    to_answer: Conversations<usize>,
    /// The sum of their bytes.
    bytes_to_answer: usize,
    /// Of few sessions anything.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    /// What it has to answer and was cancelled.
    cancelled: BTreeSet<ConversationId>,
    /// Number of exchanges that have places of its handlers, by path.
    places: BTreeMap<Arc<str>, usize>,
}

/// What a session waits for: exchanges in the order in which they were opened.
#[derive(Debug, Default)]
struct Asking {
    first: Option<u32>,
    last: Option<u32>,
    /// How many there are.
    count: usize,
    /// The sum of their bytes.
    bytes: usize,
    /// The same by request, once one of many was looked for: most senders give nothing up.
    by_request: Option<BTreeSet<(ConversationId, usize)>>,
}

/// Exchanges of a sender among which those of a request are found by looking at all of them.
const FEW: usize = 8;

impl Share {
    /// One of its handlers has a request less.
    fn free_place(&mut self, path: &str) {
        if let Some(rest) = &mut self.rest
            && let Some(taken) = rest.places.get_mut(path)
        {
            *taken -= 1;
            if *taken == 0 {
                rest.places.remove(path);
            }
        }
    }
}

/// What is queued for a session as far as is known, and how much of that it has to work for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Number of requests that it has not answered, nor shown that it has read that they are cancelled.
    pub requests: usize,
    /// Bytes of the messages that brought them.
    pub bytes: usize,
    /// Number of those that are not cancelled.
    pub to_answer: usize,
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
        let (sender, request, bytes) = (exchange.sender, exchange.reply_to.request(), exchange.bytes as usize);
        let index = self.insert(exchange);
        self.awaited += 1;
        let asking = self.by_session.get_or_default(sender).asking.get_or_insert_default();
        asking.count += 1;
        asking.bytes += bytes;
        if let Some(by_request) = &mut asking.by_request {
            by_request.insert((request, index));
        }
        let here = link(index);
        let previous = std::mem::replace(&mut asking.last, here);
        if self.neighbours.len() <= index {
            self.neighbours.resize(index + 1, Neighbours::default());
        }
        self.neighbours[index] = Neighbours { previous, next: None };
        match linked(&mut self.neighbours, previous) {
            Some(previous) => previous.next = here,
            None => asking.first = here,
        }
    }

    /// Keeps an exchange that was closed, since nobody waits for it any more, on the list of its recipient: until the
    /// answer comes all the same, or another one that shows that it has read that this one is cancelled, or the broker's own
    /// time for it is over.
    pub fn linger(&mut self, exchange: Exchange, standing: Standing) {
        if standing == Standing::Cancelled {
            let recipient = self.by_session.get_or_default(exchange.recipient);
            recipient.rest.get_or_insert_default().cancelled.insert(exchange.conversation);
        }
        self.insert(Exchange { standing, ..exchange });
    }

    /// Adds an exchange on the side of its recipient, or of the key that it waits for.
    fn insert(&mut self, exchange: Exchange) -> usize {
        let entry = self.open.vacant_entry();
        let index = entry.key();
        if let Some(key) = exchange.awaited_key() {
            self.waiting.entry(key).or_default().insert(index);
        } else {
            let recipient = self.by_session.get_or_default(exchange.recipient);
            recipient.bytes_to_answer += exchange.bytes as usize;
            if let Some(path) = exchange.place() {
                *recipient.rest.get_or_insert_default().places.entry(path.clone()).or_default() += 1;
            }
            recipient.to_answer.open(exchange.conversation, index);
        }
        self.deadlines.insert(exchange.due(), index);
        entry.insert(exchange);
        index
    }

    /// The recipient answered. Nothing if there is no such exchange, or no longer. What was sent to it before that was read,
    /// so it has heard of whatever was cancelled there.
    pub fn answer(&mut self, recipient: SessionKey, conversation: ConversationId) -> Option<Exchange> {
        let share = self.by_session.get_mut(recipient)?;
        let index = share.to_answer.close(conversation);
        if let Some(Rest { cancelled, .. }) = share.rest.as_deref_mut().filter(|rest| !rest.cancelled.is_empty()) {
            cancelled.remove(&conversation);
            let later = cancelled.split_off(&conversation);
            let heard = std::mem::replace(cancelled, later);
            let heard: Vec<_> = heard.into_iter().filter_map(|earlier| share.to_answer.close(earlier)).collect();
            for index in heard {
                self.take(index);
            }
        }
        Some(self.take(index?))
    }

    /// The sender waits no more for the answers to one of its requests: closes all exchanges of it.
    pub fn give_up(&mut self, sender: SessionKey, request: ConversationId) -> Vec<Exchange> {
        let share = self.by_session.get_mut(sender);
        let Some(asking) = share.and_then(|share| share.asking.as_mut()) else { return Vec::new() };
        let list = List { open: &self.open, neighbours: &self.neighbours, next: asking.first };
        let of_request = |(index, exchange): (usize, &Exchange)| (exchange.reply_to.request(), index);
        let found: Vec<_> = if asking.count <= FEW {
            list.map(of_request).filter(|(other, _)| *other == request).collect()
        } else {
            let by_request = asking.by_request.get_or_insert_with(|| list.map(of_request).collect());
            by_request.range((request, 0)..=(request, usize::MAX)).copied().collect()
        };
        found.into_iter().map(|(_, index)| self.close(index)).collect()
    }

    /// A request was delivered whose sender does not wait by this exchange, but by another one as all do that wait for what
    /// becomes of `key`.
    pub fn open_keyed(&mut self, exchange: Exchange, key: KeyId) {
        self.insert(Exchange { standing: Standing::Keyed(key), ..exchange });
    }

    /// Whether anybody waits for what becomes of a key.
    pub fn is_awaited(&self, key: KeyId) -> bool {
        self.waiting.contains_key(&key)
    }

    /// What becomes of a key is known: closes one of the exchanges that wait for that.
    pub fn pop_waiting(&mut self, key: KeyId) -> Option<Exchange> {
        let index = *self.waiting.get(&key)?.first()?;
        Some(self.close(index))
    }

    /// A delivery is not closed by the time before `guard`.
    pub fn extend(&mut self, delivery: Delivery, guard: Moment) {
        let Some(index) = self.delivered(delivery) else { return };
        let Some(exchange) = self.open.get_mut(index).filter(|exchange| exchange.guard < guard) else { return };
        self.deadlines.remove(exchange.due(), index);
        exchange.guard = guard;
        self.deadlines.insert(exchange.due(), index);
    }

    /// Closes a delivery.
    pub fn close_delivery(&mut self, delivery: Delivery) -> Option<Exchange> {
        let index = self.delivered(delivery)?;
        Some(self.close(index))
    }

    fn delivered(&self, Delivery { recipient, conversation }: Delivery) -> Option<usize> {
        self.by_session.get(recipient)?.to_answer.get(conversation).copied()
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
        let Some(share) = self.by_session.get_mut(recipient) else { return Vec::new() };
        if let Some(rest) = &mut share.rest {
            rest.cancelled.clear();
        }
        let unanswered = share.to_answer.close_all();
        unanswered.into_iter().map(|(_, index)| self.take(index)).collect()
    }

    /// Closes all exchanges whose sender a session is, in the order in which they were opened.
    pub fn forget_sender(&mut self, sender: SessionKey) -> Vec<Exchange> {
        let share = self.by_session.get_mut(sender);
        let Some(asking) = share.and_then(|share| share.asking.as_mut()) else { return Vec::new() };
        asking.by_request = None;
        let list = List { open: &self.open, neighbours: &self.neighbours, next: asking.first };
        let exchanges: Vec<_> = list.map(|(index, _)| index).collect();
        exchanges.into_iter().map(|index| self.close(index)).collect()
    }

    /// A session is over.
    pub fn forget_session(&mut self, session: SessionKey) -> Forgotten {
        let forgotten = Forgotten { unanswered: self.forget_recipient(session), asked: self.forget_sender(session) };
        self.by_session.remove(session);
        forgotten
    }

    /// Takes an exchange out of everything.
    fn close(&mut self, index: usize) -> Exchange {
        let exchange = self.take(index);
        if exchange.awaited_key().is_none()
            && let Some(recipient) = self.by_session.get_mut(exchange.recipient)
        {
            recipient.to_answer.close(exchange.conversation);
            if let Some(rest) = &mut recipient.rest {
                rest.cancelled.remove(&exchange.conversation);
            }
        }
        exchange
    }

    /// Takes an exchange out of everything but the lists of its recipient.
    fn take(&mut self, index: usize) -> Exchange {
        let exchange = self.open.remove(index);
        self.deadlines.remove(exchange.due(), index);
        if exchange.is_awaited() {
            self.awaited -= 1;
            let Neighbours { previous, next } = self.neighbours[index];
            if let Some(asking) = self.by_session.get_mut(exchange.sender).and_then(|share| share.asking.as_mut()) {
                asking.count -= 1;
                asking.bytes -= exchange.bytes as usize;
                if let Some(by_request) = &mut asking.by_request {
                    by_request.remove(&(exchange.reply_to.request(), index));
                    if by_request.is_empty() {
                        asking.by_request = None;
                    }
                }
                match linked(&mut self.neighbours, previous) {
                    Some(previous) => previous.next = next,
                    None => asking.first = next,
                }
                match linked(&mut self.neighbours, next) {
                    Some(next) => next.previous = previous,
                    None => asking.last = previous,
                }
            }
        }
        if let Some(key) = exchange.awaited_key() {
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.remove(&index);
                if waiting.is_empty() {
                    self.waiting.remove(&key);
                    give_back(&mut self.waiting);
                }
            }
        } else if let Some(recipient) = self.by_session.get_mut(exchange.recipient) {
            recipient.bytes_to_answer -= exchange.bytes as usize;
            if let Some(path) = exchange.place() {
                recipient.free_place(path);
            }
        }
        if self.open.is_empty() && self.open.capacity() > ROOM {
            self.open = Slab::new();
            self.neighbours = Vec::new();
        }
        exchange
    }

    /// An exchange by its recipient.
    pub fn get(&self, recipient: SessionKey, conversation: ConversationId) -> Option<&Exchange> {
        let index = self.by_session.get(recipient)?.to_answer.get(conversation)?;
        self.open.get(*index)
    }

    /// Number of requests of a session that wait for their answers, and the bytes of the messages that brought them.
    pub fn asked_by(&self, sender: SessionKey) -> (usize, usize) {
        let asking = self.by_session.get(sender).and_then(|share| share.asking.as_ref());
        asking.map_or((0, 0), |asking| (asking.count, asking.bytes))
    }

    /// What a session has to answer.
    pub fn load_of(&self, recipient: SessionKey) -> Load {
        let Some(share) = self.by_session.get(recipient) else { return Load::default() };
        let requests = share.to_answer.len();
        let cancelled = share.rest.as_ref().map_or(0, |rest| rest.cancelled.len());
        Load { requests, bytes: share.bytes_to_answer, to_answer: requests - cancelled }
    }

    /// How many places of a session's handler at `path` are taken.
    pub fn places_taken(&self, recipient: SessionKey, path: &str) -> usize {
        let rest = self.by_session.get(recipient).and_then(|share| share.rest.as_ref());
        rest.and_then(|rest| rest.places.get(path)).copied().unwrap_or_default()
    }

    /// Since when a session has owed an answer, if it does. What was cancelled it does not owe.
    pub fn owes_since(&self, recipient: SessionKey) -> Option<Moment> {
        let to_answer = self.by_session.get(recipient)?.to_answer.iter();
        let exchanges = to_answer.filter_map(|(_, index)| self.open.get(*index));
        exchanges.filter(|exchange| exchange.standing != Standing::Cancelled).map(|exchange| exchange.opened).min()
    }

    /// Number of open exchanges.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Number of those for which somebody waits.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Number of those with a handler that is registered at `path`, and has not been told that nobody waits.
    pub fn at(&self, path: &str) -> usize {
        let is_there = |exchange: &Exchange| {
            exchange.registered.as_deref() == Some(path) && exchange.standing != Standing::Cancelled
        };
        self.open.iter().filter(|(_, exchange)| is_there(exchange)).count()
    }
}

/// Names an exchange in a list. There are never four billion of them.
fn link(index: usize) -> Option<u32> {
    u32::try_from(index).ok()
}

fn linked(neighbours: &mut [Neighbours], link: Option<u32>) -> Option<&mut Neighbours> {
    neighbours.get_mut(link? as usize)
}

/// The exchanges of a sender from one on.
struct List<'a> {
    open: &'a Slab<Exchange>,
    neighbours: &'a [Neighbours],
    next: Option<u32>,
}

impl<'a> Iterator for List<'a> {
    type Item = (usize, &'a Exchange);

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next? as usize;
        self.next = self.neighbours.get(index)?.next;
        Some((index, self.open.get(index)?))
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
            /// Of the sender's request: few, so that some have several exchanges.
            request: i64,
            wait: u64,
            bytes: u32,
        },
        /// A request with a key is delivered.
        OpenKeyed {
            recipient: u64,
            key: u64,
            wait: u64,
            bytes: u32,
        },
        /// A request waits for what becomes of a key.
        Wait {
            sender: u64,
            request: i64,
            key: u64,
            wait: u64,
        },
        PopWaiting(u64),
        /// One of those that were ever opened, by so much time from now.
        Extend(usize, u64),
        CloseDelivery(usize),
        /// One of those that were ever opened: perhaps closed already.
        Answer(usize),
        PassTime(u64),
        /// What was asked in this conversation; each of them lingers, as if its recipient was told or not.
        GiveUp(u64, i64, bool),
        ForgetRecipient(u64),
        ForgetSender(u64),
        /// A session is over, and another one takes its place.
        Replace(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let open = (0..4_u64, 0..4_u64, 0..6_i64, 0..20_u64, 0..100_u32);
        prop_oneof![
            6 => open.prop_map(|(sender, recipient, request, wait, bytes)| {
                Step::Open { sender, recipient, request, wait, bytes }
            }),
            2 => (0..4_u64, 0..3_u64, 0..20_u64, 0..100_u32).prop_map(|(recipient, key, wait, bytes)| {
                Step::OpenKeyed { recipient, key, wait, bytes }
            }),
            3 => (0..4_u64, 0..6_i64, 0..3_u64, 0..20_u64).prop_map(|(sender, request, key, wait)| {
                Step::Wait { sender, request, key, wait }
            }),
            1 => (0..3_u64).prop_map(Step::PopWaiting),
            1 => (any::<usize>(), 0..40_u64).prop_map(|(which, time)| Step::Extend(which, time)),
            1 => any::<usize>().prop_map(Step::CloseDelivery),
            4 => any::<usize>().prop_map(Step::Answer),
            2 => (0..8_u64).prop_map(Step::PassTime),
            2 => (0..4_u64, 0..6_i64, any::<bool>()).prop_map(|(sender, request, told)| {
                Step::GiveUp(sender, request, told)
            }),
            1 => (0..4_u64).prop_map(Step::ForgetRecipient),
            1 => (0..4_u64).prop_map(Step::ForgetSender),
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

        fn take_asked(&mut self, sender: SessionKey) -> Vec<Exchange> {
            let mut asked = self.take(|exchange| exchange.sender == sender && exchange.is_awaited());
            asked.sort_by_key(|exchange| exchange.conversation);
            asked
        }

        fn take_unanswered(&mut self, recipient: SessionKey) -> Vec<Exchange> {
            let mut unanswered =
                self.take(|exchange| exchange.recipient == recipient && exchange.awaited_key().is_none());
            unanswered.sort_by_key(|exchange| exchange.conversation);
            unanswered
        }

        fn load_of(&self, recipient: SessionKey) -> Load {
            let mut load = Load::default();
            let is_its = |exchange: &&Exchange| exchange.recipient == recipient && exchange.awaited_key().is_none();
            for exchange in self.open.iter().filter(is_its) {
                load.requests += 1;
                load.bytes += exchange.bytes as usize;
                load.to_answer += usize::from(exchange.standing != Standing::Cancelled);
            }
            load
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
                    Step::Open { sender, recipient, request, wait, bytes } => {
                        conversations += 1;
                        let (conversation, request) = (ConversationId(conversations), ConversationId(request));
                        let exchange = Exchange {
                            sender: sessions[sender as usize],
                            reply_to: ReplyTo::Filter { request, responses: conversation },
                            recipient: sessions[recipient as usize],
                            conversation,
                            registered: (wait % 2 == 0).then(|| Arc::from("even")),
                            takes_place: bytes % 2 == 0,
                            standing: Standing::Awaited,
                            opened: now,
                            deadline: Moment(now.0 + 1 + wait),
                            guard: Moment(now.0 + 1 + 2 * wait),
                            bytes,
                        };
                        model.opened.push((exchange.recipient, conversation));
                        model.open.push(exchange.clone());
                        exchanges.open(exchange);
                    }
                    Step::OpenKeyed { recipient, key, wait, bytes } => {
                        conversations += 1;
                        let (recipient, key) = (sessions[recipient as usize], KeyId::numbered(key));
                        let exchange = Exchange {
                            sender: sessions[0],
                            reply_to: ReplyTo::Request(ConversationId(1)),
                            recipient,
                            conversation: ConversationId(conversations),
                            registered: (wait % 2 == 0).then(|| Arc::from("even")),
                            takes_place: bytes % 2 == 0,
                            standing: Standing::Awaited,
                            opened: now,
                            deadline: Moment(now.0 + 1 + wait),
                            guard: Moment(now.0 + 1 + 2 * wait),
                            bytes,
                        };
                        model.opened.push((recipient, exchange.conversation));
                        model.open.push(Exchange { standing: Standing::Keyed(key), ..exchange.clone() });
                        exchanges.open_keyed(exchange, key);
                    }
                    Step::Wait { sender, request, key, wait } => {
                        conversations += 1;
                        let exchange = Exchange {
                            sender: sessions[sender as usize],
                            reply_to: ReplyTo::Request(ConversationId(request)),
                            recipient: sessions[0],
                            conversation: ConversationId(conversations),
                            registered: None,
                            takes_place: false,
                            standing: Standing::AwaitsKey(KeyId::numbered(key)),
                            opened: now,
                            deadline: Moment(now.0 + 1 + wait),
                            guard: Moment(now.0 + 1 + 2 * wait),
                            bytes: 7,
                        };
                        model.open.push(exchange.clone());
                        exchanges.open(exchange);
                    }
                    Step::PopWaiting(key) => {
                        let key = KeyId::numbered(key);
                        let mut closed: Vec<_> = std::iter::from_fn(|| exchanges.pop_waiting(key)).collect();
                        closed.sort_by_key(|exchange| exchange.conversation);
                        prop_assert_eq!(closed, model.take(|exchange| exchange.awaited_key() == Some(key)));
                    }
                    Step::Extend(..) | Step::CloseDelivery(_) | Step::Answer(_) if model.opened.is_empty() => {}
                    Step::Extend(which, time) => {
                        let (recipient, conversation) = model.opened[which % model.opened.len()];
                        let guard = Moment(now.0 + time);
                        exchanges.extend(Delivery { recipient, conversation }, guard);
                        for exchange in model.open.iter_mut().filter(|open| open.conversation == conversation) {
                            exchange.guard = exchange.guard.max(guard);
                        }
                    }
                    Step::CloseDelivery(which) => {
                        let (recipient, conversation) = model.opened[which % model.opened.len()];
                        let closed = exchanges.close_delivery(Delivery { recipient, conversation });
                        let expected = model.take(|exchange| exchange.conversation == conversation);
                        prop_assert_eq!(closed, expected.into_iter().next());
                    }
                    Step::Answer(which) => {
                        let (recipient, conversation) = model.opened[which % model.opened.len()];
                        let answered = model.take(|exchange| exchange.conversation == conversation);
                        if sessions.contains(&recipient) {
                            model.take(|exchange| {
                                exchange.recipient == recipient
                                    && exchange.conversation < conversation
                                    && exchange.standing == Standing::Cancelled
                            });
                        }
                        prop_assert_eq!(exchanges.answer(recipient, conversation), answered.into_iter().next());
                    }
                    Step::PassTime(time) => {
                        now = Moment(now.0 + time);
                        let mut expected = model.take(|exchange| exchange.due() <= now);
                        let mut due: Vec<_> = std::iter::from_fn(|| exchanges.pop_due(now)).collect();
                        prop_assert!(due.is_sorted_by_key(Exchange::due));
                        due.sort_by_key(|exchange| exchange.conversation);
                        expected.sort_by_key(|exchange| exchange.conversation);
                        prop_assert_eq!(due, expected);
                    }
                    Step::GiveUp(sender, request, is_told) => {
                        let (key, request) = (sessions[sender as usize], ConversationId(request));
                        let is_it = |exchange: &Exchange| {
                            (exchange.sender, exchange.reply_to.request()) == (key, request)
                                && exchange.is_awaited()
                        };
                        let mut given_up = exchanges.give_up(key, request);
                        given_up.sort_by_key(|exchange| exchange.conversation);
                        prop_assert_eq!(&given_up, &model.take(is_it));
                        // What it waits for stays open.
                        for exchange in given_up.into_iter().filter(|exchange| exchange.awaited_key().is_none()) {
                            let standing = if is_told { Standing::Cancelled } else { Standing::Unwanted };
                            model.open.push(Exchange { standing, ..exchange.clone() });
                            exchanges.linger(exchange, standing);
                        }
                    }
                    Step::ForgetRecipient(session) => {
                        let key = sessions[session as usize];
                        prop_assert_eq!(exchanges.forget_recipient(key), model.take_unanswered(key));
                    }
                    Step::ForgetSender(session) => {
                        let key = sessions[session as usize];
                        prop_assert_eq!(exchanges.forget_sender(key), model.take_asked(key));
                    }
                    Step::Replace(session) => {
                        let key = sessions[session as usize];
                        let Forgotten { unanswered, asked } = exchanges.forget_session(key);
                        prop_assert_eq!(unanswered, model.take_unanswered(key));
                        prop_assert_eq!(asked, model.take_asked(key));
                        sessions[session as usize].number = replaced;
                        replaced += 1;
                    }
                }
                let is_awaited = |exchange: &&Exchange| exchange.is_awaited();
                for key in &sessions {
                    let asked = model.open.iter().filter(is_awaited).filter(|exchange| exchange.sender == *key);
                    let sums = (asked.clone().count(), asked.map(|exchange| exchange.bytes as usize).sum());
                    prop_assert_eq!(exchanges.asked_by(*key), sums);
                    prop_assert_eq!(exchanges.load_of(*key), model.load_of(*key));
                    let places = model.open.iter().filter(|exchange| {
                        exchange.recipient == *key && exchange.place().is_some_and(|path| **path == *"even")
                    });
                    prop_assert_eq!(exchanges.places_taken(*key, "even"), places.count());
                }
                let even = model.open.iter().filter(|exchange| {
                    exchange.registered.is_some() && exchange.standing != Standing::Cancelled
                });
                prop_assert_eq!(exchanges.at("even"), even.count());
                prop_assert_eq!(exchanges.at("odd"), 0);
                let awaited = model.open.iter().filter(is_awaited).count();
                prop_assert_eq!((exchanges.len(), exchanges.awaited()), (model.open.len(), awaited));
                for key in (0..3).map(KeyId::numbered) {
                    let is_awaited = model.open.iter().any(|exchange| exchange.awaited_key() == Some(key));
                    prop_assert_eq!(exchanges.is_awaited(key), is_awaited);
                }
                for exchange in model.open.iter().filter(|exchange| exchange.awaited_key().is_none()) {
                    let is = exchanges.get(exchange.recipient, exchange.conversation);
                    prop_assert_eq!(is, Some(exchange));
                }
                let next_due = model.open.iter().map(Exchange::due).min();
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
                reply_to: ReplyTo::Request(conversation),
                recipient: session,
                conversation,
                registered: None,
                takes_place: false,
                standing: Standing::Awaited,
                opened: Moment(0),
                deadline: Moment(1),
                guard: Moment(1),
                bytes: 1,
            });
        }
        assert!(exchanges.open.capacity() > ROOM);
        for conversation in conversations {
            assert!(exchanges.answer(session, conversation).is_some());
        }
        assert_eq!((exchanges.len(), exchanges.open.capacity()), (0, 0));
    }
}
