// Sending and giving up: copies, aborting, limits.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { collect, filterFor, open, openAll, randomNumbers, rejection, seed, unique } from "../support/client.mjs";
import { broker, crowd, never } from "./support.mjs";

test("a send is done when it returns: what the caller changes afterwards is not sent", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("at-once");
  await answerer.messaging.addRequestHandler(path, (request) => request);
  answerer.messaging.addStreamHandler(path, (request) => request, { addressed: true });
  const request = { list: [1] };
  const bytes = Uint8Array.of(1, 2);
  const sends = [
    asker.messaging.sendRequestToPath(path, request),
    asker.messaging.sendRequestToSession(path, answerer.id, request),
    collect(asker.messaging.gather(filterFor(answerer), path, request)).then(([{ value }]) => value),
    asker.messaging.sendRequestToPath(path, bytes),
  ];
  request.list.push(2);
  bytes.fill(0);
  assert.deepEqual(await Promise.all(sends), [{ list: [1] }, { list: [1] }, { list: [1] }, Uint8Array.of(1, 2)]);
});

test("aborting rejects with the signal's reason itself, whatever it is", async (t) => {
  const { asker, sessions } = await crowd(t, [never]);
  await sessions[0].messaging.addRequestHandler(unique("abort"), never);
  for (const reason of [new Error("mine"), "text", 7, null]) {
    const controller = new AbortController();
    const { signal } = controller;
    const sends = [
      asker.messaging.sendRequestToSession("g", sessions[0].id, null, { signal }),
      asker.messaging.sendRequestToFilter(filterFor(...sessions), "g", null, { signal }),
    ];
    const reasons = Promise.all(sends.map(rejection));
    controller.abort(reason);
    for (const got of await reasons) assert.equal(got, reason);
    assert.equal(getEventListeners(signal, "abort").length, 0);
    assert.equal(await rejection(asker.messaging.sendRequestToPath("g", null, { signal })), reason);
  }
});

test("10 000 aborts at random moments leave nothing", async (t) => {
  const number = seed();
  t.diagnostic(`ANTIPHON_SEED=${number}`);
  const random = randomNumbers(number);
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("aborts");
  const answer = (n) => (random() < 0.5 ? n : new Promise((resolve) => setImmediate(resolve, n)));
  await answerer.messaging.addRequestHandler(path, answer);
  answerer.messaging.addStreamHandler(path, answer, { addressed: true });
  const moments = [
    (abort) => abort(),
    (abort) => queueMicrotask(abort),
    (abort) => setImmediate(abort),
    (abort) => setImmediate(() => setImmediate(abort)),
    () => {},
  ];
  const counts = { answered: 0, aborted: 0 };
  const signals = [];
  async function one(n) {
    const controller = new AbortController();
    const { signal } = controller;
    signals.push(signal);
    const reason = new Error(`reason ${n}`);
    if (random() < 0.05) controller.abort(reason);
    const ways = [
      () => asker.messaging.sendRequestToPath(path, n, { signal }),
      () => asker.messaging.sendRequestToSession(path, answerer.id, n, { signal }),
      () => collect(asker.messaging.gather(filterFor(answerer), path, n, { signal })).then(([{ value }]) => value),
    ];
    const sent = ways[Math.floor(random() * ways.length)]();
    moments[Math.floor(random() * moments.length)](() => controller.abort(reason));
    try {
      assert.equal(await sent, n);
      counts.answered += 1;
    } catch (error) {
      assert.equal(error, reason);
      counts.aborted += 1;
    }
  }
  for (let n = 0; n < 10_000; n += 500) {
    await Promise.all(Array.from({ length: 500 }, (_, index) => one(n + index)));
  }
  assert.equal(counts.answered + counts.aborted, 10_000);
  assert.ok(counts.answered > 1000 && counts.aborted > 1000, JSON.stringify(counts));
  assert.ok(signals.every((signal) => getEventListeners(signal, "abort").length === 0));
  assert.equal(await asker.messaging.sendRequestToPath(path, 7), 7);
});

test("the whole limit of outstanding requests is there again after as many aborts", async (t) => {
  const session = await open(t, broker);
  const path = unique("limit");
  await session.messaging.addRequestHandler(path, (n) => n);
  for (let round = 0; round < 4; round += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    const sends = Array.from({ length: 4000 }, (_, n) => session.messaging.sendRequestToPath(path, n, { signal }));
    const settled = Promise.allSettled(sends);
    controller.abort();
    assert.ok((await settled).every(({ reason }) => reason === signal.reason));
    await session.ping();
  }
  assert.equal(await session.messaging.sendRequestToPath(path, 7), 7);
});
