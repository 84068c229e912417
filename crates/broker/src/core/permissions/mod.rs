//! What sessions may do, by their roles (rules 6).
//!
//! - here: roles as a configuration gives them, checked; and what some of them grant together.
//! - `names`: the permissions that there are. `stock`: the stock roles. `grants`: looking up what is granted.

mod grants;
mod names;
mod stock;

use std::collections::{BTreeMap, BTreeSet};

use antiphon_protocol::path;

pub(super) use grants::{Grants, GrantsByRoles};
use names::Set;
pub use names::{GlobalPermission, PathPermission, Permission};

/// A role as a configuration gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// Roles whose permissions it has as well.
    pub includes: Vec<String>,
    /// What it grants everywhere.
    pub global: Vec<GlobalPermission>,
    /// What it grants on paths for which nothing is assigned.
    pub default_path: Vec<PathPermission>,
    /// What is assigned to a path, and holds below it as well: it replaces what would hold there otherwise.
    pub paths: BTreeMap<String, Vec<PathPermission>>,
}

/// Roles that fit together, and isolated paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// The stock ones too. Their paths are in normal form.
    roles: BTreeMap<String, Role>,
    /// In normal form.
    isolated_paths: BTreeSet<String>,
}

/// Why roles do not fit together: where it is in the configuration, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", place.join("."))]
pub struct Fault {
    /// The keys that lead there, for example `roles`, `CLIENT`, `paths`, `a//b`.
    pub place: Vec<String>,
    /// For people.
    pub problem: String,
}

impl Fault {
    fn new<const N: usize>(place: [&str; N], problem: impl ToString) -> Self {
        Self { place: place.map(str::to_owned).to_vec(), problem: problem.to_string() }
    }
}

impl Permissions {
    /// The stock roles, and no isolated path.
    #[must_use]
    pub fn stock() -> Self {
        Self { roles: stock::roles(), isolated_paths: BTreeSet::new() }
    }

    /// These roles, and those of the stock roles that are not among them.
    ///
    /// # Errors
    ///
    /// The first [`Fault`]: a role that is included but is none, roles that include each other, what is no path, or one
    /// path twice.
    pub fn new(given: BTreeMap<String, Role>, isolated_paths: &[String]) -> Result<Self, Fault> {
        let mut roles = stock::roles();
        for (name, mut role) in given {
            let mut paths = BTreeMap::new();
            for (path, permissions) in role.paths {
                let fault = |problem: String| Fault::new(["roles", &name, "paths", &path], problem);
                let normal = path::normalise(&path).map_err(|error| fault(error.to_string()))?.to_owned();
                if paths.insert(normal, permissions).is_some() {
                    return Err(fault("it is the same path as another one".to_owned()));
                }
            }
            role.paths = paths;
            roles.insert(name, role);
        }
        let mut isolated = BTreeSet::new();
        for path in isolated_paths {
            let fault = |problem: String| Fault::new(["isolated_paths"], problem);
            let normal = path::normalise(path).map_err(|error| fault(format!("{path:?}: {error}")))?;
            if !isolated.insert(normal.to_owned()) {
                return Err(fault(format!("{path:?} is there twice")));
            }
        }
        let permissions = Self { roles, isolated_paths: isolated };
        permissions.check_inclusion()?;
        Ok(permissions)
    }

    /// Whether there is a role of this name.
    #[must_use]
    pub fn has_role(&self, name: &str) -> bool {
        self.roles.contains_key(name)
    }

    /// All roles, by name.
    #[must_use]
    pub fn roles(&self) -> &BTreeMap<String, Role> {
        &self.roles
    }

    fn check_inclusion(&self) -> Result<(), Fault> {
        for (name, role) in &self.roles {
            for included in &role.includes {
                let fault = |problem| Fault::new(["roles", name, "includes"], problem);
                if !self.has_role(included) {
                    return Err(fault(format!("there is no role {included:?}")));
                }
                if self.with_included([&**included]).contains(&**name) {
                    return Err(fault(format!("{included:?} is or includes the role itself")));
                }
            }
        }
        Ok(())
    }

    /// These roles and all that they include. What is no role is left out.
    fn with_included<'a>(&'a self, names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut ahead: Vec<&str> = names.into_iter().collect();
        while let Some(name) = ahead.pop() {
            if let Some((name, role)) = self.roles.get_key_value(name)
                && found.insert(&**name)
            {
                ahead.extend(role.includes.iter().map(String::as_str));
            }
        }
        found
    }

    /// What roles of these names grant together. What is no role grants nothing.
    fn grants(&self, names: &BTreeSet<String>) -> Grants {
        let (mut global, mut default, mut assigned) = (Set::NONE, Set::NONE, BTreeMap::new());
        for name in self.with_included(names.iter().map(String::as_str)) {
            let role = &self.roles[name];
            global = global.union(role.global.iter().copied().collect());
            default = default.union(role.default_path.iter().copied().collect());
            for (path, permissions) in &role.paths {
                let union = assigned.entry(&**path).or_insert(Set::NONE);
                *union = union.union(permissions.iter().copied().collect());
            }
        }
        Grants::new(global, default, &assigned, self.isolated_paths.iter().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::path::NormalPath;

    fn fault(roles: &[(&str, Role)], isolated: &[&str]) -> String {
        let roles = roles.iter().map(|(name, role)| ((*name).to_owned(), role.clone())).collect();
        let isolated: Vec<_> = isolated.iter().map(|path| (*path).to_owned()).collect();
        Permissions::new(roles, &isolated).expect_err("they do not fit together").to_string()
    }

    #[test]
    fn roles_that_do_not_fit_together_are_refused_with_the_place() {
        let includes = |roles: &[&str]| Role {
            includes: roles.iter().map(|role| (*role).to_owned()).collect(),
            ..Role::default()
        };
        let at = |paths: &[&str]| Role {
            paths: paths.iter().map(|path| ((*path).to_owned(), Vec::new())).collect(),
            ..Role::default()
        };
        let cases = [
            (fault(&[("a", includes(&["CLIENT", "b"]))], &[]), "roles.a.includes: there is no role \"b\""),
            (fault(&[("a", includes(&["a"]))], &[]), "roles.a.includes: \"a\" is or includes the role itself"),
            (
                fault(&[("a", includes(&["b"])), ("b", includes(&["CLIENT", "a"]))], &[]),
                "roles.a.includes: \"b\" is or includes the role itself",
            ),
            (fault(&[("a", at(&["b//c"]))], &[]), "roles.a.paths.b//c: the path has an empty segment"),
            (fault(&[("a", at(&["/b", "b"]))], &[]), "roles.a.paths.b: it is the same path as another one"),
            (fault(&[], &["a", ""]), "isolated_paths: \"\": the path is empty"),
            (fault(&[], &["a", "/a/"]), "isolated_paths: \"/a/\" is there twice"),
        ];
        for (fault, expected) in cases {
            assert_eq!(fault, expected);
        }
    }

    #[test]
    fn a_stock_role_is_there_unless_it_is_given() {
        let client = Role { default_path: vec![PathPermission::ReadTopic], ..Role::default() };
        let permissions = Permissions::new([("CLIENT".to_owned(), client)].into(), &[]).expect("they fit together");
        let grants = permissions.grants(&["CLIENT_CONTROL".to_owned()].into());
        let at = |permission| grants.at(NormalPath::new("Diffusion/a").expect("a path"), permission);
        assert!(at(PathPermission::ReadTopic) && at(PathPermission::SendToSession));
        assert!(!at(PathPermission::SendToMessageHandler));
        assert!(grants.everywhere(GlobalPermission::RegisterHandler));
    }

    /// Rules A-2 as they are written, for one permission on a path.
    fn is_granted(permissions: &Permissions, roles: &[String], path: &str, permission: PathPermission) -> bool {
        let mut all = roles.to_vec();
        // Whoever includes somebody who includes somebody: no chain is longer than there are roles.
        for _ in &permissions.roles {
            let included: Vec<_> = all
                .iter()
                .filter_map(|role| permissions.roles.get(role))
                .flat_map(|role| role.includes.clone())
                .collect();
            all.extend(included);
            all.sort();
            all.dedup();
        }
        let roles: Vec<&Role> = all.iter().filter_map(|role| permissions.roles.get(role)).collect();
        let mut path = path.to_owned();
        loop {
            let assigned: Vec<_> = roles.iter().filter_map(|role| role.paths.get(&path)).collect();
            if !assigned.is_empty() {
                return assigned.iter().any(|permissions| permissions.contains(&permission));
            }
            if permissions.isolated_paths.contains(&path) {
                return false;
            }
            match path.rsplit_once('/') {
                Some((parent, _)) => path = parent.to_owned(),
                None => return roles.iter().any(|role| role.default_path.contains(&permission)),
            }
        }
    }

    fn some_path() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "a-"]), 1..5).prop_map(|segments| segments.join("/"))
    }

    fn some_permissions() -> impl Strategy<Value = Vec<PathPermission>> {
        prop::sample::subsequence(vec![PathPermission::SendToMessageHandler, PathPermission::SendToSession], 0..=2)
    }

    /// Roles `0` to `4`, each of which may include those before it.
    fn some_roles() -> impl Strategy<Value = BTreeMap<String, Role>> {
        let role = |number: usize| {
            let before: Vec<_> = (0..number).map(|number| number.to_string()).collect();
            let parts = (
                prop::sample::subsequence(before, 0..=number.min(2)),
                some_permissions(),
                prop::collection::btree_map(some_path(), some_permissions(), 0..4),
            );
            parts.prop_map(move |(includes, default_path, paths)| {
                (number.to_string(), Role { includes, global: Vec::new(), default_path, paths })
            })
        };
        (0..5).map(role).collect::<Vec<_>>().prop_map(|roles| roles.into_iter().collect())
    }

    proptest! {
        /// Rules A-2.
        #[test]
        fn what_is_granted_is_what_the_rules_say(
            given in some_roles(),
            isolated in prop::collection::btree_set(some_path(), 0..4),
            of_session in prop::sample::subsequence(vec!["0", "1", "2", "3", "4", "nobody"], 0..=3),
            paths in prop::collection::vec(some_path(), 1..20),
        ) {
            let isolated: Vec<_> = isolated.into_iter().collect();
            let permissions = Permissions::new(given, &isolated).expect("they fit together");
            let of_session: Vec<_> = of_session.into_iter().map(str::to_owned).collect();
            let grants = permissions.grants(&of_session.iter().cloned().collect());
            for path in &paths {
                for permission in [PathPermission::SendToMessageHandler, PathPermission::SendToSession] {
                    let found = grants.at(NormalPath::new(path).expect("a path"), permission);
                    prop_assert_eq!(found, is_granted(&permissions, &of_session, path, permission), "{} at {}", permission.name(), path);
                }
            }
        }
    }
}
