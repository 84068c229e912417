// Rule S-6: a connection that is replaced without loss.

import assert from "node:assert/strict";
import { test } from "node:test";
import { readSendToPath, TOKEN, text } from "../../support/wire.mjs";
import { assertError, collect, gate, isSettled, randomNumbers, rejection, seed, unique } from "../support/client.mjs";
import { anotherBroker, assertEachOnce, broker, cutter, loseFor, next, open, record, scripted } from "./support.mjs";

test("S-6 requests under way are answered, and handlers, streams and filter handlers stay", async (t) => {
  const [near, far] = [await cutter(t), await cutter(t)];
  const [asker, answerer] = [await open(t, near), await open(t, far)];
  const path = unique("lossless");
  const asked = [];
  const [all, answers] = [gate(), gate()];
  const handler = (request) => {
    asked.push(request);
    if (asked.length === 3) all.open();
    return answers.opened.then(() => `${request} answered`);
  };
  await answerer.messaging.addRequestHandler(path, handler);
  answerer.messaging.addStreamHandler(path, handler, { addressed: true });
  const filter = `$SessionId is '${answerer.id}'`;
  const heard = [];
  asker.messaging.addFilterResponseHandler(filter, ({ value }) => heard.push(value));
  const sent = [
    asker.messaging.sendRequestToPath(path, "path"),
    asker.messaging.sendRequestToSession(path, answerer.id, "session"),
  ];
  const gathered = collect(asker.messaging.gather(filter, path, "filter"));
  await all.opened;
  const { id } = asker;
  const told = record(asker);
  await loseFor(near, asker);
  await loseFor(far, answerer);
  answers.open();
  assert.equal(await isSettled(sent[0]), false);
  const back = [next(asker, "reconnect"), next(answerer, "reconnect")];
  near.open();
  far.open();
  for (const detail of await Promise.all(back)) assert.deepEqual(detail, { lossless: true, newSession: false });
  assert.deepEqual(await Promise.all(sent), ["path answered", "session answered"]);
  assert.deepEqual(await gathered, [{ sessionId: answerer.id, value: "filter answered" }]);
  assert.equal(asker.id, id);
  assert.ok(!told.some(([event]) => event === "messageloss"));
  // As before.
  assert.equal(await asker.messaging.sendRequestToPath(path, "again"), "again answered");
  assert.equal(await asker.messaging.sendRequestToFilter(filter, path, "heard"), 1);
  await answerer.ping();
  await asker.ping();
  assert.deepEqual(heard, ["heard answered"]);
  assert.deepEqual(asked, ["path", "session", "filter", "again", "heard"], "each once");
});

test("S-6 cuts at random moments lose no request and deliver none twice", async (t) => {
  const start = seed();
  t.diagnostic(`ANTIPHON_SEED=${start}`);
  const random = randomNumbers(start);
  const [near, far] = [await cutter(t), await cutter(t)];
  const [asker, answerer] = [await open(t, near), await open(t, far)];
  const path = unique("random");
  const asked = [];
  await answerer.messaging.addRequestHandler(path, (number) => {
    asked.push(number);
    return number;
  });
  const sends = [];
  for (let number = 0; number < 400; number += 1) {
    sends.push(asker.messaging.sendRequestToPath(path, number, { whenDisconnected: "wait" }));
    if (random() < 0.05) near.cut();
    if (random() < 0.05) far.cut();
    if (random() < 0.5) await new Promise(setImmediate);
  }
  assertEachOnce(await Promise.all(sends), asked);
});

test("S-6 the client asks for what it missed, and sends again what the broker missed", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 2 });
  const session = await open(t, server);
  const [first] = server.connections;
  const sent = ["one", "two", "three"].map((path) => session.messaging.sendRequestToPath(path, 1));
  first.respond(await first.next(), text("answered"));
  assert.equal(await sent[0], "answered");
  await first.cut();
  const second = await server.connection(1);
  const { c, cs, ss } = second.query;
  assert.deepEqual({ c, cs, ss }, { c: TOKEN, cs: "1", ss: "1" });
  // As the script has it, the first message came through and the others did not.
  for (const [index, path] of [
    [1, "two"],
    [2, "three"],
  ]) {
    const message = await second.next();
    assert.equal(readSendToPath(message.body).path, path);
    second.respond(message, text(path));
    assert.equal(await sent[index], path);
  }
});

test("S-6 answers given while there is no connection arrive, also those of handlers that fail", async (t) => {
  const between = await cutter(t);
  const [asker, answerer] = [await open(t, broker), await open(t, between)];
  const path = unique("meanwhile");
  const calls = new Map();
  const all = gate();
  await answerer.messaging.addRequestHandler(
    path,
    (name) =>
      new Promise((resolve, reject) => {
        calls.set(name, { resolve, reject });
        if (calls.size === 2) all.open();
      }),
  );
  const good = asker.messaging.sendRequestToPath(path, "good");
  const bad = rejection(asker.messaging.sendRequestToPath(path, "bad"));
  await all.opened;
  await loseFor(between, answerer);
  calls.get("good").resolve(1);
  calls.get("bad").reject(new Error("broken"));
  between.open();
  assert.equal(await good, 1);
  assertError(await bad, { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed", message: "broken" });
});

test("S-6 a link that is half open is noticed after two ping periods, and replaced without loss", async (t) => {
  const pinging = await anotherBroker(t, "--ping-period", "300ms");
  const between = await cutter(t, pinging);
  const session = await open(t, between);
  await session.messaging.addRequestHandler("frozen", (request) => request);
  const lost = next(session, "disconnect");
  between.freeze();
  const sent = session.messaging.sendRequestToPath("frozen", "sent into the void");
  assert.match((await lost).reason, /nothing came from the server for 600 ms/);
  const back = next(session, "reconnect");
  between.cut();
  between.open();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.equal(await sent, "sent into the void");
});
