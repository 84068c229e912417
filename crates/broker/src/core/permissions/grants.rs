//! What a session may do by the roles that it has together, made ready to be looked up.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::Permissions;
use super::names::{GlobalPermission, PathPermission, Set};
use crate::core::path::NormalPath;

/// What some roles grant together: a permission on a path costs a look at each of its segments, from the first on, for as
/// long as something is said about a path below.
#[derive(Debug)]
pub(in crate::core) struct Grants {
    global: Set<GlobalPermission>,
    /// What holds where nothing is assigned.
    default: Set<PathPermission>,
    paths: Node,
}

/// A path, and what holds there and below if it is something else than above.
#[derive(Debug, Default)]
struct Node {
    here: Option<Set<PathPermission>>,
    /// By the next segment. All of them are the operator's, so hashing them may be cheap, whatever is looked up.
    below: HashMap<Box<str>, Node, BuildHasherDefault<SegmentHasher>>,
}

/// Sets of roles for which there is always room among those that are kept.
const ROOM: usize = 64;

/// What the sets of roles grant that sessions have: found again for the next session with the same roles.
#[derive(Debug)]
pub(in crate::core) struct GrantsByRoles {
    permissions: Permissions,
    kept: HashMap<BTreeSet<String>, Arc<Grants>>,
    /// So many are kept before those are forgotten that no session has.
    forget_at: usize,
}

impl Grants {
    /// `assigned` is the union of what is assigned to the roles, by path; `isolated` the paths that inherit nothing.
    pub(super) fn new<'a>(
        global: Set<GlobalPermission>,
        default: Set<PathPermission>,
        assigned: &BTreeMap<&str, Set<PathPermission>>,
        isolated: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut paths = Node::default();
        for path in isolated {
            paths.set(path, Set::NONE);
        }
        // Last, since an assignment to an isolated path itself counts.
        for (path, permissions) in assigned {
            paths.set(path, *permissions);
        }
        paths.leave_out_what_is_inherited(default);
        Self { global, default, paths }
    }

    pub fn everywhere(&self, permission: GlobalPermission) -> bool {
        self.global.has(permission)
    }

    /// The nearest assignment decides (rules A-2): the last that is met on the way down.
    pub fn at(&self, path: NormalPath<'_>, permission: PathPermission) -> bool {
        let (mut node, mut found) = (&self.paths, self.default);
        for segment in path.as_str().split('/') {
            let Some(next) = node.below.get(segment) else { break };
            found = next.here.unwrap_or(found);
            node = next;
        }
        found.has(permission)
    }
}

impl Node {
    fn set(&mut self, path: &str, permissions: Set<PathPermission>) {
        let mut node = self;
        for segment in path.split('/') {
            node = node.below.entry(segment.into()).or_default();
        }
        node.here = Some(permissions);
    }

    /// So that many isolated paths cost nothing for roles that have no permission above them either.
    fn leave_out_what_is_inherited(&mut self, inherited: Set<PathPermission>) {
        self.here = self.here.filter(|here| *here != inherited);
        let inherited = self.here.unwrap_or(inherited);
        self.below.retain(|_, node| {
            node.leave_out_what_is_inherited(inherited);
            node.here.is_some() || !node.below.is_empty()
        });
        self.below.shrink_to_fit();
    }
}

/// Takes eight bytes at a time.
#[derive(Default)]
struct SegmentHasher(u64);

impl Hasher for SegmentHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        // The upper bits depend on all of them; a table looks at the lower ones as well.
        self.0 ^ (self.0 >> 32)
    }
}

impl GrantsByRoles {
    pub fn new(permissions: Permissions) -> Self {
        Self { permissions, kept: HashMap::new(), forget_at: ROOM }
    }

    /// What these roles grant together.
    pub fn of(&mut self, roles: &BTreeSet<String>) -> Arc<Grants> {
        if let Some(grants) = self.kept.get(roles) {
            return grants.clone();
        }
        if self.kept.len() >= self.forget_at {
            self.kept.retain(|_, grants| Arc::strong_count(grants) > 1);
            self.forget_at = (2 * self.kept.len()).max(ROOM);
        }
        let grants = Arc::new(self.permissions.grants(roles));
        self.kept.insert(roles.clone(), grants.clone());
        grants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_roles_are_kept_while_sessions_have_them() {
        let mut by_roles = GrantsByRoles::new(Permissions::stock());
        let roles = |number: usize| BTreeSet::from(["CLIENT".to_owned(), number.to_string()]);
        let first = by_roles.of(&roles(0));
        for number in 1..10_000 {
            by_roles.of(&roles(number));
        }
        assert!(by_roles.kept.len() <= ROOM, "{}", by_roles.kept.len());
        assert!(Arc::ptr_eq(&first, &by_roles.of(&roles(0))));
        let many: Vec<_> = (0..1000).map(|number| by_roles.of(&roles(number))).collect();
        assert!(many.iter().enumerate().all(|(number, grants)| Arc::ptr_eq(grants, &by_roles.of(&roles(number)))));
    }

    #[test]
    fn what_is_inherited_takes_no_room() {
        let isolated: Vec<_> = (0..1000).map(|number| format!("tenants/{number}/secret")).collect();
        let of = |default| Grants::new(Set::NONE, default, &BTreeMap::new(), isolated.iter().map(String::as_str));
        assert!(of(Set::NONE).paths.below.is_empty());
        let some = of(Set::from_iter([PathPermission::ReadTopic]));
        assert_eq!(some.paths.below["tenants"].below.len(), 1000);
    }
}
