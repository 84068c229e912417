//! Who waits to be told who it is: a client that has opened a connection, or a session that wants another principal.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::{ConnectRequest, Credentials};

use super::identity::{Login, Ticket, Verdict};
use super::per_session::{ByConnection, SessionKey, give_back};
use super::serve::Asker;
use super::{Arrival, Broker, ConnectionId, Output};

/// Somebody who waits.
#[derive(Debug)]
pub(super) enum Applicant {
    /// Asks for a session; the credentials are taken out.
    Connection(ConnectionId, Box<(ConnectRequest, Arrival)>),
    /// Asks for another principal, and proposes properties.
    Session(Asker, Vec<(String, String)>),
}

/// All who wait. A connection or session waits for one answer at a time.
#[derive(Debug)]
pub(super) struct Logins {
    /// How long each waits at most.
    patience: Duration,
    asked: u64,
    /// In the order in which they asked, so that the first is due first.
    waiting: BTreeMap<Ticket, (Moment, Applicant)>,
    by_connection: ByConnection<Ticket>,
    by_session: HashMap<SessionKey, Ticket>,
}

impl Logins {
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            asked: 0,
            waiting: BTreeMap::new(),
            by_connection: ByConnection::default(),
            by_session: HashMap::new(),
        }
    }

    /// Somebody begins to wait.
    fn add(&mut self, now: Moment, applicant: Applicant) -> Ticket {
        let ticket = Ticket(self.asked);
        self.asked += 1;
        match &applicant {
            Applicant::Connection(connection, _) => drop(self.by_connection.insert(*connection, ticket)),
            Applicant::Session(asker, _) => drop(self.by_session.insert(asker.session, ticket)),
        }
        self.waiting.insert(ticket, (now + self.patience, applicant));
        ticket
    }

    /// Whoever waits for this answer waits no longer. Nothing if it has gone.
    fn take(&mut self, ticket: Ticket) -> Option<Applicant> {
        let (_, applicant) = self.waiting.remove(&ticket)?;
        match &applicant {
            Applicant::Connection(connection, _) => drop(self.by_connection.remove(connection)),
            Applicant::Session(asker, _) => drop(self.by_session.remove(&asker.session)),
        }
        give_back(&mut self.by_connection);
        give_back(&mut self.by_session);
        Some(applicant)
    }

    /// Whether a session waits already.
    pub fn has_session(&self, session: SessionKey) -> bool {
        self.by_session.contains_key(&session)
    }

    /// A connection waits no longer. Returns whether it did.
    pub fn forget_connection(&mut self, connection: ConnectionId) -> bool {
        let ticket = self.by_connection.get(&connection).copied();
        ticket.and_then(|ticket| self.take(ticket)).is_some()
    }

    /// One of the connections waits no longer.
    pub fn forget_any_connection(&mut self) -> Option<ConnectionId> {
        let connection = *self.by_connection.keys().next()?;
        self.forget_connection(connection);
        Some(connection)
    }

    /// A session waits no longer.
    pub fn forget_session(&mut self, session: SessionKey) {
        if let Some(ticket) = self.by_session.get(&session) {
            self.take(*ticket);
        }
    }

    /// When somebody has waited for too long.
    pub fn next_due(&self) -> Option<Moment> {
        self.waiting.first_key_value().map(|(_, (until, _))| *until)
    }
}

impl Broker {
    /// Asks who somebody is.
    pub(super) fn ask_who(&mut self, now: Moment, login: Login, applicant: Applicant) {
        let ticket = self.logins.add(now, applicant);
        self.outputs.push_back(Output::Authenticate(ticket, Box::new(login)));
    }

    /// The same for a client that has opened a connection.
    pub(super) fn ask_who_connects(
        &mut self,
        now: Moment,
        connection: ConnectionId,
        login: Login,
        request: &ConnectRequest,
        arrival: &Arrival,
    ) {
        let request = ConnectRequest { credentials: Credentials::None, ..request.clone() };
        self.ask_who(now, login, Applicant::Connection(connection, Box::new((request, arrival.clone()))));
    }

    /// Answers what [`Output::Authenticate`] asked.
    pub fn handle_authenticated(&mut self, now: Moment, ticket: Ticket, verdict: Verdict) {
        self.now = now;
        match self.logins.take(ticket) {
            Some(Applicant::Connection(connection, asked)) => {
                let (request, arrival) = *asked;
                if let Err(code) = self.open(now, connection, &request, &arrival, verdict) {
                    self.refuse_client(connection, &request, &arrival, code);
                }
            }
            Some(Applicant::Session(asker, proposed)) => {
                let asker = Asker { now, ..asker };
                let proposed: Vec<_> = proposed.iter().map(|(key, value)| (&**key, &**value)).collect();
                match self.become_another(asker, verdict, &proposed) {
                    Ok(answer) => self.send_answer(asker, answer),
                    Err(refusal) => self.refuse(asker, &refusal),
                }
            }
            None => {}
        }
    }

    /// Those who have waited for too long are told so; the answer, if it ever comes, is dropped.
    pub(super) fn end_logins(&mut self, now: Moment) {
        while self.logins.next_due().is_some_and(|until| until <= now) {
            let Some((ticket, _)) = self.logins.waiting.first_key_value() else { return };
            self.handle_authenticated(now, *ticket, Verdict::Busy);
        }
    }

    /// A client says something before it is told that it has a session: no client does.
    pub(super) fn give_up_early(&mut self, connection: ConnectionId) {
        if self.logins.forget_connection(connection) {
            self.outputs.push_back(Output::Close(connection));
        }
    }
}
