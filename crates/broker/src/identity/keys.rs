//! What tokens are verified with: a secret, or public keys as a JSON Web Key Set has them.

use std::hash::{Hash, Hasher};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

use super::signatures;

/// The keys of an issuer. Never printed.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Key>);

/// A key, with the one algorithm that it is for: whoever has a public key cannot sign by using it as a secret.
#[derive(Clone)]
pub(super) struct Key {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// Shortest secret, in bytes: as long as what HS256 makes of it.
const MIN_SECRET_BYTES: usize = 32;

/// Most keys of an issuer: a token that does not say which one it is for is tried with each.
const MAX_KEYS: usize = 32;

/// Shortest modulus of an RSA key, in bytes.
const MIN_RSA_BYTES: usize = 256;

impl Keys {
    /// A secret for HS256, the content of a file: a line end after it is not part of it.
    ///
    /// # Errors
    ///
    /// If it is too short to be one.
    pub fn from_secret(content: &[u8]) -> Result<Self, String> {
        let secret = content.strip_suffix(b"\n").unwrap_or(content);
        let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
        if secret.len() < MIN_SECRET_BYTES {
            return Err(format!("the secret has {} bytes, it must have {MIN_SECRET_BYTES} at least", secret.len()));
        }
        signatures::install();
        Ok(Self(vec![Key { id: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }]))
    }

    /// Public keys for RS256, ES256 and EdDSA (Ed25519), from the text of a JSON Web Key Set. Keys for something else are left
    /// out.
    ///
    /// # Errors
    ///
    /// If it is no such set, if a key in it is secret, or if none can be used.
    pub fn from_jwks(text: &str) -> Result<Self, String> {
        let no_set = "this is no JSON Web Key Set, {\"keys\": [...]}";
        // What is in it may be secret, so no error shows it.
        let set: JwkSet = serde_json::from_str(text).map_err(|error| format!("{no_set} (line {})", error.line()))?;
        let mut keys = Vec::new();
        for jwk in &set.keys {
            keys.extend(public_key(jwk)?);
        }
        match keys.len() {
            0 => Err("none of the keys is one for RS256, ES256 or EdDSA (Ed25519)".into()),
            1..=MAX_KEYS => {
                signatures::install();
                Ok(Self(keys))
            }
            count => Err(format!("there are {count} keys, there may be {MAX_KEYS} at most")),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Those that a token may have been signed with that says this of its key.
    pub(super) fn matching(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            key.algorithm == algorithm && (id.is_none() || key.id.is_none() || key.id.as_deref() == id)
        })
    }
}

/// By what it verifies, whatever its name.
impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.algorithm.hash(hasher);
        match self.key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes.hash(hasher),
            DecodingKeyKind::RsaModulusExponent { n, e } => (n, e).hash(hasher),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A key of a set; nothing if it is for something else.
fn public_key(jwk: &Jwk) -> Result<Option<Key>, String> {
    let id = jwk.common.key_id.clone();
    let name = id.as_deref().unwrap_or("without an ID");
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => {
            return Err(format!(
                "the key {name:?} is a secret; put it into a file of its own, and name that secret_file"
            ));
        }
        _ => return Ok(None),
    };
    let named = jwk.common.key_algorithm.map(|named| match named {
        KeyAlgorithm::RS256 => Some(Algorithm::RS256),
        KeyAlgorithm::ES256 => Some(Algorithm::ES256),
        KeyAlgorithm::EdDSA => Some(Algorithm::EdDSA),
        _ => None,
    });
    let is_for_another = named.is_some_and(|named| named != Some(algorithm))
        || jwk.common.public_key_use.as_ref().is_some_and(|named| *named != PublicKeyUse::Signature);
    if is_for_another {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(jwk).map_err(|_| format!("the key {name:?} is not complete"))?;
    if !signatures::can_be_used(&key, MIN_RSA_BYTES) {
        return Err(format!("the key {name:?} is too short, or too long"));
    }
    Ok(Some(Key { id, algorithm, key }))
}
