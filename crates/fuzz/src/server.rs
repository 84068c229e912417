//! What only the broker reads, and both cores as a whole, message after message.

use std::time::Duration;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::filter::Filter;
use antiphon_broker::core::{Arrival, Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::batch::messages;
use antiphon_protocol::client::{CallId, ClientConfig, ClientSession, HandlerId, HandlerSettings};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::headers::Headers;

pub(crate) fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(fault) = Filter::parse(text) {
        assert!(!fault.message.is_empty() && fault.line > 0);
    }
}

/// What comes one after the other: each part says in a byte how long it is, and in its highest bit for whom.
fn parts(mut bytes: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    std::iter::from_fn(move || {
        let (first, rest) = bytes.split_first()?;
        let (part, rest) = rest.split_at(rest.len().min(usize::from(first & 0x7F)));
        bytes = rest;
        Some((first & 0x80 != 0, part))
    })
}

/// The messages of a server, for a client with a call and a handler; the first is its connection response.
pub(crate) fn client(bytes: &[u8]) {
    let config =
        ClientConfig { reconnect_timeout: Duration::from_secs(60), features: Features::ALL, ..Default::default() };
    let mut session = ClientSession::new(config);
    let mut now = Moment(0);
    session.connect(now);
    for (is_opened, part) in parts(bytes) {
        let Some(connection) = session.connection() else {
            now = now + Duration::from_secs(1);
            session.handle_timeout(now);
            if session.connection().is_none() && session.poll_output().is_none() {
                return;
            }
            continue;
        };
        if session.is_opening() && is_opened {
            session.handle_open(connection);
        }
        session.handle_frame(now, connection, part);
        session.register_handler(now, CallId(1), HandlerId(1), "a", HandlerSettings::default());
        session.ping(now, CallId(2));
        session.flush();
        while session.poll_output().is_some() {}
    }
}

/// The messages of two clients, the first of which registers a handler; an empty one is a second that passes.
pub(crate) fn broker(bytes: &[u8]) {
    let mut broker = Broker::new(BrokerConfig::default(), Access::development());
    let mut now = Moment(0);
    for id in [0, 1] {
        let request = ConnectRequest {
            version: 25,
            reconnect_timeout: 60_000,
            properties: Some(vec![("name".into(), id.to_string())]),
            features: Features::ALL,
            ..ConnectRequest::anonymous()
        };
        let arrival = Arrival { client_ip: "127.0.0.1".into(), start_time: 0, random: [id; 18] };
        broker.handle_connect(now, ConnectionId(id.into()), &request, &arrival);
    }
    // The connection responses.
    while broker.poll_output().is_some() {}
    for (is_second, part) in parts(bytes) {
        if part.is_empty() {
            now = now + Duration::from_secs(1);
            broker.handle_timeout(now);
        } else {
            broker.handle_frame(now, ConnectionId(is_second.into()), part);
        }
        while let Some(output) = broker.poll_output() {
            if let Output::Send(_, message) | Output::SendTogether(_, message) = output {
                for message in messages(&message, Features::ALL) {
                    let (_, message) = Headers::split(message.expect("a message"), Features::ALL).expect("headers");
                    Message::decode(message).expect("what others get is well-formed");
                }
            }
        }
    }
}
