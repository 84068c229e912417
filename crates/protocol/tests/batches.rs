//! Batches as the client's core reads them: whatever is in one, it comes to the same as if each message had come alone.

use std::time::Duration;

use antiphon_protocol::client::{CallId, ClientConfig, ClientSession, HandlerId, Output, Patience, State};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::{ConnectResponse, ResponseCode, SessionToken};
use antiphon_protocol::wire::layouts::{SendToPath, SerialisedValue, ServiceFailure};
use antiphon_protocol::wire::primitives::{ConversationId, SessionId};
use antiphon_protocol::wire::services::{MessagingSend, Service};
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: Moment = Moment(1);
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "binary", bytes: b"x" };
const BATCH: u8 = 62;

/// A session with calls under way and a stream handler, on a connection with these features.
fn open(features: Features) -> ClientSession {
    let mut session = ClientSession::new(ClientConfig { features, ..ClientConfig::default() });
    session.connect(NOW);
    let accepted = ConnectResponse::Accepted {
        version: 25,
        code: ResponseCode::OK,
        session: SessionId { server: 1, value: 2 },
        token: SessionToken::from_random([7; 18]),
        ping_period: 0,
        tail: 0,
        features: Some(features),
    };
    let connection = session.connection().expect("connecting");
    session.handle_open(connection);
    session.handle_frame(NOW, connection, &accepted.to_frame());
    let patience = Patience { timeout: Duration::from_secs(60), wait: false };
    for call in 0..5 {
        session.send_to_path(NOW, CallId(call), "path", VALUE, patience);
    }
    session.add_stream(HandlerId(1), "a", true, Duration::from_secs(60));
    session.flush();
    outputs(&mut session);
    session
}

fn outputs(session: &mut ClientSession) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

/// What it tells the application and what becomes of its connection; and what it sends, message by message.
fn came_of(session: &mut ClientSession) -> (Vec<String>, Vec<Vec<u8>>) {
    session.flush();
    let (mut told, mut sent) = (Vec::new(), Vec::new());
    for output in outputs(session) {
        match output {
            Output::Send(frame) => sent.extend(messages_in(&frame)),
            Output::FlushSoon | Output::WakeAt(_) => {}
            other => told.push(format!("{other:?}")),
        }
    }
    (told, sent)
}

/// The messages of a well-formed batch whose messages are short.
fn messages_in(frame: &[u8]) -> Vec<Vec<u8>> {
    let [BATCH, rest @ ..] = frame else { return vec![frame.to_vec()] };
    let (mut rest, mut messages) = (rest, Vec::new());
    while let [length, more @ ..] = rest {
        let (message, behind) = more.split_at(usize::from(*length));
        messages.push(message.to_vec());
        rest = behind;
    }
    messages
}

/// What a server might say, and what none would.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let conversation = || (0..8i64).prop_map(ConversationId);
    let path = prop_oneof![Just("a"), Just("nobody")];
    let failure = ServiceFailure { description: "no", reason: ErrorReason::UNHANDLED_MESSAGE };
    prop_oneof![
        4 => conversation().prop_map(|id| response_frame::<MessagingSend>(id, &VALUE)),
        2 => conversation()
            .prop_map(move |conversation| Message::ServiceError { conversation, failure: failure.clone() }.to_frame()),
        4 => (conversation(), path)
            .prop_map(|(id, path)| request_frame::<MessagingSend>(id, &SendToPath { path, request: VALUE }, 0)),
        2 => conversation()
            .prop_map(|conversation| Message::ServiceRequest { service: 55, conversation, body: &[] }.to_frame()),
        1 => Just(vec![4]),
        1 => vec(any::<u8>(), 0..12),
        1 => (conversation(), vec(any::<u8>(), 0..12)).prop_map(|(conversation, body)| {
            Message::ServiceRequest { service: MessagingSend::ID, conversation, body: &body }.to_frame()
        }),
    ]
}

/// Short messages as a batch.
fn batch_of(messages: &[Vec<u8>]) -> Vec<u8> {
    let parts =
        messages.iter().flat_map(|message| [vec![u8::try_from(message.len()).expect("short")], message.clone()]);
    std::iter::once(vec![BATCH]).chain(parts).flatten().collect()
}

proptest! {
    /// S-19.
    #[test]
    fn a_batch_is_as_its_messages_one_by_one(messages in vec(message(), 0..30)) {
        let (mut together, mut alone) = (open(Features::BATCHING), open(Features::NONE));
        let connection = together.connection().expect("connected");
        together.handle_frame(NOW, connection, &batch_of(&messages));
        for message in &messages {
            alone.handle_frame(NOW, connection, message);
        }
        let state = (together.state(), together.open_conversations());
        prop_assert_eq!(state, (alone.state(), alone.open_conversations()));
        let ((told, sent), (told_alone, sent_alone)) = (came_of(&mut together), came_of(&mut alone));
        prop_assert_eq!(told, told_alone);
        // What was answered within a batch that ends the connection cannot be sent any more.
        prop_assert!(state.0 != State::Connected || sent == sent_alone, "{sent:?}, alone {sent_alone:?}");
    }

    /// S-19: nothing that a server can send makes it fail, and what comes of it is bounded by its size.
    #[test]
    fn any_bytes_may_follow(bytes in vec(any::<u8>(), 0..300), messages in vec(message(), 0..5), cut in 0..20usize) {
        let mut begun = batch_of(&messages);
        begun.truncate(begun.len().saturating_sub(cut).max(1));
        for frame in [[&[BATCH][..], &bytes].concat(), begun.clone(), [begun, bytes].concat()] {
            let mut session = open(Features::ALL);
            let connection = session.connection().expect("connected");
            session.handle_frame(NOW, connection, &frame);
            session.handle_frame(NOW, connection, &frame);
            session.flush();
            let all = outputs(&mut session).len();
            prop_assert!(all <= 20 + 4 * frame.len(), "{all} outputs for {} bytes", frame.len());
        }
    }
}
