//! What became of requests with a key, so that a repeat gets what the first one got, and no handler does it twice
//! (section 18.10, rules K-1 to K-5).
//!
//! A request with a key is two things, which `exchanges` keeps apart: the delivery to its recipient, and each request that
//! waits for what becomes of that.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};

use super::outcome::Outcome;
use super::parties::PartyKey;
use super::per_session::{Numbered, SessionKey, give_back};
use super::refusal::Failure;
use super::timers::Timers;

/// The request that a key stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub owner: Owner,
    /// The session that it is addressed to; nothing if it goes to whoever handles the path.
    pub session: Option<SessionId>,
    /// In normal form.
    pub path: Box<str>,
    pub key: Box<str>,
}

impl Name {
    /// Bytes of its texts.
    pub fn len(&self) -> usize {
        let owner = if let Owner::Principal(principal) = &self.owner { principal.len() } else { 0 };
        owner + self.path.len() + self.key.len()
    }
}

/// Whose a key is: nobody else gets the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    Principal(Box<str>),
    /// One that is anonymous.
    Session(SessionKey),
}

/// Finds what is known of a key, for as long as something is. No other one ever has the same number, and they sort as they
/// were first used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct KeyId(u64);

#[cfg(test)]
impl KeyId {
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// Names the exchange that a request was delivered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub recipient: SessionKey,
    pub conversation: ConversationId,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its recipient was asked.
    UnderWay(Delivery),
    Over(Arc<Outcome>),
}

/// For how long answers are remembered, and how much of them at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub time: Duration,
    pub bytes: usize,
}

/// All keys of which something is known.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    by_name: HashMap<Arc<Name>, KeyId>,
    known: Numbered<KeyId, Entry>,
    /// How many there ever were.
    begun: u64,
    /// When the answers are forgotten.
    expiries: Timers<KeyId>,
    /// Bytes of the answers, and what it takes to remember them.
    bytes: usize,
    /// The share of each party in that.
    shares: Numbered<PartyKey, Share>,
    /// By their bytes.
    by_bytes: BTreeSet<(usize, PartyKey)>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<Name>,
    /// Whose session was the first to use it.
    party: PartyKey,
    known: Known,
    /// Until when an answer is remembered.
    until: Moment,
}

#[derive(Debug, Default)]
struct Share {
    bytes: usize,
    answers: Timers<KeyId>,
}

/// What it takes to remember an answer, besides the texts and its bytes.
const OVERHEAD: usize = 320;

/// Told instead of an answer that has more bytes than may be remembered.
const TOO_LARGE: Failure<'_> = Failure::new(
    ErrorReason::COMMUNICATION_FAILURE,
    "the request was answered, and the answer is too large to be given again",
);

impl Repeats {
    pub fn find(&self, name: &Name) -> Option<KeyId> {
        self.by_name.get(name).copied()
    }

    /// What is known of a key; nothing if it is forgotten.
    pub fn get(&self, key: KeyId) -> Option<&Known> {
        self.known.get(&key).map(|entry| &entry.known)
    }

    /// Whose session was the first to use a key.
    pub fn party_of(&self, key: KeyId) -> Option<PartyKey> {
        self.known.get(&key).map(|entry| entry.party)
    }

    /// A request with a key of which nothing is known is delivered.
    pub fn begin(&mut self, name: Name, party: PartyKey, delivery: Delivery) -> KeyId {
        let name = Arc::new(name);
        let entry = Entry { name: name.clone(), party, known: Known::UnderWay(delivery), until: Moment(0) };
        self.begun += 1;
        let key = KeyId(self.begun);
        self.known.insert(key, entry);
        self.by_name.insert(name, key);
        key
    }

    /// What a delivery came to is remembered for the time of `memory`. If it becomes too much, the party for which most is
    /// remembered loses its oldest answers.
    pub fn end(&mut self, now: Moment, key: KeyId, outcome: Arc<Outcome>, memory: Memory) {
        let Some(entry) = self.known.get_mut(&key) else { return };
        entry.known = Known::Over(outcome);
        if entry.len() > memory.bytes {
            entry.known = Known::Over(Arc::new(Outcome::of(&Err(TOO_LARGE))));
        }
        entry.until = now + memory.time;
        let (bytes, until, party) = (entry.len(), entry.until, entry.party);
        self.expiries.insert(until, key);
        self.charge(party, |share| {
            share.bytes += bytes;
            share.answers.insert(until, key);
        });
        self.bytes += bytes;
        while self.bytes > memory.bytes
            && let Some(oldest) = self.oldest_of_the_greediest()
        {
            self.forget(oldest);
        }
    }

    /// Nothing is known of a key any more: a request with it is a new one.
    pub fn forget(&mut self, key: KeyId) {
        let Some(entry) = self.known.remove(&key) else { return };
        self.by_name.remove(&entry.name);
        if let Known::Over(_) = entry.known {
            let bytes = entry.len();
            self.expiries.remove(entry.until, key);
            self.charge(entry.party, |share| {
                share.bytes -= bytes;
                share.answers.remove(entry.until, key);
            });
            self.bytes -= bytes;
        }
        give_back(&mut self.by_name);
        give_back(&mut self.known);
    }

    /// Forgets an answer whose time is over. Returns whether there was one.
    pub fn forget_due(&mut self, now: Moment) -> bool {
        let due = self.expiries.first().filter(|(until, _)| *until <= now);
        if let Some((_, key)) = due {
            self.forget(key);
        }
        due.is_some()
    }

    /// When the next answer is forgotten.
    pub fn next_due(&self) -> Option<Moment> {
        self.expiries.first().map(|(until, _)| until)
    }

    /// Number of keys of which something is known, and the bytes of what is remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.known.len(), self.bytes)
    }

    fn oldest_of_the_greediest(&self) -> Option<KeyId> {
        let (_, party) = self.by_bytes.last()?;
        self.shares.get(party)?.answers.first().map(|(_, key)| key)
    }

    fn charge(&mut self, party: PartyKey, change: impl FnOnce(&mut Share)) {
        let share = self.shares.entry(party).or_default();
        self.by_bytes.remove(&(share.bytes, party));
        change(share);
        if share.bytes > 0 {
            self.by_bytes.insert((share.bytes, party));
        } else {
            self.shares.remove(&party);
            give_back(&mut self.shares);
        }
    }
}

impl Entry {
    /// Bytes that it takes to remember this answer.
    fn len(&self) -> usize {
        let answer = if let Known::Over(outcome) = &self.known { outcome.len() } else { 0 };
        OVERHEAD + self.name.len() + answer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION: SessionKey = SessionKey { number: 0, place: 0 };
    const MEMORY: Memory = Memory { time: Duration::from_micros(20), bytes: 3000 };

    fn name(owner: u64, key: u8) -> Name {
        let owner = match owner {
            0 => Owner::Session(SESSION),
            number => Owner::Principal(number.to_string().into()),
        };
        Name { owner, session: None, path: "a".into(), key: key.to_string().into() }
    }

    fn delivery(number: i64) -> Delivery {
        Delivery { recipient: SESSION, conversation: ConversationId(number) }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A request, of which nothing may be known.
        Ask {
            owner: u64,
            key: u8,
        },
        /// Of one of those under way: its answer has so many bytes.
        Answer(usize, usize),
        /// One of those under way comes to nothing.
        Refuse(usize),
        PassTime(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3_u64, 0..6_u8).prop_map(|(owner, key)| Step::Ask { owner, key }),
            5 => (any::<usize>(), 0..1500_usize).prop_map(|(which, bytes)| Step::Answer(which, bytes)),
            1 => any::<usize>().prop_map(|which| Step::Answer(which, 2 * MEMORY.bytes)),
            2 => any::<usize>().prop_map(Step::Refuse),
            2 => (0..15_u64).prop_map(Step::PassTime),
        ]
    }

    /// The same in one list, in the order of the answers, where everything is found by looking at all of it.
    #[derive(Default)]
    struct Model(Vec<Item>);

    #[derive(Clone, Debug)]
    struct Item {
        name: Name,
        key: KeyId,
        known: Known,
        until: u64,
        bytes: usize,
    }

    impl Model {
        fn under_way(&self, which: usize) -> Option<usize> {
            let under_way = |at: &usize| matches!(self.0[*at].known, Known::UnderWay(_));
            let places: Vec<_> = (0..self.0.len()).filter(under_way).collect();
            (!places.is_empty()).then(|| places[which % places.len()])
        }

        fn bytes(&self, owner: Option<&Owner>) -> usize {
            let of_owner = |item: &&Item| owner.is_none_or(|owner| item.name.owner == *owner);
            self.0.iter().filter(of_owner).map(|item| item.bytes).sum()
        }

        fn answer(&mut self, at: usize, now: u64, bytes: usize) {
            let mut item = self.0.remove(at);
            let needed = OVERHEAD + item.name.len();
            let (outcome, len) = if needed + bytes > MEMORY.bytes {
                (Outcome::of(&Err(TOO_LARGE)), TOO_LARGE.description.len())
            } else {
                (Outcome::Answered(vec![0; bytes].into()), bytes)
            };
            (item.known, item.until, item.bytes) = (Known::Over(Arc::new(outcome)), now + 20, needed + len);
            self.0.push(item);
            while self.bytes(None) > MEMORY.bytes {
                // Parties are numbered as their owners are.
                let owner = (0..3).map(|owner| name(owner, 0).owner).max_by_key(|owner| self.bytes(Some(owner)));
                let of_greediest = |item: &Item| item.bytes > 0 && Some(&item.name.owner) == owner.as_ref();
                let oldest = self.0.iter().filter(|item| of_greediest(item)).map(|item| (item.until, item.key)).min();
                self.0.retain(|item| item.bytes == 0 || Some((item.until, item.key)) != oldest);
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_known_of_each_key_is_what_became_of_its_first_request(steps in prop::collection::vec(step(), 0..200)) {
            let (mut repeats, mut model) = (Repeats::default(), Model::default());
            let (mut now, mut deliveries) = (0, 0);
            let party = PartyKey::numbered;
            for step in steps {
                match step {
                    Step::Ask { owner, key } => {
                        let name = name(owner, key);
                        let found = repeats.find(&name);
                        let expected = model.0.iter().find(|item| item.name == name);
                        prop_assert_eq!(found, expected.map(|item| item.key));
                        if found.is_none() {
                            deliveries += 1;
                            let delivery = delivery(deliveries);
                            let key = repeats.begin(name.clone(), party(owner), delivery);
                            model.0.push(Item { name, key, known: Known::UnderWay(delivery), until: 0, bytes: 0 });
                        }
                    }
                    Step::Answer(which, bytes) => {
                        let Some(at) = model.under_way(which) else { continue };
                        let outcome = Outcome::of(&Ok(&vec![0; bytes]));
                        repeats.end(Moment(now), model.0[at].key, Arc::new(outcome), MEMORY);
                        model.answer(at, now, bytes);
                    }
                    Step::Refuse(which) => {
                        let Some(at) = model.under_way(which) else { continue };
                        repeats.forget(model.0.remove(at).key);
                    }
                    Step::PassTime(time) => {
                        now += time;
                        model.0.retain(|item| item.bytes == 0 || item.until > now);
                        while repeats.forget_due(Moment(now)) {}
                    }
                }
                for item in &model.0 {
                    prop_assert_eq!(repeats.get(item.key), Some(&item.known), "{:?}", item.name);
                    prop_assert_eq!(repeats.find(&item.name), Some(item.key));
                }
                prop_assert_eq!(repeats.len(), (model.0.len(), model.bytes(None)));
                let next_due = model.0.iter().filter(|item| item.bytes > 0).map(|item| Moment(item.until)).min();
                prop_assert_eq!(repeats.next_due(), next_due);
            }
            for item in model.0 {
                repeats.forget(item.key);
            }
            prop_assert!(repeats.by_name.is_empty() && repeats.shares.is_empty() && repeats.by_bytes.is_empty());
        }
    }
}
