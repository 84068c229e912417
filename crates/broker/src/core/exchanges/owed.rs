//! What sessions have to answer: the exchanges of each recipient.

use std::collections::BTreeSet;

use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::wire::primitives::ConversationId;

use super::exchange::{Exchange, Standing};
use crate::core::per_session::{PerSession, SessionKey};

/// The exchanges that were delivered, by recipient and conversation.
#[derive(Debug, Default)]
pub(super) struct Owed {
    by_recipient: PerSession<Owing>,
}

/// The exchanges of one recipient.
#[derive(Debug, Default)]
struct Owing {
    to_answer: Conversations<Entry>,
    /// The sum of their bytes.
    bytes: usize,
    /// Those that were cancelled.
    cancelled: BTreeSet<ConversationId>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    index: usize,
    bytes: u32,
}

/// What is queued for a session as far as is known, and how much of that it has to work for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::core) struct Load {
    /// Number of requests that it has not answered, nor shown that it has read that they are cancelled.
    pub requests: usize,
    /// Bytes of the messages that brought them.
    pub bytes: usize,
    /// Number of those that are not cancelled.
    pub to_answer: usize,
}

impl Owed {
    /// Adds one to the list of its recipient.
    pub fn add(&mut self, index: usize, exchange: &Exchange) {
        let owing = self.by_recipient.get_or_default(exchange.recipient);
        owing.bytes += exchange.bytes as usize;
        owing.to_answer.open(exchange.conversation, Entry { index, bytes: exchange.bytes });
        if exchange.standing == Standing::Cancelled {
            owing.cancelled.insert(exchange.conversation);
        }
    }

    /// Takes one out, if it is there. Returns its index.
    pub fn remove(&mut self, recipient: SessionKey, conversation: ConversationId) -> Option<usize> {
        self.by_recipient.get_mut(recipient)?.remove(conversation)
    }

    /// Takes out the one that a recipient has answered, if it is there, and those that were cancelled before it: it has read of
    /// that. Returns their indices.
    pub fn answer(&mut self, recipient: SessionKey, conversation: ConversationId) -> (Option<usize>, Vec<usize>) {
        let Some(owing) = self.by_recipient.get_mut(recipient) else { return (None, Vec::new()) };
        let answered = owing.remove(conversation);
        if owing.cancelled.is_empty() {
            return (answered, Vec::new());
        }
        let heard: Vec<_> = owing.cancelled.range(..conversation).copied().collect();
        (answered, heard.into_iter().filter_map(|earlier| owing.remove(earlier)).collect())
    }

    /// Takes all out that a session has to answer, in the order in which they were opened.
    pub fn take_all(&mut self, recipient: SessionKey) -> Vec<usize> {
        let Some(owing) = self.by_recipient.get_mut(recipient) else { return Vec::new() };
        owing.bytes = 0;
        owing.cancelled.clear();
        owing.to_answer.close_all().into_iter().map(|(_, entry)| entry.index).collect()
    }

    /// The index of one.
    pub fn get(&self, recipient: SessionKey, conversation: ConversationId) -> Option<usize> {
        Some(self.by_recipient.get(recipient)?.to_answer.get(conversation)?.index)
    }

    /// The oldest one of a recipient that is not cancelled.
    pub fn oldest(&self, recipient: SessionKey) -> Option<usize> {
        let owing = self.by_recipient.get(recipient)?;
        let mut wanted = owing.to_answer.iter().filter(|(conversation, _)| !owing.cancelled.contains(conversation));
        wanted.next().map(|(_, entry)| entry.index)
    }

    /// What a session has to answer.
    pub fn load_of(&self, recipient: SessionKey) -> Load {
        let Some(owing) = self.by_recipient.get(recipient) else { return Load::default() };
        let requests = owing.to_answer.len();
        Load { requests, bytes: owing.bytes, to_answer: requests - owing.cancelled.len() }
    }

    /// A session is over, and has none any more.
    pub fn forget(&mut self, recipient: SessionKey) {
        self.by_recipient.remove(recipient);
    }
}

impl Owing {
    fn remove(&mut self, conversation: ConversationId) -> Option<usize> {
        let Entry { index, bytes } = self.to_answer.close(conversation)?;
        self.bytes -= bytes as usize;
        if !self.cancelled.is_empty() {
            self.cancelled.remove(&conversation);
        }
        Some(index)
    }
}
