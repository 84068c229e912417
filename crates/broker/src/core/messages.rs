//! Takes apart what comes on a connection, into messages, and says what each of them is: a request, which may have to wait
//! for its turn; an answer; or the end.

use antiphon_protocol::batch;
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::headers::{Header, Headers};
use antiphon_protocol::wire::layouts::ServiceFailure;
use antiphon_protocol::wire::services::{Cancellation, Service};

use super::ending::Ending;
use super::per_session::SessionKey;
use super::received::Occurrence;
use super::refusal::Failure;
use super::serve::Asker;
use super::tasks::HeldRequest;
use super::{Broker, ConnectionId};

impl Broker {
    /// A binary WebSocket message arrived: a message of the session, or a batch of them.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: &[u8]) {
        let Some(key) = self.heard(now, connection) else { return self.give_up_early(connection) };
        let Some(session) = self.sessions.get(key) else { return };
        let (features, party) = (session.features(), session.party());
        for message in batch::messages(frame, features) {
            let before = self.work;
            match message {
                Ok(message) => self.handle_message(now, key, features, message),
                Err(_) => self.abort(key, Ending::Violation),
            }
            self.sessions.charge(party, self.work - before);
            // One of them may have ended the session.
            if self.sessions.get(key).is_none() {
                break;
            }
        }
        // Not sooner: what one message cancels gives its place to no request that the next one cancels.
        if self.queues.has_ready() {
            self.serve_queues(now);
        }
    }

    fn handle_message(&mut self, now: Moment, key: SessionKey, features: Features, message: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.received.count_message();
        let Ok((headers, bare)) = Headers::split(message, features) else {
            return self.abort(key, Ending::Violation);
        };
        match Message::decode(bare) {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                if session.received.remember(conversation, message) == Occurrence::First {
                    let due = headers.time_left().map(|left| now + left);
                    self.request(Asker { now, session: key, conversation, due }, &headers, service, body);
                }
            }
            Ok(Message::ServiceResponse { conversation, body }) => self.handle_answer(now, key, conversation, Ok(body)),
            Ok(Message::ServiceError { conversation, failure }) => {
                let details = headers.get(Header::Details);
                let ServiceFailure { reason, description } = failure;
                self.handle_answer(now, key, conversation, Err(Failure { reason, description, details }));
            }
            // A client says goodbye with a close request and gets an abort for an answer. One that sends what no
            // client sends gets the same (sections 4.1 and 11).
            Ok(Message::CloseRequest) => self.abort(key, Ending::ByClient),
            Ok(Message::Topic | Message::Abort) | Err(_) => self.abort(key, Ending::Violation),
        }
    }

    /// A session asks for something: now, or when it has its turn, because something that it asked for before is not done
    /// (rules M-19), or because its party has had its share (rules M-23).
    fn request(&mut self, asker: Asker, headers: &Headers<'_>, service: u32, body: &[u8]) {
        let Asker { now, session, conversation, due } = asker;
        let is_next = !self.turns.has_tasks(session) && self.sessions.may_go_on(now, session);
        // That a request is given up does not wait behind it.
        if is_next || service == Cancellation::ID {
            return self.handle_request(asker, headers, service, body);
        }
        let Some(party) = self.sessions.party_of(session) else { return };
        let held = HeldRequest { service, conversation, due, headers: headers.to_block(), body: body.into() };
        if let Err(refusal) = self.check_waiting(held.len()) {
            return self.refuse(asker, &refusal);
        }
        let intake = self.turns.hold(party, session, held);
        self.regulate(session, intake);
    }
}
