//! The inputs in `corpus/`, and changed ones, through the functions that the fuzzer calls: no panic, no allocation without
//! measure. What the fuzzer finds belongs there, with the mending.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_fuzz::{TARGETS, target};

/// Most that a decoder may have allocated at a time.
const MOST: usize = 64 << 20;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, by the names of their files.
fn inputs(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = corpus().join(name);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(path).expect("bytes")))
        .collect();
    inputs.sort();
    inputs
}

/// Calls a target, and says what it was given should it fail.
fn call(name: &str, run: fn(&[u8]), input: &[u8], what: &str) {
    /// Tells of the input if it is dropped by a panic.
    struct Told<'a>(&'a str, &'a [u8], &'a str);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{} failed with {}: {:?}", self.0, self.2, self.1);
            }
        }
    }
    let _told = Told(name, input, what);
    PEAK.set(0);
    HELD.set(0);
    run(input);
    assert!(PEAK.get() <= MOST as isize, "{} bytes were allocated", PEAK.get());
}

#[test]
fn no_input_of_the_corpus_is_too_much_for_its_decoder() {
    for (name, run) in TARGETS {
        let inputs = inputs(name);
        assert!(inputs.len() > 1, "{name} has no inputs");
        for (file, input) in inputs {
            call(name, *run, &input, &file);
        }
    }
}

#[test]
fn each_folder_of_the_corpus_has_a_decoder() {
    for folder in fs::read_dir(corpus()).expect("the corpus") {
        let name = folder.expect("a folder").file_name();
        assert!(target(&name.to_string_lossy()).is_some(), "{name:?}");
    }
}

/// What the fuzzer does, for a moment and without looking: `SEED` repeats a run.
#[test]
fn no_changed_input_is_too_much_for_its_decoder() {
    let seed = std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for (name, run) in TARGETS {
        let inputs = inputs(name);
        for round in 0..1000 {
            let (_, input) = &inputs[random.usize(..inputs.len())];
            let mut input = input.clone();
            for _ in 0..random.usize(1..4) {
                change(&mut input, &mut random);
            }
            call(name, *run, &input, &format!("round {round}"));
        }
    }
}

/// Changes one thing about an input.
fn change(input: &mut Vec<u8>, random: &mut fastrand::Rng) {
    let at = random.usize(..=input.len());
    match random.u8(..5) {
        0 => input.insert(at, random.u8(..)),
        1 => input.truncate(at),
        2 => input.extend_from_within(at..),
        _ if at == input.len() => {}
        3 => input[at] ^= 1 << random.u8(..8),
        _ => input[at] = *random.choice(&[0, 1, 0x7F, 0x80, 0xFF]).expect("one of them"),
    }
}

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Counts what each thread holds.
struct Counting;

fn count(bytes: isize) {
    // Not counted while the thread ends.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
