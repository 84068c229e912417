//! A request that its sender gives up is nobody's business any more (section 18.8; rules B-2, B-3).

mod support;

use std::sync::LazyLock;
use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::features::Features;
use antiphon_protocol::wire::error_reason::ErrorReason;
use antiphon_protocol::wire::handshake::ResponseCode;
use antiphon_protocol::wire::headers::HeaderBlock;
use support::raw::{EVERYTHING, Got, Peer, Wire, cancel, to_filter, to_path, user_ping};

static NONE: LazyLock<HeaderBlock> = LazyLock::new(HeaderBlock::default);

fn wire() -> Wire {
    Wire::new(BrokerConfig::default())
}

#[test]
fn who_gives_up_gets_no_answer_and_the_recipient_is_told() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &NONE);
    for is_timed_out in [false, true] {
        wire.send_to_path(sender, 1, "a", &NONE);
        wire.send_to_session(sender, 2, recipient, &NONE);
        let got = wire.got(recipient);
        let [Got::Request(first), Got::Request(second)] = &got[..] else { panic!("{got:?}") };
        wire.cancel(sender, 2, is_timed_out);
        wire.cancel(sender, 1, is_timed_out);
        let cancelled = |conversation| Got::Cancel(conversation, is_timed_out);
        assert_eq!(wire.got(recipient), [cancelled(second.conversation), cancelled(first.conversation)]);
        assert_eq!(wire.broker.outstanding_requests(), 0);
        let late = wire.broker.late_answers();
        wire.respond(recipient, second.conversation, "late");
        assert_eq!((wire.got(sender), wire.broker.late_answers()), (vec![], late + 1));
        // It has read whatever came before that was sent to it.
        assert_eq!(wire.broker.open_conversations(), 0);
    }
}

#[test]
fn a_recipient_without_the_feature_hears_nothing_and_its_answer_is_dropped() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(Features::NONE)];
    wire.send_to_session(sender, 1, recipient, &NONE);
    let conversation = wire.delivery(recipient).conversation;
    wire.cancel(sender, 1, false);
    assert_eq!((wire.got(recipient), wire.broker.outstanding_requests()), (vec![], 0));
    wire.respond(recipient, conversation, "late");
    assert_eq!((wire.got(sender), wire.broker.late_answers()), (vec![], 1));
}

#[test]
fn a_session_that_may_not_cancel_cancels_nothing() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(Features::METADATA), wire.connect(EVERYTHING)];
    wire.send_to_session(sender, 1, recipient, &NONE);
    let conversation = wire.delivery(recipient).conversation;
    wire.cancel(sender, 1, false);
    assert_eq!((wire.got(recipient), wire.got(sender)), (vec![], vec![]));
    wire.respond(recipient, conversation, "answer");
    assert_eq!(wire.got(sender), [Got::Answer(1, "answer".into())]);
}

#[test]
fn cancelling_what_is_not_open_does_nothing() {
    let mut wire = wire();
    let [sender, other, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.send_to_session(other, 1, recipient, &NONE);
    let conversation = wire.delivery(recipient).conversation;
    for id in [1, conversation, 0, -1, i64::MAX, i64::MIN] {
        wire.cancel(sender, id, false);
        // Not by the recipient either: it did not ask.
        wire.cancel(recipient, id, true);
    }
    assert_eq!((wire.got(sender), wire.got(recipient)), (vec![], vec![]));
    wire.respond(recipient, conversation, "answer");
    assert_eq!(wire.got(other), [Got::Answer(1, "answer".into())]);
    // Too late.
    wire.cancel(other, 1, false);
    assert_eq!((wire.got(other), wire.got(recipient)), (vec![], vec![]));
}

#[test]
fn a_request_to_a_filter_is_given_up_at_all_that_have_it() {
    let mut wire = wire();
    let sender = wire.connect(EVERYTHING);
    let recipients: Vec<_> = (0..20).map(|_| wire.connect(EVERYTHING)).collect();
    wire.send_to_filter(sender, 1, "all", &NONE);
    assert_eq!(wire.got(sender).len(), 2, "the number, and its own");
    let conversations: Vec<_> = recipients.iter().map(|peer| wire.delivery(*peer).conversation).collect();
    wire.respond(recipients[3], conversations[3], "three");
    assert_eq!(wire.got(sender), [Got::Response(501, Ok("three".into()))]);
    wire.cancel(sender, 1, false);
    for (at, (peer, conversation)) in recipients.iter().zip(conversations).enumerate() {
        let expected = if at == 3 { vec![] } else { vec![Got::Cancel(conversation, false)] };
        assert_eq!(wire.got(*peer), expected);
        wire.respond(*peer, conversation, "late");
    }
    assert_eq!(wire.got(sender).len(), 1, "it is told of its own");
    assert_eq!((wire.broker.outstanding_requests(), wire.broker.late_answers()), (0, 20));
}

#[test]
fn a_request_to_a_filter_that_is_given_up_goes_to_nobody_else() {
    let mut wire =
        Wire::new(BrokerConfig { turn_recipients: 2, turn_pause: Duration::from_millis(1), ..BrokerConfig::default() });
    let sender = wire.connect(EVERYTHING);
    let recipients: Vec<_> = (0..20).map(|_| wire.connect(EVERYTHING)).collect();
    wire.put(sender, to_filter(1, "all"));
    // What comes behind it waits for it, and may be given up as well; what is no request to others may not.
    wire.put(sender, to_filter(2, "all"));
    wire.put(sender, to_path(3, "nobody"));
    wire.put(sender, user_ping(4));
    for conversation in 1..=4 {
        wire.put(sender, cancel(conversation, false));
    }
    wire.pass(Duration::from_secs(1));
    let asked = recipients.iter().filter(|peer| !wire.got(**peer).is_empty()).count();
    assert_eq!(asked, 1, "and the sender itself");
    let got = wire.got(sender);
    assert_eq!((&got[0], got.last()), (&Got::Matched(1, 21), Some(&Got::Answer(4, String::new()))));
    assert_eq!(got.len(), 4, "its own part of the first: {got:?}");
    assert_eq!(wire.broker.outstanding_requests(), 0);
    // Nothing is left that waits.
    wire.put(sender, user_ping(5));
    assert_eq!(wire.got(sender), [Got::Answer(5, String::new())]);
}

#[test]
fn a_session_that_ends_has_given_everything_up() {
    let mut wire = wire();
    let [sender, recipient, plain] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(Features::NONE)];
    wire.send_to_session(sender, 1, recipient, &NONE);
    wire.send_to_session(sender, 2, plain, &NONE);
    let [first, second] = [recipient, plain].map(|peer| wire.delivery(peer).conversation);
    wire.close(sender);
    assert_eq!((wire.got(recipient), wire.got(plain)), (vec![Got::Cancel(first, false)], vec![]));
    assert_eq!(wire.broker.outstanding_requests(), 0);
    wire.respond(recipient, first, "late");
    wire.respond(plain, second, "late");
    assert_eq!((wire.broker.late_answers(), wire.broker.open_conversations()), (2, 0));
}

#[test]
fn a_session_that_loses_its_past_has_given_everything_up() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.send_to_session(sender, 1, recipient, &NONE);
    let conversation = wire.delivery(recipient).conversation;
    wire.lose(sender);
    assert_eq!(wire.got(recipient), [], "it may come back");
    wire.resume_with_loss(sender);
    assert_eq!(wire.got(recipient), [Got::Cancel(conversation, false)]);
}

#[test]
fn a_request_that_nobody_waits_for_by_its_nature_is_not_given_up() {
    let mut wire = wire();
    let [sender, recipient, away] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    wire.lose(away);
    wire.send_to_session(sender, 0, recipient, &NONE);
    wire.send_to_session(sender, 0, away, &NONE);
    let conversation = wire.delivery(recipient).conversation;
    wire.cancel(sender, 0, false);
    wire.close(sender);
    assert_eq!(wire.got(recipient), []);
    wire.respond(recipient, conversation, "done");
    assert_eq!(wire.resume(away, EVERYTHING), ResponseCode::RECONNECTED);
    assert_eq!(wire.delivery(away).text, "to session");
}

#[test]
fn what_waits_for_a_connection_is_never_delivered() {
    let mut wire = wire();
    let [sender, recipient] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    let plain = wire.connect(Features::NONE);
    for peer in [recipient, plain] {
        wire.send_to_session(sender, 1, peer, &NONE);
        let before = wire.delivery(peer).conversation;
        wire.lose(peer);
        for conversation in 2..=6 {
            wire.send_to_session(sender, conversation, peer, &NONE);
        }
        for conversation in [1, 2, 4, 6] {
            wire.cancel(sender, conversation, false);
        }
        assert_eq!(wire.broker.outstanding_requests(), 2);
        for _ in 0..2 {
            assert_eq!(
                wire.resume(peer, if peer == plain { Features::NONE } else { EVERYTHING }),
                ResponseCode::RECONNECTED
            );
            let got = wire.got(peer);
            let requests: Vec<_> = got.iter().filter(|got| matches!(got, Got::Request(_))).collect();
            let cancelled: Vec<_> = got.iter().filter(|got| **got == Got::Cancel(before, false)).collect();
            assert_eq!((requests.len(), cancelled.len()), (2, usize::from(peer == recipient)), "{got:?}");
            assert_eq!(got.len(), requests.len() + cancelled.len());
            // And once more, as if nothing of this had arrived.
            let count = got.len() as u64;
            wire.lose_unreceived(peer, count);
        }
        for conversation in [3, 5] {
            wire.cancel(sender, conversation, false);
        }
    }
    assert_eq!(wire.got(sender), []);
}

/// How many requests a recipient takes while all are given up at once.
fn flood(wire: &mut Wire, sender: Peer, recipient: Peer) -> usize {
    let before = wire.got(sender).len();
    assert_eq!(before, 0);
    for conversation in 1..=200 {
        wire.send_to_session(sender, conversation, recipient, &NONE);
        wire.cancel(sender, conversation, false);
    }
    200 - wire.got(sender).len()
}

#[test]
fn requests_that_are_given_up_at_once_do_not_flood_a_recipient_that_does_not_read() {
    let mut wire = Wire::new(BrokerConfig {
        max_requests_to_answer: 50,
        request_timeout: Duration::from_secs(10),
        ..BrokerConfig::default()
    });
    let sender = wire.connect(EVERYTHING);
    for features in [EVERYTHING, Features::NONE] {
        let recipient = wire.connect(features);
        assert_eq!(flood(&mut wire, sender, recipient), 50);
        let last = wire.got(recipient).into_iter().rev().find_map(|got| match got {
            Got::Request(delivery) => Some(delivery.conversation),
            _ => None,
        });
        // An answer shows that it has read what came before, and that it was cancelled if it could be told.
        wire.respond(recipient, last.expect("asked"), "late");
        assert_eq!(flood(&mut wire, sender, recipient), if features == EVERYTHING { 50 } else { 1 });
        wire.pass(Duration::from_secs(10));
        assert_eq!(flood(&mut wire, sender, recipient), 50);
        wire.close(recipient);
    }
}

#[test]
fn what_is_busy_is_112_to_those_who_do_not_know_10001() {
    let mut wire = Wire::new(BrokerConfig { max_requests_to_answer: 1, ..BrokerConfig::default() });
    let [sender, plain, recipient] = [wire.connect(EVERYTHING), wire.connect(Features::NONE), wire.connect(EVERYTHING)];
    wire.register(recipient, "a", &NONE);
    wire.send_to_session(sender, 1, recipient, &NONE);
    for (peer, reason) in [(sender, ErrorReason::BUSY), (plain, ErrorReason::CLUSTER_ROUTING)] {
        wire.send_to_session(peer, 2, recipient, &NONE);
        wire.send_to_path(peer, 3, "a", &NONE);
        wire.send_to_filter(peer, 4, &format!("$SessionId is '{}'", wire.session(recipient)), &NONE);
        assert_eq!(
            wire.got(peer),
            [
                Got::Error(2, reason, String::new()),
                Got::Error(3, reason, String::new()),
                Got::Matched(4, 1),
                Got::Response(504, Err((reason, String::new()))),
            ]
        );
    }
}
