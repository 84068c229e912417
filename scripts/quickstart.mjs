// `npm run quickstart`: follows the README's section "Quickstart" to the letter, from an empty folder to the first
// response, and says how long that takes: machine time as measured, plus an assumed time for pasting. Fails if it takes
// too long, or if the output differs from the README's.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromRoot } from "./lib/paths.mjs";
import { Failure, isMain, main, run, say } from "./lib/run.mjs";

const LIMIT = 60; // s, for everything
const PASTE = 3; // s to copy a block and paste it
const NEW_FILE = 5; // s more to make a file for it

/**
 * The steps of the section "Quickstart": its blocks. A block marked `sh` is a command, every other one is the file that
 * the comment in its first line names.
 *
 * @param {string} markdown
 * @returns {{ command?: string, file?: string, text: string, person: number }[]} `person` is their time in seconds
 */
export function stepsOf(markdown) {
  const section = markdown.split(/^## /m).find((text) => text.startsWith("Quickstart\n"));
  if (section === undefined) throw new Failure("there is no section Quickstart");
  return [...section.matchAll(/^```(\w+)[^\n]*\n(.*?)^```$/gms)].map(([, language, text]) => {
    if (language === "sh") return { command: text.trim().split("\n").join("; "), text, person: PASTE };
    const file = /^(?:\/\/|#|<!--) *([\w.-]+)/.exec(text)?.[1];
    if (file === undefined) throw new Failure(`this block of the quickstart does not name its file:\n${text}`);
    return { file, text, person: PASTE + NEW_FILE };
  });
}

/** The output that the files announce in comments (`// -> ...`). */
export function expectedOutput(steps) {
  return steps.flatMap(({ text }) => [...text.matchAll(/\/\/ -> (.*)$/gm)].map(([, output]) => output));
}

/** Runs the steps in `folder`, one after another. Returns each with `machine`, its seconds; throws if one fails. */
export async function follow(steps, folder) {
  const done = [];
  let output;
  for (const step of steps) {
    const start = performance.now();
    if (step.file) writeFileSync(join(folder, step.file), step.text);
    else output = await shell(step.text, folder);
    done.push({ ...step, machine: (performance.now() - start) / 1000 });
  }
  const printed = output?.split("\n") ?? [];
  const missing = expectedOutput(steps).find((line) => !printed.includes(line));
  if (missing === undefined) return done;
  throw new Failure(`the last command should have printed "${missing}", but printed\n${output}`);
}

async function shell(text, cwd) {
  const { status, output } = await run("sh", ["-e", "-c", text], { show: "failure", cwd });
  if (status !== 0) throw new Failure(`this part of the quickstart ended with status ${status}:\n${text}`);
  return output;
}

/** Prints the time of each step; fails above the limit. */
export function report(steps) {
  const seconds = (time) => `${time.toFixed(1)} s`.padStart(9);
  say(`${"".padEnd(62)}  machine   person`);
  for (const { command, file, machine, person } of steps) {
    say(`${(command ?? file).slice(0, 62).padEnd(62)}${seconds(machine)}${seconds(person)}`);
  }
  const total = steps.reduce((sum, { machine, person }) => sum + machine + person, 0);
  say(`${total.toFixed(1)} s of ${LIMIT} s from an empty folder to the first answer`);
  say(`(of a person: ${PASTE} s to paste a block, ${NEW_FILE} s more to make a file of it, nothing to read it)`);
  if (total > LIMIT) throw new Failure(`the quickstart takes ${total.toFixed(1)} s, more than ${LIMIT} s`);
}

/** Runs `npm start`; resolves when the broker listens, with the function that ends it. */
async function start() {
  const child = spawn("npm", ["start"], { cwd: fromRoot(), stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  let output = "";
  for await (const text of child.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    output += text;
    if (!/^listening on /m.test(output)) continue;
    child.stdout.resume();
    return async () => {
      child.kill();
      await closed;
    };
  }
  throw new Failure(`npm start ended before the broker listened\n${output}`);
}

async function quickstart() {
  const steps = stepsOf(readFileSync(fromRoot("README.md"), "utf8"));
  const parent = mkdtempSync(join(tmpdir(), "antiphon-"));
  const folder = join(parent, "quickstart");
  mkdirSync(folder);
  const began = performance.now();
  const stop = await start();
  const started = { command: "npm start", person: PASTE, machine: (performance.now() - began) / 1000 };
  try {
    report([started, ...(await follow(steps, folder))]);
  } finally {
    await stop();
    rmSync(parent, { recursive: true });
  }
}

if (isMain(import.meta.url)) await main(quickstart);
