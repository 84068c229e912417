//! The phases of a session: connecting, connected, looking for another connection, saying goodbye, over (section 10).
//!
//! [`Connection`] knows which phase it is, and what went over the connections of the session, so that another one can go on
//! where the last one ended. Nobody else writes its fields: the session tells it what happened, and it returns the [`Step`]
//! that follows.
//!
//! - `handshake`: what the first message of a server means.
//! - `idle`: noticing that nothing comes from the server any more.
//! - `backoff`: how long to wait before an attempt to reconnect.

mod backoff;
mod handshake;
mod idle;

use std::mem;
use std::time::Duration;

use handshake::{Accepted, Refusal};
use idle::IdleCheck;

use super::error::{CloseCode, Closed, ConnectCode, ConnectError, RequestError, milliseconds};
use super::{ClientConfig, State};
use crate::negotiated::Negotiated;
use crate::recovery::RecoveryBuffer;
use crate::text;
use crate::time::Moment;
use crate::wire::handshake::{Recovery, ResponseCode, SessionToken};
use crate::wire::primitives::SessionId;

/// A connection of a session, or an attempt to make one. Counts up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// What follows from something that happened to the connection, for the rest of the session to carry out.
#[derive(Debug)]
pub(super) enum Step {
    Nothing,
    /// A connection is to be opened.
    Open(ConnectionId),
    /// The attempt is to be given up for another one, at once.
    OpenAnother(ConnectionId),
    /// There is no session, and there will be none.
    NotOpened(ConnectError),
    /// The session is open.
    Opened(SessionId),
    /// The connection is lost. Somebody has to choose how long to wait before this attempt.
    Lost {
        reason: String,
        attempt: u32,
    },
    /// An attempt came to nothing. The same for the next one.
    AttemptFailed {
        attempt: u32,
    },
    /// Connected again. `missed` is to be sent again; if it is nothing, all that was under way is lost.
    Reconnected {
        session: SessionId,
        missed: Option<Vec<Vec<u8>>>,
        new_session: bool,
    },
    /// The session is closing, and the server has to be told.
    Goodbye,
    /// The session is over; what is open fails with this error. `lost` says how it lost its connection, if that is why.
    Ended {
        closed: Closed,
        error: RequestError,
        lost: Option<String>,
    },
}

/// How a message gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// At once.
    Open,
    /// When there is a connection again.
    Later,
}

/// The connection of a session, whatever has become of it.
#[derive(Debug)]
pub(super) struct Connection {
    phase: Phase,
    /// The last one that was opened.
    last: ConnectionId,
    /// What was sent, for the case that the connection is lost.
    sent: RecoveryBuffer<Vec<u8>>,
    /// How many messages came from the server.
    received: u64,
    /// Of one attempt.
    connect_timeout: Duration,
    /// Of all attempts to reconnect.
    reconnect_timeout: Duration,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Connecting {
        attempt: Attempt,
        /// Whether the WebSocket is open and the response is being waited for.
        is_open: bool,
    },
    Connected(Connected),
    Recovering(Recovering),
    /// The close request is out; the connection is closed by the server or after [`CLOSE_PATIENCE`].
    Closing {
        connection: ConnectionId,
        deadline: Moment,
    },
    Closed,
}

/// A connection is being opened, or the response awaited.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    connection: ConnectionId,
    deadline: Moment,
}

/// What is known of an open session.
#[derive(Debug)]
struct Established {
    session: SessionId,
    /// Presented on reconnection.
    token: SessionToken,
    negotiated: Negotiated,
    /// How many connections in a row ended because of what the server sent.
    violations: u32,
}

#[derive(Debug)]
struct Connected {
    connection: ConnectionId,
    established: Established,
    idle: Option<IdleCheck>,
}

#[derive(Debug)]
struct Recovering {
    /// What held before.
    last: Established,
    stage: Stage,
    /// Counted from 1.
    attempt: u32,
    /// Whether the server has forgotten the session, so that we ask for a new one.
    is_fresh: bool,
    give_up_at: Moment,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Until somebody has chosen how long to wait.
    Choosing,
    /// For the next attempt.
    Waiting {
        until: Moment,
    },
    Connecting(Attempt),
}

/// How long the server has to close the connection after the close request (section 11).
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

/// A timer that rings so much later than it should says that this machine slept.
const TIMER_IS_LATE: Duration = Duration::from_secs(1);

impl Connection {
    pub fn new(config: &ClientConfig) -> Self {
        Self {
            phase: Phase::Idle,
            last: ConnectionId(0),
            sent: RecoveryBuffer::new(config.recovery),
            received: 0,
            connect_timeout: config.connect_timeout,
            reconnect_timeout: config.reconnect_timeout,
        }
    }

    // What is the case.

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Idle | Phase::Connecting { .. } => State::Connecting,
            Phase::Connected(_) => State::Connected,
            Phase::Recovering(_) => State::Recovering,
            Phase::Closing { .. } | Phase::Closed => State::Closed,
        }
    }

    /// The connection that is open or being opened.
    pub fn current(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Connected(Connected { connection, .. }) | Phase::Closing { connection, .. } => Some(*connection),
            _ => self.attempt().map(|attempt| attempt.connection),
        }
    }

    /// The attempt under way.
    fn attempt(&self) -> Option<Attempt> {
        match &self.phase {
            Phase::Connecting { attempt, .. }
            | Phase::Recovering(Recovering { stage: Stage::Connecting(attempt), .. }) => Some(*attempt),
            _ => None,
        }
    }

    /// Whether the first message of the server is being waited for.
    pub fn is_connecting(&self) -> bool {
        self.attempt().is_some()
    }

    fn established(&self) -> Option<&Established> {
        match &self.phase {
            Phase::Connected(Connected { established, .. }) => Some(established),
            Phase::Recovering(Recovering { last, .. }) => Some(last),
            _ => None,
        }
    }

    /// Of the open session.
    pub fn session(&self) -> Option<SessionId> {
        self.established().map(|established| established.session)
    }

    /// What was agreed on with the server, on the last connection if there is none now.
    pub fn negotiated(&self) -> Option<Negotiated> {
        self.established().map(|established| established.negotiated)
    }

    /// How a message of this size gets to the server, or why it does not; `may_wait` says whether it may take its time.
    pub fn way_for(&self, size: usize, may_wait: bool) -> Result<Way, RequestError> {
        let (way, established) = match &self.phase {
            Phase::Connected(Connected { established, .. }) => (Way::Open, established),
            Phase::Recovering(Recovering { last, .. }) if may_wait => (Way::Later, last),
            Phase::Closing { .. } | Phase::Closed => return Err(RequestError::SessionClosed { sent: false }),
            Phase::Idle | Phase::Connecting { .. } | Phase::Recovering(_) => return Err(RequestError::NotConnected),
        };
        match established.negotiated.max_message_size {
            Some(limit) if size > limit => Err(RequestError::MessageTooLarge { size, limit }),
            _ => Ok(way),
        }
    }

    /// What is presented to the server to have the session again; nothing for a new session.
    pub fn recovery(&self) -> Option<Recovery> {
        match &self.phase {
            Phase::Recovering(Recovering { last, is_fresh: false, .. }) => Some(Recovery {
                token: last.token.as_text().to_owned(),
                oldest_sent: self.sent.first(),
                last_received: self.received,
            }),
            _ => None,
        }
    }

    // What goes over it.

    /// Counts and keeps a message, and hands it back if it is to be sent now. One that cannot be sent now is sent again with
    /// the others when the connection is there again.
    pub fn send(&mut self, frame: Vec<u8>) -> Option<Vec<u8>> {
        match self.phase {
            Phase::Connected(_) => {
                if !self.reconnect_timeout.is_zero() {
                    self.sent.push(frame.clone());
                }
                Some(frame)
            }
            Phase::Recovering(_) => {
                self.sent.push(frame);
                None
            }
            _ => None,
        }
    }

    /// A message of the session came; to be called for each of them.
    pub fn count_received(&mut self) {
        self.received += 1;
    }

    /// Something came, whatever it is.
    pub fn heard(&mut self, now: Moment) {
        if let Phase::Connected(Connected { idle: Some(idle), .. }) = &mut self.phase {
            idle.heard(now);
        }
    }

    // What happens to it.

    pub fn connect(&mut self, now: Moment) -> Step {
        let Phase::Idle = self.phase else { return Step::Nothing };
        let attempt = self.next_attempt(now);
        self.phase = Phase::Connecting { attempt, is_open: false };
        Step::Open(attempt.connection)
    }

    fn next_attempt(&mut self, now: Moment) -> Attempt {
        self.last.0 += 1;
        Attempt { connection: self.last, deadline: now + self.connect_timeout }
    }

    /// The WebSocket is open.
    pub fn handle_open(&mut self) {
        if let Phase::Connecting { is_open, .. } = &mut self.phase {
            *is_open = true;
        }
    }

    /// The first message of the server.
    pub fn handle_connect_response(&mut self, now: Moment, frame: &[u8]) -> Step {
        let is_reconnection = matches!(self.phase, Phase::Recovering(_));
        match handshake::read(frame, is_reconnection) {
            Ok(accepted) if is_reconnection => self.resume(now, accepted),
            Ok(accepted) => {
                let session = accepted.session;
                self.begin(now, accepted, 0);
                Step::Opened(session)
            }
            Err(refusal) => self.be_refused(now, refusal),
        }
    }

    /// The connection that is being opened serves the session.
    fn begin(&mut self, now: Moment, accepted: Accepted, violations: u32) {
        let Some(Attempt { connection, .. }) = self.attempt() else { return };
        let Accepted { session, token, negotiated, .. } = accepted;
        let idle = negotiated.ping_period.map(|period| IdleCheck::new(now, period));
        let established = Established { session, token, negotiated, violations };
        self.phase = Phase::Connected(Connected { connection, established, idle });
    }

    /// The server let us in again.
    fn resume(&mut self, now: Moment, mut accepted: Accepted) -> Step {
        let Phase::Recovering(Recovering { last, .. }) = &self.phase else { return Step::Nothing };
        let (violations, new_session) = (last.violations, accepted.session != last.session);
        let missed = match accepted.resend_from {
            Some(number) => {
                accepted.negotiated.max_message_size = last.negotiated.max_message_size;
                let Some(missed) = self.sent.since(number) else {
                    // It wants what we no longer have.
                    return self.start_afresh(now);
                };
                Some(missed.cloned().collect())
            }
            None => {
                // The counters start anew.
                self.sent.reset();
                self.received = 0;
                None
            }
        };
        let session = accepted.session;
        self.begin(now, accepted, violations);
        Step::Reconnected { session, missed, new_session }
    }

    /// The server does not open a session, or does not let us have it again.
    fn be_refused(&mut self, now: Moment, refusal: Refusal) -> Step {
        let Refusal { response, code, text } = refusal;
        let Phase::Recovering(Recovering { is_fresh, .. }) = self.phase else { return self.fail(code, text) };
        match response {
            Some(
                ResponseCode::UNKNOWN_SESSION
                | ResponseCode::RECONNECTION_UNSUPPORTED
                | ResponseCode::RECONNECTION_FAILED_MESSAGE_LOSS,
            ) if !is_fresh => self.start_afresh(now),
            Some(ResponseCode::SERVER_INITIALISING) => self.fail_attempt(),
            _ => self.end(code.into(), text, RequestError::ConnectionLost),
        }
    }

    /// The server did something that no server may do.
    pub fn handle_violation(&mut self, now: Moment, text: String) -> Step {
        match self.phase {
            Phase::Connecting { .. } => self.fail(ConnectCode::HandshakeError, text),
            Phase::Connected(_) => self.lose(now, CloseCode::TransportError, text),
            Phase::Recovering(_) => self.fail_attempt(),
            Phase::Idle | Phase::Closing { .. } | Phase::Closed => Step::Nothing,
        }
    }

    /// The connection is gone, or was never made.
    pub fn handle_disconnected(&mut self, now: Moment, reason: &str) -> Step {
        match self.phase {
            Phase::Connecting { is_open: false, .. } => {
                self.fail(ConnectCode::ConnectionError, text!["no connection: ", reason])
            }
            Phase::Connecting { is_open: true, .. } => {
                let text = text!["the connection broke before the server answered: ", reason];
                self.fail(ConnectCode::TransportError, text)
            }
            Phase::Connected(_) => {
                self.lose(now, CloseCode::ConnectionError, text!["the connection was lost: ", reason])
            }
            Phase::Recovering(_) => self.fail_attempt(),
            Phase::Closing { .. } => self.finish(),
            Phase::Idle | Phase::Closed => Step::Nothing,
        }
    }

    /// The server ends the session.
    pub fn handle_abort(&mut self) -> Step {
        match self.phase {
            Phase::Connected(_) => {
                let text = "the server closed the session".to_owned();
                self.end(CloseCode::ClosedByServer, text, RequestError::SessionClosed { sent: true })
            }
            // Its answer to our goodbye.
            Phase::Closing { .. } => self.finish(),
            _ => Step::Nothing,
        }
    }

    /// The application ends the session.
    pub fn close(&mut self, now: Moment) -> Step {
        match self.phase {
            Phase::Connected(Connected { connection, .. }) => {
                self.phase = Phase::Closing { connection, deadline: now + CLOSE_PATIENCE };
                Step::Goodbye
            }
            Phase::Idle | Phase::Connecting { .. } | Phase::Recovering(_) => self.finish(),
            Phase::Closing { .. } | Phase::Closed => Step::Nothing,
        }
    }

    /// The session could not be opened.
    fn fail(&mut self, code: ConnectCode, message: String) -> Step {
        self.phase = Phase::Closed;
        Step::NotOpened(ConnectError { code, message })
    }

    /// An open session ends, and not because the application wants it.
    fn end(&mut self, code: CloseCode, reason: String, error: RequestError) -> Step {
        self.phase = Phase::Closed;
        Step::Ended { closed: Closed { code, reason }, error, lost: None }
    }

    /// The session ends as the application wants it.
    fn finish(&mut self) -> Step {
        let reason = "the session was closed".to_owned();
        self.end(CloseCode::ClosedByClient, reason, RequestError::SessionClosed { sent: true })
    }

    // Recovering.

    /// The connection of an open session is gone; `code` and `reason` are for the case that it ends with it.
    fn lose(&mut self, now: Moment, code: CloseCode, reason: String) -> Step {
        if self.reconnect_timeout.is_zero() {
            self.phase = Phase::Closed;
            let lost = Some(reason.clone());
            return Step::Ended { closed: Closed { code, reason }, error: RequestError::ConnectionLost, lost };
        }
        let mut last = match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connected(Connected { established, .. }) => established,
            other => {
                self.phase = other;
                return Step::Nothing;
            }
        };
        // A server that breaks the protocol again and again is asked less and less often, and not for what it sent before:
        // that would be the same again.
        let is_fresh = code == CloseCode::TransportError;
        last.violations = if is_fresh { last.violations + 1 } else { 0 };
        let attempt = last.violations.max(1);
        let give_up_at = now + self.reconnect_timeout;
        self.phase = Phase::Recovering(Recovering { last, stage: Stage::Choosing, attempt, is_fresh, give_up_at });
        Step::Lost { reason, attempt }
    }

    /// Somebody has chosen how long to wait before the next attempt, or leaves it to us.
    pub fn retry_after(&mut self, now: Moment, delay: Option<Duration>, random: f64) {
        if let Phase::Recovering(Recovering { stage: stage @ Stage::Choosing, attempt, .. }) = &mut self.phase {
            let delay = delay.unwrap_or_else(|| backoff::delay(*attempt, random));
            *stage = Stage::Waiting { until: now + delay };
        }
    }

    /// Tries to reconnect, if that is being waited for.
    pub fn retry(&mut self, now: Moment) -> Step {
        if !matches!(self.phase, Phase::Recovering(_)) || self.is_connecting() {
            return Step::Nothing;
        }
        self.try_to_connect(now).map_or(Step::Nothing, Step::Open)
    }

    /// The attempt under way came to nothing; there will be others.
    fn fail_attempt(&mut self) -> Step {
        let Phase::Recovering(Recovering { stage: stage @ Stage::Connecting(_), attempt, .. }) = &mut self.phase else {
            return Step::Nothing;
        };
        *stage = Stage::Choosing;
        *attempt += 1;
        Step::AttemptFailed { attempt: *attempt }
    }

    /// The server has forgotten the session, or cannot go on with it: asks for a new one, at once.
    fn start_afresh(&mut self, now: Moment) -> Step {
        if let Phase::Recovering(Recovering { is_fresh, .. }) = &mut self.phase {
            *is_fresh = true;
        }
        self.try_to_connect(now).map_or(Step::Nothing, Step::OpenAnother)
    }

    fn try_to_connect(&mut self, now: Moment) -> Option<ConnectionId> {
        let attempt = self.next_attempt(now);
        let Phase::Recovering(Recovering { stage, .. }) = &mut self.phase else { return None };
        *stage = Stage::Connecting(attempt);
        Some(attempt.connection)
    }

    // Time.

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Idle | Phase::Closed => None,
            Phase::Connecting { attempt: Attempt { deadline, .. }, .. } | Phase::Closing { deadline, .. } => {
                Some(*deadline)
            }
            Phase::Connected(Connected { idle, .. }) => idle.as_ref().map(IdleCheck::due),
            Phase::Recovering(Recovering { stage, give_up_at, .. }) => {
                Some(stage.next_timeout().map_or(*give_up_at, |at| at.min(*give_up_at)))
            }
        }
    }

    /// Something is due.
    pub fn handle_timeout(&mut self, now: Moment) -> Step {
        match &mut self.phase {
            Phase::Idle | Phase::Closed => Step::Nothing,
            Phase::Connecting { .. } => {
                let text = text!["no session within ", milliseconds(self.connect_timeout), " ms"];
                self.fail(ConnectCode::ConnectionTimeout, text)
            }
            Phase::Connected(Connected { idle, .. }) => {
                let Some(idle) = idle else { return Step::Nothing };
                if !idle.is_dead(now) {
                    return Step::Nothing;
                }
                let text = text!["nothing came from the server for ", milliseconds(idle.patience), " ms"];
                self.lose(now, CloseCode::IdleConnection, text)
            }
            Phase::Recovering(Recovering { stage, give_up_at, .. }) => match (*stage, stage.next_timeout()) {
                (_, None) => self.give_up(now),
                (_, Some(at)) if at > *give_up_at => self.give_up(now),
                (Stage::Connecting(_), _) => self.fail_attempt(),
                _ => self.retry(now),
            },
            Phase::Closing { .. } => self.finish(),
        }
    }

    /// The time allowed for reconnecting is over.
    fn give_up(&mut self, now: Moment) -> Step {
        let Phase::Recovering(Recovering { give_up_at, .. }) = &mut self.phase else { return Step::Nothing };
        if now.since(*give_up_at) > TIMER_IS_LATE {
            // Nobody could try while the machine or the page slept.
            *give_up_at = now + self.connect_timeout;
            return self.retry(now);
        }
        let text = text!["no connection for ", milliseconds(self.reconnect_timeout), " ms"];
        self.end(CloseCode::ConnectionTimeout, text, RequestError::ConnectionLost)
    }
}

impl Stage {
    fn next_timeout(self) -> Option<Moment> {
        match self {
            Self::Choosing => None,
            Self::Waiting { until } => Some(until),
            Self::Connecting(Attempt { deadline, .. }) => Some(deadline),
        }
    }
}
