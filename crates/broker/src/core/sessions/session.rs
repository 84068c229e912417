//! One session, as the broker knows it, and the connection that it has.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::negotiated::Negotiated;
use antiphon_protocol::recovery::{RecoveryBuffer, RecoveryLimits};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::{Recovery, SessionToken};
use antiphon_protocol::wire::headers;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use bytes::Bytes;

use crate::core::identity::{Identity, Proof};
use crate::core::parties::PartyKey;
use crate::core::permissions::{Grants, GrantsByRoles};
use crate::core::prepared::Prepared;
use crate::core::properties::{Selection, SessionProperties, TooLarge};
use crate::core::proposals::Proposals;
use crate::core::received::Received;
use crate::core::{ConnectionId, Output};

/// The broker's record of a session, besides what others keep by its key.
#[derive(Debug)]
pub(in crate::core) struct Session {
    id: SessionId,
    /// Presented by the client to take the session up again. Compared in constant time, and never shown but to it.
    token: SessionToken,
    attachment: Attachment,
    /// How long it outlives a connection.
    keep_for: Duration,
    properties: SessionProperties,
    /// Of those.
    prepared: Prepared,
    /// What showed who it is.
    proof: Proof,
    /// What the roles among them grant.
    grants: Arc<Grants>,
    party: PartyKey,
    /// What was sent, for the case that the connection is lost.
    sent: RecoveryBuffer<Bytes>,
    pub received: Received,
    pulse: Pulse,
    /// The last conversation that the broker began with it.
    last_conversation: i64,
}

/// When something came from a client last, and how much was sent to it since.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) struct Pulse {
    pub heard: Moment,
    pub bytes_since: usize,
}

/// How a session is reached.
#[derive(Clone, Copy, Debug)]
enum Attachment {
    Attached(Connection),
    /// It has no connection; unless it gets one, it ends then. `sent` is the number of its last message before, and
    /// `asked` the last conversation that the broker had begun with it.
    Detached {
        until: Moment,
        sent: u64,
        asked: ConversationId,
        /// Of the connection before.
        features: Features,
    },
}

/// A connection, and what both ends of it agreed on.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Connection {
    pub id: ConnectionId,
    pub negotiated: Negotiated,
    /// Whether the client has offered features, and is told which are granted.
    pub has_offered: bool,
}

impl Connection {
    /// How a message of the session goes out on it.
    pub fn output(&self, message: Bytes) -> Output {
        // It may have been made for an earlier connection.
        let message = match headers::surplus(&message, self.negotiated.features) {
            0 => message,
            surplus => message.slice(surplus..),
        };
        if self.negotiated.features.has(Features::BATCHING) {
            Output::SendTogether(self.id, message)
        } else {
            Output::Send(self.id, message)
        }
    }
}

/// The data that a session begins with, besides its ID.
#[derive(Debug)]
pub(in crate::core) struct NewSession {
    pub token: SessionToken,
    pub connection: Connection,
    pub keep_for: Duration,
    pub recovery: RecoveryLimits,
    pub properties: SessionProperties,
    pub proof: Proof,
}

impl Session {
    pub fn id(&self) -> SessionId {
        self.id
    }

    pub fn token(&self) -> &SessionToken {
        &self.token
    }

    pub fn properties(&self) -> &SessionProperties {
        &self.properties
    }

    /// The wire form of the properties that a handler asks for.
    pub fn selected(&mut self, selection: Option<&Arc<Selection>>) -> Cow<'_, [u8]> {
        self.prepared.selected(&self.properties, selection)
    }

    /// What showed who it is.
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// What it may do.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// The connection that it has at the moment.
    pub fn connection(&self) -> Option<Connection> {
        match self.attachment {
            Attachment::Attached(connection) => Some(connection),
            Attachment::Detached { .. } => None,
        }
    }

    /// What both ends do beyond the protocol on its connection, or did on the last one.
    pub fn features(&self) -> Features {
        match self.attachment {
            Attachment::Attached(connection) => connection.negotiated.features,
            Attachment::Detached { features, .. } => features,
        }
    }

    /// Whose it is.
    pub fn party(&self) -> PartyKey {
        self.party
    }

    pub fn is_connected(&self) -> bool {
        matches!(self.attachment, Attachment::Attached(_))
    }

    /// Whether it has a connection on which its client answers pings whatever its handlers do, and outlives it if it does not.
    /// The official client for Python reads nothing while its handler runs.
    pub fn can_be_probed(&self) -> bool {
        self.is_connected() && self.is_kept() && self.properties.get("$ClientType") != Some("PYTHON")
    }

    /// Whether it outlives a connection.
    pub fn is_kept(&self) -> bool {
        !self.keep_for.is_zero()
    }

    /// Number of messages that have been waiting for a connection.
    pub fn queued(&self) -> u64 {
        match self.attachment {
            Attachment::Attached(_) => 0,
            Attachment::Detached { sent, .. } => self.sent.sent() - sent,
        }
    }

    /// The last conversation that the broker began with it and of which its client may know. Later ones wait for a
    /// connection.
    pub fn last_asked(&self) -> ConversationId {
        match self.attachment {
            Attachment::Attached(_) => ConversationId(self.last_conversation),
            Attachment::Detached { asked, .. } => asked,
        }
    }

    /// A conversation that the broker begins with it. They count up from 1 and are never used again.
    pub fn next_conversation(&mut self) -> ConversationId {
        self.last_conversation += 1;
        ConversationId(self.last_conversation)
    }

    pub fn pulse(&self) -> Pulse {
        self.pulse
    }

    /// Something came from its client, or it has a new connection.
    pub fn hear(&mut self, now: Moment) {
        self.pulse = Pulse { heard: now, bytes_since: 0 };
    }

    /// What a client that reconnects has not received, if that and what it sent can be made good without a gap.
    pub fn missed_by(&self, client: &Recovery) -> Option<Vec<Bytes>> {
        // What was sent to a session that was not to be kept was not even counted.
        let is_bridged =
            self.is_kept() && !self.received.is_forgotten() && client.oldest_sent <= self.received.count() + 1;
        let missed = self.sent.since(client.last_received.saturating_add(1)).filter(|_| is_bridged)?;
        Some(missed.cloned().collect())
    }

    // What only the table does, which has indices to keep.

    /// A session that has just been opened.
    pub(super) fn new(id: SessionId, new: NewSession, grants: Arc<Grants>, party: PartyKey) -> Self {
        Self {
            id,
            token: new.token,
            attachment: Attachment::Attached(new.connection),
            keep_for: new.keep_for,
            properties: new.properties,
            prepared: Prepared::default(),
            proof: new.proof,
            grants,
            party,
            sent: RecoveryBuffer::new(new.recovery),
            received: Received::default(),
            pulse: Pulse::default(),
            last_conversation: 0,
        }
    }

    pub(super) fn set_party(&mut self, party: PartyKey) {
        self.party = party;
    }

    /// When it ends, if it has no connection and gets none.
    pub(super) fn expiry(&self) -> Option<Moment> {
        match self.attachment {
            Attachment::Attached(_) => None,
            Attachment::Detached { until, .. } => Some(until),
        }
    }

    /// It has this connection now, and outlives it for so long.
    pub(super) fn attach(&mut self, connection: Connection, keep_for: Duration) {
        self.attachment = Attachment::Attached(connection);
        self.keep_for = keep_for;
    }

    /// Its connection is gone. It waits for another one, for as long as was agreed, but not longer than `at_most`; returns
    /// until when.
    pub(super) fn detach(&mut self, now: Moment, at_most: Duration) -> Moment {
        let (until, sent) = (now + self.keep_for.min(at_most), self.sent.sent());
        let (asked, features) = (ConversationId(self.last_conversation), self.features());
        self.attachment = Attachment::Detached { until, sent, asked, features };
        until
    }

    /// Sets what it says of itself.
    pub(super) fn propose(
        &mut self,
        trusted: &Proposals,
        most: usize,
        proposed: &[(&str, &str)],
    ) -> Result<(), TooLarge> {
        self.prepared = Prepared::default();
        self.properties.propose(trusted, most, proposed.iter().copied())
    }

    /// Sets who it is, and what it may do.
    pub(super) fn set_identity(&mut self, identity: &Identity, grants: &mut GrantsByRoles) {
        self.prepared = Prepared::default();
        self.properties.set_identity(identity);
        self.proof = identity.proof;
        self.grant(grants);
    }

    /// Lets it do what its roles grant.
    pub(super) fn grant(&mut self, grants: &mut GrantsByRoles) {
        self.grants = grants.of(self.properties.roles());
    }

    /// Number of bytes that are kept of what was sent.
    pub(super) fn kept_bytes(&self) -> usize {
        self.sent.bytes()
    }

    /// A message of so many bytes is sent to it.
    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.pulse.bytes_since += bytes;
    }

    /// Keeps a message that is sent.
    pub(super) fn keep(&mut self, frame: &Bytes) {
        self.sent.push(frame.clone());
    }

    /// Keeps of the messages that wait for a connection only those that are wanted: the others will never have been sent.
    pub(super) fn retain_queued(&mut self, is_wanted: impl FnMut(&[u8]) -> bool) {
        if let Attachment::Detached { sent, .. } = self.attachment {
            self.sent.retain_since(sent + 1, is_wanted);
        }
    }

    /// Keeps nothing of what was sent.
    pub(super) fn forget_sent(&mut self) {
        self.sent.forget();
    }

    /// What went to and fro counts no more.
    pub(super) fn forget_past(&mut self) {
        self.sent.reset();
        self.received.forget();
    }
}
