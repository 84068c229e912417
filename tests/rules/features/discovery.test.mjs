// Rules W-1 to W-4: looking before one asks, at the client's end, with a broker that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ABORT,
  COUNT_SESSIONS,
  DISCOVERY,
  FIND_HANDLERS,
  found,
  HANDLERS_CHANGED,
  join,
  list,
  REQUEST,
  readWatch,
  SYSTEM_PING,
  string,
  UNWATCH_HANDLERS,
  varint,
  WATCH_HANDLERS,
} from "../../support/wire.mjs";
import { next, notConnected, OTHER_ID, soon } from "../reconnection/support.mjs";
import { fails } from "../support/client.mjs";
import { openScripted } from "./support.mjs";

const KNOWN = { features: DISCOVERY };
const AGAIN = { reconnect: soon };
const unsupported = { code: "UNSUPPORTED", reason: 104, outcome: "refused" };
const timedOut = { code: "TIMED_OUT", outcome: "unknown" };
const ONE = { path: "a", handlers: 1 };
const TWO = { path: "a", handlers: 2 };

/** The calls, each with what it answers to a body. */
const LOOKS = [
  (messaging, options) => messaging.countSessions("all", options),
  (messaging, options) => messaging.findHandlers("a/b", options),
];
const watching = (messaging, options) => messaging.watchHandlers("a/b", () => {}, options);

/** Tells a client of a change. */
const tell = (connection, watch, handlers) =>
  connection.send({
    type: REQUEST,
    service: HANDLERS_CHANGED,
    conversation: 0,
    body: join(varint(watch), found(handlers)),
  });

/** The client has read all that was sent. */
async function allRead(connection) {
  await connection.answerTo(connection.request(SYSTEM_PING));
}

/** A watch that has had its first answer; `told` is what its listener was told. */
async function watched(t, { script = KNOWN, first = ONE, options, given = AGAIN } = {}) {
  const { server, session, connection } = await openScripted(t, script, given);
  const told = [];
  const making = session.messaging.watchHandlers("a/b", (handlers) => told.push(handlers), options);
  const asked = await connection.next({ service: WATCH_HANDLERS });
  const { watch, path } = readWatch(asked.body);
  assert.equal(path, "a/b");
  connection.respond(asked, found(first));
  return { server, session, connection, told, number: watch, watch: await making };
}

/** What the platform is told of errors that nobody caught, for as long as the test runs. */
function reported(t) {
  const errors = [];
  const { reportError } = globalThis;
  globalThis.reportError = (error) => errors.push(error);
  t.after(() => {
    globalThis.reportError = reportError;
  });
  return errors;
}

test("W-1 the client asks how many sessions a filter matches, and which handlers a path has", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const counting = session.messaging.countSessions("$Principal is 'ops'");
  const count = await connection.next({ service: COUNT_SESSIONS });
  assert.deepEqual(count.body, string("$Principal is 'ops'"));
  connection.respond(count, join(Buffer.of(0), varint(300)));
  assert.equal(await counting, 300);
  for (const handlers of [undefined, { path: "a", handlers: 1 }, { path: "ä", handlers: 2 ** 32 - 1 }]) {
    const finding = session.messaging.findHandlers("a/b");
    const find = await connection.next({ service: FIND_HANDLERS });
    assert.deepEqual(find.body, string("a/b"));
    connection.respond(find, found(handlers));
    assert.deepEqual(await finding, handlers);
  }
});

test("W-1 a filter with faults is an InvalidFilterError", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const counting = session.messaging.countSessions("nonsense");
  const fault = join(string("no such thing"), varint(1), varint(8));
  connection.respond(await connection.next({ service: COUNT_SESSIONS }), join(Buffer.of(1), list([fault])));
  const error = await fails(counting, { code: "INVALID_FILTER", outcome: "refused" });
  assert.equal(error.name, "InvalidFilterError");
  assert.deepEqual(error.errors, [{ message: "no such thing", line: 1, column: 8 }]);
});

test("W-1 a broker without the feature is not asked", async (t) => {
  const { session, connection } = await openScripted(t, {});
  assert.equal(session.supports("discovery"), false);
  for (const look of [...LOOKS, watching]) await fails(look(session.messaging), unsupported);
  await fails(session.messaging.sendRequestToPath("a", null, { timeout: 1 }), timedOut);
  assert.equal(connection.take({ service: [COUNT_SESSIONS, FIND_HANDLERS, WATCH_HANDLERS] }), undefined);
});

test("W-1 without a connection, and after the end, it fails at once", async (t) => {
  const { session, connection } = await openScripted(t, [KNOWN, null], AGAIN);
  const lost = next(session, "disconnect");
  connection.cut();
  await lost;
  for (const look of [...LOOKS, watching]) await fails(look(session.messaging), notConnected);
  await session.close();
  for (const look of [...LOOKS, watching]) {
    await fails(look(session.messaging), { code: "SESSION_CLOSED", outcome: "not-sent" });
  }
});

test("W-1 a question has a timeout and a signal, and arguments that are checked", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN, { requestTimeout: 50 });
  const { messaging } = session;
  const after = (time) => ({ ...timedOut, message: `no response within ${time} ms` });
  for (const look of [...LOOKS, watching]) await fails(look(messaging), after(50));
  for (const look of LOOKS) {
    await fails(look(messaging, { timeout: 5 }), after(5));
  }
  const reason = new Error("never mind");
  for (const look of [...LOOKS, watching]) {
    const controller = new AbortController();
    const looking = look(messaging, { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(looking, reason);
    const untaken = connection.untaken;
    await assert.rejects(look(messaging, { signal: AbortSignal.abort(reason) }), reason);
    await allRead(connection);
    assert.ok(connection.untaken >= untaken);
  }
  const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
  for (const looking of [
    messaging.countSessions(1),
    messaging.findHandlers("\ud800"),
    messaging.findHandlers("a", { timeout: -1 }),
    messaging.findHandlers("a", { wait: true }),
    messaging.countSessions("all", { signal: {} }),
    messaging.watchHandlers("a"),
    messaging.watchHandlers("a", {}),
    messaging.watchHandlers("a", () => {}, { timeout: 1 }),
  ]) {
    await fails(looking, invalid);
  }
});

test("W-2 a watch tells what there is before its promise is kept, and then each change", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const told = [];
  const making = session.messaging.watchHandlers("a/b", (handlers) => told.push(handlers));
  making.then(() => told.push("kept"));
  const asked = await connection.next({ service: WATCH_HANDLERS });
  connection.respond(asked, found());
  await making;
  assert.deepEqual(told, [undefined, "kept"]);
  const { watch } = readWatch(asked.body);
  for (const handlers of [ONE, ONE, TWO, undefined]) tell(connection, watch, handlers);
  // Of a watch that it does not have.
  tell(connection, watch + 1n, ONE);
  await allRead(connection);
  assert.deepEqual(told, [undefined, "kept", ONE, TWO, undefined]);
});

test("W-2 an error of the listener is reported, and the watch goes on", async (t) => {
  const errors = reported(t);
  const { session, connection } = await openScripted(t, KNOWN);
  const told = [];
  const making = session.messaging.watchHandlers("a/b", (handlers) => {
    told.push(handlers);
    throw new Error(`cannot take ${handlers.handlers}`);
  });
  const asked = await connection.next({ service: WATCH_HANDLERS });
  connection.respond(asked, found(ONE));
  await making;
  tell(connection, readWatch(asked.body).watch, TWO);
  await allRead(connection);
  assert.deepEqual(told, [ONE, TWO]);
  assert.deepEqual(
    errors.map(({ message }) => message),
    ["cannot take 1", "cannot take 2"],
  );
});

test("W-3 a watch that was closed tells nothing any more, and the broker hears of it", async (t) => {
  const { connection, told, number, watch } = await watched(t);
  await watch.close();
  await watch.close();
  const unwatch = await connection.next({ service: UNWATCH_HANDLERS });
  assert.deepEqual(unwatch.body, varint(number));
  tell(connection, number, TWO);
  await allRead(connection);
  assert.deepEqual(told, [ONE]);
  assert.equal(connection.take({ service: UNWATCH_HANDLERS }), undefined);
});

test("W-3 a signal ends a watch, before its first answer or after it", async (t) => {
  const controller = new AbortController();
  const { session, connection, told, number } = await watched(t, { options: { signal: controller.signal } });
  const second = session.messaging.watchHandlers("a/b", (handlers) => told.push(handlers), {
    signal: controller.signal,
  });
  const asked = await connection.next({ service: WATCH_HANDLERS });
  controller.abort(new Error("enough"));
  await assert.rejects(second, { message: "enough" });
  const numbers = [number, readWatch(asked.body).watch].map(varint);
  for (const body of numbers) assert.deepEqual((await connection.next({ service: UNWATCH_HANDLERS })).body, body);
  connection.respond(asked, found(TWO));
  tell(connection, number, TWO);
  await allRead(connection);
  assert.deepEqual(told, [ONE]);
});

test("W-3 a watch whose first answer took too long is given up", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN, { requestTimeout: 20 });
  const making = session.messaging.watchHandlers("a/b", () => assert.fail("told"));
  await fails(making, timedOut);
  const asked = await connection.next({ service: WATCH_HANDLERS });
  const unwatch = await connection.next({ service: UNWATCH_HANDLERS });
  assert.deepEqual(unwatch.body, varint(readWatch(asked.body).watch));
  connection.respond(asked, found(ONE));
  await allRead(connection);
});

test("W-3 a watch has no deadline once it is there", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN, { requestTimeout: 500 });
  const told = [];
  const making = session.messaging.watchHandlers("a/b", (handlers) => told.push(handlers));
  const asked = await connection.next({ service: WATCH_HANDLERS });
  connection.respond(asked, found(ONE));
  await making;
  // Sent later, so over later.
  await fails(session.messaging.sendRequestToPath("a", null), timedOut);
  tell(connection, readWatch(asked.body).watch, TWO);
  await allRead(connection);
  assert.deepEqual(told, [ONE, TWO]);
  assert.equal(connection.take({ service: UNWATCH_HANDLERS }), undefined);
});

test("W-3 a watch ends with its session, and nothing is reported", async (t) => {
  const errors = reported(t);
  for (const end of [
    ({ session }) => session.close(),
    ({ connection }) => connection.send({ type: ABORT }),
    ({ connection }) => connection.cut(),
  ]) {
    const watching = await watched(t, { given: { reconnect: false } });
    await end(watching);
    await watching.session.closed;
    await watching.watch.close();
    assert.deepEqual([watching.told, errors], [[ONE], []]);
  }
});

test("W-4 the broker is asked again on each connection, and what is new is told", async (t) => {
  // From the message on that comes after the question.
  const resumed = { code: 105, recovery: 2, ...KNOWN };
  const script = [KNOWN, resumed, { code: 106 }, { code: 106, ...KNOWN }, { id: OTHER_ID, ...KNOWN }];
  const { server, session, connection, told, number } = await watched(t, { script });
  const asked = async (index, handlers) => {
    const on = await server.connection(index);
    const again = await on.next({ service: WATCH_HANDLERS });
    assert.deepEqual(readWatch(again.body), { watch: number, path: "a/b" });
    on.respond(again, found(handlers));
    await allRead(on);
    return on;
  };
  connection.cut();
  const second = await asked(1, ONE);
  assert.deepEqual(told, [ONE], "it knows that");
  tell(second, number, TWO);
  await allRead(second);
  const reconnected = next(session, "reconnect");
  second.cut();
  await reconnected;
  const third = await server.connection(2);
  await allRead(third);
  assert.equal(third.take({ service: WATCH_HANDLERS }), undefined, "it does not know how to watch");
  third.cut();
  const fourth = await asked(3, undefined);
  fourth.cut();
  await asked(4, TWO);
  assert.deepEqual(told, [ONE, TWO, undefined, TWO]);
  await session.close();
});

test("W-4 a watch that is not answered yet is asked for again, too", async (t) => {
  const { server, session, connection } = await openScripted(t, [KNOWN, { code: 106, ...KNOWN }], AGAIN);
  const told = [];
  const making = session.messaging.watchHandlers("a/b", (handlers) => told.push(handlers));
  await connection.next({ service: WATCH_HANDLERS });
  connection.cut();
  const second = await server.connection(1);
  second.respond(await second.next({ service: WATCH_HANDLERS }), found(ONE));
  await making;
  assert.deepEqual(told, [ONE]);
});

test("W-4 while there is no connection nothing is told, and a watch can be closed", async (t) => {
  const script = [KNOWN, null, { code: 106, ...KNOWN }];
  const { server, session, connection, told, watch } = await watched(t, { script });
  const [lost, back] = [next(session, "disconnect"), next(session, "reconnect")];
  connection.cut();
  await lost;
  await watch.close();
  (await server.connection(1)).cut();
  await back;
  const last = await server.connection(2);
  await allRead(last);
  assert.equal(last.take({ service: WATCH_HANDLERS }), undefined);
  assert.deepEqual(told, [ONE]);
});

test("W-4 a watch is over that the broker refuses to take again, and the error is reported", async (t) => {
  const errors = reported(t);
  const { server, connection, told, watch } = await watched(t, { script: [KNOWN, { code: 106, ...KNOWN }] });
  connection.cut();
  const second = await server.connection(1);
  const again = await second.next({ service: WATCH_HANDLERS });
  second.fail(again, 112, "no room");
  tell(second, readWatch(again.body).watch, TWO);
  await allRead(second);
  assert.deepEqual(told, [ONE]);
  assert.deepEqual(
    errors.map(({ code, message }) => [code, message]),
    [["CLUSTER_ROUTING", "the watch of a/b is over: CLUSTER_ROUTING, no room; call watchHandlers again"]],
  );
  // As the console shows it.
  assert.match(errors[0].stack, /^MessagingError: the watch of a\/b is over/);
  await watch.close();
});
