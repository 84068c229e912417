//! The fate of one proxied connection: whether it is frozen, and when it is cut.

use std::future::pending;
use std::sync::Mutex;

use tokio::sync::watch;

use super::frames::Frames;
use super::settings::Ending;
use crate::lock::lock;

/// Cuts that are left to chance are made within so many bytes.
pub(super) const CUT_WITHIN: u64 = 1024;

/// One connection that is carried and not cut yet.
#[derive(Debug)]
pub(super) struct ProxiedConnection {
    is_frozen: watch::Sender<bool>,
    condition: watch::Sender<Condition>,
    /// Whether it is cut, and one direction goes on.
    is_spared: watch::Sender<bool>,
    allowance: Mutex<Allowance>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Open,
    /// Both sides have ended it, or one has broken it.
    Over,
    Cut(Ending),
}

/// What may still pass before a connection is cut; more than there ever is if it is not to be cut.
#[derive(Debug)]
pub(super) struct Allowance {
    pub bytes: u64,
    pub frames: u64,
    pub ending: Ending,
}

impl ProxiedConnection {
    /// One that is cut when nothing is left of `allowance`.
    pub fn new(is_frozen: bool, allowance: Allowance) -> Self {
        Self {
            is_frozen: watch::Sender::new(is_frozen),
            condition: watch::Sender::new(Condition::Open),
            is_spared: watch::Sender::new(false),
            allowance: Mutex::new(allowance),
        }
    }

    /// Cuts it now; false if it has been cut before, or is over.
    pub fn cut(&self, ending: Ending) -> bool {
        self.set_condition(Condition::Cut(ending))
    }

    /// Nothing is carried any more; if it was cut, it stays cut.
    pub fn end(&self) {
        self.set_condition(Condition::Over);
    }

    pub fn set_frozen(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
    }

    /// What has ended stays as it is.
    fn set_condition(&self, new: Condition) -> bool {
        self.condition.send_if_modified(|condition| {
            let is_open = *condition == Condition::Open;
            if is_open {
                *condition = new;
            }
            is_open
        })
    }

    pub fn is_cut(&self) -> bool {
        matches!(*self.condition.borrow(), Condition::Cut(_))
    }

    /// Cuts it when so many bytes have passed.
    pub fn cut_after(&self, bytes: u64, ending: Ending) {
        let mut allowance = lock(&self.allowance);
        allowance.ending = ending;
        allowance.bytes = allowance.bytes.min(bytes);
    }

    /// Lets everything pass that is left and still comes.
    pub fn spare(&self) {
        let mut allowance = lock(&self.allowance);
        (allowance.bytes, allowance.frames) = (u64::MAX, u64::MAX);
        self.is_spared.send_replace(true);
    }

    pub async fn spared(&self) {
        // The sender is here.
        let _ = self.is_spared.subscribe().wait_for(|is_spared| *is_spared).await;
    }

    /// Whether nothing is known yet that will cut it soon.
    pub fn is_whole(&self) -> bool {
        *self.condition.borrow() == Condition::Open && lock(&self.allowance).bytes > CUT_WITHIN
    }

    pub async fn thawed(&self) {
        // The sender is here.
        let _ = self.is_frozen.subscribe().wait_for(|is_frozen| !is_frozen).await;
    }

    /// Waits until it is cut.
    pub async fn is_to_be_cut(&self) -> Ending {
        let mut condition = self.condition.subscribe();
        match condition.wait_for(|condition| matches!(condition, Condition::Cut(_))).await.map(|condition| *condition) {
            Ok(Condition::Cut(ending)) => ending,
            _ => pending().await,
        }
    }

    /// How much of a chunk may pass.
    pub fn allow(&self, chunk: &[u8], frames: &mut Frames) -> usize {
        let allowance = &mut *lock(&self.allowance);
        let most = chunk.len().min(usize::try_from(allowance.bytes).unwrap_or(usize::MAX));
        let allowed = frames.take(&chunk[..most], &mut allowance.frames);
        allowance.bytes -= allowed as u64;
        allowed
    }

    /// Cuts it if nothing more may pass.
    pub fn cut_if_due(&self) {
        let allowance = lock(&self.allowance);
        if allowance.bytes == 0 || allowance.frames == 0 {
            self.cut(allowance.ending);
        }
    }
}
