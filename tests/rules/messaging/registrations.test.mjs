// Rules M-5 and M-6: registering a handler and closing the registration.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertError, fails, gate, open, openAll, unique } from "../support/client.mjs";
import { broker, unhandled } from "./support.mjs";

test("M-5 a second registration at a path is HANDLER_CONFLICT and the first stays", async (t) => {
  const session = await open(t, broker);
  const path = unique("conflict");
  const first = await session.messaging.addRequestHandler(path, () => "first");
  for (const again of [path, `/${path}`, `${path}/`]) {
    await fails(
      session.messaging.addRequestHandler(again, () => "second"),
      {
        code: "HANDLER_CONFLICT",
        reason: 201,
        outcome: "refused",
      },
    );
    assert.equal(await session.messaging.sendRequestToPath(path, null), "first");
  }
  await first.close();
  await session.messaging.addRequestHandler(path, () => "second");
  assert.equal(await session.messaging.sendRequestToPath(path, null), "second");
});

test("M-5 a session may register a path and one below it, and different sessions the same path", async (t) => {
  const [session, other] = await openAll(t, broker, 2);
  const path = unique("below");
  await session.messaging.addRequestHandler(path, () => "above");
  await session.messaging.addRequestHandler(`${path}/b`, () => "below");
  assert.equal(await session.messaging.sendRequestToPath(`${path}/b`, null), "below");
  assert.equal(await session.messaging.sendRequestToPath(`${path}/c`, null), "above");
  await other.messaging.addRequestHandler(path, () => "other");
});

test("M-5 of two registrations that are under way at once the first is accepted and answers", async (t) => {
  const session = await open(t, broker);
  const path = unique("conflict");
  const [first, second] = await Promise.allSettled([
    session.messaging.addRequestHandler(path, () => "first"),
    session.messaging.addRequestHandler(path, () => "second"),
  ]);
  assertError(second.reason, { code: "HANDLER_CONFLICT", reason: 201, outcome: "refused" });
  assert.equal(await session.messaging.sendRequestToPath(path, null), "first");
  // What is asked for in one go happens in that order.
  const [, replaced, answer] = await Promise.all([
    first.value.close(),
    session.messaging.addRequestHandler(path, () => "replaced"),
    session.messaging.sendRequestToPath(path, null),
  ]);
  assert.equal(answer, "replaced");
  assert.equal(replaced.path, path);
});

test("M-6 closing a registration is acknowledged, and what was delivered before may still be answered", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("close");
  const called = gate();
  const answer = gate();
  const registration = await answerer.messaging.addRequestHandler(path, async () => {
    called.open();
    await answer.opened;
    return "late";
  });
  const sent = asker.messaging.sendRequestToPath(path, null);
  await called.opened;
  await registration.close();
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  answer.open();
  assert.equal(await sent, "late");
  await registration.close();
});

test("M-6 a handler that is closed answers no more, although the broker has not let go of it", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("close");
  let isClosed = false;
  const registration = await answerer.messaging.addRequestHandler(path, () => assert.ok(!isClosed));
  const sends = Array.from({ length: 50 }, () => asker.messaging.sendRequestToPath(path, null));
  await answerer.ping();
  isClosed = true;
  const closing = registration.close();
  for (const sent of await Promise.allSettled(sends)) {
    if (sent.status === "rejected") assertError(sent.reason, unhandled);
  }
  await closing;
});

test("M-5 a path is registered, closed and registered again in one turn, and the last one answers", async (t) => {
  const session = await open(t, broker);
  const path = unique("turn");
  const ask = () => session.messaging.sendRequestToPath(path, null);
  // As the effects of a view do: what is closed is not registered yet.
  const effect = (name) => {
    const registering = session.messaging.addRequestHandler(path, () => name);
    return { registering, close: () => registering.then((registration) => registration.close()) };
  };
  const mounts = [];
  for (const name of ["first", "second", "third"]) {
    const mount = effect(name);
    mounts.push(mount);
    if (name !== "third") mount.close();
  }
  const [, , last] = await Promise.all(mounts.map(({ registering }) => registering));
  assert.equal(await ask(), "third");
  // And with what is registered: no request finds nobody in between.
  last.close();
  const next = session.messaging.addRequestHandler(path, () => "fourth");
  assert.equal(await ask(), "fourth");
  await (await next).close();
  await fails(ask(), unhandled);
});
