//! Open conversations by ID; used by both ends (section 5).

use std::collections::HashMap;

use crate::wire::primitives::ConversationId;

/// The conversations that one side of a connection started and the other has not answered yet.
///
/// The first answer ends a conversation, so a second one finds nothing and is ignored (section 5).
#[derive(Debug)]
pub struct Conversations<T> {
    last: i64,
    open: HashMap<ConversationId, T>,
}

impl<T> Default for Conversations<T> {
    fn default() -> Self {
        Self { last: 0, open: HashMap::new() }
    }
}

impl<T> Conversations<T> {
    /// An ID that was not used before. IDs count up from 1; 0 stands for "nobody answers".
    pub fn next_id(&mut self) -> ConversationId {
        self.last += 1;
        ConversationId(self.last)
    }

    /// Opens the conversation `id`; `state` is handed back when it is closed.
    pub fn open(&mut self, id: ConversationId, state: T) {
        self.open.insert(id, state);
    }

    /// Ends a conversation; nothing if there is none with this ID, or no longer.
    pub fn close(&mut self, id: ConversationId) -> Option<T> {
        self.open.remove(&id)
    }

    /// The state of an open conversation.
    #[must_use]
    pub fn get(&self, id: ConversationId) -> Option<&T> {
        self.open.get(&id)
    }

    /// Number of open conversations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Ends all, in the order in which they were opened.
    pub fn close_all(&mut self) -> Vec<(ConversationId, T)> {
        let mut all: Vec<_> = self.open.drain().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }
}
