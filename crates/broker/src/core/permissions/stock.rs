//! The stock roles, which exist unless a configuration has others of these names (rules 6.3).

use std::collections::BTreeMap;

use super::Role;
use super::names::{GlobalPermission, PathPermission};

/// All of them, by name.
pub(super) fn roles() -> BTreeMap<String, Role> {
    use GlobalPermission::{
        Authenticate, ControlServer, ModifySecurity, ModifySession, ModifyTopicViews, ReadTopicViews, RegisterHandler,
        ViewSecurity, ViewServer, ViewSession,
    };
    use PathPermission::{
        AcquireLock, EditTimeSeriesEvents, ExposeBranch, ModifyTopic, ReadTopic, SelectTopic, SendToMessageHandler,
        SendToSession, UpdateTopic,
    };
    let administrator = role(
        &["CLIENT_CONTROL", "TOPIC_CONTROL"],
        &[ControlServer, ViewServer, ViewSecurity, ModifySecurity, ReadTopicViews, ModifyTopicViews],
        &[],
    );
    let roles = [
        ("CLIENT", role(&[], &[], &[SelectTopic, ReadTopic, SendToMessageHandler]).under_diffusion(&[])),
        ("CLIENT_CONTROL", role(&["CLIENT"], &[ViewSession, ModifySession, RegisterHandler], &[SendToSession])),
        (
            "TOPIC_CONTROL",
            role(&["CLIENT"], &[], &[UpdateTopic, ModifyTopic, EditTimeSeriesEvents, AcquireLock, ExposeBranch]),
        ),
        ("AUTHENTICATION_HANDLER", role(&[], &[Authenticate, RegisterHandler], &[])),
        ("OPERATOR", role(&["CLIENT"], &[ViewServer, ViewSession], &[]).under_diffusion(&[SelectTopic, ReadTopic])),
        ("JMX_ADMINISTRATOR", administrator.clone()),
        ("ADMINISTRATOR", administrator),
    ];
    roles.into_iter().map(|(name, role)| (name.to_owned(), role)).collect()
}

fn role(includes: &[&str], global: &[GlobalPermission], default_path: &[PathPermission]) -> Role {
    Role {
        includes: includes.iter().map(|role| (*role).to_owned()).collect(),
        global: global.to_vec(),
        default_path: default_path.to_vec(),
        paths: BTreeMap::new(),
    }
}

impl Role {
    /// The path of a server's own topics.
    fn under_diffusion(mut self, permissions: &[PathPermission]) -> Self {
        self.paths.insert("Diffusion".to_owned(), permissions.to_vec());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::permissions::Permission;

    fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
        names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }

    fn permissions<P: Permission>(permissions: &[P]) -> String {
        names(permissions.iter().map(|permission| permission.name()))
    }

    /// Rules A-3.
    #[test]
    fn the_page_of_permissions_shows_the_stock_roles() {
        let page = include_str!("../../../../../docs/permissions.md");
        let (_, section) = page.split_once("\n## Stock roles\n").expect("a section");
        let shown: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
        let row = |(name, role): (String, Role)| {
            let below = role.paths.get("Diffusion").map_or(String::new(), |granted| match &**granted {
                [] => "nothing".to_owned(),
                granted => permissions(granted),
            });
            assert_eq!(role.paths.len(), usize::from(!below.is_empty()), "{name} has other paths");
            let includes = names(role.includes.iter().map(String::as_str));
            let cells =
                [format!("`{name}`"), includes, permissions(&role.global), permissions(&role.default_path), below];
            let row = cells.iter().map(|cell| if cell.is_empty() { " |".to_owned() } else { format!(" {cell} |") });
            format!("|{}", row.collect::<String>())
        };
        assert_eq!(shown, roles().into_iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn every_permission_is_known_by_its_name() {
        for permission in GlobalPermission::ALL {
            assert_eq!(Permission::named(permission.name()), Some(*permission));
        }
        for permission in PathPermission::ALL {
            assert_eq!(Permission::named(permission.name()), Some(*permission));
        }
        assert_eq!((PathPermission::named("VIEW_SESSION"), GlobalPermission::named("view_session")), (None, None));
    }
}
