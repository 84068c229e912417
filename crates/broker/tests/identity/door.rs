//! Where logins are asked for, and what is brought there: users, and tokens of an issuer.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use antiphon_broker::core::identity::{Login, Ticket, Verdict};
use antiphon_broker::identity::passwords::PasswordHash;
use antiphon_broker::identity::tokens::Issuer;
use antiphon_broker::identity::{Identities, Keys, Known, Limits, User, Verdicts};
use antiphon_protocol::wire::handshake::Credentials;
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Asks who somebody is and waits for the answer.
pub struct Door {
    pub identities: Identities,
    verdicts: Verdicts,
    tickets: u64,
}

impl Door {
    pub fn new(known: Known) -> Self {
        let identities = Identities::new(known, &Limits::default());
        let verdicts = identities.verdicts().expect("the first time");
        Self { identities, verdicts, tickets: 0 }
    }

    pub fn ask(&mut self, principal: &str, credentials: Credentials) -> Verdict {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let login = Login { principal: principal.into(), credentials, client_ip: "192.0.2.1".into() };
        self.identities.ask(ticket, login).unwrap_or_else(|| {
            let (answered, verdict) = self.verdicts.blocking_recv().expect("an answer");
            assert_eq!(answered, ticket);
            verdict
        })
    }

    pub fn ask_with(&mut self, principal: &str, password: &str) -> Verdict {
        self.ask(principal, Credentials::Password(password.into()))
    }
}

pub fn user(password: &str, roles: &[&str]) -> User {
    User {
        password: PasswordHash::of(password).expect("hashed"),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        properties: vec![("team".into(), "blue".into())],
    }
}

pub fn users() -> HashMap<String, User> {
    HashMap::from([("ada".into(), user("secret", &["CLIENT"])), ("bob".into(), user("a.b.c", &[]))])
}

pub fn issuer(keys: Keys) -> Issuer {
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

pub fn with_issuers(issuers: Vec<Issuer>) -> Known {
    Known { issuers, roles: BTreeSet::from(["CLIENT".into()]), ..Known::default() }
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims of a good token, but for `others`, which begin with a comma.
pub fn claims(others: &str) -> String {
    let mut claims = serde_json::json!({
        "iss": "https://id.example", "aud": "antiphon", "sub": "ada", "roles": ["CLIENT", "ROOT"], "tenant": 7, "exp": now() + 60,
    });
    let others: serde_json::Map<_, _> =
        serde_json::from_str(&format!("{{{}}}", others.trim_start_matches(','))).expect("an object");
    claims.as_object_mut().expect("an object").extend(others);
    claims.to_string()
}

/// A token, signed by `sign`.
pub fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = Base64UrlUnpadded::encode_string;
    let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
    let signature = encode(&sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub fn by_secret(secret: &[u8]) -> impl FnOnce(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

pub fn hs256(claims: &str) -> String {
    token(r#"{"alg":"HS256","typ":"JWT"}"#, claims, by_secret(SECRET))
}
