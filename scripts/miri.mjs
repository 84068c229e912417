// `npm run test:miri`: Miri interprets the unit tests of the cores and of what reads the bytes of strangers, and ends at
// what is undefined in Rust. Our crates have no unsafe code; what they stand on has. Without nightly Rust and its component
// it says so and does nothing.
//
// It is slower by a factor of hundreds, so properties are tried with two cases, and what is about large numbers is left
// out. Decoders run with an address sanitizer as well: `npm run test:fuzz` is built with one.

import { fromRoot } from "./lib/paths.mjs";
import { main, must, say } from "./lib/run.mjs";
import { miri, rust } from "./lib/setup.mjs";

const CASES = 2; // of each property

/** What is interpreted: the tests of a crate whose names have one of these in them. */
const TESTS = {
  "antiphon-protocol": [],
  "antiphon-broker": ["core::", "rates::", "net::door", "net::forwarded", "net::frames", "net::heads", "net::origin"],
};

/** And what is not, since it does very much. */
const SKIPPED = [
  "as_tungstenite",
  "at_once",
  "classes_whose",
  "collide",
  "cost_nothing",
  "counts_for_more",
  "forgotten",
  "given_back",
  "removed_entries",
  "thousand",
];

async function interpret() {
  await rust();
  if (!(await miri())) {
    say(
      "\n*** NOTHING IS INTERPRETED: Miri is missing (rustup toolchain install nightly --component miri,rust-src) ***\n",
    );
    return;
  }
  const skipped = SKIPPED.flatMap((name) => ["--skip", name]);
  for (const [crate, names] of Object.entries(TESTS)) {
    const args = ["miri", "test", "--locked", "-p", crate, "--lib", "--target-dir", fromRoot("target", "miri")];
    await must("rustup", ["run", "nightly", "cargo", ...args, "--", ...names, ...skipped], {
      // Properties look for the cases that failed before in files.
      env: { MIRIFLAGS: "-Zmiri-disable-isolation", PROPTEST_CASES: String(CASES) },
    });
  }
}

await main(interpret);
