//! What is known is replaced: who is still who it was.

use std::collections::{BTreeSet, HashMap};

use antiphon_broker::core::identity::{Standing, Verdict};
use antiphon_broker::identity::passwords::PasswordHash;
use antiphon_broker::identity::tokens::Issuer;
use antiphon_broker::identity::{Keys, Known, User};
use antiphon_protocol::wire::handshake::Credentials;

use crate::door::{Door, SECRET, claims, hs256, issuer, users};

/// What has become of the identity that a login showed: as it was, with these roles, or nothing.
fn becomes(door: &Door, verdict: &Verdict) -> Option<Vec<String>> {
    let Verdict::Accepted(identity) = verdict else { panic!("{verdict:?}") };
    let confirmed = match door.identities.confirm(verdict.clone()) {
        Verdict::Accepted(identity) => Some(identity),
        Verdict::Refused | Verdict::Busy => None,
    };
    let standing = match door.identities.standing(&identity.principal, identity.proof) {
        Standing::Unchanged => Some(identity.clone()),
        Standing::Now(identity) => Some(identity),
        Standing::Revoked => None,
    };
    assert_eq!(confirmed, standing, "an answer that was under way is as good as one that was given");
    standing.map(|identity| identity.roles)
}

// Rules I-7.
#[test]
fn an_identity_lasts_as_long_as_its_credentials_are_accepted() {
    let keys = |secret: &[u8]| Keys::from_secret(secret).expect("long enough");
    let known = Known {
        anonymous: Some(vec!["CLIENT".into()]),
        users: users(),
        issuers: vec![issuer(keys(SECRET))],
        roles: BTreeSet::from(["CLIENT".into()]),
    };
    let mut door = Door::new(known.clone());
    let [user, bearer, anonymous] =
        [door.ask_with("ada", "secret"), door.ask_with("ada", &hs256(&claims(""))), door.ask("", Credentials::None)];
    let client = Some(vec!["CLIENT".to_owned()]);
    let becomes_in = |known: Known| {
        door.identities.replace(known);
        [&user, &bearer, &anonymous].map(|verdict| becomes(&door, verdict))
    };
    let all = [client.clone(), client.clone(), client.clone()];
    assert_eq!(becomes_in(known.clone()), all, "nothing has changed");

    let with_ada = |change: &dyn Fn(&mut User)| {
        let mut known = known.clone();
        known.users.entry("ada".into()).and_modify(change);
        known
    };
    let other_roles = becomes_in(with_ada(&|user| user.roles = vec!["OPERATOR".into()]));
    assert_eq!(other_roles, [Some(vec!["OPERATOR".into()]), client.clone(), client.clone()]);
    let other_password = becomes_in(with_ada(&|user| user.password = PasswordHash::of("secret").expect("hashed")));
    assert_eq!(other_password, [None, client.clone(), client.clone()], "the same word, hashed anew, may be another");
    assert_eq!(becomes_in(Known { users: HashMap::new(), ..known.clone() }), [None, client.clone(), client.clone()]);
    assert_eq!(becomes_in(Known { anonymous: None, ..known.clone() }), [client.clone(), client.clone(), None]);

    let with_issuer = |issuer: Issuer| Known { issuers: vec![issuer], ..known.clone() };
    let without_bearer = [client.clone(), None, client.clone()];
    for (issuers, what) in [
        (vec![], "no issuer"),
        (vec![issuer(keys(&[b'x'; 32]))], "another key"),
        (vec![Issuer { issuer: Some("https://other.example".into()), ..issuer(keys(SECRET)) }], "another issuer"),
        (vec![Issuer { audience: None, ..issuer(keys(SECRET)) }], "another audience"),
        (vec![Issuer { principal_claim: Some("name".into()), ..issuer(keys(SECRET)) }], "another claim"),
    ] {
        assert_eq!(becomes_in(Known { issuers, ..known.clone() }), without_bearer, "{what}");
    }
    let two = vec![issuer(keys(&[b'x'; 32])), issuer(keys(SECRET))];
    assert_eq!(becomes_in(Known { issuers: two, ..known.clone() }), all, "its key is still one of them");
    let other_roles = Issuer { roles_claim: None, ..issuer(keys(SECRET)) };
    assert_eq!(becomes_in(with_issuer(other_roles)), all, "what a token says was read when it came");
}
