// Corners of the public surface: slots of handlers, concurrency, gathering, filter response handlers, services,
// contracts, aborting, disposal.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { after, test } from "node:test";
import { ConnectError, connect, datatypes, MessagingError, RequestHandler } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";
import {
  assertError,
  collect,
  fails,
  gate,
  isSettled,
  open,
  openAll,
  randomNumbers,
  rejection,
  seed,
  unique,
} from "./support/client.mjs";
import { connectPeer, SCRIPTED_ID, startServer } from "./support/endpoint.mjs";
import { FILTER_RESPONSE, join, readSendToFilter, SEND_TO_FILTER, sessionId, text, varint } from "./support/wire.mjs";

const broker = await startBroker();
after(() => broker.stop());

const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };
const conflict = { code: "HANDLER_CONFLICT", reason: 201, outcome: "refused" };
const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };

const only = (...sessions) => `$SessionId in [${sessions.map(({ id }) => `'${id}'`).join(" ")}]`;

// ---- One slot for each path ----

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

// ---- Concurrency ----

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
    const limited = { maxConcurrent: 2, addressed: true };
    if (kind === "handler") await answerer.messaging.addRequestHandler(path, handler, { maxConcurrent: 2 });
    else answerer.messaging.addStreamHandler(path, handler, limited);
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
  await session.messaging.addRequestHandler(path, (n) => started.push(n), { maxConcurrent: 1 });
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
    { maxConcurrent: 1 },
  );
  const sends = Array.from({ length: 5 }, () => asker.messaging.sendRequestToPath(path, null));
  const failing = Promise.all(sends.map(rejection));
  await first.opened;
  await answerer.close();
  released.open();
  for (const error of await failing) assertError(error, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
  await new Promise(setImmediate);
  assert.equal(calls, 1);
});

test("what is no number of requests is an invalid maxConcurrent", async (t) => {
  const session = await open(t, broker);
  for (const maxConcurrent of [0, -1, Number.NaN, "2", 2n, {}, 1.5]) {
    await fails(
      session.messaging.addRequestHandler("a", () => 1, { maxConcurrent }),
      invalid,
    );
  }
});

// ---- What a handler learns ----

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

// ---- Gathering ----

/** A session that sends, and one that answers for each of `answers`: a value, or a function. */
async function crowd(t, answers) {
  const [asker, ...sessions] = await openAll(t, broker, answers.length + 1);
  for (const [index, { messaging }] of sessions.entries()) {
    const answer = answers[index];
    messaging.addStreamHandler("g", typeof answer === "function" ? answer : () => answer, { addressed: true });
  }
  const gather = (given) => asker.messaging.gather(only(...sessions), "g", null, given);
  return { asker, sessions, gather };
}

/** What a gathering gives until it throws, and what it throws. */
async function untilThrown(gathering) {
  const results = [];
  try {
    for await (const result of gathering) results.push(result);
  } catch (error) {
    return { results, error };
  }
  return assert.fail("the gathering ended without an error");
}

const broken = () => {
  throw new Error("broken");
};
const never = () => new Promise(() => {});
const values = (results) => results.map(({ value, error }) => value ?? error.code).sort();

test("a gathering ends when every session has answered or failed", async (t) => {
  const { gather, sessions } = await crowd(t, [1, 2, broken]);
  const gathering = gather();
  assert.equal(await gathering.expected, 3);
  const results = await collect(gathering);
  assert.deepEqual(values(results), [1, 2, "CALLBACK_EXCEPTION"]);
  assert.deepEqual(results.map(({ sessionId: id }) => id).sort(), sessions.map(({ id }) => id).sort());
  for (const result of results) assert.equal(Object.keys(result).length, 2);
  assert.deepEqual(await gathering[Symbol.asyncIterator]().next(), { value: undefined, done: true });
});

test("a gathering sends at the call, whether or not anybody looks at it", async (t) => {
  const called = gate();
  const { gather } = await crowd(t, [() => called.open()]);
  gather();
  await called.opened;
});

test("with atLeast a gathering ends after so many values, and what comes later is dropped", async (t) => {
  const late = gate();
  const { asker, gather } = await crowd(t, [1, broken, 2, () => late.opened.then(() => 3)]);
  const results = await collect(gather({ atLeast: 2 }));
  assert.deepEqual(values(results.filter(({ error }) => !error)), [1, 2]);
  late.open();
  await asker.ping();
  assert.equal((await collect(gather({ atLeast: 3 }))).filter(({ error }) => !error).length, 3);
});

test("a gathering throws NOT_ENOUGH as soon as atLeast can no longer be reached", async (t) => {
  const { gather } = await crowd(t, [1, broken, never]);
  const { results, error } = await untilThrown(gather({ atLeast: 3 }));
  assertError(error, { code: "NOT_ENOUGH", outcome: "unknown" });
  assert.ok(values(results).includes("CALLBACK_EXCEPTION"));
  const tooMany = gather({ atLeast: 4 });
  assertError((await untilThrown(tooMany)).error, { code: "NOT_ENOUGH", outcome: "unknown" });
  assert.equal(await tooMany.expected, 3);
});

test("a gathering of nobody is empty, and not enough for anything", async (t) => {
  const session = await open(t, broker);
  const gathering = session.messaging.gather("has nothing", "g", null);
  assert.deepEqual(await collect(gathering), []);
  assert.equal(await gathering.expected, 0);
  const one = session.messaging.gather("has nothing", "g", null, { atLeast: 1 });
  assertError((await untilThrown(one)).error, { code: "NOT_ENOUGH", outcome: "unknown" });
});

test("a gathering counts right when the count and all the answers come in one go", async (t) => {
  const server = await startServer((message, connection) => {
    if (message.service !== SEND_TO_FILTER) return;
    const { filterConversation } = readSendToFilter(message.body);
    connection.socket._socket.cork();
    connection.respond(message, Buffer.of(0, 3));
    for (const n of ["1", "2", "3"]) {
      const answer = join(sessionId(`${n}-${n}`), Buffer.of(0), text(n));
      connection.request(FILTER_RESPONSE, join(varint(filterConversation), answer));
    }
    connection.socket._socket.uncork();
  });
  t.after(() => server.stop());
  const session = await open(t, server);
  for (const [atLeast, expected] of [
    [undefined, ["1", "2", "3"]],
    [1, ["1"]],
    [2, ["1", "2"]],
    [3, ["1", "2", "3"]],
  ]) {
    const gathering = session.messaging.gather("all", "g", null, { atLeast });
    assert.deepEqual(values(await collect(gathering)), expected);
    assert.equal(await gathering.expected, 3);
  }
  const tooMany = await untilThrown(session.messaging.gather("all", "g", null, { atLeast: 4 }));
  assertError(tooMany.error, { code: "NOT_ENOUGH", outcome: "unknown" });
});

for (const atLeast of [undefined, 2]) {
  const form = atLeast ? "with atLeast" : "without atLeast";

  test(`a gathering ${form} throws TIMED_OUT at its deadline, after what came before`, async (t) => {
    const { gather } = await crowd(t, [1, never]);
    const { results, error } = await untilThrown(gather({ timeout: 100, atLeast }));
    assertError(error, { code: "TIMED_OUT", outcome: "unknown" });
    assert.deepEqual(values(results), [1]);
  });

  test(`a gathering ${form} throws CONNECTION_LOST when the connection is lost`, async (t) => {
    const server = await startServer((message, connection) => {
      if (message.service !== SEND_TO_FILTER) return;
      connection.respond(message, Buffer.of(0, 3));
      const { filterConversation } = readSendToFilter(message.body);
      const answer = join(sessionId(SCRIPTED_ID), Buffer.of(0), text("one"));
      connection.request(FILTER_RESPONSE, join(varint(filterConversation), answer));
    });
    t.after(() => server.stop());
    const session = await open(t, server);
    const gathering = session.messaging.gather("all", "g", null, { atLeast })[Symbol.asyncIterator]();
    assert.deepEqual(await gathering.next(), { value: { sessionId: SCRIPTED_ID, value: "one" }, done: false });
    const next = gathering.next();
    server.connections[0].cut();
    await fails(next, { code: "CONNECTION_LOST", outcome: "unknown" });
    assert.deepEqual(await gathering.next(), { value: undefined, done: true });
  });

  test(`a gathering ${form} throws SESSION_CLOSED when the session is closed`, async (t) => {
    const { asker, gather } = await crowd(t, [1, never]);
    const gathering = gather({ atLeast });
    await gathering.expected;
    const thrownLater = untilThrown(gathering);
    await asker.close();
    assertError((await thrownLater).error, { code: "SESSION_CLOSED", outcome: "unknown" });
  });
}

test("leaving the loop ends a gathering and releases everything", async (t) => {
  const late = gate();
  const { asker, gather, sessions } = await crowd(t, [1, () => late.opened.then(() => 2)]);
  const controller = new AbortController();
  const gathering = gather({ signal: controller.signal });
  const seen = [];
  for await (const result of gathering) {
    seen.push(result);
    break;
  }
  assert.deepEqual(seen, [{ sessionId: sessions[0].id, value: 1 }]);
  assert.equal(getEventListeners(controller.signal, "abort").length, 0);
  late.open();
  await asker.ping();
  assert.deepEqual(await collect(gathering), []);
  controller.abort();
  assert.equal(await gathering.expected, 2);
});

test("return before the first next ends a gathering", async (t) => {
  const { gather } = await crowd(t, [1]);
  const { signal } = new AbortController();
  const gathering = gather({ signal });
  const iterator = gathering[Symbol.asyncIterator]();
  assert.deepEqual(await iterator.return("over"), { value: "over", done: true });
  assert.deepEqual(await iterator.next(), { value: undefined, done: true });
  assert.equal(getEventListeners(signal, "abort").length, 0);
  await isSettled(gathering.expected.catch(() => {}));
});

test("several calls of next that wait get a result each, and one of them the error", async (t) => {
  const { gather } = await crowd(t, [1, 2]);
  const iterator = gather()[Symbol.asyncIterator]();
  const steps = await Promise.all([iterator.next(), iterator.next(), iterator.next()]);
  assert.deepEqual(steps.map(({ value, done }) => value?.value ?? done).sort(), [1, 2, true]);
});

test("a signal that is aborted before or during a gathering ends it with its reason", async (t) => {
  const { gather } = await crowd(t, [1, never]);
  const reason = new Error("enough");
  const aborted = gather({ signal: AbortSignal.abort(reason) });
  assert.equal((await untilThrown(aborted)).error, reason);
  assert.equal(await rejection(aborted.expected), reason);
  const controller = new AbortController();
  const gathering = gather({ signal: controller.signal });
  const iterator = gathering[Symbol.asyncIterator]();
  assert.equal((await iterator.next()).value.value, 1);
  const next = iterator.next();
  controller.abort(reason);
  assert.equal(await rejection(next), reason);
  assert.deepEqual(await iterator.next(), { value: undefined, done: true });
  assert.equal(getEventListeners(controller.signal, "abort").length, 0);
});

test("an ended gathering leaves no listener on its signal, however it ended", async (t) => {
  const { asker, gather } = await crowd(t, [1, broken]);
  const { signal } = new AbortController();
  await collect(gather({ signal }));
  await collect(gather({ signal, atLeast: 1 }));
  await untilThrown(gather({ signal, atLeast: 2 }));
  await untilThrown(asker.messaging.gather("not a filter", "g", null, { signal }));
  await untilThrown(asker.messaging.gather("all", "g", () => 1, { signal }));
  await untilThrown(asker.messaging.gather("all", "", 1, { signal }));
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("an unread `expected` that rejects is no unhandled rejection", async (t) => {
  const session = await open(t, broker);
  const unhandledRejections = [];
  const listener = (reason) => unhandledRejections.push(reason);
  process.on("unhandledRejection", listener);
  session.messaging.gather("not a filter", "g", null);
  session.messaging.gather(7, "g", null);
  session.messaging.gather("all", "g", null, { atLeast: "many" });
  session.messaging.gather("all", "g", null, { timeout: 0 });
  session.messaging.gather("all", "g", null, { signal: AbortSignal.abort() });
  const read = session.messaging.gather("not a filter", "g", null);
  await untilThrown(read);
  await session.ping();
  await new Promise(setImmediate);
  process.off("unhandledRejection", listener);
  assert.deepEqual(unhandledRejections, []);
});

test("what is wrong with its arguments is thrown by the iteration, and `gather` throws nothing", async (t) => {
  const session = await open(t, broker);
  for (const args of [[], [7, "g"], ["all", 7], ["all", "g", 1, { atLeast: 0 }], ["all", "g", 1, { atLeast: 1.5 }]]) {
    const { error } = await untilThrown(session.messaging.gather(...args));
    assertError(error, invalid);
  }
  const { error } = await untilThrown(session.messaging.gather("all", "g", Symbol("x")));
  assertError(error, { code: "INVALID_DATA", outcome: "not-sent" });
});

// ---- Filter responses ----

test("onResponse takes the responses of its call alone", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2]);
  const filter = only(...sessions);
  const heard = { handler: 0, own: 0 };
  const count = (who) => () => {
    heard[who] += 1;
  };
  asker.messaging.addFilterResponseHandler(filter, count("handler"));
  const both = gate();
  await asker.messaging.sendRequestToFilter(filter, "g", null, { onResponse: count("own") });
  await asker.messaging.sendRequestToFilter(filter, "g", null, {
    onResponse: { handle: (_, { received }) => received === 2 && both.open() },
  });
  await both.opened;
  assert.deepEqual(heard, { handler: 0, own: 2 });
});

test("a callback that throws or rejects is reported, and keeps nothing from arriving", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2, 3]);
  const reported = [];
  // Where there is no reportError, the console is told.
  if (typeof reportError === "function") t.mock.method(globalThis, "reportError", (error) => reported.push(error));
  else t.mock.method(console, "error", (error) => reported.push(error));
  const heard = [];
  const all = gate();
  const onResponse = ({ value }) => {
    heard.push(value);
    if (heard.length === 3) all.open();
    if (value === 1) throw new Error("thrown");
    if (value === 2) return Promise.reject(new Error("rejected"));
  };
  await asker.messaging.sendRequestToFilter(only(...sessions), "g", null, { onResponse });
  await all.opened;
  await new Promise(setImmediate);
  assert.deepEqual(heard.sort(), [1, 2, 3]);
  assert.deepEqual(reported.map(({ message }) => message).sort(), ["rejected", "thrown"]);
  assert.ok((await asker.ping()) >= 0);
});

test("a callback may send, close its registration and close the session", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2]);
  const filter = only(...sessions);
  const again = gate();
  let calls = 0;
  const registration = asker.messaging.addFilterResponseHandler(filter, () => {
    calls += 1;
    registration.close();
    again.open(asker.messaging.sendRequestToSession("g", sessions[0].id, null));
  });
  await asker.messaging.sendRequestToFilter(filter, "g", null);
  assert.equal(await again.opened, 1);
  await asker.ping();
  assert.equal(calls, 1);
  await asker.messaging.sendRequestToFilter(filter, "g", null, { onResponse: () => asker.close() });
  assert.equal((await asker.closed).code, "CLOSED_BY_CLIENT");
});

test("the timeout of a filter request bounds the listening, and later responses are dropped", async (t) => {
  const late = gate();
  const { asker, sessions } = await crowd(t, [1, () => late.opened.then(() => 2)]);
  const heard = [];
  const given = { timeout: 50, onResponse: ({ value }) => heard.push(value) };
  assert.equal(await asker.messaging.sendRequestToFilter(only(...sessions), "g", null, given), 2);
  // One that was sent later times out later.
  await untilThrown(asker.messaging.gather(only(...sessions), "g", null, { timeout: 50 }));
  late.open();
  await sessions[1].ping();
  await asker.ping();
  assert.deepEqual(heard, [1]);
});

// ---- Services ----

test("services are found by name, by number and in turn, and are always the same", async (t) => {
  const session = await open(t, broker);
  const { services } = session.messaging;
  assert.equal(session.services, services);
  assert.equal(session.messaging.services, services);
  const all = [...services];
  assert.ok(all.length >= 10);
  for (const service of all) {
    assert.equal(services[service.name], service);
    assert.equal(services.get(service.name), service);
    assert.equal(services.get(service.id), service);
  }
  assert.deepEqual([services.MESSAGING_SEND.id, services.get(56).name], [85, "USER_PING"]);
  for (const unknown of [
    "",
    "NONE",
    "messaging_send",
    "get",
    "constructor",
    "__proto__",
    "85",
    -1,
    0,
    1e9,
    undefined,
  ]) {
    assert.equal(services.get(unknown), undefined);
  }
  assert.equal(services.NONE, undefined);
});

test("a service is invoked with bytes, and answers with bytes", async (t) => {
  const session = await open(t, broker);
  const { services } = session;
  const path = unique("invoked");
  await session.messaging.addRequestHandler(path, (request) => request);
  const body = join(Buffer.from([path.length]), Buffer.from(path), text("hello"));
  const answer = await services.MESSAGING_SEND.invoke(new Uint8Array(body));
  assert.ok(answer instanceof Uint8Array);
  assert.deepEqual(Buffer.from(answer), text("hello"));
  const { invoke } = services.USER_PING;
  assert.equal((await invoke(new Uint8Array())).length, 0);
  for (const bad of [undefined, null, "text", [1], {}, 7]) await fails(services.USER_PING.invoke(bad), invalid);
});

test("a service that the broker does not offer is UNSUPPORTED, and the session goes on", async (t) => {
  const session = await open(t, broker);
  const unsupported = { code: "UNSUPPORTED", reason: 104, outcome: "refused" };
  await fails(session.services.SYSTEM_PING.invoke(new Uint8Array()), unsupported);
  assert.ok((await session.ping()) >= 0);
});

// ---- Contracts ----

const schema = (validate) => ({ "~standard": { version: 1, vendor: "test", validate } });
const isNumber = schema((value) =>
  typeof value === "number"
    ? { value: value * 1000 }
    : { issues: [{ message: "not a number", path: ["a", { key: 0 }] }] },
);
const later = schema(async (value) => isNumber["~standard"].validate(value));
const throwing = schema(() => {
  throw new Error("kaputt");
});

/** A session with a contract for one path, another without, and the path. */
async function agreed(t, sides) {
  const path = unique("contract");
  const checked = await open(t, broker, { contract: { [path]: sides } });
  return { path, checked, free: await open(t, broker) };
}

for (const [what, request] of Object.entries({ "": isNumber, " of a schema that throws": throwing })) {
  test(`a request that breaks its contract${what} is INVALID_DATA and not sent`, async (t) => {
    const { path, checked, free } = await agreed(t, { request });
    let calls = 0;
    await free.messaging.addRequestHandler(path, () => {
      calls += 1;
    });
    const error = await fails(checked.messaging.sendRequestToPath(path, "text"), {
      code: "INVALID_DATA",
      outcome: "not-sent",
    });
    assert.match(error.message, request === isNumber ? /a: 0: not a number/ : /kaputt/);
    assert.equal(calls, 0);
  });
}

test("a request whose contract must be waited for is an invalid argument: sends happen at the call", async (t) => {
  const { path, checked } = await agreed(t, { request: later });
  await fails(checked.messaging.sendRequestToPath(path, 1), invalid);
});

for (const [what, response] of Object.entries({ "": isNumber, ", later,": later, ", by throwing,": throwing })) {
  test(`a response that breaks its contract${what} is INVALID_DATA and failed`, async (t) => {
    const { path, checked, free } = await agreed(t, { response });
    await free.messaging.addRequestHandler(path, () => "text");
    await fails(checked.messaging.sendRequestToPath(path, 1), { code: "INVALID_DATA", outcome: "failed" });
  });
}

for (const [what, side] of Object.entries({ "": isNumber, ", later": later, ", by throwing": throwing })) {
  test(`a handler's contract is checked for the request (106) and for its own answer (105)${what}`, async (t) => {
    const calls = [];
    const handler = (request) => {
      calls.push(request);
      return "text";
    };
    const requests = await agreed(t, { request: side });
    await requests.checked.messaging.addRequestHandler(requests.path, handler);
    await fails(requests.free.messaging.sendRequestToPath(requests.path, "text"), {
      code: "INVALID_DATA",
      reason: 106,
      outcome: "unknown",
    });
    assert.deepEqual(calls, []);
    const answers = await agreed(t, { response: side });
    await answers.checked.messaging.addRequestHandler(answers.path, { handle: (_, { request }) => handler(request) });
    await fails(answers.free.messaging.sendRequestToPath(answers.path, "text"), {
      code: "CALLBACK_EXCEPTION",
      reason: 105,
      outcome: "failed",
    });
    assert.deepEqual(calls, ["text"]);
  });
}

test("contracts replace no value, and hold for their exact paths only", async (t) => {
  const { path, checked, free } = await agreed(t, { request: isNumber, response: isNumber });
  const seen = [];
  const registration = await checked.messaging.addRequestHandler(path, (request) => {
    seen.push(request);
    return request;
  });
  assert.equal(await free.messaging.sendRequestToPath(path, 5), 5);
  assert.equal(await free.messaging.sendRequestToPath(`${path}/below`, "text"), "text");
  await registration.close();
  await free.messaging.addRequestHandler(path, (request) => request + 1);
  assert.equal(await checked.messaging.sendRequestToPath(path, 5), 6);
  assert.equal(await checked.messaging.sendRequestToPath(path, datatypes.DOUBLE(5)), 6);
  assert.equal(await checked.messaging.sendRequestToPath(`${path}/below`, "text"), "text1");
  assert.deepEqual(seen, [5, "text"]);
  for (const inherited of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    await fails(checked.messaging.sendRequestToPath(inherited, 1), unhandled);
  }
});

test("with a contract a request is sent at the call too", async (t) => {
  const { path, checked, free } = await agreed(t, { request: schema((value) => ({ value })) });
  await free.messaging.addRequestHandler(path, (request) => request);
  const request = { a: [1] };
  const sent = checked.messaging.sendRequestToPath(path, request);
  request.a.push(2);
  request.b = 3;
  assert.deepEqual(await sent, { a: [1] });
});

test("with a contract a handler that cannot be looked at rejects, and nothing throws", async (t) => {
  const { path, checked } = await agreed(t, { request: isNumber });
  const unreadable = {
    get handle() {
      throw new Error("do not look");
    },
  };
  const unreadableType = {
    handle: () => 1,
    get requestType() {
      throw new Error("do not look");
    },
  };
  for (const handler of [undefined, null, 7, {}, unreadable, unreadableType]) {
    await fails(checked.messaging.addRequestHandler(path, handler), invalid);
  }
});

test("with a contract a path that is no text rejects, and is not made one", async (t) => {
  const { checked } = await agreed(t, { request: isNumber });
  const noText = { toString: () => assert.fail("looked at") };
  for (const bad of [undefined, null, 7, Symbol("x"), noText]) {
    await fails(
      checked.messaging.addRequestHandler(bad, () => 1),
      invalid,
    );
    await fails(checked.messaging.sendRequestToPath(bad, 1), invalid);
  }
});

test("with a contract handlers are called, and their types read, as without", async (t) => {
  const { path, checked, free } = await agreed(t, {});
  const handler = Object.assign(() => "function", { handle: () => "object", requestType: "int64" });
  for (const session of [free, checked]) {
    const registration = await session.messaging.addRequestHandler(path, handler);
    assert.equal(await free.messaging.sendRequestToPath(path, "text"), "function");
    await registration.close();
  }
});

test("a contract that cannot be read is refused, not ignored", async (t) => {
  const unreadable = {
    get contract() {
      throw new Error("do not look");
    },
  };
  // Defined anew, since a copy would read it.
  const given = Object.defineProperties(
    { webSocket: WebSocket, log: "off" },
    Object.getOwnPropertyDescriptors(unreadable),
  );
  const error = await rejection(
    connect(broker.url, given).then((session) => {
      t.after(() => session.close());
    }),
  );
  assert.deepEqual([error.name, error.code], ["ConnectError", "INVALID_ARGUMENT"]);
});

test("what is no contract is refused when a session is opened", async (t) => {
  for (const contract of [
    7,
    "x",
    null,
    [7],
    { a: { request: 7 } },
    { a: { response: {} } },
    { a: { request: null } },
  ]) {
    const error = await rejection(open(t, broker, { contract }));
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, "INVALID_ARGUMENT");
  }
});

// ---- Sending and giving up ----

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
    collect(asker.messaging.gather(only(answerer), path, request)).then(([{ value }]) => value),
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
      asker.messaging.sendRequestToFilter(only(...sessions), "g", null, { signal }),
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
      () => collect(asker.messaging.gather(only(answerer), path, n, { signal })).then(([{ value }]) => value),
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

// ---- Objects ----

test("sessions and what comes from them cannot be constructed", async (t) => {
  const session = await open(t, broker);
  const registration = await session.messaging.addRequestHandler(unique("new"), () => 1);
  for (const object of [session, session.messaging, registration]) {
    assert.throws(() => new object.constructor(), TypeError);
    assert.throws(() => object.constructor(), TypeError);
    assert.equal(object.free, undefined);
  }
  assert.throws(() => new MessagingError.prototype.constructor().nothing.here, TypeError);
});

// Node.js 20 cannot parse `await using`; this is what it calls.
test("sessions and registrations can be disposed of by `await using`", async (t) => {
  const session = await open(t, broker);
  const [path, asker] = [unique("using"), await open(t, broker)];
  const registration = await session.messaging.addRequestHandler(path, () => 1);
  assert.equal(await asker.messaging.sendRequestToPath(path, null), 1);
  assert.equal(await registration[Symbol.asyncDispose](), undefined);
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  const stream = session.messaging.addStreamHandler(path, () => 1, { addressed: true });
  assert.equal(await asker.messaging.sendRequestToSession(path, session.id, null), 1);
  assert.equal(await stream[Symbol.asyncDispose](), undefined);
  await fails(asker.messaging.sendRequestToSession(path, session.id, null), unhandled);
  assert.equal(await session[Symbol.asyncDispose](), undefined);
  assert.equal(session.state, "closed");
});

test("an error begins at the application's line, wherever it comes from", async (t) => {
  const schema = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
  const plain = await open(t, broker);
  const checked = await open(t, broker, { contract: { nobody: { request: schema, response: schema } } });
  const calls = [
    () => plain.messaging.sendRequestToPath("nobody", 1),
    () => plain.messaging.sendRequestToSession("nobody", plain.id, 1),
    () => plain.messaging.sendRequestToFilter("no filter", "nobody", 1),
    () => plain.messaging.gather("no filter", "nobody", 1).expected,
    () => plain.messaging.gather("no filter", "nobody", 1).next(),
    () => plain.messaging.addRequestHandler(1),
    () => plain.services.USER_PING.invoke("no bytes"),
    () => plain.services.get(105).invoke(new Uint8Array()),
    () => plain.getProperties("no array"),
    () => checked.messaging.sendRequestToPath("nobody", 1),
    () => checked.messaging.addRequestHandler(1),
    () => connect("no address"),
    () => connect("ws://127.0.0.1:1", { webSocket: WebSocket, log: "off" }),
  ];
  for (const call of calls) {
    const { stack } = await rejection(call());
    const [first] = stack.split("\n").filter((line) => line.startsWith("    at "));
    assert.match(first, /api\.test\.mjs:\d+/, `${call}\n${stack}`);
  }
});

test("options are read once, and before anything is loaded or opened", async () => {
  let reads = 0;
  const options = {
    get principal() {
      reads += 1;
      return 1;
    },
  };
  const error = await rejection(connect("ws://127.0.0.1:1", options));
  assert.deepEqual([error.code, reads], ["INVALID_ARGUMENT", 1]);
  assert.equal((await rejection(connect("no address", options))).code, "INVALID_URL");
  assert.equal(reads, 1);
});

test("a time limit is named as it was given", async () => {
  const silent = class extends WebSocket {
    set onopen(_) {}
    set onmessage(_) {}
  };
  const error = await rejection(connect(broker.url, { webSocket: silent, connectTimeout: 50, log: "off" }));
  assert.deepEqual([error.code, error.message], ["CONNECTION_TIMEOUT", "no session within 50 ms"]);
});

test("objects of the package have a name that tools show, and frameworks that wrap plain objects leave them alone", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const registration = await messaging.addRequestHandler(unique("tag"), (_, context) => tagOf(context));
  const tagOf = (value) => Object.prototype.toString.call(value);
  assert.deepEqual(
    [session, messaging, messaging.services, registration, datatypes.INT64(1n)].map((it) => [
      tagOf(it),
      it.constructor.name,
    ]),
    ["Session", "Messaging", "ServiceLocator", "Registration", "DataValue"].map((name) => [`[object ${name}]`, name]),
  );
  assert.equal(tagOf(messaging.addStreamHandler(unique("tag"), () => 1)), "[object Registration]");
  assert.equal(await messaging.sendRequestToPath(registration.path, 1), "[object RequestContext]");
});

test("what is larger than the broker takes is refused before it is copied", async (t) => {
  const session = await open(t, broker);
  const path = unique("large");
  const before = process.memoryUsage().arrayBuffers;
  const large = new Uint8Array(300 * 2 ** 20);
  const expected = { code: "MESSAGE_TOO_LARGE", outcome: "not-sent", message: /takes \d+ at most$/ };
  for (let round = 0; round < 3; round++) await fails(session.messaging.sendRequestToPath(path, large), expected);
  assert.ok(process.memoryUsage().arrayBuffers - before < 400 * 2 ** 20);
  const other = await open(t, broker);
  await other.messaging.addRequestHandler(path, () => large);
  await fails(session.messaging.sendRequestToPath(path, 1), {
    code: "CALLBACK_EXCEPTION",
    reason: 105,
    outcome: "failed",
  });
  await other.ping();
});
