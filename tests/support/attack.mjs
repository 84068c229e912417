// Attacks on a broker, by the command `antiphon-attacks` (crates/load).

import { spawn } from "node:child_process";
import { once } from "node:events";
import { attacks } from "../../scripts/lib/paths.mjs";

/** Runs the command with these arguments; resolves with what it says of each attack. */
export async function attack(...args) {
  const child = spawn(attacks, ["--json", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "close");
  const output = (await child.stdout.setEncoding("utf8").toArray()).join("");
  const [code] = await exited;
  if (code !== 0) throw new Error(`${attacks} ${args.join(" ")} ended with ${code}`);
  return output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
}

/**
 * Attacks a broker that runs, and has a neighbour ask a hundred times a second meanwhile.
 *
 * @param {{ port: number }} broker
 * @param {{ seconds: number, afterwards?: number, count?: number }} options `afterwards`: seconds for which what the attack
 *   holds stays open; `count`: connections
 * @returns {Promise<{ requests: { count: number, p50: number, p99: number, max: number }, failed: number, times: number,
 *   longest_open: number }>} what the neighbour noticed, times in ms
 */
export async function attackOn({ port }, name, { seconds, afterwards = 0, count }) {
  const broker = ["--at", `127.0.0.1:${port}`, "--largest", "32MiB"];
  const args = [...broker, "--duration", `${seconds}s`, "--afterwards", `${afterwards}s`, name];
  const [{ noticed }] = await attack(...args, ...(count === undefined ? [] : ["--count", String(count)]));
  return noticed;
}
