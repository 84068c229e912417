//! Takes apart what comes on the connection, into messages, and says what each of them is.

use super::{ClientSession, ConnectionId, RequestError, State};
use crate::batch;
use crate::text;
use crate::time::Moment;
use crate::wire::DecodeError;
use crate::wire::envelope::Message;
use crate::wire::headers::Headers;
use crate::wire::layouts::ServiceFailure;
use crate::wire::primitives::ConversationId;

/// What is to be known of a message that asks this client something, beside what it asks.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub now: Moment,
    pub conversation: ConversationId,
    pub headers: Headers<'a>,
    /// Of the whole message, in bytes.
    pub size: usize,
}

impl ClientSession {
    /// A binary WebSocket message arrived.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: &[u8]) {
        if self.connection() != Some(connection) {
            return;
        }
        self.connection.heard(now);
        // What is due is due, even if the timer is late; those of hidden pages are.
        self.handle_due(now);
        if self.connection() != Some(connection) {
            return;
        }
        if self.connection.is_connecting() {
            let step = self.connection.handle_connect_response(now, frame);
            self.follow(step);
        } else {
            for message in batch::messages(frame, self.features()) {
                match message {
                    Ok(message) => self.handle_message(now, message),
                    Err(error) => self.handle_malformed(now, &error),
                }
                // One of them may have ended it.
                if self.connection() != Some(connection) {
                    return;
                }
            }
        }
    }

    fn handle_message(&mut self, now: Moment, frame: &[u8]) {
        let size = frame.len();
        let split = Headers::split(frame, self.features());
        let headers = split.as_ref().map_or(Headers::NONE, |(headers, _)| *headers);
        let message = split.and_then(|(_, message)| Message::decode(message));
        if matches!(message, Ok(Message::Abort)) {
            let step = self.connection.handle_abort();
            return self.follow(step);
        }
        // What was on its way when we said goodbye.
        if self.state() == State::Closed {
            return;
        }
        self.connection.count_received();
        match message {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                self.handle_service_request(Arrival { now, conversation, headers, size }, service, body);
            }
            Ok(Message::ServiceResponse { conversation, .. } | Message::ServiceError { conversation, .. })
                if self.connection.handle_answer(conversation) => {}
            Ok(Message::ServiceResponse { conversation, body }) => {
                let answer = self.check_size(size, body);
                self.handle_response(now, conversation, answer);
            }
            Ok(Message::ServiceError { conversation, failure: ServiceFailure { reason, description } }) => {
                let error = RequestError::refused(reason, description, &headers);
                self.handle_response(now, conversation, Err(error));
            }
            Ok(Message::Topic | Message::Abort) => {}
            Ok(Message::CloseRequest) => {
                self.break_off(now, "the server sent a message that only clients send".into());
            }
            Err(error) => self.handle_malformed(now, &error),
        }
    }

    fn handle_malformed(&mut self, now: Moment, error: &DecodeError) {
        self.break_off(now, text!["the server sent a malformed message: ", error.message()]);
    }

    /// What came in a message of `size` bytes, unless that is too much. A large message costs the request that it belongs
    /// to, and nothing else.
    pub(super) fn check_size<T>(&self, size: usize, content: T) -> Result<T, RequestError> {
        let limit = self.max_message_size;
        if size > limit { Err(RequestError::ResponseTooLarge { size, limit }) } else { Ok(content) }
    }
}
