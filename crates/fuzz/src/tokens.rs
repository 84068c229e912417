//! JSON Web Tokens: nobody is let in by a token that none of the known keys has signed as it is.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::LazyLock;
use std::time::Duration;

use antiphon_broker::core::identity::Identity;
use antiphon_broker::identity::tokens::{self, Issuer};
use antiphon_broker::identity::{Keys, Known};
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

/// When tokens are checked, after 1970; the good ones expire a minute later.
const NOW: Duration = Duration::from_secs(2_000_000_000);

/// How far clocks may be apart, for one of the issuers.
const LEEWAY: Duration = Duration::from_secs(30);

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Of the curve P-256.
const BASE_POINT: [u8; 65] = [
    0x04, 0x6B, 0x17, 0xD1, 0xF2, 0xE1, 0x2C, 0x42, 0x47, 0xF8, 0xBC, 0xE6, 0xE5, 0x63, 0xA4, 0x40, 0xF2, 0x77, 0x03,
    0x7D, 0x81, 0x2D, 0xEB, 0x33, 0xA0, 0xF4, 0xA1, 0x39, 0x45, 0xD8, 0x98, 0xC2, 0x96, 0x4F, 0xE3, 0x42, 0xE2, 0xFE,
    0x1A, 0x7F, 0x9B, 0x8E, 0xE7, 0xEB, 0x4A, 0x7C, 0x0F, 0x9E, 0x16, 0x2B, 0xCE, 0x33, 0x57, 0x6B, 0x31, 0x5E, 0xCE,
    0xCB, 0xB6, 0x40, 0x68, 0x37, 0xBF, 0x51, 0xF5,
];

/// The modulus of a public key, and a token by RS256. Nobody has the private key any more.
const MODULUS: &str = "\
    nNQHrKd0lhTT3uwCyZWefiqSGBPF5Ww4w4iww9RcjpO8AbrBIq6JenY93P49KCTTZFF-s6udzkQ8Th9K7TxXgpGhOwppd_4UX83D\
    vHNzTaXwlSjUxKPN9AdKV6ZKhu2R7y5qnzWgezu-ehJEzy7NjUqyhpIHnTnskAqjXVOtmHcu4-IsWbJ8k5qEs_wQk_-QW0InMjF9\
    0YdVNDqkDCmojFZqglwd_Hf-nmNQfWcpECA0_f3OX07fk6UeKblZ-PJ53RusFOnYKtEaFu1g-SwMqULzgx8Aurrt-bpFGCd4u8EN\
    Zk9fbPRSXIP-2cF5RacoFoJuiOzwwuGkrQK-NlxyoQ";
const BY_RSA: &str = "\
    eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJzdWIiOiJhZGEiLCJleHAiOjIwMDAwMDAwNjB9.j2Mskg5vo5VhNo8olLn6uM\
    KxbMNDQZxQgumSYZP3T107wQC3oEmHSSmaevHuRC3G_3hvYb7GIcxaEn6be__hauCUhIBIMl0PPS0N_PLWFYggt-6qui03ryg3dH\
    wtAt5rMg1kqBlpVQDYkdwYiRsZvozw18QDDp8QLXW6gkRNAqafQ1v5dnvPofcMmtJCJiK8SCVKg3P4YZ4h6FmOhaHUvsncsFB6fO\
    tM1n-1Q18MwiuiGjLr4C-MAWCg5MBXWfi8ijQX0-DzYmcyxn2ZOsG3gg7NSnPfODqqXznvYeA2au8wK31JdNCo_rJLs4lllQknoN\
    VWjwvPrveFJeIxNNrmTg";

/// Those who sign, and who is believed.
struct World {
    by_ec: EcdsaKeyPair,
    by_ed: Ed25519KeyPair,
    /// The public keys.
    set: String,
    known: Known,
    prover: RandomState,
    /// One by each algorithm, all good.
    good: Vec<String>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let (random, curve) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
    // The smallest private key, whose public key is the base point of the curve.
    let one = [&[0; 31][..], &[1]].concat();
    let by_ec = EcdsaKeyPair::from_private_key_and_public_key(curve, &one, &BASE_POINT, &random).expect("a key");
    let by_ed = Ed25519KeyPair::from_seed_unchecked(SECRET).expect("a key");
    let point = by_ec.public_key().as_ref();
    let [x, y, ed] = [&point[1..33], &point[33..], by_ed.public_key().as_ref()].map(Base64UrlUnpadded::encode_string);
    let set = format!(
        r#"{{"keys":[{{"kty":"RSA","kid":"rsa","e":"AQAB","n":"{MODULUS}"}},
            {{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}},
            {{"kty":"OKP","crv":"Ed25519","x":"{ed}"}}]}}"#
    );
    let strict = Issuer {
        issuer: Some("https://id.example".into()),
        audience: Some("antiphon".into()),
        principal_claim: Some("sub".into()),
        roles_claim: Some("access.roles".into()),
        properties: vec![("tenant".into(), "tenant".into())],
        leeway: LEEWAY,
        ..issuer(Keys::from_secret(SECRET).expect("long enough"))
    };
    let issuers = vec![strict, issuer(Keys::from_jwks(&set).expect("keys"))];
    let known = Known { issuers, roles: BTreeSet::from(["CLIENT".into()]), ..Known::default() };
    let mut world = World { by_ec, by_ed, set, known, prover: RandomState::new(), good: vec![BY_RSA.into()] };
    let strict = r#"{"iss":"https://id.example","aud":"antiphon","sub":"ada","exp":2000000060}"#;
    let others = r#"{"exp":2000000060}"#;
    for (signer, claims) in [(Signer::Secret, strict), (Signer::Ed25519, others), (Signer::P256, others)] {
        let header = format!(r#"{{"alg":"{}"}}"#, signer.algorithm().expect("it has one"));
        world.good.push(world.token(signer, header.as_bytes(), claims.as_bytes()));
    }
    assert!(world.good.iter().all(|token| world.check(token).is_ok()), "a good token is refused");
    world
});

/// One who believes whatever the keys have signed.
fn issuer(keys: Keys) -> Issuer {
    Issuer {
        issuer: None,
        audience: None,
        keys,
        principal_claim: None,
        roles_claim: None,
        properties: Vec::new(),
        leeway: Duration::ZERO,
    }
}

/// Who signs a token.
#[derive(Clone, Copy, Debug)]
enum Signer {
    Secret,
    Ed25519,
    P256,
    /// Somebody who has only what is public, and takes it for a secret.
    PublicKey,
    KeySet,
    Nobody,
}

const SIGNERS: [Signer; 6] =
    [Signer::Secret, Signer::Ed25519, Signer::P256, Signer::PublicKey, Signer::KeySet, Signer::Nobody];

impl Signer {
    /// By which algorithm, if it is somebody whose tokens are believed.
    fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::Secret => Some("HS256"),
            Self::Ed25519 => Some("EdDSA"),
            Self::P256 => Some("ES256"),
            Self::PublicKey | Self::KeySet | Self::Nobody => None,
        }
    }
}

impl World {
    fn token(&self, signer: Signer, header: &[u8], claims: &[u8]) -> String {
        let by_secret = |secret: &[u8], message: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
        };
        let encode = Base64UrlUnpadded::encode_string;
        let text = format!("{}.{}", encode(header), encode(claims));
        let message = text.as_bytes();
        let signature = match signer {
            Signer::Secret => by_secret(SECRET, message),
            Signer::Ed25519 => self.by_ed.sign(message).as_ref().to_vec(),
            Signer::P256 => self.by_ec.sign(&SystemRandom::new(), message).expect("signed").as_ref().to_vec(),
            Signer::PublicKey => by_secret(self.by_ec.public_key().as_ref(), message),
            Signer::KeySet => by_secret(self.set.as_bytes(), message),
            Signer::Nobody => Vec::new(),
        };
        format!("{text}.{}", encode(&signature))
    }

    fn check(&self, token: &str) -> Result<Identity, &'static str> {
        tokens::check(&self.known, &self.prover, "ada", token, NOW)
    }
}

/// The whole of a token: it is accepted only if its header and its claims are those of one that was signed.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    if let Ok(identity) = WORLD.check(token) {
        let message = |token: &str| token.rsplit_once('.').map(|(message, _)| message.to_owned());
        let is_signed = WORLD.good.iter().any(|good| message(good) == message(token));
        assert!(is_signed, "accepted, and signed by nobody: {identity:?}");
        assert!(tokens::is_token(token), "it would be taken for a password");
    }
}

/// What a token says: the first byte who signs it, then the header, a line end, the claims.
pub(crate) fn claims(bytes: &[u8]) {
    let Some((first, text)) = bytes.split_first() else { return };
    let signer = SIGNERS[usize::from(*first) % SIGNERS.len()];
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (header, claims) = (&text[..end], text.get(end + 1..).unwrap_or_default());
    let Ok(identity) = WORLD.check(&WORLD.token(signer, header, claims)) else { return };
    let header: serde_json::Value = serde_json::from_slice(header).expect("a header");
    assert_eq!(header["alg"].as_str(), Some(signer.algorithm().expect("accepted, and signed by nobody")));
    assert_eq!(identity.principal, "ada");
    assert!(identity.roles.iter().all(|role| WORLD.known.roles.contains(role)), "{:?}", identity.roles);
    let claims: serde_json::Value = serde_json::from_slice(claims).expect("claims");
    let end = claims["exp"].as_f64().expect("it expires");
    let expiry = identity.expiry.expect("it expires");
    assert!(!expiry.within.is_zero() && expiry.at > NOW.as_millis() as u64, "{expiry:?}");
    match signer {
        Signer::Secret => {
            assert_eq!((&claims["iss"], &claims["sub"]), (&"https://id.example".into(), &"ada".into()));
            assert!(end + LEEWAY.as_secs_f64() > NOW.as_secs_f64(), "it is over");
        }
        _ => assert!(end > NOW.as_secs_f64(), "it is over"),
    }
}

/// Checks a token of each algorithm with other keys; whether they are the right ones is theirs to know.
pub(crate) fn check_with(keys: &Keys) {
    let known = Known { issuers: vec![issuer(keys.clone())], ..Known::default() };
    for token in &WORLD.good {
        let _ = tokens::check(&known, &WORLD.prover, "ada", token, NOW);
    }
}
