//! Chooses which of a path's handlers gets a request.

use super::per_session::SessionKey;
use super::registry::Handler;

/// Whether the session of a handler can take a request, with the number that it has to answer. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Availability {
    /// It has a connection, and room for another request.
    Ready(usize),
    /// It has room, but no connection at the moment.
    Disconnected(usize),
    /// It has as many to answer as it may have.
    Full,
}

/// Draws two different handlers at random and chooses the one with fewer requests to answer. That reaches all, favours
/// those that keep up, and takes the same time for two handlers and for a thousand.
///
/// If neither of the two is ready, the others are looked at one after the other until one is: a request waits for a
/// session without a connection only if no handler is ready (rules S-10), and nothing is returned only if all are full.
/// That takes time in proportion to the number of handlers where few of them are ready.
pub(super) fn choose<'a>(
    handlers: &'a [Handler],
    random: &mut Random,
    availability: impl Fn(SessionKey) -> Availability,
) -> Option<&'a Handler> {
    let first = random.below(handlers.len());
    // One of the others, if there are any.
    let second = (first + 1 + random.below(handlers.len() - 1)) % handlers.len();
    let better = [first, second].into_iter().min_by_key(|at| availability(handlers[*at].session))?;
    if matches!(availability(handlers[better].session), Availability::Ready(_)) {
        return Some(&handlers[better]);
    }
    let mut best = None;
    for handler in handlers[better..].iter().chain(&handlers[..better]) {
        match availability(handler.session) {
            Availability::Ready(_) => return Some(handler),
            Availability::Disconnected(to_answer) if best.is_none_or(|(least, _)| to_answer < least) => {
                best = Some((to_answer, handler));
            }
            Availability::Disconnected(_) | Availability::Full => {}
        }
    }
    best.map(|(_, handler)| handler)
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
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use antiphon_protocol::wire::primitives::ConversationId;

    use super::*;
    use crate::core::properties::Selection;

    /// How often each of some handlers is chosen in a thousand times; and how often anybody's was asked for.
    fn choices(availabilities: &[Availability]) -> (Vec<usize>, usize) {
        let handler = |place| Handler {
            session: SessionKey { number: place as u64, place },
            registration: ConversationId(1),
            selection: Selection::default(),
        };
        let handlers: Vec<_> = (0..availabilities.len()).map(handler).collect();
        let (mut random, mut chosen, asked) = (Random::new(7), vec![0; availabilities.len()], Cell::new(0));
        for _ in 0..1000 {
            let availability = |key: SessionKey| {
                asked.set(asked.get() + 1);
                availabilities[key.place]
            };
            if let Some(handler) = choose(&handlers, &mut random, availability) {
                chosen[handler.session.place] += 1;
            }
        }
        (chosen, asked.get())
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
    fn a_few_that_are_full_cost_little() {
        let availabilities: Vec<_> =
            (0..1000).map(|at| if at % 10 == 0 { Availability::Full } else { Availability::Ready(0) }).collect();
        assert!(choices(&availabilities).1 < 5 * 1000);
    }
}
