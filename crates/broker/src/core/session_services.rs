//! What a session can learn of sessions and do to them: properties, principals, closing.

use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ResponseCode;
use antiphon_protocol::wire::layouts::{GetSessionProperties, WireCredentials};
use antiphon_protocol::wire::primitives::SessionId;
use antiphon_protocol::wire::services::{CloseClient, GetOwnProperties, GetProperties, Service};

use super::Broker;
use super::ending::Ending;
use super::gate::Action;
use super::properties::{Selection, TooLarge};
use super::refusal::Refusal;
use super::serve::{Answer, Asker};

impl Broker {
    /// Gives a session another principal and its roles; answers whether the credentials are right.
    ///
    /// Source: section 9.3.
    pub(super) fn change_principal<S>(
        &mut self,
        asker: Asker,
        principal: &str,
        credentials: WireCredentials<'_>,
        proposed: &[(&str, &str)],
    ) -> Result<Answer, Refusal>
    where
        S: for<'a> Service<Response<'a> = bool>,
    {
        self.admit_without_path(asker.session, Action::ChangeOwnPrincipal)?;
        let roles = self.principals.authenticate(principal, &credentials.into());
        match &roles {
            Some(roles) => {
                self.sessions.change_principal(asker.session, principal, roles, proposed, &mut self.grants)?;
            }
            None => {
                let session = self.sessions.id_of(asker.session);
                tracing::info!(%session, principal, "refused: {}", ResponseCode::AUTHENTICATION_FAILED.text());
            }
        }
        Ok(asker.answer::<S>(&roles.is_some()))
    }

    /// Properties of any session of this broker.
    ///
    /// Source: section 9.1.
    pub(super) fn tell_properties(&self, asker: Asker, request: &GetSessionProperties<'_>) -> Result<Answer, Refusal> {
        let asked = self.sessions.with_id(request.session);
        let is_own = asked == Some(asker.session);
        self.admit_without_path(asker.session, if is_own { Action::ViewOwnProperties } else { Action::ViewSession })?;
        let selection = Selection::of_keys(&request.keys)?;
        let session = asked.and_then(|key| self.sessions.get(key));
        Ok(asker.answer::<GetProperties>(&session.map(|session| session.properties().selected(&selection))))
    }

    /// All properties of the session that asks.
    ///
    /// Source: section 9.1.
    pub(super) fn tell_own_properties(&self, asker: Asker) -> Result<Answer, Refusal> {
        self.admit_without_path(asker.session, Action::ViewOwnProperties)?;
        let own = self.sessions.get(asker.session).map(|session| session.properties().selected(&Selection::all()));
        Ok(asker.answer::<GetOwnProperties>(&own))
    }

    /// Ends another session, or this one.
    ///
    /// Source: section 9.4.
    pub(super) fn close_client(&mut self, asker: Asker, session: SessionId) -> Result<Answer, Refusal> {
        self.admit_without_path(asker.session, Action::CloseSession)?;
        let other = self.sessions.with_id(session).ok_or_else(|| no_such_session(session))?;
        // Before the end, which may be its own.
        self.send_answer(asker, asker.answer::<CloseClient>(&()));
        self.abort(other, if other == asker.session { Ending::ByClient } else { Ending::BySession });
        Ok(Answer::Sent)
    }
}

/// No session of this broker has this ID, or no longer.
pub(super) fn no_such_session(session: SessionId) -> Refusal {
    Refusal::new(ErrorReason::NO_SUCH_SESSION, format!("there is no session {session}"))
}

impl From<TooLarge> for Refusal {
    fn from(error: TooLarge) -> Self {
        Self::new(ErrorReason::CLUSTER_ROUTING, error.to_string())
    }
}
