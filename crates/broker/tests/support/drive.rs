//! Carries out what both cores want done, for tests that have a broker and its clients in one process.

use antiphon_broker::core::identity::{Login, Ticket};
use antiphon_broker::core::{self, Arrival, Broker, ConnectionId};
use antiphon_protocol::client::{self, ClientSession, Event, Output};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::ConnectRequest;

/// A broker, its clients and what is between them. Clients are numbered by their place.
pub trait Wires {
    fn now(&self) -> Moment;
    fn broker(&mut self) -> &mut Broker;
    fn core(&mut self, client: usize) -> &mut ClientSession;

    /// A client wants a connection, which it calls `id`.
    fn open(&mut self, client: usize, id: client::ConnectionId);
    fn send_to_broker(&mut self, client: usize, frame: Vec<u8>);
    /// [`ClientSession::flush`] is to be called some time.
    fn flush_soon(&mut self, client: usize);
    /// A client wants no connection any more.
    fn disconnect(&mut self, client: usize);
    fn retry(&mut self, client: usize, attempt: u32);
    fn wake_client(&mut self, client: usize, at: Moment);
    fn deliver(&mut self, client: usize, event: Event);

    fn send_to_client(&mut self, connection: ConnectionId, frame: Vec<u8>);
    /// The same, with others if there are any. Alone, unless somebody does better.
    fn send_together(&mut self, connection: ConnectionId, message: Vec<u8>) {
        self.send_to_client(connection, message);
    }
    /// The broker wants to be rid of a connection.
    fn close(&mut self, connection: ConnectionId);
    fn wake_broker(&mut self, at: Moment);
    /// The broker wants to know who somebody is. It knows that by itself, unless somebody says otherwise.
    fn ask_who(&mut self, _ticket: Ticket, login: Login) {
        panic!("{login:?}");
    }

    /// Carries out everything that a client wants; whether there was anything.
    fn drive_client(&mut self, client: usize) -> bool {
        let mut moved = false;
        while let Some(output) = self.core(client).poll_output() {
            moved = true;
            match output {
                Output::Connect(id) => self.open(client, id),
                Output::Send(frame) => self.send_to_broker(client, frame.to_vec()),
                Output::FlushSoon => self.flush_soon(client),
                Output::Disconnect => self.disconnect(client),
                Output::Retry(attempt) => self.retry(client, attempt),
                Output::WakeAt(at) => self.wake_client(client, at),
                Output::Deliver(event) => self.deliver(client, event),
            }
        }
        moved
    }

    /// Carries out everything that the broker wants; whether there was anything.
    fn drive_broker(&mut self) -> bool {
        let mut moved = false;
        while let Some(output) = self.broker().poll_output() {
            moved = true;
            match output {
                core::Output::Send(connection, frame) => self.send_to_client(connection, frame.to_vec()),
                core::Output::SendTogether(connection, message) => self.send_together(connection, message.to_vec()),
                core::Output::Close(connection) => self.close(connection),
                core::Output::Authenticate(ticket, login) => self.ask_who(ticket, *login),
                // Who reads less at a time would read the same.
                core::Output::Pause(_) | core::Output::Resume(_) | core::Output::Ping(_) => {}
                core::Output::WakeAt(at) => self.wake_broker(at),
            }
        }
        moved
    }

    /// A connection arrives at the broker, with this query and these bytes for the token of a session.
    fn arrive(&mut self, connection: ConnectionId, query: &str, random: [u8; 18]) {
        let request = ConnectRequest::from_query(query).expect("our own query");
        let arrival = Arrival { client_ip: "192.0.2.1".into(), start_time: 1_700_000_000_000, random };
        let now = self.now();
        self.broker().handle_connect(now, connection, &request, &arrival);
    }
}
