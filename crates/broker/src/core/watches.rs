//! Watches: which session wants to be told of the handlers for which paths, what it was told last, and whom a change may
//! concern (section 18.13).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;

use super::path::NormalPath;
use super::per_session::{PerSession, SessionKey};

/// Between two rounds in which sessions are told of changes: whatever happened meanwhile is told together. A round that takes
/// long is followed by a pause of so many times that.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_FACTOR: u32 = 4;

/// The handlers that a request to a path would go to: where they are registered, and how many there are.
pub(super) type Found = Option<(Arc<str>, usize)>;

/// A watch: its path, and the session whose it is, with the number by which that knows it.
pub(super) type Watch = (Arc<str>, SessionKey, ConversationId);

/// Of those at a path, none sorts before it.
const FIRST: (SessionKey, ConversationId) = (SessionKey { number: 0, place: 0 }, ConversationId(i64::MIN));

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// By path, so that those below a path stand together; with what the session was told last.
    told: BTreeMap<Watch, Found>,
    by_session: PerSession<BTreeMap<ConversationId, Arc<str>>>,
    /// Sessions that may ask for more or less than before, or can be told again.
    changed: BTreeSet<SessionKey>,
    round: Round,
    /// When the next one may begin.
    next_round: Moment,
}

/// What a round still has to look at.
#[derive(Debug, Default)]
struct Round {
    /// Handlers were registered there, or are there no more.
    paths: BTreeSet<Arc<str>>,
    sessions: BTreeSet<SessionKey>,
    began: Moment,
    /// The last watch that was looked at, of those that the first of them concerns.
    after: Option<Watch>,
}

impl Round {
    fn is_over(&self) -> bool {
        self.paths.is_empty() && self.sessions.is_empty()
    }
}

impl Watches {
    /// Number of watches that a session has.
    pub fn count(&self, session: SessionKey) -> usize {
        self.by_session.get(session).map_or(0, BTreeMap::len)
    }

    /// A session wants to be told of changes, and knows what there is now. A watch with the same number is no more.
    pub fn add(&mut self, session: SessionKey, number: ConversationId, path: NormalPath<'_>, found: Found) {
        self.remove(session, number);
        let of_session = self.by_session.get_or_default(session);
        let path: Arc<str> = path.as_str().into();
        of_session.insert(number, path.clone());
        self.told.insert((path, session, number), found);
    }

    /// A session does not want to be told any more.
    pub fn remove(&mut self, session: SessionKey, number: ConversationId) {
        let Some(of_session) = self.by_session.get_mut(session) else { return };
        if let Some(path) = of_session.remove(&number) {
            self.told.remove(&(path, session, number));
        }
        if of_session.is_empty() {
            self.by_session.remove(session);
        }
    }

    /// A session is over, or its past is forgotten. Returns how many watches it had.
    pub fn remove_all(&mut self, session: SessionKey) -> usize {
        let Some(of_session) = self.by_session.remove(session) else { return 0 };
        self.changed.remove(&session);
        self.round.sessions.remove(&session);
        let watches = of_session.len();
        for (number, path) in of_session {
            self.told.remove(&(path, session, number));
        }
        watches
    }

    /// Whether anybody wants to know of any change.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What a session may know has changed, or it can be told again of what it missed.
    pub fn look_again(&mut self, session: SessionKey) {
        if self.by_session.get(session).is_some() {
            self.changed.insert(session);
        }
    }

    /// What any session may know has changed.
    pub fn look_at_all_again(&mut self) {
        self.changed.extend(self.told.keys().map(|(_, session, _)| session));
    }

    /// When the next thing is to be done. `has_changed` says whether handlers have changed since the last round began.
    pub fn next_due(&self, has_changed: bool) -> Option<Moment> {
        let is_waiting = has_changed || !self.changed.is_empty();
        if self.round.is_over() { is_waiting.then_some(self.next_round) } else { Some(Moment::default()) }
    }

    /// Whether the last round is over and the next one may begin.
    pub fn may_begin(&self, now: Moment) -> bool {
        self.round.is_over() && self.next_round <= now
    }

    /// Begins a round: handlers have changed at `paths`.
    pub fn begin(&mut self, now: Moment, paths: BTreeSet<Arc<str>>) {
        self.round = Round { paths, sessions: std::mem::take(&mut self.changed), began: now, after: None };
    }

    /// The next watch that a change of this round may concern. Some may come twice.
    pub fn next(&mut self, now: Moment) -> Option<Watch> {
        while !self.round.is_over() {
            let after = self.round.after.take();
            let next = if let Some(path) = self.round.paths.first() {
                self.below(path, after)
            } else {
                self.round.sessions.first().and_then(|session| self.of_session(*session, after))
            };
            if next.is_some() {
                self.round.after.clone_from(&next);
                return next;
            }
            if self.round.paths.pop_first().is_none() {
                self.round.sessions.pop_first();
            }
            self.next_round = now + PAUSE.max(now.since(self.round.began) * PAUSE_FACTOR);
        }
        None
    }

    /// The first watch of a path or of one below it, after this one.
    fn below(&self, path: &Arc<str>, after: Option<Watch>) -> Option<Watch> {
        let from = |path: Arc<str>| {
            let (session, number) = FIRST;
            self.told.range((path, session, number)..).next().map(|(watch, _)| watch)
        };
        let found = match after {
            Some(after) => self.told.range((Excluded(after), Unbounded)).next().map(|(watch, _)| watch),
            None => from(path.clone()),
        }?;
        if found.0 == *path {
            return Some(found.clone());
        }
        // Between a path and those below it others may stand: `a-b` between `a` and `a/b`.
        let below: Arc<str> = format!("{path}/").into();
        let found = if found.0 < below { from(below.clone())? } else { found };
        found.0.starts_with(&*below).then(|| found.clone())
    }

    /// The first watch of a session, after this one.
    fn of_session(&self, session: SessionKey, after: Option<Watch>) -> Option<Watch> {
        let of_session = self.by_session.get(session)?;
        let (number, path) = match after {
            Some((_, of, after)) if of == session => of_session.range((Excluded(after), Unbounded)).next()?,
            // None, or one of a session that is over since then.
            _ => of_session.first_key_value()?,
        };
        Some((path.clone(), session, *number))
    }

    /// Takes note of what there is for a watch now. Returns whether the session does not know that.
    pub fn tell(&mut self, watch: &Watch, found: &Found) -> bool {
        let Some(told) = self.told.get_mut(watch) else { return false };
        let is_news = told != found;
        if is_news {
            told.clone_from(found);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What can happen to watches. Sessions and paths by number.
    #[derive(Clone, Debug)]
    enum Step {
        Add(usize, i64, &'static str),
        Remove(usize, i64),
        End(usize),
        /// So many handlers are at this path now.
        Handlers(&'static str, usize),
        /// A session may know of handlers, or not.
        Permit(usize, bool),
        PermitAll(bool),
        /// So many watches are looked at, after some milliseconds.
        Round(u64, usize),
    }

    const PATHS: [&str; 7] = ["a", "a-b", "a/b", "a/b/c", "a0", "ab", "b"];

    fn step() -> impl Strategy<Value = Step> {
        let (session, number, path) = (0..3_usize, 0..4_i64, prop::sample::select(&PATHS[..]));
        prop_oneof![
            4 => (session.clone(), number.clone(), path.clone()).prop_map(|(session, number, path)| Step::Add(session, number, path)),
            1 => (session.clone(), number).prop_map(|(session, number)| Step::Remove(session, number)),
            1 => session.clone().prop_map(Step::End),
            4 => (path, 0..3_usize).prop_map(|(path, handlers)| Step::Handlers(path, handlers)),
            1 => (session, any::<bool>()).prop_map(|(session, may)| Step::Permit(session, may)),
            1 => any::<bool>().prop_map(Step::PermitAll),
            4 => (0..100_u64, 0..4_usize).prop_map(|(wait, watches)| Step::Round(wait, watches)),
        ]
    }

    /// The handlers at each path, and who may know of them.
    #[derive(Default)]
    struct World {
        handlers: BTreeMap<&'static str, usize>,
        may_not: BTreeSet<usize>,
        changed: BTreeSet<Arc<str>>,
    }

    impl World {
        fn found(&self, session: SessionKey, path: &str) -> Found {
            let beginnings = NormalPath::new(path).expect("a path").beginnings();
            let most_specific =
                beginnings.filter(|path| self.handlers.get(path).is_some_and(|count| *count > 0)).last();
            let path = most_specific.filter(|_| !self.may_not.contains(&session.place))?;
            Some((path.into(), self.handlers[path]))
        }
    }

    /// Looks at so many watches, and tells what is news.
    fn look(watches: &mut Watches, world: &mut World, now: Moment, most: usize) -> Vec<(Watch, Found)> {
        let mut told = Vec::new();
        if watches.may_begin(now) {
            watches.begin(now, std::mem::take(&mut world.changed));
        }
        for _ in 0..most {
            let Some(watch) = watches.next(now) else { break };
            let found = world.found(watch.1, &watch.0);
            if watches.tell(&watch, &found) {
                told.push((watch, found));
            }
        }
        told
    }

    #[test]
    fn a_session_that_ends_in_the_middle_of_a_round_hides_no_watch_of_the_next_session() {
        let (first, second) = (SessionKey { number: 0, place: 0 }, SessionKey { number: 1, place: 1 });
        let mut watches = Watches::default();
        for (session, number) in [(first, 1), (first, 2), (second, 0)] {
            watches.add(session, ConversationId(number), NormalPath::new("a").expect("a path"), None);
        }
        watches.look_at_all_again();
        watches.begin(Moment(0), BTreeSet::new());
        assert_eq!(watches.next(Moment(0)), Some(("a".into(), first, ConversationId(1))));
        watches.remove_all(first);
        assert_eq!(watches.next(Moment(0)), Some(("a".into(), second, ConversationId(0))));
        assert_eq!(watches.next(Moment(0)), None);
    }

    proptest! {
        #[test]
        fn every_watch_converges(steps in prop::collection::vec(step(), 0..100)) {
            let mut watches = Watches::default();
            let mut world = World::default();
            let mut sessions: Vec<_> = (0..3).map(|place| SessionKey { number: place as u64, place }).collect();
            let (mut now, mut opened) = (Moment(0), 3);
            // What each client knows, and when it was told last.
            let mut known: BTreeMap<(SessionKey, i64), (&str, Found)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Add(session, number, path) => {
                        let session = sessions[session];
                        let found = world.found(session, path);
                        let normal = NormalPath::new(path).expect("a path");
                        watches.add(session, ConversationId(number), normal, found.clone());
                        known.insert((session, number), (path, found));
                        let of_session = known.keys().filter(|(of, _)| *of == session).count();
                        prop_assert_eq!(watches.count(session), of_session);
                    }
                    Step::Remove(session, number) => {
                        known.remove(&(sessions[session], number));
                        watches.remove(sessions[session], ConversationId(number));
                    }
                    Step::End(session) => {
                        let key = sessions[session];
                        let before = known.len();
                        known.retain(|(of, _), _| *of != key);
                        prop_assert_eq!(watches.remove_all(key), before - known.len());
                        sessions[session].number = opened;
                        opened += 1;
                    }
                    Step::Handlers(path, handlers) => {
                        world.handlers.insert(path, handlers);
                        world.changed.insert(path.into());
                    }
                    Step::Permit(session, may) => {
                        if may { world.may_not.remove(&session); } else { world.may_not.insert(session); }
                        watches.look_again(sessions[session]);
                    }
                    Step::PermitAll(may) => {
                        world.may_not = if may { BTreeSet::new() } else { (0..3).collect() };
                        watches.look_at_all_again();
                    }
                    Step::Round(wait, most) => {
                        now = now + Duration::from_millis(wait);
                        for ((path, session, number), found) in look(&mut watches, &mut world, now, most) {
                            let (at, before) = known.get_mut(&(session, number.0)).expect("a watch");
                            prop_assert_eq!((&*path, before != &found), (*at, true), "it is told what it does not know");
                            *before = found;
                        }
                    }
                }
                prop_assert_eq!(watches.is_empty(), known.is_empty());
            }
            // Nothing changes any more.
            while let Some(due) = watches.next_due(!world.changed.is_empty()) {
                now = now.max(due);
                for ((_, session, number), found) in look(&mut watches, &mut world, now, usize::MAX) {
                    known.get_mut(&(session, number.0)).expect("a watch").1 = found;
                }
            }
            for ((session, _), (path, found)) in known {
                prop_assert_eq!(found, world.found(session, path), "{}", path);
            }
        }
    }

    #[test]
    fn changes_within_a_pause_are_told_together() {
        let mut watches = Watches::default();
        let path = NormalPath::new("a").expect("a path");
        let (session, number) = (SessionKey { number: 0, place: 0 }, ConversationId(1));
        watches.add(session, number, path, None);
        assert_eq!((watches.next_due(false), watches.next_due(true)), (None, Some(Moment(0))));
        let now = Moment(1_000_000);
        watches.begin(now, [Arc::from("a")].into());
        assert_eq!(watches.next(now), Some((Arc::from("a"), session, number)));
        assert_eq!(watches.next_due(false), Some(Moment(0)), "it is not over");
        let later = now + PAUSE;
        assert_eq!(watches.next(later), None);
        // It took as long as a pause.
        let next = later + PAUSE * PAUSE_FACTOR;
        assert_eq!((watches.next_due(true), watches.may_begin(later)), (Some(next), false));
        assert!(watches.may_begin(next));
    }
}
