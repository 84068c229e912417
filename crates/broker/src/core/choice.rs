//! Which of the handlers of a path gets a request.

use super::per_session::SessionKey;
use super::registry::Handler;

/// How the session of a handler stands. The least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It has a connection, and so many to answer.
    Ready(usize),
    /// It has so many to answer, and no connection at the moment.
    Away(usize),
}

/// Of two different handlers drawn at random the one with fewer requests to answer. That reaches all, favours those that
/// keep up, and takes the same time for two handlers and for a thousand.
///
/// One that has lost its connection is chosen only if all have (rules S-10).
pub(super) fn choose<'a>(
    handlers: &'a [Handler],
    random: &mut Random,
    standing: impl Fn(SessionKey) -> Standing,
) -> &'a Handler {
    let first = random.below(handlers.len());
    // One of the others, if there are any.
    let second = (first + 1 + random.below(handlers.len() - 1)) % handlers.len();
    let standing = |at: usize| standing(handlers[at].session);
    let better = if standing(second) < standing(first) { second } else { first };
    let from_there_on = (better..handlers.len()).chain(0..better);
    let ready = from_there_on.into_iter().find(|at| matches!(standing(*at), Standing::Ready(_)));
    &handlers[ready.unwrap_or(better)]
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
