//! Losing the connection and taking the session up again (section 10).

use std::mem;
use std::time::Duration;

use super::error::milliseconds;
use super::handlers::Handler;
use super::requests::Pending;
use super::{ClientSession, CloseCode, Connected, Event, Output, Phase, RequestError, Timer};
use crate::text;
use crate::time::Moment;
use crate::wire::handshake::{Recovery, ResponseCode};
use crate::wire::primitives::ConversationId;

/// A timer that rings so much later than it should says that this machine slept.
const TIMER_IS_LATE: Duration = Duration::from_secs(1);

/// What a session knows while it has no connection.
#[derive(Debug)]
pub(super) struct Recovering {
    /// What held before.
    pub last: Connected,
    pub stage: Stage,
    /// Counted from 1.
    attempt: u32,
    /// Whether the server has forgotten the session, so that we ask for a new one.
    is_fresh: bool,
    /// When we give up.
    give_up_at: Moment,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// For the next attempt; `until` is known once the application has chosen a delay.
    Waiting { until: Option<Moment> },
    /// A connection is being opened, or the response awaited.
    Connecting { deadline: Moment },
}

impl ClientSession {
    /// Says how long to wait before the attempt that [`Output::Retry`] asked about.
    pub fn retry_after(&mut self, now: Moment, delay: Duration) {
        if let Phase::Recovering(Recovering { stage: Stage::Waiting { until: until @ None }, .. }) = &mut self.phase {
            *until = Some(now + delay);
            self.deadlines.insert(now + delay, Timer::Retry);
        }
    }

    /// Tries to reconnect at once, if the session is waiting to: there is reason to believe that it works now.
    pub fn retry_now(&mut self, now: Moment) {
        self.retry(now);
    }

    /// Number of conversations that are open: requests under way, and registered handlers.
    #[must_use]
    pub fn open_conversations(&self) -> usize {
        self.conversations.len()
    }

    /// What is presented to the server to have the session again; nothing for a new session.
    pub(super) fn recovery(&self) -> Option<Recovery> {
        match &self.phase {
            Phase::Recovering(Recovering { last, is_fresh: false, .. }) => Some(Recovery {
                token: last.token.as_text().to_owned(),
                oldest_sent: self.sent.first(),
                last_received: self.received_messages,
            }),
            _ => None,
        }
    }

    /// The connection of an open session is gone; `code` and `reason` are for the case that it ends with it.
    pub(super) fn lose_connection(&mut self, now: Moment, code: CloseCode, reason: String) {
        if self.config.reconnect_timeout.is_zero() {
            return self.end(code, reason, &RequestError::ConnectionLost);
        }
        let mut last = match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connected(last) => last,
            other => {
                self.phase = other;
                return;
            }
        };
        if let Some(at) = last.idle_at {
            self.deadlines.remove(at, Timer::Idle);
        }
        // A server that breaks the protocol again and again is asked less and less often, and not for what it sent before:
        // that would be the same again.
        let is_fresh = code == CloseCode::TransportError;
        last.violations = if is_fresh { last.violations + 1 } else { 0 };
        let attempt = last.violations.max(1);
        let give_up_at = now + self.config.reconnect_timeout;
        self.deadlines.insert(give_up_at, Timer::GiveUp);
        let stage = Stage::Waiting { until: None };
        self.phase = Phase::Recovering(Recovering { last, stage, attempt, is_fresh, give_up_at });
        self.outputs.push_back(Output::Disconnect);
        self.outputs.push_back(Output::Deliver(Event::Disconnected(reason)));
        self.outputs.push_back(Output::Retry(attempt));
    }

    pub(super) fn retry(&mut self, now: Moment) {
        let deadline = now + self.config.connect_timeout;
        let Phase::Recovering(Recovering { stage: stage @ Stage::Waiting { .. }, .. }) = &mut self.phase else {
            return;
        };
        if let Stage::Waiting { until: Some(until) } = mem::replace(stage, Stage::Connecting { deadline }) {
            self.deadlines.remove(until, Timer::Retry);
        }
        self.deadlines.insert(deadline, Timer::Connect);
        self.outputs.push_back(Output::Connect);
    }

    /// An attempt to reconnect came to nothing; there will be others.
    pub(super) fn fail_attempt(&mut self) {
        if self.stop_connecting()
            && let Phase::Recovering(recovering) = &mut self.phase
        {
            recovering.attempt += 1;
            self.outputs.push_back(Output::Retry(recovering.attempt));
        }
    }

    /// Ends the attempt under way; false if there is none.
    fn stop_connecting(&mut self) -> bool {
        let Phase::Recovering(Recovering { stage, .. }) = &mut self.phase else { return false };
        let Stage::Connecting { deadline } = *stage else { return false };
        *stage = Stage::Waiting { until: None };
        self.deadlines.remove(deadline, Timer::Connect);
        self.outputs.push_back(Output::Disconnect);
        true
    }

    /// The server has forgotten the session, or cannot go on with it: asks for a new one, at once.
    fn start_afresh(&mut self, now: Moment) {
        self.stop_connecting();
        if let Phase::Recovering(recovering) = &mut self.phase {
            recovering.is_fresh = true;
        }
        self.retry(now);
    }

    /// The server refused a reconnection; false if that is the end of it.
    pub(super) fn try_otherwise(&mut self, now: Moment, code: ResponseCode) -> bool {
        let Phase::Recovering(Recovering { is_fresh, .. }) = &self.phase else { return false };
        match code {
            ResponseCode::UNKNOWN_SESSION
            | ResponseCode::RECONNECTION_UNSUPPORTED
            | ResponseCode::RECONNECTION_FAILED_MESSAGE_LOSS
                if !is_fresh =>
            {
                self.start_afresh(now);
            }
            ResponseCode::SERVER_INITIALISING => self.fail_attempt(),
            _ => return false,
        }
        true
    }

    pub(super) fn give_up(&mut self, now: Moment) {
        let late = now + self.config.connect_timeout;
        let Phase::Recovering(Recovering { give_up_at, .. }) = &mut self.phase else { return };
        if now.since(*give_up_at) > TIMER_IS_LATE {
            // Nobody could try while the machine or the page slept.
            *give_up_at = late;
            self.deadlines.insert(late, Timer::GiveUp);
            self.retry(now);
        } else {
            let reason = text!["no connection for ", milliseconds(self.config.reconnect_timeout), " ms"];
            self.end(CloseCode::ConnectionTimeout, reason, &RequestError::ConnectionLost);
        }
    }

    /// The server let us in again. `tail` is the number of the first message that it wants to have again, if nothing was
    /// lost.
    pub(super) fn resume(&mut self, now: Moment, code: ResponseCode, mut connected: Connected, tail: i32) {
        let missed = if code == ResponseCode::RECONNECTED {
            let missed = self.sent.since(u64::try_from(tail).unwrap_or(0));
            let missed = missed.map(|missed| missed.cloned().collect::<Vec<_>>());
            if missed.is_none() {
                // It wants what we no longer have.
                return self.start_afresh(now);
            }
            missed
        } else {
            None
        };
        let Phase::Recovering(Recovering { last, stage, give_up_at, .. }) =
            mem::replace(&mut self.phase, Phase::Closed)
        else {
            return;
        };
        self.deadlines.remove(give_up_at, Timer::GiveUp);
        if let Stage::Connecting { deadline } = stage {
            self.deadlines.remove(deadline, Timer::Connect);
        }
        let session = connected.session;
        let (lossless, new_session) = (missed.is_some(), session != last.session);
        if lossless {
            // The response has no room for it then.
            connected.max_message_size = last.max_message_size;
        }
        connected.violations = last.violations;
        self.phase = Phase::Connected(connected);
        match missed {
            Some(missed) => self.outputs.extend(missed.into_iter().map(Output::Send)),
            None => self.lose_messages(),
        }
        self.watch(now);
        self.outputs.push_back(Output::Deliver(Event::Reconnected { session, lossless, new_session }));
        for unsent in mem::take(&mut self.unsent) {
            self.send(unsent.frame);
        }
    }

    /// The counters start anew, and the server has discarded every conversation: fails what was asked, and registers the
    /// request handlers again.
    fn lose_messages(&mut self) {
        self.sent.reset();
        self.received_messages = 0;
        self.deadlines.clear();
        let all: Vec<_> = self.conversations.close_all().collect();
        let unsettled: Vec<_> = all.iter().filter_map(|(_, pending)| pending.unsettled_registration()).collect();
        let mut handlers = Vec::new();
        let mut requests = 0;
        for (conversation, pending) in all {
            match pending {
                _ if self.unsent.iter().any(|unsent| unsent.is_for(conversation)) => self.open(conversation, pending),
                Pending::Handler(_) if unsettled.contains(&conversation) => {}
                Pending::Handler(handler) if handler.reregister => handlers.push((conversation, handler)),
                Pending::Handler(_) => self.lose_handler(conversation),
                pending => {
                    requests += usize::from(pending.is_request());
                    self.settle_at_end(conversation, &pending, &RequestError::ConnectionLost);
                }
            }
        }
        self.abandon_received();
        let event = Event::MessagesLost { requests, handlers: handlers.len() };
        self.outputs.push_back(Output::Deliver(event));
        for (registration, handler) in handlers {
            self.register_again(registration, handler);
        }
    }

    fn register_again(&mut self, registration: ConversationId, handler: Handler) {
        let sent = self.send_registration(&handler, registration, Pending::Reregistration { registration });
        // Only fails for a server that takes smaller messages than before.
        match sent {
            Ok(_) => drop(self.conversations.open(registration, Pending::Handler(handler))),
            Err(_) => self.lose_handler(registration),
        }
    }

    pub(super) fn lose_handler(&mut self, registration: ConversationId) {
        self.outputs.push_back(Output::Deliver(Event::HandlerLost(registration)));
    }

    /// The server answered a registration that was made again.
    pub(super) fn handle_registered_again(&mut self, registration: ConversationId, accepted: bool) {
        if !accepted {
            self.conversations.close(registration);
            self.lose_handler(registration);
        }
    }
}

impl Pending {
    /// The registration of which the server had not said, or was not to say any more, that it holds.
    fn unsettled_registration(&self) -> Option<ConversationId> {
        match self {
            Self::Registration { registration, .. }
            | Self::UnwantedRegistration { registration }
            | Self::Deregistration { registration, .. } => Some(*registration),
            _ => None,
        }
    }

    /// Whether it is one request of the application.
    fn is_request(&self) -> bool {
        match self {
            Self::Request { .. } | Self::FilterCount { .. } | Self::Service { .. } => true,
            // Before that, the conversation about the count stands for it.
            Self::FilterResponses(responses) => responses.is_counted(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientConfig, State};
    use crate::wire::handshake::{ConnectResponse, SessionToken};
    use crate::wire::primitives::SessionId;

    const SECOND: Duration = Duration::from_secs(1);

    fn drain(session: &mut ClientSession) {
        while session.poll_output().is_some() {}
    }

    /// The server's word on a connection: a session, and what it says last.
    fn answer(session: &mut ClientSession, now: Moment, code: ResponseCode, tail: i32) {
        let (id, token) = (SessionId { server: 1, value: 2 }, SessionToken::from_random([7; 18]));
        let accepted = ConnectResponse::Accepted { version: 25, code, session: id, token, ping_period: 0, tail };
        session.handle_open();
        session.handle_frame(now, &accepted.to_frame());
        drain(session);
    }

    #[test]
    fn a_retry_during_an_attempt_changes_nothing_and_leaves_no_timer_behind() {
        let config = ClientConfig { reconnect_timeout: SECOND * 60, ..ClientConfig::default() };
        let patience = config.connect_timeout;
        let mut session = ClientSession::new(config);
        let start = Moment(0);
        session.connect(start);
        answer(&mut session, start, ResponseCode::OK, 0);
        session.handle_disconnected(start, "cut");
        session.retry_now(start);
        drain(&mut session);
        session.retry_now(start + SECOND);
        assert_eq!(session.poll_output(), None);
        answer(&mut session, start + SECOND * 2, ResponseCode::RECONNECTED, 1);
        assert_eq!(session.state(), State::Connected);
        session.handle_timeout(start + patience * 2);
        assert_eq!(session.state(), State::Connected);
    }
    #[test]
    fn an_attempt_that_is_given_up_before_it_begins_opens_no_connection() {
        let mut session = ClientSession::new(ClientConfig { reconnect_timeout: SECOND, ..ClientConfig::default() });
        let start = Moment(0);
        session.connect(start);
        answer(&mut session, start, ResponseCode::OK, 0);
        session.handle_disconnected(start, "cut");
        drain(&mut session);
        session.retry_after(start, SECOND / 2);
        // Both the retry and the end are due.
        session.handle_timeout(start + SECOND);
        assert_eq!(session.state(), State::Closed);
        while let Some(output) = session.poll_output() {
            assert_ne!(output, Output::Connect);
        }
    }
}
