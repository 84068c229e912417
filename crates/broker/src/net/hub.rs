//! The task that owns the core. Connections send it events; it carries out the core's outputs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::handshake::ConnectRequest;
use axum::body::Bytes;
use tokio::sync::mpsc;

use super::outbox::{Outbox, Outgoing};
use crate::core::{Arrival, Broker, ConnectionId, Output};

/// Events that may wait for the core; a connection that has more to say waits, and so does its client.
const QUEUED_EVENTS: usize = 1024;

/// An event for the hub's task.
enum Event {
    Connection(ConnectionId, ConnectionEvent),
    /// A client presents its token from outside of its connection, to end its session.
    Close(Bytes),
    /// The broker is to stop; requests under way have this long to be answered.
    Stop(Duration),
}

/// An event on a connection.
pub(super) enum ConnectionEvent {
    Opened {
        request: Box<ConnectRequest>,
        arrival: Box<Arrival>,
        outbox: Outbox,
    },
    Frame(Bytes),
    /// Something that no client may send.
    Violation,
    SignOfLife,
    /// The client closes it, and says that it is going away itself; `Gone` follows.
    GoingAway,
    Gone,
}

/// Reports to the hub, for one connection.
#[derive(Clone)]
pub(super) struct Reporter {
    connection: ConnectionId,
    events: mpsc::Sender<Event>,
}

impl Reporter {
    /// Waits while the hub is behind. Nothing happens once the hub has stopped.
    pub async fn report(&self, event: ConnectionEvent) {
        // It stops only when the broker does.
        let _ = self.events.send(Event::Connection(self.connection, event)).await;
    }
}

/// A handle to a running hub.
pub(super) struct Hub {
    events: mpsc::Sender<Event>,
    connections: AtomicU64,
}

impl Hub {
    /// Runs `broker` in a task of its own until the returned hub and all its reporters are gone.
    pub fn start(broker: Broker) -> (Self, tokio::task::JoinHandle<()>) {
        let (events, received) = mpsc::channel(QUEUED_EVENTS);
        let task = tokio::spawn(HubTask::new(broker).run(received));
        (Self { events, connections: AtomicU64::new(0) }, task)
    }

    /// The reporter of a new connection.
    pub fn reporter(&self) -> Reporter {
        let connection = ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed));
        Reporter { connection, events: self.events.clone() }
    }

    /// Ends the session that has this token, if there is one.
    pub async fn close(&self, token: Bytes) {
        let _ = self.events.send(Event::Close(token)).await;
    }

    /// Closes all connections once the requests under way are answered, or `grace` is over.
    pub async fn stop(&self, grace: Duration) {
        let _ = self.events.send(Event::Stop(grace)).await;
    }
}

/// The hub's task, the only owner of the broker's core.
struct HubTask {
    broker: Broker,
    outboxes: HashMap<ConnectionId, Outbox>,
    start: Instant,
    wake_at: Option<Moment>,
}

impl HubTask {
    fn new(broker: Broker) -> Self {
        Self { broker, outboxes: HashMap::new(), start: Instant::now(), wake_at: None }
    }

    async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        loop {
            let wake_at = self.wake_at;
            let start = self.start;
            let timer = async move {
                match wake_at {
                    Some(at) => tokio::time::sleep_until((start + Duration::from_micros(at.0)).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = events.recv() => match event {
                    Some(Event::Connection(connection, event)) => self.handle(connection, event),
                    Some(Event::Close(token)) => self.broker.handle_close(&token),
                    Some(Event::Stop(grace)) => self.stop(grace),
                    None => return,
                },
                () = timer => {
                    self.wake_at = None;
                    self.broker.handle_timeout(self.now());
                }
            }
            self.carry_out();
        }
    }

    fn now(&self) -> Moment {
        Moment::default() + self.start.elapsed()
    }

    fn stop(&mut self, grace: Duration) {
        let (sessions, requests) = (self.broker.session_count(), self.broker.outstanding_requests());
        tracing::info!(sessions, requests, "stopping; requests under way have {grace:?} to be answered");
        self.broker.stop(self.now(), grace);
    }

    fn handle(&mut self, connection: ConnectionId, event: ConnectionEvent) {
        let now = self.now();
        match event {
            ConnectionEvent::Opened { request, arrival, outbox } => {
                self.outboxes.insert(connection, outbox);
                self.broker.handle_connect(now, connection, &request, &arrival);
            }
            ConnectionEvent::Frame(frame) => self.broker.handle_frame(now, connection, &frame),
            ConnectionEvent::Violation => self.broker.handle_violation(now, connection),
            ConnectionEvent::SignOfLife => self.broker.handle_sign_of_life(now, connection),
            ConnectionEvent::GoingAway => self.broker.handle_going_away(now, connection),
            ConnectionEvent::Gone => {
                self.outboxes.remove(&connection);
                self.broker.handle_disconnected(now, connection);
            }
        }
    }

    fn send(&mut self, now: Instant, connection: ConnectionId, message: Outgoing) {
        let Some(outbox) = self.outboxes.get_mut(&connection) else { return };
        if outbox.push(now, message).is_err() {
            tracing::warn!(connection = connection.0, "closed: the client does not read what it is sent");
            self.outboxes.remove(&connection);
            self.broker.handle_overflow(connection);
        }
    }

    fn carry_out(&mut self) {
        let now = Instant::now();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send(connection, message) => self.send(now, connection, Outgoing::Alone(message)),
                Output::SendTogether(connection, message) => self.send(now, connection, Outgoing::Together(message)),
                // The outbox closes the connection when it is gone and empty.
                Output::Close(connection) => drop(self.outboxes.remove(&connection)),
                Output::WakeAt(at) => self.wake_at = Some(at),
            }
        }
    }
}
