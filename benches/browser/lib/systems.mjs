// The systems: what a page loads, and the server that stands between the pages.

import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { broker, dist } from "../../../scripts/lib/paths.mjs";
import { start } from "./programs.mjs";
import { natsServer, relay } from "./setup.mjs";

/**
 * A system, `title` in the tables. `client` is its file in `clients/`; `nodeClient` what a service in Node.js uses, if that
 * is another one; `session` are options for the client; `start` gives a server: a program, the `url` for pages, and `tcp`
 * for services where that is another one.
 *
 * `package` is a folder such as `dist`, for builds of Antiphon. `download` says that the client is one that applications
 * download. What a system is `without` it cannot do.
 *
 * @typedef {{ title: string, client: string, nodeClient?: string, session?: object, package?: string, download?: boolean,
 *   without?: string[], start(): Promise<object> }} System
 */

/**
 * All of them, by name.
 *
 * @param {{ client?: string, broker?: string, otherClient?: string, otherBroker?: string }} builds of Antiphon, in place of
 *   those of this folder; `other` is there if one of them names it
 * @returns {Record<string, System>}
 */
export function systemsWith({ client = dist, broker: program = broker, otherClient, otherBroker }) {
  const ours = {
    title: "**Antiphon**",
    client: "antiphon.js",
    package: client,
    download: true,
    start: () => startBroker(program),
  };
  const other = {
    ...ours,
    title: "Antiphon, the other build",
    package: otherClient ?? client,
    start: () => startBroker(otherBroker ?? program),
  };
  const unbatched = {
    ...ours,
    title: "Antiphon, `batching: false`",
    session: { batching: false },
    download: false,
    without: ["idle", "held", "light"],
  };
  return { ...PEERS, "ours-unbatched": unbatched, ours, ...(otherClient || otherBroker ? { other } : {}) };
}

const PEERS = {
  floor: { title: "*bare relay, raw bytes*", client: "floor.js", start: startRelay },
  "floor-json": { title: "*bare relay, JSON*", client: "floor-json.js", start: startRelay, without: ["idle"] },
  "floor-batch": {
    title: "*bare relay, raw bytes in batches*",
    client: "floor-batch.js",
    start: startRelay,
    without: ["fan-out", "load", "idle"],
  },
  nats: {
    title: "NATS over WebSocket",
    client: "nats.js",
    nodeClient: "nats-node.js",
    download: true,
    start: startNats,
  },
  socketio: {
    title: "socket.io",
    client: "socketio.js",
    download: true,
    start: startSocketIo,
    without: ["load", "idle"],
  },
  diffusion: {
    title: "official Diffusion client, on our broker",
    client: "diffusion.js",
    nodeClient: "diffusion-node.js",
    download: true,
    start: () => startBroker(broker),
    without: ["load", "idle"],
  },
};

const LISTENING = /listening on (ws:\/\/\S+)/;

async function startBroker(program) {
  const server = await start(program, ["--listen", "127.0.0.1:0", "--log", "warn"], [LISTENING]);
  return { ...server, url: server.printed[0] };
}

async function startRelay() {
  const server = await start(relay, [], [LISTENING]);
  return { ...server, url: server.printed[0] };
}

async function startNats() {
  const configuration = join(mkdtempSync(join(tmpdir(), "antiphon-bench-")), "nats.conf");
  const anyPort = '"127.0.0.1:-1"';
  writeFileSync(
    configuration,
    `listen: ${anyPort}\nmax_connections: 20000\nwebsocket { listen: ${anyPort}, no_tls: true }\n`,
  );
  const patterns = [/websocket clients on (ws:\S+)/, /for client connections on (\S+)/, /Server is ready/];
  const server = await start(natsServer, ["-c", configuration], patterns);
  return { ...server, url: server.printed[0], tcp: `nats://${server.printed[1]}` };
}

async function startSocketIo() {
  const relay = fileURLToPath(new URL("../socketio-server.mjs", import.meta.url));
  const server = await start(process.execPath, [relay], [LISTENING]);
  return { ...server, url: server.printed[0] };
}
