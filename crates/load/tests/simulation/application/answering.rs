//! What the applications make of requests, and answer.

use antiphon_load::ledger::Stamp;
use antiphon_protocol::client::{self, ReceivedRequest};
use antiphon_protocol::value::{DataType, Value};
use antiphon_protocol::wire::error_reason::ErrorReason;

use super::{Answer, LONGEST_WORK, SIZE, STREAM, STREAM_ID, Work};
use crate::faults::{chance, milliseconds};
use crate::world::{Turn, World};

impl World {
    /// A handler is given a request.
    pub(super) fn serve(&mut self, client: usize, received: ReceivedRequest) {
        let ReceivedRequest { id: received_as, handler, path, sender, request, key, .. } = received;
        let stamp = Stamp::from_bytes(&request.bytes);
        let is_right = match self.clients[client].handlers.get(&handler) {
            Some(handler) => sender.is_some() && path.starts_with(&handler.path),
            // It takes the place of one that is being taken back.
            None if self.clients[client].is_registering(handler, &path) => sender.is_some(),
            None => sender.is_none() && handler == STREAM_ID && path == STREAM,
        };
        if !is_right {
            return self.wrong(|| format!("client {client} has no handler {handler:?} for {path}"));
        }
        let Some(recipient) = self.clients[client].recipient() else {
            return self.wrong(|| format!("client {client} is given {received_as:?} without a session"));
        };
        self.ledger.handled(stamp, recipient);
        let Some(Stamp { request: id, .. }) = stamp else { return };
        if key.is_some_and(|key| key != id.0.to_string()) {
            self.wrong(|| format!("{id:?} has the key of another one"));
        }
        let work = match self.random.u32(0..100) {
            _ if self.is_over => Work::Answer,
            0..75 => Work::Answer,
            75..80 => Work::AnswerTwice,
            80..88 => Work::Reject,
            88..93 => Work::RejectThenAnswer,
            _ => Work::Nothing,
        };
        self.log(|| format!("client {client} handles {id:?} as {received_as:?}: {work:?}"));
        self.requests[id.0 as usize].handled = Some((self.now, work));
        if self.clients[client].received.insert(received_as, (id, recipient)).is_some() {
            self.wrong(|| format!("client {client} is given {received_as:?} again"));
        }
        let stamp = Stamp { request: id, recipient: Some(recipient) };
        let reasons = [ErrorReason::REJECTED_REQUEST, ErrorReason::CALLBACK_EXCEPTION];
        let reason = self.random.choice(reasons);
        let answers: &[Option<ErrorReason>] = match work {
            Work::Answer => &[None],
            Work::AnswerTwice => &[None, None],
            Work::Reject => &[reason],
            Work::RejectThenAnswer => &[reason, None],
            Work::Nothing => &[],
        };
        let mut at = self.now;
        for reason in answers {
            if !self.is_over && chance(&mut self.random, 40) {
                at = at + milliseconds(&mut self.random, 0..LONGEST_WORK.as_millis() as u64 / 2);
            }
            self.schedule(at, Turn::Answer(client, received_as, Answer { stamp, reason: *reason }));
        }
    }

    /// A handler answers, whether anybody still waits for it or not.
    pub fn answer(&mut self, client: usize, received_as: client::RequestId, answer: Answer) {
        let Answer { stamp, reason } = answer;
        self.log(|| format!("client {client} answers {:?} as {received_as:?}: {reason:?}", stamp.request));
        if self.clients[client].received.remove(&received_as).is_some() {
            self.requests[stamp.request.0 as usize].answered_at.get_or_insert(self.now);
        }
        let value = Value::new(DataType::Binary, stamp.to_bytes(SIZE));
        let text = stamp.request.0.to_string();
        self.act(client, |core| match reason {
            Some(reason) => core.respond(received_as, Err((reason, &text, &[]))),
            None => core.respond(received_as, Ok(value.as_wire())),
        });
    }
}
