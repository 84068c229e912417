// Starts Node.js processes that play the other side (peer.mjs).

import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { bundleForNode } from "./bundle.mjs";

const PEER = fileURLToPath(new URL("../peer.mjs", import.meta.url));

/**
 * @param {string} name of the system
 * @param {import("./systems.mjs").System} system
 * @param {{ asService?: boolean }} options whether it uses what a service would, not what a page does
 */
export async function startPeer(name, system, { asService = false } = {}) {
  const client = (asService && system.nodeClient) || system.client;
  const file = await bundleForNode(name, client, system.package);
  const child = fork(PEER, [file], { execArgv: ["--max-old-space-size=4096"] });
  const exited = once(child, "exit");
  const reply = async () => {
    const [message] = await Promise.race([once(child, "message"), exited]);
    if (message?.result === undefined) throw new Error(`a peer failed: ${message?.error ?? `status ${message}`}`);
    return message.result;
  };
  await reply();
  return {
    pid: child.pid,
    /** One command at a time. */
    call: (command, given) => {
      child.send({ command, given: { session: system.session, ...given } });
      return reply();
    },
    stop: () => {
      child.kill("SIGKILL");
      return exited;
    },
  };
}
