//! Memory that nobody uses goes back to the system.

#![cfg_attr(
    all(target_os = "linux", target_env = "gnu"),
    expect(unsafe_code, reason = "the allocator of glibc is asked for it, which is a function of C")
)]

use std::time::Duration;

/// How often. Takes a fraction of a millisecond unless there is much to give back.
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// glibc gives back by itself only what is free at the end of its heaps: after 10,000 sessions have left, nothing.
    safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
}

/// Does nothing where the allocator is another one.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn malloc_trim(_: usize) -> std::ffi::c_int {
    0
}

/// Gives back what is free, now and then, for as long as the process lives.
pub fn give_back() -> std::io::Result<()> {
    let run = || {
        loop {
            std::thread::sleep(PERIOD);
            malloc_trim(0);
        }
    };
    std::thread::Builder::new().name("memory".into()).spawn(run).map(drop)
}
