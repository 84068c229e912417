//! The request handlers at a path, and which of them gets a request.

use std::sync::Arc;

use antiphon_protocol::wire::primitives::ConversationId;

use super::per_session::{Numbered, SessionKey, give_back};
use super::properties::Selection;

/// One session's request handler at one path.
#[derive(Debug)]
pub(super) struct Handler {
    pub session: SessionKey,
    /// The conversation of its registration: named by the client, and again in every request that it gets.
    pub registration: ConversationId,
    /// The properties of the sender that it wants, if it wants any.
    pub selection: Option<Arc<Selection>>,
    pub capacity: Capacity,
}

/// How many requests a handler takes, as its registration says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Capacity {
    /// At a time; 0 for as many as come.
    pub at_a_time: u32,
    /// How many more may wait on its account while all handlers at the path have as many as they take.
    pub waiting: u32,
}

/// Whether a handler, or its session, can take a request, with the number that it has to answer. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Availability {
    /// It has a connection, and room for another request.
    Ready(usize),
    /// It has room, but no connection at the moment, or one on which it is silent.
    Disconnected(usize),
    /// Its handler at the path has as many as it takes at a time.
    Busy,
    /// It has as many to answer as it may have.
    Full,
    /// It is over.
    Gone,
}

/// The request handlers at one path, in three parts: those that can take requests, as far as is known; those that were found
/// without a connection; those that were found full. So none of the others is looked at to find one that is ready.
///
/// Whoever finds that one of them can do less than its part says sets it back; who learns that a session can do more again
/// [brings it forward](Self::bring_forward). A part may promise too much, never too little.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    handlers: Vec<Handler>,
    /// Where the second and the third part begin.
    absent: usize,
    full: usize,
    /// How many requests may wait for them.
    waiting: u64,
    /// Where each session is, once there are many.
    places: Option<Box<Numbered<u64, usize>>>,
}

/// Handlers among which one is found by looking at all of them.
const FEW: usize = 32;

impl Handlers {
    pub fn len(&self) -> usize {
        self.handlers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    /// The one at a place that was chosen just now.
    pub fn get(&self, at: usize) -> Option<&Handler> {
        self.handlers.get(at)
    }

    /// A selection, as one of the handlers has it if that wants the same: those of a path do, mostly.
    pub fn shared(&self, selection: Selection) -> Arc<Selection> {
        let other = self.handlers.first().and_then(|handler| handler.selection.as_ref());
        other.filter(|other| ***other == selection).cloned().unwrap_or_else(|| Arc::new(selection))
    }

    /// How many requests may wait while all have as many as they take.
    pub fn may_wait(&self) -> u64 {
        self.waiting
    }

    /// Adds one, of a session that has none here.
    pub fn insert(&mut self, handler: Handler) {
        let (session, at) = (handler.session, self.handlers.len());
        self.waiting += u64::from(handler.capacity.waiting);
        if at == 0 {
            // Most paths have one handler, and there may be very many paths.
            self.handlers.reserve_exact(1);
        }
        self.handlers.push(handler);
        if let Some(places) = &mut self.places {
            places.insert(session.number, at);
        } else if at >= FEW {
            let numbered = |(at, handler): (usize, &Handler)| (handler.session.number, at);
            self.places = Some(Box::new(self.handlers.iter().enumerate().map(numbered).collect()));
        }
        self.bring_forward_from(at);
    }

    /// Takes one out, if it is there.
    pub fn remove(&mut self, session: SessionKey) -> Option<Handler> {
        let at = self.place_of(session)?;
        let at = self.set_back(at, true);
        let last = self.handlers.len() - 1;
        self.swap(at, last);
        let handler = self.handlers.pop();
        self.waiting -= handler.as_ref().map_or(0, |handler| u64::from(handler.capacity.waiting));
        if let Some(places) = &mut self.places {
            places.remove(&session.number);
            give_back(places);
        }
        if self.handlers.capacity() > FEW && self.handlers.len() < self.handlers.capacity() / 4 {
            self.handlers.shrink_to(2 * self.handlers.len());
        }
        handler
    }

    /// A session can take requests again.
    pub fn bring_forward(&mut self, session: SessionKey) {
        if let Some(at) = self.place_of(session) {
            self.bring_forward_from(at);
        }
    }

    /// Draws two different handlers at random and chooses the one with fewer requests to answer. That reaches all and favours
    /// those that keep up.
    ///
    /// A request waits for a session without a connection only if no handler is ready (rules S-10), and nothing is returned
    /// only if all are full. Whoever is drawn and turns out to be neither is set back, and is not drawn again until it is
    /// brought forward; so choosing takes the same time for two handlers and for ten thousand, whatever became of them.
    /// `tell` is called for each that is set back on account of its session. One whose session is over is taken out.
    pub fn choose(
        &mut self,
        random: &mut Random,
        availability: impl Fn(&Handler) -> Availability,
        mut tell: impl FnMut(SessionKey),
    ) -> Option<usize> {
        // Ever fewer: whoever is not taken is set back.
        loop {
            let drawn_from = if self.absent > 0 { self.absent } else { self.full };
            if drawn_from == 0 {
                return None;
            }
            let first = random.below(drawn_from);
            // One of the others, if there are any.
            let second = (first + 1 + random.below(drawn_from - 1)) % drawn_from;
            let look = |at: usize| availability(&self.handlers[at]);
            let found = look(first);
            let other = if second == first { found } else { look(second) };
            let (found, at) = if other < found { (other, second) } else { (found, first) };
            let session = self.handlers[at].session;
            match found {
                Availability::Ready(_) => return Some(at),
                Availability::Disconnected(_) if self.absent == 0 => return Some(at),
                Availability::Disconnected(_) => {
                    self.set_back(at, false);
                    tell(session);
                }
                Availability::Busy => {
                    self.set_back(at, true);
                }
                Availability::Full => {
                    self.set_back(at, true);
                    tell(session);
                }
                Availability::Gone => drop(self.remove(session)),
            }
        }
    }

    /// Puts a handler into the second part, or into the third. Returns where it is then.
    fn set_back(&mut self, mut at: usize, is_full: bool) -> usize {
        if at < self.absent {
            self.absent -= 1;
            self.swap(at, self.absent);
            at = self.absent;
        }
        if is_full && at < self.full {
            self.full -= 1;
            self.swap(at, self.full);
            at = self.full;
        }
        at
    }

    /// Puts a handler into the first part.
    fn bring_forward_from(&mut self, mut at: usize) {
        if at >= self.full {
            self.swap(at, self.full);
            at = self.full;
            self.full += 1;
        }
        if at >= self.absent {
            self.swap(at, self.absent);
            self.absent += 1;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.handlers.swap(one, other);
        if let Some(places) = &mut self.places {
            for at in [one, other] {
                places.insert(self.handlers[at].session.number, at);
            }
        }
    }

    fn place_of(&self, session: SessionKey) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&session.number).copied(),
            None => self.handlers.iter().position(|handler| handler.session == session),
        }
    }
}

/// Numbers for choosing among equals (SplitMix64); nothing secret depends on them.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Equal seeds give equal numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`; 0 if there is none.
    fn below(&mut self, limit: usize) -> usize {
        if limit <= 1 {
            // Most paths have one handler.
            return 0;
        }
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    /// How often each of some handlers is chosen in a thousand times; and how often anybody's availability was asked for.
    fn choices(availabilities: &[Availability]) -> (Vec<usize>, usize) {
        let (mut random, mut chosen, asked) = (Random::new(7), vec![0; availabilities.len()], Cell::new(0));
        let mut handlers = handlers(availabilities.len());
        for _ in 0..1000 {
            let availability = |handler: &Handler| {
                asked.set(asked.get() + 1);
                availabilities[handler.session.place]
            };
            if let Some(at) = handlers.choose(&mut random, availability, |_| {}) {
                chosen[handlers.handlers[at].session.place] += 1;
            }
        }
        (chosen, asked.get())
    }

    fn handler(session: SessionKey) -> Handler {
        let (selection, capacity) = (None, Capacity { at_a_time: 0, waiting: 2 });
        Handler { session, registration: ConversationId(1), selection, capacity }
    }

    fn handlers(count: usize) -> Handlers {
        let mut handlers = Handlers::default();
        for place in 0..count {
            let session = SessionKey { number: place as u64, place };
            handlers.insert(handler(session));
        }
        handlers
    }

    #[test]
    fn one_that_is_ready_is_found_wherever_it_is_and_however_much_it_has_to_answer() {
        use Availability::{Disconnected, Full, Ready};
        for at in 0..10 {
            let mut availabilities = [Full; 10];
            availabilities[(at + 3) % 10] = Disconnected(0);
            availabilities[at] = Ready(4999);
            assert_eq!(choices(&availabilities).0[at], 1000, "{availabilities:?}");
        }
        assert_eq!(choices(&[Full, Disconnected(2), Full, Disconnected(1)]).0, [0, 0, 0, 1000]);
        assert_eq!(choices(&[Full, Full, Full]).0, [0, 0, 0]);
        assert_eq!(
            (choices(&[Ready(0)]).0, choices(&[Disconnected(0)]).0, choices(&[Full]).0),
            (vec![1000], vec![1000], vec![0])
        );
    }

    #[test]
    fn all_that_are_ready_are_chosen_and_those_with_less_to_answer_more_often() {
        use Availability::Ready;
        let (chosen, asked) = choices(&[[Ready(1); 500], [Ready(0); 500]].concat());
        let idle: usize = chosen[500..].iter().sum();
        assert!((700..800).contains(&idle), "three quarters, not {idle}");
        assert!(asked <= 4 * 1000, "as many looks as for two handlers, not {asked}");
        assert!(choices(&[Ready(3); 4]).0.iter().all(|times| (150..350).contains(times)));
    }

    #[test]
    fn those_that_can_take_nothing_cost_nothing() {
        use Availability::{Disconnected, Full, Ready};
        for other in [Disconnected(0), Full] {
            let availabilities = [&[other; 9_999][..], &[Ready(0)]].concat();
            let (chosen, asked) = choices(&availabilities);
            assert_eq!(chosen[9_999], 1000);
            assert!(asked <= 2 * (10_000 + 1000), "each is found out once, not {asked}");
        }
        let (_, asked) = choices(&[Disconnected(0); 10_000]);
        assert!(asked <= 2 * (10_000 + 1000), "{asked}");
        let (_, asked) = choices(&[Full; 10_000]);
        assert!(asked <= 2 * 10_000, "{asked}");
    }

    proptest! {
        #[test]
        fn whatever_happens_one_that_is_ready_is_chosen_if_there_is_one(
            steps in prop::collection::vec((0..50_usize, 0..5_u8), 1..300),
        ) {
            use Availability::{Busy, Disconnected, Full, Ready};
            let mut handlers = handlers(50);
            let (mut states, mut present, mut random) = (vec![Ready(0); 50], vec![true; 50], Random::new(3));
            for (place, step) in steps {
                let session = SessionKey { number: place as u64, place };
                match step {
                    0..=2 if present[place] => {
                        let (new, old) = ([Full, Disconnected(1), Busy][usize::from(step)], states[place]);
                        states[place] = new;
                        if new < old {
                            handlers.bring_forward(session);
                        }
                    }
                    3 if present[place] => {
                        states[place] = Ready(1);
                        handlers.bring_forward(session);
                    }
                    _ if present[place] => {
                        handlers.remove(session);
                        present[place] = false;
                    }
                    _ => {
                        handlers.insert(handler(session));
                        (present[place], states[place]) = (true, Ready(0));
                    }
                }
                let chosen = handlers.choose(&mut random, |handler| states[handler.session.place], |_| {});
                let chosen = chosen.map(|at| handlers.handlers[at].session);
                let open = || (0..50).filter(|place| present[*place]);
                prop_assert_eq!(handlers.may_wait(), 2 * open().count() as u64);
                match chosen {
                    None => prop_assert!(open().all(|place| states[place] >= Busy)),
                    Some(key) => {
                        prop_assert!(present[key.place] && states[key.place] < Busy);
                        let any_ready = open().any(|place| matches!(states[place], Ready(_)));
                        prop_assert_eq!(matches!(states[key.place], Ready(_)), any_ready);
                    }
                }
            }
        }
    }
}
