//! Messages that are not sent any more: they go in parts, between which others are served. To give back the memory of the
//! hundred thousand that may have waited for one client takes 20 ms.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::outgoing::Outgoing;

/// Messages that go at once: what takes about half a millisecond.
const MESSAGES: usize = 2048;
/// What so many bytes take is what a message takes.
const BYTES: usize = 4 << 10;

/// Of all connections, those that are still to go.
#[derive(Default)]
pub(super) struct Discarded {
    queues: Mutex<Vec<VecDeque<Outgoing>>>,
    more: Notify,
}

impl Discarded {
    /// These are not sent any more.
    pub fn add(&self, queue: VecDeque<Outgoing>) {
        if !queue.is_empty() {
            self.lock().push(queue);
            self.more.notify_one();
        }
    }

    /// Lets them go, for ever.
    pub async fn run(&self) {
        loop {
            self.more.notified().await;
            while self.let_some_go() {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether there are more.
    fn let_some_go(&self) -> bool {
        let mut left = MESSAGES;
        while left > 0
            && let Some(mut queue) = self.take()
        {
            while left > 0
                && let Some(outgoing) = queue.pop_back()
            {
                left = left.saturating_sub(1 + outgoing.amount().bytes / BYTES);
            }
            self.add(queue);
        }
        !self.lock().is_empty()
    }

    /// Nobody who adds some waits for what goes.
    fn take(&self) -> Option<VecDeque<Outgoing>> {
        let mut queues = self.lock();
        let queue = queues.pop();
        if queues.is_empty() {
            *queues = Vec::new();
        }
        queue
    }

    fn lock(&self) -> MutexGuard<'_, Vec<VecDeque<Outgoing>>> {
        // Nothing above panics.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn queue(messages: usize, bytes: usize) -> VecDeque<Outgoing> {
        (0..messages).map(|_| Outgoing::Alone(vec![0; bytes].into())).collect()
    }

    fn turns(discarded: &Discarded) -> usize {
        1 + std::iter::from_fn(|| discarded.let_some_go().then_some(())).count()
    }

    /// L-3.
    #[test]
    fn what_waited_goes_in_parts_by_number_and_by_bytes() {
        let discarded = Discarded::default();
        assert_eq!(turns(&discarded), 1);
        for _ in 0..3 {
            discarded.add(queue(MESSAGES, 10));
        }
        assert_eq!(turns(&discarded), 3);
        discarded.add(queue(64, 1 << 20));
        assert!((8..16).contains(&turns(&discarded)));
        assert!(discarded.lock().is_empty());
    }

    #[tokio::test]
    async fn all_of_it_goes_in_the_end() {
        let discarded = Discarded::default();
        let message = Bytes::from(vec![0; 10]);
        discarded.add((0..10 * MESSAGES).map(|_| Outgoing::Alone(message.clone())).collect());
        tokio::select! {
            () = discarded.run() => {}
            () = async { while !message.is_unique() { tokio::task::yield_now().await } } => {}
        }
    }
}
