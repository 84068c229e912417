//! JSON Web Tokens as passwords: who their issuer says that somebody is.

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::{Key, Keys};
use super::{Known, Prover};
use crate::core::identity::{Expiry, Identity, Proof};

/// Whose tokens are believed, and how they are read.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The `iss` that a token must have; any if nothing.
    pub issuer: Option<String>,
    /// What must be in its `aud`; if nothing, it must have none.
    pub audience: Option<String>,
    /// What it is signed with.
    pub keys: Keys,
    /// The claim with the principal; if nothing, a token is the password of any principal.
    pub principal_claim: Option<String>,
    /// The claim with the roles: a list of texts, or a text with spaces between. A name with dots leads into objects, unless there
    /// is a claim of that name.
    pub roles_claim: Option<String>,
    /// Session property and claim.
    pub properties: Vec<(String, String)>,
    /// How much the clocks of the issuer and of this machine may differ.
    pub leeway: Duration,
}

impl Issuer {
    /// What its tokens prove an identity by.
    pub(super) fn proofs(&self, prover: &Prover) -> impl Iterator<Item = Proof> {
        self.keys.iter().map(|key| self.proof(key, prover))
    }

    fn proof(&self, key: &Key, prover: &Prover) -> Proof {
        Proof(prover.hash_one((&self.issuer, &self.audience, &self.principal_claim, key)))
    }
}

/// A time after 1970 that nobody lives to see.
const FOR_EVER: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

/// Whether a password has the form of a token.
#[must_use]
pub fn is_token(password: &str) -> bool {
    password.bytes().filter(|byte| *byte == b'.').count() == 2 && decode_header(password).is_ok()
}

/// Who has this token, `now` after 1970. An error says why it is refused, to the operator alone, and nothing of the token.
///
/// # Errors
///
/// If no known issuer has signed it as it is, or it is not good for this principal now.
pub fn check(
    known: &Known,
    prover: &Prover,
    principal: &str,
    token: &str,
    now: Duration,
) -> Result<Identity, &'static str> {
    let header = decode_header(token).map_err(|_| "it is no token, or signed in a way that is not accepted")?;
    // Nobody here knows any of what must be understood.
    if header.crit.is_some() {
        return Err("it has critical parts that are not known");
    }
    let mut why = "it is signed with no key that is known";
    for issuer in &known.issuers {
        for key in issuer.keys.matching(header.alg, header.kid.as_deref()) {
            match verified(issuer, &header, key, token) {
                Ok(claims) => {
                    let shown = identity(issuer, &known.roles, principal, &claims, now)?;
                    return Ok(Identity { proof: issuer.proof(key, prover), ..shown });
                }
                // Another key may be the right one.
                Err(ErrorKind::InvalidSignature) => {}
                Err(error) => why = reason(&error),
            }
        }
    }
    Err(why)
}

fn verified(issuer: &Issuer, header: &Header, key: &Key, token: &str) -> Result<Map<String, Value>, ErrorKind> {
    let mut validation = Validation::new(header.alg);
    // Times are looked at by `identity`, to the millisecond.
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    if let Some(name) = &issuer.issuer {
        validation.set_issuer(&[name]);
        validation.required_spec_claims.insert("iss".into());
    }
    if let Some(name) = &issuer.audience {
        validation.set_audience(&[name]);
        validation.required_spec_claims.insert("aud".into());
    }
    decode(token, &key.key, &validation).map(|data| data.claims).map_err(|error| error.into_kind())
}

fn identity(
    issuer: &Issuer,
    known_roles: &BTreeSet<String>,
    principal: &str,
    claims: &Map<String, Value>,
    now: Duration,
) -> Result<Identity, &'static str> {
    let expiry = expiry(claims, issuer.leeway, now)?;
    let principal = match &issuer.principal_claim {
        Some(name) => {
            let claimed = claim(claims, name).and_then(Value::as_str).filter(|claimed| !claimed.is_empty());
            let claimed = claimed.ok_or("it does not say whose it is")?;
            if !principal.is_empty() && principal != claimed {
                return Err("it is the token of another principal");
            }
            claimed
        }
        None if principal.is_empty() => return Err("nobody says whose it is"),
        None => principal,
    };
    let mut roles = Vec::new();
    for role in issuer.roles_claim.as_ref().and_then(|name| claim(claims, name)).into_iter().flat_map(texts) {
        if known_roles.contains(role) {
            roles.push(role.to_owned());
        } else {
            tracing::warn!(?principal, ?role, "a token has a role that is not configured; it is left out");
        }
    }
    let property = |(name, source): &(String, String)| Some((name.clone(), as_text(claim(claims, source)?)?));
    Ok(Identity {
        principal: principal.to_owned(),
        roles,
        properties: issuer.properties.iter().filter_map(property).collect(),
        expiry: Some(expiry),
        proof: Proof::default(),
    })
}

/// A token is good until `exp`; one that is taken afterwards, since clocks differ, until that is over as well.
fn expiry(claims: &Map<String, Value>, leeway: Duration, now: Duration) -> Result<Expiry, &'static str> {
    let end = time(claims, "exp")?.ok_or("it does not say when it expires")?;
    let end = if end > now { end } else { end + leeway };
    if time(claims, "nbf")?.is_some_and(|begin| begin > now + leeway) {
        return Err("it is not valid yet");
    }
    let within = end.checked_sub(now).filter(|within| !within.is_zero()).ok_or("it has expired")?;
    let at = u64::try_from(end.as_millis()).unwrap_or(u64::MAX);
    Ok(Expiry { within, at })
}

/// A claim that is a number of seconds since 1970, of which there may be a part.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Duration>, &'static str> {
    let Some(value) = claims.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or("it has a time that is none")?;
    Ok(Some(Duration::try_from_secs_f64(seconds).map_or(FOR_EVER, |time| time.min(FOR_EVER))))
}

/// A claim by its name, or by the names of objects that it is in.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    claims.get(name).or_else(|| {
        let (object, inner) = name.split_once('.')?;
        claim(claims.get(object)?.as_object()?, inner)
    })
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The value of a claim as that of a session property.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Why a token is refused, without a word of it.
fn reason(error: &ErrorKind) -> &'static str {
    match error {
        ErrorKind::InvalidIssuer => "it has another issuer",
        ErrorKind::InvalidAudience => "it is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "it lacks its issuer or its audience",
        ErrorKind::InvalidAlgorithm => "it is signed by another algorithm",
        _ => "it cannot be read",
    }
}
