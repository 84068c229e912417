//! Registrations and streams: which function of the application answers a request, and what the server knows of it.

use super::calls::{CallId, Response};
use super::error::RequestError;
use crate::numbered::Numbered;
use crate::wire::layouts::{DeregisterHandler, RegisterHandler};
use crate::wire::primitives::ConversationId;
use crate::wire::services::{MessagingReceiverClient, Service};

/// A request handler or a stream of the application. Chosen by the application, counting up; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HandlerId(pub u64);

/// A request handler that the server knows of, or is to know of.
#[derive(Debug)]
pub(super) struct Registration {
    pub handler: HandlerId,
    pub path: String,
    pub property_keys: Vec<String>,
    /// Whether it is registered again after the server has lost it.
    pub reregister: bool,
}

/// As the official JavaScript client names it; servers ignore it (section 8.1).
const CONTROL_GROUP: &str = "default";

impl Registration {
    /// Asks the server to make it; it will name the registration by `number`.
    pub fn to_register(&self, number: ConversationId) -> RegisterHandler<'_> {
        RegisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &self.path,
            property_keys: self.property_keys.iter().map(String::as_str).collect(),
            registration: number,
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
    /// Whether a stream has taken its place, which it does not get back.
    is_displaced: bool,
}

/// Where a registration is on its way from the application to the server and back.
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

/// What the server was asked in a conversation about a registration.
#[derive(Clone, Copy, Debug)]
enum Question {
    Register(CallId),
    RegisterAgain,
    Deregister,
}

/// What has become of a registration, for the session to carry out.
#[derive(Debug)]
pub(super) enum Effect {
    /// A call has come to its end, if it has not before.
    End(CallId, Result<Response, RequestError>),
    /// A request handler or a stream is gone without the application having asked for it.
    Lost(HandlerId),
    /// The server has made a registration that nobody wants any more, and is to be asked to take it back.
    TakeBack(Registration),
}

/// What is to be done so that a registration is taken back.
pub(super) enum TakingBack<'a> {
    /// Nothing: it is gone.
    Gone,
    /// The server was asked already.
    Asked,
    /// The server is to be asked.
    Ask(&'a Registration),
}

/// What is at one path.
#[derive(Debug, Default)]
struct Slot {
    registrations: Vec<ConversationId>,
    /// Answers in place of the registrations.
    stream: Option<HandlerId>,
    /// Answers requests that were sent to this session by its ID or by a filter.
    addressed: Option<HandlerId>,
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.registrations.is_empty() && self.stream.is_none() && self.addressed.is_none()
    }
}

/// Where a function of the application is to be found.
#[derive(Debug)]
enum Place {
    Registration(ConversationId),
    Stream { path: String, is_addressed: bool },
}

/// All registrations and streams of a session.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    /// By the number that the server was given for them.
    known: Numbered<Known>,
    places: Numbered<Place>,
    /// By exact path, in its order.
    slots: Vec<(String, Slot)>,
    /// What the server has not answered yet: by conversation, the registration it is about.
    asked: Numbered<(ConversationId, Question)>,
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

    // What the application does.

    /// The server is asked in `conversation` to make a registration, which it will name by `number`; `call` waits for it.
    pub fn register(
        &mut self,
        registration: Registration,
        number: ConversationId,
        conversation: ConversationId,
        call: CallId,
    ) {
        self.places.insert(registration.handler.0, Place::Registration(number));
        self.slot(&registration.path).registrations.push(number);
        self.known.insert(key(number), Known { registration, life: Life::Registering, is_displaced: false });
        self.asked.insert(key(conversation), (number, Question::Register(call)));
    }

    /// The application was told that a registration failed, or does not wait for it any more.
    pub fn give_up(&mut self, number: ConversationId) {
        if let Some(known) = self.known.get_mut(key(number))
            && matches!(known.life, Life::Registering)
        {
            known.life = Life::Unwanted;
        }
    }

    /// What has to be done so that the registration of `handler` is taken back, and the number of the registration.
    pub fn taking_back(&self, handler: HandlerId) -> (ConversationId, TakingBack<'_>) {
        let Some(Place::Registration(number)) = self.places.get(handler.0) else {
            return (ConversationId::ONE_WAY, TakingBack::Gone);
        };
        let to_do = match self.known.get(key(*number)) {
            None | Some(Known { life: Life::Unwanted, .. }) => TakingBack::Gone,
            Some(Known { life: Life::Deregistering(_), .. }) => TakingBack::Asked,
            Some(Known { registration, .. }) => TakingBack::Ask(registration),
        };
        (*number, to_do)
    }

    /// The server is asked in `conversation` to take back a registration; requests may come until it has answered.
    pub fn deregister(&mut self, number: ConversationId, conversation: ConversationId) {
        if let Some(known) = self.known.get_mut(key(number)) {
            known.life = Life::Deregistering(Vec::new());
            self.asked.insert(key(conversation), (number, Question::Deregister));
        }
    }

    /// A call waits for the server to take back a registration.
    pub fn wait(&mut self, number: ConversationId, call: CallId) {
        if let Some(Known { life: Life::Deregistering(waiting), .. }) = self.known.get_mut(key(number)) {
            waiting.push(call);
        }
    }

    /// It does not any more.
    pub fn stop_waiting(&mut self, number: ConversationId, call: CallId) {
        if let Some(Known { life: Life::Deregistering(waiting), .. }) = self.known.get_mut(key(number)) {
            waiting.retain(|other| *other != call);
        }
    }

    /// Adds a stream, in place of whatever answered such requests at its path. The stream whose place it takes, if one had
    /// it.
    pub fn add_stream(&mut self, handler: HandlerId, path: &str, is_addressed: bool) -> Option<HandlerId> {
        let slot = self.slot(path);
        let replaced;
        if is_addressed {
            replaced = slot.addressed.replace(handler);
        } else {
            replaced = slot.stream.replace(handler);
            let displaced = slot.registrations.clone();
            for number in displaced {
                if let Some(known) = self.known.get_mut(key(number)) {
                    known.is_displaced = true;
                }
            }
        }
        self.places.insert(handler.0, Place::Stream { path: path.to_owned(), is_addressed });
        if let Some(replaced) = replaced {
            self.places.remove(replaced.0);
        }
        replaced
    }

    /// Takes a stream out. What it has replaced does not come back.
    pub fn remove_stream(&mut self, handler: HandlerId) {
        if !matches!(self.places.get(handler.0), Some(Place::Stream { .. })) {
            return;
        }
        if let Some(Place::Stream { path, is_addressed }) = self.places.remove(handler.0) {
            let slot = self.slot(&path);
            if is_addressed {
                slot.addressed = None;
            } else {
                slot.stream = None;
            }
            self.tidy(&path);
        }
    }

    // What the server does.

    /// The server has answered what it was asked in `conversation`, if that was about a registration.
    pub fn answer(&mut self, conversation: ConversationId, answer: Result<(), RequestError>) -> Vec<Effect> {
        let Some((number, question)) = self.asked.remove(key(conversation)) else { return Vec::new() };
        match (question, answer) {
            (Question::Register(call), Ok(())) => self.be_registered(number, call),
            (Question::Register(call), Err(error)) => {
                let mut effects = self.end(number, false);
                effects.push(Effect::End(call, Err(error)));
                effects
            }
            (Question::RegisterAgain, Ok(())) => {
                if let Some(Known { life: life @ Life::RegisteringAgain, .. }) = self.known.get_mut(key(number)) {
                    *life = Life::Registered;
                }
                Vec::new()
            }
            (Question::RegisterAgain, Err(_)) | (Question::Deregister, Ok(())) => self.end(number, true),
            (Question::Deregister, Err(error)) => {
                let Some(known) = self.known.get_mut(key(number)) else { return Vec::new() };
                let Life::Deregistering(waiting) = std::mem::replace(&mut known.life, Life::Registered) else {
                    return Vec::new();
                };
                waiting.into_iter().map(|call| Effect::End(call, Err(error.clone()))).collect()
            }
        }
    }

    /// The server has made a registration. It holds one for each path, so all others of this path are over, whatever was
    /// heard of them; and the handler answers in place of a stream.
    fn be_registered(&mut self, number: ConversationId, call: CallId) -> Vec<Effect> {
        let Some(known) = self.known.get_mut(key(number)) else { return Vec::new() };
        match known.life {
            Life::Unwanted => {
                return self.remove(number).map(|known| Effect::TakeBack(known.registration)).into_iter().collect();
            }
            Life::Registering => known.life = Life::Registered,
            // To be taken back already; the server has been asked.
            _ => {}
        }
        known.is_displaced = false;
        let path = known.registration.path.clone();
        let slot = self.slot(&path);
        let replaced = slot.stream.take();
        let others = slot.registrations.clone();
        let mut effects = vec![Effect::End(call, Ok(Response::Registered))];
        if let Some(stream) = replaced {
            self.places.remove(stream.0);
            effects.push(Effect::Lost(stream));
        }
        for other in others {
            let life = self.known.get(key(other)).map(|known| &known.life);
            if other != number && matches!(life, Some(Life::Registered | Life::Deregistering(_))) {
                effects.extend(self.end(other, true));
            }
        }
        effects
    }

    /// The server holds a registration no longer: tells those who wait for that, or else the application, if it `was_made`.
    fn end(&mut self, number: ConversationId, was_made: bool) -> Vec<Effect> {
        match self.remove(number) {
            Some(Known { life: Life::Deregistering(waiting), .. }) if !waiting.is_empty() => {
                waiting.into_iter().map(|call| Effect::End(call, Ok(Response::Deregistered))).collect()
            }
            Some(Known { registration, .. }) if was_made => vec![Effect::Lost(registration.handler)],
            _ => Vec::new(),
        }
    }

    /// The server has lost everything. Tells which handlers are gone for good. Those that are to be registered again are the
    /// ones in [`Self::to_register_again`].
    pub fn lose_all(&mut self) -> Vec<HandlerId> {
        drop(self.asked.take_all());
        let mut lost = Vec::new();
        let all: Vec<_> = self.known.iter().map(|(number, _)| ConversationId(number.cast_signed())).collect();
        for number in all {
            let Some(known) = self.known.get_mut(key(number)) else { continue };
            let is_wanted = match &known.life {
                Life::Registered | Life::RegisteringAgain => true,
                // The application was told that taking it back failed.
                Life::Deregistering(waiting) => waiting.is_empty(),
                Life::Registering | Life::Unwanted => false,
            };
            if is_wanted && known.registration.reregister {
                known.life = Life::RegisteringAgain;
            } else {
                if is_wanted {
                    lost.push(known.registration.handler);
                }
                self.remove(number);
            }
        }
        lost
    }

    /// After a loss: everything that is left.
    pub fn to_register_again(&self) -> impl Iterator<Item = (ConversationId, &Registration)> {
        self.known.iter().map(|(number, known)| (ConversationId(number.cast_signed()), &known.registration))
    }

    /// The server is asked in `conversation` to make a registration again.
    pub fn register_again(&mut self, number: ConversationId, conversation: ConversationId) {
        self.asked.insert(key(conversation), (number, Question::RegisterAgain));
    }

    /// A registration cannot be made again.
    pub fn lose(&mut self, number: ConversationId) {
        self.remove(number);
    }

    /// The session is over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    // Which handler answers.

    /// The one for a request that the server sent to a registration.
    pub fn handler(&self, number: ConversationId, path: &str) -> Option<HandlerId> {
        let known = self.known.get(key(number))?;
        if let Ok(at) = self.find(path)
            && let Some(stream) = self.slots[at].1.stream
        {
            return Some(stream);
        }
        let is_displaced = known.is_displaced && known.registration.path == path;
        let answers = !is_displaced && !matches!(known.life, Life::Unwanted);
        answers.then_some(known.registration.handler)
    }

    /// The one for a request that was sent to this session by its ID or by a filter.
    pub fn addressed(&self, path: &str) -> Option<HandlerId> {
        self.slots[self.find(path).ok()?].1.addressed
    }

    // The parts of it.

    fn remove(&mut self, number: ConversationId) -> Option<Known> {
        let known = self.known.remove(key(number))?;
        self.places.remove(known.registration.handler.0);
        self.slot(&known.registration.path).registrations.retain(|other| *other != number);
        self.tidy(&known.registration.path);
        Some(known)
    }

    fn find(&self, path: &str) -> Result<usize, usize> {
        self.slots.binary_search_by(|(there, _)| there.as_str().cmp(path))
    }

    fn slot(&mut self, path: &str) -> &mut Slot {
        let at = self.find(path).unwrap_or_else(|at| {
            self.slots.insert(at, (path.to_owned(), Slot::default()));
            at
        });
        &mut self.slots[at].1
    }

    fn tidy(&mut self, path: &str) {
        if let Ok(at) = self.find(path)
            && self.slots[at].1.is_empty()
        {
            self.slots.remove(at);
        }
    }
}

fn key(conversation: ConversationId) -> u64 {
    conversation.0.cast_unsigned()
}
