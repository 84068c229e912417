// Rule S-13: the HTTP door by which a page that is left ends its session, when its WebSocket is gone already.

import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { ABORT, REQUEST, text } from "../support/wire.mjs";
import { fails, open, unique } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const broker = await startBroker(["--log", "trace"]);
after(() => broker.stop());

/** What the broker answers to `body` at the door: status and body. */
async function post(body, { method = "POST", headers = {} } = {}) {
  const sent = request(new URL("/diffusion/close", broker.httpUrl), { method, headers });
  sent.end(body);
  const [response] = await once(sent, "response");
  const chunks = await response.toArray();
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

const noContent = { status: 204, body: "" };
const kept = { query: { r: 60_000 } };

async function answers(body, expected, options) {
  const { status, body: said } = await post(body, options);
  assert.deepEqual({ status, body: said }, expected);
}

test("S-13 the token ends a session that has lost its connection, and whoever waits for it is told at once", async (t) => {
  const asker = await open(t, broker);
  const path = unique("left");
  const peer = await connectPeer(broker, kept);
  await peer.register(path);
  const sent = asker.messaging.sendRequestToPath(path, 1);
  await peer.next({ type: REQUEST });
  await peer.cut();
  await answers(peer.token, noContent);
  await fails(sent, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
  await fails(asker.messaging.sendRequestToPath(path, 1), {
    code: "UNHANDLED_MESSAGE",
    reason: 109,
    outcome: "refused",
  });
  assert.ok(!broker.log().includes(peer.token), "S-2");
});

test("S-13 a session that is connected ends as if it had said goodbye", async () => {
  const peer = await connectPeer(broker, kept);
  await answers(peer.token, noContent, { headers: { Origin: "http://shop.localhost:8080" } });
  await peer.next({ type: ABORT });
  await peer.closed;
  await answers(peer.token, noContent);
});

test("S-13 the answer tells nobody whether there is such a session, and ends no other", async (t) => {
  const peer = await connectPeer(broker, kept);
  t.after(() => peer.close());
  const almost = `${peer.token.slice(0, -1)}${peer.token.endsWith("A") ? "B" : "A"}`;
  const wrong = ["", almost, `${peer.token} `, peer.token.toLowerCase(), peer.id, Buffer.of(0xff, 0), "x".repeat(1024)];
  for (const body of wrong) await answers(body, noContent);
  peer.sendToSession(peer.id, "here", text("still there"));
  await peer.next({ type: REQUEST });
});

test("S-13 only pages of this machine may use the door, and only to post something short", async (t) => {
  const peer = await connectPeer(broker, kept);
  t.after(() => peer.close());
  const foreign = { headers: { Origin: "https://evil.example" } };
  await answers(peer.token, { status: 403, body: "pages from this origin may not connect\n" }, foreign);
  await answers("x".repeat(1025), { status: 413, body: "" });
  const { status, headers } = await post(undefined, { method: "GET" });
  assert.deepEqual([status, headers.allow], [405, "POST"]);
  peer.sendToSession(peer.id, "here", text("still there"));
  await peer.next({ type: REQUEST });
});
