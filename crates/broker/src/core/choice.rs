//! Which of the handlers of a path gets a request.

use super::per_session::SessionKey;
use super::registry::Handler;

/// How the session of a handler stands. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has a connection, room for another request, and so many to answer.
    Ready(usize),
    /// It has room and so many to answer, but no connection at the moment.
    Away(usize),
    /// It has as many to answer as it may have.
    Full,
}

/// Of two different handlers drawn at random the one with fewer requests to answer. That reaches all, favours those that
/// keep up, and takes the same time for two handlers and for a thousand.
///
/// If neither of the two is ready, the others are looked at one after the other until one is: a request waits for a
/// session without a connection only if no handler is ready (rules S-10), and nothing is returned only if all are full.
/// That takes time in proportion to the number of handlers where few of them are ready.
pub(super) fn choose<'a>(
    handlers: &'a [Handler],
    random: &mut Random,
    standing: impl Fn(SessionKey) -> Standing,
) -> Option<&'a Handler> {
    let first = random.below(handlers.len());
    // One of the others, if there are any.
    let second = (first + 1 + random.below(handlers.len() - 1)) % handlers.len();
    let better = [first, second].into_iter().min_by_key(|at| standing(handlers[*at].session))?;
    if matches!(standing(handlers[better].session), Standing::Ready(_)) {
        return Some(&handlers[better]);
    }
    let mut best = None;
    for handler in handlers[better..].iter().chain(&handlers[..better]) {
        match standing(handler.session) {
            Standing::Ready(_) => return Some(handler),
            Standing::Away(to_answer) if best.is_none_or(|(least, _)| to_answer < least) => {
                best = Some((to_answer, handler));
            }
            Standing::Away(_) | Standing::Full => {}
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

    /// How often each of some handlers is chosen in a thousand times; and how often anybody's standing was asked.
    fn choices(standings: &[Standing]) -> (Vec<usize>, usize) {
        let handler = |place| Handler {
            session: SessionKey { number: place as u64, place },
            registration: ConversationId(1),
            selection: Selection::default(),
        };
        let handlers: Vec<_> = (0..standings.len()).map(handler).collect();
        let (mut random, mut chosen, asked) = (Random::new(7), vec![0; standings.len()], Cell::new(0));
        for _ in 0..1000 {
            let standing = |key: SessionKey| {
                asked.set(asked.get() + 1);
                standings[key.place]
            };
            if let Some(handler) = choose(&handlers, &mut random, standing) {
                chosen[handler.session.place] += 1;
            }
        }
        (chosen, asked.get())
    }

    #[test]
    fn one_that_is_ready_is_found_wherever_it_is_and_however_much_it_has_to_answer() {
        use Standing::{Away, Full, Ready};
        for at in 0..10 {
            let mut standings = [Full; 10];
            standings[(at + 3) % 10] = Away(0);
            standings[at] = Ready(4999);
            assert_eq!(choices(&standings).0[at], 1000, "{standings:?}");
        }
        assert_eq!(choices(&[Full, Away(2), Full, Away(1)]).0, [0, 0, 0, 1000]);
        assert_eq!(choices(&[Full, Full, Full]).0, [0, 0, 0]);
        assert_eq!(
            (choices(&[Ready(0)]).0, choices(&[Away(0)]).0, choices(&[Full]).0),
            (vec![1000], vec![1000], vec![0])
        );
    }

    #[test]
    fn all_that_are_ready_are_chosen_and_those_with_less_to_answer_more_often() {
        use Standing::Ready;
        let (chosen, asked) = choices(&[[Ready(1); 500], [Ready(0); 500]].concat());
        let idle: usize = chosen[500..].iter().sum();
        assert!((700..800).contains(&idle), "three quarters, not {idle}");
        assert!(asked <= 4 * 1000, "as many looks as for two handlers, not {asked}");
        assert!(choices(&[Ready(3); 4]).0.iter().all(|times| (150..350).contains(times)));
    }

    #[test]
    fn a_few_that_are_full_cost_little() {
        let standings: Vec<_> =
            (0..1000).map(|at| if at % 10 == 0 { Standing::Full } else { Standing::Ready(0) }).collect();
        assert!(choices(&standings).1 < 5 * 1000);
    }
}
