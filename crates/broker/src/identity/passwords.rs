//! Hashes of passwords: argon2id, in the form that other programs write as well (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc};
use argon2::{Algorithm, Argon2, Params};

/// The hash of a password. Never printed: it may be found out from it.
#[derive(Clone)]
pub struct PasswordHash(phc::PasswordHash);

/// Most memory that checking a password may take, in bytes.
pub const MAX_HASH_BYTES: u64 = 256 << 20;

/// Most work that it may take: memory in KiB times passes. A second, about.
pub const MAX_HASH_WORK: u64 = 1 << 20;

impl PasswordHash {
    /// The hash of a password, with a salt of its own. It takes some 20 ms.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub fn of(password: &str) -> Result<Self, String> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| format!("the system gives no random bytes: {error}"))?;
        let hashed: Result<phc::PasswordHash, _> =
            Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
        hashed.map(Self).map_err(|error| error.to_string())
    }

    /// As it stands in a configuration.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.to_string()
    }

    /// What checking it takes.
    fn work(&self) -> u64 {
        Params::try_from(&self.0).map_or(0, |params| u64::from(params.m_cost()) * u64::from(params.t_cost()))
    }
}

impl FromStr for PasswordHash {
    type Err = String;

    /// Reads a hash; an error never says what it was.
    fn from_str(text: &str) -> Result<Self, String> {
        const WHAT: &str = "write what `antiphon-broker passwd` prints, which begins with $argon2id$";
        let hash = phc::PasswordHash::new(text).map_err(|_| format!("this is no hash of a password; {WHAT}"))?;
        if hash.algorithm.as_str() != Algorithm::Argon2id.as_str() {
            return Err(format!("passwords are hashed with argon2id; {WHAT}"));
        }
        let params = Params::try_from(&hash).ok().filter(|_| hash.salt.is_some() && hash.hash.is_some());
        let params = params.ok_or_else(|| format!("this hash is not complete; {WHAT}"))?;
        let (memory, passes) = (u64::from(params.m_cost()), u64::from(params.t_cost()));
        if memory << 10 > MAX_HASH_BYTES || memory * passes > MAX_HASH_WORK {
            let (memory, work) = (MAX_HASH_BYTES >> 20, MAX_HASH_WORK >> 10);
            return Err(format!("checking it would take more than {memory} MiB, or than {work} MiB times passes"));
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// Checks passwords, and counts how often.
pub(super) struct Passwords {
    /// What the password of nobody is compared with, so that it takes as long.
    nobodys: Option<PasswordHash>,
    checked: AtomicU64,
}

impl Passwords {
    /// `known` are the hashes of all users.
    pub fn new<'a>(known: impl Iterator<Item = &'a PasswordHash>) -> Self {
        Self { nobodys: known.max_by_key(|hash| hash.work()).cloned(), checked: AtomicU64::new(0) }
    }

    pub fn checked(&self) -> u64 {
        self.checked.load(Ordering::Relaxed)
    }

    /// Whether it is the password of a user; without one it is not, and takes as long.
    pub fn check(&self, hash: Option<&PasswordHash>, password: &str) -> bool {
        let Some(PasswordHash(compared)) = hash.or(self.nobodys.as_ref()) else { return false };
        self.checked.fetch_add(1, Ordering::Relaxed);
        let is_right = Argon2::default().verify_password(password.as_bytes(), compared).is_ok();
        is_right && hash.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_one_password_and_salted() {
        let (one, other) = (PasswordHash::of("secret").expect("hashed"), PasswordHash::of("secret").expect("hashed"));
        assert_ne!(one.to_text(), other.to_text());
        assert!(one.to_text().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "what is recommended");
        let read: PasswordHash = one.to_text().parse().expect("a hash");
        let passwords = Passwords::new([&one].into_iter());
        assert!(passwords.check(Some(&read), "secret"));
        for wrong in ["", "Secret", "secret "] {
            assert!(!passwords.check(Some(&read), wrong), "{wrong}");
        }
        assert_eq!(passwords.checked(), 4);
    }

    #[test]
    fn nobody_has_a_password_and_it_takes_as_long() {
        let known = PasswordHash::of("secret").expect("hashed");
        let passwords = Passwords::new([&known].into_iter());
        assert!(!passwords.check(None, "secret"));
        assert_eq!(passwords.checked(), 1);
    }

    #[test]
    fn only_argon2id_within_bounds_is_a_hash_and_no_error_shows_it() {
        let salt_and_hash = "c2FsdHNhbHRzYWx0$c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTI";
        for (good, parameters) in [
            (true, "argon2id$v=19$m=19456,t=2,p=1"),
            (true, "argon2id$v=19$m=65536,t=3,p=4"),
            (false, "argon2i$v=19$m=19456,t=2,p=1"),
            (false, "argon2d$v=19$m=19456,t=2,p=1"),
            (false, "pbkdf2-sha256$i=1000,l=32"),
            (false, "argon2id$v=19$m=4194304,t=1,p=1"),
            (false, "argon2id$v=19$m=65536,t=1000,p=1"),
            (false, "argon2id$v=19$m=1,t=2,p=1"),
            (false, "argon2id$v=19$m=x,t=2,p=1"),
        ] {
            let parsed = format!("${parameters}${salt_and_hash}").parse::<PasswordHash>();
            assert_eq!(parsed.is_ok(), good, "{parameters}: {:?}", parsed.err());
        }
        for bad in [
            "",
            "password",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0",
        ] {
            let error = bad.parse::<PasswordHash>().expect_err(bad);
            assert!(!error.contains("19456"), "{error}");
        }
        assert_eq!(format!("{:?}", PasswordHash::of("secret").expect("hashed")), "PasswordHash(…)");
    }
}
