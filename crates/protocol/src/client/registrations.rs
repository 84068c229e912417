//! Registrations and streams: which function of the application answers a request, and what the server knows of it.

use std::time::Duration;

use super::calls::Response;
use super::error::RequestError;
use super::ids::{CallId, HandlerId};
use crate::numbered::Numbered;
use crate::wire::error_reason::ErrorReason;
use crate::wire::headers::HeaderBlock;
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
    /// Whether it answers as a stream for addressed requests does, too.
    pub is_addressed: bool,
    /// How long it may take for an answer.
    pub timeout: Duration,
    /// What goes along whenever it is made.
    pub headers: HeaderBlock,
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
            property_keys: self.keys(),
            registration: self.number,
        }
    }

    /// Asks the server to take it back.
    pub fn to_deregister(&self) -> DeregisterHandler<'_> {
        DeregisterHandler {
            delivery_service: MessagingReceiverClient::ID,
            control_group: CONTROL_GROUP,
            path: &self.path,
            property_keys: self.keys(),
        }
    }

    #[inline(never)]
    fn keys(&self) -> Vec<&str> {
        self.property_keys.iter().map(String::as_str).collect()
    }
}

#[derive(Debug)]
struct Known {
    registration: Registration,
    life: Life,
    /// The calls that wait until it is taken back.
    closing: Vec<CallId>,
}

/// The progress of a registration from the application to the server and back.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// It waits for its turn at its path, or for a connection. So does this call; none, if the server has lost it and is to
    /// make it again.
    Waiting(Option<CallId>),
    /// The server was asked to make it.
    Registering(Option<CallId>),
    Registered,
    /// It answers no more. The server is to take it back, or was asked to.
    Closed,
}

/// A question to the server about a registration; one in each conversation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Question {
    Register,
    Deregister,
}

/// What has become of a registration or a stream, for the session to carry out.
#[derive(Debug)]
pub(super) enum Effect {
    /// The server is to be asked something.
    Ask(HandlerId, Question),
    /// A call for a registration has come to its end, if it has not before.
    End(CallId, Result<Response, RequestError>),
    /// A request handler or a stream is gone without the application having asked for it.
    Lost(HandlerId),
}

/// The functions at one path.
///
/// The server holds one registration for each path, and takes it back by the path. So while one is being registered nothing
/// else is asked about its path: only its answer says what there is to take back.
///
/// Those that wait for their turn are not here: the next one is the first of the registrations that wait at the path.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The request handler that the server holds.
    registered: Option<HandlerId>,
    /// The one that it was asked to make.
    registering: Option<HandlerId>,
    /// Answers in place of the request handler.
    stream: Option<HandlerId>,
    /// Whether a stream has taken the place of the request handler, which does not get it back.
    is_displaced: bool,
    /// Answers requests that were sent to this session by its ID or by a filter: a stream or a request handler.
    addressed: Option<HandlerId>,
}

/// A function of the application that the server does not know of.
#[derive(Debug)]
struct Stream {
    path: String,
    is_addressed: bool,
    timeout: Duration,
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

    /// A registration is to be made when it has its turn, and there is a connection; `call` waits for it.
    pub fn register(&mut self, handler: HandlerId, registration: Registration, call: CallId, is_connected: bool) {
        self.numbers.insert(key(registration.number), handler);
        self.known.insert(handler.0, Known { registration, life: Life::Waiting(Some(call)), closing: Vec::new() });
        self.advance_at(handler, is_connected);
    }

    /// The registration of `handler`, whether or not it still answers.
    pub fn get(&self, handler: HandlerId) -> Option<&Registration> {
        Some(&self.known.get(handler.0)?.registration)
    }

    /// A handler answers no more, and the server is to take its registration back. Returns where to enter the calls that wait
    /// for that; nothing if there is nothing to wait for.
    pub fn close(&mut self, handler: HandlerId) -> Option<&mut Vec<CallId>> {
        let Known { life, .. } = self.known.get_mut(handler.0)?;
        if let Life::Waiting(_) = *life {
            self.remove(handler);
            return None;
        }
        *life = Life::Closed;
        self.advance_at(handler, false);
        Some(&mut self.known.get_mut(handler.0)?.closing)
    }

    /// Asks the server what there is to ask about a path: to take back what is closed, and, with a connection, to make what
    /// is next. It does both in this order.
    fn advance(&mut self, path: &str, is_connected: bool) {
        let slot = self.slot(path);
        if slot.registering.is_none() {
            let registered = slot.registered;
            if let Some(closed) = registered.filter(|handler| self.is_closed(*handler)) {
                self.slot(path).registered = None;
                self.effects.push(Effect::Ask(closed, Question::Deregister));
            }
            if is_connected && let Some(next) = self.next(path) {
                self.slot(path).registering = Some(next);
                if let Some(Known { life, .. }) = self.known.get_mut(next.0)
                    && let Life::Waiting(call) = *life
                {
                    *life = Life::Registering(call);
                }
                self.effects.push(Effect::Ask(next, Question::Register));
            }
        }
        self.tidy(path);
    }

    /// The same for the path of a registration.
    fn advance_at(&mut self, handler: HandlerId, is_connected: bool) {
        if let Some(Registration { path, .. }) = self.get(handler) {
            self.advance(&path.clone(), is_connected);
        }
    }

    /// The same for all paths, in the order of the registrations: there is a connection.
    pub fn advance_all(&mut self) {
        for handler in self.known.numbers().into_iter().map(HandlerId) {
            if let Some(Life::Waiting(_)) = self.life(handler) {
                self.advance_at(handler, true);
            }
        }
    }

    /// The server is asked about a registration in `conversation`. Returns the call that has waited for that.
    pub fn ask(&mut self, handler: HandlerId, question: Question, conversation: ConversationId) -> Option<CallId> {
        self.asked.insert(key(conversation), (handler, question));
        if let Life::Registering(call) = self.life(handler)? { call } else { None }
    }

    /// Adds a stream, in place of whatever answered such requests at its path.
    pub fn add_stream(&mut self, handler: HandlerId, path: &str, is_addressed: bool, timeout: Duration) {
        let slot = self.slot(path);
        let replaced = if is_addressed {
            slot.addressed.replace(handler)
        } else {
            slot.is_displaced = true;
            slot.stream.replace(handler)
        };
        self.streams.insert(handler.0, Stream { path: path.to_owned(), is_addressed, timeout });
        self.lose_stream(replaced);
    }

    /// Another one has taken the place of a stream; or of a request handler, which stays what it is for the server.
    fn lose_stream(&mut self, replaced: Option<HandlerId>) {
        if let Some(stream) = replaced
            && self.streams.remove(stream.0).is_some()
        {
            self.effects.push(Effect::Lost(stream));
        }
    }

    /// Takes a stream out. What it has replaced does not come back.
    pub fn remove_stream(&mut self, handler: HandlerId) {
        let Some(Stream { path, is_addressed, .. }) = self.streams.remove(handler.0) else { return };
        let slot = self.slot(&path);
        if is_addressed {
            slot.addressed = None;
        } else {
            slot.stream = None;
        }
        self.tidy(&path);
    }

    // What the server does.

    /// The server has answered what it was asked in `conversation`, if that was about a registration. There may be more to
    /// ask about its path.
    pub fn answer(&mut self, conversation: ConversationId, answer: Result<(), RequestError>) {
        let Some((handler, question)) = self.asked.remove(key(conversation)) else { return };
        let Some(path) = self.get(handler).map(|registration| registration.path.clone()) else { return };
        match (question, answer) {
            (Question::Register, Ok(())) => self.be_registered(handler, &path),
            (Question::Register, Err(error)) => self.be_refused(handler, &path, error),
            // It is not asked twice: if it refused, it would again.
            (Question::Deregister, _) => self.end(handler),
        }
        self.advance(&path, true);
    }

    /// The server has made a registration. It holds one for each path, so the one of before is over, whatever was heard of it;
    /// and the handler answers in place of streams, unless it has answered before.
    fn be_registered(&mut self, handler: HandlerId, path: &str) {
        let Some(Known { registration, life, .. }) = self.known.get_mut(handler.0) else { return };
        let is_addressed = registration.is_addressed;
        let call = if let Life::Registering(call) = *life {
            *life = Life::Registered;
            call
        } else {
            None
        };
        let slot = self.slot(path);
        slot.registering = None;
        let before = slot.registered.replace(handler);
        if let Some(call) = call {
            slot.is_displaced = false;
            let stream = slot.stream.take();
            let addressed = if is_addressed { slot.addressed.replace(handler) } else { None };
            self.effects.push(Effect::End(call, Ok(Response::Registered)));
            self.lose_stream(stream);
            self.lose_stream(addressed);
        }
        if let Some(before) = before {
            self.end(before);
        }
    }

    /// The server has not made a registration. If that is because of one that has been closed meanwhile, it has its turn when
    /// that is taken back.
    fn be_refused(&mut self, handler: HandlerId, path: &str, error: RequestError) {
        let slot = self.slot(path);
        slot.registering = None;
        let holder = slot.registered;
        if error.reason() == Some(ErrorReason::HANDLER_CONFLICT)
            && holder.is_some_and(|holder| self.is_closed(holder))
            && let Some(Known { life, .. }) = self.known.get_mut(handler.0)
            && let Life::Registering(call) = *life
        {
            *life = Life::Waiting(call);
        } else if let Some(Life::Registering(Some(call))) = self.life(handler) {
            self.effects.push(Effect::End(call, Err(error)));
            self.remove(handler);
        } else {
            self.end(handler);
        }
    }

    /// The server holds a registration no longer: tells those who wait for that, or else the application.
    fn end(&mut self, handler: HandlerId) {
        if let Some(known) = self.remove(handler) {
            if !matches!(known.life, Life::Closed) {
                self.effects.push(Effect::Lost(handler));
            }
            for call in known.closing {
                self.effects.push(Effect::End(call, Ok(Response::Deregistered)));
            }
        }
    }

    /// The server has lost everything. Returns how many registrations it is to make again.
    pub fn lose_all(&mut self) -> usize {
        self.asked = Numbered::default();
        for (_, slot) in &mut self.slots {
            (slot.registered, slot.registering) = (None, None);
        }
        let mut again = 0;
        for handler in self.known.numbers().into_iter().map(HandlerId) {
            let Some(Known { registration, life, .. }) = self.known.get_mut(handler.0) else { continue };
            let was_made = matches!(life, Life::Waiting(None) | Life::Registering(None) | Life::Registered);
            if was_made && registration.reregister {
                *life = Life::Waiting(None);
                again += 1;
            } else if was_made {
                self.end(handler);
            } else if !matches!(life, Life::Waiting(_)) {
                self.remove(handler);
            }
        }
        again
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
        if !self.is_closed(handler) {
            return Some(handler);
        }
        let closed = self.get(handler)?;
        // The one that takes its place: the server sent this before it knew.
        let at = self.find(&closed.path).ok();
        let next = at.and_then(|at| self.slots[at].1.registering).or_else(|| self.next(&closed.path))?;
        let can_answer = !self.is_closed(next) && self.get(next)?.property_keys == closed.property_keys;
        can_answer.then_some(next)
    }

    /// The one for a request that was sent to this session by its ID or by a filter.
    pub fn addressed(&self, path: &str) -> Option<HandlerId> {
        self.slots[self.find(path).ok()?].1.addressed.filter(|handler| !self.is_closed(*handler))
    }

    /// How long a handler may take for an answer.
    pub fn timeout(&self, handler: HandlerId) -> Duration {
        let stream = self.streams.get(handler.0).map(|stream| stream.timeout);
        stream.or_else(|| Some(self.get(handler)?.timeout)).unwrap_or(Duration::MAX)
    }

    // The parts of it.

    fn life(&self, handler: HandlerId) -> Option<Life> {
        Some(self.known.get(handler.0)?.life)
    }

    fn is_closed(&self, handler: HandlerId) -> bool {
        matches!(self.life(handler), Some(Life::Closed))
    }

    /// The first of the registrations that wait at a path.
    fn next(&self, path: &str) -> Option<HandlerId> {
        let mut known = self.known.iter();
        let is_next = |known: &Known| matches!(known.life, Life::Waiting(_)) && known.registration.path == path;
        known.find(|(_, known)| is_next(known)).map(|(number, _)| HandlerId(number))
    }

    #[inline(never)]
    fn remove(&mut self, handler: HandlerId) -> Option<Known> {
        let known = self.known.remove(handler.0)?;
        self.numbers.remove(key(known.registration.number));
        if let Ok(at) = self.find(&known.registration.path) {
            let slot = &mut self.slots[at].1;
            for place in [&mut slot.registered, &mut slot.registering, &mut slot.addressed] {
                place.take_if(|there| *there == handler);
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
            && matches!(
                self.slots[at].1,
                Slot { registered: None, registering: None, stream: None, addressed: None, is_displaced: _ }
            )
        {
            self.slots.remove(at);
        }
    }
}

fn key(conversation: ConversationId) -> u64 {
    conversation.0.cast_unsigned()
}
