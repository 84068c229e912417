//! Principals: who may connect, with which roles, and what sessions may do. Roles mean nothing yet, everybody may do
//! everything.

use std::collections::BTreeSet;

use antiphon_protocol::wire::handshake::Credentials;
use subtle::ConstantTimeEq;

use super::gate::{Action, Rule};

/// Principals, their passwords and roles.
#[derive(Debug)]
pub struct Access {
    principals: Vec<Principal>,
    anonymous_roles: &'static [&'static str],
    rule: Rule,
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
    /// What holds out of the box: the stock principals with the well-known password, and anonymous sessions that may
    /// send and handle requests. For development only.
    #[must_use]
    pub fn development() -> Self {
        let principal = |name, roles| Principal { name, password: "password", roles };
        Self {
            principals: vec![
                principal("admin", &["ADMINISTRATOR"]),
                principal("control", &["CLIENT_CONTROL", "TOPIC_CONTROL", "AUTHENTICATION_HANDLER"]),
                principal("client", &["CLIENT"]),
                principal("operator", &["OPERATOR"]),
            ],
            anonymous_roles: &["CLIENT", "CLIENT_CONTROL"],
            rule: |_, _, _| true,
        }
    }

    /// The same, with a rule of what sessions may do.
    #[cfg(test)]
    pub(super) fn with_rule(rule: Rule) -> Self {
        Self { rule, ..Self::development() }
    }

    /// Whether a session with these roles may do something, at a path in normal form if there is one.
    pub(super) fn permits(&self, roles: &BTreeSet<String>, action: Action, path: Option<&str>) -> bool {
        (self.rule)(roles, action, path)
    }

    /// The roles of `principal`, if it may connect with `credentials`. The empty principal is anonymous and needs
    /// none.
    #[must_use]
    pub fn authenticate(&self, principal: &str, credentials: &Credentials) -> Option<Vec<&'static str>> {
        if principal.is_empty() {
            return Some(self.anonymous_roles.to_vec());
        }
        let known = self.principals.iter().find(|known| known.name == principal);
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
        let access = Access::development();
        let password = |text: &str| Credentials::Password(text.into());
        assert!(access.authenticate("admin", &password("password")).is_some());
        for wrong in [Credentials::None, password(""), password("Password"), Credentials::Custom(b"password".to_vec())]
        {
            assert_eq!(access.authenticate("admin", &wrong), None, "{wrong:?}");
        }
        for (name, credentials) in
            [("nobody", password("password")), ("nobody", password("")), ("Admin", password("password"))]
        {
            assert_eq!(access.authenticate(name, &credentials), None, "{name}");
        }
        assert!(access.authenticate("", &Credentials::None).is_some());
    }
}
