//! A request to every session that a filter matches: looking for them, their number, the deliveries (rules M-9 to M-13).
//!
//! All of it may take long, so it is done a part at a time, and others are served between (`turns`).

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::Encode;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{Header, HeaderBlock, Headers};
use antiphon_protocol::wire::layouts::{ErrorReport, FilterOutcome, SendToFilter, SendToPath, SerialisedValue};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingFilterSender, MessagingSend, Service};

use super::exchanges::ReplyTo;
use super::filter::{Fault, Filter, TooMuchWork};
use super::gate::Action;
use super::headers::check_metadata;
use super::per_session::SessionKey;
use super::refusal::{Failure, Refusal};
use super::routing::{RECIPIENT_IS_FULL, TOO_LATE, check_time, no_room};
use super::search::Search;
use super::serve::{Answer, Asker};
use super::tasks::{FanOut, HeldRequest, Stage, Task};
use super::turns::Intake;
use super::{Broker, Output, cost};

/// Bytes of deliveries after which others are served.
const TURN_BYTES: usize = 256 << 10;

/// What the sender is told of a session that was to be asked.
const GONE: Failure<'_> =
    Failure::new(ErrorReason::CLUSTER_ROUTING, "the session ended before the request was delivered to it");

impl Broker {
    /// Delivers a request to every session that a filter matches: first the count, then exactly one answer or error for
    /// each of them (rules M-9 to M-13).
    ///
    /// Source: section 8.4.
    pub(super) fn route_to_filter(
        &mut self,
        asker: Asker,
        headers: &Headers<'_>,
        request: &SendToFilter<'_>,
    ) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::SendToFilter, request.path)?;
        check_metadata(headers)?;
        // Before anything of it is kept.
        self.check_memory()?;
        self.check_waiting(request.request.bytes.len() + headers.get(Header::Metadata).len())?;
        let before = self.work;
        let (filter, work) = Filter::parse_counted(request.filter);
        self.spend(work);
        let filter = match filter {
            Ok(filter) => filter,
            Err(fault) => return Ok(report::<MessagingFilterSender>(asker, &fault)),
        };
        // Who does not want to know how many answers there will be wants none of them.
        let reply_to = match asker.conversation {
            ConversationId::ONE_WAY => ReplyTo::Request(ConversationId::ONE_WAY),
            _ => ReplyTo::Filter { request: asker.conversation, responses: request.filter_conversation },
        };
        let SerialisedValue { type_name, bytes } = &request.request;
        let mut body = Vec::with_capacity(request.path.len() + type_name.len() + bytes.len() + 16);
        SendToPath { path: request.path, request: request.request.clone() }.encode(&mut body);
        let search = Search::new(&self.sessions, filter);
        self.spend(search.cost());
        let (timeout, stage) = (self.config.timeout_for(path), Stage::Looking(search));
        let mut passed_on = HeaderBlock::default();
        passed_on.add(Header::Metadata, headers.get(Header::Metadata));
        let fan_out = Box::new(FanOut { asker, reply_to, body, headers: passed_on, timeout, stage });
        // To read it may have taken as long as others can wait.
        match self.sessions.party_of(asker.session) {
            Some(party) if self.work - before > cost::TURN / 2 => {
                self.turns.go_on(asker.now, party, asker.session, fan_out);
            }
            _ => self.advance(asker.now, fan_out, self.config.turn_recipients)?,
        }
        Ok(Answer::Later)
    }

    /// Carries out a part of a request to a filter, with at most so many deliveries; the rest when others were served.
    fn advance(&mut self, now: Moment, mut fan_out: Box<FanOut>, most: usize) -> Result<(), Refusal> {
        let sender = fan_out.asker.session;
        let Some(party) = self.sessions.party_of(sender) else { return Ok(()) };
        fan_out.asker.now = now;
        if let Stage::Looking(search) = &mut fan_out.stage {
            check_time(fan_out.asker)?;
            if !self.look_further(search)? {
                self.turns.go_on(now, party, sender, fan_out);
                return Ok(());
            }
            let recipients = search.take_matching();
            self.announce(fan_out.asker, recipients.len(), fan_out.body.len())?;
            fan_out.stage = Stage::Delivering(recipients.into_iter());
        }
        let affordable = TURN_BYTES / fan_out.body.len().max(1);
        for _ in 0..most.min(affordable).max(1) {
            let Stage::Delivering(recipients) = &mut fan_out.stage else { return Ok(()) };
            let Some(recipient) = recipients.next() else { return Ok(()) };
            self.deliver_or_fail(&fan_out, recipient);
        }
        if fan_out.undelivered() > 0 {
            self.turns.go_on(now, party, sender, fan_out);
        }
        Ok(())
    }

    /// Looks for sessions that match, for as long as others can wait. Returns whether all were looked at.
    pub(super) fn look_further(&mut self, search: &mut Search) -> Result<bool, Refusal> {
        let left = search.work_left();
        let found = search.advance(&self.sessions, self.config.turn_work);
        self.spend(left - search.work_left());
        found.map_err(|TooMuchWork| no_room(TooMuchWork.to_string()))
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
    fn deliver_or_fail(&mut self, fan_out: &FanOut, recipient: SessionKey) {
        let FanOut { asker, reply_to, body, headers, timeout, .. } = fan_out;
        let failure = if self.sessions.get(recipient).is_none() {
            GONE
        } else if check_time(*asker).is_err() {
            TOO_LATE
        } else if self.is_full(recipient) {
            RECIPIENT_IS_FULL
        } else {
            let frame =
                |conversation| Message::ServiceRequest { service: MessagingSend::ID, conversation, body }.to_frame();
            return self.deliver(*asker, *reply_to, recipient, *timeout, &Headers::of(headers), frame);
        };
        self.route_response(recipient, asker.session, *reply_to, Err(failure));
    }

    /// The next party that has something under way goes on with it, for as long as others can wait.
    pub(super) fn take_turn(&mut self, now: Moment) {
        let Some(party) = self.turns.begin(now) else { return };
        let before = self.work;
        let mut has_asked_others = false;
        // A session does several things in a row: what it is told of them goes out in one write.
        let (mut current, mut since) = (None, before);
        while !has_asked_others
            && self.work - before < self.config.turn_work
            && let Some((session, task)) = self.turns.take(party)
        {
            if current != Some(session) {
                (current, since) = (Some(session), self.work);
            }
            match task {
                Task::FanOut(fan_out) => {
                    let asker = fan_out.asker;
                    if let Err(refusal) = self.advance(now, fan_out, self.turns.recipients()) {
                        self.refuse(asker, &refusal);
                    }
                    has_asked_others = true;
                }
                Task::Count(count) => {
                    let asker = count.asker;
                    if let Err(refusal) = self.go_on_counting(count) {
                        self.refuse(asker, &refusal);
                    }
                }
                Task::Held(request) => {
                    let HeldRequest { service, conversation, due, body, .. } = &request;
                    // Nothing was read from it because there was so much of it.
                    self.hear(now, session);
                    let asker = Asker { now, session, conversation: *conversation, due: *due };
                    self.handle_request(asker, &Headers::of(&request.headers), *service, body);
                }
                Task::LettingGo(given_up) => self.let_go_some(party, session, given_up),
                Task::Failing(failing) => self.fail_some(party, session, failing),
                Task::Answering(answering) => self.answer_some(party, session, answering),
                Task::TakingOut(paths) => self.take_out_some(party, session, paths),
            }
            let goes_on = !has_asked_others && self.work - since < self.config.turn_work / 8;
            let intake = self.turns.done(party, session, goes_on);
            self.regulate(session, intake);
        }
        self.sessions.charge(party, self.work - before);
        self.turns.end(now, party, has_asked_others);
    }

    /// Has more read of what a session's client sends, or no more for now.
    pub(super) fn regulate(&mut self, session: SessionKey, intake: Option<Intake>) {
        let connection = self.sessions.get(session).and_then(|session| session.connection());
        if let (Some(intake), Some(connection)) = (intake, connection) {
            self.outputs.push_back(match intake {
                Intake::Pause => Output::Pause(connection.id),
                Intake::Resume => Output::Resume(connection.id),
            });
        }
    }
}

/// Where and why a filter does not parse is an answer of its service.
pub(super) fn report<S>(asker: Asker, fault: &Fault) -> Answer
where
    S: for<'a> Service<Response<'a> = FilterOutcome<'a>>,
{
    let report = ErrorReport {
        message: &fault.message,
        line: i32::try_from(fault.line).unwrap_or(i32::MAX),
        column: i32::try_from(fault.column).unwrap_or(i32::MAX),
    };
    asker.answer::<S>(&FilterOutcome::Rejected(vec![report]))
}
