//! The gate that every request passes before anything comes of it: whether the session may do what it asks for.

use antiphon_protocol::wire::error_reason::ErrorReason;

use super::Broker;
use super::path::NormalPath;
use super::per_session::SessionKey;
use super::permissions::{GlobalPermission, Grants, PathPermission, Permission};
use super::refusal::Refusal;

/// An action that may need a permission: one name for each operation that takes a permission, or could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// To ask whichever session handles a path.
    SendToPath,
    /// To ask one session.
    SendToSession,
    /// To ask every session that a filter matches.
    SendToFilter,
    RegisterHandler,
    /// To register a handler that is told properties of the senders.
    RegisterHandlerWithProperties,
    DeregisterHandler,
    /// To learn which handlers there are for a path.
    FindHandlers,
    /// To learn how many sessions a filter matches.
    CountSessions,
    /// To see properties of another session.
    ViewSession,
    ViewOwnProperties,
    /// To close a session.
    CloseSession,
    ChangeOwnPrincipal,
}

/// What an action takes.
#[derive(Clone, Copy, Debug)]
enum Needed {
    Everywhere(GlobalPermission),
    /// On the path that it is about.
    AtPath(PathPermission),
}

impl Action {
    /// All that it takes (rules 6.1).
    fn takes(self) -> &'static [Needed] {
        use Needed::{AtPath, Everywhere};
        const REGISTER: Needed = Everywhere(GlobalPermission::RegisterHandler);
        const VIEW: Needed = Everywhere(GlobalPermission::ViewSession);
        match self {
            Self::SendToPath | Self::FindHandlers => &[AtPath(PathPermission::SendToMessageHandler)],
            Self::SendToSession | Self::SendToFilter => &[AtPath(PathPermission::SendToSession)],
            Self::RegisterHandler => &[REGISTER],
            Self::RegisterHandlerWithProperties => &[REGISTER, VIEW],
            Self::ViewSession | Self::CountSessions => &[VIEW],
            Self::CloseSession => &[Everywhere(GlobalPermission::ModifySession)],
            Self::DeregisterHandler | Self::ViewOwnProperties | Self::ChangeOwnPrincipal => &[],
        }
    }
}

impl Needed {
    fn is_granted(self, grants: &Grants, path: Option<NormalPath<'_>>) -> bool {
        match self {
            Self::Everywhere(permission) => grants.everywhere(permission),
            Self::AtPath(permission) => path.is_some_and(|path| grants.at(path, permission)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Everywhere(permission) => permission.name(),
            Self::AtPath(permission) => permission.name(),
        }
    }
}

impl Broker {
    /// Lets a session through that wants to do something at a path.
    pub(super) fn admit<'p>(
        &self,
        session: SessionKey,
        action: Action,
        path: &'p str,
    ) -> Result<NormalPath<'p>, Refusal> {
        let normal =
            NormalPath::new(path).map_err(|error| Refusal::new(ErrorReason::INVALID_PATH, error.to_string()))?;
        self.check(session, action, Some((normal, path)))?;
        Ok(normal)
    }

    /// The same for what is at no path.
    pub(super) fn admit_without_path(&self, session: SessionKey, action: Action) -> Result<(), Refusal> {
        self.check(session, action, None)
    }

    /// Whether a session may do something at a path.
    pub(super) fn may(&self, session: SessionKey, action: Action, path: NormalPath<'_>) -> bool {
        let session = self.sessions.get(session);
        session
            .is_some_and(|session| action.takes().iter().all(|needed| needed.is_granted(session.grants(), Some(path))))
    }

    /// `path` is where it is to be done, and how the session wrote that.
    fn check(&self, session: SessionKey, action: Action, path: Option<(NormalPath<'_>, &str)>) -> Result<(), Refusal> {
        let grants = self.sessions.get(session).map(|session| session.grants());
        let at = path.map(|(normal, _)| normal);
        let is_granted = |needed: &Needed| grants.is_some_and(|grants| needed.is_granted(grants, at));
        if action.takes().iter().all(is_granted) {
            return Ok(());
        }
        let missing: Vec<_> = action.takes().iter().filter(|needed| !is_granted(needed)).map(|it| it.name()).collect();
        let mut text = format!("the session lacks the permission {}", missing.join(" and "));
        if let Some((_, path)) = path {
            text.push_str(" for ");
            text.push_str(path);
        }
        Err(Refusal::new(ErrorReason::ACCESS_DENIED, text))
    }
}
