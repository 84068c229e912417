//! The idle check: notices that nothing comes from the server any more (rules L-5), in time of its own or, by a *probe*,
//! soon after there was reason to ask.

use std::time::Duration;

use crate::time::Moment;
use crate::wire::primitives::ConversationId;

/// Watches one connection. Does not set its timer with every message: it is only looked at when it is due.
#[derive(Debug)]
pub struct IdleCheck {
    /// The server promised a sign of life within this time; [`Duration::MAX`] if it promised none.
    patience: Duration,
    last_heard: Moment,
    /// When to look again.
    due: Moment,
    /// Whether nothing came for too long, by a timer that may have been late itself.
    is_suspect: bool,
    /// How long the line needed, when something was heard last, for what was sent before; at most, in microseconds.
    sending: u64,
    /// The ping that is being answered, and until when.
    probe: Option<(ConversationId, Moment)>,
}

/// How long a connection that seems dead is given, so that what has arrived is read first: timers of hidden pages are late.
const GRACE: Duration = Duration::from_secs(1);

/// How long the answer to a probe may take, without [`GRACE`].
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// The same, with it.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a line may take for a byte, in microseconds: an answer that has to wait behind a large message takes longer.
const TIME_PER_BYTE: u64 = 8;

impl IdleCheck {
    /// Of a connection that begins now, with a server that says something every `ping_period`, if it says so.
    pub fn new(now: Moment, ping_period: Option<Duration>) -> Self {
        let patience = ping_period.map_or(Duration::MAX, |period| period.saturating_mul(2));
        let due = now + patience;
        Self { patience, last_heard: now, due, is_suspect: false, sending: 0, probe: None }
    }

    /// Something came.
    pub fn heard(&mut self, now: Moment) {
        self.sending = self.still_sending(now);
        self.last_heard = now;
        self.is_suspect = false;
        // It may have been on its way before; but where something arrives, the answer has a little longer.
        if let Some((_, until)) = &mut self.probe {
            *until = (*until).max(now + ANSWER_PATIENCE);
        }
    }

    /// So many bytes are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sending = self.sending.wrapping_add(TIME_PER_BYTE * bytes as u64);
    }

    fn still_sending(&self, now: Moment) -> u64 {
        self.sending.saturating_sub(now.0.saturating_sub(self.last_heard.0))
    }

    /// Whether a probe is being answered.
    pub fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// A ping is sent, to which the answer has to come.
    pub fn probe(&mut self, now: Moment, conversation: ConversationId) {
        let until = Moment(now.0 + self.still_sending(now)) + ANSWER_PATIENCE;
        self.probe = Some((conversation, until));
        self.is_suspect = false;
        self.due = until;
    }

    /// An answer came. Returns whether it is that to the probe.
    pub fn answered(&mut self, conversation: ConversationId) -> bool {
        let is_ours = self.probe.is_some_and(|(probe, _)| probe == conversation);
        if is_ours {
            self.probe = None;
        }
        is_ours
    }

    /// When [`Self::is_dead`] is to be asked.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// How long it may take until something comes.
    pub fn patience(&self) -> Duration {
        if self.is_probing() { PROBE_PATIENCE } else { self.patience }
    }

    /// Whether nothing will come any more, as far as can be told; if not, says when to ask again.
    pub fn is_dead(&mut self, now: Moment) -> bool {
        let silent_at = self.probe.map_or(self.last_heard + self.patience, |(_, until)| until);
        if silent_at > now {
            self.due = silent_at;
        } else if !self.is_suspect {
            self.is_suspect = true;
            self.due = now + GRACE;
        } else {
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Moment = Moment(0);
    const PROBE: ConversationId = ConversationId(7);

    /// When the connection is given up, if its timer rings in time and nothing more comes.
    fn dies_at(mut idle: IdleCheck) -> Moment {
        while !idle.is_dead(idle.due()) {}
        idle.due()
    }

    /// L-5.
    #[test]
    fn a_probe_that_nothing_answers_is_the_end_after_three_seconds() {
        let mut idle = IdleCheck::new(START, Some(SECOND * 25));
        assert_eq!(dies_at(IdleCheck::new(START, Some(SECOND * 25))), START + SECOND * 51);
        idle.probe(START + SECOND * 10, PROBE);
        assert_eq!(dies_at(idle), START + SECOND * 13);
    }

    #[test]
    fn an_answer_to_something_else_is_a_sign_of_life_but_no_answer() {
        let mut idle = IdleCheck::new(START, None);
        idle.probe(START, PROBE);
        idle.heard(START + SECOND);
        assert!(!idle.answered(ConversationId(8)) && idle.is_probing());
        assert_eq!(dies_at(idle), START + SECOND * 4);
        let mut idle = IdleCheck::new(START, None);
        idle.probe(START, PROBE);
        idle.heard(START + SECOND);
        assert!(idle.answered(PROBE) && !idle.is_probing());
        assert!(!idle.is_dead(START + SECOND * 1000));
    }

    #[test]
    fn an_answer_has_the_time_that_what_was_sent_before_needs_on_a_slow_line() {
        let mut idle = IdleCheck::new(START, None);
        idle.sent(1_000_000); // 8 s
        idle.heard(START + SECOND * 2);
        idle.probe(START + SECOND * 3, PROBE);
        assert_eq!(dies_at(idle), START + SECOND * 11);
    }

    #[test]
    fn a_timer_that_rings_late_gives_the_answer_a_second_to_be_read() {
        let mut idle = IdleCheck::new(START, None);
        idle.probe(START, PROBE);
        assert!(!idle.is_dead(START + SECOND * 100));
        idle.heard(START + SECOND * 100);
        assert!(idle.answered(PROBE));
    }
}
