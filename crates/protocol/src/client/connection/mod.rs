//! The phases of a session: connecting, connected, looking for another connection, closing, over (section 10).
//!
//! [`Connection`] knows which phase it is, and what went over the connections of the session, so that another one can go on
//! where the last one ended. Nobody else writes its fields: the session tells it what happened, and it returns the [`Step`]
//! that follows.
//!
//! - `step`: what follows, for the rest of the session to carry out.
//! - `handshake`: what the first message of a server means.
//! - `recovering`: looking for another connection.
//! - `replay`: what is sent again there.
//! - `idle`: noticing that nothing comes from the server any more, or asking whether something does.
//! - `backoff`: how long to wait before an attempt to reconnect.

mod backoff;
mod handshake;
mod idle;
mod recovering;
mod replay;
mod step;

use std::mem;
use std::time::Duration;

pub use backoff::delay as reconnect_delay;
use handshake::{Accepted, Refusal};
use idle::IdleCheck;
use recovering::Recovering;
use replay::Replay;
pub use step::{Goodbye, Step, Way};

use super::error::{CloseCode, Closed, ConnectCode, ConnectError, Loss, RequestError, milliseconds};
use super::ids::ConnectionId;
use super::{ClientConfig, State};
use crate::features::Features;
use crate::negotiated::Negotiated;
use crate::recovery::Frame;
use crate::text;
use crate::time::Moment;
use crate::wire::handshake::{Recovery, ResponseCode, SessionToken};
use crate::wire::primitives::{ConversationId, SessionId};

/// The connection of a session, whatever has become of it.
#[derive(Debug)]
pub(super) struct Connection {
    phase: Phase,
    attempts: Attempts,
    /// Of all attempts to reconnect together; zero if there are to be none.
    reconnect_timeout: Duration,
    /// What the server is offered at every connection.
    offered: Features,
    replay: Replay,
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
    Closing(Closing),
    Closed,
}

/// A connection is being opened, or the response awaited.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    connection: ConnectionId,
    began: Moment,
    deadline: Moment,
}

/// Numbers the connections.
#[derive(Debug)]
struct Attempts {
    last: ConnectionId,
    /// Of each of them.
    timeout: Duration,
}

impl Attempts {
    fn next(&mut self, now: Moment) -> Attempt {
        self.last.0 += 1;
        Attempt { connection: self.last, began: now, deadline: now + self.timeout }
    }
}

/// The state of an open session.
#[derive(Debug)]
struct Established {
    session: SessionId,
    /// Presented on reconnection.
    token: SessionToken,
    negotiated: Negotiated,
    /// The number of the attempt that the connection comes from, counted from 1; 0 for the first of the session.
    attempt: u32,
}

#[derive(Debug)]
struct Connected {
    connection: ConnectionId,
    since: Moment,
    /// Whether a message of the session came on it.
    is_proven: bool,
    established: Established,
    idle: IdleCheck,
}

/// The session is over, and the server is being told: it closes the connection, or time is up.
#[derive(Debug)]
struct Closing {
    attempt: Attempt,
    /// Whether the close request is out. Until then the server has to let us in.
    is_said: bool,
    /// What it is to let us in with; nothing if it has not given us a token yet.
    token: Option<SessionToken>,
}

/// How long the server has to close the connection of a session that is closed (section 11).
const CLOSE_PATIENCE: Duration = Duration::from_secs(1);

impl Connection {
    pub fn new(config: &ClientConfig) -> Self {
        Self {
            phase: Phase::Idle,
            attempts: Attempts { last: ConnectionId(0), timeout: config.connect_timeout },
            reconnect_timeout: config.reconnect_timeout,
            offered: config.features,
            replay: Replay::new(config.recovery),
        }
    }

    // What is the case.

    pub fn state(&self) -> State {
        match self.phase {
            Phase::Idle | Phase::Connecting { .. } => State::Connecting,
            Phase::Connected(_) => State::Connected,
            Phase::Recovering(_) => State::Recovering,
            Phase::Closing(_) | Phase::Closed => State::Closed,
        }
    }

    /// The connection that is open or being opened.
    pub fn current(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Connected(Connected { connection, .. })
            | Phase::Closing(Closing { attempt: Attempt { connection, .. }, .. }) => Some(*connection),
            _ => self.attempt().map(|attempt| attempt.connection),
        }
    }

    /// The attempt under way.
    fn attempt(&self) -> Option<Attempt> {
        match &self.phase {
            Phase::Connecting { attempt, .. } | Phase::Closing(Closing { attempt, is_said: false, .. }) => {
                Some(*attempt)
            }
            Phase::Recovering(recovering) => recovering.under_way(),
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
            Phase::Recovering(recovering) => Some(recovering.last()),
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

    /// Most bytes that the server takes in one WebSocket message of several; nothing if messages are not sent together.
    pub fn batch_limit(&self) -> Option<usize> {
        let negotiated = self.negotiated().filter(|negotiated| negotiated.features.has(Features::BATCHING))?;
        Some(negotiated.max_message_size.unwrap_or(usize::MAX))
    }

    /// How a message of this size gets to the server, or why it does not; `may_wait` says whether it may take its time.
    pub fn way_for(&self, size: usize, may_wait: bool) -> Result<Way, RequestError> {
        let (way, established) = match &self.phase {
            Phase::Connected(connected) => (Way::Open, &connected.established),
            Phase::Recovering(recovering) if may_wait => (Way::Later, recovering.last()),
            Phase::Closing(_) | Phase::Closed => return Err(RequestError::SessionClosed { sent: false }),
            Phase::Idle | Phase::Connecting { .. } | Phase::Recovering(_) => return Err(RequestError::NotConnected),
        };
        match established.negotiated.max_message_size {
            Some(limit) if size > limit => Err(RequestError::MessageTooLarge { size, limit }),
            _ => Ok(way),
        }
    }

    /// What is presented to the server to have the session again; nothing for a new session.
    pub fn recovery(&self) -> Option<Recovery> {
        let token = match &self.phase {
            Phase::Recovering(recovering) if !recovering.is_fresh() => &recovering.last().token,
            Phase::Closing(Closing { token: Some(token), .. }) => token,
            _ => return None,
        };
        Some(self.replay.recovery(token))
    }

    /// Whoever has it may take the session over, or end it. Nothing if there is no session.
    pub fn token(&self) -> Option<&str> {
        self.established().map(|established| established.token.as_text())
    }

    // What goes over it.

    /// Counts and keeps a message, and hands it back if it is to be sent now. One that cannot be sent now is sent again with
    /// the others when the connection is there again.
    pub fn send(&mut self, frame: Frame) -> Option<Frame> {
        match &mut self.phase {
            Phase::Connected(Connected { idle, .. }) => {
                idle.sent(frame.len());
                if !self.reconnect_timeout.is_zero() {
                    self.replay.push(frame.clone());
                }
                Some(frame)
            }
            Phase::Recovering(_) => {
                self.replay.push(frame);
                None
            }
            _ => None,
        }
    }

    /// A message of the session came; to be called for each of them.
    pub fn count_received(&mut self) {
        self.replay.count_received();
        if let Phase::Connected(Connected { is_proven, .. }) = &mut self.phase {
            *is_proven = true;
        }
    }

    /// Something came, whatever it is.
    pub fn heard(&mut self, now: Moment) {
        if let Phase::Connected(Connected { idle, .. }) = &mut self.phase {
            idle.heard(now);
        }
    }

    /// Whether there is a connection whose life nobody has asked for yet: then a ping has to follow, and
    /// [`Self::start_probe`].
    pub fn can_probe(&self) -> bool {
        matches!(&self.phase, Phase::Connected(Connected { idle, .. }) if !idle.is_probing())
    }

    /// The server is asked in `conversation` whether it is there. The connection is lost if it does not answer soon.
    pub fn start_probe(&mut self, now: Moment, conversation: ConversationId) {
        if let Phase::Connected(Connected { idle, .. }) = &mut self.phase {
            idle.probe(now, conversation);
        }
    }

    /// An answer came. Returns whether it is that to the probe.
    pub fn handle_answer(&mut self, conversation: ConversationId) -> bool {
        let Phase::Connected(Connected { idle, .. }) = &mut self.phase else { return false };
        idle.answered(conversation)
    }

    // What happens to it.

    pub fn connect(&mut self, now: Moment) -> Step {
        let Phase::Idle = self.phase else { return Step::Nothing };
        let attempt = self.attempts.next(now);
        self.phase = Phase::Connecting { attempt, is_open: false };
        Step::Open(attempt.connection)
    }

    /// The WebSocket is open.
    pub fn handle_open(&mut self) {
        if let Phase::Connecting { is_open, .. } = &mut self.phase {
            *is_open = true;
        }
    }

    /// The first message of the server.
    pub fn handle_connect_response(&mut self, now: Moment, frame: &[u8]) -> Step {
        let is_reconnection = !matches!(self.phase, Phase::Connecting { .. });
        let accepted = match handshake::read(frame, is_reconnection, self.offered) {
            Ok(accepted) => accepted,
            Err(refusal) => return self.be_refused(now, refusal),
        };
        match &mut self.phase {
            Phase::Recovering(_) => self.resume(now, accepted),
            Phase::Closing(closing) => {
                closing.is_said = true;
                Step::Goodbye(Goodbye::Send)
            }
            _ => {
                let session = accepted.session;
                self.begin(now, accepted);
                Step::Opened(session)
            }
        }
    }

    /// The server let us in again.
    fn resume(&mut self, now: Moment, accepted: Accepted) -> Step {
        let Phase::Recovering(recovering) = &mut self.phase else { return Step::Nothing };
        let (session, before) = (accepted.session, recovering.last().session);
        let missed = match accepted.resend_from {
            Some(number) => {
                let missed = self.replay.since(number, accepted.negotiated.features);
                if missed.is_none() {
                    return recovering.start_afresh(now, &mut self.attempts, "the server wants what was not sent");
                }
                missed
            }
            None => {
                self.replay.reset();
                None
            }
        };
        self.begin(now, accepted);
        Step::Reconnected { now, session, missed, new_session: session != before }
    }

    /// The connection that is being opened serves the session.
    fn begin(&mut self, now: Moment, accepted: Accepted) {
        let Some(Attempt { connection, .. }) = self.attempt() else { return };
        let Accepted { session, token, mut negotiated, resend_from } = accepted;
        let mut attempt = 0;
        if let Phase::Recovering(recovering) = &self.phase {
            attempt = recovering.attempt();
            if resend_from.is_some() {
                negotiated.max_message_size = recovering.last().negotiated.max_message_size;
            }
        }
        let idle = IdleCheck::new(now, negotiated.ping_period);
        let established = Established { session, token, negotiated, attempt };
        self.phase = Phase::Connected(Connected { connection, since: now, is_proven: false, established, idle });
    }

    /// The server does not open a session, or does not let us have it again.
    fn be_refused(&mut self, now: Moment, refusal: Refusal) -> Step {
        let Refusal { response, code, text } = refusal;
        let recovering = match &mut self.phase {
            Phase::Recovering(recovering) => recovering,
            Phase::Closing(_) => return self.finish(),
            _ => return self.fail(ConnectError::new(code, text)),
        };
        match response {
            Some(
                ResponseCode::UNKNOWN_SESSION
                | ResponseCode::RECONNECTION_UNSUPPORTED
                | ResponseCode::RECONNECTION_FAILED_MESSAGE_LOSS,
            ) if !recovering.is_fresh() => recovering.start_afresh(now, &mut self.attempts, &text),
            Some(ResponseCode::SERVER_INITIALISING) => recovering.fail_attempt(&text),
            _ => self.end(code.into(), text, Loss::Connection),
        }
    }

    /// The server did something that no server may do.
    pub fn handle_violation(&mut self, now: Moment, text: String) -> Step {
        match &mut self.phase {
            Phase::Connecting { .. } => self.fail(ConnectError::new(ConnectCode::HandshakeError, text)),
            Phase::Connected(_) => self.lose(now, CloseCode::TransportError, text),
            Phase::Recovering(_) => self.end(CloseCode::HandshakeError, text, Loss::Connection),
            Phase::Closing(_) => self.finish(),
            Phase::Idle | Phase::Closed => Step::Nothing,
        }
    }

    /// The connection is gone, or was never made; `can_pass` says whether another attempt may succeed.
    pub fn handle_disconnected(&mut self, now: Moment, reason: &str, can_pass: bool) -> Step {
        match &mut self.phase {
            Phase::Connecting { is_open: false, .. } => {
                let error = ConnectError::new(ConnectCode::ConnectionError, text!["no connection: ", reason]);
                self.fail(ConnectError { is_retryable: can_pass, ..error })
            }
            Phase::Connecting { is_open: true, .. } => {
                let text = text!["the connection broke before the server answered: ", reason];
                self.fail(ConnectError::new(ConnectCode::TransportError, text))
            }
            Phase::Connected(_) => {
                self.lose(now, CloseCode::ConnectionError, text!["the connection was lost: ", reason])
            }
            Phase::Recovering(recovering) => recovering.fail_attempt(reason),
            Phase::Closing(_) => self.finish(),
            Phase::Idle | Phase::Closed => Step::Nothing,
        }
    }

    /// The server ends the session.
    pub fn handle_abort(&mut self) -> Step {
        match self.phase {
            Phase::Connected(_) => {
                let text = "the server closed the session".to_owned();
                self.end(CloseCode::ClosedByServer, text, Loss::Session)
            }
            // Its answer to our goodbye.
            Phase::Closing(_) => self.finish(),
            _ => Step::Nothing,
        }
    }

    /// The application ends the session. The server has it, or may have it, even if there is no connection: it is told as
    /// soon as there is one, for as long as that is worth waiting for.
    pub fn close(&mut self, now: Moment) -> Step {
        let mut closing = Closing {
            attempt: Attempt { connection: self.attempts.last, began: now, deadline: now + CLOSE_PATIENCE },
            is_said: false,
            token: None,
        };
        let goodbye = match &self.phase {
            Phase::Connected(_) => {
                closing.is_said = true;
                Goodbye::Send
            }
            Phase::Connecting { is_open: true, .. } => Goodbye::Wait,
            Phase::Recovering(recovering) => {
                closing.token = Some(recovering.last().token.clone());
                if recovering.under_way().is_some() {
                    Goodbye::Wait
                } else {
                    closing.attempt.connection = self.attempts.next(now).connection;
                    Goodbye::Open(closing.attempt.connection)
                }
            }
            Phase::Idle | Phase::Connecting { .. } => return self.finish(),
            Phase::Closing(_) | Phase::Closed => return Step::Nothing,
        };
        self.phase = Phase::Closing(closing);
        Step::Goodbye(goodbye)
    }

    /// The session could not be opened.
    fn fail(&mut self, error: ConnectError) -> Step {
        self.phase = Phase::Closed;
        Step::NotOpened(error)
    }

    /// An open session ends, and not because the application wants it.
    fn end(&mut self, code: CloseCode, reason: String, loss: Loss) -> Step {
        self.phase = Phase::Closed;
        Step::Ended { closed: Closed { code, reason }, loss, lost: None }
    }

    /// The session ends as the application wants it.
    fn finish(&mut self) -> Step {
        let reason = "the session was closed".to_owned();
        self.end(CloseCode::ClosedByClient, reason, Loss::Session)
    }

    /// The connection of an open session is gone; `code` and `reason` are for the case that it ends with it.
    fn lose(&mut self, now: Moment, code: CloseCode, reason: String) -> Step {
        if self.reconnect_timeout.is_zero() {
            self.phase = Phase::Closed;
            let lost = Some(reason.clone());
            return Step::Ended { closed: Closed { code, reason }, loss: Loss::Connection, lost };
        }
        let (established, was_of_use) = match mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connected(Connected { established, is_proven, since, .. }) => {
                (established, is_proven || now.since(since) >= backoff::LONGEST)
            }
            other => {
                self.phase = other;
                return Step::Nothing;
            }
        };
        let is_violation = code == CloseCode::TransportError;
        let recovering = Recovering::new(established, is_violation, was_of_use, now + self.reconnect_timeout);
        let attempt = recovering.attempt();
        self.phase = Phase::Recovering(recovering);
        Step::Lost { reason, attempt }
    }

    /// Somebody has chosen how long to wait before the next attempt to reconnect, or leaves it to us.
    pub fn retry_after(&mut self, now: Moment, delay: Option<Duration>, random: f64) {
        if let Phase::Recovering(recovering) = &mut self.phase {
            recovering.retry_after(now, delay, random);
        }
    }

    /// Tries to reconnect, if that is being waited for.
    pub fn retry(&mut self, now: Moment) -> Step {
        match &mut self.phase {
            Phase::Recovering(recovering) => recovering.retry(now, &mut self.attempts),
            _ => Step::Nothing,
        }
    }

    // Time.

    /// When [`Self::handle_timeout`] is to be called.
    pub fn next_timeout(&self) -> Option<Moment> {
        match &self.phase {
            Phase::Idle | Phase::Closed => None,
            Phase::Connecting { attempt, .. } | Phase::Closing(Closing { attempt, .. }) => Some(attempt.deadline),
            Phase::Connected(Connected { idle, .. }) => Some(idle.due()).filter(|due| *due < Moment(u64::MAX)),
            Phase::Recovering(recovering) => Some(recovering.next_timeout()),
        }
    }

    /// Something is due.
    pub fn handle_timeout(&mut self, now: Moment) -> Step {
        match &mut self.phase {
            Phase::Idle | Phase::Closed => Step::Nothing,
            Phase::Connecting { .. } => {
                let text = text!["no session within ", milliseconds(self.attempts.timeout), " ms"];
                self.fail(ConnectError::new(ConnectCode::ConnectionTimeout, text))
            }
            Phase::Connected(Connected { idle, .. }) => {
                if !idle.is_dead(now) {
                    return Step::Nothing;
                }
                let text = text!["nothing came from the server for ", milliseconds(idle.patience()), " ms"];
                self.lose(now, CloseCode::IdleConnection, text)
            }
            Phase::Recovering(recovering) => match recovering.handle_timeout(now, &mut self.attempts) {
                Some(step) => step,
                None => {
                    let time = milliseconds(self.reconnect_timeout);
                    let text = text!["no connection for ", time, " ms", recovering.why()];
                    self.end(CloseCode::ConnectionTimeout, text, Loss::Connection)
                }
            },
            Phase::Closing(_) => self.finish(),
        }
    }
}
