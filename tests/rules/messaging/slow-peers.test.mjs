// Rule M-20: a peer that is slow to answer or to read holds up nobody else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startBroker } from "../../support/broker.mjs";
import { DELIVERY, SYSTEM_PING, text } from "../../support/wire.mjs";
import { assertError, collect, filterFor, open, openAll, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { broker, peerAt } from "./support.mjs";

test("M-20 a recipient that answers no request holds up nothing, and lives as long as it answers pings", async (t) => {
  const pinging = await startBroker(["--ping-period", "300ms"]);
  t.after(() => pinging.stop());
  const [asker, other] = await openAll(t, pinging, 2);
  const slow = await connectPeer(pinging, { answersPings: false });
  await slow.register("slow");
  await other.messaging.addRequestHandler("fast", () => "fast");
  const waiting = Array.from({ length: 100 }, () => asker.messaging.sendRequestToPath("slow", null));
  for (const sent of waiting) sent.catch(() => {});
  for (let pings = 0; pings < 4; pings += 1) {
    slow.respond(await slow.next({ service: SYSTEM_PING }));
    assert.equal(await asker.messaging.sendRequestToPath("fast", null), "fast");
  }
  assert.equal(slow.isClosed, false);
  for (let count = 0; count < 100; count += 1) slow.respond(await slow.next({ service: DELIVERY }), text("done"));
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set(["done"]));
});

test("M-20 a session that reads nothing for a while is neither ended nor in the way", async (t) => {
  const [asker, other] = await openAll(t, broker, 2);
  const paused = await peerAt(t, broker);
  await paused.register(unique("paused"));
  const path = unique("paused");
  await paused.register(path);
  await other.messaging.addRequestHandler(`${path}/fast`, () => "fast");
  paused.socket.pause();
  const waiting = Array.from({ length: 200 }, () => asker.messaging.sendRequestToPath(path, new Uint8Array(10_000)));
  for (let count = 0; count < 20; count += 1) {
    assert.equal(await asker.messaging.sendRequestToPath(`${path}/fast`, null), "fast");
  }
  paused.socket.resume();
  for (let count = 0; count < 200; count += 1) paused.respond(await paused.next({ service: DELIVERY }), text("done"));
  assert.equal((await Promise.all(waiting)).length, 200);
});

for (const [what, count, size] of [
  ["large", 40, 1 << 20],
  ["many", 4000, 10_000],
]) {
  test(`M-20 a burst of ${what} requests costs the handler's session nothing but time`, async (t) => {
    const [asker, answerer] = await openAll(t, broker, 2);
    const path = unique("burst");
    await answerer.messaging.addRequestHandler(path, ({ length }) => length);
    const bytes = new Uint8Array(size);
    const sends = Array.from({ length: count }, () => asker.messaging.sendRequestToPath(path, bytes));
    for (const { value: answer, reason } of await Promise.allSettled(sends)) {
      // Refusing what is too much is right; the sender knows that it may ask again.
      if (reason) assertError(reason, { code: "BUSY", reason: 10001, outcome: "refused" });
      else assert.equal(answer, size);
    }
    assert.deepEqual([answerer.state, asker.state], ["connected", "connected"]);
    assert.equal(await asker.messaging.sendRequestToPath(path, Uint8Array.of(1)), 1);
  });
}

test("M-20 a burst of large answers costs the session that asked for them nothing but time", async (t) => {
  const asker = await open(t, broker);
  const answerers = await openAll(t, broker, 20);
  const answer = () => new Uint8Array(1 << 20);
  const path = unique("burst");
  for (const { messaging } of answerers) {
    messaging.addStreamHandler(path, answer, { addressed: true });
    await messaging.addRequestHandler(path, answer);
  }
  for (const { value: bytes } of await collect(asker.messaging.gather(filterFor(...answerers), path, null))) {
    assert.equal(bytes.length, 1 << 20);
  }
  const sends = Array.from({ length: 40 }, () => asker.messaging.sendRequestToPath(path, null));
  for (const bytes of await Promise.all(sends)) assert.equal(bytes.length, 1 << 20);
});
