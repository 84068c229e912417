//! Batches as the broker's core reads them: whatever is in one, it comes to the same as if each message had come alone.

#[path = "support/opening.rs"]
mod opening;

use antiphon_broker::core::access::Access;
use antiphon_broker::core::{Broker, BrokerConfig, ConnectionId, Output};
use antiphon_protocol::features::Features;
use antiphon_protocol::time::Moment;
use antiphon_protocol::wire::envelope::{Message, request_frame, response_frame};
use antiphon_protocol::wire::handshake::ConnectRequest;
use antiphon_protocol::wire::layouts::{RegisterHandler, SendToFilter, SendToPath, SerialisedValue};
use antiphon_protocol::wire::primitives::ConversationId;
use antiphon_protocol::wire::services::{MessagingFilterSender, MessagingSend, Registration, UserPing};
use opening::arrival;
use proptest::collection::vec;
use proptest::prelude::*;

const NOW: Moment = Moment(1);
const CLIENT: ConnectionId = ConnectionId(1);
const OTHER: ConnectionId = ConnectionId(2);
const VALUE: SerialisedValue<'_> = SerialisedValue { type_name: "binary", bytes: b"x" };
const BATCH: u8 = 62;

/// A broker with two sessions, the first of which has these features.
fn with_sessions(features: Features) -> Broker {
    let mut broker = Broker::new(BrokerConfig::default(), Access::development());
    for (connection, features) in [(CLIENT, features), (OTHER, Features::NONE)] {
        let request = ConnectRequest { features, ..ConnectRequest::anonymous() };
        broker.handle_connect(NOW, connection, &request, &arrival("192.0.2.1", connection.0));
    }
    while broker.poll_output().is_some() {}
    broker
}

/// What it sends to whom, whom it leaves and when it wants to be woken.
fn outputs(broker: &mut Broker) -> Vec<(ConnectionId, Vec<u8>)> {
    let output = |output| match output {
        Output::Send(to, message) | Output::SendTogether(to, message) => (to, message.to_vec()),
        Output::Close(to) => (to, b"closed".to_vec()),
        Output::Authenticate(..) => unreachable!("the broker knows them"),
        Output::Ping(to) => (to, b"ping".to_vec()),
        Output::Pause(to) => (to, b"paused".to_vec()),
        Output::Resume(to) => (to, b"resumed".to_vec()),
        Output::WakeAt(at) => (ConnectionId(0), at.0.to_be_bytes().to_vec()),
    };
    std::iter::from_fn(|| broker.poll_output()).map(output).collect()
}

/// What a client might say, and what none would.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let conversation = || (0..8i64).prop_map(ConversationId);
    let path = || prop_oneof![Just("a"), Just("a/b"), Just("nobody"), Just("")];
    prop_oneof![
        4 => conversation().prop_map(|id| request_frame::<UserPing>(id, &(), 0)),
        4 => (conversation(), path())
            .prop_map(|(id, path)| request_frame::<MessagingSend>(id, &SendToPath { path, request: VALUE }, 0)),
        3 => (conversation(), path()).prop_map(|(id, path)| {
            let (delivery_service, control_group, property_keys) = (88, "", vec![]);
            let register = RegisterHandler { delivery_service, control_group, path, property_keys, registration: id };
            request_frame::<Registration>(id, &register, 0)
        }),
        2 => (conversation(), prop_oneof![Just("all"), Just("not all"), Just("none")]).prop_map(|(id, filter)| {
            let request = SendToFilter { filter_conversation: id, filter, path: "a", request: VALUE };
            request_frame::<MessagingFilterSender>(id, &request, 0)
        }),
        4 => conversation().prop_map(|id| response_frame::<MessagingSend>(id, &VALUE)),
        1 => vec(any::<u8>(), 0..12),
        1 => (any::<u32>(), conversation(), vec(any::<u8>(), 0..12)).prop_map(|(service, conversation, body)| {
            Message::ServiceRequest { service, conversation, body: &body }.to_frame()
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
        let (mut together, mut alone) = (with_sessions(Features::BATCHING), with_sessions(Features::NONE));
        together.handle_frame(NOW, CLIENT, &batch_of(&messages));
        for message in &messages {
            alone.handle_frame(NOW, CLIENT, message);
        }
        prop_assert_eq!(outputs(&mut together), outputs(&mut alone));
        let counts = |broker: &Broker| {
            (broker.session_count(), broker.outstanding_requests(), broker.late_answers(), broker.refusals())
        };
        prop_assert_eq!(counts(&together), counts(&alone));
    }

    /// S-19: nothing that a client can send makes it fail, and what comes of it is bounded by its size.
    #[test]
    fn any_bytes_may_follow(bytes in vec(any::<u8>(), 0..300), messages in vec(message(), 0..5), cut in 0..20usize) {
        let mut begun = batch_of(&messages);
        begun.truncate(begun.len().saturating_sub(cut).max(1));
        for frame in [[&[BATCH][..], &bytes].concat(), begun.clone(), [begun, bytes].concat()] {
            let mut broker = with_sessions(Features::ALL);
            broker.handle_frame(NOW, CLIENT, &frame);
            broker.handle_frame(NOW, CLIENT, &frame);
            let all = outputs(&mut broker).len();
            prop_assert!(all <= 20 + 4 * frame.len(), "{all} outputs for {} bytes", frame.len());
            prop_assert!(broker.session_count() >= 1, "the other session is none of its business");
        }
    }
}
