//! A broker in a process of its own, and what it takes of the machine.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A server in a process of its own, which ends when this is dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Why connections were closed, as the log has it.
const REASONS: [&str; 3] = ["slow", "overdue", "crowded"];

impl Process {
    /// Starts the server at `path`.
    ///
    /// # Errors
    ///
    /// If it does not say where it listens.
    pub fn start(path: &Path, arguments: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let log = Arc::default();
        if let Some(errors) = child.stderr.take() {
            let log = Arc::clone(&log);
            thread::spawn(move || keep(errors, &log));
        }
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let address = line.split("ws://").nth(1).and_then(|rest| rest.split('/').next());
        match address.and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { child, log, address }),
            None => {
                child.kill()?;
                Err(io::Error::other(format!("it does not listen: {line}")))
            }
        }
    }

    /// Most memory that it has had, in MiB, where the system tells.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        self.status("VmHWM:")
    }

    /// Its memory now, likewise.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        self.status("VmRSS:")
    }

    fn status(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
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

    /// How many connections it has closed, by its reason.
    #[must_use]
    pub fn closed(&self) -> BTreeMap<&'static str, usize> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |reason: &'static str| (reason, log.matches(&format!("closed: {reason}")).count());
        REASONS.into_iter().map(count).filter(|(_, count)| *count > 0).collect()
    }
}

fn keep(mut errors: ChildStderr, log: &Mutex<String>) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = errors.read(&mut buffer) {
        log.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
