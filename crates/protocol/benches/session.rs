//! What a request costs in the client's core: one sent and answered, one received and answered, with few and with many
//! others open; and what it costs to lose thousands that wait for a connection. The fastest turn of each counts.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use antiphon_protocol::client::{
    CallId, ClientConfig, ClientSession, ConnectionId, Event, HandlerId, HandlerSettings, Output, Patience,
};
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::decode_all;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::handshake::{ConnectResponse, ResponseCode, SessionToken};
use antiphon_protocol::wire::layouts::{ForwardedRequest, RegisterHandler, SerialisedValue};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{MessagingReceiverClient, MessagingSend, Registration};

const TURNS: usize = 25;
const REQUESTS: u32 = 2_000;
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "json", bytes: &[0x78; 64] };
const PEER: SessionId = SessionId { server: 1, value: 2 };
const CONNECTION: ConnectionId = ConnectionId(1);
const LONG: Duration = Duration::from_secs(30);

/// A session in which conversations and calls have the same numbers.
struct Client {
    session: ClientSession,
    now: Moment,
    call: u64,
    received: i64,
    registration: ConversationId,
}

impl Client {
    /// Connected, with a request handler.
    fn new() -> Self {
        let config = ClientConfig { reconnect_timeout: LONG, ..ClientConfig::default() };
        let session = ClientSession::new(config);
        let mut client = Self { session, now: Moment(0), call: 1, received: 0, registration: ConversationId(0) };
        client.session.connect(client.now);
        client.be_accepted();
        client.session.register_handler(client.now, CallId(1), HandlerId(1), "path", HandlerSettings::default());
        while let Some(output) = client.session.poll_output() {
            let Output::Send(frame) = output else { continue };
            let Ok(Message::ServiceRequest { conversation, body, .. }) = Message::decode(&frame) else { continue };
            client.registration = decode_all::<RegisterHandler<'_>>(body).expect("a registration").registration;
            client.session.handle_frame(client.now, CONNECTION, &response_frame::<Registration>(conversation, &()));
        }
        client
    }

    fn be_accepted(&mut self) {
        let token = SessionToken::from_random([7; 18]);
        let (version, code, tail) = (25, ResponseCode::OK, 1 << 25);
        let accepted =
            ConnectResponse::Accepted { version, code, session: PEER, token, ping_period: 0, tail, features: None };
        self.session.handle_open(CONNECTION);
        self.session.handle_frame(self.now, CONNECTION, &accepted.to_frame());
        self.drain();
    }

    fn drain(&mut self) -> usize {
        std::iter::from_fn(|| self.session.poll_output()).count()
    }

    /// Sends a request; gives its conversation.
    fn send(&mut self, wait: bool) -> ConversationId {
        self.call += 1;
        let patience = Patience { timeout: LONG, wait };
        self.session.send_to_path(self.now, CallId(self.call), "path/below", VALUE, patience);
        let mut sent = ConversationId(0);
        while let Some(output) = self.session.poll_output() {
            if let Output::Send(frame) = output
                && let Ok(Message::ServiceRequest { conversation, .. }) = Message::decode(&frame)
            {
                sent = conversation;
            }
        }
        sent
    }

    fn sent_and_answered(&mut self) {
        self.now = self.now + Duration::from_micros(10);
        let conversation = self.send(false);
        self.session.handle_frame(self.now, CONNECTION, &response_frame::<MessagingSend>(conversation, &VALUE));
        assert!(self.drain() > 0, "an answer");
    }

    fn received_and_answered(&mut self) {
        self.received += 1;
        let (registration, sender, path) = (self.registration, PEER, "path/below");
        let body = ForwardedRequest { registration, sender, path, properties: vec![], request: VALUE };
        let frame = request_frame::<MessagingReceiverClient>(ConversationId(self.received), &body, 128);
        self.session.handle_frame(self.now, CONNECTION, &frame);
        let mut answered = false;
        while let Some(output) = self.session.poll_output() {
            if let Output::Deliver(Event::RequestReceived(request)) = output {
                self.session.respond(request.id, Ok(VALUE));
                answered = true;
            }
        }
        assert!(answered, "a request");
    }
}

/// The fastest turn's time of one of its steps.
fn fastest(mut turn: impl FnMut()) -> Duration {
    let times = (0..TURNS).map(|_| {
        let start = Instant::now();
        (0..REQUESTS).for_each(|_| turn());
        start.elapsed() / REQUESTS
    });
    times.min().expect("turns")
}

/// Waiting for a connection when the session ends.
fn lost_while_waiting(count: usize) -> Duration {
    let mut client = Client::new();
    client.session.handle_disconnected(client.now, CONNECTION, "cut");
    client.drain();
    (0..count).for_each(|_| _ = client.send(true));
    let start = Instant::now();
    client.session.close(client.now);
    client.drain();
    start.elapsed()
}

fn main() {
    let mut few = Client::new();
    println!("sent and answered                    {:>10.2?}", fastest(|| few.sent_and_answered()));
    println!("received and answered                {:>10.2?}", fastest(|| few.received_and_answered()));
    let mut many = Client::new();
    (0..4_096).for_each(|_| _ = many.send(false));
    println!("sent and answered, 4,096 others open {:>10.2?}", fastest(|| many.sent_and_answered()));
    println!("10,000 that wait, at the end         {:>10.2?}", lost_while_waiting(10_000));
}
