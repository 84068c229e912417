//! What a session can learn of sessions and do to them: properties, principals, closing.

use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ResponseCode;
use antiphon_protocol::wire::layouts::{GetSessionProperties, WireCredentials};
use antiphon_protocol::wire::primitives::SessionId;
use antiphon_protocol::wire::services::{CloseClient, GetOwnProperties, GetProperties, ReAuthenticate};

use super::Broker;
use super::ending::Ending;
use super::gate::Action;
use super::identity::{Login, Verdict};
use super::logins::Applicant;
use super::properties::{self, Selection, TooLarge};
use super::refusal::Refusal;
use super::serve::{Answer, Asker};

impl Broker {
    /// Gives a session another principal and its roles; answers whether the credentials are right.
    ///
    /// Source: section 9.3.
    pub(super) fn change_principal(
        &mut self,
        asker: Asker,
        principal: &str,
        credentials: WireCredentials<'_>,
        proposed: &[(&str, &str)],
    ) -> Result<Answer, Refusal> {
        self.admit_without_path(asker.session, Action::ChangeOwnPrincipal)?;
        if self.logins.has_session(asker.session) {
            let text = "this session changes its principal already";
            return Err(Refusal::new(ErrorReason::CLUSTER_ROUTING, text));
        }
        let properties = self.sessions.get(asker.session).map(|session| session.properties());
        let client_ip = properties.and_then(|properties| properties.get("$ClientIP")).unwrap_or_default().to_owned();
        let login = Login { principal: principal.to_owned(), credentials: credentials.into(), client_ip };
        if let Some(verdict) = self.principals.verdict(&login) {
            return self.become_another(asker, verdict, proposed);
        }
        // Not more than would be looked at.
        properties::check_size(proposed)?;
        let proposed = proposed.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.ask_who(asker.now, login, Applicant::Session(asker, proposed));
        Ok(Answer::Later)
    }

    /// Gives a session another identity, if its credentials are right.
    pub(super) fn become_another(
        &mut self,
        asker: Asker,
        verdict: Verdict,
        proposed: &[(&str, &str)],
    ) -> Result<Answer, Refusal> {
        let session = self.sessions.id_of(asker.session);
        match verdict {
            Verdict::Accepted(identity) => {
                let trusted = &self.config.proposed_properties;
                let most = self.config.max_properties;
                self.sessions.change_principal(asker.session, &identity, trusted, most, proposed, &mut self.grants)?;
                self.leases.start(asker.now, asker.session, identity.expiry);
                self.watches.look_again(asker.session);
                tracing::info!(%session, principal = identity.principal, "the session has another principal");
                Ok(asker.answer::<ReAuthenticate>(&true))
            }
            Verdict::Refused => {
                tracing::info!(%session, "refused: {}", ResponseCode::AUTHENTICATION_FAILED.text());
                Ok(asker.answer::<ReAuthenticate>(&false))
            }
            Verdict::Busy => {
                let text = "the broker checks as many credentials as it can; try again";
                Err(Refusal::new(ErrorReason::CLUSTER_ROUTING, text))
            }
        }
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
