//! Who may connect, and with which roles. What these may do is in `permissions`.

use antiphon_protocol::wire::handshake::Credentials;
use subtle::ConstantTimeEq;

use super::identity::{Identity, Login, Verdict};
use super::permissions::Permissions;

/// Who may connect, and what sessions may do then.
#[derive(Debug)]
pub struct Access {
    /// Who may connect.
    pub principals: Principals,
    /// What sessions may do.
    pub permissions: Permissions,
}

/// Principals, their passwords and roles.
#[derive(Debug)]
pub enum Principals {
    /// Those of the development profile, known here.
    Development,
    /// The core asks who somebody is ([`Output::Authenticate`](super::Output::Authenticate)).
    Outside,
}

struct Principal {
    name: &'static str,
    password: &'static str,
    roles: &'static [&'static str],
}

/// Everybody may know their passwords: they are for development.
const PRINCIPALS: [Principal; 4] = [
    Principal { name: "admin", password: "password", roles: &["ADMINISTRATOR"] },
    Principal {
        name: "control",
        password: "password",
        roles: &["CLIENT_CONTROL", "TOPIC_CONTROL", "AUTHENTICATION_HANDLER"],
    },
    Principal { name: "client", password: "password", roles: &["CLIENT"] },
    Principal { name: "operator", password: "password", roles: &["OPERATOR"] },
];

/// Of anonymous sessions, which may send and handle requests.
const ANONYMOUS_ROLES: [&str; 2] = ["CLIENT", "CLIENT_CONTROL"];

impl Access {
    /// Whoever is known outside of the core.
    #[must_use]
    pub fn outside(permissions: Permissions) -> Self {
        Self { principals: Principals::Outside, permissions }
    }

    /// What holds out of the box. For development only.
    #[must_use]
    pub fn development() -> Self {
        Self { principals: Principals::Development, permissions: Permissions::stock() }
    }
}

impl Principals {
    /// What becomes of a login, if that is known here. The empty principal is anonymous and needs no credentials.
    pub(super) fn verdict(&self, login: &Login) -> Option<Verdict> {
        match self {
            Self::Development => Some(match development_roles(&login.principal, &login.credentials) {
                Some(roles) => Verdict::Accepted(Identity {
                    principal: login.principal.clone(),
                    roles: roles.iter().map(|role| (*role).to_owned()).collect(),
                    ..Identity::default()
                }),
                None => Verdict::Refused,
            }),
            Self::Outside => None,
        }
    }
}

fn development_roles(principal: &str, credentials: &Credentials) -> Option<&'static [&'static str]> {
    if principal.is_empty() {
        return Some(&ANONYMOUS_ROLES);
    }
    let known = PRINCIPALS.iter().find(|known| known.name == principal);
    let expected = known.map_or("", |known| known.password);
    let given = match credentials {
        Credentials::Password(password) => password.as_bytes(),
        Credentials::None | Credentials::Custom(_) => return None,
    };
    let matches = bool::from(expected.as_bytes().ct_eq(given));
    known.filter(|_| matches).map(|known| known.roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_lets_a_named_principal_in() {
        let password = |text: &str| Credentials::Password(text.into());
        assert!(development_roles("admin", &password("password")).is_some());
        for wrong in [Credentials::None, password(""), password("Password"), Credentials::Custom(b"password".to_vec())]
        {
            assert_eq!(development_roles("admin", &wrong), None, "{wrong:?}");
        }
        for (name, credentials) in
            [("nobody", password("password")), ("nobody", password("")), ("Admin", password("password"))]
        {
            assert_eq!(development_roles(name, &credentials), None, "{name}");
        }
        assert!(development_roles("", &Credentials::None).is_some());
    }
}
