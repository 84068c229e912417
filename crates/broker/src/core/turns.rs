//! What is carried out a part at a time, so that others are served between the parts: requests to many sessions, and what
//! their senders ask for meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use std::vec;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;

use super::exchanges::ReplyTo;
use super::per_session::SessionKey;
use super::search::Search;
use super::serve::Asker;

/// Most requests of a session that wait until its request to a filter is delivered. What comes then is not taken before
/// that is done at once.
const MAX_HELD: usize = 1024;
/// Most bytes of those. A single request may have more.
const MAX_HELD_BYTES: usize = 1 << 20;

/// A request to every session that a filter matches.
#[derive(Debug)]
pub(super) struct FanOut {
    pub asker: Asker,
    pub reply_to: ReplyTo,
    /// What every recipient gets: a `SendToPath`, in wire form.
    pub body: Vec<u8>,
    /// How long each has to answer.
    pub timeout: Duration,
    pub stage: Stage,
}

/// How far a request to a filter has come.
#[derive(Debug)]
pub(super) enum Stage {
    Looking(Search),
    /// The number of recipients is told; these are left.
    Delivering(vec::IntoIter<SessionKey>),
}

/// Something that a session asked for and that is not done yet.
#[derive(Debug)]
pub(super) enum Task {
    FanOut(Box<FanOut>),
    /// It came while an earlier one was not done: what a session asks for happens in that order (rules M-19).
    Held(HeldRequest),
}

/// A request to the broker that waits for an earlier one of the same session.
#[derive(Debug)]
pub(super) struct HeldRequest {
    pub service: u32,
    pub conversation: ConversationId,
    pub body: Box<[u8]>,
}

/// All such tasks, by the session that asked for them. The sessions take turns.
#[derive(Debug)]
pub(super) struct Turns {
    tasks: BTreeMap<SessionKey, Tasks>,
    /// Those that have tasks and are not at their turn.
    order: VecDeque<SessionKey>,
    /// When the next turn is.
    due: Moment,
    /// The time between two turns.
    pause: Duration,
    pace: Pace,
}

/// How many sessions are asked in one turn: more while turns come in time, fewer when they come late, since then others
/// wait as well.
#[derive(Debug)]
struct Pace {
    now: usize,
    most: usize,
}

#[derive(Debug, Default)]
struct Tasks {
    queue: VecDeque<Task>,
    held_bytes: usize,
}

impl Pace {
    /// Nothing is known yet.
    const FIRST: usize = 32;
    const LEAST: usize = 8;
    /// Later than this is late: timers are not more exact than a millisecond.
    const PATIENCE: Duration = Duration::from_millis(2);

    fn new(most: usize) -> Self {
        Self { now: Self::FIRST.min(most), most }
    }

    /// A turn came so much later than it was to come.
    fn adapt(&mut self, lateness: Duration) {
        self.now = if lateness > Self::PATIENCE { (self.now / 2).max(Self::LEAST) } else { self.now + self.now / 4 };
        self.now = self.now.min(self.most);
    }
}

impl Turns {
    /// Turns with this time between them, in each of which at most so many sessions are asked.
    pub fn new(pause: Duration, most: usize) -> Self {
        Self { tasks: BTreeMap::new(), order: VecDeque::new(), due: Moment(0), pause, pace: Pace::new(most) }
    }

    /// How many sessions may be asked in a turn now.
    pub fn recipients(&self) -> usize {
        self.pace.now
    }

    /// A session's request to many others begins, or goes on: before everything else that it asked for.
    pub fn begin(&mut self, now: Moment, session: SessionKey, fan_out: Box<FanOut>) {
        if !self.has_tasks(session) {
            if self.is_empty() {
                self.due = now + self.pause;
            }
            self.order.push_back(session);
        }
        self.tasks.entry(session).or_default().queue.push_front(Task::FanOut(fan_out));
    }

    /// Whether what a session asks for has to wait.
    pub fn has_tasks(&self, session: SessionKey) -> bool {
        self.tasks.contains_key(&session)
    }

    /// Lets a request wait for what its session asked for before. Returns whether there is room for it.
    pub fn hold(&mut self, session: SessionKey, service: u32, conversation: ConversationId, body: &[u8]) -> bool {
        let tasks = self.tasks.entry(session).or_default();
        let is_first = tasks.held_bytes == 0;
        if tasks.queue.len() > MAX_HELD || (tasks.held_bytes + body.len() > MAX_HELD_BYTES && !is_first) {
            return false;
        }
        tasks.held_bytes += body.len();
        tasks.queue.push_back(Task::Held(HeldRequest { service, conversation, body: body.into() }));
        true
    }

    /// The session whose turn it is, if there is one. Its turn ends with [`end_turn`](Self::end_turn).
    pub fn next_session(&mut self, now: Moment) -> Option<SessionKey> {
        let session = self.order.pop_front_if(|_| self.due <= now)?;
        self.pace.adapt(now.since(self.due));
        self.due = now + self.pause;
        Some(session)
    }

    /// Gives a session its turn before the others. Returns whether it has tasks.
    pub fn call(&mut self, session: SessionKey) -> bool {
        self.order.retain(|other| *other != session);
        self.has_tasks(session)
    }

    /// What a session at its turn has to do next.
    pub fn take(&mut self, session: SessionKey) -> Option<Task> {
        let tasks = self.tasks.get_mut(&session)?;
        let task = tasks.queue.pop_front()?;
        if let Task::Held(held) = &task {
            tasks.held_bytes -= held.body.len();
        }
        Some(task)
    }

    /// Others are next.
    pub fn end_turn(&mut self, session: SessionKey) {
        match self.tasks.get(&session) {
            Some(tasks) if tasks.queue.is_empty() => drop(self.tasks.remove(&session)),
            Some(_) => self.order.push_back(session),
            // It is over.
            None => {}
        }
    }

    /// Nobody wants any more what a session asked for.
    pub fn forget(&mut self, session: SessionKey) {
        if self.tasks.remove(&session).is_some() {
            self.order.retain(|other| *other != session);
        }
    }

    /// When the next turn is; nothing if there are no tasks.
    pub fn next_due(&self) -> Option<Moment> {
        (!self.is_empty()).then_some(self.due)
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Number of requests that were not delivered yet.
    pub fn undelivered(&self) -> usize {
        let tasks = self.order.iter().filter_map(|session| self.tasks.get(session));
        tasks.flat_map(|tasks| &tasks.queue).map(Task::undelivered).sum()
    }
}

impl Task {
    fn undelivered(&self) -> usize {
        match self {
            Self::FanOut(fan_out) => match &fan_out.stage {
                Stage::Looking(_) => 1,
                Stage::Delivering(recipients) => recipients.len(),
            },
            Self::Held(_) => 0,
        }
    }
}
