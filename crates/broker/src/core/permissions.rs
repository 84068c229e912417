//! What sessions may do, by their roles. Roles mean nothing yet: everybody may do everything.

use std::collections::BTreeSet;

use super::gate::{Action, Rule};

/// What sessions may do.
#[derive(Debug)]
pub struct Permissions {
    rule: Rule,
}

impl Permissions {
    /// What holds out of the box. For development only.
    #[must_use]
    pub fn development() -> Self {
        Self { rule: |_, _, _| true }
    }

    /// A rule of what sessions may do.
    #[cfg(test)]
    pub(super) fn with_rule(rule: Rule) -> Self {
        Self { rule }
    }

    /// Whether a session with these roles may do something, at a path in normal form if there is one.
    pub(super) fn permits(&self, roles: &BTreeSet<String>, action: Action, path: Option<&str>) -> bool {
        (self.rule)(roles, action, path)
    }
}
