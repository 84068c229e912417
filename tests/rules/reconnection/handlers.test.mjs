// Rule S-10: handlers of a session that has no connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertError, fails, isSettled, rejection, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { anotherBroker, broker, cutter, loseFor, next, notConnected, open, unhandled } from "./support.mjs";

test("S-10 a connected handler is preferred to one that is not", async (t) => {
  const path = unique("preferred");
  const [asker, there] = [await open(t, broker), await open(t, broker)];
  const away = await connectPeer(broker, { query: { r: 60_000 } });
  await away.register(path);
  await there.messaging.addRequestHandler(path, () => "there");
  await away.cut();
  // A filter does not match it any more when the broker has noticed.
  while ((await asker.messaging.sendRequestToFilter(`$SessionId is '${away.id}'`, path, 1)) > 0);
  const sends = Array.from({ length: 20 }, () => asker.messaging.sendRequestToPath(path, null));
  assert.deepEqual(await Promise.all(sends), Array(20).fill("there"));
});

test("S-10 a handler without a connection gets its requests when it is back", async (t) => {
  const between = await cutter(t);
  const path = unique("away");
  const [asker, above, away] = [await open(t, broker), await open(t, broker), await open(t, between)];
  await above.messaging.addRequestHandler(path, () => "above");
  await away.messaging.addRequestHandler(`${path}/below`, (request) => `${request} received`);
  await loseFor(between, away);
  const sent = asker.messaging.sendRequestToPath(`${path}/below`, "queued");
  await asker.ping();
  assert.equal(await isSettled(sent), false);
  between.open();
  assert.equal(await sent, "queued received");
});

test("S-10 a request for a handler without a connection waits no longer than the broker's own time", async (t) => {
  const impatient = await anotherBroker(t, "--request-timeout", "100ms");
  const asker = await open(t, impatient);
  const away = await connectPeer(impatient, { query: { r: 60_000 } });
  await away.register("away");
  await away.cut();
  while ((await asker.messaging.sendRequestToFilter("all", "noticed", 1)) > 1);
  // It is not delivered any more; 102 does not say so.
  await fails(asker.messaging.sendRequestToPath("away", 1), {
    code: "REQUEST_TIME_OUT",
    reason: 102,
    outcome: "unknown",
  });
  const back = await connectPeer(impatient, { query: { c: away.token, cs: 1, ss: 1 } });
  assert.equal(back.code, 105);
  await back.close();
});

test("S-8 a handler that is closed without a connection answers no more, and is taken back when there is one", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const path = unique("closed");
  const registration = await session.messaging.addRequestHandler(path, () => "answered");
  await loseFor(between, session);
  const sent = rejection(asker.messaging.sendRequestToPath(path, null));
  await asker.ping();
  await registration.close();
  const back = next(session, "reconnect");
  between.open();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assertError(await sent, unhandled);
  await session.ping();
  await fails(asker.messaging.sendRequestToPath(path, null), { ...unhandled, message: /no session handles/ });
});

test("S-8 a registration may wait for a connection, and its signal ends the waiting", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const [path, never] = [unique("waits"), unique("never")];
  await loseFor(between, session);
  await fails(
    session.messaging.addRequestHandler(path, () => 1),
    notConnected,
  );
  const controller = new AbortController();
  const { signal } = controller;
  const waiting = session.messaging.addRequestHandler(path, () => "here", { whenDisconnected: "wait" });
  const aborted = session.messaging.addRequestHandler(never, () => 1, { whenDisconnected: "wait", signal });
  controller.abort("gone");
  assert.equal(await rejection(aborted), "gone");
  between.open();
  await waiting;
  assert.equal(await asker.messaging.sendRequestToPath(path, null), "here");
  await fails(asker.messaging.sendRequestToPath(never, null), unhandled);
});
