// `npm run test:load`: the long form of the recovery tests that `cargo test` runs in short. Takes about five minutes
// and prints its figures; run it on an idle machine. `node scripts/load.mjs NAME...` runs only the tests whose names
// contain one of these.

import { main, must } from "./lib/run.mjs";
import { rust } from "./lib/setup.mjs";

const TESTS = ["--release", "--locked", "-p", "antiphon-load", "--test", "recovery"];

async function load() {
  await rust();
  // One after the other: they measure.
  const args = ["--nocapture", "--test-threads=1", ...process.argv.slice(2)];
  await must("cargo", ["test", ...TESTS, "--", ...args], { env: { ANTIPHON_LOAD: "long" } });
}

await main(load);
