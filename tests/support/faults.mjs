// Starts the fault proxy between a test and its broker.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { faults as binary } from "../../scripts/lib/paths.mjs";

/**
 * Starts a proxy before `broker`; `args` say what it does to connections. `url` leads through it.
 *
 * @param {{ port: number }} broker
 * @param {string[]} args
 */
export async function startFaults({ port }, args) {
  const child = spawn(binary, ["--to", `127.0.0.1:${port}`, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  process.once("exit", () => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout });
  const [line] = await once(lines, "line");
  const address = /127\.0\.0\.1:\d+/.exec(line)?.[0];
  if (!address) throw new Error(`the fault proxy says ${line}`);
  return {
    url: `ws://${address}/diffusion`,
    async stop() {
      child.kill();
      await once(child, "exit");
    },
  };
}
