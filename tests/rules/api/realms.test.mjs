// What another realm made, a frame or a test environment, is taken by what it can do. Its classes are not ours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { RequestHandler } from "antiphon";
import { join, text } from "../../support/wire.mjs";
import { fails, open, rejection, unique } from "../support/client.mjs";
import { startServer } from "../support/endpoint.mjs";
import { broker, invalid } from "./support.mjs";

/** A signal as another realm has it: no AbortSignal of ours. */
class ElsewhereSignal extends EventTarget {
  aborted = false;
  reason = undefined;

  abort(reason) {
    this.aborted = true;
    this.reason = reason;
    this.dispatchEvent(new Event("abort"));
  }
}

test("the AbortSignal of another realm aborts connecting, requests of all kinds and gathering", async (t) => {
  const session = await open(t, broker);
  const path = unique("elsewhere");
  await session.messaging.addRequestHandler(path, () => new Promise(() => {}));
  session.messaging.addStreamHandler(path, () => new Promise(() => {}), { addressed: true });
  const filter = `$SessionId is '${session.id}'`;
  const ways = [
    (signal) => session.messaging.sendRequestToPath(path, 1, { signal }),
    (signal) => session.messaging.sendRequestToSession(path, session.id, 1, { signal }),
    (signal) => session.messaging.addRequestHandler(unique("elsewhere"), () => 1, { signal }),
    (signal) => session.messaging.gather(filter, path, 1, { signal }).next(),
    (signal) => open(t, broker, { signal }),
  ];
  for (const way of ways) {
    const signal = new ElsewhereSignal();
    const reason = new Error("enough");
    const waiting = way(signal);
    signal.abort(reason);
    assert.equal(await rejection(waiting), reason);
    assert.equal(await rejection(way(signal)), reason);
  }
  for (const way of ways) {
    const signal = new ElsewhereSignal();
    const waiting = way(signal);
    // Some have no reason.
    signal.abort(undefined);
    for (const aborted of [waiting, way(signal)]) assert.equal((await rejection(aborted)).name, "AbortError");
  }
  // And some no more than is needed.
  const least = { aborted: false, addEventListener() {} };
  const other = unique("elsewhere");
  await session.messaging.addRequestHandler(other, (request) => request, { signal: least });
  assert.equal(await session.messaging.sendRequestToPath(other, 1, { signal: least }), 1);
  for (const signal of [{}, { aborted: false }, { addEventListener() {} }, new EventTarget(), "signal"]) {
    await fails(session.messaging.sendRequestToPath(path, 1, { signal }), invalid);
  }
});

test("bytes of another realm are bytes: as values, credentials, and the body of a service request", async (t) => {
  const elsewhere = runInNewContext("({ from: (list) => new Uint8Array(list) })");
  const session = await open(t, broker);
  const path = unique("bytes");
  await session.messaging.addRequestHandler(path, (request) => request);
  assert.deepEqual(await session.messaging.sendRequestToPath(path, elsewhere.from([1, 2])), Uint8Array.of(1, 2));
  const body = elsewhere.from([...join(Buffer.from([path.length]), Buffer.from(path), text("hello"))]);
  assert.deepEqual(Buffer.from(await session.services.MESSAGING_SEND.invoke(body)), text("hello"));
  const server = await startServer();
  t.after(() => server.stop());
  for (const credentials of [elsewhere.from([1, 2, 3]), Uint8Array.of(1, 2, 3)]) {
    await open(t, server, { principal: "ada", credentials });
  }
  const [theirs, ours] = server.connections.map(({ query }) => query.password);
  assert.equal(theirs, ours);
});

test("the instances of a class of another realm count as request handlers if the class was registered", () => {
  const [Registered, Other] = runInNewContext("[class {}, class {}]");
  assert.equal(RequestHandler.register(Registered), Registered);
  assert.ok(new Registered() instanceof RequestHandler);
  assert.ok(!(new Other() instanceof RequestHandler));
  for (const nothing of [null, undefined, 5, "text", {}, Object.create(null)]) {
    assert.ok(!(nothing instanceof RequestHandler));
  }
});
