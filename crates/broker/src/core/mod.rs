//! The rules of the server's end of every connection.
//!
//! What is known, each kind in a place of its own that nobody else can bring out of step:
//!
//! - `sessions`: the sessions, and the ways to find one; `per_session`: their keys, and tables by them.
//! - `parties`: whose the sessions are, since what everybody shares is shared out among parties; `cost`: what things cost.
//! - [`properties`]: session properties and which of them a handler wants; [`proposals`]: which a session may propose.
//! - `registry`: which session handles which path.
//! - `exchanges`: requests that were forwarded and not answered yet; `turns`: what is done a part at a time.
//! - `received`: what came from a client; `pings`: who is pinged when; `timers`: what is due when.
//! - [`config`]: how the broker behaves; [`timeouts`]: how long recipients may take to answer.
//! - [`access`]: who may connect, and what they are then; [`permissions`]: what their roles grant.
//! - [`identity`]: what clients say of themselves and are taken for; `logins`: who waits to be told; `leases`: until when
//!   that is true.
//!
//! What happens:
//!
//! - here: what comes from connections and the clock, and what goes out.
//! - `lifecycle`: opening a session, losing and regaining its connection, ending it; `ending`: why; `aftermath`: what is left
//!   to do then; `stopping`: ending all of them.
//! - `serve`: requests to the broker, by service: each ends in an answer or a `refusal`; `gate`: whether it is allowed.
//! - `routing`: requests to their recipients, answers back to the senders; `choice`: among several handlers; `fan_out`:
//!   requests to all that a filter matches, which `search` finds.
//! - `registrations`, `session_services`: the other services.
//! - [`filter`]: the session filter language; `path`: message paths.

pub mod access;
mod aftermath;
mod choice;
pub mod config;
mod cost;
mod ending;
mod exchanges;
mod fan_out;
pub mod filter;
mod gate;
pub mod identity;
mod leases;
mod lifecycle;
mod logins;
mod parties;
mod path;
mod per_session;
pub mod permissions;
mod pings;
pub mod properties;
pub mod proposals;
mod received;
mod refusal;
mod registrations;
mod registry;
pub mod roles;
mod routing;
mod search;
mod serve;
mod session_services;
mod sessions;
mod stopping;
pub mod timeouts;
mod timers;
mod turns;

use std::collections::VecDeque;
use std::time::Duration;

use antiphon_protocol::batch;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse, ResponseCode};

use bytes::Bytes;

use access::{Access, Principals};
use choice::Random;
pub use config::BrokerConfig;
use ending::Ending;
use exchanges::Exchanges;
use identity::{Identity, Login, Ticket};
use leases::Leases;
use logins::Logins;
use parties::Allowance;
use per_session::SessionKey;
pub(crate) use per_session::{ByConnection, give_back};
use permissions::{GrantsByRoles, Permissions};
use pings::Pings;
use proposals::Proposals;
use received::Occurrence;
use registry::Registry;
use serve::Asker;
use sessions::{Session, Sessions};
use stopping::Phase;
use turns::{HeldRequest, Turns};

/// Outputs for which there is always room. What a larger burst took is given back after it.
const ROOM: usize = 1024;

/// How long the session of a client that goes away is kept (rules S-16).
const GOING_AWAY: Duration = Duration::from_secs(1);

/// Names a connection; whoever runs the sockets chooses the numbers and never reuses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The circumstances of a new connection, besides the request itself.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// `$ClientIP`: the address without the port.
    pub client_ip: String,
    /// `$StartTime`: milliseconds since 1970.
    pub start_time: u64,
    /// From the system's generator; becomes the session token.
    pub random: [u8; 18],
}

/// An instruction of the broker to whoever runs its sockets. Returned by [`Broker::poll_output`].
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this as one binary WebSocket message.
    Send(ConnectionId, Bytes),
    /// The same, or in one WebSocket message with others of these that go out on this connection at the same time, in order
    /// ([`antiphon_protocol::batch`]).
    SendTogether(ConnectionId, Bytes),
    /// Send what was given to this connection before, then close it.
    Close(ConnectionId),
    /// Say who this is by [`Broker::handle_authenticated`], now or later, but at any rate.
    Authenticate(Ticket, Box<Login>),
    /// Read nothing more from this connection until [`Output::Resume`]: more of what its client asks for is waiting for its
    /// turn than may be. What was read already is taken.
    Pause(ConnectionId),
    /// Read again from this connection.
    Resume(ConnectionId),
    /// Call [`Broker::handle_timeout`] then; replaces any earlier wish.
    WakeAt(Moment),
}

/// All sessions of a broker and what goes on between them.
///
/// *After every `handle_*`, call [`poll_output`](Self::poll_output) until it returns `None`.*
#[derive(Debug)]
pub struct Broker {
    config: BrokerConfig,
    principals: Principals,
    grants: GrantsByRoles,
    sessions: Sessions,
    logins: Logins,
    leases: Leases,
    registry: Registry,
    exchanges: Exchanges,
    turns: Turns,
    pings: Pings,
    phase: Phase,
    /// Chooses among equal handlers.
    random: Random,
    outputs: VecDeque<Output>,
    wake_at: Option<Moment>,
    refusals: u64,
    late_answers: u64,
    slow_readers: u64,
    /// Nothing new is begun.
    is_memory_scarce: bool,
    /// What was done so far, in the units of `cost`.
    work: usize,
}

impl Broker {
    /// A broker without sessions.
    #[must_use]
    pub fn new(config: BrokerConfig, access: Access) -> Self {
        Self {
            logins: Logins::new(config.login_timeout),
            leases: Leases::default(),
            sessions: Sessions::new(
                config.server,
                config.token_key,
                config.max_recovery_bytes,
                Allowance { burst: config.burst_work, per_second: config.work_per_second },
            ),
            registry: Registry::new(config.max_registrations),
            exchanges: Exchanges::default(),
            turns: Turns::new(config.turn_pause, config.turn_recipients),
            pings: Pings::new(config.ping_period),
            phase: Phase::default(),
            random: Random::new(config.seed),
            config,
            principals: access.principals,
            grants: GrantsByRoles::new(access.permissions),
            outputs: VecDeque::new(),
            wake_at: None,
            refusals: 0,
            late_answers: 0,
            slow_readers: 0,
            is_memory_scarce: false,
            work: 0,
        }
    }

    /// The next thing to do; nothing if there is nothing until something happens.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        self.close_if_settled();
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.outputs.capacity() > ROOM {
            self.outputs = VecDeque::new();
        }
        let expiry = self.sessions.next_expiry().map(|(at, _)| at);
        let of_requests = [self.pings.next_due(), self.exchanges.next_due(), self.turns.next_due()];
        let of_sessions = [expiry, self.leases.next_due(), self.logins.next_due(), self.grace_ends()];
        let next = of_requests.into_iter().chain(of_sessions).flatten().min();
        if next == self.wake_at {
            return None;
        }
        self.wake_at = next;
        next.map(Output::WakeAt)
    }

    /// From now on another configuration holds, for what is asked for at each use of it; the rest stays as it was.
    pub fn reconfigure(&mut self, config: BrokerConfig) {
        let BrokerConfig { server, seed, token_key, .. } = self.config;
        self.config = BrokerConfig { server, seed, token_key, ..config };
    }

    /// From now on other permissions hold: for the next request of every session, also of those that are open.
    pub fn set_permissions(&mut self, permissions: Permissions) {
        self.grants = GrantsByRoles::new(permissions);
        self.sessions.grant_anew(&mut self.grants);
    }

    /// From now on principals are what `standing` says, also in sessions that are open: those of one that it does not know
    /// any more end. What credentials say that expire holds until then, and principals that are known here stay as they are.
    pub fn set_standing(&mut self, standing: impl Fn(&str) -> Option<Identity>) {
        if matches!(self.principals, Principals::Development) {
            return;
        }
        let mut lasting: Vec<_> = self.sessions.keys().filter(|key| !self.leases.has(*key)).collect();
        lasting.sort_unstable();
        for key in lasting {
            let identity = self.sessions.get(key).and_then(|session| standing(session.properties().principal()));
            let is_set = identity.is_some_and(|identity| {
                self.sessions
                    .change_principal(key, &identity, &Proposals::All, usize::MAX, &[], &mut self.grants)
                    .is_ok()
            });
            if !is_set {
                self.abort(key, Ending::Revoked);
            }
        }
    }

    /// Number of open sessions, with those that have no connection at the moment.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Number of requests that wait for an answer, with those that are still to be delivered.
    #[must_use]
    pub fn outstanding_requests(&self) -> usize {
        self.exchanges.awaited() + self.turns.undelivered()
    }

    /// Number of requests that the handlers registered at `path` have to answer, whatever paths below they went to.
    #[must_use]
    pub fn requests_at(&self, path: &str) -> usize {
        self.exchanges.at(path)
    }

    /// Number of requests and pings that the broker sent and that wait for an answer, even if nobody wants it any more.
    #[must_use]
    pub fn open_conversations(&self) -> usize {
        self.exchanges.len() + self.pings.unanswered()
    }

    /// How many requests the broker itself refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// How many answers came after the first, after the time allowed, or after the sender had gone.
    #[must_use]
    pub fn late_answers(&self) -> u64 {
        self.late_answers
    }

    /// How many sessions ended because their clients did not read what they were sent.
    #[must_use]
    pub fn slow_readers(&self) -> u64 {
        self.slow_readers
    }

    /// Whoever looks after the memory says whether there is little left. Then new sessions, requests and registrations are
    /// refused; what is under way goes on, and sessions are taken up again.
    pub fn set_memory_scarce(&mut self, is_scarce: bool) {
        self.is_memory_scarce = is_scarce;
    }

    /// A client opened a connection and asks for a session. The answer is a connection response, now or when it is known who
    /// the client is, and a refusal closes the connection; a broker that is stopping closes it without an answer, for the
    /// client to try again.
    ///
    /// Source: sections 2 and 3.
    pub fn handle_connect(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
    ) {
        if !self.is_serving() {
            return self.outputs.push_back(Output::Close(connection));
        }
        if let Err(code) = self.accept(now, connection, request, arrival) {
            self.refuse_client(connection, request, arrival, code);
        }
    }

    /// Tells a client that it gets no session.
    fn refuse_client(
        &mut self,
        connection: ConnectionId,
        request: &ConnectRequest,
        arrival: &Arrival,
        code: ResponseCode,
    ) {
        let principal = request.principal.as_deref().unwrap_or_default();
        tracing::info!(principal, client = arrival.client_ip, "refused: {}", code.text());
        self.send(connection, ConnectResponse::Refused { version: request.version, code }.to_frame());
        self.outputs.push_back(Output::Close(connection));
    }

    /// A binary WebSocket message arrived: a message of the session, or a batch of them.
    pub fn handle_frame(&mut self, now: Moment, connection: ConnectionId, frame: &[u8]) {
        let Some(key) = self.heard(now, connection) else { return self.give_up_early(connection) };
        let Some(attached) = self.sessions.get(key).and_then(Session::connection) else { return };
        let Some(party) = self.sessions.party_of(key) else { return };
        for message in batch::messages(frame, attached.negotiated.features) {
            let before = self.work;
            match message {
                Ok(message) => self.handle_message(now, key, message),
                Err(_) => self.abort(key, Ending::Violation),
            }
            self.sessions.charge(party, self.work - before);
            // One of them may have ended the session.
            if self.sessions.get(key).is_none() {
                return;
            }
        }
    }

    fn handle_message(&mut self, now: Moment, key: SessionKey, message: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.received.count_message();
        match Message::decode(message) {
            Ok(Message::ServiceRequest { service, conversation, body }) => {
                if session.received.remember(conversation, message) == Occurrence::First {
                    self.request(Asker { now, session: key, conversation }, service, body);
                }
            }
            Ok(Message::ServiceResponse { conversation, body }) => self.handle_answer(key, conversation, Ok(body)),
            Ok(Message::ServiceError { conversation, failure }) => self.handle_answer(key, conversation, Err(failure)),
            // A client says goodbye with a close request and gets an abort for an answer. One that sends what no
            // client sends gets the same (sections 4.1 and 11).
            Ok(Message::CloseRequest) => self.abort(key, Ending::ByClient),
            Ok(Message::Topic | Message::Abort) | Err(_) => self.abort(key, Ending::Violation),
        }
    }

    /// A session asks for something: now, or when it has its turn, because something that it asked for before is not done
    /// (rules M-19), or because its party has had its share (rules M-23).
    fn request(&mut self, asker: Asker, service: u32, body: &[u8]) {
        let Asker { now, session, conversation } = asker;
        if !self.turns.has_tasks(session) && self.sessions.may_go_on(now, session) {
            return self.handle_request(asker, service, body);
        }
        let Some(party) = self.sessions.party_of(session) else { return };
        if let Err(refusal) = self.check_waiting(body.len()) {
            return self.refuse(asker, &refusal);
        }
        let intake = self.turns.hold(party, session, HeldRequest { service, conversation, body: body.into() });
        self.regulate(session, intake);
    }

    /// Takes account of work that was done.
    fn spend(&mut self, work: usize) {
        self.work += work;
    }

    /// A WebSocket message arrived that no client may send: text, or larger than allowed. Ends the session.
    pub fn handle_violation(&mut self, now: Moment, connection: ConnectionId) {
        match self.heard(now, connection) {
            Some(key) => self.abort(key, Ending::Violation),
            None => self.give_up_early(connection),
        }
    }

    /// Something arrived that is no message but shows that the client lives, such as a WebSocket ping.
    pub fn handle_sign_of_life(&mut self, now: Moment, connection: ConnectionId) {
        self.heard(now, connection);
    }

    /// The connection is gone. Its session stays for as long as it was agreed, or ends with it.
    pub fn handle_disconnected(&mut self, now: Moment, connection: ConnectionId) {
        match self.sessions.with_connection(connection) {
            Some(key) => self.lose_connection(now, key, Duration::MAX),
            None => drop(self.logins.forget_connection(connection)),
        }
    }

    /// The client closes the connection because it is going away itself, as a browser does whose page is left. So may a
    /// proxy between: its session is kept for a moment, in which a client that lives comes back (rules S-16).
    pub fn handle_going_away(&mut self, now: Moment, connection: ConnectionId) {
        match self.sessions.with_connection(connection) {
            Some(key) => self.lose_connection(now, key, GOING_AWAY),
            None => drop(self.logins.forget_connection(connection)),
        }
    }

    /// A client that can say no more on its connection asks for the end of its session, as a close request does. It shows
    /// that the session is its own by the token.
    ///
    /// Source: section 11.
    pub fn handle_close(&mut self, token: &[u8]) {
        if let Some(key) = self.sessions.with_token(token) {
            self.abort(key, Ending::ByToken);
        }
    }

    /// The client does not read what it is sent, and more cannot be kept for it. Ends the session (rules L-3).
    pub fn handle_overflow(&mut self, connection: ConnectionId) {
        if let Some(key) = self.sessions.with_connection(connection) {
            self.abort(key, Ending::SlowReader);
        }
    }

    /// The time that [`Output::WakeAt`] asked for has come. Early and spurious calls do no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.wake_at = None;
        // What is left is due at once, when others were served.
        let before = self.work;
        while self.work - before < cost::TURN
            && let Some(exchange) = self.exchanges.pop_due(now)
        {
            self.time_out(&exchange);
        }
        while self.work - before < cost::TURN
            && let Some((key, is_silent)) = self.pings.pop_due(now)
        {
            self.ping(now, key, is_silent);
        }
        while self.work - before < cost::TURN
            && let Some((_, key)) = self.sessions.next_expiry().filter(|(at, _)| *at <= now)
        {
            self.end(key, Ending::Expired);
        }
        self.end_leases(now);
        self.end_logins(now);
        self.take_turn(now);
        self.end_grace(now);
    }

    /// The session of a connection from which something arrived just now.
    fn heard(&mut self, now: Moment, connection: ConnectionId) -> Option<SessionKey> {
        let key = self.sessions.with_connection(connection)?;
        self.pings.heard(now, key);
        Some(key)
    }

    /// Sends a message of a session, now or when it has a connection again.
    fn send_to(&mut self, key: SessionKey, frame: Vec<u8>) {
        let frame = Bytes::from(frame);
        self.spend(cost::message(frame.len()));
        if let Some(connection) = self.sessions.record_sent(key, &frame) {
            self.outputs.push_back(connection.output(frame));
        }
    }

    /// Sends what is no message of a session, and not counted.
    fn send(&mut self, connection: ConnectionId, frame: Vec<u8>) {
        self.outputs.push_back(Output::Send(connection, frame.into()));
    }
}

#[cfg(test)]
mod tests {
    use antiphon_protocol::features::Features;
    use antiphon_protocol::wire::handshake::Credentials;
    use antiphon_protocol::wire::layouts::{
        ChangePrincipal, DeregisterHandler, GetSessionProperties, RegisterHandler, SendToFilter, SendToPath,
        SendToSession, SerialisedValue, WireCredentials,
    };
    use antiphon_protocol::wire::services::{
        CloseClient, Deregistration, GetOwnProperties, GetProperties, MessagingFilterSender, MessagingReceiverServer,
        MessagingSend, Registration,
    };

    use antiphon_protocol::wire::envelope::request_frame;
    use antiphon_protocol::wire::error_reason::ErrorReason;
    use antiphon_protocol::wire::layouts::Reauthenticate;
    use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
    use antiphon_protocol::wire::services::{ChangeOwnPrincipal, ReAuthenticate, Service, UserPing};

    use super::*;
    use permissions::{PathPermission, Role};

    /// Everything that a client may ask for.
    fn requests(conversation: ConversationId, own: SessionId) -> Vec<Vec<u8>> {
        fn frame<S: Service>(conversation: ConversationId, request: &S::Request<'_>) -> Vec<u8> {
            request_frame::<S>(conversation, request, 0)
        }
        let (delivery_service, control_group, property_keys) = (88, "", vec![]);
        let (path, credentials) = ("here", WireCredentials::None(&[]));
        let request = SerialisedValue { type_name: "string", bytes: b"\xf6" };
        let registration = ConversationId(5);
        let register = RegisterHandler { delivery_service, control_group, path, property_keys: vec![], registration };
        let filter = SendToFilter { filter_conversation: registration, filter: "all", path, request: request.clone() };
        vec![
            frame::<UserPing>(conversation, &()),
            frame::<Registration>(conversation, &register),
            frame::<Registration>(conversation, &register),
            frame::<Deregistration>(
                conversation,
                &DeregisterHandler { delivery_service, control_group, path, property_keys },
            ),
            frame::<GetProperties>(conversation, &GetSessionProperties { session: own, keys: vec!["*F"] }),
            frame::<GetOwnProperties>(conversation, &()),
            frame::<ChangeOwnPrincipal>(
                conversation,
                &ChangePrincipal { principal: "", credentials: credentials.clone() },
            ),
            frame::<ReAuthenticate>(conversation, &Reauthenticate { principal: "", credentials, properties: vec![] }),
            frame::<CloseClient>(conversation, &SessionId { value: 99, ..own }),
            frame::<MessagingSend>(conversation, &SendToPath { path: "nobody", request: request.clone() }),
            frame::<MessagingReceiverServer>(conversation, &SendToSession { session: own, path: "a//b", request }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "no filter", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &SendToFilter { filter: "not all", ..filter.clone() }),
            frame::<MessagingFilterSender>(conversation, &filter),
            // Nobody offers this one.
            Message::ServiceRequest { service: 9999, conversation, body: &[] }.to_frame(),
        ]
    }

    const CONNECTION: ConnectionId = ConnectionId(1);
    const OWN: SessionId = SessionId { server: 0, value: 0 };

    /// A broker with one anonymous session.
    fn with_a_session(permissions: Permissions) -> Broker {
        let access = Access { permissions, ..Access::development() };
        let mut broker = Broker::new(BrokerConfig::default(), access);
        let connect = ConnectRequest {
            client_type: "WB".into(),
            version: 29,
            capabilities: 8,
            reconnect_timeout: 0,
            principal: None,
            credentials: Credentials::None,
            properties: None,
            recovery: None,
            features: Features::NONE,
        };
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 0, random: [7; 18] };
        broker.handle_connect(Moment(0), CONNECTION, &connect, &arrival);
        while broker.poll_output().is_some() {}
        broker
    }

    #[test]
    fn every_request_is_answered_but_one_with_conversation_0() {
        let mut broker = with_a_session(Permissions::stock());
        for conversation in [ConversationId(7), ConversationId::ONE_WAY] {
            for request in requests(conversation, OWN) {
                broker.handle_frame(Moment(1), CONNECTION, &request);
                let mut answers = 0;
                while let Some(output) = broker.poll_output() {
                    let Output::Send(_, frame) = output else { continue };
                    match Message::decode(&frame).expect("a message") {
                        // A request to a filter that matches reaches this session itself, which answers.
                        Message::ServiceRequest { service: 85, conversation, .. } => {
                            let body = b"\x06string\x01\xf6";
                            let answer = Message::ServiceResponse { conversation, body }.to_frame();
                            broker.handle_frame(Moment(1), CONNECTION, &answer);
                        }
                        Message::ServiceRequest { service, .. } => {
                            assert_eq!((service, conversation), (103, ConversationId(7)), "what nobody asked for");
                        }
                        _ => answers += 1,
                    }
                }
                assert_eq!(answers, usize::from(conversation != ConversationId::ONE_WAY), "{request:x?}");
            }
        }
        assert_eq!((broker.session_count(), broker.outstanding_requests(), broker.open_conversations()), (1, 0, 0));
    }

    /// The roles of the session, which may do nothing unless `client` says so.
    fn only(client: Role) -> Permissions {
        let roles = [("CLIENT", client), ("CLIENT_CONTROL", Role::default())];
        let roles = roles.map(|(name, role)| (name.to_owned(), role));
        Permissions::new(roles.into(), &[]).expect("they fit together")
    }

    #[test]
    fn every_request_passes_the_gate_before_anything_comes_of_it() {
        let mut broker = with_a_session(only(Role::default()));
        let mut reasons = Vec::new();
        for request in requests(ConversationId(7), OWN) {
            broker.handle_frame(Moment(1), CONNECTION, &request);
            while let Some(output) = broker.poll_output() {
                let Output::Send(CONNECTION, frame) = output else { panic!("{output:?}") };
                reasons.push(match Message::decode(&frame) {
                    Ok(Message::ServiceError { failure, .. }) => failure.reason.0,
                    Ok(Message::ServiceResponse { .. }) => 0,
                    other => panic!("{other:?}"),
                });
            }
        }
        // What is only about the session itself takes no permission; a path that is none, and a service that is none, are
        // refused for that.
        assert_eq!(reasons, [0, 103, 103, 0, 0, 0, 0, 0, 103, 103, 202, 103, 103, 103, 104]);
        assert_eq!(broker.refusals(), 9);
    }

    #[test]
    fn a_refusal_names_the_permission_and_the_path() {
        let send = vec![PathPermission::SendToMessageHandler, PathPermission::SendToSession];
        let mut broker = with_a_session(only(Role {
            default_path: send,
            paths: [("here".to_owned(), vec![])].into(),
            ..Role::default()
        }));
        for request in requests(ConversationId(7), OWN) {
            broker.handle_frame(Moment(1), CONNECTION, &request);
        }
        let denied = std::iter::from_fn(|| broker.poll_output()).filter_map(|output| match output {
            Output::Send(_, frame) => match Message::decode(&frame) {
                Ok(Message::ServiceError { failure, .. }) if failure.reason == ErrorReason::ACCESS_DENIED => {
                    Some(failure.description.strip_prefix("the session lacks the permission ")?.to_owned())
                }
                _ => None,
            },
            _ => None,
        });
        let (register, filter) = ("REGISTER_HANDLER for here", "SEND_TO_SESSION for here");
        assert_eq!(denied.collect::<Vec<_>>(), [register, register, "MODIFY_SESSION", filter, filter, filter]);
    }
}
