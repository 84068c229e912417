//! Parties: the sessions of one principal from one address are one party, and share what there is for one.
//!
//! A client may open as many sessions as it likes, so what everybody shares (the time of the core, places for sessions,
//! memory for recovery) is shared out among parties, and then among the sessions of each.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use antiphon_protocol::time::{Moment, micros};

use super::per_session::{Numbered, SessionKey, give_back};
use super::timers::Timers;

/// Names a party. No other party ever has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PartyKey(u64);

#[cfg(test)]
impl PartyKey {
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// How much work a party may have done at once, before others are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    /// Units of work, all at once.
    pub burst: usize,
    /// Units for each second.
    pub per_second: usize,
}

/// All parties that have sessions.
#[derive(Debug)]
pub(super) struct Parties {
    allowance: Allowance,
    opened: u64,
    by_name: HashMap<Name, PartyKey>,
    by_key: Numbered<PartyKey, Party>,
    /// By the number of sessions that have no connection.
    by_absent: BTreeSet<(usize, PartyKey)>,
}

/// Address and principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    address: Box<str>,
    principal: Box<str>,
}

#[derive(Debug)]
struct Party {
    name: Name,
    sessions: BTreeSet<SessionKey>,
    /// Those without a connection, by when they end.
    absent: Timers<SessionKey>,
    /// Bytes that are kept of what was sent to its sessions.
    recovery_bytes: usize,
    credit: Credit,
}

/// What a party may have done at once. It comes back with the time.
#[derive(Debug)]
struct Credit {
    /// Below zero if the last work was more than was left.
    left: i64,
    at: Moment,
}

impl Parties {
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, opened: 0, by_name: HashMap::new(), by_key: Numbered::default(), by_absent: BTreeSet::new() }
    }

    /// A session belongs to the party of this principal at this address from now on.
    pub fn join(&mut self, address: &str, principal: &str, session: SessionKey) -> PartyKey {
        let name = Name { address: network_of(address).into(), principal: principal.into() };
        let key = *self.by_name.entry(name.clone()).or_insert_with(|| {
            self.opened += 1;
            PartyKey(self.opened)
        });
        let credit = Credit { left: units(self.allowance.burst), at: Moment(0) };
        let party = self.by_key.entry(key).or_insert_with(|| Party {
            name,
            sessions: BTreeSet::new(),
            absent: Timers::default(),
            recovery_bytes: 0,
            credit,
        });
        party.sessions.insert(session);
        key
    }

    /// A session that has a connection, and for which nothing is kept, belongs to this party no longer.
    pub fn leave(&mut self, key: PartyKey, session: SessionKey) {
        let Some(party) = self.by_key.get_mut(&key) else { return };
        party.sessions.remove(&session);
        if party.sessions.is_empty() {
            self.by_name.remove(&party.name);
            self.by_key.remove(&key);
            give_back(&mut self.by_name);
            give_back(&mut self.by_key);
        }
    }

    /// A session has lost its connection, and ends then.
    pub fn lost(&mut self, key: PartyKey, session: SessionKey, until: Moment) {
        self.change_absent(key, |absent| absent.insert(until, session));
    }

    /// A session has a connection again, or is over; it would have ended then.
    pub fn back(&mut self, key: PartyKey, session: SessionKey, until: Moment) {
        self.change_absent(key, |absent| absent.remove(until, session));
    }

    fn change_absent(&mut self, key: PartyKey, change: impl FnOnce(&mut Timers<SessionKey>)) {
        let Some(party) = self.by_key.get_mut(&key) else { return };
        self.by_absent.remove(&(party.absent.len(), key));
        change(&mut party.absent);
        if party.absent.len() > 0 {
            self.by_absent.insert((party.absent.len(), key));
        }
    }

    /// The session without a connection that makes room for another one: of the party that has most of them, the one that
    /// would end first.
    pub fn expendable(&self) -> Option<SessionKey> {
        let (_, key) = self.by_absent.last()?;
        self.by_key.get(key)?.absent.first().map(|(_, session)| session)
    }

    /// Takes account of the bytes that are kept for a session of this party.
    pub fn keep(&mut self, key: PartyKey, before: usize, after: usize) {
        if let Some(party) = self.by_key.get_mut(&key) {
            party.recovery_bytes = party.recovery_bytes + after - before;
        }
    }

    /// The sessions of the party for which most bytes are kept.
    pub fn greediest(&self) -> Vec<SessionKey> {
        let greediest = self.by_key.values().max_by_key(|party| party.recovery_bytes);
        greediest.map(|party| party.sessions.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether what a session of this party asks for may be done at once.
    pub fn may_go_on(&mut self, now: Moment, key: PartyKey) -> bool {
        let allowance = self.allowance;
        let Some(party) = self.by_key.get_mut(&key) else { return true };
        let credit = &mut party.credit;
        let earned = micros(now.since(credit.at)).saturating_mul(allowance.per_second as u64) / 1_000_000;
        if earned > 0 {
            credit.at = now;
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            credit.left = credit.left.saturating_add(earned).min(units(allowance.burst));
        }
        credit.left > 0
    }

    /// So much was done for it.
    pub fn charge(&mut self, key: PartyKey, work: usize) {
        if let Some(party) = self.by_key.get_mut(&key) {
            party.credit.left = party.credit.left.saturating_sub(units(work));
        }
    }
}

fn units(work: usize) -> i64 {
    i64::try_from(work).unwrap_or(i64::MAX)
}

/// What one client can choose addresses from: of IPv6 a network of 64 bits, of IPv4 a single address.
fn network_of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}")
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collisions;

    const ALLOWANCE: Allowance = Allowance { burst: 100, per_second: 1_000_000 };

    fn session(number: u64) -> SessionKey {
        SessionKey { number, place: number as usize }
    }

    /// V22.
    #[test]
    fn principals_that_collide_take_no_longer_than_others() {
        collisions::assert_take_no_longer(|principals| {
            let mut parties = Parties::new(ALLOWANCE);
            let mut join = |principal: &String| parties.join("192.0.2.1", principal, session(1));
            let keys: Vec<_> = principals.iter().map(&mut join).collect();
            assert!(principals.iter().zip(keys).all(|(principal, key)| join(principal) == key));
        });
    }

    #[test]
    fn a_party_is_a_principal_at_an_address_and_a_network_of_ipv6_is_one_address() {
        let mut parties = Parties::new(ALLOWANCE);
        let mut join = |address: &str, principal: &str| parties.join(address, principal, session(1));
        let ada = join("192.0.2.1", "ada");
        assert_eq!(join("192.0.2.1", "ada"), ada);
        assert!(join("192.0.2.2", "ada") != ada && join("192.0.2.1", "bob") != ada);
        assert_eq!(join("2001:db8::1", ""), join("2001:db8:0:0:ffff::2", ""));
        assert_ne!(join("2001:db8::1", ""), join("2001:db8:0:1::1", ""));
        assert_ne!(join("::ffff:192.0.2.1", ""), join("::ffff:192.0.2.2", ""));
    }

    #[test]
    fn what_was_spent_comes_back_with_the_time_and_no_more_than_that() {
        let mut parties = Parties::new(ALLOWANCE);
        let party = parties.join("a", "", session(1));
        let at = |micros: u64| Moment(1_000_000 + micros);
        assert!(parties.may_go_on(at(0), party));
        parties.charge(party, 150);
        assert!(!parties.may_go_on(at(50), party));
        assert!(parties.may_go_on(at(51), party), "a unit each microsecond");
        assert!(parties.may_go_on(at(1_000_000), party));
        parties.charge(party, 100);
        assert!(!parties.may_go_on(at(1_000_000), party), "no more than a burst is saved up");
    }

    #[test]
    fn room_is_made_by_the_party_with_most_sessions_that_have_no_connection() {
        let mut parties = Parties::new(ALLOWANCE);
        let (many, few) = (parties.join("a", "", session(1)), parties.join("b", "", session(9)));
        for number in 1..4 {
            parties.join("a", "", session(number));
            parties.lost(many, session(number), Moment(1000 - number));
        }
        parties.lost(few, session(9), Moment(1));
        assert_eq!(parties.expendable(), Some(session(3)));
        parties.back(many, session(3), Moment(997));
        parties.back(many, session(2), Moment(998));
        parties.back(few, session(9), Moment(1));
        assert_eq!(parties.expendable(), Some(session(1)));
    }
}
