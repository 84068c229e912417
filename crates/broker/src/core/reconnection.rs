//! Sessions that outlive their connections (section 10).

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::{ConnectRequest, Recovery, ResponseCode};
use antiphon_protocol::wire::primitives::ConversationId;
use subtle::ConstantTimeEq;

use super::sessions::{Link, Resent, SessionKey};
use super::{Broker, ConnectionId, Output};

/// Requests after a reconnection that are looked at for repetitions; as many as the official JavaScript client keeps.
const MAX_RESENT: usize = 256;

impl Broker {
    /// How long a session is to outlive its connection: what the client asks for, and no more than is allowed.
    pub(super) fn keep_for(&self, request: &ConnectRequest) -> Duration {
        Duration::from_millis(request.reconnect_timeout).min(self.config.reconnect_timeout)
    }

    pub(super) fn hash_of(&self, token: &[u8]) -> u64 {
        self.token_hasher.hash_one(token)
    }

    /// The open session that has this token.
    pub(super) fn session_with(&self, token: &str) -> Option<SessionKey> {
        let key = *self.by_token.get(&self.hash_of(token.as_bytes()))?;
        let session = self.sessions.get(&key)?;
        bool::from(session.token.as_bytes().as_slice().ct_eq(token.as_bytes())).then_some(key)
    }

    /// The connection of a session is gone, and nobody said goodbye.
    pub(super) fn lose_connection(&mut self, now: Moment, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        if session.keep_for.is_zero() {
            return self.remove_session(key);
        }
        let until = now + session.keep_for;
        let lost = Link::Lost { until, sent: session.sent.sent() };
        let before = std::mem::replace(&mut session.link, lost);
        // Pinged again when it is back.
        if let Some((ping, _)) = session.ping.take() {
            session.conversations.close(ping);
        }
        if let Some(at) = session.next_ping.take() {
            self.pings.remove(at, key);
        }
        self.forget_link(key, before);
        self.expiries.insert(until, key);
    }

    /// Forgets what is kept for the way in which a session was reached.
    pub(super) fn forget_link(&mut self, key: SessionKey, link: Link) {
        match link {
            Link::Connected(connection) => drop(self.by_connection.remove(&connection)),
            Link::Lost { until, .. } => self.expiries.remove(until, key),
        }
    }

    /// A client takes its session up again on another connection. The old one may look open still: it loses.
    ///
    /// If both sides can send again what the other did not get, nothing is lost (105). If not, the session lives on with
    /// an empty past (106): registrations are gone, and so is everything that was under way.
    pub(super) fn reconnect(
        &mut self,
        now: Moment,
        key: SessionKey,
        connection: ConnectionId,
        request: &ConnectRequest,
        recovery: &Recovery,
    ) {
        let keep_for = self.keep_for(request);
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let before = std::mem::replace(&mut session.link, Link::Connected(connection));
        session.last_heard = now;
        // Else what was sent to it was not even counted.
        let was_to_be_kept = !session.keep_for.is_zero();
        session.keep_for = keep_for;
        if let Link::Connected(old) = before {
            self.outputs.push_back(Output::Close(old));
        }
        self.forget_link(key, before);
        self.by_connection.insert(connection, key);
        self.start_pings(now, key);

        let Some(session) = self.sessions.get_mut(&key) else { return };
        // A client that does not know that its past was forgotten speaks of messages that had the same numbers.
        let knows_its_past = !matches!(session.resent, Resent::Forgotten);
        let is_bridged = was_to_be_kept && knows_its_past && recovery.oldest_sent <= session.received + 1;
        let missed = session.sent.since(recovery.last_received.saturating_add(1)).filter(|_| is_bridged);
        match missed.map(|frames| frames.cloned().collect::<Vec<_>>()) {
            Some(missed) => {
                session.resent = Resent::Requests(HashMap::new());
                self.send_accepted(connection, request.version, ResponseCode::RECONNECTED, key);
                self.outputs.extend(missed.into_iter().map(|frame| Output::Send(connection, frame)));
            }
            None => {
                self.forget_past(key, connection);
                self.send_accepted(connection, request.version, ResponseCode::RECONNECTED_WITH_MESSAGE_LOSS, key);
            }
        }
    }

    /// The counters start anew, and every conversation is discarded (106).
    fn forget_past(&mut self, key: SessionKey, connection: ConnectionId) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let unanswered = session.conversations.close_all();
        let paths = std::mem::take(&mut session.handler_paths);
        (session.handler_bytes, session.ping) = (0, None);
        (session.to_answer, session.bytes_to_answer) = (0, 0);
        for path in paths.keys() {
            self.registry.deregister(path, key);
        }
        self.fail_unanswered(key, unanswered, "the session that was to answer lost what it was sent");
        if let Some(session) = self.sessions.get_mut(&key) {
            self.recovery_bytes -= session.sent.bytes();
            session.sent.reset();
            session.received = 0;
            session.resent = Resent::Forgotten;
        }
        // Its own requests to itself have just been answered; for the client they are past as well.
        self.outputs.retain(|output| !matches!(output, Output::Send(to, _) if *to == connection));
    }

    /// Makes room for another session, if there are as many as there may be: the one without a connection that would end
    /// first ends now. Returns whether there is room.
    pub(super) fn make_room(&mut self) -> bool {
        if self.sessions.len() < self.config.max_sessions {
            return true;
        }
        let Some(key) = self.expiries.pop_due(Moment(u64::MAX)) else { return false };
        self.remove_session(key);
        true
    }

    /// Counts a message of a client. Tells whether it repeats a request of since the reconnection: the official JavaScript
    /// client sends some of what it should send again several times, in place of the others (section 14.2).
    pub(super) fn is_repetition(&mut self, key: SessionKey, frame: &[u8]) -> bool {
        let Some(session) = self.sessions.get_mut(&key) else { return false };
        session.received += 1;
        match &mut session.resent {
            Resent::Nothing => false,
            Resent::Forgotten => {
                session.resent = Resent::Nothing;
                false
            }
            Resent::Requests(seen) => match Message::decode(frame) {
                Ok(Message::ServiceRequest { conversation, .. }) if conversation != ConversationId::ONE_WAY => {
                    let hash = self.token_hasher.hash_one(frame);
                    let is_repetition = seen.insert(conversation, hash) == Some(hash);
                    if seen.len() > MAX_RESENT {
                        session.resent = Resent::Nothing;
                    }
                    is_repetition
                }
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::wire::envelope::request_frame;
    use antiphon_protocol::wire::handshake::{ConnectResponse, Credentials};
    use antiphon_protocol::wire::layouts::{RegisterHandler, SendToPath, SendToSession, SerialisedValue};
    use antiphon_protocol::wire::primitives::SessionId;
    use antiphon_protocol::wire::services::{MessagingReceiverServer, MessagingSend, Registration, Service, UserPing};
    use bytes::Bytes;

    use super::*;
    use crate::core::access::Access;
    use crate::core::{Arrival, BrokerConfig};

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
        let request = ConnectRequest {
            client_type: "WB".into(),
            version: 29,
            capabilities: 8,
            reconnect_timeout,
            principal: None,
            credentials: Credentials::None,
            properties: None,
            recovery,
        };
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
