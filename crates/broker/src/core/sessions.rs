//! What the broker knows of a session, what a session can learn and change of it, and what its end means for others.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::recovery::{RecoveryBuffer, RecoveryLimits};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::response_frame;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{Credentials, SessionToken};
use antiphon_protocol::wire::layouts::{GetSessionProperties, ServiceFailure};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{CloseClient, GetOwnProperties, GetProperties, Service};
use bytes::Bytes;

use super::properties::{Selection, SessionProperties, TooLarge};
use super::{Broker, ConnectionId};

/// Names a session inside this broker: the second half of its session ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey(pub u64);

#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// Presented by the client to take the session up again. Compared in constant time, and never shown.
    pub token: SessionToken,
    pub link: Link,
    /// How long it outlives a connection.
    pub keep_for: Duration,
    /// What was sent, for the case that the connection is lost.
    pub sent: RecoveryBuffer<Bytes>,
    /// How many messages came from the client.
    pub received: u64,
    /// What may be a repetition.
    pub resent: Resent,
    pub properties: SessionProperties,
    /// What the broker asked of this session.
    pub conversations: Conversations<Outgoing>,
    /// The last system ping, if it was not answered, and when it was sent.
    pub ping: Option<(ConversationId, Moment)>,
    /// When the next one is due; nothing if there are none.
    pub next_ping: Option<Moment>,
    pub last_heard: Moment,
    /// Where it is registered as a request handler, in normal form, and how many bytes are kept for that.
    pub handler_paths: BTreeMap<String, usize>,
    /// The sum of those bytes.
    pub handler_bytes: usize,
    /// Number of its requests that wait for their answers.
    pub outstanding: usize,
    /// Number of requests that wait for its answers.
    pub to_answer: usize,
    /// Bytes of the messages that brought them.
    pub bytes_to_answer: usize,
}

/// How a session is reached.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    Connected(ConnectionId),
    /// It has no connection; unless it gets one, it ends then. `sent` is the number of its last message before.
    Lost {
        until: Moment,
        sent: u64,
    },
}

/// What may be wrong with the next messages of a client.
#[derive(Debug)]
pub(super) enum Resent {
    Nothing,
    /// Nothing has come yet since the past was forgotten: the client may not know of that.
    Forgotten,
    /// They may repeat requests that have come since the reconnection: here by conversation, with hashes of the messages.
    Requests(HashMap<ConversationId, u64>),
}

/// Something the broker asked of a session.
#[derive(Debug)]
pub(super) enum Outgoing {
    Ping,
    /// A request of another session, or of the same.
    Forwarded(Forwarded),
}

/// Where the answer to a request goes, and until when it is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forwarded {
    pub sender: SessionKey,
    pub reply_to: ReplyTo,
    /// Time allowed for the answer.
    pub timeout: Duration,
    /// When that is over.
    pub deadline: Moment,
    /// Bytes of the message to the recipient.
    pub bytes: usize,
}

/// How an answer is passed on.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReplyTo {
    /// As the answer to the request itself.
    Request(ConversationId),
    /// As one of the answers to a request that went to a filter.
    Filter(ConversationId),
}

impl Forwarded {
    pub fn new(now: Moment, timeout: Duration, sender: SessionKey, reply_to: ReplyTo) -> Self {
        Self { sender, reply_to, timeout, deadline: now + timeout, bytes: 0 }
    }
}

impl Session {
    pub fn new(
        id: SessionId,
        token: SessionToken,
        connection: ConnectionId,
        keep_for: Duration,
        limits: RecoveryLimits,
        properties: SessionProperties,
        now: Moment,
    ) -> Self {
        Self {
            id,
            token,
            link: Link::Connected(connection),
            keep_for,
            sent: RecoveryBuffer::new(limits),
            received: 0,
            resent: Resent::Nothing,
            properties,
            conversations: Conversations::default(),
            ping: None,
            next_ping: None,
            last_heard: now,
            handler_paths: BTreeMap::new(),
            handler_bytes: 0,
            outstanding: 0,
            to_answer: 0,
            bytes_to_answer: 0,
        }
    }

    /// Keeps a message for the case that the connection is lost. `total` is what all sessions keep, in bytes; if that
    /// becomes more than `most`, the past of this one is gone: it will learn that messages were lost, if it loses its
    /// connection now.
    pub fn keep(&mut self, frame: Bytes, total: &mut usize, most: usize) {
        let before = self.sent.bytes();
        self.sent.push(frame);
        *total = *total + self.sent.bytes() - before;
        if *total > most {
            *total -= self.sent.bytes();
            self.sent.forget();
        }
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected(_))
    }
}

impl Broker {
    /// Gives a session another principal and its roles; false if the credentials are wrong.
    ///
    /// Source: section 9.3.
    pub(super) fn change_principal(
        &mut self,
        key: SessionKey,
        principal: &str,
        credentials: &Credentials,
        proposed: &[(&str, &str)],
    ) -> Result<bool, TooLarge> {
        let Some(roles) = self.access.authenticate(principal, credentials) else { return Ok(false) };
        let Some(session) = self.sessions.get_mut(&key) else { return Ok(false) };
        session.properties.propose(proposed.iter().copied())?;
        let before = session.properties.get("$Principal").unwrap_or_default().to_owned();
        session.properties.set_principal(principal, &roles);
        self.forget_principal(key, &before);
        self.by_principal.entry(principal.to_owned()).or_default().insert(key);
        Ok(true)
    }

    pub(super) fn tell_changed<S>(
        &mut self,
        key: SessionKey,
        conversation: ConversationId,
        changed: Result<bool, TooLarge>,
    ) where
        S: for<'a> Service<Response<'a> = bool>,
    {
        match changed {
            Ok(changed) => self.answer::<S>(key, conversation, &changed),
            Err(error) => self.refuse(key, conversation, ErrorReason::INVALID_DATA, &error.to_string()),
        }
    }

    fn forget_principal(&mut self, key: SessionKey, principal: &str) {
        if let Some(sessions) = self.by_principal.get_mut(principal) {
            sessions.remove(&key);
            if sessions.is_empty() {
                self.by_principal.remove(principal);
            }
        }
    }

    /// Ends another session, or this one.
    ///
    /// Source: section 9.4.
    pub(super) fn close_client(&mut self, key: SessionKey, conversation: ConversationId, session: SessionId) {
        match self.key_of(session) {
            Some(other) => {
                self.answer::<CloseClient>(key, conversation, &());
                self.abort(other);
            }
            None => self.refuse_session(key, conversation, session),
        }
    }

    /// The session with this ID, if it is one of ours and open.
    pub(super) fn key_of(&self, session: SessionId) -> Option<SessionKey> {
        let key = SessionKey(session.value);
        self.sessions.get(&key).filter(|found| found.id == session).map(|_| key)
    }

    pub(super) fn refuse_session(&mut self, key: SessionKey, conversation: ConversationId, session: SessionId) {
        self.refuse(key, conversation, ErrorReason::NO_SUCH_SESSION, &format!("there is no session {session}"));
    }

    /// Properties of any session of this broker.
    ///
    /// Source: section 9.1.
    pub(super) fn tell_properties(
        &mut self,
        key: SessionKey,
        conversation: ConversationId,
        request: &GetSessionProperties<'_>,
    ) {
        let selection = match Selection::of_keys(&request.keys) {
            Ok(selection) => selection,
            Err(error) => return self.refuse(key, conversation, ErrorReason::INVALID_DATA, &error.to_string()),
        };
        let asked = self.key_of(request.session).and_then(|key| self.sessions.get(&key));
        let properties = asked.map(|session| session.properties.selected(&selection));
        let frame = response_frame::<GetProperties>(conversation, &properties);
        self.send_answer(key, conversation, || frame);
    }

    /// All properties of the session that asks.
    ///
    /// Source: section 9.1.
    pub(super) fn tell_own_properties(&mut self, key: SessionKey, conversation: ConversationId) {
        let own = self.sessions.get(&key).map(|session| session.properties.selected(&Selection::all()));
        let frame = response_frame::<GetOwnProperties>(conversation, &own);
        self.send_answer(key, conversation, || frame);
    }

    /// Ends a session: its registrations vanish, and every request it had not answered fails at once (rules S-11).
    pub(super) fn remove_session(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.remove(&key) else { return };
        self.forget_link(key, session.link);
        self.by_token.remove(&self.hash_of(session.token.as_bytes()));
        if let Some(at) = session.next_ping {
            self.pings.remove(at, key);
        }
        self.forget_principal(key, session.properties.get("$Principal").unwrap_or_default());
        for path in session.handler_paths.keys() {
            self.registry.deregister(path, key);
        }
        self.recovery_bytes -= session.sent.bytes();
        let unanswered = session.conversations.close_all();
        self.fail_unanswered(key, unanswered, "the session that was to answer is closed");
    }

    /// Fails everything that waits for the answers of a session.
    pub(super) fn fail_unanswered(
        &mut self,
        key: SessionKey,
        unanswered: impl Iterator<Item = (ConversationId, Outgoing)>,
        why: &str,
    ) {
        for (conversation, outgoing) in unanswered {
            if let Outgoing::Forwarded(forwarded) = outgoing {
                self.deadlines.remove(forwarded.deadline, (key, conversation));
                let failure = ServiceFailure { description: why, reason: ErrorReason::SESSION_CLOSED };
                self.route_response(key, forwarded, Err(failure));
            }
        }
    }
}
