// Rule S-8: calls while there is no connection, and requests that wait for one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readSendToPath, text } from "../../support/wire.mjs";
import { assertError, collect, fails, isSettled, rejection, unique } from "../support/client.mjs";
import {
  anotherBroker,
  broker,
  closedUnsent,
  cutter,
  loseFor,
  next,
  notConnected,
  open,
  rejectsEverywhere,
  scripted,
  soon,
} from "./support.mjs";

const notSentInTime = { code: "TIMED_OUT", outcome: "not-sent" };

test("S-8 while a session recovers every call fails at once, and streams can be added", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  await loseFor(between, session);
  assert.equal(session.state, "recovering");
  await rejectsEverywhere(session, notConnected, { local: null });
  await fails(session.messaging.sendRequestToPath("a", 1, { whenDisconnected: "fail" }), notConnected);
  session.messaging.addStreamHandler("later", () => "there", { addressed: true });
  session.messaging.addFilterResponseHandler("all", () => {}).close();
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.equal(await session.messaging.sendRequestToSession("later", session.id, null), "there");
});

test("S-8 a request that waits is sent when there is a connection, in the order of the calls", async (t) => {
  const between = await cutter(t);
  const [session, other] = [await open(t, between), await open(t, broker)];
  const path = unique("waits");
  const asked = [];
  const answer = (request) => {
    asked.push(request);
    return request;
  };
  await other.messaging.addRequestHandler(path, answer);
  other.messaging.addStreamHandler(path, answer, { addressed: true });
  const filter = `$SessionId is '${other.id}'`;
  await loseFor(between, session);
  const wait = { whenDisconnected: "wait" };
  const { messaging } = session;
  const sent = [
    messaging.sendRequestToPath(path, 1, wait),
    messaging.sendRequestToSession(path, other.id, 2, wait),
    messaging.sendRequestToFilter(filter, path, 3, wait),
    collect(messaging.gather(filter, path, 4, wait)),
    messaging.sendRequestToPath(path, 5, wait),
  ];
  for (const promise of sent) assert.equal(await isSettled(promise), false);
  between.open();
  assert.deepEqual(await Promise.all(sent), [1, 2, 1, [{ sessionId: other.id, value: 4 }], 5]);
  assert.deepEqual(asked, [1, 2, 3, 4, 5]);
});

test("S-8 a deadline that passes while a request waits says that nothing was sent", async (t) => {
  const server = await scripted(t, {}, null, { code: 105, recovery: 1 });
  const session = await open(t, server);
  const lost = next(session, "disconnect");
  const back = next(session, "reconnect");
  await server.connections[0].cut();
  await lost;
  const wait = { whenDisconnected: "wait", timeout: 20 };
  const { messaging } = session;
  await Promise.all(
    [
      messaging.sendRequestToPath("a", 1, wait),
      messaging.sendRequestToSession("a", session.id, 1, wait),
      messaging.sendRequestToFilter("all", "a", 1, wait),
      messaging.gather("all", "a", 1, wait).expected,
      collect(messaging.gather("all", "a", 1, wait)),
    ].map((promise) => fails(promise, notSentInTime)),
  );
  await (await server.connection(1)).cut();
  await back;
  const after = session.messaging.sendRequestToPath("after", 1);
  const third = await server.connection(2);
  const message = await third.next();
  assert.equal(readSendToPath(message.body).path, "after");
  third.respond(message, text(""));
  await after;
});

test("S-8 a deadline goes on after the request was sent late", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 });
  const session = await open(t, server);
  const lost = next(session, "disconnect");
  await server.connections[0].cut();
  await lost;
  const start = performance.now();
  const sent = rejection(session.messaging.sendRequestToPath("a", 1, { whenDisconnected: "wait", timeout: 500 }));
  await (await server.connection(1)).next();
  assertError(await sent, { code: "TIMED_OUT", outcome: "unknown" });
  assert.ok(performance.now() - start < 940);
});

test("S-8 a request that is aborted while it waits is never sent", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between);
  const path = unique("aborted");
  const asked = [];
  await session.messaging.addRequestHandler(path, (request) => asked.push(request));
  await loseFor(between, session);
  const reason = new Error("changed my mind");
  const controller = new AbortController();
  const given = { whenDisconnected: "wait", signal: controller.signal };
  const { messaging } = session;
  const sends = [
    messaging.sendRequestToPath(path, "aborted", given),
    messaging.sendRequestToSession(path, session.id, "aborted", given),
    messaging.sendRequestToFilter("all", path, "aborted", given),
    collect(messaging.gather("all", path, "aborted", given)),
  ];
  const stays = messaging.sendRequestToPath(path, "stays", { whenDisconnected: "wait" });
  controller.abort(reason);
  for (const sent of sends) {
    assert.ok(await isSettled(sent.catch(() => {})));
    assert.equal(await rejection(sent), reason);
  }
  between.open();
  await stays;
  assert.deepEqual(asked, ["stays"]);
});

test("S-8 what waits survives a new session, and reaches what is registered there", async (t) => {
  const other = await anotherBroker(t);
  const between = await cutter(t);
  const [session, asked] = [await open(t, between), await open(t, other)];
  await asked.messaging.addRequestHandler("waits", (request) => request);
  await loseFor(between, session);
  const waiting = session.messaging.sendRequestToPath("waits", "still here", { whenDisconnected: "wait" });
  between.leadTo(other);
  between.open();
  assert.equal(await waiting, "still here");
});

test("S-8 what waits says that it was not sent, however the session ends", async (t) => {
  for (const [end, script] of [
    [(session) => session.close(), [{}, null]],
    [() => {}, [{}, { code: 116 }]],
    [() => {}, [{}, null]],
  ]) {
    const server = await scripted(t, ...script);
    const session = await open(t, server, { reconnect: { timeout: 300, ...soon } });
    const { messaging } = session;
    const sends = [];
    session.on("disconnect", () => {
      const wait = { whenDisconnected: "wait" };
      sends.push(messaging.sendRequestToPath("a", 1, wait), collect(messaging.gather("all", "a", 1, wait)));
      const failing = sends.map((sent) => fails(sent, closedUnsent));
      sends.splice(0, 2, ...failing);
    });
    await server.connections[0].cut();
    await server.connection(1);
    end(session);
    await session.closed;
    await Promise.all(sends);
    assert.equal(sends.length, 2);
  }
});
