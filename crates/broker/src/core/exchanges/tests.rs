//! Sums, lists and deadlines are those of the open exchanges, whatever happens to them.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// What can happen to exchanges; sessions by number, others by how many there are.
#[derive(Clone, Debug)]
enum Step {
    Open {
        sender: u64,
        recipient: u64,
        /// Of the sender's request: few, so that some have several exchanges.
        request: i64,
        wait: u64,
        bytes: u32,
    },
    /// A request with a key is delivered.
    OpenKeyed {
        recipient: u64,
        key: u64,
        wait: u64,
        bytes: u32,
    },
    /// A request waits for what becomes of a key.
    Wait {
        sender: u64,
        request: i64,
        key: u64,
        wait: u64,
    },
    PopWaiting(u64),
    /// One of those that were ever opened, by so much time from now.
    Extend(usize, u64),
    CloseDelivery(usize),
    /// One of those that were ever opened: perhaps closed already.
    Answer(usize),
    PassTime(u64),
    /// What was asked in this conversation; each of them lingers, as if its recipient was told or not.
    GiveUp(u64, i64, bool),
    ForgetRecipient(u64),
    ForgetSender(u64),
    /// A session is over, and another one takes its place.
    Replace(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let open = (0..4_u64, 0..4_u64, 0..6_i64, 0..20_u64, 0..100_u32);
    prop_oneof![
        6 => open.prop_map(|(sender, recipient, request, wait, bytes)| {
            Step::Open { sender, recipient, request, wait, bytes }
        }),
        2 => (0..4_u64, 0..3_u64, 0..20_u64, 0..100_u32).prop_map(|(recipient, key, wait, bytes)| {
            Step::OpenKeyed { recipient, key, wait, bytes }
        }),
        3 => (0..4_u64, 0..6_i64, 0..3_u64, 0..20_u64).prop_map(|(sender, request, key, wait)| {
            Step::Wait { sender, request, key, wait }
        }),
        1 => (0..3_u64).prop_map(Step::PopWaiting),
        1 => (any::<usize>(), 0..40_u64).prop_map(|(which, time)| Step::Extend(which, time)),
        1 => any::<usize>().prop_map(Step::CloseDelivery),
        4 => any::<usize>().prop_map(Step::Answer),
        2 => (0..8_u64).prop_map(Step::PassTime),
        2 => (0..4_u64, 0..6_i64, any::<bool>()).prop_map(|(sender, request, told)| {
            Step::GiveUp(sender, request, told)
        }),
        1 => (0..4_u64).prop_map(Step::ForgetRecipient),
        1 => (0..4_u64).prop_map(Step::ForgetSender),
        1 => (0..4_u64).prop_map(Step::Replace),
    ]
}

/// The same in one list, where everything is found by looking at all of it.
#[derive(Default)]
struct Model {
    open: Vec<Exchange>,
    opened: Vec<(SessionKey, ConversationId)>,
}

impl Model {
    fn take(&mut self, is_wanted: impl Fn(&Exchange) -> bool) -> Vec<Exchange> {
        self.open.extract_if(.., |exchange| is_wanted(exchange)).collect()
    }

    fn take_asked(&mut self, sender: SessionKey) -> Vec<Exchange> {
        let mut asked = self.take(|exchange| exchange.sender == sender && exchange.is_awaited());
        asked.sort_by_key(|exchange| exchange.conversation);
        asked
    }

    fn take_unanswered(&mut self, recipient: SessionKey) -> Vec<Exchange> {
        let mut unanswered = self.take(|exchange| exchange.recipient == recipient && exchange.awaited_key().is_none());
        unanswered.sort_by_key(|exchange| exchange.conversation);
        unanswered
    }

    fn load_of(&self, recipient: SessionKey) -> Load {
        let mut load = Load::default();
        let is_its = |exchange: &&Exchange| exchange.recipient == recipient && exchange.awaited_key().is_none();
        for exchange in self.open.iter().filter(is_its) {
            load.requests += 1;
            load.bytes += exchange.bytes as usize;
            load.to_answer += usize::from(exchange.standing != Standing::Cancelled);
        }
        load
    }
}

proptest! {
    #[test]
    fn sums_lists_and_deadlines_are_those_of_the_open_exchanges(steps in prop::collection::vec(step(), 0..200)) {
        let (mut exchanges, mut model) = (Exchanges::default(), Model::default());
        let mut sessions: Vec<_> = (0..4).map(|number| SessionKey { number, place: number as usize }).collect();
        let (mut now, mut conversations, mut replaced) = (Moment(0), 0, 4);
        for step in steps {
            match step {
                Step::Open { sender, recipient, request, wait, bytes } => {
                    conversations += 1;
                    let (conversation, request) = (ConversationId(conversations), ConversationId(request));
                    let exchange = Exchange {
                        sender: sessions[sender as usize],
                        reply_to: ReplyTo::Filter { request, responses: conversation },
                        recipient: sessions[recipient as usize],
                        conversation,
                        registered: (wait % 2 == 0).then(|| Arc::from("even")),
                        takes_place: bytes % 2 == 0,
                        standing: Standing::Awaited,
                        opened: now,
                        deadline: Moment(now.0 + 1 + wait),
                        guard: Moment(now.0 + 1 + 2 * wait),
                        bytes,
                    };
                    model.opened.push((exchange.recipient, conversation));
                    model.open.push(exchange.clone());
                    exchanges.open(exchange);
                }
                Step::OpenKeyed { recipient, key, wait, bytes } => {
                    conversations += 1;
                    let (recipient, key) = (sessions[recipient as usize], KeyId::numbered(key));
                    let exchange = Exchange {
                        sender: sessions[0],
                        reply_to: ReplyTo::Request(ConversationId(1)),
                        recipient,
                        conversation: ConversationId(conversations),
                        registered: (wait % 2 == 0).then(|| Arc::from("even")),
                        takes_place: bytes % 2 == 0,
                        standing: Standing::Awaited,
                        opened: now,
                        deadline: Moment(now.0 + 1 + wait),
                        guard: Moment(now.0 + 1 + 2 * wait),
                        bytes,
                    };
                    model.opened.push((recipient, exchange.conversation));
                    model.open.push(Exchange { standing: Standing::Keyed(key), ..exchange.clone() });
                    exchanges.open_keyed(exchange, key);
                }
                Step::Wait { sender, request, key, wait } => {
                    conversations += 1;
                    let exchange = Exchange {
                        sender: sessions[sender as usize],
                        reply_to: ReplyTo::Request(ConversationId(request)),
                        recipient: sessions[0],
                        conversation: ConversationId(conversations),
                        registered: None,
                        takes_place: false,
                        standing: Standing::AwaitsKey(KeyId::numbered(key)),
                        opened: now,
                        deadline: Moment(now.0 + 1 + wait),
                        guard: Moment(now.0 + 1 + 2 * wait),
                        bytes: 7,
                    };
                    model.open.push(exchange.clone());
                    exchanges.open(exchange);
                }
                Step::PopWaiting(key) => {
                    let key = KeyId::numbered(key);
                    let mut closed: Vec<_> = std::iter::from_fn(|| exchanges.pop_waiting(key)).collect();
                    closed.sort_by_key(|exchange| exchange.conversation);
                    prop_assert_eq!(closed, model.take(|exchange| exchange.awaited_key() == Some(key)));
                }
                Step::Extend(..) | Step::CloseDelivery(_) | Step::Answer(_) if model.opened.is_empty() => {}
                Step::Extend(which, time) => {
                    let (recipient, conversation) = model.opened[which % model.opened.len()];
                    let guard = Moment(now.0 + time);
                    exchanges.extend(Delivery { recipient, conversation }, guard);
                    for exchange in model.open.iter_mut().filter(|open| open.conversation == conversation) {
                        exchange.guard = exchange.guard.max(guard);
                    }
                }
                Step::CloseDelivery(which) => {
                    let (recipient, conversation) = model.opened[which % model.opened.len()];
                    let closed = exchanges.close_delivery(Delivery { recipient, conversation });
                    let expected = model.take(|exchange| exchange.conversation == conversation);
                    prop_assert_eq!(closed, expected.into_iter().next());
                }
                Step::Answer(which) => {
                    let (recipient, conversation) = model.opened[which % model.opened.len()];
                    let answered = model.take(|exchange| exchange.conversation == conversation);
                    if sessions.contains(&recipient) {
                        model.take(|exchange| {
                            exchange.recipient == recipient
                                && exchange.conversation < conversation
                                && exchange.standing == Standing::Cancelled
                        });
                    }
                    prop_assert_eq!(exchanges.answer(recipient, conversation), answered.into_iter().next());
                }
                Step::PassTime(time) => {
                    now = Moment(now.0 + time);
                    let mut expected = model.take(|exchange| exchange.due() <= now);
                    let mut due: Vec<_> = std::iter::from_fn(|| exchanges.pop_due(now)).collect();
                    prop_assert!(due.is_sorted_by_key(Exchange::due));
                    due.sort_by_key(|exchange| exchange.conversation);
                    expected.sort_by_key(|exchange| exchange.conversation);
                    prop_assert_eq!(due, expected);
                }
                Step::GiveUp(sender, request, is_told) => {
                    let (key, request) = (sessions[sender as usize], ConversationId(request));
                    let is_it = |exchange: &Exchange| {
                        (exchange.sender, exchange.reply_to.request()) == (key, request)
                            && exchange.is_awaited()
                    };
                    let mut given_up = exchanges.give_up(key, request);
                    given_up.sort_by_key(|exchange| exchange.conversation);
                    prop_assert_eq!(&given_up, &model.take(is_it));
                    // What it waits for stays open.
                    for exchange in given_up.into_iter().filter(|exchange| exchange.awaited_key().is_none()) {
                        let standing = if is_told { Standing::Cancelled } else { Standing::Unwanted };
                        model.open.push(Exchange { standing, ..exchange.clone() });
                        exchanges.linger(exchange, standing);
                    }
                }
                Step::ForgetRecipient(session) => {
                    let key = sessions[session as usize];
                    prop_assert_eq!(exchanges.forget_recipient(key), model.take_unanswered(key));
                }
                Step::ForgetSender(session) => {
                    let key = sessions[session as usize];
                    prop_assert_eq!(exchanges.forget_sender(key), model.take_asked(key));
                }
                Step::Replace(session) => {
                    let key = sessions[session as usize];
                    let Forgotten { unanswered, asked } = exchanges.forget_session(key);
                    prop_assert_eq!(unanswered, model.take_unanswered(key));
                    prop_assert_eq!(asked, model.take_asked(key));
                    sessions[session as usize].number = replaced;
                    replaced += 1;
                }
            }
            let is_awaited = |exchange: &&Exchange| exchange.is_awaited();
            for key in &sessions {
                let asked = model.open.iter().filter(is_awaited).filter(|exchange| exchange.sender == *key);
                let sums = (asked.clone().count(), asked.map(|exchange| exchange.bytes as usize).sum());
                prop_assert_eq!(exchanges.asked_by(*key), sums);
                prop_assert_eq!(exchanges.load_of(*key), model.load_of(*key));
                let places = model.open.iter().filter(|exchange| {
                    exchange.recipient == *key && exchange.place().is_some_and(|path| **path == *"even")
                });
                prop_assert_eq!(exchanges.places_taken(*key, "even"), places.count());
            }
            let even = model.open.iter().filter(|exchange| {
                exchange.registered.is_some() && exchange.standing != Standing::Cancelled
            });
            prop_assert_eq!(exchanges.at("even"), even.count());
            prop_assert_eq!(exchanges.at("odd"), 0);
            let awaited = model.open.iter().filter(is_awaited).count();
            prop_assert_eq!((exchanges.len(), exchanges.awaited()), (model.open.len(), awaited));
            for key in (0..3).map(KeyId::numbered) {
                let is_awaited = model.open.iter().any(|exchange| exchange.awaited_key() == Some(key));
                prop_assert_eq!(exchanges.is_awaited(key), is_awaited);
            }
            for exchange in model.open.iter().filter(|exchange| exchange.awaited_key().is_none()) {
                let is = exchanges.get(exchange.recipient, exchange.conversation);
                prop_assert_eq!(is, Some(exchange));
            }
            let next_due = model.open.iter().map(Exchange::due).min();
            prop_assert_eq!(exchanges.next_due(), next_due);
        }
    }
}

#[test]
fn the_room_of_a_burst_is_given_back() {
    let mut exchanges = Exchanges::default();
    let session = SessionKey { number: 0, place: 0 };
    let conversations = (1..=2 * ROOM as i64).map(ConversationId);
    for conversation in conversations.clone() {
        exchanges.open(Exchange {
            sender: session,
            reply_to: ReplyTo::Request(conversation),
            recipient: session,
            conversation,
            registered: None,
            takes_place: false,
            standing: Standing::Awaited,
            opened: Moment(0),
            deadline: Moment(1),
            guard: Moment(1),
            bytes: 1,
        });
    }
    assert!(exchanges.open.capacity() > ROOM);
    for conversation in conversations {
        assert!(exchanges.answer(session, conversation).is_some());
    }
    assert_eq!((exchanges.len(), exchanges.open.capacity()), (0, 0));
}
