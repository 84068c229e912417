//! The latest of several items, for one who takes them.

use std::task::{Context, Poll, Waker};

use crate::lock::Lock;

/// The latest item that nobody has taken; further ones take its place.
#[derive(Debug)]
pub(crate) struct Latest<T>(Lock<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    reader: Option<Waker>,
    is_over: bool,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Lock::new(Slot { item: None, reader: None, is_over: false }))
    }
}

impl<T> Latest<T> {
    pub fn put(&self, item: T) {
        self.change(|slot| slot.item = Some(item));
    }

    /// Nothing follows.
    pub fn end(&self) {
        self.change(|slot| slot.is_over = true);
    }

    fn change(&self, change: impl FnOnce(&mut Slot<T>)) {
        let reader = {
            let mut slot = self.0.get();
            change(&mut slot);
            slot.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next item; nothing if nothing follows.
    pub fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut slot = self.0.get();
        match slot.item.take() {
            Some(item) => Poll::Ready(Some(item)),
            None if slot.is_over => Poll::Ready(None),
            None => {
                slot.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
