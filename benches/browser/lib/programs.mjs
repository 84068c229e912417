// Starts programs, and ends exactly those.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { descendantsOf } from "./processes.mjs";

const START_LIMIT = 20_000; // ms
const END_LIMIT = 4_000; // ms, from being asked to being killed
const running = new Set();

/**
 * Starts a program and waits until it has printed a match for each of these patterns.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {RegExp[]} patterns
 * @returns {Promise<{ pid: number, printed: string[], pids(): number[], stop(): Promise<void> }>} what the first group of
 *   each pattern matched is `printed`; `pids` are the process and those that it has started
 */
export async function start(command, args, patterns) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close").catch(() => {});
  running.add(child);
  ended.then(() => running.delete(child));
  const printed = await new Promise((resolve, reject) => {
    let output = "";
    const fail = (why) => reject(new Error(`${command} ${why}\n${output}`));
    const timer = setTimeout(fail, START_LIMIT, "did not start in time");
    const read = (text) => {
      if (output.length < 65_536) output += text;
      const matches = patterns.map((pattern) => pattern.exec(output));
      if (!matches.every(Boolean)) return;
      clearTimeout(timer);
      resolve(matches.map(([, group]) => group));
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", read);
    child.on("close", (status) => fail(`ended with ${status}`));
    child.on("error", (error) => fail(error.message));
  }).catch((error) => {
    child.kill("SIGKILL");
    throw error;
  });
  const pids = () => [child.pid, ...descendantsOf(child.pid)];
  return { pid: child.pid, printed, pids, stop: () => stop(child, ended, pids()) };
}

/** Asks a program to end; what is left of it and of those that it started is killed. */
async function stop(child, ended, pids) {
  child.kill("SIGTERM");
  let timer;
  await Promise.race([
    ended,
    new Promise((resolve) => {
      timer = setTimeout(resolve, END_LIMIT);
    }),
  ]);
  clearTimeout(timer);
  kill(pids);
  await ended;
}

export function kill(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}

process.on("exit", () => kill([...running].flatMap(({ pid }) => [pid, ...descendantsOf(pid)])));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
