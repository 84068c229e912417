//! Listens to what goes over the wire between clients and the broker: once that knows that a request is given up, it delivers
//! it to nobody (rules B-2).

use std::collections::{HashMap, HashSet};

use antiphon_load::ledger::{EntryId, Stamp};
use antiphon_protocol::batch;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::headers::Headers;
use antiphon_protocol::wire::layouts::{Cancel, ForwardedRequest, SendToFilter, SendToPath, SendToSession};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{
    Cancellation, MessagingFilterSender, MessagingReceiverClient, MessagingReceiverServer, MessagingSend, Service,
};
use antiphon_protocol::wire::{Decode, Reader};

/// What has been heard.
#[derive(Debug, Default)]
pub struct Tap {
    /// The requests of each client, by conversation.
    asked: HashMap<(usize, ConversationId), EntryId>,
    given_up: HashSet<EntryId>,
    /// Those with a key go on when their time is over, or their session (rules K-3).
    keyed: HashSet<EntryId>,
    /// What was sent to whom, in which conversation: the same may be sent again on another connection.
    delivered: HashSet<(usize, ConversationId, EntryId)>,
}

impl Tap {
    /// A request will have a key.
    pub fn knows_key_of(&mut self, request: EntryId) {
        self.keyed.insert(request);
    }

    /// A frame of a client arrives at the broker.
    pub fn hear_asking(&mut self, client: usize, frame: &[u8]) {
        for (service, conversation, body) in requests(frame) {
            let request = match service {
                MessagingSend::ID => read(body).map(|request: SendToPath<'_>| request.request),
                MessagingReceiverServer::ID => read(body).map(|request: SendToSession<'_>| request.request),
                MessagingFilterSender::ID => read(body).map(|request: SendToFilter<'_>| request.request),
                _ => None,
            };
            if let Some(stamp) = request.and_then(|request| Stamp::from_bytes(request.bytes)) {
                self.asked.insert((client, conversation), stamp.request);
            }
        }
    }

    /// The broker has done what a frame of a client says.
    pub fn hear_giving_up(&mut self, client: usize, features: Features, frame: &[u8]) {
        for message in messages(frame) {
            match Message::decode(message) {
                // It may have been sent on a connection whose broker knew more.
                Ok(Message::ServiceRequest { service: Cancellation::ID, body, .. })
                    if features.has(Features::CANCELLING) =>
                {
                    let Some(Cancel { conversation, is_timed_out }) = read(body) else { continue };
                    let asked = self.asked.get(&(client, conversation));
                    self.given_up.extend(asked.filter(|asked| !is_timed_out || !self.keyed.contains(asked)).copied());
                }
                Ok(Message::CloseRequest) => {
                    let of_client = self.asked.iter().filter(|((other, _), _)| *other == client);
                    let asked = of_client.map(|(_, request)| *request);
                    self.given_up.extend(asked.filter(|request| !self.keyed.contains(request)));
                }
                _ => {}
            }
        }
    }

    /// The broker sends a message to a client. The error is a request that it must not send any more.
    pub fn hear_delivery(&mut self, client: usize, message: &[u8]) -> Result<(), EntryId> {
        for (service, conversation, body) in requests(message) {
            let request = match service {
                MessagingSend::ID => read(body).map(|request: SendToPath<'_>| request.request),
                MessagingReceiverClient::ID => read(body).map(|request: ForwardedRequest<'_>| request.request),
                _ => None,
            };
            let Some(Stamp { request, .. }) = request.and_then(|request| Stamp::from_bytes(request.bytes)) else {
                continue;
            };
            if self.delivered.insert((client, conversation, request)) && self.given_up.contains(&request) {
                return Err(request);
            }
        }
        Ok(())
    }
}

/// All messages of a frame, without their headers.
fn messages(frame: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bare = |message| Headers::split(message, Features::WITH_HEADERS).ok().map(|(_, message)| message);
    batch::messages(frame, Features::BATCHING).filter_map(move |message| bare(message.ok()?))
}

fn requests(frame: &[u8]) -> impl Iterator<Item = (u32, ConversationId, &[u8])> {
    messages(frame).filter_map(|message| match Message::decode(message) {
        Ok(Message::ServiceRequest { service, conversation, body }) => Some((service, conversation, body)),
        _ => None,
    })
}

fn read<'a, T: Decode<'a>>(body: &'a [u8]) -> Option<T> {
    T::decode(&mut Reader::new(body)).ok()
}
