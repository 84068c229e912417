//! The handle that keeps a session open: it is closed when the last clone is dropped.

use crate::lock::Ref;
use crate::shared::Shared;

/// The one owner behind all handles of a session: the session is closed when it is dropped.
pub(crate) struct Handle {
    pub shared: Ref<Shared>,
}

impl Handle {
    pub fn new(shared: Ref<Shared>) -> Ref<Self> {
        Ref::new(Self { shared })
    }

    pub fn close(&self) {
        self.shared.change(|core, now| core.close(now));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}
