//! What goes along with requests and errors: metadata, keys, details (sections 18.10 to 18.12; rules B-4).

mod support;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::headers::{Header, HeaderBlock, MAX_DETAILS_BYTES, MAX_METADATA_BYTES};
use support::raw::{Delivery, EVERYTHING, Got, Peer, Wire, with_header};

fn wire() -> Wire {
    Wire::new(BrokerConfig::default())
}

fn without(feature: Features) -> Features {
    Features::from_wire(EVERYTHING.to_wire() & !feature.to_wire())
}

fn metadata(value: &str) -> HeaderBlock {
    with_header(Header::Metadata, value.as_bytes())
}

/// Sends the same to a handler, a session, and the sessions of a filter; what came to the recipient each time.
fn deliveries(wire: &mut Wire, sender: Peer, recipient: Peer, headers: &HeaderBlock) -> [Delivery; 3] {
    wire.send_to_path(sender, 1, "a", headers);
    let to_path = wire.delivery(recipient);
    wire.send_to_session(sender, 2, recipient, headers);
    let to_session = wire.delivery(recipient);
    wire.send_to_filter(sender, 3, &format!("$SessionId is '{}'", wire.session(recipient)), headers);
    [to_path, to_session, wire.delivery(recipient)]
}

#[test]
fn metadata_reaches_whoever_knows_it() {
    for (sender, recipient, arrives) in [
        (EVERYTHING, EVERYTHING, true),
        (without(Features::METADATA), EVERYTHING, false),
        (EVERYTHING, without(Features::METADATA), false),
        (EVERYTHING, Features::NONE, false),
    ] {
        let mut wire = wire();
        let [sender, recipient] = [wire.connect(sender), wire.connect(recipient)];
        wire.register(recipient, "a", &HeaderBlock::default());
        for delivery in deliveries(&mut wire, sender, recipient, &metadata("value")) {
            assert_eq!(delivery.metadata, if arrives { "value" } else { "" });
        }
    }
}

#[test]
fn a_key_reaches_whoever_knows_it_and_not_those_of_a_filter() {
    let mut wire = wire();
    let sender = wire.connect(EVERYTHING);
    let headers = with_header(Header::IdempotencyKey, b"key");
    for (recipient, key) in [(EVERYTHING, "key"), (without(Features::IDEMPOTENCY), "")] {
        let recipient = wire.connect(recipient);
        wire.send_to_session(sender, 2, recipient, &headers);
        assert_eq!(wire.delivery(recipient).key, key);
        wire.send_to_filter(sender, 3, &format!("$SessionId is '{}'", wire.session(recipient)), &headers);
        assert_eq!(wire.delivery(recipient).key, "");
    }
}

#[test]
fn too_much_metadata_is_refused_wherever_it_goes() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    let most = "x".repeat(MAX_METADATA_BYTES);
    for delivery in deliveries(&mut wire, sender, recipient, &metadata(&most)) {
        assert_eq!(delivery.metadata, most);
    }
    wire.got(sender);
    let more = metadata(&(most + "x"));
    wire.send_to_path(sender, 1, "a", &more);
    wire.send_to_session(sender, 2, recipient, &more);
    wire.send_to_filter(sender, 3, "all", &more);
    let error = |conversation| Got::Error(conversation, ErrorReason::INVALID_DATA, String::new());
    assert_eq!(wire.got(sender), [error(1), error(2), error(3)]);
    assert_eq!(wire.got(recipient), []);
}

#[test]
fn details_of_an_error_reach_a_sender_that_knows_them() {
    let large = "x".repeat(MAX_DETAILS_BYTES);
    let too_large = "x".repeat(MAX_DETAILS_BYTES + 1);
    for (sender, recipient, sent, expected) in [
        (EVERYTHING, EVERYTHING, "details", "details"),
        (EVERYTHING, EVERYTHING, &large, &large),
        (EVERYTHING, EVERYTHING, &too_large, ""),
        (without(Features::DETAILS), EVERYTHING, "details", ""),
        (Features::NONE, EVERYTHING, "details", ""),
        (EVERYTHING, without(Features::DETAILS), "details", ""),
    ] {
        let mut wire = wire();
        let [sender, recipient] = [wire.connect(sender), wire.connect(recipient)];
        let none = HeaderBlock::default();
        let details = with_header(Header::Details, sent.as_bytes());
        wire.register(recipient, "a", &none);
        let rejected = ErrorReason(9003);
        for delivery in deliveries(&mut wire, sender, recipient, &none) {
            wire.fail(recipient, delivery.conversation, rejected, &details);
        }
        assert_eq!(
            wire.got(sender),
            [
                Got::Matched(3, 1),
                Got::Error(1, rejected, expected.into()),
                Got::Error(2, rejected, expected.into()),
                Got::Response(503, Err((rejected, expected.into()))),
            ]
        );
    }
}
