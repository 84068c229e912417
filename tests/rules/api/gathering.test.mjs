// `gather`: when it ends, what it throws, and that nothing of it is left behind.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import {
  FILTER_RESPONSE,
  join,
  readSendToFilter,
  SEND_TO_FILTER,
  sessionId,
  text,
  varint,
} from "../../support/wire.mjs";
import { assertError, collect, fails, gate, isSettled, open, rejection } from "../support/client.mjs";
import { SCRIPTED_ID, startServer } from "../support/endpoint.mjs";
import { broker, crowd, invalid, never, untilThrown } from "./support.mjs";

const broken = () => {
  throw new Error("broken");
};

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
    const { results, error } = await untilThrown(gather({ timeout: 500, atLeast }));
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
