//! A simulation of both cores: one broker, a few clients, connections between them, and faults. Time, delays, faults and
//! everything that the applications do are drawn from a seed, so that a seed is a whole story that can be told again.
//!
//! What must hold whatever happens: each request comes to exactly one end, in time and with a true account of it; no
//! handler sees a request twice, not even one that is sent again with its key; and soon after the last fault everything
//! works again, and everybody who watches handlers has been told which there are.
//!
//! - `world`: time, the connections, and the loop that lets one thing happen after the other.
//! - `faults`: what is drawn from the seed before the story begins, and what goes wrong in it.
//! - `application`: what the applications ask for, answer and are told, and what of it has to be so.
//!
//! `ANTIPHON_SIMULATION_SEEDS=1000000` tells more stories, `ANTIPHON_SEED=n` tells one.

mod application;
#[path = "../../../broker/tests/support/drive.rs"]
mod drive;
mod faults;
mod tap;
mod world;

use std::any::Any;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::{Tally, World};

/// How many stories a run of all tests tells.
const SEEDS: u64 = 10_000;

#[test]
fn whatever_happens_every_request_comes_to_one_end_and_every_session_recovers() {
    let one = setting("ANTIPHON_SEED");
    let (first, last) = match one {
        Some(seed) => (seed, seed + 1),
        None => (0, setting("ANTIPHON_SIMULATION_SEEDS").unwrap_or(SEEDS)),
    };
    let next = AtomicU64::new(first);
    let total = Mutex::new(Tally::default());
    let failed = Mutex::new(None::<u64>);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failed.lock().unwrap().is_some() {
                        break;
                    }
                    let mut world = World::new(seed);
                    match tell(&mut world) {
                        Ok(()) => tally.add(&world.tally),
                        Err(_) => *failed.lock().unwrap() = Some(seed),
                    }
                }
                total.lock().unwrap().add(&tally);
            });
        }
    });
    if let Some(seed) = failed.into_inner().unwrap() {
        let mut world = World::new(seed);
        world.keep_log();
        let fault = tell(&mut world).expect_err("the same story again");
        panic!("{}\n{fault}\nrun again with ANTIPHON_SEED={seed}", world.last_events());
    }
    let total = total.into_inner().unwrap();
    println!("{} seeds: {total:?}", last - first);
    if one.is_none() && last >= SEEDS {
        // Stories in which nothing happens would show nothing.
        let Tally { answered, failed, repeats, lossless, losses, new_sessions, closed, renewals, told, .. } = total;
        for figure in [answered, failed, repeats, lossless, losses, new_sessions, closed, renewals, told] {
            assert!(figure > last / 10, "{total:?}");
        }
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..50 {
        let story = || {
            let mut world = World::new(seed);
            world.keep_log();
            let end = tell(&mut world);
            (end, world.tally, world.last_events())
        };
        assert_eq!(story(), story(), "seed {seed}");
    }
}

/// Lets the story happen. The error is the first thing that must not happen, or a panic of a core.
fn tell(world: &mut World) -> Result<(), String> {
    let told = catch_unwind(AssertUnwindSafe(|| world.run()));
    let panic = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    };
    told.unwrap_or_else(|caught| Err(format!("panic: {}", panic(caught))))
}

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}
