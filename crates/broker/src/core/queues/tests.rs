//! Senders take their turns, whatever happens to what waits.

use proptest::prelude::*;

use super::*;

fn session(number: u64) -> SessionKey {
    SessionKey { number, place: number as usize }
}

fn waiting(sender: u64, conversation: i64, deadline: u64) -> Waiting {
    let asker =
        Asker { now: Moment(0), session: session(sender), conversation: ConversationId(conversation), due: None };
    Waiting { asker, deadline: Moment(deadline), headers: HeaderBlock::default(), body: Box::new([0; 3]), name: None }
}

#[derive(Clone, Debug)]
enum Step {
    Push {
        path: usize,
        sender: u64,
        conversation: i64,
        wait: u64,
    },
    Take(usize),
    /// Takes one and puts it back.
    TryInVain(usize),
    Withdraw(u64, i64),
    Forget(u64),
    PassTime(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let push = (0..2_usize, 0..4_u64, 0..8_i64, 0..20_u64);
    prop_oneof![
        6 => push.prop_map(|(path, sender, conversation, wait)| Step::Push { path, sender, conversation, wait }),
        4 => (0..2_usize).prop_map(Step::Take),
        2 => (0..2_usize).prop_map(Step::TryInVain),
        1 => (0..4_u64, 0..8_i64).prop_map(|(sender, conversation)| Step::Withdraw(sender, conversation)),
        1 => (0..4_u64).prop_map(Step::Forget),
        1 => (0..8_u64).prop_map(Step::PassTime),
    ]
}

/// What waits at a path: by sender, in the order of their turns.
type Model = Vec<(u64, Vec<(i64, u64)>)>;

/// Takes out those that are wanted no more; their conversations.
fn remove(model: &mut Model, is_wanted: impl Fn(u64, i64, u64) -> bool) -> Vec<i64> {
    let mut removed = Vec::new();
    for (sender, requests) in model.iter_mut() {
        let gone = requests.extract_if(.., |(conversation, due)| !is_wanted(*sender, *conversation, *due));
        removed.extend(gone.map(|(conversation, _)| conversation));
    }
    model.retain(|(_, requests)| !requests.is_empty());
    removed
}

proptest! {
    #[test]
    fn senders_take_turns_and_each_has_its_oldest_first(steps in prop::collection::vec(step(), 0..200)) {
        let paths: [Arc<str>; 2] = ["a".into(), "b".into()];
        let (mut queues, mut models) = (Queues::default(), [Model::new(), Model::new()]);
        let mut now = 0;
        for step in steps {
            match step {
                Step::Push { path, sender, conversation, wait } => {
                    queues.push(&paths[path], waiting(sender, conversation, now + 1 + wait));
                    let model = &mut models[path];
                    match model.iter_mut().find(|(other, _)| *other == sender) {
                        Some((_, requests)) => requests.push((conversation, now + 1 + wait)),
                        None => model.push((sender, vec![(conversation, now + 1 + wait)])),
                    }
                }
                Step::Take(path) => {
                    let taken = queues.take(&paths[path]).map(|taken| taken.waiting);
                    let model = &mut models[path];
                    let expected = (!model.is_empty()).then(|| {
                        let (sender, mut requests) = model.remove(0);
                        let (conversation, deadline) = requests.remove(0);
                        if !requests.is_empty() {
                            model.push((sender, requests));
                        }
                        waiting(sender, conversation, deadline)
                    });
                    prop_assert_eq!(taken, expected);
                }
                Step::TryInVain(path) => {
                    if let Some(taken) = queues.take(&paths[path]) {
                        queues.put_back(taken);
                    }
                }
                Step::Withdraw(sender, conversation) => {
                    queues.withdraw(session(sender), ConversationId(conversation));
                    for model in &mut models {
                        remove(model, |other, request, _| (other, request) != (sender, conversation));
                    }
                }
                Step::Forget(sender) => {
                    queues.forget(session(sender));
                    for model in &mut models {
                        remove(model, |other, _, _| other != sender);
                    }
                }
                Step::PassTime(time) => {
                    now += time;
                    let due = std::iter::from_fn(|| queues.pop_due(Moment(now)));
                    let mut due: Vec<_> = due.map(|waiting| waiting.asker.conversation.0).collect();
                    let mut expected: Vec<_> =
                        models.iter_mut().flat_map(|model| remove(model, |_, _, deadline| deadline > now)).collect();
                    due.sort_unstable();
                    expected.sort_unstable();
                    prop_assert_eq!(due, expected);
                }
            }
            for (path, model) in paths.iter().zip(&models) {
                prop_assert_eq!(queues.len_at(path), model.iter().map(|(_, requests)| requests.len()).sum::<usize>());
            }
            for sender in 0..4 {
                let of = models.iter().flatten().filter(|(other, _)| *other == sender);
                let count: usize = of.map(|(_, requests)| requests.len()).sum();
                prop_assert_eq!(queues.asked_by(session(sender)), (count, 3 * count));
            }
            let all = || models.iter().flatten().flat_map(|(_, requests)| requests);
            prop_assert_eq!((queues.len(), queues.bytes()), (all().count(), 3 * all().count()));
            let next_due = all().map(|(_, due)| Moment(*due)).min();
            while queues.pop_ready().is_some() {}
            prop_assert_eq!(queues.next_due(), next_due);
        }
    }
}

#[test]
fn paths_take_turns_too() {
    let paths: [Arc<str>; 3] = ["a".into(), "b".into(), "c".into()];
    let mut queues = Queues::default();
    for path in &paths {
        queues.push(path, waiting(1, 1, 5));
        queues.mark_ready(path);
    }
    let order: Vec<_> = (0..5)
        .map(|_| {
            let path = queues.pop_ready().expect("ready");
            queues.mark_ready(&path);
            path.to_string()
        })
        .collect();
    assert_eq!(order, ["a", "b", "c", "a", "b"]);
}

#[test]
fn a_path_at_which_nothing_waits_is_not_ready() {
    let path: Arc<str> = "a".into();
    let mut queues = Queues::default();
    queues.mark_ready(&path);
    assert_eq!((queues.pop_ready(), queues.next_due()), (None, None));
    queues.push(&path, waiting(1, 1, 5));
    queues.mark_ready(&path);
    assert_eq!(queues.next_due(), Some(Moment::default()));
    queues.forget(session(1));
    assert_eq!((queues.pop_ready(), queues.next_due()), (None, None));
}
