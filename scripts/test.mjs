// `npm test`: everything there is to check, step by step, each with its time and its number of tests; the last line sums
// them up. `node scripts/test.mjs STEP...` runs some steps and what they need. A step that fails does not stop those that
// can do without it; a test step in which no test ran has failed.

import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { installTools } from "../tests/package/support/tools.mjs";
import { startBroker } from "../tests/support/broker.mjs";
import { build, buildBroker, checkSize } from "./build.mjs";
import { findChromedriver, onPath } from "./lib/browsers.mjs";
import { browserTests, examplePage, faults, NATIVE, WASM } from "./lib/crates.mjs";
import { filesBelow } from "./lib/files.mjs";
import { fromRoot, wasmTestRunner } from "./lib/paths.mjs";
import { cargo, Failure, main, must, quiet, run, say } from "./lib/run.mjs";
import { browser, nodeModules, openssl, otherBrowsers, proxies, pythonClient, rust } from "./lib/setup.mjs";
import { packed } from "./lib/tarball.mjs";

const RUNNER = [
  "--test",
  "--test-reporter=spec",
  "--test-timeout=300000", // ms, for one file: a test that hangs has to show as failed
];

/** Folders whose files run two at a time, since they mostly wait. Elsewhere what is timed needs the whole machine. */
const IN_PAIRS = ["tests/interop", "tests/rules"];

/**
 * In the order in which they run. `tests` is what a step does when it returns how many tests passed and failed; those
 * `onRequest` run only when they are named.
 */
const steps = {
  setup: { run: setup },
  lint: { needs: ["setup"], run: lint },
  rust: { needs: ["setup"], tests: rustTests },
  js: { needs: ["setup"], tests: () => nodeTests("tests/js") },
  build: { needs: ["setup"], run: buildAll },
  size: { needs: ["build"], run: checkSize },
  rules: { needs: ["build"], tests: rulesTests },
  types: { needs: ["build"], tests: types },
  browser: { run: browser },
  docs: { needs: ["build", "browser"], tests: () => nodeTests("tests/docs") },
  web: { needs: ["build", "browser"], tests: () => nodeTests("tests/web") },
  wasm: { needs: ["build", "browser"], tests: wasmTests },
  bench: { needs: ["build", "browser"], tests: benchTests },
  proxies: { run: proxies },
  e2e: { needs: ["build", "browser", "proxies"], tests: e2eTests },
  python: { run: pythonClient },
  interop: { needs: ["build", "browser", "python"], tests: () => nodeTests("tests/interop") },
  package: { needs: ["build", "browser"], tests: () => packageTests((path) => !isFull(path)) },
  tools: { run: installTools, onRequest: true },
  bundlers: { needs: ["build", "browser", "tools"], tests: () => packageTests(isFull), onRequest: true },
  engines: { run: otherBrowsers, onRequest: true },
  browsers: { needs: ["build", "browser", "engines"], tests: () => nodeTests("tests/browsers"), onRequest: true },
};

async function setup() {
  await nodeModules();
  await rust();
  await openssl();
}

async function buildAll() {
  await build();
  await buildBroker();
}

async function lint() {
  const colors = process.stdout.isTTY ? "force" : "off"; // left alone, biome writes colours into every log
  const strict = ["--all-targets", "--locked", ...quiet, "--", "-D", "warnings"];
  await all(
    ["cargo", ["fmt", "--all", "--check"]],
    ["cargo", ["clippy", ...NATIVE, ...strict]],
    ["cargo", ["clippy", "-p", "antiphon", "-p", "antiphon-example", ...WASM, ...strict]],
    [process.execPath, [fromRoot("node_modules", "@biomejs", "biome", "bin", "biome"), "ci", `--colors=${colors}`]],
  );
}

/** The types as they ship, used by name as an application does. */
async function types() {
  await must(process.execPath, [fromRoot("node_modules", "typescript", "bin", "tsc"), "--project", "tests/types"]);
  return nodeTests("tests/types");
}

async function rustTests() {
  if (!onPath("cargo-nextest")) return libtest(await test("cargo", ["test", ...NATIVE, "--locked", "--no-fail-fast"]));
  const terse = ["--no-fail-fast", "--cargo-quiet", "--status-level", "fail", "--final-status-level", "slow"];
  return sum([
    nextest(await test("cargo", ["nextest", "run", ...NATIVE, "--locked", ...terse])),
    // nextest leaves out the examples in the documentation.
    libtest(await test("cargo", ["test", ...NATIVE, "--locked", "--doc", "--no-fail-fast"])),
  ]);
}

/** What messages and lost connections come to has to be the same without batching, and at the path `/antiphon`. */
async function rulesTests() {
  // Not optimised, like everything that only tests use.
  await cargo("build", "-p", "antiphon-load", "--bin", "antiphon-attacks");
  const both = /^(messaging\/|reconnection\/(handlers|loss|recovery|settling|waiting)\.)/;
  return sum([
    await nodeTests("tests/rules"),
    await nodeTests("tests/rules", (path) => both.test(path), { ANTIPHON_BATCHING: "off", ANTIPHON_DOOR: "/antiphon" }),
  ]);
}

async function wasmTests() {
  const broker = await startBroker();
  try {
    const env = {
      BROKER_URL: broker.url,
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: wasmTestRunner,
      CHROMEDRIVER: findChromedriver(),
      WASM_BINDGEN_TEST_TIMEOUT: "120",
    };
    const args = [...browserTests, "--locked"];
    let result = await test("cargo", args, env);
    // The runner's web server sometimes leaves one of Chromium's connections unserved, and the page never loads.
    for (let again = 0; again < 2 && neverLoaded(result.output); again++) result = await test("cargo", args, env);
    return libtest(result);
  } finally {
    await broker.stop();
  }
}

const neverLoaded = (output) => output.includes("Running headless tests") && !/^running \d+ tests?$/m.test(output);

async function benchTests() {
  // Together, so that they share what they depend on.
  await cargo("build", "--release", "-p", "antiphon-broker", "-p", "antiphon-relay");
  return nodeTests("tests/bench");
}

async function e2eTests() {
  // The network of some of them; not optimised, like everything that only tests use.
  await cargo(...faults);
  // Before other tests are in a hurry: a test builds the example, which takes most of a minute the first time.
  await cargo(...examplePage);
  return nodeTests("tests/e2e");
}

/** Whether a test of the tarball needs the bundlers that `tools` installs, and is left to `npm run test:package`. */
const isFull = (path) => path.includes(".full.");

/** Tests of the tarball, which is packed before the first of them. */
async function packageTests(select) {
  await packed();
  return nodeTests("tests/package", select);
}

async function nodeTests(folder, select = () => true, env = {}) {
  const files = filesBelow(fromRoot(folder)).filter((path) => /\.(test|spec)\.mjs$/.test(path) && select(path));
  if (files.length === 0) return { passed: 0, failed: 0, status: 0 };
  const paths = files.map((path) => join(folder, path));
  const together = `--test-concurrency=${IN_PAIRS.includes(folder) ? 2 : 1}`;
  const { status, output } = await test(process.execPath, [...RUNNER, together, ...paths], env);
  const count = (name) => Number(new RegExp(`^ℹ ${name} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
  const skipped = count("skipped");
  const note = skipped > 0 ? `${skipped} SKIPPED` : undefined;
  return { passed: count("pass"), failed: count("fail") + count("cancelled"), status, note };
}

// Counting: each runner says at its end how many tests it ran.

async function test(command, args, env) {
  const { status, output } = await run(command, args, { show: "tee", env });
  return { status, output: stripVTControlCharacters(output) };
}

function libtest({ status, output }) {
  const results = [...output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed;/gm)];
  return sum([{ passed: 0, failed: 0, status }, ...results.map(([, p, f]) => ({ passed: +p, failed: +f, status }))]);
}

function nextest({ status, output }) {
  const [, ran, passed] = /(\d+) tests? run: (\d+) passed/.exec(output) ?? [0, 0, 0];
  return { passed: Number(passed), failed: Number(ran) - Number(passed), status };
}

function sum(counts) {
  return counts.reduce((a, b) => ({
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    status: a.status || b.status,
    note: a.note ?? b.note,
  }));
}

/** Runs all the commands, the later ones even if an earlier one fails. */
async function all(...commands) {
  const failed = [];
  for (const [command, args] of commands) {
    say(`$ ${[command, ...args].join(" ")}`);
    if ((await run(command, args)).status !== 0) failed.push([command, ...args].join(" "));
  }
  if (failed.length > 0) throw new Failure(`failed: ${failed.join("; ")}`);
}

// The steps.

/** The named steps and, before them, what they need, in the order of the table. */
function selected(names) {
  const wanted = new Set();
  const add = (name) => {
    if (!steps[name]) throw new Failure(`there is no step ${name}; there are ${Object.keys(steps).join(", ")}`);
    for (const needed of steps[name].needs ?? []) add(needed);
    wanted.add(name);
  };
  names.forEach(add);
  return Object.keys(steps).filter((name) => wanted.has(name));
}

/** Runs one step and says how it went; never throws. */
async function perform(name) {
  const { run, tests } = steps[name];
  const start = performance.now();
  say(`\n=== ${name}`);
  let result = { passed: 0, failed: 0 };
  try {
    if (run) await run();
    else result = verdict(await tests());
  } catch (error) {
    result = { passed: 0, failed: 1, problem: error instanceof Failure ? error.message : error.stack };
  }
  const seconds = (performance.now() - start) / 1000;
  if (result.problem) console.error(`error: ${result.problem}`);
  say(`=== ${name}: ${result.failed ? "FAILED" : "ok"} in ${seconds.toFixed(1)} s`);
  return { name, seconds, ...result };
}

/** What cannot be seen in the numbers alone: a runner that failed without a failed test, or ran none. */
function verdict({ passed, failed, status, note }) {
  if (passed + failed === 0) return { passed, failed: 1, problem: `no test ran (exit status ${status})` };
  if (status !== 0 && failed === 0) return { passed, failed: 1, problem: `the runner ended with status ${status}` };
  return { passed, failed, note };
}

async function testAll() {
  const names = process.argv.slice(2);
  const done = [];
  const always = Object.keys(steps).filter((name) => !steps[name].onRequest);
  for (const name of selected(names.length > 0 ? names : always)) {
    const missing = (steps[name].needs ?? []).find((needed) => done.find((step) => step.name === needed)?.broken);
    const step = missing
      ? { name, seconds: 0, passed: 0, failed: 0, note: `not run, ${missing} failed` }
      : await perform(name);
    done.push({ ...step, broken: step.failed > 0 || missing !== undefined });
  }
  say("\nstep        seconds   passed   failed");
  for (const { name, seconds, passed, failed, note = "" } of done) {
    const columns = [seconds.toFixed(1).padStart(9), String(passed).padStart(9), String(failed).padStart(9)];
    say(`${name.padEnd(10)}${columns.join("")}   ${note}`.trimEnd());
  }
  const total = (key) => done.reduce((amount, step) => amount + step[key], 0);
  say(`${"total".padEnd(10)}${total("seconds").toFixed(1).padStart(9)}\n`);
  say(`${total("passed")} passed, ${total("failed")} failed`);
  process.exitCode = total("failed") > 0 ? 1 : 0;
}

await main(testAll);
