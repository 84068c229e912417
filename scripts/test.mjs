// `npm test`: everything there is to check, step by step, each with its time and its number of tests; the last line sums
// them up. `node scripts/test.mjs STEP...` runs some steps and what they need. A step that fails does not stop those that
// can do without it; a test step in which no test ran has failed. What is compiled for later steps is compiled beside those
// that mostly wait.

import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { installTools } from "../tests/package/support/tools.mjs";
import { startBroker } from "../tests/support/broker.mjs";
import { build, buildBroker, checkSize } from "./build.mjs";
import { findChromedriver, onPath } from "./lib/browsers.mjs";
import { browserTests, debugClient, echo, example, examplePage, faults, NATIVE, WASM } from "./lib/crates.mjs";
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
const IN_PAIRS = ["tests/docs", "tests/interop", "tests/package", "tests/rules"];

/**
 * In the order in which they run. `tests` is what a step does when it returns how many tests passed and failed; those
 * `onRequest` run only when they are named. Those `aside` run one after the other beside what follows, at the lowest
 * priority, and are waited for by what needs them. (Whatever calls cargo for the same profile waits as well, "dev" here.)
 */
const steps = {
  setup: { run: setup },
  lint: { needs: ["setup"], aside: true, run: lint },
  compile: { needs: ["setup"], aside: true, run: compile },
  programs: { needs: ["setup"], aside: true, run: compilePrograms },
  build: { needs: ["setup"], run: buildAll },
  js: { needs: ["setup"], tests: () => nodeTests("tests/js") },
  size: { needs: ["build"], run: checkSize },
  rules: { needs: ["build"], tests: rulesTests },
  types: { needs: ["build"], tests: types },
  browser: { run: browser },
  docs: { needs: ["build", "browser"], tests: () => nodeTests("tests/docs") },
  web: { needs: ["build", "browser"], tests: () => nodeTests("tests/web") },
  python: { run: pythonClient },
  interop: { needs: ["build", "browser", "python"], tests: () => nodeTests("tests/interop") },
  package: { needs: ["build", "browser"], tests: () => packageTests((path) => !isFull(path)) },
  bench: { needs: ["build", "browser"], tests: benchTests },
  rust: { needs: ["compile"], tests: rustTests },
  wasm: { needs: ["build", "browser"], tests: wasmTests },
  proxies: { run: proxies },
  e2e: { needs: ["build", "browser", "proxies", "programs"], tests: () => nodeTests("tests/e2e") },
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

/** @param {boolean} aside */
async function lint(aside) {
  const colors = process.stdout.isTTY ? "force" : "off"; // left alone, biome writes colours into every log
  const strict = ["--all-targets", "--locked", ...quiet, "--", "-D", "warnings"];
  await all(aside, [
    ["cargo", ["fmt", "--all", "--check"]],
    ["cargo", ["clippy", ...NATIVE, ...strict]],
    ["cargo", ["clippy", ...WASM, "-p", "antiphon", "-p", "antiphon-example", ...strict]],
    // The native client without TLS.
    [
      "cargo",
      ["clippy", "-p", "antiphon-client", "--no-default-features", "--locked", ...quiet, "--", "-D", "warnings"],
    ],
    [process.execPath, [fromRoot("node_modules", "@biomejs", "biome", "bin", "biome"), "ci", `--colors=${colors}`]],
  ]);
}

/**
 * Compiles the tests in Rust that run natively.
 *
 * @param {boolean} aside
 */
async function compile(aside) {
  const tests = hasNextest() ? ["nextest", "run", ...NATIVE, "--cargo-quiet"] : ["test", ...NATIVE, ...quiet];
  await all(aside, [["cargo", [...tests, "--no-run", "--locked"]]]);
}

/**
 * Compiles what only tests use, not optimised, and the tests of the client in a browser: before other tests are in a hurry.
 *
 * @param {boolean} aside
 */
async function compilePrograms(aside) {
  const programs = [faults, echo, example, examplePage, debugClient, [...browserTests, "--no-run"]];
  await all(
    aside,
    programs.map((args) => ["cargo", [...args, "--locked", ...quiet]]),
  );
}

const hasNextest = () => onPath("cargo-nextest");

/** The types as they ship, used by name as an application does. */
async function types() {
  await must(process.execPath, [fromRoot("node_modules", "typescript", "bin", "tsc"), "--project", "tests/types"]);
  return nodeTests("tests/types");
}

async function rustTests() {
  if (!hasNextest()) return libtest(await test("cargo", ["test", ...NATIVE, "--locked", "--no-fail-fast"]));
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

/**
 * Runs all the commands, the later ones even if an earlier one fails.
 *
 * @param {boolean} aside
 * @param {[string, string[]][]} commands
 */
async function all(aside, commands) {
  const failed = [];
  for (const [command, args] of commands) {
    const line = [command, ...args].join(" ");
    if (!aside) say(`$ ${line}`);
    const { status } = await run(command, args, aside ? { aside, show: "failure" } : {});
    if (status !== 0) failed.push(line);
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
async function perform(name, aside = false) {
  const { run, tests } = steps[name];
  const start = performance.now();
  say(`\n=== ${name}${aside ? ", beside what follows" : ""}`);
  let result = { passed: 0, failed: 0 };
  try {
    if (run) await run(aside);
    else result = verdict(await tests());
  } catch (error) {
    result = { passed: 0, failed: 1, problem: error instanceof Failure ? error.message : error.stack };
  }
  const seconds = (performance.now() - start) / 1000;
  if (result.problem) console.error(`error: ${result.problem}`);
  say(`=== ${name}: ${result.failed ? "FAILED" : "ok"} in ${seconds.toFixed(1)} s`);
  return { name, seconds, note: aside ? "beside others" : undefined, ...result };
}

/** What cannot be seen in the numbers alone: a runner that failed without a failed test, or ran none. */
function verdict({ passed, failed, status, note }) {
  if (passed + failed === 0) return { passed, failed: 1, problem: `no test ran (exit status ${status})` };
  if (status !== 0 && failed === 0) return { passed, failed: 1, problem: `the runner ended with status ${status}` };
  return { passed, failed, note };
}

/** Runs a step when all is done that it needs, unless that failed. `done` has what becomes of each step before it. */
async function attempt(name, aside, done) {
  const needed = await Promise.all((steps[name].needs ?? []).map((other) => done.get(other)));
  const broken = needed.find((step) => step.broken);
  if (broken) {
    return { name, seconds: 0, passed: 0, failed: 0, note: `not run, ${broken.name} failed`, broken: true };
  }
  const step = await perform(name, aside);
  return { ...step, broken: step.failed > 0 };
}

/** Whether a step can run while another one runs aside. */
const isBeside = (aside, other) => !steps[other].aside && !steps[other].needs?.includes(aside);

async function testAll() {
  const names = process.argv.slice(2);
  const start = performance.now();
  const always = Object.keys(steps).filter((name) => !steps[name].onRequest);
  const chosen = selected(names.length > 0 ? names : always);
  const done = new Map(); // name to a promise of what became of it
  let aside = Promise.resolve();
  for (const name of chosen) {
    if (steps[name].aside && chosen.slice(chosen.indexOf(name)).some((other) => isBeside(name, other))) {
      aside = aside.then(() => attempt(name, true, done));
      done.set(name, aside);
    } else {
      done.set(name, attempt(name, false, done));
      await done.get(name);
    }
  }
  report(await Promise.all(done.values()), (performance.now() - start) / 1000);
}

function report(done, seconds) {
  say("\nstep        seconds   passed   failed");
  for (const { name, seconds, passed, failed, note = "" } of done) {
    const columns = [seconds.toFixed(1).padStart(9), String(passed).padStart(9), String(failed).padStart(9)];
    say(`${name.padEnd(10)}${columns.join("")}   ${note}`.trimEnd());
  }
  const total = (key) => done.reduce((amount, step) => amount + step[key], 0);
  say(`${"total".padEnd(10)}${seconds.toFixed(1).padStart(9)}\n`);
  say(`${total("passed")} passed, ${total("failed")} failed`);
  process.exitCode = total("failed") > 0 ? 1 : 0;
}

await main(testAll);
