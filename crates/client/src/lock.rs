//! A mutex natively, a `RefCell` in a browser: what handles and task share is locked for one statement at a time.

#[cfg(target_arch = "wasm32")]
pub(crate) use one_thread::{Lock, Ref};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use threads::{Lock, Ref};

#[cfg(target_arch = "wasm32")]
mod one_thread {
    use std::cell::{RefCell, RefMut};

    /// One of several owners.
    pub(crate) type Ref<T> = std::rc::Rc<T>;

    /// A cell that is locked for one statement at a time.
    #[derive(Debug, Default)]
    pub(crate) struct Lock<T>(RefCell<T>);

    impl<T> Lock<T> {
        pub fn new(content: T) -> Self {
            Self(RefCell::new(content))
        }

        pub fn get(&self) -> RefMut<'_, T> {
            self.0.borrow_mut()
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod threads {
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One of several owners.
    pub(crate) type Ref<T> = std::sync::Arc<T>;

    /// A cell that is locked for one statement at a time.
    #[derive(Debug, Default)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub fn new(content: T) -> Self {
            Self(Mutex::new(content))
        }

        pub fn get(&self) -> MutexGuard<'_, T> {
            // Nothing that runs under a lock panics; if it did, this would be the smaller evil.
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
