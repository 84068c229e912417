//! File descriptors: one for each connection, and some besides. What a process is given at first is fewer.

use std::io::stderr;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Those that no connection has: listeners, standard streams, files that are read, and connections that are being refused.
const OTHERS: u64 = 256;

/// Takes as many as so many connections need, if there may be so many. Returns how many there may be if that is fewer, and
/// how many would be needed.
///
/// The table of descriptors is made as large at once. Linux makes it larger when one more comes than has room, and has the
/// whole process wait for tens of milliseconds if it has several threads: call this while there is one.
pub fn make_room(connections: u32) -> Option<(u64, u64)> {
    let wanted = u64::from(connections) + OTHERS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is no limit.
    let mut most = current.unwrap_or(u64::MAX);
    if most < wanted {
        let raised = maximum.unwrap_or(wanted).min(wanted);
        if setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum }).is_ok() {
            most = raised;
        }
    }
    // It is closed again; the table stays as large as it has become. If not, it becomes so later.
    if let Ok(last) = i32::try_from(most.min(wanted).saturating_sub(1)) {
        drop(fcntl_dupfd_cloexec(stderr(), last));
    }
    (most < wanted).then_some((most, wanted))
}
