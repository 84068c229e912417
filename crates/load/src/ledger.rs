//! An account of requests, kept by whoever makes them, that shows whether each came to exactly one end.
//!
//! What must hold, whatever happens to servers and connections: *each request gets exactly one answer or one error
//! within its deadline; no handler sees a request twice, or one of which the sender was told that no handler ran; nothing
//! is pending at the end.* Requests and answers carry a [`Stamp`], so an answer that belongs to another request is noticed
//! as well.

mod bits;
mod stamp;
mod violation;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::lock::lock;
use bits::Bits;
pub use stamp::{EntryId, Stamp};
pub use violation::{Verdict, Violation};

/// To whom a request goes. Recipients have numbers that the program gives them, best from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One, chosen by the server.
    Any,
    /// This one.
    One(usize),
    /// As many as this, as far as they are still there; each of which answers.
    All(u32),
}

/// Keeps account of requests. All methods may be called from any thread.
#[derive(Debug)]
pub struct Ledger {
    grace: Duration,
    start: Instant,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Since the start, where time does not pass by itself.
    time: Option<Duration>,
    sent: u64,
    open: HashMap<EntryId, Open>,
    /// Requests for one recipient that some handler was given, by ID. Kept for good, as is the next one: a request may
    /// be delivered again long after its end.
    handled_by_one: Bits,
    /// Which recipients were given a request that is for all.
    handled_by_all: HashMap<EntryId, Bits>,
    /// Requests that no handler was given, by what the sender was told.
    unhandled: HashSet<EntryId>,
    /// The same of one recipient of a request that is for all.
    unhandled_by: HashSet<(EntryId, usize)>,
    /// Requests for all that went to fewer, by so many.
    short: Vec<(EntryId, u32)>,
    verdict: Verdict,
}

#[derive(Debug)]
struct Open {
    to: Recipients,
    /// Since the start.
    sent_at: Duration,
    timeout: Duration,
    handled_by: Option<usize>,
    /// How many answers there are to be.
    expected: u32,
    answers: u32,
    answered_by: Bits,
}

/// Violations that are described; all are counted.
const MAX_EXAMPLES: usize = 10;

impl Ledger {
    /// An empty one. A request is [late](Violation::Late) when it ends more than `grace` after its deadline.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, start: Instant::now(), books: Mutex::default() }
    }

    /// For simulations: so much time has passed since the start, and none passes until this is called again.
    pub fn set_time(&self, since_start: Duration) {
        self.books().time = Some(since_start);
    }

    /// A request is about to be sent, which has to end within `timeout`.
    pub fn sent(&self, to: Recipients, timeout: Duration) -> EntryId {
        let mut books = self.books();
        let request = EntryId(books.sent);
        books.sent += 1;
        if matches!(to, Recipients::All(_)) {
            books.handled_by_all.insert(request, Bits::default());
        }
        let expected = if let Recipients::All(count) = to { count } else { 1 };
        let (sent_at, answered_by) = (self.now(&books), Bits::default());
        let open = Open { to, sent_at, timeout, handled_by: None, expected, answers: 0, answered_by };
        books.open.insert(request, open);
        request
    }

    /// The handler of `recipient` was given a request that says `stamp`; nothing if it cannot be read.
    pub fn handled(&self, stamp: Option<Stamp>, recipient: usize) {
        let books = &mut *self.books();
        let Some(Stamp { request, recipient: None }) = stamp.filter(|stamp| stamp.request.0 < books.sent) else {
            return books.violated(Violation::Misrouted, format_args!("recipient {recipient} was given {stamp:?}"));
        };
        let is_first = match books.handled_by_all.get_mut(&request) {
            Some(handled_by) => handled_by.insert(recipient as u64),
            None => books.handled_by_one.insert(request.0),
        };
        if !is_first {
            books.violated(Violation::HandledTwice, format_args!("{request:?}, now by recipient {recipient}"));
        }
        if books.unhandled.contains(&request) || books.unhandled_by.contains(&(request, recipient)) {
            books.violated(Violation::HandledAfterAll, format_args!("{request:?}, by recipient {recipient}"));
        }
        // It may have timed out before it was delivered.
        let Some(open) = books.open.get_mut(&request) else { return };
        open.handled_by = Some(recipient);
        if let Recipients::One(meant) = open.to
            && meant != recipient
        {
            books.violated(Violation::Misrouted, format_args!("{request:?} for {meant} was given to {recipient}"));
        }
    }

    /// The server said how many recipients a request has that is for all.
    pub fn matched(&self, request: EntryId, count: u32) {
        let books = &mut *self.books();
        let Some(open) = books.open.get_mut(&request) else { return };
        open.expected = count;
        match open.to {
            Recipients::All(all) if count <= all => {
                if count < all {
                    books.short.push((request, all - count));
                }
            }
            to => books.violated(Violation::WrongCount, format_args!("{request:?} to {to:?} was sent to {count}")),
        }
    }

    /// An answer came that says `stamp`; nothing if it cannot be read. `from` is who answers according to the server,
    /// if it says that.
    pub fn answered(&self, request: EntryId, stamp: Option<Stamp>, from: Option<usize>) {
        let books = &mut *self.books();
        let Some(open) = books.open.get(&request) else {
            return books.violated(Violation::AnsweredTwice, format_args!("{request:?}, after its end"));
        };
        // Whoever answers was given the request, and by that account it is the one that the server means.
        let expected = match open.to {
            Recipients::Any => open.handled_by,
            Recipients::One(recipient) => Some(recipient),
            Recipients::All(_) => from,
        };
        if expected.is_none() || stamp != Some(Stamp { request, recipient: expected }) {
            books
                .violated(Violation::Mismatch, format_args!("{request:?} to {expected:?} was answered with {stamp:?}"));
        }
        books.count_answer(request, from);
    }

    /// A recipient of a request that is for all has failed; nothing if it is not known.
    pub fn failed(&self, request: EntryId, from: Option<usize>) {
        let books = &mut *self.books();
        if from.is_none() {
            books.violated(Violation::Mismatch, format_args!("{request:?} was failed by somebody it was not sent to"));
        }
        books.count_answer(request, from);
    }

    /// The error that a request came to says that no handler ran, or that of one recipient does. Told before the request is
    /// [settled](Self::settled).
    pub fn unhandled(&self, request: EntryId, from: Option<usize>) {
        let books = &mut *self.books();
        let handled = match (books.handled_by_all.get(&request), from) {
            (Some(handled_by), Some(recipient)) => handled_by.contains(recipient as u64),
            (Some(handled_by), None) => !handled_by.is_empty(),
            (None, _) => books.handled_by_one.contains(request.0),
        };
        if handled {
            books.violated(
                Violation::HandledAfterAll,
                format_args!("{request:?}, before the sender was told ({from:?})"),
            );
        }
        match from {
            Some(recipient) => drop(books.unhandled_by.insert((request, recipient))),
            None => drop(books.unhandled.insert(request)),
        }
    }

    /// A request has come to its end: well, or with an error. Returns how long it took.
    pub fn settled(&self, request: EntryId, well: bool) -> Duration {
        let books = &mut *self.books();
        let Some(open) = books.open.remove(&request) else {
            books.violated(Violation::AnsweredTwice, format_args!("{request:?} ended again"));
            return Duration::ZERO;
        };
        let took = self.now(books).saturating_sub(open.sent_at);
        if took > open.timeout.saturating_add(self.grace) {
            books.violated(
                Violation::Late,
                format_args!("{request:?} ended after {took:?} instead of {:?}", open.timeout),
            );
        }
        let Open { answers, expected, .. } = open;
        if well && answers < expected {
            books.violated(Violation::Unanswered, format_args!("{request:?} has {answers} of {expected} answers"));
        }
        took
    }

    /// The first thing that must not happen, if something has.
    pub fn first_violation(&self) -> Option<String> {
        self.books().verdict.examples.first().cloned()
    }

    /// What there is to say when everything has come to its end: what has not is a violation. `lost` recipients have gone
    /// meanwhile, so as many may be missing where a request went to all.
    #[must_use]
    pub fn verdict(&self, lost: u32) -> Verdict {
        let books = &mut *self.books();
        for request in std::mem::take(&mut books.open).into_keys() {
            books.violated(Violation::Pending, format_args!("{request:?}"));
        }
        for (request, missing) in std::mem::take(&mut books.short) {
            if missing > lost {
                books.violated(
                    Violation::WrongCount,
                    format_args!("{request:?} was sent to {missing} too few, {lost} have gone"),
                );
            }
        }
        books.verdict.clone()
    }

    /// Since the start.
    fn now(&self, books: &Books) -> Duration {
        books.time.unwrap_or_else(|| self.start.elapsed())
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        lock(&self.books)
    }
}

impl Books {
    fn count_answer(&mut self, request: EntryId, from: Option<usize>) {
        let Some(open) = self.open.get_mut(&request) else {
            return self.violated(Violation::AnsweredTwice, format_args!("{request:?}, after its end"));
        };
        open.answers += 1;
        let is_first = match open.to {
            Recipients::Any | Recipients::One(_) => open.answers == 1,
            Recipients::All(_) => from.is_none_or(|from| open.answered_by.insert(from as u64)),
        };
        if !is_first {
            self.violated(Violation::AnsweredTwice, format_args!("{request:?}, now by {from:?}"));
        }
    }

    fn violated(&mut self, violation: Violation, text: fmt::Arguments<'_>) {
        *self.verdict.violations.entry(violation).or_default() += 1;
        if self.verdict.examples.len() < MAX_EXAMPLES {
            self.verdict.examples.push(format!("{violation}: {text}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn ledger() -> Ledger {
        Ledger::new(Duration::from_millis(100))
    }

    fn asks(request: EntryId) -> Option<Stamp> {
        Some(Stamp { request, recipient: None })
    }

    fn answers(request: EntryId, recipient: usize) -> Option<Stamp> {
        Some(Stamp { request, recipient: Some(recipient) })
    }

    fn violations(ledger: &Ledger) -> Vec<(Violation, u64)> {
        ledger.verdict(0).violations.into_iter().collect()
    }

    #[test]
    fn requests_that_end_once_are_no_violation() {
        let ledger = ledger();
        let any = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.handled(asks(any), 3);
        ledger.answered(any, answers(any, 3), None);
        ledger.settled(any, true);
        let refused = ledger.sent(Recipients::One(1), TIMEOUT);
        ledger.settled(refused, false);
        let all = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.matched(all, 2);
        ledger.handled(asks(all), 0);
        ledger.handled(asks(all), 1);
        ledger.answered(all, answers(all, 1), Some(1));
        ledger.failed(all, Some(0));
        ledger.settled(all, true);
        // Delivered only after it had timed out.
        ledger.handled(asks(refused), 1);
        assert_eq!(ledger.verdict(0), Verdict::default());
    }

    #[test]
    fn a_handler_that_sees_a_request_again_is_a_violation_even_after_its_end() {
        let ledger = ledger();
        let any = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.handled(asks(any), 0);
        ledger.answered(any, answers(any, 0), None);
        ledger.settled(any, true);
        assert_eq!(ledger.first_violation(), None);
        ledger.handled(asks(any), 1);
        assert!(ledger.first_violation().is_some());
        let all = ledger.sent(Recipients::All(1), TIMEOUT);
        ledger.handled(asks(all), 0);
        ledger.handled(asks(all), 0);
        ledger.settled(all, false);
        assert_eq!(violations(&ledger), [(Violation::HandledTwice, 2)]);
    }

    #[test]
    fn a_request_that_goes_to_somebody_else_is_a_violation() {
        let ledger = ledger();
        let one = ledger.sent(Recipients::One(4), TIMEOUT);
        ledger.handled(asks(one), 5);
        ledger.handled(asks(EntryId(99)), 5);
        ledger.handled(None, 5);
        ledger.settled(one, false);
        assert_eq!(violations(&ledger), [(Violation::Misrouted, 3)]);
    }

    #[test]
    fn an_answer_to_another_request_or_of_another_recipient_is_a_violation() {
        let ledger = ledger();
        for wrong in [answers(EntryId(77), 0), answers(EntryId(1), 1), asks(EntryId(2)), None] {
            let any = ledger.sent(Recipients::Any, TIMEOUT);
            ledger.handled(asks(any), 0);
            ledger.answered(any, wrong, None);
            ledger.settled(any, true);
        }
        // By all accounts, nobody was given this one.
        let unseen = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.answered(unseen, answers(unseen, 0), None);
        ledger.settled(unseen, true);
        assert_eq!(violations(&ledger), [(Violation::Mismatch, 5)]);
    }

    #[test]
    fn a_second_end_is_a_violation() {
        let ledger = ledger();
        let any = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.handled(asks(any), 0);
        ledger.answered(any, answers(any, 0), None);
        ledger.answered(any, answers(any, 0), None);
        ledger.settled(any, true);
        ledger.settled(any, true);
        ledger.answered(any, answers(any, 0), None);
        let all = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.answered(all, answers(all, 1), Some(1));
        ledger.failed(all, Some(1));
        ledger.settled(all, true);
        assert_eq!(violations(&ledger), [(Violation::AnsweredTwice, 4)]);
    }

    #[test]
    fn a_wrong_count_and_missing_answers_are_violations() {
        let ledger = ledger();
        let unanswered = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.matched(unanswered, 2);
        ledger.answered(unanswered, answers(unanswered, 0), Some(0));
        ledger.settled(unanswered, true);
        let too_many = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.matched(too_many, 3);
        ledger.settled(too_many, false);
        ledger.sent(Recipients::Any, TIMEOUT);
        assert_eq!(
            violations(&ledger),
            [(Violation::WrongCount, 1), (Violation::Unanswered, 1), (Violation::Pending, 1)]
        );
    }

    #[test]
    fn a_count_is_short_by_recipients_that_have_gone_and_not_by_more() {
        for (lost, expected) in [(0, 2), (1, 1), (2, 0)] {
            let ledger = ledger();
            for count in [1, 2, 3] {
                let all = ledger.sent(Recipients::All(3), TIMEOUT);
                ledger.matched(all, count);
                for recipient in 0..count as usize {
                    ledger.answered(all, answers(all, recipient), Some(recipient));
                }
                ledger.settled(all, true);
            }
            let violations = ledger.verdict(lost).violations;
            assert_eq!(violations.get(&Violation::WrongCount).copied().unwrap_or(0), expected, "{lost} lost");
            assert_eq!(violations.len(), usize::from(expected > 0));
        }
    }

    #[test]
    fn an_end_after_the_deadline_is_a_violation_unless_within_the_grace() {
        let late = |grace, took| {
            let ledger = Ledger::new(grace);
            ledger.set_time(TIMEOUT);
            let request = ledger.sent(Recipients::Any, TIMEOUT);
            ledger.set_time(TIMEOUT + took);
            assert_eq!(ledger.settled(request, false), took);
            violations(&ledger)
        };
        let moment = Duration::from_nanos(1);
        assert_eq!(late(Duration::ZERO, TIMEOUT), []);
        assert_eq!(late(Duration::ZERO, TIMEOUT + moment), [(Violation::Late, 1)]);
        assert_eq!(late(moment, TIMEOUT + moment), []);
    }

    #[test]
    fn a_handler_that_runs_although_the_sender_was_told_otherwise_is_a_violation_before_and_after() {
        for told_first in [false, true] {
            let ledger = ledger();
            let one = ledger.sent(Recipients::One(1), TIMEOUT);
            let all = ledger.sent(Recipients::All(2), TIMEOUT);
            let (tell, handle) = (
                || (ledger.unhandled(one, None), ledger.unhandled(all, Some(1))),
                || (0..2).for_each(|recipient| ledger.handled(asks(all), recipient)),
            );
            if told_first {
                tell();
            }
            handle();
            ledger.handled(asks(one), 1);
            if !told_first {
                tell();
            }
            ledger.settled(one, false);
            ledger.settled(all, false);
            // Recipient 0 of the second was not spoken of.
            assert_eq!(violations(&ledger), [(Violation::HandledAfterAll, 2)]);
        }
    }
}
