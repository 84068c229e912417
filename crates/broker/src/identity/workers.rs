//! Threads that do one piece of work at a time for clients whom nobody knows yet, in fair turns by address.
//!
//! They have a lower priority than the broker's other threads, on Linux: however many wrong passwords come, sessions that are
//! open have the processors first.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Is told whether it has its turn; if not, it was left out because too many wait.
type Job = Box<dyn FnOnce(bool) + Send>;

/// Some threads, and who waits for one of them. The threads end when this is dropped.
pub(super) struct Workers {
    shared: Arc<Shared>,
    name: &'static str,
    max_threads: usize,
}

struct Shared {
    state: Mutex<State>,
    arrived: Condvar,
    max_waiting: usize,
}

/// Who waits: a line for each address, and the order in which the lines have their turns.
#[derive(Default)]
struct State {
    lines: HashMap<String, VecDeque<Job>>,
    turns: VecDeque<String>,
    waiting: usize,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl State {
    /// What is done next: one job of an address, then those of others.
    fn next(&mut self) -> Option<Job> {
        let address = self.turns.pop_front()?;
        let line = self.lines.get_mut(&address)?;
        let job = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&address);
        } else {
            self.turns.push_back(address);
        }
        self.waiting -= 1;
        job
    }

    fn push(&mut self, address: String, job: Job) {
        let line = self.lines.entry(address.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(address);
        }
        line.push_back(job);
        self.waiting += 1;
    }

    /// Makes room for somebody from `address`: whoever waits longest behind others of its own address has to go, unless that
    /// is this one. Returns who goes, if there is room then.
    fn make_room(&mut self, address: &str) -> Option<Job> {
        let own = self.lines.get(address).map_or(0, VecDeque::len);
        let longest = self.lines.values_mut().max_by_key(|line| line.len())?;
        if longest.len() <= own + 1 {
            return None;
        }
        let job = longest.pop_back()?;
        self.waiting -= 1;
        Some(job)
    }
}

impl Workers {
    pub fn new(name: &'static str, max_threads: usize, max_waiting: usize) -> Self {
        let shared = Shared { state: Mutex::default(), arrived: Condvar::new(), max_waiting };
        Self { shared: Arc::new(shared), name, max_threads: max_threads.max(1) }
    }

    /// Has something done for a client. If too many wait it is told so, now or later.
    pub fn enqueue(&self, client_ip: &str, job: impl FnOnce(bool) + Send + 'static) {
        let address = whose(client_ip);
        let mut state = self.shared.state();
        let left_out: Option<Job> = if state.waiting < self.shared.max_waiting {
            None
        } else {
            match state.make_room(&address) {
                Some(other) => Some(other),
                None => {
                    drop(state);
                    return job(false);
                }
            }
        };
        state.push(address, Box::new(job));
        if state.idle == 0 && state.threads < self.max_threads {
            state.threads += 1;
            let shared = self.shared.clone();
            let started = thread::Builder::new().name(self.name.into()).spawn(move || shared.work());
            if let Err(error) = started {
                state.threads -= 1;
                tracing::error!(%error, "cannot start a thread that checks {}", self.name);
            }
        }
        drop(state);
        self.shared.arrived.notify_one();
        if let Some(job) = left_out {
            job(false);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.arrived.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        step_back();
        let mut state = self.state();
        while !state.is_over {
            match state.next() {
                Some(job) => {
                    drop(state);
                    job(true);
                    state = self.state();
                }
                None => {
                    state.idle += 1;
                    state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            }
        }
    }
}

/// Lets other threads have the processors first.
fn step_back() {
    // There, it is a matter of the thread that asks; elsewhere, of the process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "cannot give passwords a lower priority");
    }
}

/// Who shares a line: an address, or a network of the size that one customer has.
fn whose(client_ip: &str) -> String {
    match client_ip.parse() {
        Ok(IpAddr::V6(address)) => address.segments()[..4].iter().map(|segment| format!("{segment:x}:")).collect(),
        _ => client_ip.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::collisions;

    /// V22.
    #[test]
    fn addresses_that_collide_take_no_longer_than_others() {
        collisions::assert_take_no_longer(|addresses| {
            let mut state = State::default();
            for address in addresses {
                state.push(address.clone(), Box::new(|_| ()));
            }
            assert_eq!(std::iter::from_fn(|| state.next()).count(), addresses.len());
        });
    }

    /// Workers whose one thread is busy until what is returned is dropped.
    fn occupied(max_waiting: usize) -> (Workers, mpsc::Sender<()>) {
        let workers = Workers::new("test", 1, max_waiting);
        let ((busy, is_busy), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
        workers.enqueue("192.0.2.9", move |_| {
            let _ = busy.send(());
            let _ = released.recv();
        });
        is_busy.recv().expect("it has begun");
        (workers, release)
    }

    #[test]
    fn addresses_take_turns() {
        let (workers, release) = occupied(100);
        let (done, order) = mpsc::channel();
        for (address, name) in [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2")] {
            let done = done.clone();
            workers.enqueue(address, move |has_turn| done.send((name, has_turn)).expect("heard"));
        }
        drop((release, done));
        let order: Vec<_> = order.iter().collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"].map(|name| (name, true)));
    }

    #[test]
    fn who_has_most_waiting_makes_room() {
        let (workers, release) = occupied(4);
        let (done, order) = mpsc::channel();
        for (address, name) in
            [("a", "a1"), ("a", "a2"), ("a", "a3"), ("a", "a4"), ("a", "a5"), ("b", "b1"), ("b", "b2"), ("b", "b3")]
        {
            let done = done.clone();
            workers.enqueue(address, move |has_turn| done.send((name, has_turn)).expect("heard"));
        }
        drop((release, done));
        let order: Vec<_> = order.iter().collect();
        let expected = [
            ("a5", false),
            ("a4", false),
            ("a3", false),
            ("b3", false),
            ("a1", true),
            ("b1", true),
            ("a2", true),
            ("b2", true),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_network_of_ipv6_shares_a_line() {
        assert_eq!(whose("2001:db8::1"), whose("2001:db8:0:0:ffff::2"));
        assert_ne!(whose("2001:db8::1"), whose("2001:db8:0:1::1"));
        assert_ne!(whose("192.0.2.1"), whose("192.0.2.2"));
    }

    #[test]
    fn threads_end_with_their_workers() {
        let (workers, release) = occupied(1);
        let shared = Arc::downgrade(&workers.shared);
        drop((workers, release));
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
