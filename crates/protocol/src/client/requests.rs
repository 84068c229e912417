//! Sending requests, and what comes of them.

use std::time::Duration;

use super::filters::{FilterResponses, read_count};
use super::handlers::Handler;
use super::{ClientSession, Event, Output, Phase, RequestError, Timer};
use crate::time::Moment;
use crate::value::Value;
use crate::wire::envelope::{Message, request_frame};
use crate::wire::handshake::Credentials;
use crate::wire::layouts::{
    ChangePrincipal, GetSessionProperties, Properties, Reauthenticate, SendToPath, SendToSession, SerialisedValue,
};
use crate::wire::primitives::{ConversationId, SessionId};
use crate::wire::services::{
    ChangeOwnPrincipal, GetProperties, MessagingReceiverServer, MessagingSend, ReAuthenticate, Service, UserPing,
};
use crate::wire::{DecodeError, decode_all};

/// What a conversation that the application started came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// The recipient's response.
    Value(Value),
    /// The number of sessions that a session filter matches; each of them has been sent the request.
    Matched(u32),
    /// Every session that a session filter matched has answered or failed.
    AllAnswered,
    /// The body of a response to a service request that the application put together itself.
    Body(Vec<u8>),
    /// The request handler is registered; requests for it name this registration.
    Registered(ConversationId),
    /// The registration is gone.
    Deregistered,
    /// The server answered a ping after this time.
    Pong(Duration),
    /// The session's own properties.
    Properties(Vec<(String, String)>),
    /// Whether the session has another principal now.
    PrincipalChanged(bool),
}

/// How long a request may take, from the call to the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Everything included.
    pub timeout: Duration,
    /// Whether it waits for a connection while there is none, instead of failing at once.
    pub wait: bool,
}

impl From<Duration> for Patience {
    /// Does not wait for a connection.
    fn from(timeout: Duration) -> Self {
        Self { timeout, wait: false }
    }
}

/// A request that waits for a connection.
#[derive(Debug)]
pub(super) struct Unsent {
    conversation: ConversationId,
    /// The conversation in which the responses come, if that is another one.
    responses: Option<ConversationId>,
    pub frame: Vec<u8>,
}

impl Unsent {
    pub fn is_for(&self, conversation: ConversationId) -> bool {
        self.conversation == conversation || self.responses == Some(conversation)
    }
}

/// Requests that may wait for a connection at the same time.
const MAX_UNSENT: usize = 10_000;

/// What is waited for in an open conversation.
#[derive(Debug)]
pub(super) enum Pending {
    Request {
        deadline: Moment,
        timeout: Duration,
    },
    /// The number of sessions that a filter matches; the answers come in a conversation of their own.
    FilterCount {
        deadline: Moment,
        timeout: Duration,
        responses: ConversationId,
    },
    FilterResponses(FilterResponses),
    Service {
        deadline: Moment,
    },
    Ping {
        deadline: Moment,
        sent_at: Moment,
    },
    Properties {
        deadline: Moment,
    },
    PrincipalChange {
        deadline: Moment,
    },
    Registration {
        deadline: Moment,
        registration: ConversationId,
    },
    /// The application was told that the registration failed; if the server accepts it after all, it is taken back.
    UnwantedRegistration {
        registration: ConversationId,
    },
    /// The server had lost the registration.
    Reregistration {
        registration: ConversationId,
    },
    Deregistration {
        deadline: Moment,
        registration: ConversationId,
    },
    /// The application was told that it took too long. The server will do it, or has lost the registration anyway.
    UnconfirmedDeregistration {
        registration: ConversationId,
    },
    /// A registered handler, or one that is being registered: a conversation for as long as requests may come.
    Handler(Handler),
    /// Nobody cares any more. Kept, so that what arrives is known to belong to a conversation of ours.
    Abandoned,
}

impl Pending {
    fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Request { deadline, .. }
            | Self::FilterCount { deadline, .. }
            | Self::FilterResponses(FilterResponses { deadline, .. })
            | Self::Service { deadline }
            | Self::Ping { deadline, .. }
            | Self::Properties { deadline }
            | Self::PrincipalChange { deadline }
            | Self::Registration { deadline, .. }
            | Self::Deregistration { deadline, .. } => Some(*deadline),
            Self::UnwantedRegistration { .. }
            | Self::UnconfirmedDeregistration { .. }
            | Self::Reregistration { .. }
            | Self::Handler(_)
            | Self::Abandoned => None,
        }
    }
}

impl ClientSession {
    /// Send `request` to one session that handles `path`.
    ///
    /// The server prefers the handler registered for the longest matching path. The response arrives later as
    /// [`Event::ResponseReceived`] with the conversation ID returned here. `patience` counts from `now`.
    ///
    /// # Errors
    ///
    /// [`RequestError::NotConnected`], [`RequestError::SessionClosed`] and [`RequestError::MessageTooLarge`]; nothing
    /// was sent then. Everything else comes with the event.
    ///
    /// Source: section 8.2.
    pub fn send_to_path(
        &mut self,
        now: Moment,
        path: &str,
        request: SerialisedValue<'_>,
        patience: impl Into<Patience>,
    ) -> Result<ConversationId, RequestError> {
        let Patience { timeout, wait } = patience.into();
        let deadline = now + timeout;
        let capacity = path.len() + request.bytes.len() + 32;
        let body = SendToPath { path, request };
        self.ask::<MessagingSend>(&body, capacity, Pending::Request { deadline, timeout }, wait)
    }

    /// Send `request` to one session, for its stream at exactly `path`. The response arrives as with
    /// [`Self::send_to_path`].
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 8.3.
    pub fn send_to_session(
        &mut self,
        now: Moment,
        session: SessionId,
        path: &str,
        request: SerialisedValue<'_>,
        patience: impl Into<Patience>,
    ) -> Result<ConversationId, RequestError> {
        let Patience { timeout, wait } = patience.into();
        let deadline = now + timeout;
        let capacity = path.len() + request.bytes.len() + 64;
        let body = SendToSession { session, path, request };
        self.ask::<MessagingReceiverServer>(&body, capacity, Pending::Request { deadline, timeout }, wait)
    }

    /// Send a service request with a body of the application's own. [`Response::Body`] follows.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 5.
    pub fn invoke(&mut self, now: Moment, service: u32, body: &[u8]) -> Result<ConversationId, RequestError> {
        let deadline = now + self.config.request_timeout;
        let conversation = self.conversations.next_id();
        let frame = Message::ServiceRequest { service, conversation, body }.to_frame();
        self.start(conversation, frame, Pending::Service { deadline }, false)
    }

    /// Measure a round trip to the server. [`Response::Pong`] follows.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 6.
    pub fn ping(&mut self, now: Moment) -> Result<ConversationId, RequestError> {
        let deadline = now + self.config.request_timeout;
        self.ask::<UserPing>(&(), 0, Pending::Ping { deadline, sent_at: now }, false)
    }

    /// Ask for the session's own properties: those with `keys`, which may be `*F` for all fixed and `*U` for all
    /// user-defined ones. [`Response::Properties`] follows.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 9.1.
    pub fn get_properties(&mut self, now: Moment, keys: &[String]) -> Result<ConversationId, RequestError> {
        let deadline = now + self.config.request_timeout;
        let session = self.session().ok_or(self.unsendable())?;
        let body = GetSessionProperties { session, keys: keys.iter().map(String::as_str).collect() };
        self.ask::<GetProperties>(&body, 0, Pending::Properties { deadline }, false)
    }

    /// Give the session another principal. [`Response::PrincipalChanged`] follows, and says false if the server
    /// refused; the session then stays as it is.
    ///
    /// # Errors
    ///
    /// As [`Self::send_to_path`].
    ///
    /// Source: section 9.3.
    pub fn change_principal(
        &mut self,
        now: Moment,
        principal: &str,
        credentials: &Credentials,
    ) -> Result<ConversationId, RequestError> {
        let deadline = now + self.config.request_timeout;
        let pending = Pending::PrincipalChange { deadline };
        let credentials = credentials.as_wire();
        // The newest version has a service of its own for it.
        if self.version() >= RE_AUTHENTICATE_SINCE {
            let body = Reauthenticate { principal, credentials, properties: Vec::new() };
            self.ask::<ReAuthenticate>(&body, 0, pending, false)
        } else {
            self.ask::<ChangeOwnPrincipal>(&ChangePrincipal { principal, credentials }, 0, pending, false)
        }
    }

    /// Forget a conversation: its outcome is no longer of interest and will not be reported.
    pub fn abandon(&mut self, conversation: ConversationId) {
        if let Some(pending) = self.conversations.close(conversation) {
            self.forget_deadline(conversation, &pending);
            if let Pending::Registration { registration, .. } = pending {
                // Taken back when the server has accepted it.
                self.conversations.open(conversation, Pending::UnwantedRegistration { registration });
            }
            self.unsent.retain(|unsent| !unsent.is_for(conversation));
        }
    }

    /// Starts a conversation with the server.
    pub(super) fn ask<S: Service>(
        &mut self,
        request: &S::Request<'_>,
        capacity: usize,
        pending: Pending,
        wait: bool,
    ) -> Result<ConversationId, RequestError> {
        let conversation = self.conversations.next_id();
        let frame = request_frame::<S>(conversation, request, capacity);
        self.start(conversation, frame, pending, wait)
    }

    /// The part of starting a conversation that is the same for every service.
    fn start(
        &mut self,
        conversation: ConversationId,
        frame: Vec<u8>,
        pending: Pending,
        wait: bool,
    ) -> Result<ConversationId, RequestError> {
        let is_connected = matches!(self.phase, Phase::Connected(_));
        let can_wait = wait && self.unsent.len() < MAX_UNSENT;
        let limit = match self.established() {
            Some(connected) if is_connected || can_wait => connected.max_message_size,
            _ => return Err(self.unsendable()),
        };
        if frame.len() > limit {
            return Err(RequestError::MessageTooLarge { size: frame.len(), limit });
        }
        if is_connected {
            self.send(frame);
        } else {
            let responses = match pending {
                Pending::FilterCount { responses, .. } => Some(responses),
                _ => None,
            };
            self.unsent.push_back(Unsent { conversation, responses, frame });
        }
        self.open(conversation, pending);
        Ok(conversation)
    }

    /// Opens a conversation, with a timer if it has a deadline.
    pub(super) fn open(&mut self, conversation: ConversationId, pending: Pending) {
        if let Some(deadline) = pending.deadline() {
            self.deadlines.insert(deadline, Timer::Request(conversation));
        }
        self.conversations.open(conversation, pending);
    }

    /// Why nothing can be sent while the session is not connected.
    fn unsendable(&self) -> RequestError {
        match self.phase {
            Phase::Closing | Phase::Closed => RequestError::SessionClosed { sent: false },
            Phase::Idle | Phase::Connecting { .. } | Phase::Connected(_) | Phase::Recovering(_) => {
                RequestError::NotConnected
            }
        }
    }

    /// The server answered. A second answer finds no conversation and is ignored.
    pub(super) fn handle_response(
        &mut self,
        conversation: ConversationId,
        answer: Result<&[u8], RequestError>,
        now: Moment,
    ) {
        // These stay open for as long as requests or responses may come, and are not answered themselves.
        if let Some(Pending::Handler(_) | Pending::FilterResponses(_)) = self.conversations.get(conversation) {
            return;
        }
        let Some(pending) = self.conversations.close(conversation) else { return };
        self.forget_deadline(conversation, &pending);
        let accepted = answer.is_ok();
        match &pending {
            Pending::Registration { registration, .. } if !accepted => {
                self.conversations.close(*registration);
            }
            Pending::Registration { registration, .. } => self.handle_registered(*registration),
            Pending::Deregistration { registration, .. } if accepted => {
                self.handle_deregistered(*registration);
            }
            Pending::UnconfirmedDeregistration { registration } => {
                if accepted && !self.handle_deregistered(*registration) {
                    self.lose_handler(*registration);
                }
                return;
            }
            Pending::UnwantedRegistration { registration } => return self.take_back(*registration, accepted),
            Pending::Reregistration { registration } => return self.handle_registered_again(*registration, accepted),
            Pending::Abandoned => return,
            _ => {}
        }
        let outcome = match answer {
            Ok(body) => read_response(&pending, body, now).unwrap_or(Err(RequestError::MalformedResponse)),
            Err(error) => Err(error),
        };
        self.conclude(conversation, &pending, outcome);
    }

    /// Reports what a conversation came to, and deals with the one that hangs on it.
    fn conclude(&mut self, conversation: ConversationId, pending: &Pending, outcome: Result<Response, RequestError>) {
        let counted = match (pending, &outcome) {
            (Pending::FilterCount { responses, .. }, Ok(Response::Matched(count))) => Some((*responses, Ok(*count))),
            (Pending::FilterCount { responses, .. }, Err(error)) => Some((*responses, Err(error.clone()))),
            _ => None,
        };
        self.report(conversation, outcome);
        if let Some((responses, count)) = counted {
            self.expect_responses(responses, count);
        }
    }

    /// The deadline of a conversation has come.
    pub(super) fn time_out(&mut self, conversation: ConversationId) {
        let Some(pending) = self.conversations.close(conversation) else { return };
        let is_unsent = self.unsent.iter().any(|unsent| unsent.is_for(conversation));
        let timeout = match pending {
            Pending::Request { timeout, .. }
            | Pending::FilterCount { timeout, .. }
            | Pending::FilterResponses(FilterResponses { timeout, .. }) => timeout,
            Pending::Registration { registration, .. } => {
                // The server may still accept it.
                self.conversations.open(conversation, Pending::UnwantedRegistration { registration });
                self.config.request_timeout
            }
            Pending::Deregistration { registration, .. } => {
                self.conversations.open(conversation, Pending::UnconfirmedDeregistration { registration });
                self.config.request_timeout
            }
            Pending::Service { .. }
            | Pending::Ping { .. }
            | Pending::Properties { .. }
            | Pending::PrincipalChange { .. } => self.config.request_timeout,
            Pending::UnwantedRegistration { .. }
            | Pending::UnconfirmedDeregistration { .. }
            | Pending::Reregistration { .. }
            | Pending::Handler(_)
            | Pending::Abandoned => return,
        };
        let error = if is_unsent { RequestError::NotSentInTime(timeout) } else { RequestError::TimedOut(timeout) };
        // Of the two conversations of a request to a filter, the one that ends later.
        if !matches!(pending, Pending::FilterResponses(_)) {
            self.unsent.retain(|unsent| !unsent.is_for(conversation));
        }
        self.conclude(conversation, &pending, Err(error));
    }

    /// The session is over, and with it an open conversation.
    pub(super) fn settle_at_end(&mut self, conversation: ConversationId, pending: &Pending, error: &RequestError) {
        match pending {
            Pending::UnwantedRegistration { .. }
            | Pending::UnconfirmedDeregistration { .. }
            | Pending::Reregistration { .. }
            | Pending::Handler(_)
            | Pending::Abandoned => {}
            // What was asked for is the case: the registration ended with the session.
            Pending::Deregistration { .. } => self.report(conversation, Ok(Response::Deregistered)),
            _ => self.report(conversation, Err(error.clone())),
        }
    }

    pub(super) fn report(&mut self, conversation: ConversationId, outcome: Result<Response, RequestError>) {
        self.outputs.push_back(Output::Deliver(Event::ResponseReceived { conversation, outcome }));
    }

    pub(super) fn forget_deadline(&mut self, conversation: ConversationId, pending: &Pending) {
        if let Some(deadline) = pending.deadline() {
            self.deadlines.remove(deadline, Timer::Request(conversation));
        }
    }
}

/// The first protocol version with service 203.
const RE_AUTHENTICATE_SINCE: u8 = 29;

/// What a response says; the outer error is for one that does not have its layout.
fn read_response(pending: &Pending, body: &[u8], now: Moment) -> Result<Result<Response, RequestError>, DecodeError> {
    Ok(Ok(match pending {
        Pending::Request { .. } => Response::Value(decode_all::<SerialisedValue<'_>>(body)?.into()),
        Pending::FilterCount { .. } => return Ok(read_count(decode_all(body)?)),
        Pending::Service { .. } => Response::Body(body.to_vec()),
        Pending::Ping { sent_at, .. } => {
            decode_all::<()>(body)?;
            Response::Pong(now.since(*sent_at))
        }
        Pending::Properties { .. } => {
            // The session asks for its own, so it exists; if the server thinks otherwise, there are none.
            let properties: Option<Properties<'_>> = decode_all(body)?;
            let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            Response::Properties(properties.unwrap_or_default().into_iter().map(owned).collect())
        }
        Pending::PrincipalChange { .. } => Response::PrincipalChanged(decode_all(body)?),
        Pending::Registration { registration, .. } | Pending::UnwantedRegistration { registration } => {
            decode_all::<()>(body)?;
            Response::Registered(*registration)
        }
        Pending::Deregistration { .. }
        | Pending::UnconfirmedDeregistration { .. }
        | Pending::Reregistration { .. }
        | Pending::Handler(_)
        | Pending::FilterResponses(_)
        | Pending::Abandoned => Response::Deregistered,
    }))
}
