//! Whether there is room for more requests: of a session, and in the broker as a whole.

use super::Broker;
use super::per_session::SessionKey;
use super::refusal::Refusal;
use super::routing::no_room;

impl Broker {
    /// Refuses `more` requests of a session, of so many bytes together, if they would be more than may wait for their
    /// answers, or if the broker takes no new requests.
    pub(super) fn check_room(&self, sender: SessionKey, more: usize, bytes: usize) -> Result<(), Refusal> {
        if !self.is_serving() {
            return Err(no_room("the broker is stopping, try again later"));
        }
        self.check_memory()?;
        self.check_outstanding(sender, more, bytes)
    }

    /// Refuses `more` requests of a session, of so many bytes together, if they would be more than may wait for their
    /// answers.
    pub(super) fn check_outstanding(&self, sender: SessionKey, more: usize, bytes: usize) -> Result<(), Refusal> {
        let (asked, bytes_asked) = self.exchanges.asked_by(sender);
        let (waiting, bytes_waiting) = self.queues.asked_by(sender);
        let (asked, bytes_asked) = (asked + waiting, bytes_asked + bytes_waiting);
        let limit = self.config.max_outstanding_requests;
        if asked + more > limit {
            return Err(no_room(format!("more than {limit} requests of this session would wait for an answer")));
        }
        let limit = self.config.max_outstanding_bytes;
        // A single request may have more.
        if bytes_asked.saturating_add(bytes) > limit && asked > 0 {
            return Err(no_room(format!(
                "requests of this session with more than {limit} bytes would wait for an answer"
            )));
        }
        Ok(())
    }

    /// Refuses a request that would wait for its turn, if those that do would have too many bytes with it.
    pub(super) fn check_waiting(&self, bytes: usize) -> Result<(), Refusal> {
        let limit = self.config.max_waiting_bytes;
        if (self.turns.bytes() + self.queues.bytes()).saturating_add(bytes) <= limit {
            return Ok(());
        }
        Err(no_room(format!("requests with more than {limit} bytes would wait for their turn, try again later")))
    }

    /// Refuses what would take more memory, when there is little left.
    pub(super) fn check_memory(&self) -> Result<(), Refusal> {
        if self.is_memory_scarce { Err(no_room("the broker is short of memory, try again later")) } else { Ok(()) }
    }
}
