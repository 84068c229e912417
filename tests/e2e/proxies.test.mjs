// The proxies of docs/proxies.md in front of a broker, configured as that page says.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { startAuthority } from "../support/authority.mjs";
import { startBroker } from "../support/broker.mjs";
import { page, startHaproxy, startNginx, withHaproxy, withNginx, withNginxStream } from "../support/proxies.mjs";

const TRUSTED = ["--trusted-proxies", "127.0.0.1"];
/** Where the clients of these tests are, and the proxies are not. */
const CLIENT = "127.0.0.77";

/** A broker behind a proxy, which takes TLS off or passes it on. */
async function start(t, startProxy, { passesOn = false, block, args = TRUSTED, more } = {}) {
  const authority = startAuthority(t);
  const identity = authority.issue();
  const broker = await startBroker([...args, ...(passesOn ? identity.args : [])]);
  t.after(() => broker.stop());
  const proxy = await startProxy(t, broker, { block, more, identity: passesOn ? undefined : identity });
  const webSocket = class extends WebSocket {
    constructor(url) {
      super(url, { ca: authority.ca, localAddress: CLIENT });
    }
  };
  const options = { webSocket, log: "off", principal: "control", credentials: "password" };
  const [url, door] = ["diffusion", "antiphon"].map((path) => `wss://127.0.0.1:${proxy.port}/${path}`);
  return { broker, proxy, options, url, door };
}

/** Asserts that a session goes through, and that the broker knows where it comes from. */
async function goesThrough({ broker, options, url, door }, client = CLIENT) {
  for (const address of [url, door]) {
    const session = await connect(address, options);
    await session.ping();
    const { $ClientIP } = await session.getProperties(["$ClientIP"]);
    assert.equal($ClientIP, client);
    await session.close();
  }
  assert.match(broker.log(), new RegExp(`client="?${client}`));
}

test(
  "N-6 nginx, as the page configures it, passes a session on, says for whom, and logs no secret",
  withNginx,
  async (t) => {
    const started = await start(t, startNginx);
    await goesThrough(started);
    // At the door there is nothing to hide.
    assert.ok(!/diffusion|password/.test(started.proxy.log()));
  },
);

test("at /antiphon nginx's log has every connection, and no secret in any of them", withNginx, async (t) => {
  const { options, proxy, door } = await start(t, startNginx);
  let socket;
  const webSocket = class extends options.webSocket {
    constructor(url) {
      super(url);
      socket = this;
    }
  };
  const given = { ...options, webSocket, properties: { mark: "mark-property" }, reconnect: { delay: () => 1 } };
  const session = await connect(door, given);
  const back = new Promise((resolve) => session.on("reconnect", resolve));
  socket.terminate();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  await session.ping();
  await session.close();
  const token = { ...given, credentials: "t".repeat(10_000) };
  await assert.rejects(connect(door, token), { code: "ACCESS_DENIED" });
  // It logs a connection when it is over.
  while (proxy.log().split("\n").length < 4) await setTimeout(10);
  const lines = proxy.log().trim().split("\n");
  assert.equal(lines.length, 3);
  for (const line of lines) assert.match(line, /"GET \/antiphon HTTP\/1\.1" 101 /);
});

test("N-6 what nginx says counts nothing where it is not trusted", withNginx, async (t) => {
  await goesThrough(await start(t, startNginx, { args: [] }), "127.0.0.1");
});

test("N-1 behind nginx, the same host is the one that the page connects to", withNginx, async (t) => {
  const { url, proxy } = await start(t, startNginx, { args: [...TRUSTED, "--origins", "same-host"] });
  const status = (origin) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${url}?ty=WB&v=25&ca=8&r=0`, { origin, rejectUnauthorized: false });
      socket.once("open", () => resolve(101)).once("open", () => socket.terminate());
      socket.once("error", ({ message }) => resolve(Number(/\d+$/.exec(message)?.[0])));
    });
  assert.equal(await status(`https://127.0.0.1:${proxy.port}`), 101);
  assert.equal(await status("https://127.0.0.1"), 403);
  assert.equal(await status(`https://evil.example:${proxy.port}`), 403);
});

test("N-6 nginx that passes TLS on says for whom", withNginxStream, async (t) => {
  await goesThrough(await start(t, startNginx, { passesOn: true, block: "nginx-stream" }));
});

test("N-6 HAProxy, as the page configures it, passes a session on and says for whom", withHaproxy, async (t) => {
  await goesThrough(await start(t, startHaproxy));
});

test("N-6 HAProxy that passes TLS on says for whom", withHaproxy, async (t) => {
  await goesThrough(await start(t, startHaproxy, { passesOn: true, block: "haproxy-tcp" }));
});

test(
  "a token of 10 kB needs the buffers that the page names, and reaches the broker with them",
  withNginx,
  async (t) => {
    const token = { credentials: "t".repeat(10_000) };
    const plain = await start(t, startNginx);
    await assert.rejects(connect(plain.url, { ...plain.options, ...token }), {
      code: "CONNECTION_ERROR",
      message: /414/,
    });
    assert.ok(!plain.broker.log().includes("refused"));

    const [line] = /large_client_header_buffers [^`]*/.exec(page);
    const roomy = await start(t, startNginx, { more: `${line};` });
    await assert.rejects(connect(roomy.url, { ...roomy.options, ...token }), { code: "ACCESS_DENIED" });
    const refused = "refused: the principal is unknown or the credentials are wrong";
    while (!roomy.broker.log().includes(refused)) await once(roomy.broker.process.stderr, "data");
  },
);
