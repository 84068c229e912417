//! The life of a session: opening, losing and regaining its connection, ending (sections 2, 3, 10 and 11).

use std::time::Duration;

use antiphon_protocol::features::Features;
use antiphon_protocol::negotiated::Negotiated;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame};
use antiphon_protocol::wire::handshake::{
    ConnectRequest, ConnectResponse, NEWEST_VERSION, OLDEST_VERSION, Recovery, ResponseCode, SessionToken,
};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::SystemPing;

use super::ending::Ending;
use super::exchanges::Forgotten;
use super::identity::{Login, Verdict};
use super::per_session::SessionKey;
use super::properties::{self, TooLarge};
use super::sessions::{Connection, NewSession, Session};
use super::turns::Intake;
use super::{Arrival, Broker, ConnectionId, Output, cost};

impl Broker {
    /// Gives a client what it asks for: a session, or the one that it had. Returns the code to refuse it with if not.
    pub(super) fn accept(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
    ) -> Result<(), ResponseCode> {
        if !(OLDEST_VERSION..=NEWEST_VERSION).contains(&request.version) {
            return Err(ResponseCode::DOWNGRADE);
        }
        if let Some(recovery) = &request.recovery {
            let key = self.sessions.with_token(recovery.token.as_bytes()).ok_or(ResponseCode::UNKNOWN_SESSION)?;
            self.reconnect(now, key, connection, request, recovery);
            return Ok(());
        }
        let login = Login {
            principal: request.principal.clone().unwrap_or_default(),
            credentials: request.credentials.clone(),
            client_ip: arrival.client_ip.clone(),
        };
        match self.principals.verdict(&login) {
            Some(verdict) => self.open(now, connection, request, arrival, verdict),
            None => {
                self.ask_who_connects(now, connection, login, request, arrival);
                Ok(())
            }
        }
    }

    /// Opens a session for a client of whom it is known who it is.
    pub(super) fn open(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
        verdict: Verdict,
    ) -> Result<(), ResponseCode> {
        let identity = match verdict {
            Verdict::Accepted(identity) => identity,
            Verdict::Refused => return Err(ResponseCode::AUTHENTICATION_FAILED),
            Verdict::Busy => return Err(ResponseCode::SERVER_INITIALISING),
        };
        let id = self.sessions.next_id();
        let properties = properties::of_new_session(id, &self.config, request, arrival, &identity)
            .map_err(|_: TooLarge| ResponseCode::PROTOCOL_ERROR)?;
        // Last of all: it may end another session.
        if self.is_memory_scarce || !self.make_room() {
            return Err(ResponseCode::LICENCE_EXCEEDED);
        }
        let token = SessionToken::from_random(arrival.random);
        let (keep_for, recovery) = (self.keep_for(request), self.config.recovery);
        let connection = self.negotiate(connection, request);
        let new = NewSession { token, connection, keep_for, recovery, properties, proof: identity.proof };
        let key = self.sessions.open(new, &mut self.grants);
        let (session, principal) = (self.sessions.id_of(key), identity.principal);
        tracing::info!(%session, principal, client = arrival.client_ip, "session opened");
        self.send_accepted(ResponseCode::OK, key);
        self.pings.start(now, key);
        self.probes.start(key);
        self.hear(now, key);
        self.leases.start(now, key, identity.expiry);
        Ok(())
    }

    /// What holds on a connection: the version that the client asks for, and what is configured.
    fn negotiate(&self, id: ConnectionId, request: &ConnectRequest) -> Connection {
        let negotiated = Negotiated {
            version: request.version,
            max_message_size: Some(self.config.max_message_size),
            ping_period: Some(self.config.ping_period).filter(|period| !period.is_zero()),
            features: request.features & self.config.features,
        };
        Connection { id, negotiated, has_offered: request.features != Features::NONE }
    }

    /// Tells a client about its session, first of all on a connection.
    fn send_accepted(&mut self, code: ResponseCode, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        let Some(Connection { id, negotiated, has_offered }) = session.connection() else { return };
        let tail = match code {
            ResponseCode::RECONNECTED => i32::try_from(session.received.count() + 1).unwrap_or(i32::MAX),
            _ => negotiated.max_message_size_on_wire(),
        };
        let response = ConnectResponse::Accepted {
            version: negotiated.version,
            code,
            session: session.id(),
            token: session.token().clone(),
            ping_period: negotiated.ping_period_on_wire(),
            tail,
            features: has_offered.then_some(negotiated.features),
        };
        self.send(id, response.to_frame());
    }

    /// How long a session is to outlive its connection: what the client asks for, and no more than is allowed.
    fn keep_for(&self, request: &ConnectRequest) -> Duration {
        Duration::from_millis(request.reconnect_timeout).min(self.config.reconnect_timeout)
    }

    /// Makes room for another session, if there are as many as there may be: of the party that has most sessions without a
    /// connection, the one that would end first ends now (rules S-21). Returns whether there is room.
    fn make_room(&mut self) -> bool {
        if self.sessions.len() < self.config.max_sessions {
            return true;
        }
        let Some(key) = self.sessions.expendable() else { return false };
        self.end(key, Ending::MakesRoom);
        true
    }

    /// The connection of a session is gone, and nobody said goodbye. The session is kept for as long as it was agreed, but
    /// not longer than `at_most`.
    pub(super) fn lose_connection(&mut self, now: Moment, key: SessionKey, at_most: Duration) {
        let Some(session) = self.sessions.get(key) else { return };
        // A broker that stops takes no session up again.
        if !session.is_kept() {
            return self.end(key, Ending::ConnectionLost);
        }
        if !self.is_serving() {
            return self.end(key, Ending::Stopping);
        }
        self.sessions.detach(now, key, at_most);
        // Pinged again when it is back.
        self.pings.stop(key);
        self.probes.stop(key);
    }

    /// A client takes its session up again on another connection. The old one may look open still: it loses.
    ///
    /// If both sides can send again what the other did not get, nothing is lost (105). If not, the session lives on with
    /// an empty past (106): registrations are gone, and so is everything that was under way.
    fn reconnect(
        &mut self,
        now: Moment,
        key: SessionKey,
        connection: ConnectionId,
        request: &ConnectRequest,
        recovery: &Recovery,
    ) {
        self.withdraw_from_queue(key);
        let Some(session) = self.sessions.get(key) else { return };
        let (missed, last_asked) = (session.missed_by(recovery), session.last_asked());
        let attached = self.negotiate(connection, request);
        if let Some(old) = self.sessions.attach(key, attached, self.keep_for(request)) {
            self.outputs.push_back(Output::Close(old));
        }
        self.pings.start(now, key);
        self.probes.start(key);
        self.hear(now, key);
        if self.exchanges.owes_since(key).is_some() {
            self.await_answer(now, key);
        }
        self.has_more_room(key);
        // What has changed meanwhile was not kept for it.
        self.watches.look_again(key);
        match missed {
            Some(missed) => {
                if let Some(session) = self.sessions.get_mut(key) {
                    session.received.expect_repetitions();
                }
                self.send_accepted(ResponseCode::RECONNECTED, key);
                for message in missed {
                    let message = self.with_time_left(now, key, message);
                    self.outputs.push_back(attached.output(message));
                }
                if self.turns.is_paused(key) {
                    self.regulate(key, Some(Intake::Pause));
                }
            }
            None => {
                self.forget_past(key, connection, last_asked);
                self.send_accepted(ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, key);
            }
        }
    }

    /// The counters start anew, and every conversation is discarded (106): those after `last_asked` before the client knew.
    fn forget_past(&mut self, key: SessionKey, connection: ConnectionId, last_asked: ConversationId) {
        self.pings.forget_unanswered(key);
        for path in self.registry.deregister_all(key) {
            self.queues.mark_ready(&path);
            self.spend(cost::REGISTRATION);
        }
        self.queues.forget(key);
        self.forget_watches(key);
        self.turns.forget(key);
        self.logins.forget_session(key);
        let unanswered = self.exchanges.forget_recipient(key);
        if let Some(party) = self.sessions.party_of(key) {
            self.fail(party, key, unanswered, last_asked, "the session that was to answer lost what it was sent");
            // Its client has told its application that there will be no answers.
            let asked = self.exchanges.forget_sender(key);
            self.let_go(party, key, asked, false);
        }
        self.sessions.forget_past(key);
        // Its own requests to itself have just been answered; for the client they are past as well.
        self.outputs
            .retain(|output| !matches!(output, Output::Send(to, _) | Output::SendTogether(to, _) if *to == connection));
    }

    /// Pings a session; or gives its connection up, if nothing at all came from it since an `unanswered` ping was sent. One that
    /// is merely too busy to answer says something else.
    pub(super) fn ping(&mut self, now: Moment, key: SessionKey, unanswered: Option<Moment>) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if unanswered.is_none_or(|sent_at| session.pulse().heard >= sent_at) {
            let conversation = session.next_conversation();
            self.pings.sent(now, key, conversation);
            return self.send_to(key, request_frame::<SystemPing>(conversation, &(), 0));
        }
        self.find_silent(now, key);
    }

    /// Tells the client that its session is over, and closes the connection.
    pub(super) fn abort(&mut self, key: SessionKey, why: Ending) {
        if let Some(connection) = self.sessions.get(key).and_then(|session| session.connection()) {
            self.send(connection.id, Message::Abort.to_frame());
            self.outputs.push_back(Output::Close(connection.id));
        }
        self.end(key, why);
    }

    /// Ends a session: its registrations vanish, and every request it had not answered fails at once (rules S-11).
    pub(super) fn end(&mut self, key: SessionKey, why: Ending) {
        let Some(last_asked) = self.sessions.get(key).map(Session::last_asked) else { return };
        let Some(party) = self.sessions.party_of(key) else { return };
        let Forgotten { unanswered, asked } = self.forget(key, why);
        self.fail(party, key, unanswered, last_asked, "the session that was to answer is closed");
        self.let_go(party, key, asked, false);
    }

    /// Forgets all about a session. Returns its exchanges.
    pub(super) fn forget(&mut self, key: SessionKey, why: Ending) -> Forgotten {
        let Some(party) = self.sessions.party_of(key) else { return Forgotten::default() };
        self.sessions.remove(key);
        self.slow_readers += u64::from(why == Ending::SlowReader);
        tracing::info!(session = %self.sessions.id_of(key), "session closed: {}", why.text());
        self.pings.stop(key);
        self.probes.forget(key);
        self.leases.stop(key);
        self.logins.forget_session(key);
        self.turns.forget(key);
        self.queues.forget(key);
        self.forget_watches(key);
        if let Some(paths) = self.registry.retire(key) {
            self.take_out_some(party, key, paths);
        }
        self.exchanges.forget_session(key)
    }
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::envelope::request_frame;
    use antiphon_protocol::wire::handshake::ConnectResponse;
    use antiphon_protocol::wire::layouts::{RegisterHandler, SendToPath, SendToSession, SerialisedValue};
    use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
    use antiphon_protocol::wire::services::{MessagingReceiverServer, MessagingSend, Registration, Service, UserPing};
    use bytes::Bytes;

    use super::*;
    use crate::core::BrokerConfig;
    use crate::core::access::Access;

    const NOW: Moment = Moment(1);
    /// How long the sessions want to be kept, in milliseconds.
    const KEPT: u64 = 60_000;

    /// Opens a session, or takes one up again with its token, the oldest message that it can send again and the last that
    /// it has received. Returns what the broker answers, and the token.
    fn connect(
        broker: &mut Broker,
        connection: u64,
        reconnect_timeout: u64,
        recovery: Option<(&str, u64, u64)>,
    ) -> (ResponseCode, String) {
        let recovery = recovery.map(|(token, oldest_sent, last_received)| Recovery {
            token: token.to_owned(),
            oldest_sent,
            last_received,
        });
        let request = ConnectRequest { reconnect_timeout, recovery, ..ConnectRequest::anonymous() };
        let random = [u8::try_from(connection).expect("few"); 18];
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 0, random };
        broker.handle_connect(NOW, ConnectionId(connection), &request, &arrival);
        let frames = sent_to(broker, connection);
        match ConnectResponse::decode(&frames[0]).expect("a connection response") {
            ConnectResponse::Accepted { code, token, .. } => (code, token.as_text().to_owned()),
            ConnectResponse::Refused { code, .. } => panic!("{code:?}"),
        }
    }

    fn sent_to(broker: &mut Broker, connection: u64) -> Vec<Bytes> {
        let outputs = std::iter::from_fn(|| broker.poll_output());
        let frame = |output| match output {
            Output::Send(ConnectionId(to), frame) if to == connection => Some(frame),
            _ => None,
        };
        outputs.filter_map(frame).collect()
    }

    fn ask<S: Service>(broker: &mut Broker, connection: u64, request: &S::Request<'_>) -> Vec<Bytes> {
        let frame = request_frame::<S>(ConversationId(1), request, 0);
        broker.handle_frame(NOW, ConnectionId(connection), &frame);
        sent_to(broker, connection)
    }

    fn value(bytes: &[u8]) -> SerialisedValue<'_> {
        SerialisedValue { type_name: "binary", bytes }
    }

    #[test]
    fn a_client_that_was_not_told_of_its_loss_is_told_again() {
        let mut broker = Broker::new(BrokerConfig::default(), Access::development());
        let (_, token) = connect(&mut broker, 1, KEPT, None);
        connect(&mut broker, 2, KEPT, None);
        for _ in 0..2 {
            ask::<UserPing>(&mut broker, 1, &());
        }
        // It speaks of a message that was never sent to it; and the answer does not arrive.
        assert_eq!(connect(&mut broker, 3, KEPT, Some((&token, 1, 9))).0, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS);
        let session = SessionId { server: 0, value: 0 };
        for _ in 0..3 {
            ask::<MessagingReceiverServer>(&mut broker, 2, &SendToSession { session, path: "a", request: value(&[]) });
        }
        // As if its two messages, and the answers to them, were the first two of the new numbering.
        assert_eq!(connect(&mut broker, 4, KEPT, Some((&token, 1, 2))).0, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS);
        ask::<UserPing>(&mut broker, 4, &());
        assert_eq!(connect(&mut broker, 5, KEPT, Some((&token, 1, 0))).0, ResponseCode::RECONNECTED);
    }

    #[test]
    fn a_session_that_was_not_to_be_kept_has_lost_what_was_under_way() {
        let mut broker = Broker::new(BrokerConfig::default(), Access::development());
        let (_, token) = connect(&mut broker, 1, 0, None);
        ask::<UserPing>(&mut broker, 1, &());
        assert_eq!(connect(&mut broker, 2, KEPT, Some((&token, 1, 0))).0, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS);
    }

    #[test]
    fn requests_that_were_lost_do_not_count_as_requests_to_answer() {
        let config = BrokerConfig { max_bytes_to_answer: 1000, ..BrokerConfig::default() };
        let mut broker = Broker::new(config, Access::development());
        let (_, token) = connect(&mut broker, 1, KEPT, None);
        connect(&mut broker, 2, KEPT, None);
        for (connection, next) in [(1, 3), (3, 4)] {
            let (path, property_keys, registration) = ("a", Vec::new(), ConversationId(7));
            let handler =
                RegisterHandler { delivery_service: 88, control_group: "", path, property_keys, registration };
            ask::<Registration>(&mut broker, connection, &handler);
            let request = SendToPath { path, request: value(&[0; 2000]) };
            assert_eq!(ask::<MessagingSend>(&mut broker, 2, &request), Vec::<Bytes>::new(), "it is under way");
            let (code, _) = connect(&mut broker, next, KEPT, Some((&token, 1, 99)));
            assert_eq!(code, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS);
        }
    }
}
