//! Locks a mutex, poisoned or not.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks what one statement changes as a whole, so that a panic elsewhere leaves nothing half done and is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
