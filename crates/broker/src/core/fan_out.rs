//! A request to every session that a filter matches: looking for them, their number, the deliveries (rules M-9 to M-13).
//!
//! All of it may take long, so it is done a part at a time, and others are served between (`turns`).

use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::Encode;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::layouts::{
    ErrorReport, FilterOutcome, SendToFilter, SendToPath, SerialisedValue, ServiceFailure,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingFilterSender, MessagingSend, Service};

use super::Broker;
use super::exchanges::ReplyTo;
use super::filter::{Fault, Filter, TooMuchWork};
use super::gate::Action;
use super::per_session::SessionKey;
use super::refusal::Refusal;
use super::routing::{RECIPIENT_IS_FULL, no_room};
use super::search::Search;
use super::serve::{Answer, Asker};
use super::turns::{FanOut, HeldRequest, Stage, Task};

/// Bytes of deliveries after which others are served.
const TURN_BYTES: usize = 256 << 10;
/// Requests that were held up by an earlier one and are served before others are.
const TURN_REQUESTS: usize = 64;

/// What the sender is told of a session that was to be asked.
const GONE: ServiceFailure<'_> = ServiceFailure {
    description: "the session ended before the request was delivered to it",
    reason: ErrorReason::CLUSTER_ROUTING,
};

impl Broker {
    /// Delivers a request to every session that a filter matches: first the count, then exactly one answer or error for
    /// each of them (rules M-9 to M-13).
    ///
    /// Source: section 8.4.
    pub(super) fn route_to_filter(&mut self, asker: Asker, request: &SendToFilter<'_>) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::SendToFilter, request.path)?;
        // Before anything of it is kept.
        self.check_memory()?;
        let filter = match Filter::parse(request.filter) {
            Ok(filter) => filter,
            Err(fault) => return Ok(report(asker, &fault)),
        };
        // Who does not want to know how many answers there will be wants none of them.
        let reply_to = match asker.conversation {
            ConversationId::ONE_WAY => ReplyTo::Request(ConversationId::ONE_WAY),
            _ => ReplyTo::Filter(request.filter_conversation),
        };
        let SerialisedValue { type_name, bytes } = &request.request;
        let mut body = Vec::with_capacity(request.path.len() + type_name.len() + bytes.len() + 16);
        SendToPath { path: request.path, request: request.request.clone() }.encode(&mut body);
        let (timeout, stage) = (self.config.timeout_for(path), Stage::Looking(Search::new(&self.sessions, filter)));
        self.advance(
            asker.now,
            Box::new(FanOut { asker, reply_to, body, timeout, stage }),
            self.config.turn_recipients,
        )?;
        Ok(Answer::Later)
    }

    /// Carries out a part of a request to a filter, with at most so many deliveries; the rest when others were served.
    fn advance(&mut self, now: Moment, mut fan_out: Box<FanOut>, most: usize) -> Result<(), Refusal> {
        if let Stage::Looking(search) = &mut fan_out.stage {
            let found = search.advance(&self.sessions, self.config.turn_work);
            if !found.map_err(|TooMuchWork| no_room(TooMuchWork.to_string()))? {
                self.turns.begin(now, fan_out.asker.session, fan_out);
                return Ok(());
            }
            let recipients = search.take_matching();
            self.announce(fan_out.asker, recipients.len(), fan_out.body.len())?;
            fan_out.stage = Stage::Delivering(recipients.into_iter());
        }
        let FanOut { asker: Asker { session: sender, .. }, reply_to, body, timeout, stage } = &mut *fan_out;
        if let Stage::Delivering(recipients) = stage {
            let affordable = TURN_BYTES / body.len().max(1);
            for recipient in recipients.by_ref().take(most.min(affordable).max(1)) {
                self.deliver_or_fail(now, *sender, *reply_to, recipient, *timeout, body);
            }
            if recipients.len() > 0 {
                self.turns.begin(now, *sender, fan_out);
            }
        }
        Ok(())
    }

    /// Tells the sender how many sessions match, if they may all be asked. That comes before the first delivery: a session
    /// that matches its own filter answers too (rules M-10, M-11).
    fn announce(&mut self, asker: Asker, recipients: usize, bytes: usize) -> Result<(), Refusal> {
        self.check_room(asker.session, recipients, recipients.saturating_mul(bytes))?;
        let limit = self.config.max_fan_out_bytes;
        if recipients.saturating_mul(bytes) > limit {
            return Err(no_room(format!("the request to {recipients} sessions would take more than {limit} bytes")));
        }
        let count = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.send_answer(asker, asker.answer::<MessagingFilterSender>(&FilterOutcome::Matched(count)));
        Ok(())
    }

    /// Delivers to one of those that matched, whatever became of it since.
    fn deliver_or_fail(
        &mut self,
        now: Moment,
        sender: SessionKey,
        reply_to: ReplyTo,
        recipient: SessionKey,
        timeout: Duration,
        body: &[u8],
    ) {
        if self.sessions.get(recipient).is_none() {
            return self.route_response(recipient, sender, reply_to, Err(GONE));
        }
        if self.is_full(recipient) {
            let refusal = no_room(RECIPIENT_IS_FULL);
            return self.route_response(recipient, sender, reply_to, Err(refusal.as_wire()));
        }
        let frame =
            |conversation| Message::ServiceRequest { service: MessagingSend::ID, conversation, body }.to_frame();
        self.deliver(now, sender, reply_to, recipient, timeout, frame);
    }

    /// The next session that has something under way goes on with it, for as long as others can wait.
    pub(super) fn take_turn(&mut self, now: Moment) {
        if let Some(session) = self.turns.next_session(now) {
            self.take_turn_of(now, session);
        }
    }

    /// A session asks for more than can wait until what it asked for before is done: that is done at once.
    pub(super) fn finish_turns_of(&mut self, now: Moment, session: SessionKey) {
        while self.turns.call(session) {
            self.take_turn_of(now, session);
        }
    }

    fn take_turn_of(&mut self, now: Moment, session: SessionKey) {
        for _ in 0..TURN_REQUESTS {
            match self.turns.take(session) {
                Some(Task::FanOut(fan_out)) => {
                    let asker = fan_out.asker;
                    if let Err(refusal) = self.advance(now, fan_out, self.turns.recipients()) {
                        self.refuse(asker, &refusal);
                    }
                    break;
                }
                Some(Task::Held(HeldRequest { service, conversation, body })) => {
                    self.handle_request(Asker { now, session, conversation }, service, &body);
                }
                None => break,
            }
        }
        self.turns.end_turn(session);
    }
}

/// Where and why a filter does not parse is an answer of its service.
fn report(asker: Asker, fault: &Fault) -> Answer {
    let report = ErrorReport {
        message: &fault.message,
        line: i32::try_from(fault.line).unwrap_or(i32::MAX),
        column: i32::try_from(fault.column).unwrap_or(i32::MAX),
    };
    asker.answer::<MessagingFilterSender>(&FilterOutcome::Rejected(vec![report]))
}
