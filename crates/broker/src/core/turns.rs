//! What is carried out a part at a time, so that others are served between the parts: requests to many sessions, what their
//! senders ask for meanwhile, what a party asks for beyond its share, and what is to be told when a session with very many
//! open requests ends.
//!
//! Parties take turns, and the sessions of a party take turns within its own: however much one asks for, others wait for a
//! single turn of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::ConversationId;

use super::aftermath::Failing;
use super::cancelling::GivenUp;
use super::keyed::Answering;
use super::pace::Pace;
use super::parties::PartyKey;
use super::per_session::{Numbered, SessionKey};
use super::registry::Leftover;
use super::tasks::{Count, FanOut, HeldRequest, Task};
use super::timers::Timers;

/// Requests of a session that wait for their turn; with more, nothing is read from its connection until half of them are
/// done.
const MAX_HELD: usize = 1024;
/// Bytes of those. A single request may have more.
const MAX_HELD_BYTES: usize = 1 << 20;

/// Whether more is to be read of what a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    Pause,
    Resume,
}

/// All such tasks, by the session that asked for them.
#[derive(Debug)]
pub(super) struct Turns {
    tasks: BTreeMap<SessionKey, Tasks>,
    /// When the time of requests among them is over, by their numbers.
    deadlines: Timers<(SessionKey, i64)>,
    /// The parties that have tasks, in the order of their turns.
    order: VecDeque<PartyKey>,
    /// The one that has its turn.
    current: Option<PartyKey>,
    /// The sessions of each, likewise. Some may have nothing to do any more.
    waiting: Numbered<PartyKey, VecDeque<SessionKey>>,
    /// Bytes of what they are to send, and of the requests that wait.
    bytes: usize,
    /// Number of requests that had to wait so far.
    held: u64,
    /// When the next turn is; nothing if it may be at once.
    due: Option<Moment>,
    /// The time between two turns, if others have to do with what was done.
    pause: Duration,
    pace: Pace,
}

#[derive(Debug, Default)]
struct Tasks {
    /// By numbers that are in order.
    queue: BTreeMap<i64, Task>,
    held: usize,
    held_bytes: usize,
    is_paused: bool,
}

impl Tasks {
    fn push_front(&mut self, task: Task) {
        let number = self.queue.first_key_value().map_or(0, |(first, _)| first - 1);
        self.queue.insert(number, task);
    }

    /// Returns its number.
    fn push_back(&mut self, task: Task) -> i64 {
        let number = self.queue.last_key_value().map_or(0, |(last, _)| last + 1);
        self.queue.insert(number, task);
        number
    }

    fn is_beyond(&self, requests: usize, bytes: usize) -> bool {
        self.held > requests || (self.held_bytes > bytes && self.held > 1)
    }

    /// Whether the intake is to change.
    fn regulate(&mut self) -> Option<Intake> {
        if !self.is_paused && self.is_beyond(MAX_HELD, MAX_HELD_BYTES) {
            self.is_paused = true;
            return Some(Intake::Pause);
        }
        if self.is_paused && !self.is_beyond(MAX_HELD / 2, MAX_HELD_BYTES / 2) {
            self.is_paused = false;
            return Some(Intake::Resume);
        }
        None
    }
}

impl Turns {
    /// Turns with this time between them, in each of which at most so many sessions are asked.
    pub fn new(pause: Duration, most: usize) -> Self {
        Self {
            tasks: BTreeMap::new(),
            deadlines: Timers::default(),
            order: VecDeque::new(),
            current: None,
            waiting: Numbered::default(),
            bytes: 0,
            held: 0,
            due: None,
            pause,
            pace: Pace::new(most),
        }
    }

    /// How many sessions may be asked in a turn now.
    pub fn recipients(&self) -> usize {
        self.pace.recipients()
    }

    /// Number of requests that had to wait for their turn, so far.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Bytes of requests that wait for their turn, or go on in the next, of all sessions.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A session's request to many others goes on later: before everything else that it asked for.
    pub fn go_on(&mut self, now: Moment, party: PartyKey, session: SessionKey, fan_out: Box<FanOut>) {
        let pause = self.pause;
        self.bytes += fan_out.len();
        self.tasks_of(Some(now + pause), party, session).push_front(Task::FanOut(fan_out));
    }

    /// The same of a count.
    pub fn count(&mut self, party: PartyKey, session: SessionKey, count: Box<Count>) {
        self.tasks_of(None, party, session).push_front(Task::Count(count));
    }

    /// Lets a request wait for its turn. Whether more may be read.
    pub fn hold(&mut self, party: PartyKey, session: SessionKey, request: HeldRequest) -> Option<Intake> {
        self.bytes += request.len();
        self.held += 1;
        let tasks = self.tasks_of(None, party, session);
        tasks.held += 1;
        tasks.held_bytes += request.len();
        let deadline = request.deadline();
        let number = tasks.push_back(Task::Held(request));
        let intake = tasks.regulate();
        if let Some(deadline) = deadline {
            self.deadlines.insert(deadline, (session, number));
        }
        intake
    }

    /// A request whose time is over before it had its turn, earliest first, and whether more may be read.
    pub fn pop_due(&mut self, now: Moment) -> Option<(SessionKey, HeldRequest, Option<Intake>)> {
        let (session, number) = self.deadlines.pop_due(now)?;
        let Task::Held(request) = self.remove(session, number)? else { return None };
        let intake = self.tasks.get_mut(&session).and_then(Tasks::regulate);
        Some((session, request, intake))
    }

    fn remove(&mut self, session: SessionKey, number: i64) -> Option<Task> {
        let tasks = self.tasks.get_mut(&session)?;
        let task = tasks.queue.remove(&number)?;
        self.bytes -= task.bytes();
        if let Task::Held(request) = &task {
            tasks.held -= 1;
            tasks.held_bytes -= request.len();
            if let Some(deadline) = request.deadline() {
                self.deadlines.remove(deadline, (session, number));
            }
        }
        Some(task)
    }

    /// Senders are told later that they will get no answers from a session.
    pub fn fail(&mut self, party: PartyKey, session: SessionKey, failing: Failing) {
        self.tasks_of(None, party, session).push_back(Task::Failing(failing));
    }

    /// Recipients are told later that a session waits no more for their answers.
    pub fn let_go(&mut self, party: PartyKey, session: SessionKey, given_up: GivenUp) {
        self.tasks_of(None, party, session).push_back(Task::LettingGo(given_up));
    }

    /// Those that wait for what a request with a key came to are told later.
    pub fn answer(&mut self, party: PartyKey, session: SessionKey, answering: Answering) {
        self.tasks_of(None, party, session).push_back(Task::Answering(answering));
    }

    /// Request handlers of a session that is over are taken out later: before its party gets anything else done, since its
    /// other sessions may register as many meanwhile.
    pub fn take_out(&mut self, party: PartyKey, session: SessionKey, paths: Leftover) {
        let is_first = !self.has_tasks(session);
        self.tasks_of(None, party, session).push_back(Task::TakingOut(paths));
        if is_first && let Some(waiting) = self.waiting.get_mut(&party) {
            // It is the last one.
            waiting.rotate_right(1);
        }
    }

    fn tasks_of(&mut self, due: Option<Moment>, party: PartyKey, session: SessionKey) -> &mut Tasks {
        if self.tasks.is_empty() {
            self.due = due;
        }
        if !self.tasks.contains_key(&session) {
            let waiting = self.waiting.entry(party).or_default();
            if waiting.is_empty() && self.current != Some(party) {
                self.order.push_back(party);
            }
            waiting.push_back(session);
        }
        self.tasks.entry(session).or_default()
    }

    /// Whether what a session asks for has to wait.
    pub fn has_tasks(&self, session: SessionKey) -> bool {
        self.tasks.contains_key(&session)
    }

    /// Whether nothing is to be read from the connection of a session.
    pub fn is_paused(&self, session: SessionKey) -> bool {
        self.tasks.get(&session).is_some_and(|tasks| tasks.is_paused)
    }

    /// The party whose turn it is, if there is one.
    pub fn begin(&mut self, now: Moment) -> Option<PartyKey> {
        let party = self.order.pop_front_if(|_| self.due.is_none_or(|due| due <= now))?;
        if let Some(due) = self.due {
            self.pace.adapt(now.since(due));
        }
        self.current = Some(party);
        Some(party)
    }

    /// The session of a party that is to go on in its turn, and what with.
    pub fn take(&mut self, party: PartyKey) -> Option<(SessionKey, Task)> {
        while let Some(session) = self.waiting.get_mut(&party)?.pop_front() {
            // It may be over.
            let Some(tasks) = self.tasks.get(&session) else { continue };
            let Some((number, _)) = tasks.queue.first_key_value() else {
                // What it asked for was withdrawn, or its time is over.
                self.tasks.remove(&session);
                continue;
            };
            let task = self.remove(session, *number)?;
            return Some((session, task));
        }
        None
    }

    /// A session has done what it took, and goes on with what comes next, or after the others. Whether more may be read now.
    pub fn done(&mut self, party: PartyKey, session: SessionKey, goes_on: bool) -> Option<Intake> {
        let tasks = self.tasks.get_mut(&session)?;
        let intake = tasks.regulate();
        if tasks.queue.is_empty() {
            self.tasks.remove(&session);
        } else {
            let waiting = self.waiting.entry(party).or_default();
            if goes_on || matches!(tasks.queue.first_key_value(), Some((_, Task::TakingOut(_)))) {
                waiting.push_front(session);
            } else {
                waiting.push_back(session);
            }
        }
        intake
    }

    /// Other parties are next: at once, or after a pause if others have to do with what was done.
    pub fn end(&mut self, now: Moment, party: PartyKey, has_asked_others: bool) {
        self.due = has_asked_others.then(|| now + self.pause);
        self.current = None;
        if self.waiting.get(&party).is_some_and(|waiting| !waiting.is_empty()) {
            self.order.push_back(party);
        } else {
            self.waiting.remove(&party);
        }
    }

    /// A session has given a request up, before it had its turn or while it has some. Returns how many tasks were looked at, and
    /// whether more may be read.
    pub fn withdraw(&mut self, session: SessionKey, request: ConversationId) -> (usize, Option<Intake>) {
        let Some(tasks) = self.tasks.get(&session) else { return (0, None) };
        let looked_at = tasks.queue.len();
        self.remove_all(session, |task| task.is_request(request));
        (looked_at, self.tasks.get_mut(&session).and_then(Tasks::regulate))
    }

    /// Nobody wants any more what a session asked for. What others are to be told of it remains.
    pub fn forget(&mut self, session: SessionKey) {
        self.remove_all(session, |task| matches!(task, Task::FanOut(_) | Task::Held(_)));
        let Some(tasks) = self.tasks.get_mut(&session) else { return };
        tasks.is_paused = false;
        if tasks.queue.is_empty() {
            self.tasks.remove(&session);
        }
    }

    fn remove_all(&mut self, session: SessionKey, is_unwanted: impl Fn(&Task) -> bool) {
        let Some(tasks) = self.tasks.get(&session) else { return };
        let unwanted: Vec<_> =
            tasks.queue.iter().filter(|(_, task)| is_unwanted(task)).map(|(number, _)| *number).collect();
        for number in unwanted {
            self.remove(session, number);
        }
    }

    /// When the next turn is, or the time of a request is over; nothing if there are no tasks.
    pub fn next_due(&self) -> Option<Moment> {
        let turn = (!self.is_empty()).then(|| self.due.unwrap_or_default())?;
        Some(self.deadlines.first().map_or(turn, |(deadline, _)| deadline.min(turn)))
    }

    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Number of requests that were not delivered yet, or whose senders are still to be told that they fail.
    pub fn undelivered(&self) -> usize {
        self.tasks.values().flat_map(|tasks| tasks.queue.values()).map(Task::undelivered).sum()
    }
}
