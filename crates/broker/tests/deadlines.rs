//! How much time is left for a request travels with it, and is kept to (section 18.7; rules B-1).

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ResponseCode;
use antiphon_protocol::wire::headers::HeaderBlock;
use support::raw::{EVERYTHING, Got, Wire, time_left, to_filter};

const fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A broker whose own limit is 10 seconds.
fn config() -> BrokerConfig {
    BrokerConfig { request_timeout: Duration::from_secs(10), ..BrokerConfig::default() }
}

fn wire() -> Wire {
    Wire::new(config())
}

/// One that delivers to one recipient in each turn, and takes 100 milliseconds from one to the next.
fn in_short_turns() -> Wire {
    Wire::new(BrokerConfig { turn_recipients: 1, turn_pause: milliseconds(100), ..config() })
}

const TIMED_OUT: ErrorReason = ErrorReason::REQUEST_TIME_OUT;

#[test]
fn a_recipient_is_told_the_less_of_the_senders_time_and_the_brokers() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    for (left, expected) in [(300, 300), (10_000, 10_000), (60_000, 10_000), (u64::MAX / 2, 10_000)] {
        wire.send_to_path(sender, 1, "a", &time_left(left));
        assert_eq!(wire.delivery(recipient).time_left, Some(milliseconds(expected)), "{left}");
        wire.send_to_session(sender, 2, recipient, &time_left(left));
        assert_eq!(wire.delivery(recipient).time_left, Some(milliseconds(expected)), "{left}");
        wire.send_to_filter(sender, 3, &format!("$SessionId is '{}'", wire.session(recipient)), &time_left(left));
        assert_eq!(wire.delivery(recipient).time_left, Some(milliseconds(expected)), "{left}");
    }
    // Who does not say gets what there was before.
    wire.send_to_path(sender, 4, "a", &HeaderBlock::default());
    assert_eq!(wire.delivery(recipient).time_left, None);
}

#[test]
fn without_the_feature_at_either_end_nothing_is_told_and_at_the_senders_nothing_is_taken() {
    let mut wire = wire();
    let without = Features::from_wire(EVERYTHING.to_wire() & !Features::DEADLINES.to_wire());
    for (sender, recipient, waits) in [(EVERYTHING, without, 300), (without, EVERYTHING, 10_000)] {
        let [sender, recipient] = [wire.connect(sender), wire.connect(recipient)];
        wire.register(recipient, "a", &HeaderBlock::default());
        wire.send_to_path(sender, 1, "a", &time_left(300));
        assert_eq!(wire.delivery(recipient).time_left, None);
        wire.pass(milliseconds(waits) - Duration::from_micros(1));
        assert_eq!(wire.got(sender), []);
        wire.pass(Duration::from_micros(1));
        assert_eq!(wire.got(sender), [Got::Error(1, TIMED_OUT, String::new())]);
        wire.close(recipient);
    }
}

#[test]
fn when_the_time_is_over_the_sender_hears_102_and_the_recipient_that_it_is_cancelled() {
    let mut wire = wire();
    let [sender, recipient, plain] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(Features::NONE)];
    for (headers, time) in [(time_left(300), 300), (HeaderBlock::default(), 10_000)] {
        wire.send_to_session(sender, 1, recipient, &headers);
        wire.send_to_session(sender, 2, plain, &headers);
        let (conversation, other) = (wire.delivery(recipient).conversation, wire.delivery(plain).conversation);
        wire.pass(milliseconds(time));
        let error = |conversation| Got::Error(conversation, TIMED_OUT, String::new());
        let mut got = wire.got(sender);
        got.sort_by_key(|got| *got != error(1));
        assert_eq!(got, [error(1), error(2)]);
        assert_eq!((wire.got(recipient), wire.got(plain)), (vec![Got::Cancel(conversation, true)], vec![]));
        assert_eq!(wire.broker.outstanding_requests(), 0);
        // Whatever comes now is too late.
        let late = wire.broker.late_answers();
        wire.respond(recipient, conversation, "late");
        wire.respond(plain, other, "late");
        assert_eq!((wire.got(sender), wire.broker.late_answers()), (vec![], late + 2));
        assert_eq!(wire.broker.open_conversations(), 0);
    }
}

#[test]
fn a_request_whose_time_is_over_is_not_delivered() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    wire.send_to_path(sender, 1, "a", &time_left(0));
    wire.send_to_session(sender, 2, recipient, &time_left(0));
    wire.send_to_filter(sender, 3, "all", &time_left(0));
    let error = |conversation| Got::Error(conversation, TIMED_OUT, String::new());
    assert_eq!(wire.got(sender), [error(1), error(2), error(3)]);
    assert_eq!(wire.got(recipient), []);
}

#[test]
fn what_waits_for_a_connection_is_told_the_time_that_is_left_when_there_is_one() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    wire.send_to_path(sender, 1, "a", &time_left(1_000));
    let before = wire.delivery(recipient);
    wire.lose(recipient);
    for (conversation, left) in [(2, 200), (3, 900), (4, 30_000)] {
        wire.send_to_path(sender, conversation, "a", &time_left(left));
    }
    wire.send_to_path(sender, 5, "a", &HeaderBlock::default());
    wire.pass(milliseconds(400));
    assert_eq!(wire.got(sender), [Got::Error(2, TIMED_OUT, String::new())]);
    assert_eq!(wire.resume(recipient, EVERYTHING), ResponseCode::RECONNECTED);
    let got: Vec<_> = wire
        .got(recipient)
        .into_iter()
        .map(|got| match got {
            Got::Request(delivery) => (delivery.text.clone(), delivery.time_left.map(|left| left.as_millis())),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(got, [("3".into(), Some(500)), ("4".into(), Some(9_600)), ("5".into(), None)]);
    // The one before was received then, and is over now.
    wire.pass(milliseconds(600));
    assert_eq!(wire.got(recipient)[0], Got::Cancel(before.conversation + 2, true));
}

#[test]
fn what_is_sent_again_is_told_the_time_that_is_left_or_none() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    for (conversation, left) in [(1, 200), (2, 900)] {
        wire.send_to_path(sender, conversation, "a", &time_left(left));
    }
    wire.lose_unreceived(recipient, 2);
    wire.pass(milliseconds(400));
    assert_eq!(wire.resume(recipient, EVERYTHING), ResponseCode::RECONNECTED);
    let got = wire.got(recipient);
    let [Got::Request(first), Got::Request(second), Got::Cancel(cancelled, true)] = &got[..] else { panic!("{got:?}") };
    assert_eq!((first.time_left, *cancelled), (Some(Duration::ZERO), first.conversation));
    assert_eq!(second.time_left, Some(milliseconds(500)));
}

#[test]
fn a_client_that_comes_back_without_features_gets_messages_without_headers() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    wire.lose(recipient);
    wire.send_to_path(sender, 1, "a", &time_left(1_000));
    assert_eq!(wire.resume(recipient, Features::NONE), ResponseCode::RECONNECTED);
    assert_eq!(wire.delivery(recipient).time_left, None);
}

#[test]
fn the_time_of_a_request_that_waits_for_its_turn_counts_from_its_arrival() {
    let mut wire = in_short_turns();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    // Three deliveries, one in each turn, and what was asked for after them.
    let third = wire.connect(EVERYTHING);
    wire.put(sender, time_left(150).before(to_filter(1, "all")));
    for (conversation, left) in [(2, 100), (3, 1_000)] {
        wire.put(sender, time_left(left).before(support::raw::to_path(conversation, "a")));
    }
    wire.register(recipient, "a", &HeaderBlock::default());
    wire.pass(milliseconds(500));
    let got = wire.got(sender);
    assert!(got.contains(&Got::Matched(1, 3)), "{got:?}");
    // One was asked in time, one is told at its deadline, and the last was never asked.
    let timed_out = got.iter().filter(|got| **got == Got::Response(501, Err((TIMED_OUT, String::new())))).count();
    assert_eq!(timed_out, 3, "{got:?}");
    assert!(got.contains(&Got::Error(2, TIMED_OUT, String::new())), "{got:?}");
    assert_eq!(wire.got(third), [], "it was its turn when the time was over");
    let deliveries: Vec<_> = wire
        .got(recipient)
        .into_iter()
        .filter_map(|got| match got {
            Got::Request(delivery) => Some((delivery.text, delivery.time_left)),
            _ => None,
        })
        .collect();
    assert_eq!(deliveries, [("to filter".into(), Some(milliseconds(50))), ("3".into(), Some(milliseconds(700)))]);
}

#[test]
fn the_time_of_a_request_that_waits_for_its_turn_is_over_when_it_is_over() {
    let mut wire = in_short_turns();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &HeaderBlock::default());
    wire.put(sender, to_filter(1, "all"));
    for (conversation, left) in [(2, 30), (3, 20), (4, 1_000)] {
        wire.put(sender, time_left(left).before(support::raw::to_path(conversation, "a")));
    }
    wire.got(sender);
    wire.pass(milliseconds(20) - Duration::from_micros(1));
    assert_eq!(wire.got(sender), []);
    for conversation in [3, 2] {
        wire.pass(Duration::from_micros(1));
        assert_eq!(wire.got(sender), [Got::Error(conversation, TIMED_OUT, String::new())]);
        wire.pass(milliseconds(10) - Duration::from_micros(1));
    }
    wire.got(recipient);
    wire.pass(milliseconds(500));
    let asked: Vec<_> = wire.got(recipient).into_iter().filter(|got| matches!(got, Got::Request(_))).collect();
    assert!(matches!(&asked[..], [.., Got::Request(last)] if last.text == "4"), "{asked:?}");
}
