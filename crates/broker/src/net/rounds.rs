//! Whose connections are read from: those of one address share what is read in a round of large messages, and of what is only
//! put aside since the client has had its share. So whoever comes from elsewhere waits for that, and not until all of them
//! were read from, however many they are. Whoever asks for no more than its share waits only while others of its own address ask
//! for more, and those that read little have their turns in one round.
//!
//! What is done on a connection without a session is shared out as well, in steps: HTTP, TLS and a login are much work for few
//! bytes. Those of one address have a share of their own: whoever has a session there does not wait for all who come.
//!
//! A round is what happens between two turns of the task that [`Rounds::run`] is: everything that was ready before it.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

use super::admission::Network;
use crate::core::give_back;

/// Bytes that are read from one address in a round, about: what takes a few tenths of a millisecond. A neighbour's request
/// waits for two rounds or three, and each may have a turn of the core besides.
const BYTES_IN_A_ROUND: usize = 16 << 10;
/// What a read counts for besides its bytes.
const READ: usize = 512;

/// What is done without a session, and what a step of it counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A connection, an HTTP request or a first message: about an eighth of a millisecond.
    Request,
    /// A part of a TLS handshake: a key is agreed on and something is signed, which takes up to a millisecond.
    Handshake,
}

impl Step {
    fn bytes(self) -> usize {
        match self {
            Self::Request => BYTES_IN_A_ROUND / 8,
            Self::Handshake => BYTES_IN_A_ROUND / 2,
        }
    }
}

/// Which connections share: those of one address, with a session or without.
type Sharing = (Network, bool);

/// The rounds of all addresses that have connections.
#[derive(Default)]
pub(super) struct Rounds {
    lanes: Mutex<HashMap<Sharing, Weak<Lane>>>,
    /// Those of which enough has been read in this round.
    spent: Mutex<Vec<Arc<Lane>>>,
    /// There is one.
    is_spent: Notify,
}

/// The connections that share.
struct Lane {
    whose: Sharing,
    /// What was read since a round began in which there was enough, in bytes.
    read: AtomicUsize,
    /// What of that was read in this round on connections that had waited, and whatever else these read.
    in_turn: AtomicUsize,
    waiting: Mutex<Waiting>,
}

/// Connections that are to be read from in a later round, in the order in which they came.
#[derive(Default)]
struct Waiting {
    last: u64,
    tasks: BTreeMap<u64, Waker>,
}

/// A connection among those that it shares with.
pub(super) struct Place {
    rounds: Arc<Rounds>,
    lane: Arc<Lane>,
    /// It is waiting, or was until just now.
    number: Option<u64>,
    /// It has waited, and may be read from now.
    has_turn: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing below panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rounds {
    /// The place of a connection, without a session so far.
    pub fn join(self: &Arc<Self>, network: Network) -> Place {
        self.place((network, false))
    }

    fn place(self: &Arc<Self>, whose: Sharing) -> Place {
        let mut lanes = lock(&self.lanes);
        let known = lanes.get(&whose).and_then(Weak::upgrade);
        let lane = known.unwrap_or_else(|| {
            let lane = Arc::new(Lane {
                whose,
                read: AtomicUsize::new(0),
                in_turn: AtomicUsize::new(0),
                waiting: Mutex::default(),
            });
            lanes.insert(whose, Arc::downgrade(&lane));
            lane
        });
        Place { rounds: self.clone(), lane, number: None, has_turn: false }
    }

    /// Begins a new round whenever something was spent in the last one, for ever.
    pub async fn run(&self) {
        loop {
            self.is_spent.notified().await;
            while !lock(&self.spent).is_empty() {
                // All that is ready now comes before.
                tokio::task::yield_now().await;
                self.begin();
            }
        }
    }

    fn begin(&self) {
        let mut spent = std::mem::take(&mut *lock(&self.spent));
        spent.retain(|lane| {
            lane.in_turn.store(0, Ordering::Relaxed);
            let mut waiting = lock(&lane.waiting);
            let next = waiting.tasks.pop_first();
            let is_left = !waiting.tasks.is_empty();
            // As long as somebody waits, whoever comes does so too.
            if !is_left {
                lane.read.store(0, Ordering::Relaxed);
            }
            drop(waiting);
            if let Some((_, task)) = next {
                task.wake();
            }
            if !is_left {
                self.leave(lane);
            }
            is_left
        });
        lock(&self.spent).append(&mut spent);
    }

    /// Somebody needs a lane no longer: it is forgotten if nobody else does.
    fn leave(&self, lane: &Arc<Lane>) {
        let mut lanes = lock(&self.lanes);
        if Arc::strong_count(lane) == 1 {
            lanes.remove(&lane.whose);
            give_back(&mut lanes);
        }
    }
}

impl Lane {
    /// Whoever has waited longest has a turn.
    fn wake_next(&self) {
        let next = lock(&self.waiting).tasks.pop_first();
        if let Some((_, task)) = next {
            task.wake();
        }
    }
}

impl Place {
    /// Ready if the connection may be read from in this round; if not, its task is woken when it may.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.has_turn = false;
        let is_spent = || self.lane.read.load(Ordering::Relaxed) >= BYTES_IN_A_ROUND;
        if self.number.is_none() && !is_spent() {
            return Poll::Ready(());
        }
        let mut waiting = lock(&self.lane.waiting);
        if let Some(number) = self.number {
            let Some(task) = waiting.tasks.get_mut(&number) else {
                (self.number, self.has_turn) = (None, true);
                return Poll::Ready(());
            };
            task.clone_from(context.waker());
            return Poll::Pending;
        }
        if !is_spent() {
            return Poll::Ready(());
        }
        waiting.last += 1;
        let number = waiting.last;
        waiting.tasks.insert(number, context.waker().clone());
        self.number = Some(number);
        Poll::Pending
    }

    /// There is nothing to read, or it is not wanted now: nobody waits for this connection, and if it has its turn, the next
    /// one has it.
    pub fn pass(&mut self) {
        if self.number.is_none() && !self.has_turn {
            return;
        }
        let mut waiting = lock(&self.lane.waiting);
        let is_waiting = self.number.take().map(|number| waiting.tasks.remove(&number).is_some());
        let has_turn = std::mem::take(&mut self.has_turn) || is_waiting == Some(false);
        drop(waiting);
        if has_turn {
            self.lane.wake_next();
        }
    }

    /// The connection has a session now.
    pub fn open(&mut self) {
        let (network, _) = self.lane.whose;
        *self = self.rounds.place((network, true));
    }

    /// Resolves when a step may be taken without a session, which is counted.
    pub async fn step(&mut self) {
        poll_fn(|context| self.poll(context)).await;
        self.stepped(Step::Request);
    }

    /// A step was taken.
    pub fn stepped(&mut self, step: Step) {
        self.read(step.bytes() - READ);
    }

    /// So many bytes were read, of a kind that is not shared out. The next one has its turn if there is time.
    pub fn used(&mut self, bytes: usize) {
        let more = READ + bytes;
        if std::mem::take(&mut self.has_turn)
            && self.lane.in_turn.fetch_add(more, Ordering::Relaxed) + more < BYTES_IN_A_ROUND
        {
            self.lane.wake_next();
        }
    }

    /// So many bytes were read, of a kind that is shared out.
    pub fn read(&mut self, bytes: usize) {
        self.used(bytes);
        let more = READ + bytes;
        let before = self.lane.read.fetch_add(more, Ordering::Relaxed);
        if (before..before.saturating_add(more)).contains(&(BYTES_IN_A_ROUND - 1)) {
            lock(&self.rounds.spent).push(self.lane.clone());
            self.rounds.is_spent.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pass();
        self.rounds.leave(&self.lane);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{IpAddr, Ipv4Addr};
    use std::pin::pin;

    use super::*;

    fn network(last: u8) -> Network {
        Network::of(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    fn with_session(rounds: &Arc<Rounds>, network: Network) -> Place {
        let mut place = rounds.join(network);
        place.open();
        place
    }

    fn may_read(place: &mut Place) -> bool {
        place.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// M-23.
    #[test]
    fn when_enough_was_read_from_an_address_its_connections_wait_and_others_do_not() {
        let rounds = Arc::new(Rounds::default());
        let mut places: Vec<_> = (0..10).map(|_| with_session(&rounds, network(1))).collect();
        let mut other = rounds.join(network(2));
        while may_read(&mut places[0]) {
            places[0].read(16 << 10);
        }
        assert!(places.iter_mut().all(|place| !may_read(place)));
        assert!(may_read(&mut other));
        // In the order in which they came, until enough is read in the round.
        for (first, bytes, turns) in [(0, 16 << 10, 1), (1, 10 << 10, 2), (3, 100, 7)] {
            rounds.begin();
            for at in first..first + turns {
                assert_eq!((0..10).filter(|at| may_read(&mut places[*at])).collect::<Vec<_>>(), [at]);
                places[at].read(bytes);
                // It has to wait for another turn, behind the others.
                assert!(!may_read(&mut places[at]));
            }
            if turns < 7 {
                assert!(places.iter_mut().all(|place| !may_read(place)));
            }
        }
    }

    /// M-23.
    #[test]
    fn whoever_has_a_session_does_not_wait_for_those_who_come_from_its_address() {
        let rounds = Arc::new(Rounds::default());
        let mut session = with_session(&rounds, network(1));
        let mut coming: Vec<_> = (0..500).map(|_| rounds.join(network(1))).collect();
        let mut context = Context::from_waker(Waker::noop());
        while may_read(&mut coming[0]) {
            coming[0].stepped(Step::Request);
        }
        assert!(!coming.iter_mut().any(may_read) && may_read(&mut session));
        // They have their share in each round, until all have had a turn.
        while !coming.is_empty() {
            rounds.begin();
            let before = coming.len();
            coming.retain_mut(|place| pin!(place.step()).poll(&mut context).is_pending());
            assert_eq!(before - coming.len(), before.min(8));
        }
        rounds.begin();
        // The other way round.
        while may_read(&mut session) {
            session.read(16 << 10);
        }
        assert!(may_read(&mut rounds.join(network(1))));
    }

    /// M-23.
    #[test]
    fn who_has_a_turn_and_nothing_to_read_passes_it_on_in_the_same_round() {
        let rounds = Arc::new(Rounds::default());
        let mut places: Vec<_> = (0..8).map(|_| with_session(&rounds, network(1))).collect();
        while may_read(&mut places[0]) {
            places[0].read(16 << 10);
        }
        assert!(places.iter_mut().all(|place| !may_read(place)));
        rounds.begin();
        // Two have nothing to read, one leaves, and one is not read from while it waits, or when its turn has come already.
        for place in &mut places[..2] {
            assert!(may_read(place));
            place.pass();
        }
        places[3].pass();
        drop(places.remove(2));
        places[3].pass();
        assert_eq!(
            places.iter_mut().map(may_read).collect::<Vec<_>>(),
            [false, false, false, false, true, false, false]
        );
        places[4].read(16 << 10);
        // It has had its turn.
        places[4].pass();
        assert!(places[5..].iter_mut().all(|place| !may_read(place)));
        rounds.begin();
        assert!(may_read(&mut places[5]) && !may_read(&mut places[6]));
    }

    #[test]
    fn whoever_leaves_is_not_waited_for_and_nothing_is_kept_of_an_address_without_connections() {
        let rounds = Arc::new(Rounds::default());
        let mut places: Vec<_> = (0..6).map(|_| rounds.join(network(1))).collect();
        places[0].read(BYTES_IN_A_ROUND);
        assert!(places.iter_mut().all(|place| !may_read(place)));
        places.drain(..5);
        rounds.begin();
        assert!(may_read(&mut places[0]));
        drop(places);
        assert!(lock(&rounds.lanes).is_empty() && lock(&rounds.spent).is_empty());
    }

    /// M-23.
    #[test]
    fn a_few_steps_without_a_session_are_a_round() {
        let rounds = Arc::new(Rounds::default());
        let mut places: Vec<_> = (0..100).map(|_| rounds.join(network(1))).collect();
        let mut context = Context::from_waker(Waker::noop());
        let steps = places.iter_mut().map(|place| pin!(place.step()).poll(&mut context));
        let taken = steps.filter(Poll::is_ready).count();
        assert!((4..=16).contains(&taken), "{taken}");
    }

    #[tokio::test]
    async fn a_round_ends_when_all_that_was_ready_has_had_its_turn() {
        let rounds = Arc::new(Rounds::default());
        let task = tokio::spawn({
            let rounds = rounds.clone();
            async move { rounds.run().await }
        });
        let mut place = rounds.join(network(1));
        for _ in 0..10 {
            poll_fn(|context| place.poll(context)).await;
            place.read(BYTES_IN_A_ROUND);
        }
        task.abort();
    }
}
