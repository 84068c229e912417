//! Handlers that take so many requests at a time, and what waits for them (section 18.9; rules B-5 to B-7, K-1).

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::batch::Batcher;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ResponseCode;
use antiphon_protocol::wire::headers::{Header, HeaderBlock};
use support::raw::{EVERYTHING, Got, Peer, Wire, cancel, time_left, with_header};

const BUSY: ErrorReason = ErrorReason::BUSY;

fn wire() -> Wire {
    Wire::new(BrokerConfig { request_timeout: Duration::from_secs(10), ..BrokerConfig::default() })
}

fn takes(at_a_time: u32, waiting: u32) -> HeaderBlock {
    let mut block = HeaderBlock::default();
    block.add_number(Header::MaxConcurrent, at_a_time);
    block.add_number(Header::MaxQueued, waiting);
    block
}

fn none() -> HeaderBlock {
    HeaderBlock::default()
}

/// The requests that came to a client, by their text, and the conversations in which they came.
fn deliveries(wire: &mut Wire, peer: Peer) -> (Vec<String>, Vec<i64>) {
    let deliveries = wire.got(peer).into_iter().filter_map(|got| match got {
        Got::Request(delivery) => Some((delivery.text, delivery.conversation)),
        _ => None,
    });
    deliveries.unzip()
}

fn texts(wire: &mut Wire, peer: Peer) -> Vec<String> {
    deliveries(wire, peer).0
}

fn busy(conversation: i64) -> Got {
    Got::Error(conversation, BUSY, String::new())
}

#[test]
fn a_handler_gets_as_many_as_it_takes_and_the_others_are_busy() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(2, 0));
    for conversation in 1..=4 {
        wire.send_to_path(sender, conversation, "a/b", &none());
    }
    assert_eq!(wire.got(sender), [busy(3), busy(4)]);
    let (texts_of, conversations) = deliveries(&mut wire, handler);
    assert_eq!(texts_of, ["1", "2"]);
    // What goes to it as a session takes no place of its handler.
    wire.send_to_session(sender, 5, handler, &none());
    wire.respond(handler, conversations[0], "done");
    assert_eq!(wire.got(sender), [Got::Answer(1, "done".into())]);
    wire.send_to_path(sender, 6, "a", &none());
    assert_eq!(texts(&mut wire, handler), ["to session", "6"]);
    wire.send_to_path(sender, 7, "a", &none());
    assert_eq!(wire.got(sender), [busy(7)]);
}

#[test]
fn who_does_not_know_the_reason_gets_one_that_it_knows() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(Features::NONE), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 0));
    for conversation in 1..=2 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(wire.got(sender), [Got::Error(2, ErrorReason::CLUSTER_ROUTING, String::new())]);
    // The same if a handler says so.
    let conversation = wire.delivery(handler).conversation;
    wire.fail(handler, conversation, BUSY, &none());
    assert_eq!(wire.got(sender), [Got::Error(1, ErrorReason::CLUSTER_ROUTING, String::new())]);
}

#[test]
fn without_the_feature_a_handler_takes_what_comes() {
    let mut wire = wire();
    let without = Features::from_wire(EVERYTHING.to_wire() & !Features::BUSY.to_wire());
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(without)];
    wire.register(handler, "a", &takes(1, 1));
    for conversation in 1..=5 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(texts(&mut wire, handler).len(), 5);
}

#[test]
fn a_handler_with_a_place_is_found_among_those_without() {
    let mut wire = wire();
    let sender = wire.connect(EVERYTHING);
    let handlers: Vec<_> = (0..40).map(|_| wire.connect(EVERYTHING)).collect();
    for handler in &handlers {
        wire.register(*handler, "a", &takes(1, 0));
    }
    for conversation in 1..=41 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(wire.got(sender), [busy(41)], "one each");
    let conversations: Vec<_> = handlers.iter().map(|handler| wire.delivery(*handler).conversation).collect();
    for at in [7, 23] {
        wire.respond(handlers[at], conversations[at], "done");
        wire.send_to_path(sender, 50, "a", &none());
        assert_eq!(texts(&mut wire, handlers[at]), ["50"]);
    }
}

#[test]
fn what_waits_goes_in_turns_of_the_senders_the_oldest_first() {
    let mut wire = wire();
    let handler = wire.connect(EVERYTHING);
    let senders = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 6));
    for (sender, conversation) in [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6), (2, 7)] {
        wire.send_to_path(senders[sender], conversation, "a", &none());
    }
    wire.send_to_path(senders[2], 8, "a", &none());
    assert_eq!(wire.got(senders[2]), [busy(8)], "six wait");
    assert_eq!(wire.broker.outstanding_requests(), 7);
    let mut order = Vec::new();
    while let (texts, conversations) = deliveries(&mut wire, handler)
        && let Some(conversation) = conversations.first()
    {
        assert_eq!(texts.len(), 1, "one at a time");
        order.extend(texts);
        wire.respond(handler, *conversation, "done");
    }
    assert_eq!(order, ["1", "2", "5", "7", "3", "6", "4"]);
    assert_eq!((wire.broker.outstanding_requests(), wire.broker.open_conversations()), (0, 0));
}

#[test]
fn what_its_registrations_say_together_may_wait_at_a_path() {
    let mut wire = wire();
    let [sender, first, second] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(first, "a", &takes(1, 2));
    wire.register(second, "a", &takes(1, 1));
    for conversation in 1..=6 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(wire.got(sender), [busy(6)]);
    // Those that wait are told when nobody is left.
    wire.close(first);
    assert_eq!(wire.got(sender).len(), 1, "what it had");
    wire.send_to_path(sender, 7, "a", &none());
    assert_eq!(wire.got(sender), [busy(7)], "three wait, where one may");
    wire.deregister(second, "a");
    let unhandled = |conversation| Got::Error(conversation, ErrorReason::UNHANDLED_MESSAGE, String::new());
    assert_eq!(wire.got(sender), [unhandled(3), unhandled(4), unhandled(5)]);
}

#[test]
fn what_waits_goes_to_whoever_comes_to_handle_it() {
    let mut wire = wire();
    let [sender, first, second, above] =
        [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(above, "a", &none());
    wire.register(first, "a/b", &takes(1, 9));
    for conversation in 1..=4 {
        wire.send_to_path(sender, conversation, "a/b", &none());
    }
    assert_eq!(texts(&mut wire, first), ["1"]);
    wire.register_unchecked(second, "a/b", &takes(2, 0));
    assert_eq!(texts(&mut wire, second), ["2", "3"]);
    wire.close(second);
    wire.close(first);
    assert_eq!(texts(&mut wire, above), ["4"]);
}

#[test]
fn a_place_is_free_however_its_request_ends() {
    let mut wire = wire();
    let [sender, other, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 1));
    let mut expected = 0;
    let mut next = |wire: &mut Wire, sender: Peer, headers: &HeaderBlock| {
        expected += 1;
        wire.send_to_path(sender, expected, "a", headers);
        let texts = texts(wire, handler);
        assert_eq!(texts, [expected.to_string()], "it has a place");
        expected
    };
    let first = next(&mut wire, sender, &none());
    wire.cancel(sender, first, false);
    next(&mut wire, sender, &time_left(100));
    wire.pass(Duration::from_millis(100));
    next(&mut wire, sender, &none());
    wire.pass(Duration::from_secs(10));
    next(&mut wire, other, &none());
    wire.close(other);
    let last = next(&mut wire, sender, &none());
    // With a request that waits, it goes to that one.
    wire.send_to_path(sender, last + 1, "a", &none());
    wire.cancel(sender, last, false);
    assert_eq!(texts(&mut wire, handler), [(last + 1).to_string()]);
}

#[test]
fn a_handler_that_is_not_told_keeps_its_place_until_it_answers_or_the_brokers_time_is_over() {
    let mut wire = wire();
    let without = Features::from_wire(EVERYTHING.to_wire() & !Features::CANCELLING.to_wire());
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(without)];
    wire.register(handler, "a", &takes(1, 0));
    wire.send_to_path(sender, 1, "a", &none());
    let conversation = wire.delivery(handler).conversation;
    wire.cancel(sender, 1, false);
    wire.send_to_path(sender, 2, "a", &none());
    assert_eq!(wire.got(sender), [busy(2)]);
    wire.respond(handler, conversation, "late");
    wire.send_to_path(sender, 3, "a", &time_left(100));
    assert_eq!(texts(&mut wire, handler), ["3"]);
    wire.pass(Duration::from_secs(9));
    wire.send_to_path(sender, 4, "a", &none());
    assert_eq!(wire.got(sender).last(), Some(&busy(4)));
    wire.pass(Duration::from_secs(1));
    wire.send_to_path(sender, 5, "a", &none());
    assert_eq!(texts(&mut wire, handler), ["5"]);
}

#[test]
fn what_waits_waits_no_longer_than_its_time_and_not_for_who_has_given_up() {
    let mut wire = wire();
    let [sender, gone, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 10));
    wire.send_to_path(sender, 1, "a", &none());
    let conversation = wire.delivery(handler).conversation;
    wire.send_to_path(sender, 2, "a", &time_left(100));
    wire.send_to_path(sender, 3, "a", &none());
    wire.send_to_path(sender, 4, "a", &none());
    wire.send_to_path(gone, 5, "a", &none());
    wire.send_to_path(sender, 6, "a", &time_left(1_000));
    wire.cancel(sender, 3, false);
    wire.close(gone);
    wire.pass(Duration::from_millis(100));
    let timed_out = |conversation| Got::Error(conversation, ErrorReason::REQUEST_TIME_OUT, String::new());
    assert_eq!(wire.got(sender), [timed_out(2)]);
    wire.respond(handler, conversation, "done");
    let next = wire.delivery(handler);
    assert_eq!((&*next.text, next.time_left), ("4", None));
    wire.pass(Duration::from_millis(300));
    wire.respond(handler, next.conversation, "done");
    let last = wire.delivery(handler);
    assert_eq!((&*last.text, last.time_left), ("6", Some(Duration::from_millis(600))), "its wait is taken off");
    assert_eq!(wire.got(sender), [Got::Answer(1, "done".into()), Got::Answer(4, "done".into())]);
    wire.respond(handler, last.conversation, "done");
    wire.got(sender);
    // The broker's own time holds too.
    wire.send_to_path(sender, 7, "a", &none());
    wire.send_to_path(sender, 8, "a", &none());
    wire.pass(Duration::from_secs(10));
    assert_eq!(wire.got(sender), [timed_out(7), timed_out(8)]);
    assert_eq!(wire.broker.outstanding_requests(), 0);
}

#[test]
fn what_has_waited_too_long_is_not_delivered_although_a_place_is_free_first() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 2));
    wire.send_to_path(sender, 1, "a", &none());
    let conversation = wire.delivery(handler).conversation;
    wire.send_to_path(sender, 2, "a", &time_left(100));
    wire.send_to_path(sender, 3, "a", &none());
    // Nobody has woken the broker yet.
    wire.now = wire.now + Duration::from_millis(100);
    wire.respond(handler, conversation, "done");
    let timed_out = Got::Error(2, ErrorReason::REQUEST_TIME_OUT, String::new());
    assert_eq!(wire.got(sender), [Got::Answer(1, "done".into()), timed_out]);
    assert_eq!(texts(&mut wire, handler), ["3"]);
}

#[test]
fn what_goes_along_with_a_request_that_waits_counts_among_the_bytes_that_do() {
    let mut wire = Wire::new(BrokerConfig { max_waiting_bytes: 1_000, ..BrokerConfig::default() });
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 9));
    let metadata = with_header(Header::Metadata, &[0xf6; 400]);
    for conversation in 1..=4 {
        wire.send_to_path(sender, conversation, "a", &metadata);
    }
    assert_eq!(wire.got(sender), [Got::Error(4, ErrorReason::CLUSTER_ROUTING, String::new())]);
}

#[test]
fn what_waits_counts_for_its_sender() {
    let mut wire = Wire::new(BrokerConfig { max_outstanding_requests: 3, ..BrokerConfig::default() });
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 1_000));
    for conversation in 1..=4 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(wire.got(sender), [Got::Error(4, ErrorReason::CLUSTER_ROUTING, String::new())]);
}

#[test]
fn places_outlive_connections_and_not_what_is_lost() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 1));
    for conversation in 1..=2 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    let conversation = wire.delivery(handler).conversation;
    wire.lose(handler);
    assert_eq!(wire.resume(handler, EVERYTHING), ResponseCode::RECONNECTED);
    wire.send_to_path(sender, 3, "a", &none());
    assert_eq!((wire.got(sender), texts(&mut wire, handler)), (vec![busy(3)], vec![]));
    wire.respond(handler, conversation, "done");
    assert_eq!(texts(&mut wire, handler), ["2"]);
    wire.got(sender);
    // What it lost is failed; what waited has no handler until it registers again.
    wire.send_to_path(sender, 4, "a", &none());
    wire.lose(handler);
    wire.resume_with_loss(handler);
    let closed = Got::Error(2, ErrorReason::SESSION_CLOSED, String::new());
    let unhandled = Got::Error(4, ErrorReason::UNHANDLED_MESSAGE, String::new());
    assert_eq!(wire.got(sender), [closed, unhandled]);
    wire.register(handler, "a", &takes(1, 0));
    wire.send_to_path(sender, 5, "a", &none());
    assert_eq!(texts(&mut wire, handler), ["5"]);
}

#[test]
fn forty_requests_to_a_handler_of_four_are_four_and_thirty_six_that_hear_busy() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(4, 0));
    for conversation in 1..=40 {
        wire.send_to_path(sender, conversation, "a", &time_left(1_000));
    }
    assert_eq!(texts(&mut wire, handler), ["1", "2", "3", "4"]);
    assert_eq!(wire.got(sender), (5..=40).map(busy).collect::<Vec<_>>());
}

#[test]
fn what_comes_together_is_cancelled_together_and_no_place_goes_to_what_is_cancelled_next() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 9));
    for conversation in 1..=5 {
        wire.send_to_path(sender, conversation, "a", &none());
    }
    assert_eq!(texts(&mut wire, handler), ["1"]);
    let mut batch = Batcher::<Vec<u8>>::default();
    for conversation in 1..=4 {
        assert_eq!(batch.push(cancel(conversation, true), usize::MAX), None);
    }
    wire.send(sender, batch.take().expect("a batch"));
    assert_eq!(texts(&mut wire, handler), ["5"]);
}

#[test]
fn k_1_repeats_that_wait_for_a_place_are_one_request_once_one_of_them_has_it() {
    let mut wire = wire();
    let [sender, handler] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(handler, "a", &takes(1, 9));
    wire.send_to_path(sender, 1, "a", &none());
    let key = with_header(Header::IdempotencyKey, b"key");
    for conversation in 2..=4 {
        wire.send_to_path(sender, conversation, "a", &key);
    }
    let first = wire.delivery(handler).conversation;
    wire.respond(handler, first, "done");
    let (asked, conversations) = deliveries(&mut wire, handler);
    assert_eq!(asked, ["2"], "none of the others takes a place");
    wire.send_to_path(sender, 5, "a", &none());
    assert_eq!(texts(&mut wire, handler), [""; 0]);
    wire.respond(handler, conversations[0], "once");
    assert_eq!(texts(&mut wire, handler), ["5"]);
    let mut got = wire.got(sender);
    got.sort_by_key(|got| format!("{got:?}"));
    let answers = [(1, "done"), (2, "once"), (3, "once"), (4, "once")];
    assert_eq!(got, answers.map(|(conversation, text)| Got::Answer(conversation, text.into())));
}
