// Request handlers and streams: one slot for each path, concurrency, what a handler learns.

import assert from "node:assert/strict";
import { test } from "node:test";
import { datatypes, RequestHandler } from "antiphon";
import { join } from "../../support/wire.mjs";
import { assertError, fails, gate, open, openAll, rejection, thrown, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import { broker, invalid, unhandled } from "./support.mjs";

const conflict = { code: "HANDLER_CONFLICT", reason: 201, outcome: "refused" };

test("a stream that is set after a handler answers, and closing it restores nothing", async (t) => {
  const session = await open(t, broker);
  const path = unique("slot");
  const registration = await session.messaging.addRequestHandler(path, () => "handler");
  const stream = session.messaging.addStreamHandler(path, () => "stream");
  const ask = (below = "") => session.messaging.sendRequestToPath(path + below, null);
  assert.equal(await ask(), "stream");
  await stream.close();
  await fails(ask(), unhandled);
  assert.equal(await ask("/below"), "handler");
  await registration.close();
});

test("a handler that is added after a stream answers, and closing it restores nothing", async (t) => {
  const session = await open(t, broker);
  const path = unique("slot");
  await session.messaging.addRequestHandler(path, () => "above");
  const stream = session.messaging.addStreamHandler(`${path}/a`, () => "stream");
  const ask = () => session.messaging.sendRequestToPath(`${path}/a`, null);
  assert.equal(await ask(), "stream");
  const registration = await session.messaging.addRequestHandler(`${path}/a`, () => "handler");
  assert.equal(await ask(), "handler");
  await stream.close(); // was replaced: takes nothing out
  assert.equal(await ask(), "handler");
  await registration.close();
  assert.equal(await ask(), "above");
});

test("of two streams at a path the later one answers, and closing either restores nothing", async (t) => {
  const session = await open(t, broker);
  const path = unique("slot");
  await session.messaging.addRequestHandler(path, () => "above");
  const first = session.messaging.addStreamHandler(`${path}/a`, () => "first");
  const second = session.messaging.addStreamHandler(`${path}/a`, () => "second");
  const ask = () => session.messaging.sendRequestToPath(`${path}/a`, null);
  assert.equal(await ask(), "second");
  await first.close();
  assert.equal(await ask(), "second");
  await second.close();
  assert.equal(await ask(), "above");
});

test("a conflict changes nothing, whatever answers at that path", async (t) => {
  const session = await open(t, broker);
  const path = unique("conflict");
  const first = await session.messaging.addRequestHandler(path, () => "handler");
  const add = () => session.messaging.addRequestHandler(path, () => "refused");
  const ask = () => session.messaging.sendRequestToPath(path, null);
  await fails(add(), conflict);
  assert.equal(await ask(), "handler");
  const stream = session.messaging.addStreamHandler(path, () => "stream");
  await fails(add(), conflict);
  assert.equal(await ask(), "stream");
  await stream.close();
  await fails(add(), conflict);
  await fails(ask(), unhandled);
  await first.close();
  await session.messaging.addRequestHandler(path, () => "again");
  assert.equal(await ask(), "again");
});

for (const kind of ["handler", "stream"]) {
  test(`maxConcurrent bounds how many requests a ${kind} answers at once, and the rest wait in order`, async (t) => {
    const [asker, answerer] = await openAll(t, broker, 2);
    const path = unique("busy");
    const started = [];
    const gates = Array.from({ length: 7 }, gate);
    const changed = { gate: gate() };
    const handler = async (n) => {
      started.push(n);
      changed.gate.open();
      await gates[n].opened;
      if (n === 1) throw new Error("one that fails makes room too");
      return n;
    };
    const startedAre = async (expected) => {
      while (started.length < expected.length) {
        changed.gate = gate();
        await changed.gate.opened;
      }
      assert.deepEqual(started, expected);
    };
    const limited = { maxConcurrent: 2 };
    if (kind === "handler") await answerer.messaging.addRequestHandler(path, handler, { ...limited, maxQueued: 5 });
    else answerer.messaging.addStreamHandler(path, handler, { ...limited, addressed: true });
    const sends = gates.map((_, n) =>
      kind === "handler"
        ? asker.messaging.sendRequestToPath(path, n)
        : asker.messaging.sendRequestToSession(path, answerer.id, n),
    );
    const settled = Promise.allSettled(sends);
    await startedAre([0, 1]);
    gates[1].open();
    await startedAre([0, 1, 2]);
    gates[0].open();
    await startedAre([0, 1, 2, 3]);
    for (const { open } of gates) open();
    await startedAre([0, 1, 2, 3, 4, 5, 6]);
    assert.deepEqual(
      (await settled).map(({ status, value }) => value ?? status),
      [0, "rejected", 2, 3, 4, 5, 6],
    );
  });
}

test("with maxConcurrent 1 and answers at once a thousand requests are answered in order", async (t) => {
  const session = await open(t, broker);
  const path = unique("busy");
  const started = [];
  await session.messaging.addRequestHandler(path, (n) => started.push(n), { maxConcurrent: 1, maxQueued: 999 });
  const numbers = Array.from({ length: 1000 }, (_, n) => n);
  await Promise.all(numbers.map((n) => session.messaging.sendRequestToPath(path, n)));
  assert.deepEqual(started, numbers);
});

test("requests that still wait for their turn when the session closes never start", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("busy");
  const [first, released] = [gate(), gate()];
  let calls = 0;
  await answerer.messaging.addRequestHandler(
    path,
    () => {
      calls += 1;
      first.open();
      return released.opened;
    },
    { maxConcurrent: 1, addressed: true },
  );
  const sends = Array.from({ length: 5 }, () => asker.messaging.sendRequestToSession(path, answerer.id, null));
  const failing = Promise.all(sends.map(rejection));
  await first.opened;
  await answerer.close();
  released.open();
  for (const error of await failing) assertError(error, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
  await new Promise(setImmediate);
  assert.equal(calls, 1);
});

test("what is no number of requests is an invalid maxConcurrent or maxQueued", async (t) => {
  const session = await open(t, broker);
  for (const maxConcurrent of [0, -1, Number.NaN, "2", 2n, {}, 1.5]) {
    await fails(
      session.messaging.addRequestHandler("a", () => 1, { maxConcurrent }),
      invalid,
    );
  }
  for (const maxQueued of [-1, Number.NaN, "2", 2n, {}, 1.5]) {
    const adding = session.messaging.addRequestHandler("a", () => 1, { maxQueued });
    await fails(adding, { ...invalid, message: /maxQueued must be a whole number, at least 0/ });
  }
  assertError(
    thrown(() => session.messaging.addStreamHandler("a", () => 1, { maxQueued: 1 })),
    invalid,
  );
});

test("the signal of a request is aborted when its answer can no longer be delivered, and not before", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("signal");
  const signals = [];
  const called = gate();
  await answerer.messaging.addRequestHandler(path, (kind, { signal }) => {
    assert.ok(signal instanceof AbortSignal);
    signals.push(signal);
    if (kind === "answered") return kind;
    called.open();
    return new Promise(() => {});
  });
  assert.equal(await asker.messaging.sendRequestToPath(path, "answered"), "answered");
  asker.messaging.sendRequestToPath(path, "never").catch(() => {}); // ends with the session of the handler
  await called.opened;
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false, false],
  );
  await answerer.close();
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [false, true],
  );
  assertError(signals[1].reason, { code: "SESSION_CLOSED", outcome: "unknown" });
});

test("a handler that is an object is called as one, with the request among what it learns", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("object");
  const handler = {
    word: "mine",
    handle(event, args) {
      const { signal, ...rest } = args;
      return { word: this.word, event, ...rest, aborted: signal.aborted };
    },
  };
  await answerer.messaging.addRequestHandler(path, handler);
  const seen = await asker.messaging.sendRequestToPath(`${path}/x`, { a: 1 });
  assert.deepEqual(seen, {
    word: "mine",
    event: "request",
    path: `${path}/x`,
    addressed: false,
    senderSessionId: asker.id,
    sessionProperties: {},
    requestType: "json",
    request: { a: 1 },
    aborted: false,
  });
});

test("the types in the options win over those of the handler object", async (t) => {
  const session = await open(t, broker);
  const path = unique("types");
  const peer = await connectPeer(broker);
  const answered = async (request) => {
    const { body, reason } = await peer.answerTo(peer.sendToPath(path, request));
    return reason ?? body.subarray(1, 1 + body[0]).toString();
  };
  const int64 = join(Buffer.from("\x05int64"), Buffer.of(1, 5));
  const handlers = [
    { handle: (_, { request }) => request, requestType: "json", responseType: "double" },
    new RequestHandler((request) => request, { requestType: datatypes.JSON, responseType: "DOUBLE" }),
  ];
  for (const handler of handlers) {
    const cases = [
      [undefined, "double", 108],
      [{}, "double", 108],
      [{ requestType: "string" }, 108, 108],
      [{ responseType: "int64" }, "int64", 108],
      [{ requestType: "int64", responseType: "json" }, "json", 108],
    ];
    for (const [given, expected] of cases) {
      const registration = await session.messaging.addRequestHandler(path, handler, given);
      assert.equal(await answered(int64), expected, JSON.stringify(given));
      await registration.close();
    }
  }
  await peer.close();
});

test("RequestHandler makes handlers that are objects, and knows one when it sees it", async (t) => {
  const session = await open(t, broker);
  const path = unique("class");
  const handler = new RequestHandler((n, { path: at }) => [n, at], { requestType: "double" });
  assert.deepEqual([handler.requestType, handler.responseType], ["double", undefined]);
  assert.deepEqual(handler.handle(undefined, { request: 1, path: "p" }), [1, "p"]);
  assert.deepEqual(handler.handle("request", { request: 1, path: "p" }), [1, "p"]);
  assert.throws(() => handler.handle("close", { request: 1 }), TypeError);
  await session.messaging.addRequestHandler(path, handler);
  assert.deepEqual(await session.messaging.sendRequestToPath(path, 5, { responseType: "json" }), [5, path]);
  for (const bad of [undefined, null, 7, {}, "f"]) assert.throws(() => new RequestHandler(bad), TypeError);
  assert.ok({ handle() {} } instanceof RequestHandler);
  for (const none of [undefined, null, 7, "x", {}, () => {}, { handle: 7 }])
    assert.ok(!(none instanceof RequestHandler));
  class Own {}
  assert.ok(!(new Own() instanceof RequestHandler));
  assert.equal(RequestHandler.register(Own), Own);
  assert.ok(new Own() instanceof RequestHandler);
  class Derived extends Own {}
  assert.ok(new Derived() instanceof RequestHandler);
  assert.ok(!({} instanceof RequestHandler));
});
