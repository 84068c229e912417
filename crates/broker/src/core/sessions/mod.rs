//! The table of open sessions, with an index for each way to find one.

mod session;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::primitives::SessionId;
use bytes::Bytes;
use slab::Slab;
use subtle::ConstantTimeEq;

use super::ConnectionId;
use super::identity::Identity;
use super::parties::{Allowance, Parties, PartyKey};
use super::per_session::{ByConnection, SessionKey, give_back};
use super::permissions::GrantsByRoles;
use super::properties::TooLarge;
use super::proposals::Proposals;
use super::timers::Timers;
pub(super) use session::{Connection, NewSession, Pulse, Session};

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
        let (connection, principal) = (new.connection.id, new.properties.principal().to_owned());
        let party = self.parties.join(new.properties.address(), &principal, key);
        let hash = hash_of(self.token_key, new.token.as_bytes());
        let grants = grants.of(new.properties.roles());
        entry.insert(Session::new(id, new, grants, party));
        self.by_number.insert(key.number, key);
        self.by_connection.insert(connection, key);
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
        let party = session.party();
        if let Some(connection) = session.connection() {
            self.by_connection.remove(&connection.id);
        }
        if let Some(until) = session.expiry() {
            self.expiries.remove(until, key);
            self.parties.back(party, key, until);
        }
        self.by_number.remove(&key.number);
        self.by_token.remove(&hash_of(self.token_key, session.token().as_bytes()));
        self.forget_principal(key, session.properties().principal());
        self.recovery_bytes -= session.kept_bytes();
        self.parties.keep(party, session.kept_bytes(), 0);
        self.parties.leave(party, key);
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
        let session = find(&mut self.open, key)?;
        let (before, expiry) = (session.connection(), session.expiry());
        session.attach(connection, keep_for);
        if let Some(old) = before {
            self.by_connection.remove(&old.id);
        }
        if let Some(until) = expiry {
            self.expiries.remove(until, key);
            self.parties.back(session.party(), key, until);
        }
        self.by_connection.insert(connection.id, key);
        before.map(|old| old.id)
    }

    /// The connection of a session is gone; from now on it waits for another one, for as long as was agreed, but not longer
    /// than `at_most`.
    pub fn detach(&mut self, now: Moment, key: SessionKey, at_most: Duration) {
        let Some(session) = find(&mut self.open, key) else { return };
        let Some(connection) = session.connection() else { return };
        let until = session.detach(now, at_most);
        self.by_connection.remove(&connection.id);
        self.expiries.insert(until, key);
        self.parties.lost(session.party(), key, until);
    }

    /// Takes note of a message to a session. It goes out now on the connection that is returned, and is kept for another
    /// one, if the session outlives this one. Once more is kept in all than may be, the past of the sessions for which most
    /// is kept is gone: they will learn that messages were lost, if they lose their connections now.
    pub fn record_sent(&mut self, key: SessionKey, frame: &Bytes) -> Option<Connection> {
        let session = find(&mut self.open, key)?;
        session.count_sent(frame.len());
        let connection = session.connection();
        if session.is_kept() {
            let before = session.kept_bytes();
            session.keep(frame);
            let after = session.kept_bytes();
            self.parties.keep(session.party(), before, after);
            self.recovery_bytes = self.recovery_bytes + after - before;
            if self.recovery_bytes > self.max_recovery_bytes {
                self.forget_what_most_is_kept_for();
            }
        }
        connection
    }

    /// Takes messages out of those that wait for the connection of a session, as if they had never been there.
    pub fn retain_queued(&mut self, key: SessionKey, is_wanted: impl FnMut(&[u8]) -> bool) {
        let Some(session) = find(&mut self.open, key) else { return };
        let before = session.kept_bytes();
        session.retain_queued(is_wanted);
        let after = session.kept_bytes();
        self.parties.keep(session.party(), before, after);
        self.recovery_bytes -= before - after;
    }

    /// Makes room: of the party for which most bytes are kept, the sessions for which most are, and then of the next one. An
    /// eighth is free then, so that this is rare.
    fn forget_what_most_is_kept_for(&mut self) {
        let enough = self.max_recovery_bytes / 8 * 7;
        while self.recovery_bytes > enough {
            let kept = |key: &SessionKey| self.get(*key).map_or(0, Session::kept_bytes);
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
        let bytes = session.kept_bytes();
        session.forget_sent();
        self.parties.keep(session.party(), bytes, 0);
        self.recovery_bytes -= bytes;
    }

    /// What went to and fro counts no more.
    pub fn forget_past(&mut self, key: SessionKey) {
        self.forget_sent(key);
        if let Some(session) = find(&mut self.open, key) {
            session.forget_past();
        }
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
        session.propose(trusted, most, proposed)?;
        let before = session.properties().principal().to_owned();
        session.set_identity(identity, grants);
        self.forget_principal(key, &before);
        self.by_principal.entry(identity.principal.clone()).or_default().insert(key);
        self.change_party(key);
        Ok(())
    }

    /// Lets every session do what its roles grant now.
    pub fn grant_anew(&mut self, grants: &mut GrantsByRoles) {
        for (_, session) in &mut self.open {
            session.grant(grants);
        }
    }

    /// The principal of a session is another one.
    fn change_party(&mut self, key: SessionKey) {
        let Some(session) = find(&mut self.open, key) else { return };
        let (before, kept) = (session.party(), session.kept_bytes());
        let after = self.parties.join(session.properties().address(), session.properties().principal(), key);
        session.set_party(after);
        if after != before {
            self.parties.keep(before, kept, 0);
            self.parties.keep(after, 0, kept);
            if let Some(until) = session.expiry() {
                self.parties.back(before, key, until);
                self.parties.lost(after, key, until);
            }
            self.parties.leave(before, key);
        }
    }

    /// Whose a session is.
    pub fn party_of(&self, key: SessionKey) -> Option<PartyKey> {
        self.get(key).map(Session::party)
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
        self.open.get(key.place).filter(|session| session.id().value == key.number)
    }

    pub fn get_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        find(&mut self.open, key)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// All, in no order that means anything.
    pub fn keys(&self) -> impl Iterator<Item = SessionKey> {
        self.open.iter().map(|(place, session)| SessionKey { number: session.id().value, place })
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
        bool::from(session.token().as_bytes().as_slice().ct_eq(token)).then_some(key)
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
    open.get_mut(key.place).filter(|session| session.id().value == key.number)
}

/// The key comes first, so without it nothing is known of any hash.
fn hash_of(key: u64, token: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key);
    hasher.write(token);
    hasher.finish()
}
