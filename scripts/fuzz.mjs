// `npm run test:fuzz`: libFuzzer looks for inputs that are too much for a decoder, for 30 minutes of one processor over
// all targets of crates/fuzz. `npm run test:fuzz -- --minutes 5 filter value` does so for five, and for these targets.
// Without nightly Rust it says so and does nothing: only that has the compiler's part of it.
//
// What it learns stays in build/fuzz; `-- --keep` adds some small inputs of it to the corpus that `cargo test` runs.

import { copyFileSync, cpSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { fromRoot } from "./lib/paths.mjs";
import { Failure, main, must, run, say } from "./lib/run.mjs";
import { fuzzer, hasNightly, rust } from "./lib/setup.mjs";

const HOST = "x86_64-unknown-linux-gnu";
const LONGEST = 8192; // bytes of an input
const KEPT = 25; // inputs of a run that go into the corpus
const KEPT_BYTES = 160; // bytes of each
/** Beyond it an input is a finding: seconds, and MiB that are asked for at once or held in all. */
const BOUNDS = ["-timeout=1", "-malloc_limit_mb=64", "-rss_limit_mb=1024"];
/** The names of functions that are reached are not looked up: that takes seconds, and nobody reads them. */
const UNNAMED = "-print_funcs=0";

const corpus = fromRoot("crates", "fuzz", "corpus");
const learned = fromRoot("build", "fuzz", "corpus");
const findings = fromRoot("build", "fuzz", "findings");

async function fuzz() {
  const { values, positionals } = parseArgs({
    args: process.argv.slice(2),
    options: { minutes: { type: "string", default: "30" }, keep: { type: "boolean" } },
    allowPositionals: true,
  });
  const all = readdirSync(corpus).sort();
  const unknown = positionals.find((name) => !all.includes(name));
  if (unknown) throw new Failure(`there is no target ${unknown}; there are ${all.join(", ")}`);
  const targets = positionals.length > 0 ? positionals : all;
  await rust();
  if (!(await hasNightly())) {
    say("\n*** NOTHING IS FUZZED, since there is no nightly Rust: rustup toolchain install nightly ***\n");
    return;
  }
  const program = await build();
  const seconds = Math.max(1, Math.round((Number(values.minutes) * 60) / targets.length));
  const rows = [];
  for (const name of targets) {
    say(`\n=== ${name}, ${seconds} s`);
    rows.push(await look(program, name, seconds));
    if (values.keep) await keep(program, name);
  }
  say(`\n${"target".padEnd(18)}${"inputs".padStart(13)}${"a second".padStart(11)}${"MiB".padStart(6)}   findings`);
  for (const { name, inputs, speed, memory, finding } of rows) {
    const numbers = [inputs.toLocaleString("en").padStart(13), speed.toLocaleString("en").padStart(11)];
    say(`${name.padEnd(18)}${numbers.join("")}${String(memory).padStart(6)}   ${finding ?? "none"}`);
  }
  const found = rows.filter(({ finding }) => finding);
  if (found.length > 0) throw new Failure(`findings are in ${findings}`);
}

/** Builds the fuzzer; returns its path. */
async function build() {
  const path = await fuzzer();
  const target = fromRoot("target", "fuzz");
  const args = ["build", "--fuzz-dir", "crates/fuzz", "--features", "fuzzer", "--target-dir", target, "antiphon-fuzz"];
  await must("rustup", ["run", "nightly", path, "fuzz", ...args]);
  return join(target, HOST, "release", "antiphon-fuzz");
}

/** Lets the fuzzer look for a while. */
async function look(program, name, seconds) {
  const own = join(learned, name);
  for (const folder of [own, findings]) mkdirSync(folder, { recursive: true });
  const prefix = join(findings, `${name}-`);
  const limits = [...BOUNDS, `-max_len=${LONGEST}`, `-max_total_time=${seconds}`];
  const told = [UNNAMED, "-print_final_stats=1", `-artifact_prefix=${prefix}`];
  const { status, output } = await run(program, [own, join(corpus, name), ...limits, ...told], {
    show: "failure",
    env: { ANTIPHON_FUZZ: name },
  });
  const stat = (key) => Number(new RegExp(`^stat::${key}:\\s+(\\d+)`, "m").exec(output)?.[1] ?? 0);
  const [inputs, speed] = [stat("number_of_executed_units"), stat("average_exec_per_sec")];
  const [, finding] = /Test unit written to (\S+)/.exec(output) ?? [];
  const other = status === 0 ? undefined : `it ended with status ${status}`;
  return { name, inputs, speed, memory: stat("peak_rss_mb"), finding: finding ?? other };
}

/**
 * Adds to the corpus some small inputs of what was learned, which lead to where none of it leads: the smallest of a set that
 * leads to all of that.
 */
async function keep(program, name) {
  const [own, found] = [join(corpus, name), fromRoot("build", "fuzz", "kept", name)];
  rmSync(found, { recursive: true, force: true });
  cpSync(own, found, { recursive: true });
  const before = readdirSync(found);
  // The folder that it is to add to comes first.
  const folders = [found, join(learned, name)];
  await must(program, ["-set_cover_merge=1", "-use_counters=0", `-max_len=${KEPT_BYTES}`, ...folders], {
    show: "failure",
    env: { ANTIPHON_FUZZ: name },
  });
  const size = (file) => statSync(join(found, file)).size;
  const added = readdirSync(found).filter((file) => !before.includes(file));
  let number = before.filter((file) => file.startsWith("learned-")).length;
  for (const file of added.sort((a, b) => size(a) - size(b)).slice(0, KEPT)) {
    number += 1;
    copyFileSync(join(found, file), join(own, `learned-${String(number).padStart(2, "0")}`));
  }
}

await main(fuzz);
