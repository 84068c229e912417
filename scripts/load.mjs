// `npm run test:load`: the long form of the tests of recovery and of bounds that `npm test` runs in short. Takes a quarter
// of an hour and prints its figures; run it on an idle machine. `node scripts/load.mjs NAME...` runs only the tests whose names
// contain one of these.

import { faults } from "./lib/crates.mjs";
import { cargo, main, must } from "./lib/run.mjs";
import { nodeModules, rust } from "./lib/setup.mjs";

const TESTS = ["--release", "--locked", "-p", "antiphon-load", "--test", "recovery"];
const BOUNDS = ["bounds", "broker-memory", "logins"].map((name) => `tests/rules/${name}.test.mjs`);
/** Rules K-8, K-9: connections of the client for JavaScript are cut. */
const CUTS = "tests/e2e/cuts.test.mjs";
const ROUND_TRIP = ["--release", "--locked", "-p", "antiphon-protocol", "--test", "round_trip"];
const env = { ANTIPHON_LOAD: "long" };

async function load() {
  await rust();
  await nodeModules();
  const names = process.argv.slice(2);
  // One after the other: they measure.
  await must("cargo", ["test", ...TESTS, "--", "--nocapture", "--test-threads=1", ...names], { env });
  // S3: what is written is read as the same, for every message.
  await must("cargo", ["test", ...ROUND_TRIP, "--", ...names], { env: { PROPTEST_CASES: "100000" } });
  await must("npm", ["run", "build"]);
  await must("cargo", ["build", "--release", "--locked", "-p", "antiphon-broker", "-p", "antiphon-load"]);
  const patterns = names.map((name) => `--test-name-pattern=${name}`);
  await cargo(...faults);
  await must("node", ["--test", "--test-concurrency=1", ...patterns, ...BOUNDS, CUTS], { env });
}

await main(load);
