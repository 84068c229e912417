// Rules S-13 and S-16: pages that are left. The HTTP door by which one ends its session when its WebSocket is gone already,
// and what the broker makes of a WebSocket that is going away.

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
const closedUnanswered = { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" };

async function answers(body, expected, options) {
  const { status, body: said } = await post(body, options);
  assert.deepEqual({ status, body: said }, expected);
}

test("S-13 the token ends a session that has lost its connection, and whoever waits for it is told at once", async (t) => {
  const asker = await open(t, broker);
  const path = unique("left");
  const peer = await connectPeer(broker, kept);
  await peer.register(path);
  const sent = fails(asker.messaging.sendRequestToPath(path, 1), closedUnanswered);
  await peer.next({ type: REQUEST });
  await peer.cut();
  await answers(peer.token, noContent);
  await sent;
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

test("S-16 a session whose WebSocket goes away is kept for a second, and one that only lost it for as long as agreed", async (t) => {
  const asker = await open(t, broker);
  const [leaving, cut] = [await connectPeer(broker, kept), await connectPeer(broker, kept)];
  const [left, lost] = [unique("going"), unique("lost")];
  await leaving.register(left);
  await cut.register(lost);
  const sent = fails(asker.messaging.sendRequestToPath(left, 1), closedUnanswered);
  const waiting = fails(asker.messaging.sendRequestToPath(lost, 1, { timeout: 1500 }), {
    code: "TIMED_OUT",
    outcome: "unknown",
  });
  await leaving.next({ type: REQUEST });
  const start = performance.now();
  await Promise.all([leaving.leave(1001), cut.leave(1000)]);
  await Promise.all([
    sent.then(() => {
      const elapsed = performance.now() - start;
      assert.ok(elapsed > 900 && elapsed < 1500, `${elapsed} ms`);
    }),
    waiting,
  ]);
});

test("S-16 a client that comes back at once has lost nothing", async () => {
  const peer = await connectPeer(broker, kept);
  await peer.leave(1001);
  const back = await connectPeer(broker, { query: { r: 60_000, c: peer.token, cs: 1, ss: 0 } });
  assert.equal(back.code, 105);
  await back.close();
});
