//! The memory ceiling: how much memory the process takes, and whether that is so much that nothing new is to begin.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_protocol::time::Moment;

/// How often the system is asked while nothing happens.
pub(super) const PERIOD: Duration = Duration::from_millis(250);

/// How old an answer of the system may be when something is about to happen: sessions, registrations and requests take
/// memory that is not counted, and thousands of them come in a second. What is kept of messages is counted meanwhile.
const FRESH: Duration = Duration::from_millis(5);

/// The memory that the process may take, and takes.
#[derive(Debug)]
pub(super) struct Ceiling {
    /// Bytes.
    limit: usize,
    /// Where the system tells what the process takes. It stays open: there may be no descriptor left to open it again.
    status: Option<File>,
    /// Bytes that the process took when the system was asked, without what was counted then.
    rest: AtomicUsize,
    /// When that was, in microseconds.
    measured_at: AtomicU64,
    is_scarce: AtomicBool,
}

impl Ceiling {
    /// A ceiling of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            status: File::open("/proc/self/status").ok(),
            rest: AtomicUsize::new(0),
            measured_at: AtomicU64::new(0),
            is_scarce: AtomicBool::new(false),
        }
    }

    /// Asks the system how much memory the process takes, `counted` bytes of it for what is counted. Returns whether it tells.
    pub fn measure(&self, now: Moment, counted: usize) -> bool {
        let resident = self.status.as_ref().and_then(resident);
        resident.map(|resident| self.measured(now, resident, counted)).is_some()
    }

    /// Whether what is known is too old to decide by.
    pub fn is_outdated(&self, now: Moment) -> bool {
        now.since(Moment(self.measured_at.load(Ordering::Relaxed))) >= FRESH
    }

    /// The process takes `resident` bytes of memory, `counted` of them for what is counted.
    fn measured(&self, now: Moment, resident: usize, counted: usize) {
        self.measured_at.store(now.0, Ordering::Relaxed);
        self.rest.store(resident.saturating_sub(counted), Ordering::Relaxed);
    }

    /// Whether there is little memory left, with so many bytes for what is counted: from 7 eighths of the ceiling on, until
    /// it is less than 6.
    pub fn is_scarce(&self, counted: usize) -> bool {
        let taken = self.rest.load(Ordering::Relaxed).saturating_add(counted);
        let was_scarce = self.is_scarce.load(Ordering::Relaxed);
        let is_scarce = taken >= self.limit / 8 * if was_scarce { 6 } else { 7 };
        if is_scarce != was_scarce {
            self.is_scarce.store(is_scarce, Ordering::Relaxed);
            let (mib, limit) = (taken >> 20, self.limit >> 20);
            if is_scarce {
                tracing::warn!("short of memory: {mib} MiB of {limit} MiB are taken; nothing new is begun");
            } else {
                tracing::warn!("memory is back: {mib} MiB of {limit} MiB are taken");
            }
        }
        is_scarce
    }
}

/// Bytes of memory that this process takes, by the system's account of it.
fn resident(status: &File) -> Option<usize> {
    let mut text = [0; 4 << 10];
    let length = status.read_at(&mut text, 0).ok()?;
    let line = str::from_utf8(&text[..length]).ok()?.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<usize>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_scarce_until_there_is_clearly_more_again() {
        let ceiling = Ceiling::new(8000);
        ceiling.measured(Moment(1), 5000, 1000);
        assert_eq!(
            [1000, 2999, 3000, 2999, 2000, 1999, 2999].map(|counted| ceiling.is_scarce(counted)),
            [false, false, true, true, true, false, false]
        );
        ceiling.measured(Moment(2), 7000, 0);
        assert!(ceiling.is_scarce(0));
    }

    #[test]
    fn nothing_is_decided_by_what_is_long_past() {
        let ceiling = Ceiling::new(8000);
        let start = Moment(1_000_000);
        ceiling.measured(start, 5000, 0);
        assert!(!ceiling.is_outdated(start + FRESH / 2));
        assert!(ceiling.is_outdated(start + FRESH));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_what_the_process_takes() {
        let ceiling = Ceiling::new(1 << 20);
        for now in [Moment(1), Moment(2)] {
            assert!(ceiling.measure(now, 0));
            assert!(ceiling.is_scarce(0), "this program takes more than 1 MiB");
        }
    }
}
