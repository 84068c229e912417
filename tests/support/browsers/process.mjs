// Processes of browsers, which end at the latest with the test's own.

import { spawn } from "node:child_process";
import { once } from "node:events";

const LIMIT = 30_000; // ms for a browser to start or to end

const running = new Set();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/**
 * Starts a program.
 *
 * @param {string} command
 * @param {string[]} args
 * @param {{ stdio?: import("node:child_process").StdioOptions, env?: NodeJS.ProcessEnv }} options
 */
export function start(command, args, { stdio = ["ignore", "ignore", "pipe"], env = {} } = {}) {
  const child = spawn(command, args, { stdio, env: { ...process.env, ...env } });
  running.add(child);
  const exited = once(child, "close").finally(() => running.delete(child));
  exited.catch(() => {}); // whoever waits for it is told
  return {
    child,
    /** The first match of `pattern` in what it writes to one of its streams. */
    said: (stream, pattern) => within(firstMatch(stream, pattern, exited), `${command}: no ${pattern}`),
    /** Waits for its end. */
    exited: () => within(exited, `${command} did not end`),
    /** Ends it. */
    async stop() {
      child.kill();
      await within(exited, `${command} did not end`);
    },
  };
}

async function firstMatch(stream, pattern, exited) {
  let output = "";
  return new Promise((resolve, reject) => {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
      const match = pattern.exec(output);
      if (match) resolve(match);
    });
    const ended = () => reject(new Error(`it ended without saying ${pattern}:\n${output}`));
    exited.then(ended, reject);
  });
}

/** What a promise gives, unless it takes too long. */
async function within(promise, complaint) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${complaint} within ${LIMIT} ms`)), LIMIT);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
