//! The part of the model about idempotency keys (rules 4.11).

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::SessionId;

use crate::frames::{Client, Reply};

/// K-1: a principal, or the session if it is anonymous; the session that is asked; path; key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub owner: Result<String, Client>,
    pub session: Option<SessionId>,
    pub path: String,
    pub key: String,
}

/// What is known of requests with keys.
#[derive(Default)]
pub struct Keys {
    /// What they came to and until when that is known; nothing for those under way.
    known: Vec<(Name, Option<(Moment, Reply)>)>,
    /// Those that wait for what becomes of one.
    pub callers: Vec<Caller>,
}

pub struct Caller {
    pub sender: Client,
    pub conversation: i64,
    pub name: Name,
    pub deadline: Moment,
}

/// K-2: errors that say that no handler has run.
const REFUSALS: [i32; 10] = [103, 104, 107, 108, 109, 110, 112, 201, 202, 10_001];

impl Keys {
    pub fn begin(&mut self, name: Name) {
        self.known.push((name, None));
    }

    /// What is known of a request: what it came to, or nothing yet.
    pub fn get(&self, name: &Name) -> Option<Option<Reply>> {
        let (_, outcome) = self.known.iter().find(|(other, _)| other == name)?;
        Some(outcome.as_ref().map(|(_, reply)| reply.clone()))
    }

    /// A request came to this, which is known until then.
    pub fn end(&mut self, name: &Name, reply: &Reply, until: Moment) {
        if matches!(reply, Reply::Error(reason, _) if REFUSALS.contains(reason)) {
            return self.forget(name);
        }
        if let Some((_, outcome)) = self.known.iter_mut().find(|(other, _)| other == name) {
            *outcome = Some((until, reply.clone()));
        }
    }

    pub fn forget(&mut self, name: &Name) {
        self.known.retain(|(other, _)| other != name);
    }

    pub fn forget_due(&mut self, now: Moment) {
        self.known.retain(|(_, outcome)| outcome.as_ref().is_none_or(|(until, _)| *until > now));
    }

    /// When something is forgotten, or a caller has waited for long enough.
    pub fn due(&self) -> impl Iterator<Item = Moment> {
        let answers = self.known.iter().filter_map(|(_, outcome)| outcome.as_ref().map(|(until, _)| *until));
        answers.chain(self.callers.iter().map(|caller| caller.deadline))
    }

    /// Takes callers out.
    pub fn take(&mut self, is_it: impl Fn(&Caller) -> bool) -> Vec<Caller> {
        self.callers.extract_if(.., |caller| is_it(caller)).collect()
    }
}
