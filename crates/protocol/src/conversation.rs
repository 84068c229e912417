//! Open conversations by ID; used by both ends (section 5).

use crate::numbered::Numbered;
use crate::wire::primitives::ConversationId;

/// The conversations that one side of a connection started and the other has not answered yet, each with a state.
///
/// The first answer ends a conversation, so a second one finds nothing and is ignored (section 5).
#[derive(Debug)]
pub struct Conversations<T> {
    last: i64,
    open: Numbered<T>,
}

impl<T> Default for Conversations<T> {
    fn default() -> Self {
        Self { last: 0, open: Numbered::default() }
    }
}

impl<T> Conversations<T> {
    /// An ID that was not used before. IDs count up from 1; 0 stands for "nobody answers".
    pub fn next_id(&mut self) -> ConversationId {
        self.last += 1;
        ConversationId(self.last)
    }

    /// Opens the conversation `id`; `state` is handed back when it is closed. Returns false, and changes nothing, if
    /// it is open already.
    pub fn open(&mut self, id: ConversationId, state: T) -> bool {
        self.open.insert(id.0.cast_unsigned(), state)
    }

    /// Ends a conversation; nothing if there is none with this ID, or no longer.
    pub fn close(&mut self, id: ConversationId) -> Option<T> {
        self.open.remove(id.0.cast_unsigned())
    }

    /// The state of an open conversation.
    #[must_use]
    pub fn get(&self, id: ConversationId) -> Option<&T> {
        self.open.get(id.0.cast_unsigned())
    }

    /// The same, to be changed.
    #[must_use]
    pub fn get_mut(&mut self, id: ConversationId) -> Option<&mut T> {
        self.open.get_mut(id.0.cast_unsigned())
    }

    /// All open conversations, in the order of their IDs.
    pub fn iter(&self) -> impl Iterator<Item = (ConversationId, &T)> {
        self.open.iter().map(|(id, state)| (ConversationId(id.cast_signed()), state))
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

    /// Ends all, in the order of their IDs, which is that in which they were opened.
    pub fn close_all(&mut self) -> Vec<(ConversationId, T)> {
        let ids = self.open.numbers().into_iter();
        ids.filter_map(|id| Some((ConversationId(id.cast_signed()), self.open.remove(id)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_ends_a_conversation() {
        let mut conversations = Conversations::default();
        let ids: Vec<_> = (0..4).map(|_| conversations.next_id()).collect();
        for id in &ids {
            assert!(conversations.open(*id, id.0));
            assert!(!conversations.open(*id, 0));
        }
        assert_eq!(conversations.close(ids[1]), Some(2));
        assert_eq!(conversations.close(ids[1]), None);
        assert_eq!(conversations.close_all().into_iter().map(|(_, state)| state).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(conversations.is_empty());
    }
}
