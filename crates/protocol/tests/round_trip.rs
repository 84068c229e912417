//! Properties: every layout survives the wire, and nothing that arrives can panic or make us allocate without measure.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_protocol::client::{ClientConfig, ClientSession};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{
    ConnectRequest, ConnectResponse, Credentials, Recovery, ResponseCode, SessionToken,
};
use antiphon_protocol::wire::layouts::*;
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::ServiceRequest;
use antiphon_protocol::wire::{Decode, Encode, decode_all, encoded};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn survives<'a, T: Encode + Decode<'a> + PartialEq + std::fmt::Debug>(sent: &T, bytes: &'a mut Vec<u8>) {
    sent.encode(bytes);
    let received: T = decode_all(bytes).expect("readable");
    assert_eq!(&received, sent);
}

/// Checks that a value survives the wire, with a buffer that lives long enough for what is borrowed from it.
macro_rules! assert_survives {
    ($sent:expr) => {
        survives(&$sent, &mut Vec::new())
    };
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<(u64, u64)>().prop_map(|(server, value)| SessionId { server, value })
}

fn conversation() -> impl Strategy<Value = ConversationId> {
    any::<i64>().prop_map(ConversationId)
}

type OwnedValue = (String, Vec<u8>);

fn borrowed(value: &OwnedValue) -> SerialisedValue<'_> {
    SerialisedValue { type_name: &value.0, bytes: &value.1 }
}

fn texts(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

fn pairs(owned: &[(String, String)]) -> Properties<'_> {
    owned.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

proptest! {
    #[test]
    fn integers_survive_the_wire(a in any::<u32>(), b in any::<i32>(), c in any::<u64>(), d in any::<i64>()) {
        assert_survives!(a);
        assert_survives!(b);
        assert_survives!(c);
        assert_survives!(d);
    }

    #[test]
    fn requests_survive_the_wire(
        path in ".*", filter in ".*", value in any::<OwnedValue>(), session in session(), id in conversation(),
    ) {
        let request = borrowed(&value);
        assert_survives!(SendToPath { path: &path, request: request.clone() });
        assert_survives!(SendToSession { session, path: &path, request: request.clone() });
        assert_survives!(SendToFilter { filter_conversation: id, filter: &filter, path: &path, request });
    }

    #[test]
    fn forwarded_requests_survive_the_wire(
        path in ".*", properties in vec(any::<(String, String)>(), 0..8), value in any::<OwnedValue>(),
        sender in session(), registration in conversation(),
    ) {
        let properties = pairs(&properties);
        assert_survives!(ForwardedRequest { registration, sender, path: &path, properties, request: borrowed(&value) });
    }

    #[test]
    fn registrations_survive_the_wire(
        path in ".*", control_group in ".*", keys in vec(any::<String>(), 0..8), registration in conversation(),
        delivery_service in any::<u32>(),
    ) {
        let (path, control_group) = (path.as_str(), control_group.as_str());
        let property_keys = texts(&keys);
        assert_survives!(DeregisterHandler { delivery_service, control_group, path, property_keys: property_keys.clone() });
        assert_survives!(RegisterHandler { delivery_service, control_group, path, property_keys, registration });
    }

    #[test]
    fn filter_outcomes_and_responses_survive_the_wire(
        count in any::<u32>(), reports in vec(any::<(String, i32, i32)>(), 0..4), value in any::<OwnedValue>(),
        session in session(), filter_conversation in conversation(), reason in any::<i32>(), text in ".*",
    ) {
        assert_survives!(FilterOutcome::Matched(count));
        let reports = reports.iter().map(|(message, line, column)| ErrorReport { message, line: *line, column: *column });
        assert_survives!(FilterOutcome::Rejected(reports.collect()));
        let error = ReasonAndText { reason: ErrorReason(reason), description: &text };
        for answer in [FilterAnswer::Response(borrowed(&value)), FilterAnswer::Error(error)] {
            assert_survives!(FilterResponse { filter_conversation, session, answer });
        }
    }

    #[test]
    fn session_services_survive_the_wire(
        session in session(), keys in vec(any::<String>(), 0..4), set in option::of(vec(any::<(String, String)>(), 0..4)),
        remove in option::of(vec(any::<String>(), 0..4)), principal in ".*", password in ".*", custom in any::<Vec<u8>>(),
    ) {
        assert_survives!(GetSessionProperties { session, keys: texts(&keys) });
        let (set, remove) = (set.as_deref().map(pairs), remove.as_deref().map(texts));
        assert_survives!(SetSessionProperties { session, set: set.clone(), remove: remove.clone() });
        assert_survives!(ChangedProperties { set: set.clone(), removed: remove });
        for credentials in
            [WireCredentials::None(&[]), WireCredentials::Password(&password), WireCredentials::Custom(&custom)]
        {
            assert_survives!(ChangePrincipal { principal: &principal, credentials: credentials.clone() });
            let properties = set.clone().unwrap_or_default();
            assert_survives!(Reauthenticate { principal: &principal, credentials, properties });
        }
    }

    #[test]
    fn what_is_beyond_the_protocol_survives_the_wire(
        conversation in conversation(), is_timed_out in any::<bool>(), text in ".*", handlers in any::<u32>(),
    ) {
        let (path, filter, watch) = (text.as_str(), text.as_str(), conversation);
        assert_survives!(Cancel { conversation, is_timed_out });
        assert_survives!(CountSessions { filter });
        assert_survives!(FindHandlers { path });
        assert_survives!(WatchHandlers { watch, path });
        for found in [None, Some(FoundHandlers { path, handlers })] {
            assert_survives!(HandlersNow { watch, found });
        }
    }

    #[test]
    fn messages_survive_the_wire(
        service in any::<u32>(), conversation in conversation(), body in any::<Vec<u8>>(), text in ".*", code in any::<i32>(),
    ) {
        let failure = ServiceFailure { description: &text, reason: ErrorReason(code) };
        for message in [
            Message::ServiceRequest { service, conversation, body: &body },
            Message::ServiceResponse { conversation, body: &body },
            Message::ServiceError { conversation, failure },
            Message::Abort,
            Message::CloseRequest,
        ] {
            let frame = message.to_frame();
            prop_assert_eq!(Message::decode(&frame), Ok(message));
        }
    }

    #[test]
    fn connect_requests_survive_the_query_the_first_message_and_the_headers(
        version in 22..=29u8, reconnect_timeout in any::<u64>(), who in option::of(("\\PC*", "\\PC+")),
        properties in option::of(vec(("[^\\r\\n]+", "[^\\r\\n]*"), 1..4)), recovery in option::of(("\\w{24}", any::<(u64, u64)>())),
        features in any::<u32>(),
    ) {
        let (principal, credentials) = who.map_or((None, Credentials::None), |(principal, password)| {
            (Some(principal), Credentials::Password(password))
        });
        let recovery =
            recovery.map(|(token, (oldest_sent, last_received))| Recovery { token, oldest_sent, last_received });
        let sent = ConnectRequest {
            client_type: "WB".into(), version, capabilities: 8, reconnect_timeout, principal, credentials, properties,
            recovery, features: Features::from_wire(features),
        };
        let received = ConnectRequest::from_query(&sent.to_query());
        prop_assert_eq!(received.as_ref(), Ok(&sent));
        prop_assert_eq!(ConnectRequest::from_message(sent.to_query().as_bytes()), received);
        let headers = sent.to_headers();
        let header = |name| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| value.as_str());
        prop_assert_eq!(ConnectRequest::from_headers(header), Ok(sent));
    }

    #[test]
    fn connection_responses_survive_the_wire(
        version in 22..=29u8, code in prop::sample::select(vec![100, 105, 106]), (server, value) in any::<(u64, u64)>(),
        random in any::<[u8; 18]>(), ping_period in any::<i64>(), tail in any::<i32>(), features in option::of(any::<u32>()),
        behind in vec(any::<u8>(), 0..9),
    ) {
        let response = ConnectResponse::Accepted {
            version, code: ResponseCode(code), session: SessionId { server, value }, token: SessionToken::from_random(random),
            ping_period, tail, features: features.map(Features::from_wire),
        };
        let mut frame = response.to_frame();
        // What stands behind it is ignored.
        if features.is_some() || !behind.starts_with(b"F") {
            frame.extend(behind);
        }
        prop_assert_eq!(ConnectResponse::decode(&frame), Ok(response));
    }

    #[test]
    fn credentials_without_a_principal_go_with_the_empty_one(password in "\\PC+") {
        let sent = ConnectRequest { credentials: Credentials::Password(password), ..ConnectRequest::anonymous() };
        let arrives = ConnectRequest { principal: Some(String::new()), ..sent.clone() };
        prop_assert_eq!(ConnectRequest::from_query(&sent.to_query()), Ok(arrives));
    }

    #[test]
    fn reading_anything_neither_panics_nor_allocates_without_measure(bytes in vec(any::<u8>(), 0..400), service in 0..210u32) {
        let most = 64 * bytes.len() + 4096;
        let allocated = allocated_by(|| {
            let _ = Message::decode(&bytes);
            let _ = ServiceRequest::decode(service, &bytes);
            let _ = ConnectResponse::decode(&bytes);
            let _ = ConnectRequest::from_message(&bytes);
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = ConnectRequest::from_query(text);
                let _ = ConnectRequest::from_headers(|_| Some(text));
            }
        });
        prop_assert!(allocated <= most, "{allocated} bytes for {}", bytes.len());
    }

    #[test]
    fn a_request_with_one_byte_changed_is_read_or_refused(
        at in 0..60usize, byte in any::<u8>(), service in prop_oneof![Just(85u32), Just(86), Just(88), Just(97), Just(102), Just(103)],
    ) {
        let value = SerialisedValue { type_name: "json", bytes: b"\xbf\x61a\x9f\x01\xff\xff" };
        let id = ConversationId(7);
        let session = SessionId { server: 1 << 63, value: 3 };
        let mut body = match service {
            85 => encoded(&SendToPath { path: "orders/eu", request: value }),
            86 => encoded(&SendToSession { session, path: "orders", request: value }),
            88 => encoded(&ForwardedRequest {
                registration: id, sender: session, path: "orders", properties: vec![("a", "b")], request: value,
            }),
            97 => encoded(&RegisterHandler {
                delivery_service: 88, control_group: "default", path: "orders", property_keys: vec!["*F"], registration: id,
            }),
            102 => encoded(&SendToFilter { filter_conversation: id, filter: "all", path: "orders", request: value }),
            _ => encoded(&FilterResponse { filter_conversation: id, session, answer: FilterAnswer::Response(value) }),
        };
        let at = at % body.len();
        body[at] = byte;
        let _ = ServiceRequest::decode(service, &body);
    }

    #[test]
    fn a_client_takes_any_frames_without_panicking(frames in vec(vec(any::<u8>(), 0..40), 0..20), connected in any::<bool>()) {
        let mut session = ClientSession::new(ClientConfig::default());
        session.connect(Moment(0));
        let connection = session.connection().expect("connecting");
        session.handle_open(connection);
        if connected {
            let mut response = vec![b'#', 25, 100];
            response.resize(55, b'0');
            session.handle_frame(Moment(1), connection, &response);
        }
        for frame in &frames {
            session.handle_frame(Moment(2), connection, frame);
            while session.poll_output().is_some() {}
        }
        session.handle_disconnected(Moment(0), connection, "the test is over");
        while session.poll_output().is_some() {}
    }
}

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Counts what each thread allocates.
struct Counting;

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // Not counted while the thread ends.
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that `work` asked the allocator for, all in all.
fn allocated_by(work: impl FnOnce()) -> usize {
    let before = ALLOCATED.with(Cell::get);
    work();
    ALLOCATED.with(Cell::get) - before
}
