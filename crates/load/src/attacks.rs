//! What one client at its worst does to its neighbours: the command `antiphon-attacks`.
//!
//! - [`peer`]: a client that sends what it is told to.
//! - [`neighbour`]: a client that does nothing out of the ordinary, and how long its requests take.
//! - [`kinds`]: the attacks.

pub mod kinds;
pub mod neighbour;
pub mod peer;

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kinds::Attack;

/// What a neighbour noticed of an attack, in milliseconds, and what it took of the broker.
#[derive(Clone, Debug)]
pub struct Noticed {
    /// Half of its requests took no longer.
    pub p50: f64,
    /// All but one in a hundred took no longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How often the attack was carried out.
    pub times: u64,
    /// Most memory of the broker's process, in MiB.
    pub peak: Option<u64>,
    /// Its processor time in seconds.
    pub cpu: Option<f64>,
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, max, times, .. } = self;
        write!(f, "{p50:>8.2} {p99:>9.2} {max:>9.2} {times:>10}")?;
        write!(f, " {:>6} {:>6.1}", self.peak.unwrap_or(0), self.cpu.unwrap_or(0.0))
    }
}

/// The head of a table of these.
pub const HEAD: &str = "attack                p50 ms    p99 ms    max ms      times    MiB  CPU s";

/// Has a neighbour ask a broker while somebody attacks it.
///
/// # Errors
///
/// If the neighbour's session ends.
pub fn carry_out(broker: SocketAddr, attack: Attack, duration: Duration) -> io::Result<Noticed> {
    let neighbour = neighbour::spawn(broker, duration);
    let until = Instant::now() + duration;
    let times = attack(broker, until).unwrap_or(0);
    let times_of_requests = neighbour.join().map_err(|_| io::Error::other("the neighbour panicked"))??;
    let millis = |micros: u64| micros as f64 / 1000.0;
    Ok(Noticed {
        p50: millis(times_of_requests.value_at_quantile(0.5)),
        p99: millis(times_of_requests.value_at_quantile(0.99)),
        max: millis(times_of_requests.max()),
        times,
        peak: None,
        cpu: None,
    })
}

/// A broker in a process of its own, which ends when this is dropped.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Process {
    /// Starts the broker at `path`.
    ///
    /// # Errors
    ///
    /// If it does not say where it listens.
    pub fn start(path: &Path) -> io::Result<Self> {
        let mut command = Command::new(path);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        let address = address.and_then(|address| address.parse().ok());
        match address {
            Some(address) => Ok(Self { child, address }),
            None => {
                child.kill()?;
                Err(io::Error::other(format!("it does not listen: {line}")))
            }
        }
    }

    /// Most memory that it has had, in MiB, where the system tells.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? >> 10)
    }

    /// Processor time that it has had, in seconds, where the system tells.
    #[must_use]
    pub fn cpu(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let mut times = stat.rsplit(')').next()?.split_whitespace().skip(11);
        let ticks = times.next()?.parse::<f64>().ok()? + times.next()?.parse::<f64>().ok()?;
        Some(ticks / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
