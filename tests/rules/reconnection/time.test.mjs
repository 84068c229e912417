// Rule S-5: how long a session is kept for its client to come back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectError, connect } from "antiphon";
import { WebSocket } from "ws";
import { DELIVERY } from "../../support/wire.mjs";
import { assertError, fails, rejection, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { anotherBroker, broker, cutter, loseFor, next, open, scripted, unhandled } from "./support.mjs";

test("S-5 the broker is asked to keep the session for `reconnect.timeout`, a minute if that is not said", async (t) => {
  const server = await scripted(t, {});
  for (const [reconnect, asked] of [
    [undefined, "60000"],
    [null, "60000"],
    [true, "60000"],
    [{}, "60000"],
    [{ timeout: 1234 }, "1234"],
    [{ timeout: 0 }, "0"],
    [false, "0"],
  ]) {
    const session = await connect(server.url, { webSocket: WebSocket, log: "off", reconnect });
    assert.equal(server.connections.at(-1).query.r, asked);
    await session.close();
  }
});

test("S-5 what cannot be used for `reconnect` is refused", async () => {
  for (const reconnect of [
    "yes",
    5000,
    { timeout: -1 },
    { timeout: Number.NaN },
    { timeout: "1s" },
    { delay: 5 },
    { delay: [] },
  ]) {
    const error = await rejection(connect(broker.url, { webSocket: WebSocket, reconnect }));
    assert.ok(error instanceof ConnectError);
    assert.deepEqual([error.code, error.retryable], ["INVALID_ARGUMENT", false]);
    assert.match(error.message, /reconnect/);
  }
});

test("S-5 S-11 the broker keeps a session for the smaller of what is asked and allowed, then ends it", async (t) => {
  const strict = await anotherBroker(t, "--reconnect-timeout", "500ms");
  for (const [server, r] of [
    [strict, 60_000],
    [broker, 500],
  ]) {
    const asker = await open(t, server);
    const path = unique("kept");
    const peer = await connectPeer(server, { query: { r } });
    await peer.register(path);
    const delivered = rejection(asker.messaging.sendRequestToPath(path, "delivered"));
    await peer.next({ service: DELIVERY });
    const start = performance.now();
    await peer.cut();
    const queued = rejection(asker.messaging.sendRequestToPath(path, "queued"));
    assertError(await delivered, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
    // Nobody has seen this one.
    assertError(await queued, { code: "CLUSTER_ROUTING", reason: 112, outcome: "refused" });
    const kept = performance.now() - start;
    assert.ok(kept > 490 && kept < 1350, `${kept} ms`);
    await fails(asker.messaging.sendRequestToPath(path, "late"), unhandled);
    assert.equal((await connectPeer(server, { query: { c: peer.token, cs: 1, ss: 0 } })).code, 117);
  }
});

test("S-5 a session that the broker has let go meanwhile goes on as a new one", async (t) => {
  const strict = await anotherBroker(t, "--reconnect-timeout", "500ms");
  const between = await cutter(t, strict);
  const [session, watcher] = [await open(t, between), await open(t, strict)];
  await session.messaging.addRequestHandler("kept", () => 1);
  const { id } = session;
  await loseFor(between, session);
  // Waits for the session as long as the broker keeps it.
  assert.equal((await rejection(watcher.messaging.sendRequestToPath("kept", null))).code, "CLUSTER_ROUTING");
  const back = next(session, "reconnect");
  between.open();
  assert.deepEqual(await back, { lossless: false, newSession: true });
  assert.notEqual(session.id, id);
});
