//! Registering request handlers, and taking them back.

use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{Header, Headers};
use antiphon_protocol::wire::layouts::{DeregisterHandler, RegisterHandler};
use antiphon_protocol::wire::services::{Deregistration, MessagingReceiverClient, Registration, Service};

use super::Broker;
use super::choice::Capacity;
use super::gate::Action;
use super::refusal::Refusal;
use super::registry::NotRegistered;
use super::serve::{Answer, Asker};

impl Broker {
    /// Source: sections 8.1 and 18.9; rules M-5.
    pub(super) fn register(
        &mut self,
        asker: Asker,
        headers: &Headers<'_>,
        request: &RegisterHandler<'_>,
    ) -> Result<Answer, Refusal> {
        let keys = &request.property_keys;
        if request.delivery_service != MessagingReceiverClient::ID {
            let text = format!("this broker delivers to service 88, not to {}", request.delivery_service);
            return Err(Refusal::new(ErrorReason::UNSUPPORTED, text));
        }
        let action = if keys.is_empty() { Action::RegisterHandler } else { Action::RegisterHandlerWithProperties };
        let path = self.admit(asker.session, action, request.path)?;
        self.check_memory()?;
        if let Some(party) = self.sessions.party_of(asker.session) {
            let [at_a_time, waiting] = [Header::MaxConcurrent, Header::MaxQueued].map(|header| headers.number(header));
            let capacity = Capacity { at_a_time, waiting };
            self.registry.register(party, asker.session, path, keys, request.registration, capacity)?;
            // What waits above may be for it.
            for at in path.beginnings() {
                self.queues.mark_ready(at);
            }
        }
        Ok(asker.answer::<Registration>(&()))
    }

    /// Taking back what is not there is no error: the client wants it gone, and it is (rules M-6).
    pub(super) fn deregister(&mut self, asker: Asker, request: &DeregisterHandler<'_>) -> Result<Answer, Refusal> {
        let path = self.admit(asker.session, Action::DeregisterHandler, request.path)?;
        self.registry.deregister(asker.session, path);
        self.queues.mark_ready(path.as_str());
        Ok(asker.answer::<Deregistration>(&()))
    }
}

impl From<NotRegistered> for Refusal {
    fn from(error: NotRegistered) -> Self {
        let reason = match error {
            NotRegistered::Conflict(_) => ErrorReason::HANDLER_CONFLICT,
            NotRegistered::TooMany(_)
            | NotRegistered::TooManyBytes
            | NotRegistered::TooManyBytesOfParty
            | NotRegistered::TooManyKeys(_) => ErrorReason::CLUSTER_ROUTING,
        };
        Self::new(reason, error.to_string())
    }
}
