//! Random sequences of everything that clients can do, against a model that is too plain to be wrong in the same way.
//!
//! After every step, every frame to every client is compared with what the model predicts. The steps are split into
//! short runs, each with a seed of its own, so that a failure is rerun alone:
//!
//! - `ANTIPHON_SEED=…` starts with the run of this seed; without it, the seed is chosen at random and printed.
//! - `ANTIPHON_MODEL_STEPS=…` is the number of steps in all, 100,000 by default; `1` is one run.
//!
//! With `-- --nocapture` it says how long it took and how often it saw what. In reading order:
//!
//! - `frames`: what clients do and see.
//! - `reference`: the model; `identity`, `permissions`, `keys` and `filter` are parts of it.
//! - `books`: what was asked and what came of it, without the model.
//! - `generator`: what happens next.

mod books;
mod filter;
mod frames;
mod generator;
mod identity;
mod keys;
mod permissions;
mod random;
mod reference;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use antiphon_broker::core::access::Access;
use antiphon_broker::core::identity::{Login, Ticket, Verdict};
use antiphon_broker::core::permissions::Permissions;
use antiphon_broker::core::{Arrival, Broker, ConnectionId, Output};
use antiphon_protocol::time::Moment;

use books::Books;
use frames::{Client, Frame, Seen, Sent, Step, Told};
use generator::{Generator, LONGEST_MEMORY, LONGEST_TIMEOUT};
use identity::Known;
use reference::Model;

const STEPS: usize = 100_000;

/// Steps that are shown when a run fails.
const SHOWN_STEPS: usize = 30;

/// How often each kind of frame was seen.
type Tally = BTreeMap<(&'static str, i32), usize>;

#[test]
fn the_broker_does_what_the_model_predicts() {
    let number = |name| {
        let text: Option<String> = std::env::var(name).ok();
        text.map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
    };
    let seed = number("ANTIPHON_SEED").unwrap_or_else(|| getrandom::u64().expect("random numbers"));
    let wanted = number("ANTIPHON_MODEL_STEPS").map_or(STEPS, |steps| usize::try_from(steps).expect("fits"));
    println!("ANTIPHON_SEED={seed}");
    let started = Instant::now();
    let (mut runs, mut steps) = (0, 0);
    let mut tally = Tally::new();
    while steps < wanted {
        let mut run = Run::new(seed.wrapping_add(runs));
        run.play();
        runs += 1;
        steps += run.steps;
        for (kind, count) in run.tally {
            *tally.entry(kind).or_default() += count;
        }
    }
    println!("{steps} steps in {runs} runs: {:.1?}; seen: {tally:?}", started.elapsed());
    if wanted >= STEPS {
        let missing: Vec<_> = EVERYTHING.iter().filter(|kind| !tally.contains_key(kind)).collect();
        assert!(missing.is_empty(), "never seen: {missing:?}; seed {seed}");
    }
}

/// What has to come up among many steps, or the test does not test what it should.
const EVERYTHING: [(&str, i32); 41] = [
    ("accepted", 0),
    ("refused", 102),
    ("refused", 116),
    ("refused", 117),
    ("refused", 119),
    ("reply", 0),
    ("value", 0),
    ("error", 101),
    ("error", 102),
    ("error", 103),
    ("error", 104),
    ("error", 106),
    ("error", 107),
    ("error", 109),
    ("error", 112),
    ("error", 201),
    ("error", 202),
    ("error", 9003),
    ("error", 4711),
    ("error", 10_001),
    ("keyed", 0),
    ("cancelled", 0),
    ("cancelled", 1),
    ("count", 0),
    ("count", 1),
    ("count", 2),
    ("fault", 0),
    ("handle", 0),
    ("addressed", 0),
    ("filter value", 0),
    ("filter error", 101),
    ("filter error", 102),
    ("filter error", 106),
    ("filter error", 109),
    ("filter error", 112),
    ("filter error", 9003),
    ("filter error", 10_001),
    ("ping", 0),
    ("credentials wanted", 0),
    ("abort", 0),
    ("closed", 0),
];

/// One short run: a broker, its clients and the model.
struct Run {
    seed: u64,
    generator: Generator,
    broker: Broker,
    model: Model,
    books: Books,
    /// When the broker wants to be woken.
    wakes: Option<Moment>,
    /// The services of each client's conversations.
    asked: HashMap<Client, HashMap<i64, u32>>,
    /// Who the broker wants to know of, by the number of the question, answered or not.
    questions: HashMap<u64, Login>,
    /// Those that have had a connection response.
    greeted: HashSet<Client>,
    steps: usize,
    tally: Tally,
    /// The last steps, and what was seen of each.
    shown: VecDeque<(Moment, Step, Vec<Seen>)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let mut config = generator.config();
        let timeouts = generator.timeouts();
        for (path, timeout) in &timeouts {
            config.request_timeouts.set(path, *timeout).expect("a valid path");
        }
        let access = match generator.known {
            Known::Inside => Access::development(),
            Known::Outside => Access::outside(Permissions::stock()),
        };
        Self {
            seed,
            broker: Broker::new(config.clone(), access),
            model: Model::new(config, generator.known, timeouts, Moment(0)),
            generator,
            books: Books::default(),
            wakes: None,
            asked: HashMap::new(),
            questions: HashMap::new(),
            greeted: HashSet::new(),
            steps: 0,
            tally: Tally::new(),
            shown: VecDeque::new(),
        }
    }

    /// Plays the run; a difference from the model, or a panic of the broker, is shown with what led to it.
    fn play(&mut self) {
        let error = match catch_unwind(AssertUnwindSafe(|| self.play_steps())) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => "the step panicked, see above".into(),
        };
        let mut report = format!("the last of {} steps:\n", self.steps);
        for (at, step, seen) in &self.shown {
            let _ = writeln!(report, "{:>9} µs  {}", at.0, cut(format!("{step:?}")));
            for Seen { client, conversation, frame } in seen {
                let conversation = conversation.map_or(String::new(), |id| format!(" (conversation {id})"));
                let _ = writeln!(report, "{:>12}  -> {client:?}{conversation} {}", "", cut(format!("{frame:?}")));
            }
        }
        let again = "cargo test -p antiphon-broker --test model";
        panic!("{report}{error}\nto see it again: ANTIPHON_SEED={} ANTIPHON_MODEL_STEPS=1 {again}", self.seed);
    }

    fn play_steps(&mut self) -> Result<(), String> {
        let length = 50 + self.generator.random.below(300);
        if self.generator.random.chance(50) {
            let step = self.generator.permissions();
            self.step(step)?;
        }
        while self.steps < length {
            match self.generator.next(&self.model) {
                Step::Rest(time) => self.pass(time)?,
                step => self.step(step)?,
            }
        }
        // Half of the runs end in the middle of things. In the others, whoever is still there then has had all answers
        // that there will be.
        if self.generator.random.chance(50) {
            // One that waits for a handler has as much time again once one has it.
            self.pass(2 * LONGEST_TIMEOUT)?;
            self.books.close(|client| self.model.is_open(client))?;
        }
        if self.generator.random.chance(50) {
            self.step(Step::Stop)?;
        }
        for client in self.model.applying() {
            self.step(Step::LoseConnection(client))?;
        }
        for client in self.model.open() {
            let step = match self.generator.random.chance(50) {
                true => Step::LoseConnection(client),
                false => Step::Send(client, Sent::CloseRequest),
            };
            self.step(step)?;
        }
        self.pass(2 * LONGEST_TIMEOUT + LONGEST_MEMORY)?;
        // Nothing is left that the broker would have to wake for.
        self.step(Step::Wake)?;
        match (self.broker.session_count(), self.broker.outstanding_requests(), self.wakes) {
            (0, 0, None) => Ok(()),
            left => Err(format!("left at the end: {left:?} (sessions, outstanding requests, time to wake)")),
        }
    }

    /// Time goes on, with a stop wherever the broker wants to be woken.
    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = self.model.now + time;
        for _ in 0..1000 {
            let Some(at) = self.wakes.filter(|at| *at <= end) else {
                return self.step(Step::Rest(end.since(self.model.now)));
            };
            self.step(Step::Rest(at.since(self.model.now)))?;
            self.step(Step::Wake)?;
        }
        Err("the broker wants to be woken without end".into())
    }

    /// One step: done by the broker, predicted by the model, compared.
    fn step(&mut self, step: Step) -> Result<(), String> {
        self.steps += 1;
        if self.shown.len() == SHOWN_STEPS {
            self.shown.pop_front();
        }
        self.shown.push_back((self.model.now, step.clone(), Vec::new()));
        let client = match &step {
            Step::Connect(client, _) => *client,
            _ => Client(0),
        };
        let arrival = Arrival {
            client_ip: format!("192.0.2.{}", client.0 % 256),
            start_time: 1_700_000_000_000 + client.0 as u64,
            random: [u8::try_from(client.0 % 256).expect("small"); 18],
        };
        self.books.enter(&step);
        self.act(&step, &arrival);
        let mut seen = self.drain()?;
        // What the broker does a part at a time; it has to wake for that, and whatever else is due happens as well.
        let goes_on = !matches!(step, Step::Rest(_)) && self.is_due();
        while goes_on && self.is_due() {
            self.act(&Step::Wake, &arrival);
            seen.extend(self.drain()?);
        }
        if let Some((_, _, shown)) = self.shown.back_mut() {
            shown.clone_from(&seen);
        }
        for seen in &seen {
            *self.tally.entry(seen.frame.kind()).or_default() += 1;
        }
        let mut predicted = self.model.predict(&step, &arrival, &seen);
        if goes_on {
            predicted.extend(self.model.predict(&Step::Wake, &arrival, &seen));
        }
        compare(predicted, &seen)?;
        self.model.learn(&seen)?;
        self.books.see(&seen)?;
        self.check_counts()
    }

    /// Whether the broker wants to be woken now.
    fn is_due(&self) -> bool {
        self.wakes.is_some_and(|at| at <= self.model.now)
    }

    fn act(&mut self, step: &Step, arrival: &Arrival) {
        let now = self.model.now;
        match step {
            Step::Connect(client, request) => self.broker.handle_connect(now, connection(*client), request, arrival),
            Step::Send(client, sent) => {
                if let Some((conversation, service)) = sent.asks().filter(|(conversation, _)| *conversation != 0) {
                    self.asked.entry(*client).or_default().insert(conversation, service);
                }
                self.broker.handle_frame(now, connection(*client), &sent.to_frame());
            }
            Step::Violate(client) => self.broker.handle_violation(now, connection(*client)),
            Step::ShowLife(client) => self.broker.handle_sign_of_life(now, connection(*client)),
            Step::LoseConnection(client) => self.broker.handle_disconnected(now, connection(*client)),
            Step::Rest(_) => {}
            Step::Wake => {
                self.wakes = None;
                self.broker.handle_timeout(now);
            }
            Step::SetPermissions(roles, isolated) => {
                let permissions = Permissions::new(roles.clone(), isolated).expect("they fit together");
                self.broker.set_permissions(permissions);
            }
            Step::Tell(question, told) => {
                let verdict = match (told, self.questions.get(question)) {
                    (Told::ByCredentials, Some(login)) => identity::verdict(login),
                    // The broker has to ask before it is told; if not, the model says so.
                    _ => Verdict::Busy,
                };
                self.broker.handle_authenticated(now, Ticket(*question), verdict);
            }
            Step::Reload { gone, takes_tokens } => {
                self.broker.set_standing(|principal, proof| identity::standing(gone, *takes_tokens, principal, proof))
            }
            Step::Stop => self.broker.stop(now, Duration::ZERO),
        }
    }

    /// Everything that the broker wants sent.
    fn drain(&mut self) -> Result<Vec<Seen>, String> {
        let mut seen = Vec::new();
        let nothing = HashMap::new();
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Send(ConnectionId(number), frame) | Output::SendTogether(ConnectionId(number), frame) => {
                    let client = Client(usize::try_from(number).expect("ours"));
                    // The first frame on every connection is the connection response.
                    let (conversation, frame) = if self.greeted.insert(client) {
                        (None, frames::read_connect_response(&frame)?)
                    } else {
                        frames::read(&frame, self.asked.get(&client).unwrap_or(&nothing))
                            .map_err(|error| format!("to {client:?}: {error}"))?
                    };
                    seen.push(Seen { client, conversation, frame });
                }
                Output::Close(ConnectionId(number)) => {
                    let client = Client(usize::try_from(number).expect("ours"));
                    seen.push(Seen { client, conversation: None, frame: Frame::Closed });
                }
                // They say more than is read at a time nowhere here.
                Output::Pause(_) | Output::Resume(_) | Output::Ping(_) => {}
                Output::WakeAt(at) => self.wakes = Some(at),
                Output::Authenticate(Ticket(question), login) => {
                    if self.questions.insert(question, *login).is_some() {
                        return Err(format!("question {question} is asked twice"));
                    }
                }
            }
        }
        Ok(seen)
    }

    fn check_counts(&self) -> Result<(), String> {
        let model = (self.model.open().len(), self.model.outstanding(), self.model.unanswered());
        let broker =
            (self.broker.session_count(), self.broker.outstanding_requests(), self.broker.open_conversations());
        if model != broker {
            return Err(format!("sessions, outstanding requests, unanswered: {model:?}; the broker says {broker:?}"));
        }
        if self.model.late_answers != self.broker.late_answers() {
            let (model, broker) = (self.model.late_answers, self.broker.late_answers());
            return Err(format!("there were {model} late answers; the broker says {broker}"));
        }
        match self.model.next_due() {
            Some(due) if self.wakes.is_none_or(|at| at > due) => {
                Err(format!("something is due at {due:?}, the broker wants to be woken at {:?}", self.wakes))
            }
            _ => Ok(()),
        }
    }
}

/// The beginning of a text that may be very long.
fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(400) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn connection(client: Client) -> ConnectionId {
    ConnectionId(client.0 as u64)
}

/// Each client sees what is predicted for it and nothing else, in any order; but nothing comes after the end of its
/// connection.
fn compare(predicted: Vec<(Client, Frame)>, seen: &[Seen]) -> Result<(), String> {
    let mut missing = predicted;
    for (index, Seen { client, frame, .. }) in seen.iter().enumerate() {
        let fits = |(other, predicted): &(Client, Frame)| other == client && predicted.fits(frame);
        let Some(at) = missing.iter().position(fits) else {
            return Err(format!("{client:?} sees {frame:?}; predicted, besides what was seen: {missing:?}"));
        };
        missing.swap_remove(at);
        let mut later = seen[index + 1..].iter().filter(|later| later.client == *client).map(|later| &later.frame);
        let in_order = match frame {
            Frame::Abort | Frame::Refused { .. } => later.eq([&Frame::Closed]),
            Frame::Closed => later.next().is_none(),
            _ => true,
        };
        if !in_order {
            return Err(format!("the end of {client:?} is not in order"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("never seen: {missing:?}")) }
}
