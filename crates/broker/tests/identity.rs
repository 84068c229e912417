//! Who somebody is, by passwords and tokens: what is accepted, and what is not.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antiphon_broker::core::identity::{Identity, Login, Ticket, Verdict};
use antiphon_broker::identity::passwords::PasswordHash;
use antiphon_broker::identity::tokens::Issuer;
use antiphon_broker::identity::{Identities, Keys, Known, Limits, MAX_PASSWORD_BYTES, User, Verdicts};
use antiphon_protocol::wire::handshake::Credentials;
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Asks who somebody is and waits for the answer.
struct Door {
    identities: Identities,
    verdicts: Verdicts,
    tickets: u64,
}

impl Door {
    fn new(known: Known) -> Self {
        let identities = Identities::new(known, &Limits::default());
        let verdicts = identities.verdicts().expect("the first time");
        Self { identities, verdicts, tickets: 0 }
    }

    fn ask(&mut self, principal: &str, credentials: Credentials) -> Verdict {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let login = Login { principal: principal.into(), credentials, client_ip: "192.0.2.1".into() };
        self.identities.ask(ticket, login).unwrap_or_else(|| {
            let (answered, verdict) = self.verdicts.blocking_recv().expect("an answer");
            assert_eq!(answered, ticket);
            verdict
        })
    }

    fn ask_with(&mut self, principal: &str, password: &str) -> Verdict {
        self.ask(principal, Credentials::Password(password.into()))
    }
}

fn user(password: &str, roles: &[&str]) -> User {
    User {
        password: PasswordHash::of(password).expect("hashed"),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        properties: vec![("team".into(), "blue".into())],
    }
}

fn users() -> HashMap<String, User> {
    HashMap::from([("ada".into(), user("secret", &["CLIENT"])), ("bob".into(), user("a.b.c", &[]))])
}

fn issuer(keys: Keys) -> Issuer {
    Issuer {
        issuer: Some("https://id.example".into()),
        audience: Some("antiphon".into()),
        keys,
        principal_claim: Some("sub".into()),
        roles_claim: Some("roles".into()),
        properties: vec![("tenant".into(), "tenant".into())],
        leeway: Duration::ZERO,
    }
}

fn with_issuers(issuers: Vec<Issuer>) -> Known {
    Known { issuers, roles: BTreeSet::from(["CLIENT".into()]), ..Known::default() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims of a good token, but for `others`, which begin with a comma.
fn claims(others: &str) -> String {
    let mut claims = serde_json::json!({
        "iss": "https://id.example", "aud": "antiphon", "sub": "ada", "roles": ["CLIENT", "ROOT"], "tenant": 7, "exp": now() + 60,
    });
    let others: serde_json::Map<_, _> =
        serde_json::from_str(&format!("{{{}}}", others.trim_start_matches(','))).expect("an object");
    claims.as_object_mut().expect("an object").extend(others);
    claims.to_string()
}

/// A token, signed by `sign`.
fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = Base64UrlUnpadded::encode_string;
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn by_secret(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn hs256(claims: &str) -> String {
    token(r#"{"alg":"HS256","typ":"JWT"}"#, claims, by_secret(SECRET))
}

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
    let expected = Identity {
        principal: "ada".into(),
        roles: vec!["CLIENT".into()],
        properties: vec![("team".into(), "blue".into())],
        expiry: None,
    };
    assert_eq!(door.ask_with("ada", "secret"), Verdict::Accepted(expected));
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

// Rules I-3, I-4.

#[test]
fn a_token_says_who_somebody_is() {
    let mut door = Door::new(with_issuers(vec![issuer(Keys::from_secret(SECRET).expect("long enough"))]));
    for principal in ["", "ada"] {
        let verdict = door.ask_with(principal, &hs256(&claims("")));
        let Verdict::Accepted(identity) = verdict else { panic!("{verdict:?}") };
        assert_eq!(identity.principal, "ada");
        assert_eq!(identity.roles, ["CLIENT"], "a role that is not configured is left out");
        assert_eq!(identity.properties, [("tenant".to_owned(), "7".to_owned())]);
        let expiry = identity.expiry.expect("tokens expire");
        assert!(expiry.at / 1000 - now() <= 60 && expiry.within <= Duration::from_secs(60), "{expiry:?}");
    }
    assert_eq!(door.ask_with("bob", &hs256(&claims(""))), Verdict::Refused, "it is ada's");
}

#[test]
fn a_token_of_an_issuer_without_principals_is_the_password_of_any() {
    let keys = Keys::from_secret(SECRET).expect("long enough");
    let issuer = Issuer { principal_claim: None, ..issuer(keys) };
    let mut door = Door::new(with_issuers(vec![issuer]));
    for (principal, accepted) in [("ada", true), ("bob", true), ("", false)] {
        let verdict = door.ask_with(principal, &hs256(&claims("")));
        assert_eq!(matches!(&verdict, Verdict::Accepted(identity) if identity.principal == principal), accepted);
    }
}

#[test]
fn a_token_is_refused_that_is_not_good_here_and_now() {
    let mut door = Door::new(with_issuers(vec![issuer(Keys::from_secret(SECRET).expect("long enough"))]));
    let (past, future) = (now() - 1, now() + 100);
    for more in [
        format!(r#","exp":{past}"#),
        r#","exp":"soon""#.into(),
        r#","exp":null"#.into(),
        r#","exp":-1"#.into(),
        format!(r#","nbf":{future}"#),
        r#","iss":"https://id.example.evil""#.into(),
        r#","iss":null"#.into(),
        r#","aud":"other""#.into(),
        r#","aud":[]"#.into(),
        r#","aud":null"#.into(),
        r#","sub":"""#.into(),
        r#","sub":["ada"]"#.into(),
    ] {
        assert_eq!(door.ask_with("", &hs256(&claims(&more))), Verdict::Refused, "{more}");
    }
    for (more, what) in
        [(r#","aud":["x","antiphon"]"#, "a list"), (r#","exp":1e15"#, "for ever"), (r#","x":{"y":[{}]}"#, "more")]
    {
        assert!(matches!(door.ask_with("", &hs256(&claims(more))), Verdict::Accepted(_)), "{what}");
    }
    let good = hs256(&claims(""));
    for (at, _) in good.char_indices() {
        let mut changed = good.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let verdict = door.ask_with("ada", &String::from_utf8(changed).expect("ASCII"));
        // The last digit of the signature has bits that mean nothing.
        assert!(verdict == Verdict::Refused || at == good.len() - 1, "changed at {at}");
    }
}

#[test]
fn leeway_is_for_clocks_that_differ() {
    let keys = Keys::from_secret(SECRET).expect("long enough");
    let mut door = Door::new(with_issuers(vec![Issuer { leeway: Duration::from_secs(60), ..issuer(keys) }]));
    let (past, future) = (now() - 30, now() + 30);
    for more in [format!(r#","exp":{past}"#), format!(r#","nbf":{future}"#)] {
        let verdict = door.ask_with("", &hs256(&claims(&more)));
        let Verdict::Accepted(Identity { expiry: Some(expiry), .. }) = verdict else { panic!("{verdict:?}") };
        assert!(expiry.within <= Duration::from_secs(60), "{expiry:?}");
    }
}

/// A key set with keys for ES256 and EdDSA, and what signs with them.
fn key_pairs() -> (String, EcdsaKeyPair, Ed25519KeyPair) {
    let random = SystemRandom::new();
    let encode = Base64UrlUnpadded::encode_string;
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let ec = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("made");
    let ec = EcdsaKeyPair::from_pkcs8(algorithm, ec.as_ref(), &random).expect("a key");
    let ed = Ed25519KeyPair::generate_pkcs8(&random).expect("made");
    let ed = Ed25519KeyPair::from_pkcs8(ed.as_ref()).expect("a key");
    let point = ec.public_key().as_ref();
    let (x, y, ed_x) = (encode(&point[1..33]), encode(&point[33..]), encode(ed.public_key().as_ref()));
    let set = format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"ec","use":"sig","x":"{x}","y":"{y}"}},
            {{"kty":"OKP","crv":"Ed25519","kid":"ed","alg":"EdDSA","x":"{ed_x}"}},
            {{"kty":"EC","crv":"P-521","x":"AA","y":"AA"}},{{"kty":"new"}}]}}"#
    );
    (set, ec, ed)
}

#[test]
fn a_key_is_good_for_one_algorithm() {
    let (set, ec, ed) = key_pairs();
    let mut door = Door::new(with_issuers(vec![issuer(Keys::from_jwks(&set).expect("keys"))]));
    let by_ec = |message: &[u8]| ec.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec();
    let by_ed = |message: &[u8]| ed.sign(message).as_ref().to_vec();
    let mut accepts = |header: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        matches!(door.ask_with("ada", &token(header, &claims(""), sign)), Verdict::Accepted(_))
    };
    for header in [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","kid":"ec"}"#] {
        assert!(accepts(header, &by_ec), "{header}");
    }
    assert!(accepts(r#"{"alg":"EdDSA","kid":"ed"}"#, &by_ed));
    let point = ec.public_key().as_ref().to_vec();
    let with_point = |message: &[u8]| by_secret(&point)(message);
    let with_set = |message: &[u8]| by_secret(set.as_bytes())(message);
    let (header, none) = (r#"{"alg":"HS256"}"#, |_: &[u8]| Vec::new());
    assert!(!accepts(header, &with_point), "a public key is no secret");
    assert!(!accepts(header, &with_set), "nor is the file that it is in");
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None"}"#, r#"{"alg":"ES256"}"#, "{}"] {
        assert!(!accepts(header, &none), "{header}");
    }
    assert!(!accepts(r#"{"alg":"ES256","kid":"ed"}"#, &by_ec), "another key");
    assert!(!accepts(r#"{"alg":"EdDSA"}"#, &by_ec), "another algorithm");
    assert!(!accepts(r#"{"alg":"ES256","crit":["x"],"x":1}"#, &by_ec), "what nobody knows must not be critical");
}

#[test]
fn what_is_no_key_is_refused_without_showing_it() {
    let ring = |keys: &str| Keys::from_jwks(&format!(r#"{{"keys":[{keys}]}}"#)).expect_err(keys);
    for (keys, says) in [
        ("", "none of the keys"),
        (r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I"}"#, "secret_file"),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "too short"),
        (r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#, "too short"),
        (r#"{"kty":"EC","crv":"P-256","x":"!","y":"AA"}"#, "not complete"),
        (r#"{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}"#, "none of the keys"),
    ] {
        let error = ring(keys);
        assert!(error.contains(says) && !error.contains("c2Vj"), "{keys}: {error}");
    }
    for no_set in ["", "{}", "[]", r#"{"keys":"secret"}"#, r#"{"kty":"oct","k":"secret"}"#] {
        let error = Keys::from_jwks(no_set).expect_err(no_set);
        assert!(error.contains("no JSON Web Key Set") && !error.contains("secret"), "{error}");
    }
    assert!(Keys::from_secret(&SECRET[1..]).is_err(), "too short");
    assert!(Keys::from_secret(&[&SECRET[1..], b"\n"].concat()).is_err(), "a line end is not part of it");
    assert_eq!(format!("{:?}", Keys::from_secret(SECRET)).matches("0123").count(), 0);
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
