//! Which session handles which path.

use std::collections::{BTreeSet, btree_set};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use antiphon_protocol::wire::primitives::ConversationId;
use hashbrown::HashTable;

use super::choice::{Availability, Capacity, Handler, Handlers, Random};
use super::parties::PartyKey;
use super::path::NormalPath;
use super::per_session::{Numbered, PerSession, SessionKey, give_back};
use super::properties::{Selection, TooLarge};

/// Most bytes that it may take to keep one session's registrations.
const MAX_HANDLER_BYTES: usize = 16 << 20;
/// The same for the registrations of a party.
const MAX_PARTY_BYTES: usize = 64 << 20;
/// What a registration takes besides the characters of its path and property keys, about.
const BYTES_PER_HANDLER: usize = 256;

/// All request handlers, by path and by session.
#[derive(Debug)]
pub(super) struct Registry {
    max_registrations: usize,
    by_path: Places,
    /// Keyed by chance: paths are chosen by others.
    hash: RandomState,
    by_session: PerSession<Paths>,
    /// What it takes to keep the registrations of each party, about.
    bytes_by_party: Numbered<PartyKey, usize>,
    changes: Changes,
}

/// The paths of a session that is over, at which it is still registered.
pub(super) type Leftover = btree_set::IntoIter<Arc<str>>;

/// All paths at which somebody is registered, in many small tables: one that grows moves what is in it, and everybody waits
/// for that.
#[derive(Debug)]
struct Places {
    tables: Box<[HashTable<Place>; TABLES]>,
    lengths: Lengths,
}

/// Of a million paths, less than a millisecond's work is in each of so many tables.
const TABLES: usize = 256;

/// How many paths there are of each length, of those that are equal modulo their number: most beginnings of a path are as long
/// as no path at which somebody is registered, and need not be looked for.
#[derive(Debug)]
struct Lengths([u32; LENGTHS]);

const LENGTHS: usize = 64;

impl Lengths {
    fn of(&mut self, path: &str) -> &mut u32 {
        &mut self.0[path.len() % LENGTHS]
    }

    fn has(&self, path: &str) -> bool {
        self.0[path.len() % LENGTHS] > 0
    }
}

/// The paths at which handlers were registered or taken out, while somebody wants to know.
#[derive(Debug, Default)]
struct Changes(Option<BTreeSet<Arc<str>>>);

impl Changes {
    fn note(&mut self, path: &str) {
        if let Some(paths) = &mut self.0 {
            paths.insert(path.into());
        }
    }
}

/// Names a place by where it is in the tables.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    hash: u64,
    index: usize,
}

/// A path, and the handlers there: at least one.
#[derive(Debug)]
struct Place {
    hash: u64,
    path: Arc<str>,
    handlers: Handlers,
}

/// Where a session is registered: somewhere, or it was.
#[derive(Debug)]
struct Paths {
    /// The party that it belonged to when it registered first.
    party: PartyKey,
    /// Sorted, so that everything happens in the same order every time.
    sorted: BTreeSet<Arc<str>>,
    /// What it takes to keep its registrations there, about.
    bytes: usize,
    /// Where it was set back because it could take no request.
    set_back: Vec<Arc<str>>,
}

/// Which handler gets a request.
#[derive(Debug)]
pub(super) enum Chosen<'a> {
    /// Nobody handles the path.
    Nobody,
    /// All that do, at this path, have as much to answer as they take. So many more may wait for them.
    AllFull(&'a Arc<str>, u64),
    /// This one, which is registered at this path.
    Handler(&'a Arc<str>, &'a Handler),
}

/// Why a session cannot register a handler.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotRegistered {
    #[error("this session has a request handler at {0} already")]
    Conflict(String),
    #[error("this session has {0} request handlers, no more are allowed")]
    TooMany(usize),
    #[error(transparent)]
    TooManyKeys(#[from] TooLarge),
    #[error("the request handlers of this session take more than {MAX_HANDLER_BYTES} bytes")]
    TooManyBytes,
    #[error("the request handlers of this principal at this address take more than {MAX_PARTY_BYTES} bytes")]
    TooManyBytesOfParty,
}

impl Places {
    fn new() -> Self {
        let tables = Box::new(std::array::from_fn(|_| HashTable::new()));
        Self { tables, lengths: Lengths([0; LENGTHS]) }
    }

    fn table(&self, hash: u64) -> &HashTable<Place> {
        &self.tables[Self::number(hash)]
    }

    fn table_mut(&mut self, hash: u64) -> &mut HashTable<Place> {
        &mut self.tables[Self::number(hash)]
    }

    /// By bits that the table itself makes no use of while it is small.
    fn number(hash: u64) -> usize {
        (hash >> 32) as usize % TABLES
    }

    /// Where a path is, if somebody is registered there: true until something is registered or taken out.
    fn bucket(&self, hash: u64, path: &str) -> Option<Bucket> {
        let index = self.table(hash).find_bucket_index(hash, |place| *place.path == *path)?;
        Some(Bucket { hash, index })
    }

    fn get(&self, Bucket { hash, index }: Bucket) -> Option<&Place> {
        self.table(hash).get_bucket(index)
    }

    fn get_mut(&mut self, Bucket { hash, index }: Bucket) -> Option<&mut Place> {
        self.table_mut(hash).get_bucket_mut(index)
    }

    fn find_mut(&mut self, hash: u64, path: &str) -> Option<&mut Place> {
        self.table_mut(hash).find_mut(hash, |place| *place.path == *path)
    }

    fn find_or_insert(&mut self, hash: u64, path: &str) -> &mut Place {
        let Self { tables, lengths } = self;
        let new = || {
            *lengths.of(path) += 1;
            Place { hash, path: Arc::from(path), handlers: Handlers::default() }
        };
        let table = &mut tables[Self::number(hash)];
        table.entry(hash, |place| *place.path == *path, |place| place.hash).or_insert_with(new).into_mut()
    }

    /// Takes a path out. The room of many that have gone is given back.
    fn remove(&mut self, hash: u64, path: &str) {
        let table = self.table_mut(hash);
        if let Ok(entry) = table.find_entry(hash, |place| *place.path == *path) {
            entry.remove();
            *self.lengths.of(path) -= 1;
            let table = self.table_mut(hash);
            if table.is_empty() || table.len() < table.capacity() / 4 {
                table.shrink_to(2 * table.len(), |place| place.hash);
            }
        }
    }
}

impl Registry {
    pub fn new(max_registrations: usize) -> Self {
        Self {
            max_registrations,
            by_path: Places::new(),
            hash: RandomState::new(),
            by_session: PerSession::default(),
            bytes_by_party: Numbered::default(),
            changes: Changes::default(),
        }
    }

    /// Registers a handler of a session of a party, which wants the properties `keys` of every sender, and takes so many
    /// requests.
    pub fn register(
        &mut self,
        party: PartyKey,
        session: SessionKey,
        path: NormalPath<'_>,
        keys: &[&str],
        registration: ConversationId,
        capacity: Capacity,
    ) -> Result<(), NotRegistered> {
        let hash = hash_of(&self.hash, path);
        let path = path.as_str();
        let new = || Paths { party, sorted: BTreeSet::new(), bytes: 0, set_back: Vec::new() };
        let paths = self.by_session.get_or_insert_with(session, new);
        if paths.sorted.contains(path) {
            return Err(NotRegistered::Conflict(path.to_owned()));
        }
        if paths.sorted.len() >= self.max_registrations {
            return Err(NotRegistered::TooMany(paths.sorted.len()));
        }
        let selection = Selection::of_keys(keys)?;
        let bytes = size(path, Some(&selection));
        if paths.bytes + bytes > MAX_HANDLER_BYTES {
            return Err(NotRegistered::TooManyBytes);
        }
        let bytes_of_party = self.bytes_by_party.entry(paths.party).or_default();
        if *bytes_of_party + bytes > MAX_PARTY_BYTES {
            return Err(NotRegistered::TooManyBytesOfParty);
        }
        *bytes_of_party += bytes;
        let place = self.by_path.find_or_insert(hash, path);
        let selection = (!keys.is_empty()).then(|| place.handlers.shared(selection));
        place.handlers.insert(Handler { session, registration, selection, capacity });
        self.changes.note(path);
        paths.bytes += bytes;
        paths.sorted.insert(place.path.clone());
        Ok(())
    }

    /// Takes a handler out, if it is there.
    pub fn deregister(&mut self, session: SessionKey, path: NormalPath<'_>) {
        let Some(paths) = self.by_session.get_mut(session) else { return };
        if !paths.sorted.remove(path.as_str()) {
            return;
        }
        self.changes.note(path.as_str());
        let hash = hash_of(&self.hash, path);
        if let Some(handler) = remove(&mut self.by_path, hash, path, session) {
            let bytes = size(path.as_str(), handler.selection.as_deref());
            paths.bytes -= bytes;
            release(&mut self.bytes_by_party, paths.party, bytes);
        }
    }

    /// A session is over, and all its handlers are to be taken out by [`take_out`](Self::take_out). None of them is chosen
    /// any more, so that has time.
    pub fn retire(&mut self, session: SessionKey) -> Option<Leftover> {
        let Paths { party, sorted, bytes, .. } = self.by_session.remove(session)?;
        release(&mut self.bytes_by_party, party, bytes);
        Some(sorted.into_iter())
    }

    /// Takes out a handler of a session that is over.
    pub fn take_out(&mut self, session: SessionKey, path: &str) {
        self.changes.note(path);
        let path = NormalPath::of_registered(path);
        let hash = hash_of(&self.hash, path);
        remove(&mut self.by_path, hash, path, session);
    }

    /// Takes all handlers of a session out. Returns where they were.
    pub fn deregister_all(&mut self, session: SessionKey) -> Vec<Arc<str>> {
        let paths: Vec<_> = self.retire(session).into_iter().flatten().collect();
        for path in &paths {
            self.take_out(session, path);
        }
        paths
    }

    /// The most specific path that is registered for `path`, and the number of handlers there. Those of a session that is over
    /// count until they are taken out.
    pub fn find(&self, path: NormalPath<'_>) -> Option<(&Arc<str>, usize)> {
        let (bucket, _) = self.most_specific(path)?;
        let place = self.by_path.get(bucket)?;
        Some((&place.path, place.handlers.len()))
    }

    /// Whether somebody wants to know at which paths handlers change.
    pub fn keep_changes(&mut self, is_wanted: bool) {
        if self.changes.0.is_some() != is_wanted {
            self.changes.0 = is_wanted.then(BTreeSet::new);
        }
    }

    /// Whether handlers have changed since the last [`take_changes`](Self::take_changes).
    pub fn has_changes(&self) -> bool {
        self.changes.0.as_ref().is_some_and(|paths| !paths.is_empty())
    }

    /// The paths at which handlers have changed.
    pub fn take_changes(&mut self) -> BTreeSet<Arc<str>> {
        self.changes.0.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Chooses among the handlers at the most specific registered path for `path`.
    pub fn choose(
        &mut self,
        path: NormalPath<'_>,
        random: &mut Random,
        availability: impl Fn(&Handler, &str) -> Availability,
    ) -> Chosen<'_> {
        let (bucket, chosen) = loop {
            let Some((bucket, registered)) = self.most_specific(path) else { return Chosen::Nobody };
            let Some(Place { path: at, handlers, .. }) = self.by_path.get_mut(bucket) else {
                return Chosen::Nobody;
            };
            let set_back = |session| {
                if let Some(paths) = self.by_session.get_mut(session) {
                    paths.set_back.push(at.clone());
                }
            };
            let chosen = handlers.choose(random, |handler| availability(handler, at), set_back);
            if !handlers.is_empty() {
                break (bucket, chosen);
            }
            // All were of sessions that are over.
            self.by_path.remove(bucket.hash, registered);
        };
        let Some(place) = self.by_path.get(bucket) else { return Chosen::Nobody };
        let handler = chosen.and_then(|chosen| place.handlers.get(chosen));
        match handler {
            Some(handler) => Chosen::Handler(&place.path, handler),
            None => Chosen::AllFull(&place.path, place.handlers.may_wait()),
        }
    }

    /// The longest beginning of `path` that somebody is registered at, and where that is. All of them are hashed in one go, so
    /// the time is in proportion to the path, however many parents it has.
    fn most_specific<'p>(&self, path: NormalPath<'p>) -> Option<(Bucket, &'p str)> {
        let (mut hasher, mut hashed, mut found) = (self.hash.build_hasher(), 0, None);
        for beginning in path.beginnings() {
            hasher.write(&beginning.as_bytes()[hashed..]);
            hashed = beginning.len();
            if self.by_path.lengths.has(beginning)
                && let Some(bucket) = self.by_path.bucket(hasher.finish(), beginning)
            {
                found = Some((bucket, beginning));
            }
        }
        found
    }

    /// Whether a session was set back somewhere because it could take no request.
    pub fn is_set_back(&self, session: SessionKey) -> bool {
        self.by_session.get(session).is_some_and(|paths| !paths.set_back.is_empty())
    }

    /// A session can take requests again: `tell` is called for each path where it could not.
    pub fn bring_forward(&mut self, session: SessionKey, mut tell: impl FnMut(&str)) {
        let Some(paths) = self.by_session.get_mut(session) else { return };
        for path in std::mem::take(&mut paths.set_back) {
            self.bring_forward_at(session, &path);
            tell(&path);
        }
    }

    /// A session can take requests again that go to its handler at a path.
    pub fn bring_forward_at(&mut self, session: SessionKey, path: &str) {
        let hash = hash_of(&self.hash, NormalPath::of_registered(path));
        if let Some(place) = self.by_path.find_mut(hash, path) {
            place.handlers.bring_forward(session);
        }
    }
}

/// As [`Registry::most_specific`] hashes it.
fn hash_of(hash: &RandomState, path: NormalPath<'_>) -> u64 {
    let (mut hasher, mut hashed) = (hash.build_hasher(), 0);
    for beginning in path.beginnings() {
        hasher.write(&beginning.as_bytes()[hashed..]);
        hashed = beginning.len();
    }
    hasher.finish()
}

/// What it takes to keep a registration, about.
fn size(path: &str, selection: Option<&Selection>) -> usize {
    BYTES_PER_HANDLER + path.len() + selection.map_or(0, Selection::size)
}

/// A party has so much less.
fn release(bytes_by_party: &mut Numbered<PartyKey, usize>, party: PartyKey, bytes: usize) {
    let Some(left) = bytes_by_party.get_mut(&party) else { return };
    *left -= bytes;
    if *left == 0 {
        bytes_by_party.remove(&party);
        give_back(bytes_by_party);
    }
}

/// Takes out the handler of a session at a path, and the path with its last one.
fn remove(by_path: &mut Places, hash: u64, path: NormalPath<'_>, session: SessionKey) -> Option<Handler> {
    let handlers = &mut by_path.find_mut(hash, path.as_str())?.handlers;
    let handler = handlers.remove(session);
    if handlers.is_empty() {
        by_path.remove(hash, path.as_str());
    }
    handler
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collisions;

    fn path(text: &str) -> NormalPath<'_> {
        NormalPath::new(text).expect("a path")
    }

    fn session(number: u64) -> SessionKey {
        SessionKey { number, place: number as usize }
    }

    fn register(registry: &mut Registry, number: u64, at: &str) {
        registry
            .register(PartyKey::default(), session(number), path(at), &[], ConversationId(1), Capacity::default())
            .expect("room");
    }

    fn chosen(registry: &mut Registry, at: &str) -> Option<(String, u64)> {
        match registry.choose(path(at), &mut Random::new(1), |_, _| Availability::Ready(0)) {
            Chosen::Handler(path, handler) => Some((path.to_string(), handler.session.number)),
            Chosen::Nobody | Chosen::AllFull(..) => None,
        }
    }

    #[test]
    fn the_longest_beginning_at_which_somebody_is_registered_is_found() {
        let mut registry = Registry::new(100);
        for (number, at) in [(1, "a"), (2, "a/b/c"), (3, "ab"), (4, "ä/ö")] {
            register(&mut registry, number, at);
        }
        for (at, expected) in [
            ("a", Some(("a", 1))),
            ("a/b", Some(("a", 1))),
            ("a/b/c", Some(("a/b/c", 2))),
            ("a/b/c/d/e", Some(("a/b/c", 2))),
            ("a/b/cd", Some(("a", 1))),
            ("ab/c", Some(("ab", 3))),
            ("ä", None),
            ("ä/ö/ü", Some(("ä/ö", 4))),
            ("b/a", None),
        ] {
            assert_eq!(chosen(&mut registry, at), expected.map(|(path, number)| (path.to_owned(), number)), "{at}");
        }
        registry.deregister(session(2), path("a/b/c"));
        assert_eq!(chosen(&mut registry, "a/b/c"), Some(("a".to_owned(), 1)));
        assert_eq!(registry.deregister_all(session(1)).len(), 1);
        assert_eq!(chosen(&mut registry, "a/b/c"), None);
    }

    #[test]
    fn sessions_that_are_over_handle_nothing_whether_or_not_they_were_taken_out() {
        let mut registry = Registry::new(100);
        register(&mut registry, 1, "a");
        register(&mut registry, 2, "a/b");
        register(&mut registry, 3, "a/b");
        let gone = |numbers: &'static [u64]| {
            move |handler: &Handler, _: &str| match numbers.contains(&handler.session.number) {
                true => Availability::Gone,
                false => Availability::Ready(0),
            }
        };
        let chosen =
            |registry: &mut Registry, numbers| match registry.choose(path("a/b"), &mut Random::new(1), gone(numbers)) {
                Chosen::Handler(path, handler) => Some((path.to_string(), handler.session.number)),
                Chosen::Nobody | Chosen::AllFull(..) => None,
            };
        let paths = registry.retire(session(2)).expect("registered");
        assert_eq!(chosen(&mut registry, &[2]), Some(("a/b".to_owned(), 3)));
        registry.retire(session(3));
        assert_eq!(chosen(&mut registry, &[2, 3]), Some(("a".to_owned(), 1)));
        // Somebody else is there by now.
        register(&mut registry, 4, "a/b");
        for path in paths {
            registry.take_out(session(2), &path);
        }
        assert_eq!(chosen(&mut registry, &[2, 3]), Some(("a/b".to_owned(), 4)));
        registry.retire(session(1));
        registry.deregister_all(session(4));
        assert_eq!(chosen(&mut registry, &[1, 2, 3]), None);
    }

    /// V22.
    #[test]
    fn paths_that_collide_take_no_longer_than_others() {
        collisions::assert_take_no_longer(|paths| {
            let mut registry = Registry::new(1);
            for (number, path) in paths.iter().enumerate() {
                register(&mut registry, number as u64, path);
            }
            assert!(paths.iter().all(|path| chosen(&mut registry, path).is_some()));
        });
    }

    #[test]
    fn ten_thousand_at_one_path_leave_it_in_no_more_time_than_they_came() {
        let mut registry = Registry::new(100);
        for number in 0..10_000 {
            register(&mut registry, number, "a");
        }
        for number in 0..9_999 {
            registry.deregister_all(session(number));
        }
        assert_eq!(chosen(&mut registry, "a"), Some(("a".to_owned(), 9_999)));
        registry.deregister_all(session(9_999));
        assert_eq!(chosen(&mut registry, "a"), None);
    }
}
