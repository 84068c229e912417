//! A handler that is late with an answer is asked for a sign of life (rules L-9).

mod support;

use std::time::Duration;

use antiphon_broker::core::BrokerConfig;
use antiphon_protocol::client::Event;
use antiphon_protocol::wire::envelope::Message;
use antiphon_protocol::wire::headers::HeaderBlock;
use antiphon_protocol::wire::services::{Service, SystemPing};
use support::raw::{EVERYTHING, Got, Peer, Wire, to_filter, to_path};
use support::{Behaviour, Client, Network, text_of};

const SECOND: Duration = Duration::from_secs(1);

/// No pings but probes.
fn network() -> Network {
    let probe_timeout = 3 * SECOND;
    Network::with(BrokerConfig { ping_period: Duration::ZERO, probe_timeout, ..BrokerConfig::default() })
}

/// How often a client was pinged.
fn pings(network: &Network, client: Client) -> usize {
    let is_ping = |frame: &&Vec<u8>| {
        matches!(Message::decode(frame), Ok(Message::ServiceRequest { service: SystemPing::ID, .. }))
    };
    network.frames(client).iter().filter(is_ping).count()
}

fn is_lost(network: &mut Network, client: Client) -> bool {
    network.events(client).iter().any(|event| matches!(event, Event::Disconnected(_)))
}

#[test]
fn a_handler_that_is_dead_among_three_keeps_only_what_was_sent_to_it_before_the_probe() {
    let mut network = network();
    let [client] = network.connect(["client"]);
    let handlers = network.connect_for_long(["a", "b", "c"]);
    for handler in handlers {
        network.register(handler, "a", &[], Behaviour::Keep).expect("registered");
    }
    let [dead, living @ ..] = handlers;
    network.freeze(dead);
    // None of them answers, but two live.
    let requests: Vec<_> = (0..100)
        .map(|number| {
            let pending = network.request(client, "a", &number.to_string());
            network.pass(SECOND / 10);
            pending
        })
        .collect();
    let received = |network: &mut Network, client| {
        let texts = std::iter::from_fn(|| network.received(client)).map(|request| text_of(&request.request));
        texts.map(|text| text.parse::<usize>().expect("a number")).collect::<Vec<_>>()
    };
    let of_living: usize = living.into_iter().map(|client| received(&mut network, client).len()).sum();
    assert!(living.into_iter().all(|client| !is_lost(&mut network, client)));
    // It has them still, when it is back.
    network.thaw_and_cut(dead);
    network.pass(10 * SECOND);
    let of_dead = received(&mut network, dead);
    assert_eq!(of_dead.len() + of_living, requests.len());
    // Within two seconds and a moment of the first.
    let first = *of_dead.first().expect("it was asked");
    assert!(of_dead.iter().all(|number| *number <= first + 21), "{of_dead:?}");
}

#[test]
fn a_handler_that_is_slow_keeps_its_connection_and_is_asked_once_in_a_while() {
    let mut network = network();
    let [client] = network.connect(["client"]);
    let [handler] = network.connect_for_long(["handler"]);
    network.register(handler, "a", &[], Behaviour::Keep).expect("registered");
    network.request(client, "a", "");
    network.pass(30 * SECOND);
    assert!(!is_lost(&mut network, handler));
    let asked = pings(&network, handler);
    assert!((10..=15).contains(&asked), "{asked} in 30 s");
    let request = network.received(handler).expect("a request");
    network.respond(handler, request.id, "done");
    // Its answers take half a minute.
    network.request(client, "a", "");
    network.pass(10 * SECOND);
    assert_eq!(pings(&network, handler), asked, "it is not late yet");
}

#[test]
fn who_owes_nothing_is_not_asked() {
    let mut network = network();
    let [client] = network.connect(["client"]);
    let [handler] = network.connect_for_long(["handler"]);
    network.answer(handler, "a", "");
    network.request(client, "a", "");
    network.pass(60 * SECOND);
    network.freeze(handler);
    network.pass(60 * SECOND);
    assert_eq!(pings(&network, handler), 0);
}

#[test]
fn who_is_sent_much_has_time_for_it() {
    let mut network = network();
    let [client] = network.connect(["client"]);
    let [handler] = network.connect_for_long(["handler"]);
    network.register(handler, "a", &[], Behaviour::Keep).expect("registered");
    network.request(client, "a", &"x".repeat(320 << 10));
    network.pass(11 * SECOND);
    assert_eq!(pings(&network, handler), 0, "it has ten seconds for that");
    network.pass(2 * SECOND);
    assert_eq!(pings(&network, handler), 1);
}

#[test]
fn whose_requests_have_waited_for_their_turn_is_heard_when_they_have_it_and_chosen_again() {
    let mut wire = Wire::new(BrokerConfig {
        turn_recipients: 1,
        turn_pause: 5 * SECOND,
        probe_timeout: 60 * SECOND,
        request_timeout: 300 * SECOND,
        ..BrokerConfig::default()
    });
    let sender = wire.connect(EVERYTHING);
    let handlers @ [held, dead, other] = [wire.connect(EVERYTHING), wire.connect(EVERYTHING), wire.connect(EVERYTHING)];
    for handler in handlers {
        wire.register(handler, "a", &HeaderBlock::default());
    }
    // One of them owes an answer; what it asks for waits until two others are asked. The next one owes more, and is silent
    // for good.
    let two = [sender, wire.connect(EVERYTHING)].map(|peer| format!("$SessionId is '{}'", wire.session(peer)));
    wire.put(held, to_filter(1, &two.join(" or ")));
    wire.put(held, to_path(2, "nobody"));
    for recipient in [held, dead, dead, dead] {
        wire.send_to_session(sender, 3, recipient, &HeaderBlock::default());
    }
    wire.pass(4 * SECOND);
    // How many of forty requests each of them gets; the living one answers at once.
    let ask = |wire: &mut Wire| {
        let mut asked = [0; 3];
        for peer in handlers {
            wire.got(peer);
        }
        for _ in 0..40 {
            wire.send_to_path(sender, 4, "a", &HeaderBlock::default());
            for (count, peer) in asked.iter_mut().zip(handlers) {
                *count += answer(wire, peer, peer == other);
            }
        }
        asked
    };
    assert_eq!(ask(&mut wire), [0, 0, 40], "two were asked for a sign of life");
    wire.pass(6 * SECOND + SECOND / 2);
    let [of_held, of_dead, _] = ask(&mut wire);
    assert!(of_held > 0 && of_dead == 0, "{of_held} and {of_dead}");
}

/// The number of requests that came to a client, which answers them or not.
fn answer(wire: &mut Wire, peer: Peer, answers: bool) -> usize {
    let mut count = 0;
    for got in wire.got(peer) {
        if let Got::Request(request) = got {
            count += 1;
            if answers {
                wire.respond(peer, request.conversation, "done");
            }
        }
    }
    count
}
