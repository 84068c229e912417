//! What sessions wait for: the exchanges of each sender.

use std::collections::BTreeSet;

use antiphon_protocol::wire::primitives::ConversationId;
use slab::Slab;

use super::exchange::Exchange;
use crate::core::per_session::{PerSession, SessionKey};

/// The exchanges whose senders wait, by sender: each is in one list, in the order in which they were opened.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// There are sessions that never ask.
    by_sender: PerSession<Box<Asking>>,
    /// Those beside each, by its index.
    neighbours: Vec<Neighbours>,
    count: usize,
}

/// The list of one sender.
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

/// The exchanges beside one in the list of its sender.
#[derive(Clone, Copy, Debug, Default)]
struct Neighbours {
    previous: Option<u32>,
    next: Option<u32>,
}

/// Exchanges of a sender among which those of a request are found by looking at all of them.
const FEW: usize = 8;

impl Asked {
    /// Adds one as the last of its sender.
    pub fn add(&mut self, index: usize, exchange: &Exchange) {
        let asking = self.by_sender.get_or_default(exchange.sender);
        asking.count += 1;
        asking.bytes += exchange.bytes as usize;
        if let Some(by_request) = &mut asking.by_request {
            by_request.insert((exchange.reply_to.request(), index));
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
        self.count += 1;
    }

    /// Takes one out that was added.
    pub fn remove(&mut self, index: usize, exchange: &Exchange) {
        let Some(asking) = self.by_sender.get_mut(exchange.sender) else { return };
        self.count -= 1;
        asking.count -= 1;
        asking.bytes -= exchange.bytes as usize;
        if let Some(by_request) = &mut asking.by_request {
            by_request.remove(&(exchange.reply_to.request(), index));
            if by_request.is_empty() {
                asking.by_request = None;
            }
        }
        let Neighbours { previous, next } = self.neighbours[index];
        match linked(&mut self.neighbours, previous) {
            Some(previous) => previous.next = next,
            None => asking.first = next,
        }
        match linked(&mut self.neighbours, next) {
            Some(next) => next.previous = previous,
            None => asking.last = previous,
        }
    }

    /// The exchanges of a sender's request, by their indices in `open`.
    pub fn of_request(&mut self, sender: SessionKey, request: ConversationId, open: &Slab<Exchange>) -> Vec<usize> {
        let Some(asking) = self.by_sender.get_mut(sender) else { return Vec::new() };
        let list = List { neighbours: &self.neighbours, next: asking.first };
        let request_of = |index: usize| open.get(index).map(|exchange| exchange.reply_to.request());
        if asking.count <= FEW {
            return list.filter(|index| request_of(*index) == Some(request)).collect();
        }
        let by_request = asking
            .by_request
            .get_or_insert_with(|| list.filter_map(|index| Some((request_of(index)?, index))).collect());
        by_request.range((request, 0)..=(request, usize::MAX)).map(|(_, index)| *index).collect()
    }

    /// All exchanges of a sender, which are about to be taken out.
    pub fn all_of(&mut self, sender: SessionKey) -> Vec<usize> {
        let Some(asking) = self.by_sender.get_mut(sender) else { return Vec::new() };
        asking.by_request = None;
        List { neighbours: &self.neighbours, next: asking.first }.collect()
    }

    /// Number of the exchanges of a sender, and the sum of their bytes.
    pub fn by(&self, sender: SessionKey) -> (usize, usize) {
        self.by_sender.get(sender).map_or((0, 0), |asking| (asking.count, asking.bytes))
    }

    /// Number of all.
    pub fn len(&self) -> usize {
        self.count
    }

    /// A session is over, and has none any more.
    pub fn forget(&mut self, sender: SessionKey) {
        self.by_sender.remove(sender);
    }

    /// Gives back the room of a burst, when there are none.
    pub fn give_back(&mut self) {
        self.neighbours = Vec::new();
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
    neighbours: &'a [Neighbours],
    next: Option<u32>,
}

impl Iterator for List<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let index = self.next? as usize;
        self.next = self.neighbours.get(index)?.next;
        Some(index)
    }
}
