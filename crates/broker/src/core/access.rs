//! Who may connect, and with which roles. What these may do is in `permissions`.

use antiphon_protocol::wire::handshake::Credentials;
use subtle::ConstantTimeEq;

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
pub struct Principals {
    named: Vec<Principal>,
    anonymous_roles: &'static [&'static str],
}

struct Principal {
    name: &'static str,
    password: &'static str,
    roles: &'static [&'static str],
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl Access {
    /// What holds out of the box. For development only.
    #[must_use]
    pub fn development() -> Self {
        Self { principals: Principals::development(), permissions: Permissions::stock() }
    }
}

impl Principals {
    /// The stock principals with the well-known password, and anonymous sessions that may send and handle requests.
    fn development() -> Self {
        let principal = |name, roles| Principal { name, password: "password", roles };
        Self {
            named: vec![
                principal("admin", &["ADMINISTRATOR"]),
                principal("control", &["CLIENT_CONTROL", "TOPIC_CONTROL", "AUTHENTICATION_HANDLER"]),
                principal("client", &["CLIENT"]),
                principal("operator", &["OPERATOR"]),
            ],
            anonymous_roles: &["CLIENT", "CLIENT_CONTROL"],
        }
    }

    /// The roles of `principal`, if it may connect with `credentials`. The empty principal is anonymous and needs
    /// none.
    #[must_use]
    pub fn authenticate(&self, principal: &str, credentials: &Credentials) -> Option<Vec<&'static str>> {
        if principal.is_empty() {
            return Some(self.anonymous_roles.to_vec());
        }
        let known = self.named.iter().find(|known| known.name == principal);
        let expected = known.map_or("", |known| known.password);
        let given = match credentials {
            Credentials::Password(password) => password.as_bytes(),
            Credentials::None | Credentials::Custom(_) => return None,
        };
        let matches = bool::from(expected.as_bytes().ct_eq(given));
        known.filter(|_| matches).map(|known| known.roles.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_lets_a_named_principal_in() {
        let principals = Principals::development();
        let password = |text: &str| Credentials::Password(text.into());
        assert!(principals.authenticate("admin", &password("password")).is_some());
        for wrong in [Credentials::None, password(""), password("Password"), Credentials::Custom(b"password".to_vec())]
        {
            assert_eq!(principals.authenticate("admin", &wrong), None, "{wrong:?}");
        }
        for (name, credentials) in
            [("nobody", password("password")), ("nobody", password("")), ("Admin", password("password"))]
        {
            assert_eq!(principals.authenticate(name, &credentials), None, "{name}");
        }
        assert!(principals.authenticate("", &Credentials::None).is_some());
    }
}
