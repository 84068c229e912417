// Starts a broker for a test: the release binary on a free port, stopped at the latest when the test's process ends.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { broker as ours } from "../../scripts/lib/paths.mjs";

const START_LIMIT = 60_000; // ms; a start takes a few, on a machine that has nothing else to do
const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));

/**
 * Starts a broker and waits until it listens.
 *
 * @param {string[]} args its command line; `--listen 127.0.0.1:0` is added unless it says where to listen
 * @param {{ env?: Record<string, string>, binary?: string }} options variables added to the environment; another broker
 */
export async function startBroker(args = [], { env = {}, binary = ours } = {}) {
  if (!existsSync(binary)) throw new Error(`no broker at ${binary}: cargo build --release -p antiphon-broker`);
  const listens = args.some((arg) => arg === "--listen" || arg.startsWith("--listen="));
  const child = spawn(binary, listens ? args : ["--listen", "127.0.0.1:0", ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  const exited = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    return code ?? signal;
  });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log += text;
  });

  const url = await listeningUrl(child, exited, () => log);
  const { hostname, port } = new URL(url);
  // A test that forgets its broker still ends; the handler above ends the broker.
  for (const handle of [child, child.stdout, child.stderr]) handle.unref();

  const end = (signal) => {
    for (const handle of [child, child.stdout, child.stderr]) handle.ref();
    child.kill(signal);
    return exited;
  };
  return {
    /** For clients: `ws://127.0.0.1:PORT/diffusion`. */
    url,
    /** For browsers: `http://127.0.0.1:PORT/`. */
    httpUrl: `http://${hostname}:${port}/`,
    port: Number(port),
    process: child,
    /** What it has written to stderr so far. */
    log: () => log,
    /** Waits until a line of that fits `pattern`, and resolves with it. */
    async logged(pattern) {
      const line = () => log.split("\n").find((text) => pattern.test(text));
      child.stderr.ref();
      while (!line()) await once(child.stderr, "data");
      child.stderr.unref();
      return line();
    },
    /** SIGTERM; resolves with the exit status (the signal's name if a signal ended it). */
    stop: () => end("SIGTERM"),
    /** SIGKILL; resolves likewise. */
    kill: () => end("SIGKILL"),
  };
}

/** The address in the one line that the broker prints. Rejects with its log if it exits or takes too long. */
function listeningUrl(child, exited, log) {
  return new Promise((resolve, reject) => {
    let output = "";
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`the broker did not listen within ${START_LIMIT} ms\n${log()}`));
    }, START_LIMIT);
    child.stdout.setEncoding("utf8").on("data", (text) => {
      output += text;
      const url = /^listening on (wss?:\/\/\S+)$/m.exec(output)?.[1];
      if (!url || !output.includes("\n")) return;
      clearTimeout(timer);
      resolve(url);
    });
    exited.then(
      (status) => {
        clearTimeout(timer);
        reject(new Error(`the broker ended with ${status} before it listened\n${log()}`));
      },
      (error) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}
