//! What happens to sessions in any order leaves the indices of the table in step with them.

use antiphon_protocol::negotiated::Negotiated;
use antiphon_protocol::recovery::RecoveryLimits;
use antiphon_protocol::wire::handshake::SessionToken;
use proptest::prelude::*;

use super::*;
use crate::collisions;
use crate::core::identity::Proof;
use crate::core::permissions::Permissions;
use crate::core::properties::SessionProperties;

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

/// A session as the test knows it: its principal, how long it outlives a connection, its connection or when it ends, and
/// whether it is open.
struct Known {
    key: SessionKey,
    principal: &'static str,
    keep_for: Duration,
    connection: Result<ConnectionId, Moment>,
    is_open: bool,
}

fn new_session(number: u64, connection: ConnectionId) -> NewSession {
    let mut properties = SessionProperties::default();
    properties.set_identity(&Identity::default());
    NewSession {
        token: token(number),
        connection: attached(connection),
        keep_for: KEPT,
        recovery: RecoveryLimits { messages: 5, bytes: 200 },
        properties,
        proof: Proof::default(),
    }
}

/// V22.
#[test]
fn principals_that_collide_take_no_longer_than_others() {
    let mut grants = GrantsByRoles::new(Permissions::stock());
    collisions::assert_take_no_longer(|principals| {
        let mut sessions = Sessions::new(7, 99, MOST_BYTES, Allowance { burst: 1, per_second: 1 });
        for (number, principal) in (0..).zip(principals) {
            let key = sessions.open(new_session(number, ConnectionId(number)), &mut grants);
            let identity = Identity { principal: principal.clone(), ..Identity::default() };
            let changed = sessions.change_principal(key, &identity, &Proposals::All, 64, &[], &mut grants);
            assert_eq!(changed, Ok(()));
        }
        assert!(principals.iter().all(|principal| sessions.of_principal(principal).count() == 1));
    });
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
                    let connection = new_connection();
                    let key = sessions.open(new_session(count as u64, connection), &mut grants);
                    prop_assert_eq!(sessions.id_of(key), id);
                    let connection = Ok(connection);
                    known.push(Known { key, principal: "", keep_for: KEPT, connection, is_open: true });
                }
                Step::Attach(which, is_kept) => {
                    let (session, connection) = (&mut known[which % count], new_connection());
                    session.keep_for = if is_kept { KEPT } else { Duration::ZERO };
                    let before = sessions.attach(session.key, attached(connection), session.keep_for);
                    prop_assert_eq!(before, session.connection.ok().filter(|_| session.is_open));
                    session.connection = Ok(connection);
                }
                Step::Detach(which) => {
                    let session = &mut known[which % count];
                    sessions.detach(now, session.key, Duration::MAX);
                    session.connection = session.connection.and(Err(now + session.keep_for));
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
                    let expected = session.connection.ok().filter(|_| session.is_open);
                    prop_assert_eq!(connection.map(|connection| connection.id), expected);
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
                    prop_assert!(std::ptr::eq(open.grants(), &*grants.of(&roles)));
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
            let kept: usize = sessions.open.iter().map(|(_, session)| session.kept_bytes()).sum();
            prop_assert_eq!(sessions.recovery_bytes, kept);
            prop_assert!(kept <= MOST_BYTES);
            let mut keys: Vec<_> = sessions.keys().collect();
            keys.sort_unstable();
            prop_assert_eq!(keys, open().map(|session| session.key).collect::<Vec<_>>());
        }
    }
}
