//! Who somebody is, by what the operator has configured: users with passwords, bearers of tokens, anybody.
//!
//! - [`passwords`]: hashes of passwords (argon2id).
//! - [`tokens`]: JSON Web Tokens; `keys`: what verifies them; `signatures`: the cryptography of that.
//! - `workers`: threads that do one piece of such work at a time, in fair turns.
//!
//! What is known is replaced as a whole ([`Identities::replace`]). Questions that are under way are answered by what was known
//! when they were asked.

mod keys;
pub mod passwords;
mod signatures;
pub mod tokens;
mod workers;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use antiphon_protocol::wire::handshake::Credentials;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use keys::Keys;
use passwords::{PasswordHash, Passwords};
use tokens::Issuer;
use workers::Workers;

use crate::core::identity::{Identity, Login, Proof, Standing, Ticket, Verdict};
use crate::rates::Rates;

/// Who may connect, and as what.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The roles of anonymous sessions; refused if nothing.
    pub anonymous: Option<Vec<String>>,
    /// By name.
    pub users: HashMap<String, User>,
    /// Whose tokens are believed.
    pub issuers: Vec<Issuer>,
    /// Roles that mean something: others in tokens are left out.
    pub roles: BTreeSet<String>,
}

/// Somebody with a password.
#[derive(Clone, Debug)]
pub struct User {
    /// Of the password.
    pub password: PasswordHash,
    /// Roles of the sessions.
    pub roles: Vec<String>,
    /// Session properties that the broker sets.
    pub properties: Vec<(String, String)>,
}

/// How much work unknown clients may cause.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Passwords that are checked at the same time, each by a thread of its own.
    pub max_password_checks: usize,
    /// Credentials that may wait to be checked: passwords, and tokens as many.
    pub max_waiting_logins: usize,
    /// Passwords of one principal that are checked in a second, for long; ten times as many may come at once.
    pub login_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_password_checks: 2, max_waiting_logins: 1_000, login_rate: 50 }
    }
}

/// Longest password, in bytes: hashing a longer one would take longer.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Longest token, in bytes.
pub const MAX_JWT_BYTES: usize = 16 << 10;

/// Tells who clients are.
pub struct Identities {
    known: RwLock<Arc<Snapshot>>,
    prover: Prover,
    passwords: Workers,
    tokens: Workers,
    rates: Mutex<Rates<String>>,
    verdicts: UnboundedSender<(Ticket, Verdict)>,
    later: Mutex<Option<Verdicts>>,
}

/// Answers that came later: see [`Identities::ask`].
pub type Verdicts = UnboundedReceiver<(Ticket, Verdict)>;

/// Makes proofs of secrets: by a hash that is keyed at random, so that they are good for nothing but to be compared.
type Prover = RandomState;

/// What is known at a time.
struct Snapshot {
    known: Known,
    passwords: Passwords,
    prover: Prover,
    /// Of all tokens that are accepted.
    of_tokens: HashSet<Proof>,
}

impl Snapshot {
    fn new(known: Known, prover: &Prover) -> Arc<Self> {
        let passwords = Passwords::new(known.users.values().map(|user| &user.password));
        let of_tokens = known.issuers.iter().flat_map(|issuer| issuer.proofs(prover)).collect();
        Arc::new(Self { known, passwords, prover: prover.clone(), of_tokens })
    }

    /// What anonymous sessions are; nothing if there may be none.
    fn anonymous(&self) -> Option<Identity> {
        self.known.anonymous.clone().map(|roles| Identity { roles, ..Identity::default() })
    }

    /// What sessions of a user are.
    fn user(&self, principal: &str) -> Option<Identity> {
        let User { password, roles, properties } = self.known.users.get(principal)?;
        let proof = Proof(self.prover.hash_one(password.to_text()));
        let (roles, properties) = (roles.clone(), properties.clone());
        Some(Identity { principal: principal.to_owned(), roles, properties, expiry: None, proof })
    }

    fn standing(&self, principal: &str, proof: Proof) -> Standing {
        if self.of_tokens.contains(&proof) {
            return Standing::Unchanged;
        }
        let identity = if principal.is_empty() { self.anonymous() } else { self.user(principal) };
        identity.filter(|identity| identity.proof == proof).map_or(Standing::Revoked, Standing::Now)
    }

    /// Takes as long as hashing the password once, whether there is such a user or not.
    fn check_password(&self, principal: &str, password: &str) -> Verdict {
        let user = self.known.users.get(principal);
        if !self.passwords.check(user.map(|user| &user.password), password) {
            return Verdict::Refused;
        }
        self.user(principal).map_or(Verdict::Refused, Verdict::Accepted)
    }

    fn check_token(&self, principal: &str, token: &str) -> Verdict {
        match tokens::check(&self.known, &self.prover, principal, token, since_1970()) {
            Ok(identity) => Verdict::Accepted(identity),
            Err(why) => {
                tracing::info!(?principal, "token refused: {why}");
                Verdict::Refused
            }
        }
    }
}

impl Identities {
    /// With what is known now.
    #[must_use]
    pub fn new(known: Known, limits: &Limits) -> Self {
        let (verdicts, later) = unbounded_channel();
        let prover = Prover::new();
        Self {
            known: RwLock::new(Snapshot::new(known, &prover)),
            prover,
            passwords: Workers::new("passwords", limits.max_password_checks, limits.max_waiting_logins),
            tokens: Workers::new("tokens", 1, limits.max_waiting_logins),
            rates: Mutex::new(Rates::new(limits.login_rate)),
            verdicts,
            later: Mutex::new(Some(later)),
        }
    }

    /// Whoever serves clients takes the answers that come later from here. Nothing the second time.
    pub fn verdicts(&self) -> Option<Verdicts> {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// From now on this is known.
    pub fn replace(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Snapshot::new(known, &self.prover);
    }

    /// What a principal that was shown by this is now: what is known may have been replaced since. Users and anonymous sessions
    /// are what the configuration says; what a token said holds as long as others like it are accepted.
    #[must_use]
    pub fn standing(&self, principal: &str, proof: Proof) -> Standing {
        self.snapshot().standing(principal, proof)
    }

    /// A verdict as it would be given now.
    #[must_use]
    pub fn confirm(&self, verdict: Verdict) -> Verdict {
        let Verdict::Accepted(identity) = verdict else { return verdict };
        match self.standing(&identity.principal, identity.proof) {
            Standing::Unchanged => Verdict::Accepted(identity),
            Standing::Now(identity) => Verdict::Accepted(identity),
            Standing::Revoked => Verdict::Refused,
        }
    }

    /// How often a password was hashed, right or wrong, since what is known was last replaced.
    #[must_use]
    pub fn passwords_checked(&self) -> u64 {
        self.snapshot().passwords.checked()
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another password may be checked for a principal.
    fn may_try(&self, principal: &str) -> bool {
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.take(Instant::now(), principal.to_owned())
    }

    /// Who is this? Answers at once if that takes no time, else by [`Verdicts`].
    pub fn ask(&self, ticket: Ticket, login: Login) -> Option<Verdict> {
        let Login { principal, credentials, client_ip } = login;
        let snapshot = self.snapshot();
        let known = &snapshot.known;
        let password = match credentials {
            Credentials::None if principal.is_empty() => {
                return Some(snapshot.anonymous().map_or(Verdict::Refused, Verdict::Accepted));
            }
            Credentials::Password(password) => password,
            Credentials::None | Credentials::Custom(_) => return Some(Verdict::Refused),
        };
        let is_token = !known.issuers.is_empty() && tokens::is_token(&password);
        let (workers, is_short) = if is_token {
            (&self.tokens, password.len() <= MAX_JWT_BYTES)
        } else {
            (&self.passwords, password.len() <= MAX_PASSWORD_BYTES)
        };
        // Without users there is nothing to be found out by how long it takes.
        let is_possible = is_token || !principal.is_empty() && !known.users.is_empty();
        if !is_short || !is_possible {
            return Some(Verdict::Refused);
        }
        // Whoever guesses passwords may do so from many addresses; nobody guesses tokens.
        if !is_token && !self.may_try(&principal) {
            return Some(Verdict::Busy);
        }
        let verdicts = self.verdicts.clone();
        let answer = move |verdict| {
            // Nobody wants to know any more if the broker is gone.
            let _ = verdicts.send((ticket, verdict));
        };
        workers.enqueue(&client_ip, move |has_turn| {
            answer(match (has_turn, is_token) {
                (false, _) => Verdict::Busy,
                (true, true) => snapshot.check_token(&principal, &password),
                (true, false) => snapshot.check_password(&principal, &password),
            });
        });
        None
    }
}

impl Default for Identities {
    /// Nobody is known.
    fn default() -> Self {
        Self::new(Known::default(), &Limits::default())
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").field("known", &self.snapshot().known).finish_non_exhaustive()
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
