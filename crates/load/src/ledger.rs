//! An account of requests, kept by whoever makes them, that shows whether each came to exactly one end.
//!
//! What must hold, whatever happens to servers and connections: *each request gets exactly one answer or one error
//! within its deadline; no handler sees a request twice, or one of which the sender was told that no handler ran; nothing
//! is pending at the end.* Requests and answers carry a [`Stamp`], so an answer that belongs to another request is noticed
//! as well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names a request of one [`Ledger`]; they count up from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

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

/// What a value says of itself: the request that it is or answers, and who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The request.
    pub request: RequestId,
    /// Who answers; nobody in the request itself.
    pub recipient: Option<usize>,
}

/// Something that must not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The number of recipients is not what it should be.
    WrongCount,
    /// A handler was given a request that it should not get, or that nobody sent.
    Misrouted,
    /// A handler was given a request again, or a request for one recipient was given to two.
    HandledTwice,
    /// A handler was given a request of which the sender was told that no handler ran.
    HandledAfterAll,
    /// An answer that is not that of the recipient to this request.
    Mismatch,
    /// A second answer or error, or one after the end of the request.
    AnsweredTwice,
    /// The request ended well without all the answers.
    Unanswered,
    /// The request ended after its deadline.
    Late,
    /// The request has not ended.
    Pending,
}

impl Fault {
    /// For programs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongCount => "wrong-count",
            Self::Misrouted => "misrouted",
            Self::HandledTwice => "handled-twice",
            Self::HandledAfterAll => "handled-after-all",
            Self::Mismatch => "mismatch",
            Self::AnsweredTwice => "answered-twice",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
            Self::Pending => "pending",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a ledger has to say at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How often each fault was seen. The invariant holds if there are none.
    pub faults: BTreeMap<Fault, u64>,
    /// The first of them, for people.
    pub examples: Vec<String>,
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
    open: HashMap<RequestId, Open>,
    /// Requests for one recipient that some handler was given, by ID. Kept for good, as is the next one: a request may
    /// be delivered again long after its end.
    handled_by_one: Bits,
    /// Which recipients were given a request that is for all.
    handled_by_all: HashMap<RequestId, Bits>,
    /// Requests that no handler was given, by what the sender was told.
    unhandled: HashSet<RequestId>,
    /// The same of one recipient of a request that is for all.
    unhandled_by: HashSet<(RequestId, usize)>,
    /// Requests for all that went to fewer, by so many.
    short: Vec<(RequestId, u32)>,
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

/// Faults that are described; all are counted.
const MAX_EXAMPLES: usize = 10;

impl Ledger {
    /// An empty one. A request is [late](Fault::Late) when it ends more than `grace` after its deadline.
    #[must_use]
    pub fn new(grace: Duration) -> Self {
        Self { grace, start: Instant::now(), books: Mutex::default() }
    }

    /// For simulations: so much time has passed since the start, and none passes until this is called again.
    pub fn set_time(&self, since_start: Duration) {
        self.books().time = Some(since_start);
    }

    /// A request is about to be sent, which has to end within `timeout`.
    pub fn sent(&self, to: Recipients, timeout: Duration) -> RequestId {
        let mut books = self.books();
        let request = RequestId(books.sent);
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
            return books.fault(Fault::Misrouted, format_args!("recipient {recipient} was given {stamp:?}"));
        };
        let is_first = match books.handled_by_all.get_mut(&request) {
            Some(handled_by) => handled_by.insert(recipient as u64),
            None => books.handled_by_one.insert(request.0),
        };
        if !is_first {
            books.fault(Fault::HandledTwice, format_args!("{request:?}, now by recipient {recipient}"));
        }
        if books.unhandled.contains(&request) || books.unhandled_by.contains(&(request, recipient)) {
            books.fault(Fault::HandledAfterAll, format_args!("{request:?}, by recipient {recipient}"));
        }
        // It may have timed out before it was delivered.
        let Some(open) = books.open.get_mut(&request) else { return };
        open.handled_by = Some(recipient);
        if let Recipients::One(meant) = open.to
            && meant != recipient
        {
            books.fault(Fault::Misrouted, format_args!("{request:?} for {meant} was given to {recipient}"));
        }
    }

    /// The server said how many recipients a request has that is for all.
    pub fn matched(&self, request: RequestId, count: u32) {
        let books = &mut *self.books();
        let Some(open) = books.open.get_mut(&request) else { return };
        open.expected = count;
        match open.to {
            Recipients::All(all) if count <= all => {
                if count < all {
                    books.short.push((request, all - count));
                }
            }
            to => books.fault(Fault::WrongCount, format_args!("{request:?} to {to:?} was sent to {count}")),
        }
    }

    /// An answer came that says `stamp`; nothing if it cannot be read. `from` is who answers according to the server,
    /// if it says that.
    pub fn answered(&self, request: RequestId, stamp: Option<Stamp>, from: Option<usize>) {
        let books = &mut *self.books();
        let Some(open) = books.open.get(&request) else {
            return books.fault(Fault::AnsweredTwice, format_args!("{request:?}, after its end"));
        };
        // Whoever answers was given the request, and by that account it is the one that the server means.
        let expected = match open.to {
            Recipients::Any => open.handled_by,
            Recipients::One(recipient) => Some(recipient),
            Recipients::All(_) => from,
        };
        if expected.is_none() || stamp != Some(Stamp { request, recipient: expected }) {
            books.fault(Fault::Mismatch, format_args!("{request:?} to {expected:?} was answered with {stamp:?}"));
        }
        books.count_answer(request, from);
    }

    /// A recipient of a request that is for all has failed; nothing if it is not known.
    pub fn failed(&self, request: RequestId, from: Option<usize>) {
        let books = &mut *self.books();
        if from.is_none() {
            books.fault(Fault::Mismatch, format_args!("{request:?} was failed by somebody it was not sent to"));
        }
        books.count_answer(request, from);
    }

    /// The error that a request came to says that no handler ran, or that of one recipient does. Told before the request is
    /// [settled](Self::settled).
    pub fn unhandled(&self, request: RequestId, from: Option<usize>) {
        let books = &mut *self.books();
        let handled = match (books.handled_by_all.get(&request), from) {
            (Some(handled_by), Some(recipient)) => handled_by.contains(recipient as u64),
            (Some(handled_by), None) => !handled_by.is_empty(),
            (None, _) => books.handled_by_one.contains(request.0),
        };
        if handled {
            books.fault(Fault::HandledAfterAll, format_args!("{request:?}, before the sender was told ({from:?})"));
        }
        match from {
            Some(recipient) => drop(books.unhandled_by.insert((request, recipient))),
            None => drop(books.unhandled.insert(request)),
        }
    }

    /// A request has come to its end: well, or with an error. Returns how long it took.
    pub fn settled(&self, request: RequestId, well: bool) -> Duration {
        let books = &mut *self.books();
        let Some(open) = books.open.remove(&request) else {
            books.fault(Fault::AnsweredTwice, format_args!("{request:?} ended again"));
            return Duration::ZERO;
        };
        let took = self.now(books).saturating_sub(open.sent_at);
        if took > open.timeout.saturating_add(self.grace) {
            books.fault(Fault::Late, format_args!("{request:?} ended after {took:?} instead of {:?}", open.timeout));
        }
        let Open { answers, expected, .. } = open;
        if well && answers < expected {
            books.fault(Fault::Unanswered, format_args!("{request:?} has {answers} of {expected} answers"));
        }
        took
    }

    /// The first thing that must not happen, if something has.
    pub fn first_fault(&self) -> Option<String> {
        self.books().verdict.examples.first().cloned()
    }

    /// What there is to say when everything has come to its end: what has not is a fault. `lost` recipients have gone
    /// meanwhile, so as many may be missing where a request went to all.
    #[must_use]
    pub fn verdict(&self, lost: u32) -> Verdict {
        let books = &mut *self.books();
        for request in std::mem::take(&mut books.open).into_keys() {
            books.fault(Fault::Pending, format_args!("{request:?}"));
        }
        for (request, missing) in std::mem::take(&mut books.short) {
            if missing > lost {
                books.fault(
                    Fault::WrongCount,
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
        // A panic elsewhere is no reason to lose the account.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn count_answer(&mut self, request: RequestId, from: Option<usize>) {
        let Some(open) = self.open.get_mut(&request) else {
            return self.fault(Fault::AnsweredTwice, format_args!("{request:?}, after its end"));
        };
        open.answers += 1;
        let is_first = match open.to {
            Recipients::Any | Recipients::One(_) => open.answers == 1,
            Recipients::All(_) => from.is_none_or(|from| open.answered_by.insert(from as u64)),
        };
        if !is_first {
            self.fault(Fault::AnsweredTwice, format_args!("{request:?}, now by {from:?}"));
        }
    }

    fn fault(&mut self, fault: Fault, text: fmt::Arguments<'_>) {
        *self.verdict.faults.entry(fault).or_default() += 1;
        if self.verdict.examples.len() < MAX_EXAMPLES {
            self.verdict.examples.push(format!("{fault}: {text}"));
        }
    }
}

/// A set of small numbers, a bit each: a ledger may have to remember millions.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    /// Returns false if the number was in the set already.
    fn insert(&mut self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    fn contains(&self, number: u64) -> bool {
        self.0.get((number / 64) as usize).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Stamp {
    /// Bytes that a stamp takes in a value, at least.
    pub const SIZE: usize = 16;

    /// A value of `size` bytes, but at least [`Self::SIZE`], that says this. What follows the stamp depends on it.
    #[must_use]
    pub fn to_bytes(self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size.max(Self::SIZE));
        bytes.extend_from_slice(&self.request.0.to_be_bytes());
        let recipient = self.recipient.map_or(NOBODY, |recipient| recipient as u64);
        bytes.extend_from_slice(&recipient.to_be_bytes());
        bytes.resize(size.max(Self::SIZE), self.filling());
        bytes
    }

    /// What a value says; nothing if it is damaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (request, rest) = bytes.split_first_chunk()?;
        let (recipient, rest) = rest.split_first_chunk()?;
        let recipient = match u64::from_be_bytes(*recipient) {
            NOBODY => None,
            recipient => Some(usize::try_from(recipient).ok()?),
        };
        let stamp = Self { request: RequestId(u64::from_be_bytes(*request)), recipient };
        rest.iter().all(|byte| *byte == stamp.filling()).then_some(stamp)
    }

    fn filling(self) -> u8 {
        (self.request.0 % 251) as u8
    }
}

/// Stands for no recipient.
const NOBODY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn ledger() -> Ledger {
        Ledger::new(Duration::from_millis(100))
    }

    fn asks(request: RequestId) -> Option<Stamp> {
        Some(Stamp { request, recipient: None })
    }

    fn answers(request: RequestId, recipient: usize) -> Option<Stamp> {
        Some(Stamp { request, recipient: Some(recipient) })
    }

    fn faults(ledger: &Ledger) -> Vec<(Fault, u64)> {
        ledger.verdict(0).faults.into_iter().collect()
    }

    #[test]
    fn requests_that_end_once_are_no_fault() {
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
    fn a_handler_that_sees_a_request_again_is_a_fault_even_after_its_end() {
        let ledger = ledger();
        let any = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.handled(asks(any), 0);
        ledger.answered(any, answers(any, 0), None);
        ledger.settled(any, true);
        assert_eq!(ledger.first_fault(), None);
        ledger.handled(asks(any), 1);
        assert!(ledger.first_fault().is_some());
        let all = ledger.sent(Recipients::All(1), TIMEOUT);
        ledger.handled(asks(all), 0);
        ledger.handled(asks(all), 0);
        ledger.settled(all, false);
        assert_eq!(faults(&ledger), [(Fault::HandledTwice, 2)]);
    }

    #[test]
    fn a_request_that_goes_to_somebody_else_is_a_fault() {
        let ledger = ledger();
        let one = ledger.sent(Recipients::One(4), TIMEOUT);
        ledger.handled(asks(one), 5);
        ledger.handled(asks(RequestId(99)), 5);
        ledger.handled(None, 5);
        ledger.settled(one, false);
        assert_eq!(faults(&ledger), [(Fault::Misrouted, 3)]);
    }

    #[test]
    fn an_answer_to_another_request_or_of_another_recipient_is_a_fault() {
        let ledger = ledger();
        for wrong in [answers(RequestId(77), 0), answers(RequestId(1), 1), asks(RequestId(2)), None] {
            let any = ledger.sent(Recipients::Any, TIMEOUT);
            ledger.handled(asks(any), 0);
            ledger.answered(any, wrong, None);
            ledger.settled(any, true);
        }
        // By all accounts, nobody was given this one.
        let unseen = ledger.sent(Recipients::Any, TIMEOUT);
        ledger.answered(unseen, answers(unseen, 0), None);
        ledger.settled(unseen, true);
        assert_eq!(faults(&ledger), [(Fault::Mismatch, 5)]);
    }

    #[test]
    fn a_second_end_is_a_fault() {
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
        assert_eq!(faults(&ledger), [(Fault::AnsweredTwice, 4)]);
    }

    #[test]
    fn a_wrong_count_and_missing_answers_are_faults() {
        let ledger = ledger();
        let unanswered = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.matched(unanswered, 2);
        ledger.answered(unanswered, answers(unanswered, 0), Some(0));
        ledger.settled(unanswered, true);
        let too_many = ledger.sent(Recipients::All(2), TIMEOUT);
        ledger.matched(too_many, 3);
        ledger.settled(too_many, false);
        ledger.sent(Recipients::Any, TIMEOUT);
        assert_eq!(faults(&ledger), [(Fault::WrongCount, 1), (Fault::Unanswered, 1), (Fault::Pending, 1)]);
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
            let faults = ledger.verdict(lost).faults;
            assert_eq!(faults.get(&Fault::WrongCount).copied().unwrap_or(0), expected, "{lost} lost");
            assert_eq!(faults.len(), usize::from(expected > 0));
        }
    }

    #[test]
    fn an_end_after_the_deadline_is_a_fault_unless_within_the_grace() {
        let late = |grace, took| {
            let ledger = Ledger::new(grace);
            ledger.set_time(TIMEOUT);
            let request = ledger.sent(Recipients::Any, TIMEOUT);
            ledger.set_time(TIMEOUT + took);
            assert_eq!(ledger.settled(request, false), took);
            faults(&ledger)
        };
        let moment = Duration::from_nanos(1);
        assert_eq!(late(Duration::ZERO, TIMEOUT), []);
        assert_eq!(late(Duration::ZERO, TIMEOUT + moment), [(Fault::Late, 1)]);
        assert_eq!(late(moment, TIMEOUT + moment), []);
    }

    #[test]
    fn a_handler_that_runs_although_the_sender_was_told_otherwise_is_a_fault_before_and_after() {
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
            assert_eq!(faults(&ledger), [(Fault::HandledAfterAll, 2)]);
        }
    }

    #[test]
    fn a_stamp_survives_in_a_value_of_any_size_and_damage_shows() {
        for size in [0, 16, 17, 256] {
            for stamp in [asks(RequestId(300)), answers(RequestId(u64::MAX), 9)].into_iter().flatten() {
                let mut bytes = stamp.to_bytes(size);
                assert_eq!(bytes.len(), size.max(Stamp::SIZE));
                assert_eq!(Stamp::from_bytes(&bytes), Some(stamp));
                if let Some(last) = bytes.get_mut(16..).and_then(<[u8]>::last_mut) {
                    *last ^= 1;
                    assert_eq!(Stamp::from_bytes(&bytes), None);
                }
            }
        }
        assert_eq!(Stamp::from_bytes(&[0; 15]), None);
    }
}
