//! What the broker knows of a session, what a session can learn and change of it, and what its end means for others.

use antiphon_protocol::conversation::Conversations;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::response_frame;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::Credentials;
use antiphon_protocol::wire::layouts::GetSessionProperties;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{GetOwnProperties, GetProperties};

use super::properties::{Selection, SessionProperties};
use super::{Broker, ConnectionId};

/// Names a session inside this broker: the second half of its session ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey(pub u64);

#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub connection: ConnectionId,
    pub properties: SessionProperties,
    /// What the broker asked of this session.
    pub conversations: Conversations<Outgoing>,
    /// The last system ping, if it was not answered, and when it was sent.
    pub ping: Option<(ConversationId, Moment)>,
    pub last_heard: Moment,
    /// Where it is registered as a request handler, in normal form.
    pub handler_paths: Vec<String>,
    /// Number of its requests that wait for their answers.
    pub outstanding: usize,
    /// Number of requests that wait for its answers.
    pub to_answer: usize,
}

/// Something the broker asked of a session.
#[derive(Debug)]
pub(super) enum Outgoing {
    Ping,
    /// A request of another session, or of the same.
    Forwarded {
        sender: SessionKey,
        sender_conversation: ConversationId,
        deadline: Moment,
    },
}

impl Session {
    pub fn new(id: SessionId, connection: ConnectionId, properties: SessionProperties, now: Moment) -> Self {
        Self {
            id,
            connection,
            properties,
            conversations: Conversations::default(),
            ping: None,
            last_heard: now,
            handler_paths: Vec::new(),
            outstanding: 0,
            to_answer: 0,
        }
    }
}

impl Broker {
    /// Gives a session another principal and its roles, if the credentials are right.
    ///
    /// Source: section 9.3.
    pub(super) fn change_principal(
        &mut self,
        key: SessionKey,
        principal: &str,
        credentials: &Credentials,
        proposed: &[(&str, &str)],
    ) -> bool {
        let Some(roles) = self.access.authenticate(principal, credentials) else { return false };
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        session.properties.set_principal(principal, &roles);
        session.properties.propose(proposed.iter().copied());
        true
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
        let asked = self.sessions.get(&SessionKey(request.session.value));
        let selection = Selection::of_keys(&request.keys);
        let properties = asked
            .filter(|session| session.id == request.session)
            .map(|session| session.properties.selected(&selection));
        let frame = response_frame::<GetProperties>(conversation, &properties);
        self.send_to(key, || frame);
    }

    /// All properties of the session that asks.
    ///
    /// Source: section 9.1.
    pub(super) fn tell_own_properties(&mut self, key: SessionKey, conversation: ConversationId) {
        let own = self.sessions.get(&key).map(|session| session.properties.selected(&Selection::all()));
        let frame = response_frame::<GetOwnProperties>(conversation, &own);
        self.send_to(key, || frame);
    }

    /// Ends a session: its registrations vanish, and every request it had not answered fails at once (semantics S-11).
    pub(super) fn remove_session(&mut self, key: SessionKey) {
        let Some(mut session) = self.sessions.remove(&key) else { return };
        self.by_connection.remove(&session.connection);
        for path in &session.handler_paths {
            self.registry.deregister(path, key);
        }
        for (conversation, outgoing) in session.conversations.close_all() {
            if let Outgoing::Forwarded { sender, sender_conversation, deadline } = outgoing {
                self.deadlines.remove(deadline, (key, conversation));
                self.settle(sender, |broker| {
                    let text = "the session that was to answer is closed";
                    broker.refuse(sender, sender_conversation, ErrorReason::SESSION_CLOSED, text);
                });
            }
        }
    }
}
