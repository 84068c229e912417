//! Requests to a path whose handlers all have as many as they take: they wait here until one has a place (section 18.9).

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::RangeInclusive;
use std::sync::Arc;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::headers::HeaderBlock;
use antiphon_protocol::wire::primitives::ConversationId;

use super::per_session::{PerSession, SessionKey, give_back};
use super::repeats::Name;
use super::serve::Asker;
use super::timers::Timers;

/// A request that waits for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub asker: Asker,
    /// Until when it waits.
    pub deadline: Moment,
    pub headers: HeaderBlock,
    /// A `SendToPath`, in wire form.
    pub body: Box<[u8]>,
    /// What its key stands for, if it has one: since it came, whoever its sender is by now.
    pub name: Option<Box<Name>>,
}

/// All of them, by the path that the handlers are registered at.
///
/// Those at a path have their turns by sender: of each sender its oldest, then the next sender's.
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// By numbers that count up.
    waiting: BTreeMap<u64, Entry>,
    by_path: HashMap<Arc<str>, Queue>,
    by_request: BTreeSet<(SessionKey, ConversationId, u64)>,
    /// Number and bytes of those of each sender.
    by_sender: PerSession<(usize, usize)>,
    deadlines: Timers<u64>,
    bytes: usize,
    /// Paths at which somebody may have a place, and the one that was next when it was last asked: they take turns.
    ready: BTreeSet<Arc<str>>,
    last_ready: Option<Arc<str>>,
    /// The last number of a request or of a turn.
    last: u64,
}

#[derive(Debug)]
struct Entry {
    path: Arc<str>,
    waiting: Waiting,
}

/// What waits at one path: something.
#[derive(Debug, Default)]
struct Queue {
    /// Whose turn it is when.
    turns: BTreeMap<u64, SessionKey>,
    senders: HashMap<SessionKey, Sender>,
    len: usize,
}

/// What waits at one path of one sender: something.
#[derive(Debug)]
struct Sender {
    turn: u64,
    numbers: BTreeSet<u64>,
}

/// A request that has its turn.
#[derive(Debug)]
pub(super) struct Taken {
    number: u64,
    turn: u64,
    pub path: Arc<str>,
    pub waiting: Waiting,
}

impl Waiting {
    /// Bytes of it.
    pub fn len(&self) -> usize {
        self.headers.len() + self.body.len() + self.name.as_ref().map_or(0, |name| name.len())
    }
}

impl Queues {
    /// A request waits at `path` from now on, behind those of its sender.
    pub fn push(&mut self, path: &Arc<str>, waiting: Waiting) {
        self.last += 1;
        let (number, turn) = (self.last, self.last);
        self.insert(number, turn, path.clone(), waiting);
    }

    /// One that had its turn goes on waiting, as if it had not had it.
    pub fn put_back(&mut self, taken: Taken) {
        let Taken { number, turn, path, waiting } = taken;
        let sender = waiting.asker.session;
        self.insert(number, turn, path.clone(), waiting);
        if let Some(queue) = self.by_path.get_mut(&path)
            && let Some(sender_here) = queue.senders.get_mut(&sender)
        {
            queue.turns.remove(&sender_here.turn);
            queue.turns.insert(turn, sender);
            sender_here.turn = turn;
        }
    }

    fn insert(&mut self, number: u64, turn: u64, path: Arc<str>, waiting: Waiting) {
        let Asker { session, conversation, .. } = waiting.asker;
        let queue = self.by_path.entry(path.clone()).or_default();
        queue.len += 1;
        let sender = queue.senders.entry(session).or_insert_with(|| {
            queue.turns.insert(turn, session);
            Sender { turn, numbers: BTreeSet::new() }
        });
        sender.numbers.insert(number);
        self.by_request.insert((session, conversation, number));
        let (count, bytes) = self.by_sender.get_or_default(session);
        *count += 1;
        *bytes += waiting.len();
        self.bytes += waiting.len();
        self.deadlines.insert(waiting.deadline, number);
        self.waiting.insert(number, Entry { path, waiting });
    }

    /// Takes the request out that has the next turn at `path`.
    pub fn take(&mut self, path: &str) -> Option<Taken> {
        let queue = self.by_path.get_mut(path)?;
        let (turn, session) = queue.turns.pop_first()?;
        let sender = queue.senders.get_mut(&session)?;
        let number = *sender.numbers.first()?;
        // The others of its sender come after those of all others.
        self.last += 1;
        sender.turn = self.last;
        queue.turns.insert(self.last, session);
        let Entry { path, waiting } = self.remove(number)?;
        Some(Taken { number, turn, path, waiting })
    }

    /// Takes one out whose time is over, earliest first.
    pub fn pop_due(&mut self, now: Moment) -> Option<Waiting> {
        let number = self.deadlines.pop_due(now)?;
        self.give_up(number)
    }

    /// When the next one is due; at once if some may have their turn.
    pub fn next_due(&self) -> Option<Moment> {
        if self.ready.is_empty() { self.deadlines.first().map(|(at, _)| at) } else { Some(Moment::default()) }
    }

    /// A sender waits no more for what it asked in this conversation.
    pub fn withdraw(&mut self, sender: SessionKey, request: ConversationId) {
        self.remove_all((sender, request, 0)..=(sender, request, u64::MAX));
    }

    /// The same for all that it asked.
    pub fn forget(&mut self, sender: SessionKey) {
        let (first, last) = (ConversationId(i64::MIN), ConversationId(i64::MAX));
        self.remove_all((sender, first, 0)..=(sender, last, u64::MAX));
        self.by_sender.remove(sender);
    }

    fn remove_all(&mut self, requests: RangeInclusive<(SessionKey, ConversationId, u64)>) {
        let numbers: Vec<_> = self.by_request.range(requests).map(|(_, _, number)| *number).collect();
        for number in numbers {
            self.give_up(number);
        }
    }

    /// One waits no more. The next one may be for a handler that has a place.
    fn give_up(&mut self, number: u64) -> Option<Waiting> {
        let Entry { path, waiting } = self.remove(number)?;
        self.mark_ready(&path);
        Some(waiting)
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.waiting.remove(&number)?;
        let Entry { path, waiting } = &entry;
        let Asker { session, conversation, .. } = waiting.asker;
        self.bytes -= waiting.len();
        self.deadlines.remove(waiting.deadline, number);
        self.by_request.remove(&(session, conversation, number));
        if let Some((count, bytes)) = self.by_sender.get_mut(session) {
            *count -= 1;
            *bytes -= waiting.len();
        }
        if let Some(queue) = self.by_path.get_mut(path) {
            queue.len -= 1;
            if let Some(sender) = queue.senders.get_mut(&session) {
                sender.numbers.remove(&number);
                if sender.numbers.is_empty() {
                    queue.turns.remove(&sender.turn);
                    queue.senders.remove(&session);
                    give_back(&mut queue.senders);
                }
            }
            if queue.len == 0 {
                self.by_path.remove(path);
                give_back(&mut self.by_path);
                self.ready.remove(path);
            }
        }
        Some(entry)
    }

    /// Somebody at `path` may have a place, or nobody handles it any more.
    pub fn mark_ready(&mut self, path: &str) {
        if !self.is_empty()
            && let Some((path, _)) = self.by_path.get_key_value(path)
        {
            self.ready.insert(path.clone());
        }
    }

    /// Whether there may be a place for any of them.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A path at which somebody may have a place.
    pub fn pop_ready(&mut self) -> Option<Arc<str>> {
        let first = self.ready.first()?;
        let later = self.last_ready.take().map_or(Unbounded, Excluded);
        let next = self.ready.range((later, Unbounded)).next().unwrap_or(first).clone();
        self.ready.remove(&next);
        self.last_ready = Some(next.clone());
        Some(next)
    }

    /// How many wait at `path`.
    pub fn len_at(&self, path: &str) -> usize {
        // Most brokers have no queues.
        if self.is_empty() { 0 } else { self.by_path.get(path).map_or(0, |queue| queue.len) }
    }

    /// Number and bytes of those of a sender.
    pub fn asked_by(&self, sender: SessionKey) -> (usize, usize) {
        self.by_sender.get(sender).copied().unwrap_or_default()
    }

    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
