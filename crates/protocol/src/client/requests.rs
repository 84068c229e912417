//! Calls that a single response ends: requests to other sessions, and questions to the server about this one.

use std::time::Duration;

use super::calls::{Call, Patience, Purpose, ReadResponse, Response};
use super::connection::Way;
use super::error::Loss;
use super::ids::CallId;
use super::terms::Terms;
use super::{ClientSession, Event, RequestError};
use crate::features::Features;
use crate::negotiated::Negotiated;
use crate::time::Moment;
use crate::wire::envelope::{Message, request_frame};
use crate::wire::handshake::Credentials;
use crate::wire::headers;
use crate::wire::layouts::{
    Cancel, ChangePrincipal, GetSessionProperties, Properties, Reauthenticate, SendToPath, SendToSession,
    SerialisedValue,
};
use crate::wire::primitives::{ConversationId, SessionId};
use crate::wire::services::{
    Cancellation, ChangeOwnPrincipal, GetProperties, HandlerUnwatch, MessagingReceiverServer, MessagingSend,
    ReAuthenticate, Service, UserPing,
};
use crate::wire::{decode_all, encoded};

/// The response of another session.
const VALUE: ReadResponse = |body, _| Ok(Response::Value(decode_all::<SerialisedValue<'_>>(body)?.into()));

/// Whether the server took another principal.
const PRINCIPAL_CHANGED: ReadResponse = |body, _| Ok(Response::PrincipalChanged(decode_all(body)?));

impl ClientSession {
    /// Send `request` to one session that handles `path`. [`Response::Value`] follows.
    ///
    /// The server prefers the handler registered for the longest matching path. The time of `terms` counts from `now`.
    ///
    /// Source: section 8.2.
    pub fn send_to_path(
        &mut self,
        now: Moment,
        call: CallId,
        path: &str,
        request: SerialisedValue<'_>,
        terms: impl Into<Terms>,
    ) {
        let capacity = path.len() + request.bytes.len() + 32;
        let body = SendToPath { path, request };
        self.ask::<MessagingSend>(now, call, &body, capacity, terms.into(), Purpose::Request(VALUE));
    }

    /// Send `request` to one session, for its stream at exactly `path`. [`Response::Value`] follows.
    ///
    /// Source: section 8.3.
    pub fn send_to_session(
        &mut self,
        now: Moment,
        call: CallId,
        session: SessionId,
        path: &str,
        request: SerialisedValue<'_>,
        terms: impl Into<Terms>,
    ) {
        let capacity = path.len() + request.bytes.len() + 64;
        let body = SendToSession { session, path, request };
        self.ask::<MessagingReceiverServer>(now, call, &body, capacity, terms.into(), Purpose::Request(VALUE));
    }

    /// Send a service request with a body of the application's own. [`Response::Body`] follows.
    ///
    /// Source: section 5.
    pub fn invoke(&mut self, now: Moment, call: CallId, service: u32, body: &[u8]) {
        let conversation = self.calls.next_conversation();
        let frame = Message::ServiceRequest { service, conversation, body }.to_frame();
        let purpose = Purpose::Request(|body, _| Ok(Response::Body(body.to_vec())));
        self.start(now, call, conversation, frame, self.request_timeout.into(), purpose);
    }

    /// Measure a round trip to the server. [`Response::Pong`] follows.
    ///
    /// Source: section 6.
    pub fn ping(&mut self, now: Moment, call: CallId) {
        self.query::<UserPing>(now, call, &(), |body, time| {
            decode_all::<()>(body)?;
            Ok(Response::Pong(time))
        });
    }

    /// Ask for the session's own properties: those with `keys`, which may be `*F` for all fixed and `*U` for all
    /// user-defined ones. [`Response::Properties`] follows.
    ///
    /// Source: section 9.1.
    pub fn get_properties(&mut self, now: Moment, call: CallId, keys: &[String]) {
        // If there is none, nothing is sent.
        let session = self.session().unwrap_or(SessionId { server: 0, value: 0 });
        let body = GetSessionProperties { session, keys: keys.iter().map(String::as_str).collect() };
        self.query::<GetProperties>(now, call, &body, |body, _| {
            // The session asks for its own, so it exists; if the server thinks otherwise, there are none.
            let properties: Option<Properties<'_>> = decode_all(body)?;
            let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
            Ok(Response::Properties(properties.unwrap_or_default().into_iter().map(owned).collect()))
        });
    }

    /// Give the session another principal. [`Response::PrincipalChanged`] follows, and says false if the server
    /// refused; the session then stays as it is.
    ///
    /// Source: section 9.3.
    pub fn change_principal(&mut self, now: Moment, call: CallId, principal: &str, credentials: &Credentials) {
        let credentials = credentials.as_wire();
        if self.connection.negotiated().as_ref().is_some_and(Negotiated::has_re_authenticate) {
            let body = Reauthenticate { principal, credentials, properties: Vec::new() };
            self.query::<ReAuthenticate>(now, call, &body, PRINCIPAL_CHANGED);
        } else {
            self.query::<ChangeOwnPrincipal>(now, call, &ChangePrincipal { principal, credentials }, PRINCIPAL_CHANGED);
        }
    }

    /// Forget a call: its outcome is no longer of interest and will not be reported. Whoever handles a request that was sent
    /// is told, if the server knows how. A watch is over.
    pub fn abandon(&mut self, call: CallId) {
        if let Some(call) = self.calls.end(call) {
            self.cancel(&call, false);
            self.stop_waiting(call.purpose);
        }
    }

    /// Tells the server that nobody waits for the answer to a request any more, or watches handlers, if it has been asked and
    /// wants to know.
    ///
    /// Source: sections 18.8 and 18.13.
    pub(super) fn cancel(&mut self, call: &Call, is_timed_out: bool) {
        let Some(conversation) = call.conversation else { return };
        let (feature, service, body) = match call.purpose {
            Purpose::Watch { .. } => (Features::DISCOVERY, HandlerUnwatch::ID, encoded(&conversation)),
            _ if call.is_unsent() || !call.is_request() => return,
            _ => (Features::CANCELLING, Cancellation::ID, encoded(&Cancel { conversation, is_timed_out })),
        };
        if self.features().has(feature) {
            let conversation = ConversationId::ONE_WAY;
            self.send(Message::ServiceRequest { service, conversation, body: &body }.to_frame());
        }
    }

    /// A call does not wait any more for what becomes of its registration: one that nobody knows of is not to be.
    fn stop_waiting(&mut self, purpose: Purpose) {
        if let Purpose::Registration(handler) = purpose {
            self.registrations.close(handler);
            self.follow_registrations();
        }
    }

    /// Asks the server something about this session.
    fn query<S: Service>(&mut self, now: Moment, call: CallId, request: &S::Request<'_>, read: ReadResponse) {
        self.ask::<S>(now, call, request, 0, self.request_timeout.into(), Purpose::Query(read));
    }

    fn ask<S: Service>(
        &mut self,
        now: Moment,
        call: CallId,
        request: &S::Request<'_>,
        capacity: usize,
        terms: Terms,
        purpose: Purpose,
    ) {
        let conversation = self.calls.next_conversation();
        let frame = request_frame::<S>(conversation, request, capacity);
        self.start(now, call, conversation, frame, terms, purpose);
    }

    /// The part of starting a call that is the same for every service.
    pub(super) fn start(
        &mut self,
        now: Moment,
        id: CallId,
        conversation: ConversationId,
        frame: Vec<u8>,
        Terms { patience: Patience { timeout, wait }, headers }: Terms,
        purpose: Purpose,
    ) {
        let frame = headers.before(frame);
        let mut call = Call::new(now, timeout, purpose, Some(conversation));
        match self.way_for(&frame, wait && self.calls.may_wait()) {
            Ok(Way::Open) => {
                if let Purpose::Watch { .. } = purpose {
                    call.unsent = Some(frame.clone());
                }
                self.calls.open(id, call);
                self.send_request(frame, timeout);
            }
            Ok(Way::Later) => {
                call.unsent = Some(frame);
                self.calls.open(id, call);
            }
            Err(error) => self.report(id, purpose, Err(error)),
        }
    }

    /// How a request gets to the server, or why it does not; `may_wait` says whether it may take its time.
    fn way_for(&self, frame: &[u8], may_wait: bool) -> Result<Way, RequestError> {
        let way = self.connection.way_for(frame.len(), may_wait)?;
        // Which features there will be, is known only on a connection.
        if way == Way::Open && !headers::may_go(frame, self.features()) {
            return Err(RequestError::InvalidArgument("this server knows no idempotency keys, send without one"));
        }
        Ok(way)
    }

    /// Sends a request, which says how much time it has left if it says so at all.
    fn send_request(&mut self, mut frame: Vec<u8>, left: Duration) {
        headers::set_time_left(&mut frame, left);
        self.send(frame);
    }

    /// Sends what has waited for a connection: registrations first. What is watched is asked for again, whatever became of
    /// the last connection: the server may have forgotten it, or may not have known how to watch.
    pub(super) fn send_unsent(&mut self, now: Moment) {
        self.registrations.advance_all();
        self.follow_registrations();
        let can_watch = self.features().has(Features::DISCOVERY);
        for call in self.calls.ids().into_iter().map(CallId) {
            match self.calls.purpose_mut(call) {
                Some(Purpose::Registration(_)) => continue,
                Some(Purpose::Watch { .. }) if !can_watch => continue,
                _ => {}
            }
            let Some((frame, deadline)) = self.calls.take_unsent(call) else { continue };
            match self.way_for(&frame, false) {
                Ok(_) => self.send_request(frame, deadline.since(now)),
                // The server takes smaller messages than the one that was there before, or knows no keys.
                Err(error) => self.end_call(call, Err(error)),
            }
        }
    }

    /// The server answered. A second answer finds no call and is ignored.
    pub(super) fn handle_response(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        answer: Result<&[u8], RequestError>,
    ) {
        let Some(id) = self.calls.in_conversation(conversation) else {
            let answer = answer.and_then(|body| Ok(decode_all::<()>(body)?));
            return self.handle_registration_answer(conversation, answer);
        };
        match self.calls.purpose_mut(id) {
            Some(Purpose::Filter { expected: None, .. }) => self.handle_count(id, answer),
            Some(Purpose::Request(read) | Purpose::Query(read)) => {
                let read = *read;
                let Some(Call { started, purpose, .. }) = self.calls.end(id) else { return };
                let outcome = answer.and_then(|body| read(body, now.since(started)));
                self.report(id, purpose, outcome);
            }
            Some(Purpose::Watch { .. }) => self.handle_found(id, answer),
            // Counted already.
            _ => {}
        }
    }

    /// A call has waited for too long.
    pub(super) fn time_out(&mut self, id: CallId, call: Call) {
        let Call { timeout, purpose, .. } = call;
        self.stop_waiting(purpose);
        let error =
            if call.is_unsent() { RequestError::NotSentInTime(timeout) } else { RequestError::TimedOut(timeout) };
        self.report(id, purpose, Err(error));
    }

    /// The end of a call whose answer will not come: what was under way is lost, or the session is over.
    pub(super) fn settle(&mut self, id: CallId, call: Call, loss: Loss) {
        let Call { purpose, .. } = call;
        self.stop_waiting(purpose);
        let error = if call.is_unsent() { RequestError::SessionClosed { sent: false } } else { loss.error() };
        self.report(id, purpose, Err(error));
    }

    pub(super) fn end_call(&mut self, id: CallId, outcome: Result<Response, RequestError>) {
        if let Some(Call { purpose, .. }) = self.calls.end(id) {
            self.report(id, purpose, outcome);
        }
    }

    /// Tells the application how a call ended that has been taken out.
    pub(super) fn report(&mut self, call: CallId, purpose: Purpose, outcome: Result<Response, RequestError>) {
        match (purpose, outcome) {
            // The number of sessions was told before.
            (Purpose::Filter { expected: Some(_), .. }, Err(error)) => {
                self.deliver(Event::FilterCallEnded { call, outcome: Err(error) });
            }
            // A handler that is closed answers no more, whatever the server said, or did not say in time.
            (Purpose::Deregistration, _) => {
                self.deliver(Event::CallEnded { call, outcome: Ok(Response::Deregistered) });
            }
            (_, outcome) => self.deliver(Event::CallEnded { call, outcome }),
        }
    }
}
