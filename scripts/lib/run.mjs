// Runs commands, and reports to the person who waits for them.

import { spawn } from "node:child_process";
import { realpathSync } from "node:fs";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { root } from "./paths.mjs";

/** An error for the person at the terminal: one line, printed without a stack. */
export class Failure extends Error {}

export const say = (text) => console.log(text);
/** For cargo: its progress bar is for terminals; a log gets warnings and errors only. */
export const quiet = process.stderr.isTTY ? [] : ["--quiet"];

/** Runs cargo on the versions that Cargo.lock names; it has to succeed. */
export const cargo = (...args) => must("cargo", [...args, "--locked", ...quiet]);

/**
 * Runs a command and waits for it.
 *
 * `show` says where its output goes: "terminal" (as it is, progress bars included), "tee" (shown and kept), "failure"
 * (kept, and shown only if the command fails), or "nothing" (kept). `output` is what was kept, stdout and stderr in the order they came.
 * `aside` lets everything else on the machine go first.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ show?: "terminal" | "tee" | "failure" | "nothing", env?: Record<string, string>, cwd?: string, aside?: boolean }} options
 * @returns {Promise<{ status: number, output: string }>}
 */
export function run(command, args, { show = "terminal", env = {}, cwd = root, aside = false } = {}) {
  return new Promise((resolve, reject) => {
    const stdio = ["ignore", ...(show === "terminal" ? ["inherit", "inherit"] : ["pipe", "pipe"])];
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio });
    if (aside && child.pid !== undefined) setPriority(child.pid, constants.priority.PRIORITY_LOW);
    let output = "";
    for (const [stream, shown] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      stream?.setEncoding("utf8").on("data", (text) => {
        output += text;
        if (show === "tee") shown.write(text);
      });
    }
    child.on("error", (error) => reject(error.code === "ENOENT" ? new Failure(missing(command)) : error));
    child.on("close", (code, signal) => {
      const status = code ?? 128 + constants.signals[signal];
      if (status !== 0 && show === "failure") process.stderr.write(output);
      resolve({ status, output });
    });
  });
}

/** Runs a command that has to succeed. Gives its output. */
export async function must(command, args, options) {
  const { status, output } = await run(command, args, options);
  if (status !== 0) throw new Failure(`${[command, ...args].join(" ")} ended with status ${status}`);
  return output;
}

/** Whether Node was started with the module of this URL, not with one that imports it. */
export const isMain = (url) => realpathSync(process.argv[1]) === fileURLToPath(url);

/** Runs a script's main function: a Failure becomes one line and exit status 1. */
export async function main(script) {
  try {
    await script();
  } catch (error) {
    console.error(error instanceof Failure ? `\nerror: ${error.message}` : error);
    process.exit(1);
  }
}

function missing(command) {
  const rust = "install Rust with rustup (your distribution's package, or its website rustup.rs)";
  const install = {
    cargo: rust,
    rustc: rust,
    rustup: rust,
    npm: "install npm (it comes with Node.js 20 or later)",
    python3: "install Python 3 with its venv module (Debian: python3 python3-venv)",
  };
  return `${command} was not found: ${install[command] ?? "install it, or put it on PATH"}`;
}
