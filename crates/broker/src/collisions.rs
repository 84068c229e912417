//! Keys that collide under hashes without a random key, and what they cost (V22). For tests.
//!
//! Whoever chooses keys of a table could make each look-up as slow as the table is large, if he could tell where they are. He
//! cannot where the hash begins with random numbers; the cheap hashes that there are beside that are for keys that nobody
//! outside chooses.

use std::time::{Duration, Instant};

/// Keys of a test. Each compared with each takes a hundred times as long as finding each once.
const COUNT: usize = 10_000;

/// How much longer colliding keys may take: nobody else may need the processor just then.
const TOLERANCE: u32 = 10;

/// What hashes multiply by: FxHash, and those of this crate.
const FACTORS: [u64; 2] = [0x517C_C1B7_2722_0A95, 0x9E37_79B9_7F4A_7C15];

/// Asserts that texts which all have the same cheap hash take no longer than others. `insert` makes a table of them.
pub(crate) fn assert_take_no_longer(mut insert: impl FnMut(&[String])) {
    let mut best = |texts: &[String]| {
        let times = (0..3).map(|_| {
            let start = Instant::now();
            insert(texts);
            start.elapsed()
        });
        times.min().unwrap_or_default()
    };
    let others: Vec<_> = (0..COUNT).map(|number| format!("{number:016}")).collect();
    let usual = best(&others).max(Duration::from_millis(1));
    for factor in FACTORS {
        let colliding = best(&texts(factor));
        assert!(colliding < TOLERANCE * usual, "{colliding:?} for keys that collide, {usual:?} for others");
    }
}

/// Texts of two words, of which the second makes up for the first.
fn texts(factor: u64) -> Vec<String> {
    let pairs = (1_u64..).filter_map(|number| {
        // Letters and the like, whatever the number.
        let first = number.wrapping_mul(FACTORS[1]) & 0x3F3F_3F3F_3F3F_3F3F | 0x4040_4040_4040_4040;
        let second = first.wrapping_mul(factor).rotate_left(5);
        let is_ascii = second & 0x8080_8080_8080_8080 == 0;
        let is_good = is_ascii && !second.to_le_bytes().iter().any(|byte| matches!(byte, 0 | b'/'));
        is_good.then(|| [first.to_le_bytes(), second.to_le_bytes()].concat())
    });
    pairs.take(COUNT).filter_map(|bytes| String::from_utf8(bytes).ok()).collect()
}

#[test]
fn the_texts_are_different_and_have_the_same_cheap_hash() {
    for factor in FACTORS {
        let texts = texts(factor);
        let hash = |text: &String| {
            let (words, _) = text.as_bytes().as_chunks::<8>();
            words
                .iter()
                .fold(0_u64, |hash, word| (hash.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(factor))
        };
        assert!(texts.iter().all(|text| hash(text) == hash(&texts[0])));
        assert_eq!(std::collections::BTreeSet::from_iter(&texts).len(), COUNT);
    }
}
