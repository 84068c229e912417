// Options of handlers that say how long they may take, when they go, and whom else they answer.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import {
  assertError,
  collect,
  fails,
  filterFor,
  gate,
  open,
  openAll,
  rejection,
  thrown,
  unique,
} from "../support/client.mjs";
import { takesLess } from "../support/work.mjs";
import { broker, invalid, never, unhandled } from "./support.mjs";

const tooLate = { code: "REQUEST_TIME_OUT", reason: 102, outcome: "unknown" };

test("J-6 a handler that hangs loses its place after `timeout`, and what waited for it is skipped or has its turn", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("hung");
  const [called, aborted] = [[], gate()];
  const hang = (name, { signal }) => {
    called.push(name);
    if (name !== "hangs") return name;
    signal.addEventListener("abort", () => aborted.open(signal.reason));
    return never();
  };
  await answerer.messaging.addRequestHandler(path, hang, { maxConcurrent: 1, timeout: 500, addressed: true });
  const ask = (name) => asker.messaging.sendRequestToSession(path, answerer.id, name);
  const hung = rejection(ask("hangs"));
  const skipped = rejection(ask("waits as long"));
  await asker.ping();
  await answerer.ping();
  // Both have been delivered. Their times are over together, as they are for a page that was busy or asleep.
  const over = performance.now() + 500;
  while (performance.now() < over);
  assertError(await aborted.opened, { code: "TIMED_OUT", outcome: "unknown", message: "no response within 500 ms" });
  assertError(await hung, tooLate);
  assertError(await skipped, tooLate);
  assert.equal(await ask("comes later"), "comes later");
  assert.deepEqual(called, ["hangs", "comes later"]);
});

test("J-6 streams have a `timeout` too, and 0 is none", async (t) => {
  const session = await open(t, broker);
  const [brief, long] = [unique("brief"), unique("long")];
  session.messaging.addStreamHandler(brief, never, { addressed: true, timeout: 20 });
  await fails(session.messaging.sendRequestToSession(brief, session.id, null), tooLate);
  const answered = gate();
  const slow = () => answered.opened;
  session.messaging.addStreamHandler(long, slow, { addressed: true, timeout: 0 });
  const asked = session.messaging.sendRequestToSession(long, session.id, null, { timeout: 0 });
  await fails(session.messaging.sendRequestToSession(brief, session.id, null), tooLate);
  answered.open("at last");
  assert.equal(await asked, "at last");
});

test("what is no time is an invalid `timeout`, of a request as well", async (t) => {
  const session = await open(t, broker);
  for (const timeout of [-1, Number.NaN, "20", 20n, {}, true]) {
    await fails(
      session.messaging.addRequestHandler("a", () => 1, { timeout }),
      invalid,
    );
    assertError(
      thrown(() => session.messaging.addStreamHandler("a", () => 1, { timeout })),
      invalid,
    );
    await fails(session.messaging.sendRequestToPath("a", 1, { timeout }), invalid);
  }
});

test("a backlog of many thousands is closed in no time", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("backlog");
  await answerer.messaging.addRequestHandler(path, never, { maxConcurrent: 1, addressed: true });
  const all = Array.from({ length: 4_900 }, () =>
    rejection(asker.messaging.sendRequestToSession(path, answerer.id, null)),
  );
  await asker.ping();
  await answerer.ping();
  await takesLess(1_000, broker, () => answerer.close());
  await Promise.all(all);
});

test("J-5 with `addressed` a request handler answers what is sent to its session, by ID and by filter", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("addressed");
  const toSession = (at = path) => asker.messaging.sendRequestToSession(at, answerer.id, null);
  const about = (_, { addressed, path: at }) => [addressed, at];
  await fails(toSession(), { ...unhandled, message: /addressed: true/ });
  const registration = await answerer.messaging.addRequestHandler(path, about, { addressed: true });
  assert.deepEqual(await toSession(), [true, path]);
  assert.deepEqual(await collect(asker.messaging.gather(filterFor(answerer), path, null)), [
    { sessionId: answerer.id, value: [true, path] },
  ]);
  assert.deepEqual(await asker.messaging.sendRequestToPath(`${path}/x`, null), [false, `${path}/x`]);
  await fails(toSession(`${path}/x`), unhandled);
  await registration.close();
  await fails(toSession(), unhandled);
});

test("`signal` closes a request handler, a stream and a filter response handler", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const path = unique("signal");
  const filter = filterFor(session);
  const { signal, abort } = controller();
  const heard = [];
  await messaging.addRequestHandler(path, () => 1, { signal });
  messaging.addStreamHandler(path, () => 2, { signal, addressed: true });
  messaging.addFilterResponseHandler(filter, ({ value }) => heard.push(value), { signal });
  assert.equal(await messaging.sendRequestToPath(path, null), 1);
  await messaging.sendRequestToFilter(filter, path, null);
  await session.ping();
  assert.deepEqual(heard, [2]);
  assert.equal(getEventListeners(signal, "abort").length, 1);
  abort();
  assert.equal(getEventListeners(signal, "abort").length, 0);
  await fails(messaging.sendRequestToPath(path, null), unhandled);
  await fails(messaging.sendRequestToSession(path, session.id, null), unhandled);
  messaging.addStreamHandler(path, () => 3, { addressed: true });
  await messaging.sendRequestToFilter(filter, path, null);
  await session.ping();
  assert.deepEqual(heard, [2]);
});

test("a `signal` that is aborted before a handler is registered rejects, and nothing is registered", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const path = unique("signal");
  const { signal, abort } = controller();
  const registering = rejection(messaging.addRequestHandler(path, () => 1, { signal }));
  abort("gone");
  assert.equal(await registering, "gone");
  assert.equal(await rejection(messaging.addRequestHandler(path, () => 1, { signal })), "gone");
  messaging.addStreamHandler(path, () => 1, { signal, addressed: true });
  messaging.addFilterResponseHandler("all", () => assert.fail("called"), { signal });
  await fails(messaging.sendRequestToSession(path, session.id, null), unhandled);
  await messaging.sendRequestToFilter("all", path, null);
  await fails(messaging.sendRequestToPath(path, null), unhandled);
  await messaging.addRequestHandler(path, () => "another");
  assert.equal(await messaging.sendRequestToPath(path, null), "another");
});

test("a signal has one listener of ours, however much waits for it, and none when nothing does", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const path = unique("signal");
  const { signal, abort } = controller();
  const handlers = Array.from({ length: 20 }, (_, n) =>
    messaging.addRequestHandler(`${path}/${n}`, (kind) => (kind ? never() : 1), { signal }),
  );
  const listeners = () => getEventListeners(signal, "abort").length;
  const [first, ...others] = await Promise.all(handlers);
  const requests = Array.from({ length: 20 }, (_, n) => messaging.sendRequestToPath(`${path}/${n}`, null, { signal }));
  const gatherings = [messaging.gather("all", path, null, { signal })];
  assert.equal(listeners(), 1);
  await Promise.all(requests);
  await Promise.all(gatherings.map(collect));
  await first.close();
  assert.equal(listeners(), 1);
  const hangs = rejection(messaging.sendRequestToPath(others[0].path, "hangs", { signal }));
  abort("gone");
  assert.equal(await hangs, "gone");
  assert.equal(listeners(), 0);
  await messaging.addRequestHandler(path, () => 1, { signal: controller().signal });
});

test("a session that ends lets go of the signals of its handlers", async (t) => {
  const session = await open(t, broker);
  const { signal } = controller();
  await session.messaging.addRequestHandler(unique("signal"), () => 1, { signal });
  session.messaging.addFilterResponseHandler("all", () => {}, { signal });
  await session.close();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("the same function can be added for a filter again, and closing the first takes nothing out", async (t) => {
  const session = await open(t, broker);
  const heard = [];
  const listen = ({ error }) => heard.push(error.code);
  const filter = filterFor(session);
  const first = session.messaging.addFilterResponseHandler(filter, listen);
  session.messaging.addFilterResponseHandler(filter, listen);
  first.close();
  await session.messaging.sendRequestToFilter(filter, unique("nobody"), null);
  await session.ping();
  assert.deepEqual(heard, ["UNHANDLED_MESSAGE"]);
});

/** A signal, and the function that aborts it. */
function controller() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: (reason) => controller.abort(reason) };
}
