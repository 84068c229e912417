// `npm run test:miri`: Miri interprets the unit tests of the cores and of what reads the bytes of strangers, and ends at
// what is undefined in Rust. Our crates have no unsafe code; what they stand on has. Without nightly Rust and its component
// it says so and does nothing.
//
// It is slower by a factor of hundreds, so properties are tried with a few cases, and what is about large numbers is left
// out. Decoders run with an address sanitizer as well: `npm run test:fuzz` is built with one.

import { fromRoot } from "./lib/paths.mjs";
import { main, must, say } from "./lib/run.mjs";
import { miri, rust } from "./lib/setup.mjs";

const CASES = 4; // of each property

/** What is interpreted: crate, names of tests, and which of them are left out. */
const TESTS = [
  { crate: "antiphon-protocol", names: [], skipped: [] },
  {
    crate: "antiphon-broker",
    names: [
      "core::",
      "rates::",
      "net::door",
      "net::forwarded",
      "net::frames",
      "net::heads",
      "net::origin",
      "net::arriving",
    ],
    skipped: ["collide", "thousand"],
  },
];

async function interpret() {
  await rust();
  if (!(await miri())) {
    say(
      "\n*** NOTHING IS INTERPRETED: Miri is missing (rustup toolchain install nightly --component miri,rust-src) ***\n",
    );
    return;
  }
  for (const { crate, names, skipped } of TESTS) {
    const args = ["miri", "test", "--locked", "-p", crate, "--lib", "--target-dir", fromRoot("target", "miri")];
    const selected = [...names, ...skipped.flatMap((name) => ["--skip", name])];
    await must("rustup", ["run", "nightly", "cargo", ...args, "--", ...selected], {
      // Properties look for the cases that failed before in files.
      env: { MIRIFLAGS: "-Zmiri-disable-isolation", PROPTEST_CASES: String(CASES) },
    });
  }
}

await main(interpret);
