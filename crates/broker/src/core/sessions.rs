//! The table of open sessions, with an index for each way to find one.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::negotiated::Negotiated;
use antiphon_protocol::recovery::{RecoveryBuffer, RecoveryLimits};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::{Recovery, SessionToken};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use bytes::Bytes;
use slab::Slab;
use subtle::ConstantTimeEq;

use super::identity::Identity;
use super::parties::{Allowance, Parties, PartyKey};
use super::per_session::{ByConnection, SessionKey, give_back};
use super::permissions::{Grants, GrantsByRoles};
use super::properties::{SessionProperties, TooLarge};
use super::proposals::Proposals;
use super::received::Received;
use super::timers::Timers;
use super::{ConnectionId, Output};

/// The broker's record of a session, besides what others keep by its key.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    /// Presented by the client to take the session up again. Compared in constant time, and never shown but to it.
    token: SessionToken,
    attachment: Attachment,
    /// How long it outlives a connection.
    keep_for: Duration,
    properties: SessionProperties,
    /// What the roles among them grant.
    grants: Arc<Grants>,
    party: PartyKey,
    /// What was sent, for the case that the connection is lost.
    sent: RecoveryBuffer<Bytes>,
    pub received: Received,
    /// The last conversation that the broker began with it.
    last_conversation: i64,
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
    },
}

/// A connection, and what both ends of it agreed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Connection {
    pub id: ConnectionId,
    pub negotiated: Negotiated,
    /// Whether the client has offered features, and is told which are granted.
    pub has_offered: bool,
}

impl Connection {
    /// How a message of the session goes out on it.
    pub fn output(&self, message: Bytes) -> Output {
        if self.negotiated.features.has(Features::BATCHING) {
            Output::SendTogether(self.id, message)
        } else {
            Output::Send(self.id, message)
        }
    }
}

/// The data that a session begins with, besides its ID.
#[derive(Debug)]
pub(super) struct NewSession {
    pub token: SessionToken,
    pub connection: Connection,
    pub keep_for: Duration,
    pub recovery: RecoveryLimits,
    pub properties: SessionProperties,
}

/// All open sessions, with those that have no connection at the moment.
///
/// What is found by something else than its key is found by that for as long as it is true: nobody else can change it.
#[derive(Debug)]
pub(super) struct Sessions {
    /// First half of all session IDs.
    server: u64,
    open: Slab<Session>,
    opened: u64,
    by_number: HashMap<u64, SessionKey>,
    by_connection: ByConnection<SessionKey>,
    /// By a keyed hash of the token, so that looking one up tells nothing about the others.
    by_token: HashMap<u64, SessionKey>,
    token_key: u64,
    /// So that a filter for one principal need not look at every session.
    by_principal: HashMap<String, BTreeSet<SessionKey>>,
    parties: Parties,
    /// When those without a connection end.
    expiries: Timers<SessionKey>,
    /// Bytes kept of what was sent, in all together, and the most there may be.
    recovery_bytes: usize,
    max_recovery_bytes: usize,
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

    pub fn is_connected(&self) -> bool {
        matches!(self.attachment, Attachment::Attached(_))
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

    /// What a client that reconnects has not received, if that and what it sent can be made good without a gap.
    pub fn missed_by(&self, client: &Recovery) -> Option<Vec<Bytes>> {
        // What was sent to a session that was not to be kept was not even counted.
        let is_bridged =
            self.is_kept() && !self.received.is_forgotten() && client.oldest_sent <= self.received.count() + 1;
        let missed = self.sent.since(client.last_received.saturating_add(1)).filter(|_| is_bridged)?;
        Some(missed.cloned().collect())
    }
}

impl Sessions {
    /// None yet. `token_key` is a secret number for the hash of tokens.
    pub fn new(server: u64, token_key: u64, max_recovery_bytes: usize, allowance: Allowance) -> Self {
        Self {
            server,
            open: Slab::new(),
            opened: 0,
            by_number: HashMap::new(),
            by_connection: ByConnection::default(),
            by_token: HashMap::new(),
            token_key,
            by_principal: HashMap::new(),
            parties: Parties::new(allowance),
            expiries: Timers::default(),
            recovery_bytes: 0,
            max_recovery_bytes,
        }
    }

    /// The ID that the next session will have.
    pub fn next_id(&self) -> SessionId {
        SessionId { server: self.server, value: self.opened }
    }

    /// Opens a session, with the ID that was announced.
    pub fn open(&mut self, new: NewSession, grants: &mut GrantsByRoles) -> SessionKey {
        let id = self.next_id();
        self.opened += 1;
        let entry = self.open.vacant_entry();
        let key = SessionKey { number: id.value, place: entry.key() };
        let NewSession { token, connection, keep_for, recovery, properties } = new;
        let principal = properties.principal().to_owned();
        let party = self.parties.join(properties.address(), &principal, key);
        let hash = hash_of(self.token_key, token.as_bytes());
        entry.insert(Session {
            id,
            token,
            attachment: Attachment::Attached(connection),
            keep_for,
            grants: grants.of(properties.roles()),
            properties,
            party,
            sent: RecoveryBuffer::new(recovery),
            received: Received::default(),
            last_conversation: 0,
        });
        self.by_number.insert(key.number, key);
        self.by_connection.insert(connection.id, key);
        self.by_token.insert(hash, key);
        self.by_principal.entry(principal).or_default().insert(key);
        key
    }

    /// Ends a session. Returns whether there was one.
    pub fn remove(&mut self, key: SessionKey) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let session = self.open.remove(key.place);
        match session.attachment {
            Attachment::Attached(connection) => drop(self.by_connection.remove(&connection.id)),
            Attachment::Detached { until, .. } => {
                self.expiries.remove(until, key);
                self.parties.back(session.party, key, until);
            }
        }
        self.by_number.remove(&key.number);
        self.by_token.remove(&hash_of(self.token_key, session.token.as_bytes()));
        self.forget_principal(key, session.properties.principal());
        self.recovery_bytes -= session.sent.bytes();
        self.parties.keep(session.party, session.sent.bytes(), 0);
        self.parties.leave(session.party, key);
        self.give_back();
        true
    }

    /// Gives back the room of many sessions that have ended.
    fn give_back(&mut self) {
        give_back(&mut self.by_number);
        give_back(&mut self.by_connection);
        give_back(&mut self.by_token);
        if self.open.len() < self.open.capacity() / 4 {
            self.open.shrink_to_fit();
        }
    }

    /// Gives a session a connection, and tells how long it is to outlive that. Returns the connection that it had.
    pub fn attach(&mut self, key: SessionKey, connection: Connection, keep_for: Duration) -> Option<ConnectionId> {
        let session = self.get_mut(key)?;
        session.keep_for = keep_for;
        let party = session.party;
        let before = std::mem::replace(&mut session.attachment, Attachment::Attached(connection));
        self.by_connection.insert(connection.id, key);
        match before {
            Attachment::Attached(old) => {
                self.by_connection.remove(&old.id);
                Some(old.id)
            }
            Attachment::Detached { until, .. } => {
                self.expiries.remove(until, key);
                self.parties.back(party, key, until);
                None
            }
        }
    }

    /// The connection of a session is gone; from now on it waits for another one, for as long as was agreed, but not longer
    /// than `at_most`.
    pub fn detach(&mut self, now: Moment, key: SessionKey, at_most: Duration) {
        let Some(session) = self.get_mut(key) else { return };
        let Some(connection) = session.connection() else { return };
        let until = now + session.keep_for.min(at_most);
        session.attachment =
            Attachment::Detached { until, sent: session.sent.sent(), asked: ConversationId(session.last_conversation) };
        let party = session.party;
        self.by_connection.remove(&connection.id);
        self.expiries.insert(until, key);
        self.parties.lost(party, key, until);
    }

    /// Takes note of a message to a session. It goes out now on the connection that is returned, and is kept for another
    /// one, if the session outlives this one. Once more is kept in all than may be, the past of the sessions for which most
    /// is kept is gone: they will learn that messages were lost, if they lose their connections now.
    pub fn record_sent(&mut self, key: SessionKey, frame: &Bytes) -> Option<Connection> {
        let session = find(&mut self.open, key)?;
        let connection = session.connection();
        if session.is_kept() {
            let before = session.sent.bytes();
            session.sent.push(frame.clone());
            let after = session.sent.bytes();
            self.parties.keep(session.party, before, after);
            self.recovery_bytes = self.recovery_bytes + after - before;
            if self.recovery_bytes > self.max_recovery_bytes {
                self.forget_what_most_is_kept_for();
            }
        }
        connection
    }

    /// Makes room: of the party for which most bytes are kept, the sessions for which most are, and then of the next one. An
    /// eighth is free then, so that this is rare.
    fn forget_what_most_is_kept_for(&mut self) {
        let enough = self.max_recovery_bytes / 8 * 7;
        while self.recovery_bytes > enough {
            let kept = |key: &SessionKey| self.get(*key).map_or(0, |session| session.sent.bytes());
            let mut sessions = self.parties.greediest();
            sessions.sort_by_key(|key| std::cmp::Reverse(kept(key)));
            // As long as it is the greediest, which it is for its first at least.
            for key in sessions.into_iter().take_while(|key| kept(key) > 0).collect::<Vec<_>>() {
                if self.recovery_bytes <= enough {
                    break;
                }
                self.forget_sent(key);
            }
        }
    }

    fn forget_sent(&mut self, key: SessionKey) {
        let Some(session) = find(&mut self.open, key) else { return };
        let bytes = session.sent.bytes();
        session.sent.forget();
        self.parties.keep(session.party, bytes, 0);
        self.recovery_bytes -= bytes;
    }

    /// What went to and fro counts no more.
    pub fn forget_past(&mut self, key: SessionKey) {
        self.forget_sent(key);
        let Some(session) = find(&mut self.open, key) else { return };
        session.sent.reset();
        session.received.forget();
    }

    /// Sets what a session says of itself, and who it is.
    pub fn change_principal(
        &mut self,
        key: SessionKey,
        identity: &Identity,
        trusted: &Proposals,
        most: usize,
        proposed: &[(&str, &str)],
        grants: &mut GrantsByRoles,
    ) -> Result<(), TooLarge> {
        let Some(session) = self.get_mut(key) else { return Ok(()) };
        session.properties.propose(trusted, most, proposed.iter().copied())?;
        let before = session.properties.principal().to_owned();
        session.properties.set_identity(identity);
        session.grants = grants.of(session.properties.roles());
        self.forget_principal(key, &before);
        self.by_principal.entry(identity.principal.clone()).or_default().insert(key);
        self.change_party(key);
        Ok(())
    }

    /// Lets every session do what its roles grant now.
    pub fn grant_anew(&mut self, grants: &mut GrantsByRoles) {
        for (_, session) in &mut self.open {
            session.grants = grants.of(session.properties.roles());
        }
    }

    /// The principal of a session is another one.
    fn change_party(&mut self, key: SessionKey) {
        let Some(session) = find(&mut self.open, key) else { return };
        let (before, kept) = (session.party, session.sent.bytes());
        session.party = self.parties.join(session.properties.address(), session.properties.principal(), key);
        if session.party != before {
            self.parties.keep(before, kept, 0);
            self.parties.keep(session.party, 0, kept);
            if let Attachment::Detached { until, .. } = session.attachment {
                self.parties.back(before, key, until);
                self.parties.lost(session.party, key, until);
            }
            self.parties.leave(before, key);
        }
    }

    /// Whose a session is.
    pub fn party_of(&self, key: SessionKey) -> Option<PartyKey> {
        self.get(key).map(|session| session.party)
    }

    /// Whether what a session asks for may be done at once.
    pub fn may_go_on(&mut self, now: Moment, key: SessionKey) -> bool {
        self.party_of(key).is_none_or(|party| self.parties.may_go_on(now, party))
    }

    /// So much was done for a party.
    pub fn charge(&mut self, party: PartyKey, work: usize) {
        self.parties.charge(party, work);
    }

    /// The session that makes room for another one, if there is one without a connection.
    pub fn expendable(&self) -> Option<SessionKey> {
        self.parties.expendable()
    }

    fn forget_principal(&mut self, key: SessionKey, principal: &str) {
        if let Some(sessions) = self.by_principal.get_mut(principal) {
            sessions.remove(&key);
            if sessions.is_empty() {
                self.by_principal.remove(principal);
            }
        }
    }

    pub fn get(&self, key: SessionKey) -> Option<&Session> {
        self.open.get(key.place).filter(|session| session.id.value == key.number)
    }

    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        find(&mut self.open, key)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// All, in no order that means anything.
    pub fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.open.iter().map(|(place, session)| SessionKey { number: session.id.value, place })
    }

    /// The session with this ID, if it is one of ours and open.
    pub fn with_id(&self, id: SessionId) -> Option<SessionKey> {
        self.by_number.get(&id.value).copied().filter(|_| id.server == self.server)
    }

    /// The session that has this connection.
    pub fn with_connection(&self, connection: ConnectionId) -> Option<SessionKey> {
        self.by_connection.get(&connection).copied()
    }

    /// The session that has this token.
    pub fn with_token(&self, token: &[u8]) -> Option<SessionKey> {
        let key = *self.by_token.get(&hash_of(self.token_key, token))?;
        let session = self.get(key)?;
        bool::from(session.token.as_bytes().as_slice().ct_eq(token)).then_some(key)
    }

    /// The sessions of a principal.
    pub fn of_principal(&self, principal: &str) -> impl Iterator<Item = SessionKey> {
        self.by_principal.get(principal).into_iter().flatten().copied()
    }

    /// When the next session without a connection ends, and which.
    pub fn next_expiry(&self) -> Option<(Moment, SessionKey)> {
        self.expiries.first()
    }

    /// The ID of a session, open or not.
    pub fn id_of(&self, key: SessionKey) -> SessionId {
        SessionId { server: self.server, value: key.number }
    }
}

/// Another session may have the place by now.
fn find(open: &mut Slab<Session>, key: SessionKey) -> Option<&mut Session> {
    open.get_mut(key.place).filter(|session| session.id.value == key.number)
}

/// The key comes first, so without it nothing is known of any hash.
fn hash_of(key: u64, token: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key);
    hasher.write(token);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::permissions::Permissions;

    /// What can happen to sessions: numbers say to which of those that were ever opened.
    #[derive(Clone, Debug)]
    enum Step {
        Open,
        Attach(usize, bool),
        Detach(usize),
        ChangePrincipal(usize, &'static str),
        Send(usize, usize),
        ForgetPast(usize),
        Remove(usize),
        PassTime(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = || any::<prop::sample::Index>().prop_map(|index| index.index(1000));
        prop_oneof![
            3 => Just(Step::Open),
            2 => (which(), any::<bool>()).prop_map(|(which, is_kept)| Step::Attach(which, is_kept)),
            2 => which().prop_map(Step::Detach),
            2 => (which(), prop::sample::select(vec!["", "ada", "bob"]))
                .prop_map(|(which, name)| Step::ChangePrincipal(which, name)),
            3 => (which(), 0..60_usize).prop_map(|(which, length)| Step::Send(which, length)),
            1 => which().prop_map(Step::ForgetPast),
            1 => which().prop_map(Step::Remove),
            1 => (1..20_u64).prop_map(Step::PassTime),
        ]
    }

    const KEPT: Duration = Duration::from_micros(50);
    const MOST_BYTES: usize = 300;

    fn token(number: u64) -> SessionToken {
        let mut random = [0; 18];
        random[..8].copy_from_slice(&number.to_be_bytes());
        SessionToken::from_random(random)
    }

    fn attached(id: ConnectionId) -> Connection {
        Connection { id, negotiated: Negotiated::from_wire(29, 0, 0), has_offered: false }
    }

    fn roles_of(principal: &str) -> &'static [&'static str] {
        if principal == "ada" { &["CLIENT_CONTROL"] } else { &[] }
    }

    /// A session as the test knows it: its principal, its connection or when it ends, and whether it is open.
    struct Known {
        key: SessionKey,
        principal: &'static str,
        connection: Result<ConnectionId, Moment>,
        is_open: bool,
    }

    proptest! {
        #[test]
        fn every_open_session_is_found_in_every_way_and_no_other(steps in prop::collection::vec(step(), 1..150)) {
            let mut grants = GrantsByRoles::new(Permissions::stock());
            let mut sessions = Sessions::new(7, 99, MOST_BYTES, Allowance { burst: 1, per_second: 1 });
            let (mut known, mut connections, mut now) = (Vec::<Known>::new(), 0, Moment(0));
            for step in std::iter::once(Step::Open).chain(steps) {
                let count = known.len();
                let mut new_connection = || {
                    connections += 1;
                    ConnectionId(connections)
                };
                match step {
                    Step::Open => {
                        let id = sessions.next_id();
                        let mut properties = SessionProperties::default();
                        properties.set_identity(&Identity::default());
                        let (id_of_connection, recovery) = (new_connection(), RecoveryLimits { messages: 5, bytes: 200 });
                        let (connection, token) = (attached(id_of_connection), token(count as u64));
                        let new = NewSession { token, connection, keep_for: KEPT, recovery, properties };
                        let key = sessions.open(new, &mut grants);
                        prop_assert_eq!(sessions.id_of(key), id);
                        known.push(Known { key, principal: "", connection: Ok(id_of_connection), is_open: true });
                    }
                    Step::Attach(which, is_kept) => {
                        let (session, connection) = (&mut known[which % count], new_connection());
                        let keep_for = if is_kept { KEPT } else { Duration::ZERO };
                        let before = sessions.attach(session.key, attached(connection), keep_for);
                        prop_assert_eq!(before, session.connection.ok().filter(|_| session.is_open));
                        session.connection = Ok(connection);
                    }
                    Step::Detach(which) => {
                        let session = &mut known[which % count];
                        let keep_for = sessions.get(session.key).map_or(KEPT, |session| session.keep_for);
                        sessions.detach(now, session.key, Duration::MAX);
                        session.connection = session.connection.and(Err(now + keep_for));
                    }
                    Step::ChangePrincipal(which, principal) => {
                        let session = &mut known[which % count];
                        let roles = roles_of(principal).iter().map(|role| (*role).to_owned()).collect();
                        let identity = Identity { principal: principal.to_owned(), roles, ..Identity::default() };
                        let changed =
                            sessions.change_principal(session.key, &identity, &Proposals::All, 64, &[], &mut grants);
                        prop_assert_eq!(changed, Ok(()));
                        session.principal = principal;
                    }
                    Step::Send(which, length) => {
                        let session = &known[which % count];
                        let connection = sessions.record_sent(session.key, &Bytes::from(vec![0; length]));
                        prop_assert_eq!(connection.map(|connection| connection.id), session.connection.ok().filter(|_| session.is_open));
                    }
                    Step::ForgetPast(which) => sessions.forget_past(known[which % count].key),
                    Step::Remove(which) => {
                        let session = &mut known[which % count];
                        prop_assert_eq!(sessions.remove(session.key), session.is_open);
                        session.is_open = false;
                    }
                    Step::PassTime(time) => now = now + Duration::from_micros(time),
                }
                let open = || known.iter().filter(|session| session.is_open);
                for (number, session) in known.iter().enumerate() {
                    let found = session.is_open.then_some(session.key);
                    prop_assert_eq!(sessions.get(session.key).is_some(), session.is_open);
                    prop_assert_eq!(sessions.with_id(sessions.id_of(session.key)), found);
                    prop_assert_eq!(sessions.with_token(token(number as u64).as_bytes()), found);
                    if let Some(open) = sessions.get(session.key) {
                        let roles = roles_of(session.principal).iter().map(|role| (*role).to_owned()).collect();
                        prop_assert!(Arc::ptr_eq(&open.grants, &grants.of(&roles)));
                    }
                    if let Ok(connection) = session.connection {
                        prop_assert_eq!(sessions.with_connection(connection), found);
                    }
                }
                for principal in ["", "ada", "bob"] {
                    let expected: Vec<_> =
                        open().filter(|session| session.principal == principal).map(|session| session.key).collect();
                    prop_assert_eq!(sessions.of_principal(principal).collect::<Vec<_>>(), expected);
                }
                let attached = open().filter(|session| session.connection.is_ok()).count();
                prop_assert_eq!((sessions.len(), sessions.by_connection.len()), (open().count(), attached));
                let expiry = open().filter_map(|session| Some((session.connection.err()?, session.key))).min();
                prop_assert_eq!(sessions.next_expiry(), expiry);
                let kept: usize = sessions.open.iter().map(|(_, session)| session.sent.bytes()).sum();
                prop_assert_eq!(sessions.recovery_bytes, kept);
                prop_assert!(kept <= MOST_BYTES);
                let mut keys: Vec<_> = sessions.keys().collect();
                keys.sort_unstable();
                prop_assert_eq!(keys, open().map(|session| session.key).collect::<Vec<_>>());
            }
        }
    }
}
