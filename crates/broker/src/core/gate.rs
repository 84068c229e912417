//! The gate that every request passes before anything comes of it: whether the session may do what it asks for.
//! Permissions belong here.

use std::collections::BTreeSet;

use antiphon_protocol::wire::error_reason::ErrorReason;

use super::Broker;
use super::path::NormalPath;
use super::per_session::SessionKey;
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
    /// To see properties of another session.
    ViewSession,
    ViewOwnProperties,
    /// To close a session.
    CloseSession,
    ChangeOwnPrincipal,
}

impl Action {
    /// The permissions that it takes (rules 6).
    pub fn permissions(self) -> &'static str {
        match self {
            Self::SendToPath => "SEND_TO_MESSAGE_HANDLER",
            Self::SendToSession | Self::SendToFilter => "SEND_TO_SESSION",
            Self::RegisterHandler => "REGISTER_HANDLER",
            Self::RegisterHandlerWithProperties => "REGISTER_HANDLER and VIEW_SESSION",
            Self::ViewSession => "VIEW_SESSION",
            Self::CloseSession => "MODIFY_SESSION",
            Self::DeregisterHandler | Self::ViewOwnProperties | Self::ChangeOwnPrincipal => "none",
        }
    }
}

/// Whether a session with these roles may do something, at a path if there is one.
pub(super) type Rule = fn(roles: &BTreeSet<String>, action: Action, path: Option<&str>) -> bool;

impl Broker {
    /// Lets a session through that wants to do something at a path.
    pub(super) fn admit<'p>(
        &self,
        session: SessionKey,
        action: Action,
        path: &'p str,
    ) -> Result<NormalPath<'p>, Refusal> {
        let path = NormalPath::new(path).map_err(|error| Refusal::new(ErrorReason::INVALID_PATH, error.to_string()))?;
        self.check(session, action, Some(path))?;
        Ok(path)
    }

    /// The same for what is at no path.
    pub(super) fn admit_without_path(&self, session: SessionKey, action: Action) -> Result<(), Refusal> {
        self.check(session, action, None)
    }

    fn check(&self, session: SessionKey, action: Action, path: Option<NormalPath<'_>>) -> Result<(), Refusal> {
        let roles = self.sessions.get(session).map(|session| session.properties().roles());
        if roles.is_some_and(|roles| self.permissions.permits(roles, action, path.map(NormalPath::as_str))) {
            return Ok(());
        }
        let text = format!("the session may not do this; it takes the permission {}", action.permissions());
        Err(Refusal::new(ErrorReason::ACCESS_DENIED, text))
    }
}
