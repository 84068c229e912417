//! Registrations and streams: which function of the application answers a request, and what the server knows of it.

use super::calls::Response;
use super::error::RequestError;
use super::ids::{CallId, HandlerId};
use crate::numbered::Numbered;
use crate::wire::layouts::{DeregisterHandler, RegisterHandler};
use crate::wire::primitives::ConversationId;
use crate::wire::services::{MessagingReceiverClient, Service};

/// A request handler that the server knows of, or is to know of.
#[derive(Debug)]
pub(super) struct Registration {
    /// How the server names it in requests.
    pub number: ConversationId,
    pub path: String,
    pub property_keys: Vec<String>,
    /// Whether it is registered again after the server has lost it.
    pub reregister: bool,
}

/// As the official JavaScript client names it; servers ignore it (section 8.1).
const CONTROL_GROUP: &str = "default";

impl Registration {
    /// Asks the server to make it.
    pub fn to_register(&self) -> RegisterHandler<'_> {
        RegisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &self.path,
            property_keys: self.property_keys.iter().map(String::as_str).collect(),
            registration: self.number,
        }
    }

    /// Asks the server to take it back.
    pub fn to_deregister(&self) -> DeregisterHandler<'_> {
        DeregisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &self.path,
            property_keys: self.property_keys.iter().map(String::as_str).collect(),
        }
    }
}

#[derive(Debug)]
struct Known {
    registration: Registration,
    life: Life,
}

/// The progress of a registration from the application to the server and back.
#[derive(Debug)]
enum Life {
    /// The server was asked to make it.
    Registering,
    /// The same, but the application was told that it failed: it is taken back if the server makes it after all.
    Unwanted,
    Registered,
    /// The server has lost it and was asked to make it again.
    RegisteringAgain,
    /// The server was asked to take it back. These calls wait for that; none, if they have waited for too long.
    Deregistering(Vec<CallId>),
}

/// A question to the server about a registration; one in each conversation.
#[derive(Clone, Copy, Debug)]
enum Question {
    Register(CallId),
    RegisterAgain,
    Deregister,
}

/// What has become of a registration or a stream, for the session to carry out.
#[derive(Debug)]
pub(super) enum Effect {
    /// A call has come to its end, if it has not before.
    End(CallId, Result<Response, RequestError>),
    /// A request handler or a stream is gone without the application having asked for it.
    Lost(HandlerId),
    /// The server has made a registration that nobody wants any more. It is to be asked to take it back.
    TakeBack(Registration),
}

/// The functions at one path.
#[derive(Debug, Default)]
struct Slot {
    /// The request handler that the server has accepted there: it holds one for each path.
    registered: Option<HandlerId>,
    /// Answers in place of the request handler.
    stream: Option<HandlerId>,
    /// Whether a stream has taken the place of the request handler, which does not get it back.
    is_displaced: bool,
    /// Answers requests that were sent to this session by its ID or by a filter.
    addressed: Option<HandlerId>,
}

/// A function of the application that the server does not know of.
#[derive(Debug)]
struct Stream {
    path: String,
    is_addressed: bool,
}

/// All registrations and streams of a session.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// By [`HandlerId`].
    known: Numbered<Known>,
    /// The same.
    streams: Numbered<Stream>,
    /// Of the registrations, by the numbers that the server has for them.
    numbers: Numbered<HandlerId>,
    /// By exact path, in its order.
    slots: Vec<(String, Slot)>,
    /// What the server has not answered yet: by conversation, whose registration it is about.
    asked: Numbered<(HandlerId, Question)>,
    effects: Vec<Effect>,
}

impl Registrations {
    /// How many registrations the server knows of, or may know of.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// How many questions about them the server has not answered yet.
    pub fn unanswered(&self) -> usize {
        self.asked.len()
    }

    /// What has happened to registrations and streams since this was called last.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    // What the application does.

    /// The server is asked in `conversation` to make a registration; `call` waits for it.
    pub fn register(
        &mut self,
        handler: HandlerId,
        registration: Registration,
        conversation: ConversationId,
        call: CallId,
    ) {
        self.numbers.insert(key(registration.number), handler);
        self.known.insert(handler.0, Known { registration, life: Life::Registering });
        self.asked.insert(key(conversation), (handler, Question::Register(call)));
    }

    /// The application was told that a registration failed, or does not wait for it any more.
    pub fn give_up(&mut self, handler: HandlerId) {
        if let Some(known) = self.known.get_mut(handler.0)
            && matches!(known.life, Life::Registering)
        {
            known.life = Life::Unwanted;
        }
    }

    /// The registration of `handler`, if there is one that somebody wants.
    pub fn get(&self, handler: HandlerId) -> Option<&Registration> {
        let known = self.known.get(handler.0)?;
        (!matches!(known.life, Life::Unwanted)).then_some(&known.registration)
    }

    /// Whether the server was asked to take a registration back.
    pub fn is_deregistering(&self, handler: HandlerId) -> bool {
        matches!(self.known.get(handler.0), Some(Known { life: Life::Deregistering(_), .. }))
    }

    /// The server is asked in `conversation` to take back a registration; requests may come until it has answered.
    pub fn deregister(&mut self, handler: HandlerId, conversation: ConversationId) {
        if let Some(known) = self.known.get_mut(handler.0) {
            known.life = Life::Deregistering(Vec::new());
            self.asked.insert(key(conversation), (handler, Question::Deregister));
        }
    }

    /// A call waits for the server to take back a registration.
    pub fn wait(&mut self, handler: HandlerId, call: CallId) {
        if let Some(Known { life: Life::Deregistering(waiting), .. }) = self.known.get_mut(handler.0) {
            waiting.push(call);
        }
    }

    /// It does not any more.
    pub fn stop_waiting(&mut self, handler: HandlerId, call: CallId) {
        if let Some(Known { life: Life::Deregistering(waiting), .. }) = self.known.get_mut(handler.0) {
            waiting.retain(|other| *other != call);
        }
    }

    /// Adds a stream, in place of whatever answered such requests at its path.
    pub fn add_stream(&mut self, handler: HandlerId, path: &str, is_addressed: bool) {
        let slot = self.slot(path);
        let replaced = if is_addressed {
            slot.addressed.replace(handler)
        } else {
            slot.is_displaced = true;
            slot.stream.replace(handler)
        };
        self.streams.insert(handler.0, Stream { path: path.to_owned(), is_addressed });
        self.lose_stream(replaced);
    }

    /// Another one has taken the place of a stream.
    fn lose_stream(&mut self, replaced: Option<HandlerId>) {
        if let Some(stream) = replaced {
            self.streams.remove(stream.0);
            self.effects.push(Effect::Lost(stream));
        }
    }

    /// Takes a stream out. What it has replaced does not come back.
    pub fn remove_stream(&mut self, handler: HandlerId) {
        let Some(Stream { path, is_addressed }) = self.streams.remove(handler.0) else { return };
        let slot = self.slot(&path);
        if is_addressed {
            slot.addressed = None;
        } else {
            slot.stream = None;
        }
        self.tidy(&path);
    }

    // What the server does.

    /// The server has answered what it was asked in `conversation`, if that was about a registration.
    pub fn answer(&mut self, conversation: ConversationId, answer: Result<(), RequestError>) {
        let Some((handler, question)) = self.asked.remove(key(conversation)) else { return };
        match (question, answer) {
            (Question::Register(call), Ok(())) => self.be_registered(handler, call),
            (Question::Register(call), Err(error)) => {
                self.end(handler, false);
                self.effects.push(Effect::End(call, Err(error)));
            }
            (Question::RegisterAgain, Ok(())) => {
                if let Some(Known { life: life @ Life::RegisteringAgain, .. }) = self.known.get_mut(handler.0) {
                    *life = Life::Registered;
                }
            }
            (Question::RegisterAgain, Err(_)) | (Question::Deregister, Ok(())) => self.end(handler, true),
            (Question::Deregister, Err(error)) => {
                if let Some(Known { life, .. }) = self.known.get_mut(handler.0)
                    && let Life::Deregistering(waiting) = std::mem::replace(life, Life::Registered)
                {
                    for call in waiting {
                        self.effects.push(Effect::End(call, Err(error.clone())));
                    }
                }
            }
        }
    }

    /// The server has made a registration. It holds one for each path, so the one of before is over, whatever was heard of it;
    /// and the handler answers in place of a stream.
    fn be_registered(&mut self, handler: HandlerId, call: CallId) {
        let Some(known) = self.known.get_mut(handler.0) else { return };
        match known.life {
            Life::Unwanted => {
                if let Some(known) = self.remove(handler) {
                    self.effects.push(Effect::TakeBack(known.registration));
                }
                return;
            }
            Life::Registering => known.life = Life::Registered,
            // To be taken back already; the server has been asked.
            _ => {}
        }
        let path = known.registration.path.clone();
        self.effects.push(Effect::End(call, Ok(Response::Registered)));
        let slot = self.slot(&path);
        slot.is_displaced = false;
        let (before, stream) = (slot.registered.replace(handler), slot.stream.take());
        self.lose_stream(stream);
        if let Some(before) = before {
            self.end(before, true);
        }
    }

    /// The server holds a registration no longer: tells those who wait for that, or else the application, if it `was_made`.
    fn end(&mut self, handler: HandlerId, was_made: bool) {
        let Some(known) = self.remove(handler) else { return };
        match known.life {
            Life::Deregistering(waiting) if !waiting.is_empty() => {
                for call in waiting {
                    self.effects.push(Effect::End(call, Ok(Response::Deregistered)));
                }
            }
            _ if was_made => self.effects.push(Effect::Lost(handler)),
            _ => {}
        }
    }

    /// The server has lost everything. Those that are to be registered again are the ones that are left.
    pub fn lose_all(&mut self) {
        self.asked = Numbered::default();
        for handler in self.handlers() {
            let Some(known) = self.known.get_mut(handler.0) else { continue };
            let is_wanted = match &known.life {
                Life::Registered | Life::RegisteringAgain => true,
                // The application was told that taking it back failed.
                Life::Deregistering(waiting) => waiting.is_empty(),
                Life::Registering | Life::Unwanted => false,
            };
            if is_wanted && known.registration.reregister {
                known.life = Life::RegisteringAgain;
            } else {
                self.remove(handler);
                if is_wanted {
                    self.effects.push(Effect::Lost(handler));
                }
            }
        }
    }

    /// All request handlers, in their order.
    pub fn handlers(&self) -> impl Iterator<Item = HandlerId> + use<> {
        self.known.numbers().into_iter().map(HandlerId)
    }

    /// The server is asked in `conversation` to make a registration again.
    pub fn register_again(&mut self, handler: HandlerId, conversation: ConversationId) {
        self.asked.insert(key(conversation), (handler, Question::RegisterAgain));
    }

    /// A registration that the server has lost cannot be made again.
    pub fn lose(&mut self, handler: HandlerId) {
        self.end(handler, true);
    }

    /// The session is over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    // Which handler answers.

    /// The one for a request that the server sent to a registration.
    pub fn handler(&self, number: ConversationId, path: &str) -> Option<HandlerId> {
        let handler = *self.numbers.get(key(number))?;
        if let Ok(at) = self.find(path) {
            let Slot { registered, stream, is_displaced, .. } = self.slots[at].1;
            if stream.is_some() || is_displaced && registered == Some(handler) {
                return stream;
            }
        }
        self.get(handler).is_some().then_some(handler)
    }

    /// The one for a request that was sent to this session by its ID or by a filter.
    pub fn addressed(&self, path: &str) -> Option<HandlerId> {
        self.slots[self.find(path).ok()?].1.addressed
    }

    // The parts of it.

    #[inline(never)]
    fn remove(&mut self, handler: HandlerId) -> Option<Known> {
        let known = self.known.remove(handler.0)?;
        self.numbers.remove(key(known.registration.number));
        if let Ok(at) = self.find(&known.registration.path) {
            let registered = &mut self.slots[at].1.registered;
            if *registered == Some(handler) {
                *registered = None;
            }
            self.tidy(&known.registration.path);
        }
        Some(known)
    }

    #[inline(never)]
    fn find(&self, path: &str) -> Result<usize, usize> {
        self.slots.binary_search_by(|(there, _)| there.as_str().cmp(path))
    }

    #[inline(never)]
    fn slot(&mut self, path: &str) -> &mut Slot {
        let at = self.find(path).unwrap_or_else(|at| {
            self.slots.insert(at, (path.to_owned(), Slot::default()));
            at
        });
        &mut self.slots[at].1
    }

    /// Forgets a path at which nothing is.
    #[inline(never)]
    fn tidy(&mut self, path: &str) {
        if let Ok(at) = self.find(path)
            && let Slot { registered: None, stream: None, addressed: None, .. } = self.slots[at].1
        {
            self.slots.remove(at);
        }
    }
}

fn key(conversation: ConversationId) -> u64 {
    conversation.0.cast_unsigned()
}
