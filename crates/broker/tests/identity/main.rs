//! Who somebody is, by passwords and tokens: what is accepted, and what is not.

mod door;
mod reload;
mod tokens;

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use antiphon_broker::core::identity::{Identity, Login, Ticket, Verdict};
use antiphon_broker::identity::{Identities, Keys, Known, Limits, MAX_PASSWORD_BYTES};
use antiphon_protocol::wire::handshake::Credentials;

use door::{Door, SECRET, claims, hs256, issuer, users};

// Rules I-1.

#[test]
fn only_configured_credentials_open_a_session() {
    let password = |text: &str| Credentials::Password(text.into());
    let custom = |text: &str| Credentials::Custom(text.into());
    let long = "x".repeat(MAX_PASSWORD_BYTES + 1);
    let token = hs256(&claims(""));
    let anonymous = Some(vec!["CLIENT".into()]);
    let issuers = vec![issuer(Keys::from_secret(SECRET).expect("long enough"))];
    let known = Known { anonymous, users: users(), issuers, roles: BTreeSet::from(["CLIENT".into()]) };
    let mut door = Door::new(known);
    // Rows: who; columns: with what (V12 of the threat model).
    let columns = [
        Credentials::None,
        password(""),
        password("secret"),
        password("Secret"),
        password("secret\0"),
        password(&long),
        password(&token),
        custom("secret"),
        custom(""),
        custom(&token),
    ];
    for (principal, accepted) in [
        ("ada", &[2, 6][..]),
        // The token says who it is.
        ("", &[0, 6][..]),
        ("Ada", &[]),
        ("nobody", &[]),
        ("bob", &[]),
    ] {
        for (at, credentials) in columns.iter().enumerate() {
            let verdict = door.ask(principal, credentials.clone());
            let expected = accepted.contains(&at);
            assert_eq!(matches!(verdict, Verdict::Accepted(_)), expected, "{principal:?} with {at}: {verdict:?}");
        }
    }
    assert!(matches!(door.ask_with("bob", "a.b.c"), Verdict::Accepted(_)), "it only looks like a token");
}

// Rules I-7.
#[test]
fn a_user_is_what_the_configuration_says() {
    let mut door = Door::new(Known { users: users(), ..Known::default() });
    let verdict = door.ask_with("ada", "secret");
    let Verdict::Accepted(identity) = verdict else { panic!("{verdict:?}") };
    let properties = vec![("team".into(), "blue".into())];
    let (principal, roles) = ("ada".into(), vec!["CLIENT".into()]);
    assert_eq!(identity, Identity { principal, roles, properties, expiry: None, proof: identity.proof });
    assert_eq!(door.ask("", Credentials::None), Verdict::Refused, "nobody said that anonymous sessions may be");
    door.identities.replace(Known::default());
    assert_eq!(door.ask_with("ada", "secret"), Verdict::Refused, "revoked");
}

#[test]
fn an_unknown_user_costs_as_much_as_a_wrong_password() {
    let mut door = Door::new(Known { users: users(), ..Known::default() });
    let mut times = HashMap::from([("ada", Vec::new()), ("nobody", Vec::new())]);
    for round in 0..20 {
        for (principal, times) in &mut times {
            let (before, start) = (door.identities.passwords_checked(), Instant::now());
            assert_eq!(door.ask_with(principal, &format!("wrong {round}")), Verdict::Refused);
            times.push(start.elapsed());
            assert_eq!(door.identities.passwords_checked() - before, 1, "{principal}");
        }
    }
    let [one, other] = ["ada", "nobody"].map(|name| {
        let mut times = times[name].clone();
        times.sort();
        times[times.len() / 2].as_secs_f64()
    });
    assert!(one < 2.0 * other && other < 2.0 * one, "medians of {one} s and {other} s");
}

// Rules I-2.
#[test]
fn what_waits_is_bounded() {
    let limits = Limits { max_password_checks: 1, max_waiting_logins: 3, ..Limits::default() };
    let identities = Identities::new(Known { users: users(), ..Known::default() }, &limits);
    let mut verdicts = identities.verdicts().expect("the first time");
    for ticket in 0..20 {
        let credentials = Credentials::Password("wrong".into());
        let login = Login { principal: "ada".into(), credentials, client_ip: "192.0.2.1".into() };
        assert_eq!(identities.ask(Ticket(ticket), login), None);
    }
    let verdicts: Vec<_> = (0..20).map(|_| verdicts.blocking_recv().expect("an answer").1).collect();
    let busy = verdicts.iter().filter(|verdict| **verdict == Verdict::Busy).count();
    assert_eq!(busy as u64, 20 - identities.passwords_checked());
    assert!(busy >= 20 - 3 - 2, "{verdicts:?}");
}

// Rules I-2.
#[test]
fn passwords_of_one_principal_are_tried_at_a_bounded_rate_from_wherever_they_come() {
    let limits = Limits { login_rate: 1, ..Limits::default() };
    let identities = Identities::new(Known { users: users(), ..Known::default() }, &limits);
    let try_one = |principal: &str, number: u8| {
        let credentials = Credentials::Password("wrong".into());
        let login = Login { principal: principal.into(), credentials, client_ip: format!("192.0.2.{number}") };
        identities.ask(Ticket(number.into()), login)
    };
    let busy = (0..30).filter(|number| try_one("ada", *number) == Some(Verdict::Busy)).count();
    // One a second may have been added meanwhile.
    assert!((15..=20).contains(&busy), "{busy}");
    assert_eq!(try_one("bob", 1), None, "of another one");
}
