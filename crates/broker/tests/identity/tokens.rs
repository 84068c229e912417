//! JSON Web Tokens: which are accepted, and what they say.

use std::time::Duration;

use antiphon_broker::core::identity::{Identity, Verdict};
use antiphon_broker::identity::Keys;
use antiphon_broker::identity::tokens::Issuer;
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

use crate::door::{Door, SECRET, by_secret, claims, hs256, issuer, now, token, with_issuers};

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
