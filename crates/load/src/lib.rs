//! Load generator, fault proxy, and the ledger that checks every request.
//!
//! In reading order:
//!
//! - [`ledger`]: checks that every request comes to exactly one end.
//! - [`load`]: many sessions that send and answer; the command `antiphon-load`.
//! - [`faults`]: a proxy that cuts connections; the command `antiphon-faults`.
//! - [`attacks`]: what one client at its worst does to others; the command `antiphon-attacks`.
//! - [`usage`]: what the commands have in common.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod attacks;
pub mod faults;
pub mod ledger;
pub mod load;
mod lock;
pub mod usage;
