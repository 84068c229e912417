//! Who may do what (rules 6), as the rules are written.

use std::collections::BTreeMap;

use GlobalPermission::{ModifySession, RegisterHandler, ViewSession};
use PathPermission::{SendToMessageHandler, SendToSession};
use antiphon_broker::core::permissions::{GlobalPermission, PathPermission, Role};

/// All roles, and the isolated paths.
#[derive(Clone, Debug)]
pub struct Roles {
    roles: BTreeMap<String, Role>,
    isolated: Vec<String>,
}

impl Roles {
    /// The stock roles, as far as they are about messages, and `given` instead of those of the same names.
    pub fn new(given: BTreeMap<String, Role>, isolated: Vec<String>) -> Self {
        let role = |includes: &[&str], global: &[GlobalPermission], default_path: &[PathPermission]| Role {
            includes: includes.iter().map(|name| (*name).to_owned()).collect(),
            global: global.to_vec(),
            default_path: default_path.to_vec(),
            paths: BTreeMap::new(),
        };
        let nothing_there = BTreeMap::from([("Diffusion".to_owned(), Vec::new())]);
        let stock = [
            ("CLIENT", Role { paths: nothing_there.clone(), ..role(&[], &[], &[SendToMessageHandler]) }),
            ("CLIENT_CONTROL", role(&["CLIENT"], &[ViewSession, ModifySession, RegisterHandler], &[SendToSession])),
            ("TOPIC_CONTROL", role(&["CLIENT"], &[], &[])),
            ("AUTHENTICATION_HANDLER", role(&[], &[RegisterHandler], &[])),
            ("OPERATOR", Role { paths: nothing_there, ..role(&["CLIENT"], &[ViewSession], &[]) }),
            ("ADMINISTRATOR", role(&["CLIENT_CONTROL", "TOPIC_CONTROL"], &[], &[])),
        ];
        let mut roles: BTreeMap<_, _> = stock.map(|(name, role)| (name.to_owned(), role)).into();
        roles.extend(given);
        Self { roles, isolated }
    }

    /// Whether roles that are written as in `$Roles` grant a permission everywhere.
    pub fn everywhere(&self, roles: &str, permission: GlobalPermission) -> bool {
        self.all(roles).iter().any(|role| role.global.contains(&permission))
    }

    /// Whether they grant one on a path of these segments.
    pub fn at(&self, roles: &str, path: &[&str], permission: PathPermission) -> bool {
        let roles = self.all(roles);
        for length in (1..=path.len()).rev() {
            let path = path[..length].join("/");
            let is_it = |other: &str| other.trim_matches('/') == path;
            let assigned: Vec<_> = roles.iter().flat_map(|role| &role.paths).filter(|(path, _)| is_it(path)).collect();
            if !assigned.is_empty() {
                return assigned.iter().any(|(_, permissions)| permissions.contains(&permission));
            }
            if self.isolated.iter().any(|path| is_it(path)) {
                return false;
            }
        }
        roles.iter().any(|role| role.default_path.contains(&permission))
    }

    /// These roles, and what they include.
    fn all(&self, roles: &str) -> Vec<&Role> {
        let mut names: Vec<_> = roles.split(',').map(|name| name.trim_matches('"')).collect();
        let mut at = 0;
        while at < names.len() {
            let included = self.roles.get(names[at]).into_iter().flat_map(|role| &role.includes);
            let new: Vec<_> = included.map(String::as_str).filter(|name| !names.contains(name)).collect();
            names.extend(new);
            at += 1;
        }
        names.into_iter().filter_map(|name| self.roles.get(name)).collect()
    }
}
