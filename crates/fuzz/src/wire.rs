//! What `antiphon-protocol` reads.

use std::time::Duration;

use antiphon_protocol::batch::{Batcher, messages};
use antiphon_protocol::features::Features;
use antiphon_protocol::inspect::{Direction, Inspector};
use antiphon_protocol::path::{normalise, with_parents};
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::handshake::{ConnectRequest, ConnectResponse};
use antiphon_protocol::wire::headers::{Header, Headers, set_time_left, surplus};
use antiphon_protocol::wire::layouts::{ChangedProperties, FilterOutcome, FoundHandlers, Properties, SerialisedValue};
use antiphon_protocol::wire::services::{OWN_SERVICES, SERVICES, ServiceRequest};
use antiphon_protocol::wire::{Decode, Encode, decode_all, encoded};

/// The first byte of a batch.
const BATCH: u8 = 62;

/// What is read is written as something that is read as the same.
fn again<'a, T: Encode + Decode<'a>>(bytes: &'a [u8], check: impl FnOnce(&[u8])) {
    if let Ok(value) = decode_all::<T>(bytes) {
        check(&encoded(&value));
    }
}

macro_rules! same {
    ($type:ty, $bytes:expr) => {
        again::<$type>($bytes, |written| {
            let read: $type = decode_all(written).expect("what was written is read");
            assert_eq!(encoded(&read), written);
        })
    };
}

/// Of an address, and of a first message.
pub(crate) fn connect_query(bytes: &[u8]) {
    let read = ConnectRequest::from_message(bytes);
    if let Err(error) = &read {
        assert!(ConnectResponse::decode(&error.response().to_frame()).is_ok());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => assert!(read == ConnectRequest::from_query(text), "an address and a message are read alike"),
        Err(_) => assert!(read.is_err()),
    }
    if let Ok(request) = read {
        same_request(&request, ConnectRequest::from_query(&request.to_query()).ok());
    }
}

/// Lines of `name=value`.
pub(crate) fn connect_headers(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let headers: Vec<_> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let find = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    if let Ok(request) = ConnectRequest::from_headers(find) {
        let written = request.to_headers();
        let find = |name| written.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        same_request(&request, ConnectRequest::from_headers(find).ok());
    }
}

/// Credentials go with a principal, if it is the empty one.
fn same_request(request: &ConnectRequest, read: Option<ConnectRequest>) {
    let mut read = read.expect("what was written is read");
    if request.principal.is_none() && read.principal.as_deref() == Some("") {
        read.principal = None;
    }
    assert!(*request == read, "the request is another one when it is written and read again");
}

pub(crate) fn connect_response(bytes: &[u8]) {
    if let Ok(response) = ConnectResponse::decode(bytes) {
        assert_eq!(ConnectResponse::decode(&response.to_frame()), Ok(response));
    }
}

pub(crate) fn message(bytes: &[u8]) {
    let mut inspector = Inspector::default();
    for direction in [Direction::Out, Direction::In] {
        inspector.inspect(direction, bytes);
    }
    match Message::decode(bytes) {
        // What it says is nothing that a messaging client reads.
        Ok(Message::Topic) | Err(_) => {}
        Ok(message) => assert_eq!(Message::decode(&message.to_frame()), Ok(message)),
    }
}

pub(crate) fn batch(bytes: &[u8]) {
    let read: Vec<_> = messages(bytes, Features::BATCHING).map_while(Result::ok).collect();
    // One that is alone goes as it is, and must not look like a batch, which no message does.
    if read.iter().any(|message| message.first() == Some(&BATCH)) {
        return;
    }
    let mut batcher = Batcher::<Vec<u8>>::default();
    let mut frames: Vec<_> = read.iter().filter_map(|message| batcher.push(message.to_vec(), bytes.len())).collect();
    frames.extend(batcher.take());
    let again: Vec<_> =
        frames.iter().flat_map(|frame| messages(frame, Features::BATCHING)).map(Result::unwrap).collect();
    assert_eq!(again, read);
}

/// The first byte says which service.
pub(crate) fn service_request(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    let services = SERVICES.len() + OWN_SERVICES.len();
    let (id, _) = SERVICES.iter().chain(OWN_SERVICES).nth(usize::from(*first) % services).expect("there are as many");
    let Ok(Some(request)) = ServiceRequest::decode(*id, body) else { return };
    // Without a catch-all arm: a new service does not compile until it is here.
    macro_rules! written {
        ($($service:ident)*) => { match &request { $(ServiceRequest::$service(request) => encoded(request),)* } };
    }
    let written = written!(ChangeOwnPrincipal CloseClient SystemPing UserPing GetProperties MessagingSend
        MessagingReceiverServer MessagingReceiverClient Registration Deregistration MessagingFilterSender
        FilterResponseDelivery SetProperties GetOwnProperties ReAuthenticate CredentialsWanted Cancellation SessionCount
        HandlerSearch HandlerWatch HandlersChanged HandlerUnwatch);
    assert_eq!(ServiceRequest::decode(*id, &written), Ok(Some(request)));
}

/// A message with headers, or without.
pub(crate) fn headers(bytes: &[u8]) {
    assert_eq!(Headers::split(bytes, Features::BATCHING), Ok((Headers::NONE, bytes)), "nobody agreed on any");
    let Ok((headers, message)) = Headers::split(bytes, Features::WITH_HEADERS) else { return };
    assert_eq!(surplus(bytes, Features::NONE), bytes.len() - message.len());
    assert_eq!(surplus(bytes, Features::WITH_HEADERS), 0);
    let block = headers.to_block();
    let mut written = block.before(message.to_vec());
    set_time_left(&mut written, Duration::from_secs(7));
    if block.is_empty() {
        return;
    }
    let (again, rest) = Headers::split(&written, Features::WITH_HEADERS).expect("what was written is read");
    assert_eq!(rest, message);
    for header in Header::ALL.into_iter().filter(|header| *header != Header::TimeLeft) {
        assert_eq!(again.get(header), headers.get(header), "{header:?}");
    }
    assert_eq!(again.time_left(), headers.time_left().map(|_| Duration::from_secs(7)));
    let _ = (again.text(Header::IdempotencyKey), again.number(Header::MaxQueued));
}

/// The first byte says which.
pub(crate) fn service_response(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else { return };
    match first % 6 {
        0 => same!(SerialisedValue<'_>, body),
        1 => same!(Option<Properties<'_>>, body),
        2 => same!(FilterOutcome<'_>, body),
        3 => same!(ChangedProperties<'_>, body),
        4 => same!(Option<FoundHandlers<'_>>, body),
        _ => same!(bool, body),
    }
}

pub(crate) fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(normal) = normalise(text) {
        assert_eq!(normalise(normal), Ok(normal));
        assert!(with_parents(normal).all(|parent| normal.starts_with(parent)));
    }
}
