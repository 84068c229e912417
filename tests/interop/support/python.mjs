// The official Python client: `peer.py` in a process of its own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { python } from "../../support/python.mjs";
import { fromJson, toJson } from "./notation.mjs";

const script = fileURLToPath(new URL("../peer.py", import.meta.url));

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Starts the process. `perform` carries out the commands of `peers.mjs`; `stop` ends it. */
export function startPython() {
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "pipe"] });
  running.add(child);
  const waiting = new Map();
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    log += text;
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { id, ok, error } = JSON.parse(line);
    waiting.get(id)?.resolve({ ok: fromJson(ok), error });
    waiting.delete(id);
  });
  const exited = once(child, "close").then(([code, signal]) => {
    running.delete(child);
    for (const { reject } of waiting.values()) reject(new Error(`peer.py ended with ${code ?? signal}\n${log}`));
    waiting.clear();
  });
  // What is written to a process that was killed is lost, and its end says so.
  child.stdin.on("error", () => {});

  return {
    process: child,
    exited,
    perform: (command) =>
      new Promise((resolve, reject) => {
        waiting.set(command.id, { resolve, reject });
        child.stdin.write(`${JSON.stringify(toJson(command))}\n`);
      }),
    stop: () => {
      child.stdin.end();
      return exited;
    },
  };
}
