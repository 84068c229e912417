//! What one client at its worst does to a broker and to its neighbours: the command `antiphon-attacks`.
//!
//! - [`peer`]: a client that sends what it is told to.
//! - [`neighbour`]: a client that does nothing out of the ordinary, and how long its requests and connections take.
//! - [`target`]: what is attacked; [`kinds`]: the attacks; [`messages`]: by what is said in a session; [`sockets`]: by what is sent or read, and when.
//! - [`process`]: a broker, and what it takes of the machine; [`floor`]: a server that does next to nothing.

pub mod floor;
pub mod kinds;
pub mod messages;
pub mod neighbour;
pub mod peer;
pub mod process;
pub mod sockets;
pub mod target;

use std::fmt;
use std::io;
use std::thread;

use hdrhistogram::Histogram;
use serde::Serialize;

use neighbour::Neighbour;
use target::{Attack, Done, Target};

/// Times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// How many there are.
    pub count: u64,
    /// Half of them are no longer.
    pub p50: f64,
    /// All but one in a hundred are no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

/// What an attack came to.
#[derive(Clone, Debug, Serialize)]
pub struct Noticed {
    /// The requests of a neighbour.
    pub requests: Times,
    /// Those that failed.
    pub failed: u64,
    /// The connections that a neighbour opened.
    pub connections: Times,
    /// How late the neighbour was with its requests by itself, which is in their times: what the machine does.
    pub late: Times,
    /// How often the attack was carried out.
    pub times: u64,
    /// The longest that a connection of the attacker was open, in milliseconds, if it was to be closed.
    pub longest_open: Option<f64>,
}

impl From<&Histogram<u64>> for Times {
    fn from(micros: &Histogram<u64>) -> Self {
        let millis = |micros: u64| micros as f64 / 1000.0;
        Self {
            count: micros.len(),
            p50: millis(micros.value_at_quantile(0.5)),
            p99: millis(micros.value_at_quantile(0.99)),
            max: millis(micros.max()),
        }
    }
}

/// The head of a table of what was [`Noticed`].
pub const HEAD: &str = "request p50      p99      max   connect p50      p99   late p99      max      times";

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, connections, late, times, .. } = self;
        write!(f, "{:>11.2} {:>8.2} {:>8.2}", requests.p50, requests.p99, requests.max)?;
        write!(f, " {:>13.2} {:>8.2}", connections.p50, connections.p99)?;
        write!(f, " {:>10.2} {:>8.2} {times:>10}", late.p99, late.max)
    }
}

/// Has a neighbour ask a broker, until the end, while somebody attacks it. What the attacker holds open stays so until `and_then` returns.
///
/// # Errors
///
/// If the neighbour's session ends.
pub fn carry_out<T>(
    target: Target,
    neighbour: Neighbour,
    attack: Attack,
    and_then: impl FnOnce() -> T,
) -> io::Result<(Noticed, T)> {
    let neighbour = neighbour.spawn(target.broker, target.left())?;
    // What keeps the attacker from going on is as good as its end.
    let attack = || {
        step_back();
        attack(target).unwrap_or_default()
    };
    let attacked = thread::scope(|scope| scope.spawn(attack).join());
    let Done { times, longest_open, held } = attacked.map_err(|_| io::Error::other("the attacker panicked"))?;
    let noticed = neighbour.wait()?;
    let noticed = Noticed {
        requests: Times::from(&noticed.requests),
        failed: noticed.failed,
        connections: Times::from(&noticed.connections),
        late: Times::from(&noticed.late),
        times,
        longest_open: longest_open.map(|time| time.as_secs_f64() * 1000.0),
    };
    let then = and_then();
    drop(held);
    Ok((noticed, then))
}

/// Lets the broker and its neighbour have the processors first, which an attacker from elsewhere would not take from them.
fn step_back() {
    // There, it is a matter of this thread and of those that it starts; elsewhere, of the process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(19);
}
