//! What became of requests with a key, so that a repeat gets what the first one got, and no handler does it twice
//! (section 18.10, rules K-1 to K-5).
//!
//! A request with a key is two things, which `exchanges` keeps apart: the delivery to its recipient, and each request that
//! waits for what becomes of that.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};

use super::outcome::Outcome;
use super::parties::PartyKey;
use super::per_session::{Numbered, SessionKey, give_back};
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

/// What is found of a request with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Key(KeyId),
    /// It was answered, and there was no room for the answer.
    Lost,
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
    /// The requests whose answers are lost, by hashes of their names, keyed at random: that two have the same does not happen.
    lost: Numbered<u64, Lost>,
    /// When those are forgotten.
    lost_expiries: Timers<u64>,
    /// Bytes of the answers, and what it takes to remember them.
    bytes: usize,
    /// The share of each party in all that is known.
    shares: Numbered<PartyKey, Share>,
    /// The parties with answers, by their bytes.
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

#[derive(Debug)]
struct Lost {
    party: PartyKey,
    until: Moment,
}

#[derive(Debug, Default)]
struct Share {
    /// Number of its keys, also of those under way and of those whose answers are lost.
    keys: usize,
    /// Of its answers.
    bytes: usize,
    answers: Timers<KeyId>,
}

/// What it takes to remember an answer, besides the texts and its bytes.
const OVERHEAD: usize = 320;

/// What it takes to remember that a request was answered.
const LOST: usize = 96;

/// A party may have so many times the keys that there is still room for: others always find some.
const SHARE: usize = 8;

impl Repeats {
    pub fn find(&self, name: &Name) -> Option<Found> {
        match self.by_name.get(name) {
            Some(key) => Some(Found::Key(*key)),
            None => self.lost.contains_key(&self.hash(name)).then_some(Found::Lost),
        }
    }

    /// Whether a party may have one more key. There is room for all that are known even if all answers are lost, so none is
    /// forgotten before its time is over.
    pub fn has_room(&self, party: PartyKey, bytes: usize) -> bool {
        let left = (bytes / LOST).saturating_sub(self.known.len() + self.lost.len());
        self.shares.get(&party).map_or(0, |share| share.keys) < SHARE.saturating_mul(left)
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
        self.charge(party, |share| share.keys += 1);
        key
    }

    /// What a delivery came to is remembered for the time of `memory`. If it becomes too much, the party for which most is
    /// remembered loses its oldest answers: that there was one is still known.
    pub fn end(&mut self, now: Moment, key: KeyId, outcome: Arc<Outcome>, memory: Memory) {
        let Some(entry) = self.known.get_mut(&key) else { return };
        entry.known = Known::Over(outcome);
        entry.until = now + memory.time;
        let (bytes, until, party) = (entry.len(), entry.until, entry.party);
        self.expiries.insert(until, key);
        self.charge(party, |share| {
            share.bytes += bytes;
            share.answers.insert(until, key);
        });
        self.bytes += bytes;
        if bytes > memory.bytes {
            self.lose(key);
        }
        while self.len().1 > memory.bytes
            && let Some(oldest) = self.oldest_of_the_greediest()
        {
            self.lose(oldest);
        }
    }

    /// Of an answer, nothing is known any more but that there was one.
    fn lose(&mut self, key: KeyId) {
        let Some(Entry { name, party, until, .. }) = self.forget(key) else { return };
        let hash = self.hash(&name);
        self.forget_lost(hash);
        self.lost.insert(hash, Lost { party, until });
        self.lost_expiries.insert(until, hash);
        self.charge(party, |share| share.keys += 1);
    }

    fn forget_lost(&mut self, hash: u64) {
        let Some(Lost { party, until }) = self.lost.remove(&hash) else { return };
        self.lost_expiries.remove(until, hash);
        self.charge(party, |share| share.keys -= 1);
        give_back(&mut self.lost);
    }

    fn hash(&self, name: &Name) -> u64 {
        self.by_name.hasher().hash_one(name)
    }

    /// Nothing is known of a key any more: a request with it is a new one.
    pub fn give_up(&mut self, key: KeyId) {
        self.forget(key);
    }

    fn forget(&mut self, key: KeyId) -> Option<Entry> {
        let entry = self.known.remove(&key)?;
        self.by_name.remove(&entry.name);
        let bytes = if let Known::Over(_) = entry.known { entry.len() } else { 0 };
        self.expiries.remove(entry.until, key);
        self.charge(entry.party, |share| {
            share.keys -= 1;
            share.bytes -= bytes;
            share.answers.remove(entry.until, key);
        });
        self.bytes -= bytes;
        give_back(&mut self.by_name);
        give_back(&mut self.known);
        Some(entry)
    }

    /// Forgets an answer whose time is over, or that there was one. Returns whether there was any.
    pub fn forget_due(&mut self, now: Moment) -> bool {
        let lost = self.lost_expiries.first().filter(|(until, _)| *until <= now);
        let due = self.expiries.first().filter(|(until, _)| *until <= now);
        if let Some((_, hash)) = lost {
            self.forget_lost(hash);
        }
        if let Some((_, key)) = due {
            self.forget(key);
        }
        lost.is_some() || due.is_some()
    }

    /// When something is forgotten next.
    pub fn next_due(&self) -> Option<Moment> {
        let answer = self.expiries.first().map(|(until, _)| until);
        let lost = self.lost_expiries.first().map(|(until, _)| until);
        answer.into_iter().chain(lost).min()
    }

    /// Number of keys of which something is known, and the bytes of what is remembered.
    pub fn len(&self) -> (usize, usize) {
        (self.known.len() + self.lost.len(), self.bytes + LOST * self.lost.len())
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
        }
        if share.keys == 0 {
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
    const MEMORY: Memory = Memory { time: Duration::from_micros(20), bytes: 1500 };

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
            6 => (0..3_u64, 0..16_u8).prop_map(|(owner, key)| Step::Ask { owner, key }),
            5 => (any::<usize>(), 0..700_usize).prop_map(|(which, bytes)| Step::Answer(which, bytes)),
            1 => any::<usize>().prop_map(|which| Step::Answer(which, 2 * MEMORY.bytes)),
            2 => any::<usize>().prop_map(Step::Refuse),
            1 => (0..8_u64).prop_map(Step::PassTime),
        ]
    }

    /// The same in one list, in the order of the answers, where everything is found by looking at all of it.
    #[derive(Default)]
    struct Model(Vec<Item>);

    #[derive(Clone, Debug)]
    struct Item {
        name: Name,
        key: KeyId,
        /// Nothing if its answer is lost.
        known: Option<Known>,
        until: u64,
        /// Of an answer.
        bytes: usize,
    }

    impl Item {
        fn is_under_way(&self) -> bool {
            matches!(self.known, Some(Known::UnderWay(_)))
        }
    }

    impl Model {
        fn under_way(&self, which: usize) -> Option<usize> {
            let places: Vec<_> = (0..self.0.len()).filter(|at| self.0[*at].is_under_way()).collect();
            (!places.is_empty()).then(|| places[which % places.len()])
        }

        fn has_room(&self, owner: &Owner) -> bool {
            let own = self.0.iter().filter(|item| item.name.owner == *owner).count();
            own < SHARE * (MEMORY.bytes / LOST - self.0.len())
        }

        fn bytes_of(&self, owner: &Owner) -> usize {
            self.0.iter().filter(|item| item.name.owner == *owner).map(|item| item.bytes).sum()
        }

        fn bytes(&self) -> usize {
            self.0.iter().map(|item| if item.known.is_none() { LOST } else { item.bytes }).sum()
        }

        fn answer(&mut self, at: usize, now: u64, bytes: usize) {
            let mut item = self.0.remove(at);
            let needed = OVERHEAD + item.name.len() + bytes;
            let outcome = Arc::new(Outcome::Answered(vec![0; bytes].into()));
            let is_kept = needed <= MEMORY.bytes;
            (item.known, item.until) = (is_kept.then_some(Known::Over(outcome)), now + 20);
            item.bytes = if is_kept { needed } else { 0 };
            self.0.push(item);
            while self.bytes() > MEMORY.bytes {
                // Parties are numbered as their owners are.
                let owner = (0..3).map(|owner| name(owner, 0).owner).max_by_key(|owner| self.bytes_of(owner));
                let of_greediest = |item: &&mut Item| item.bytes > 0 && Some(&item.name.owner) == owner.as_ref();
                let answers = self.0.iter_mut().filter(of_greediest);
                let oldest =
                    answers.min_by_key(|item| (item.until, item.key)).expect("there is room for all that are lost");
                (oldest.known, oldest.bytes) = (None, 0);
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
                        prop_assert_eq!(repeats.find(&name).is_some(), model.0.iter().any(|item| item.name == name));
                        let has_room = repeats.has_room(party(owner), MEMORY.bytes);
                        prop_assert_eq!(has_room, model.has_room(&name.owner));
                        if repeats.find(&name).is_none() && has_room {
                            deliveries += 1;
                            let delivery = delivery(deliveries);
                            let key = repeats.begin(name.clone(), party(owner), delivery);
                            let known = Some(Known::UnderWay(delivery));
                            model.0.push(Item { name, key, known, until: 0, bytes: 0 });
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
                        repeats.give_up(model.0.remove(at).key);
                    }
                    Step::PassTime(time) => {
                        now += time;
                        model.0.retain(|item| item.is_under_way() || item.until > now);
                        while repeats.forget_due(Moment(now)) {}
                    }
                }
                for item in &model.0 {
                    let found = if item.known.is_some() { Found::Key(item.key) } else { Found::Lost };
                    prop_assert_eq!(repeats.get(item.key), item.known.as_ref(), "{:?}", item.name);
                    prop_assert_eq!(repeats.find(&item.name), Some(found));
                }
                prop_assert_eq!(repeats.len(), (model.0.len(), model.bytes()));
                prop_assert!(model.bytes() <= MEMORY.bytes);
                let next_due = model.0.iter().filter(|item| !item.is_under_way()).map(|item| Moment(item.until)).min();
                prop_assert_eq!(repeats.next_due(), next_due);
            }
            for item in model.0 {
                repeats.give_up(item.key);
            }
            while repeats.forget_due(Moment(now + 20)) {}
            prop_assert!(repeats.by_name.is_empty() && repeats.shares.is_empty() && repeats.by_bytes.is_empty());
            prop_assert_eq!(repeats.len(), (0, 0));
        }
    }
}
