//! Keeps account of every request and what came of it, from the frames alone, without the model.

use antiphon_protocol::wire::primitives::SessionId;

use crate::frames::{Client, Frame, Payload, Reply, Seen, Sent, Step};

/// All requests of a run.
#[derive(Default)]
pub struct Books {
    entries: Vec<Entry>,
}

struct Entry {
    sender: Client,
    conversation: i64,
    /// Its sender has given it up: there may be no answer, or not all.
    is_cancelled: bool,
    /// Of a request to a filter.
    filter_conversation: Option<i64>,
    request: Payload,
    /// Answers to the request itself; for a filter, the count or why there is none.
    replies: usize,
    count: Option<u32>,
    answered_by: Vec<SessionId>,
    delivered_to: Vec<Client>,
}

impl Books {
    pub fn enter(&mut self, step: &Step) {
        let Step::Send(sender, sent) = step else { return };
        let sent = if let Sent::Timed(_, sent) | Sent::Keyed(_, sent) = sent { sent } else { sent };
        if let Sent::Cancel { conversation, .. } = sent {
            for entry in &mut self.entries {
                entry.is_cancelled |= entry.sender == *sender && entry.conversation == *conversation;
            }
        }
        let (conversation, filter_conversation, request) = match sent {
            Sent::ToPath { conversation, request, .. } | Sent::ToSession { conversation, request, .. } => {
                (conversation, None, request)
            }
            Sent::ToFilter { conversation, filter_conversation, request, .. } => {
                (conversation, Some(*filter_conversation), request)
            }
            _ => return,
        };
        self.entries.push(Entry {
            sender: *sender,
            conversation: *conversation,
            is_cancelled: false,
            filter_conversation,
            request: request.clone(),
            replies: 0,
            count: None,
            answered_by: Vec::new(),
            delivered_to: Vec::new(),
        });
    }

    /// Nothing is answered twice, nothing is delivered twice, and the count comes before what it counts.
    pub fn see(&mut self, seen: &[Seen]) -> Result<(), String> {
        for Seen { client, frame, .. } in seen {
            let frame = if let Frame::Keyed(_, delivery) = frame { delivery } else { frame };
            match frame {
                Frame::Reply { conversation, reply } => {
                    let asked = |entry: &&mut Entry| entry.sender == *client && entry.conversation == *conversation;
                    let Some(entry) = self.entries.iter_mut().find(asked) else { continue };
                    entry.replies += 1;
                    if entry.replies > 1 {
                        return Err(format!("{client:?} has a second answer in conversation {conversation}"));
                    }
                    if let Reply::Count(count) = reply {
                        entry.count = Some(*count);
                    }
                }
                Frame::FilterResponse { filter_conversation, session, .. } => {
                    let asked = |entry: &&mut Entry| {
                        entry.sender == *client && entry.filter_conversation == Some(*filter_conversation)
                    };
                    let entry = self.entries.iter_mut().find(asked).ok_or("an answer to a filter that nobody sent")?;
                    let count = entry.count.ok_or("an answer to a filter comes before the count")?;
                    if entry.answered_by.contains(session) {
                        return Err(format!("{session} answers filter {filter_conversation} of {client:?} twice"));
                    }
                    entry.answered_by.push(*session);
                    if entry.answered_by.len() > count as usize {
                        return Err(format!("more than {count} answers to filter {filter_conversation} of {client:?}"));
                    }
                }
                Frame::Handle { request, .. } | Frame::Addressed { request, .. } => {
                    let entry = self.entries.iter_mut().find(|entry| entry.request == *request);
                    let entry = entry.ok_or("a request that nobody sent, or not as it was sent")?;
                    let once = entry.filter_conversation.is_some() || entry.delivered_to.is_empty();
                    if !once || entry.delivered_to.contains(client) {
                        return Err(format!("{request:?} is delivered twice"));
                    }
                    entry.delivered_to.push(*client);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// At the end of time: every sender that is still there had exactly one answer to everything.
    pub fn close(&self, is_open: impl Fn(Client) -> bool) -> Result<(), String> {
        for entry in self.entries.iter().filter(|entry| is_open(entry.sender) && !entry.is_cancelled) {
            let Entry { sender, conversation, replies, .. } = entry;
            if *replies != usize::from(*conversation != 0) {
                return Err(format!("{sender:?} has {replies} answers in conversation {conversation}"));
            }
            let (count, answers) = (entry.count.unwrap_or_default(), entry.answered_by.len());
            if count as usize != answers {
                return Err(format!("{sender:?} has {answers} of {count} answers in conversation {conversation}"));
            }
        }
        Ok(())
    }
}
