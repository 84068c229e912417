// What happens if the WebAssembly itself traps. Its memory is overwritten, so it really does.

import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";

// Before the package is loaded, which is what this watches.
const instances = [];
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...args) => {
  const result = await instantiate.apply(WebAssembly, args);
  instances.push(result.instance ?? result);
  return result;
};
const { ConnectError, connect } = await import("antiphon");
const { assertError, collect, fails, gate, open, rejection, thrown, unique } = await import("./support/client.mjs");

const broker = await startBroker();
after(() => broker.stop());

let reported;
beforeEach((t) => {
  reported = [];
  t.mock.method(console, "error", (error) => reported.push(error));
});

const INTERNAL = { code: "INTERNAL", reason: undefined, outcome: "unknown", message: /WebAssembly .* has failed/ };

/** Overwrites the memory of the last instance. */
function ruin() {
  const memory = Object.values(instances.at(-1).exports).find((it) => it instanceof WebAssembly.Memory);
  new Uint8Array(memory.buffer).fill(0xff);
}

test("a trap rejects all promises with INTERNAL and closes all sessions; the next connect starts afresh", async (t) => {
  const [asker, answerer] = [await open(t, broker), await open(t, broker)];
  const path = unique("trap");
  const { opened, open: answer } = gate();
  let signal;
  const arrived = new Promise((resolve) => {
    answerer.messaging
      .addRequestHandler(path, (_, context) => {
        signal = context.signal;
        resolve();
        return opened;
      })
      .then(() => asking.push(asker.messaging.sendRequestToPath(path, 1)));
  });
  const asking = [];
  await arrived;
  answerer.messaging.addStreamHandler(path, () => opened, { addressed: true });
  asking.push(asker.messaging.sendRequestToSession(path, answerer.id, 1));
  const expected = asker.messaging.sendRequestToFilter("all", path, 1, { onResponse: () => {} });
  assert.equal(await expected, 2);
  const gathering = asker.messaging.gather(`$SessionId is '${answerer.id}'`, path, 1);
  assert.equal(await gathering.expected, 1);
  const gathered = rejection(collect(gathering));
  const events = [];
  for (const event of ["statechange", "disconnect", "close"]) asker.on(event, () => events.push(event));
  const count = instances.length;

  ruin();
  const ping = asker.ping();

  for (const promise of [ping, ...asking]) await fails(promise, INTERNAL);
  assertError(await gathered, INTERNAL);
  assertError(signal.reason, INTERNAL);
  assert.ok(signal.reason.cause instanceof Error);
  answer("too late");
  for (const session of [asker, answerer]) {
    const info = await session.closed;
    assert.deepEqual({ code: info.code, byClient: info.byClient }, { code: "INTERNAL", byClient: false });
    assert.equal(session.state, "closed");
    await fails(session.ping(), { code: "SESSION_CLOSED", outcome: "not-sent" });
    assert.equal(thrown(() => session.messaging.addStreamHandler(path, () => 1)).code, "SESSION_CLOSED");
    await session.close();
  }
  assert.deepEqual(events, ["statechange", "close"]);
  assert.equal(reported.length, 1);

  const again = await open(t, broker);
  assert.equal(instances.length, count + 1);
  assert.equal(typeof (await again.ping()), "number");
  // The sockets of the others are closed, and the broker lets go of them, since nobody comes back.
  assert.equal(await again.messaging.sendRequestToFilter("all", path, 1), 1);
  await fails(asker.ping(), { code: "SESSION_CLOSED", outcome: "not-sent" });
});

test("a trap while a message is read is reported, and ends the session", async (t) => {
  const session = await open(t, broker);
  const pinged = rejection(session.ping());
  ruin();
  assertError(await pinged, INTERNAL);
  assert.equal((await session.closed).code, "INTERNAL");
  assert.equal(reported.length, 1);
});

test("a trap while others connect rejects them with a ConnectError that says to try again", async (t) => {
  await open(t, broker);
  class Slow extends WebSocket {
    set onopen(_) {
      queueMicrotask(() => {
        ruin();
        session.ping().catch(() => {});
      });
    }
  }
  const session = await open(t, broker);
  const error = await rejection(connect(broker.url, { webSocket: Slow, log: "off" }));
  assert.ok(error instanceof ConnectError);
  assert.deepEqual([error.code, error.retryable], ["INTERNAL", true]);
  assert.equal(typeof (await (await open(t, broker)).ping()), "number");
});

test("traps again and again leave nothing behind", async (t) => {
  for (let round = 0; round < 20; round++) {
    const session = await open(t, broker);
    ruin();
    await fails(session.ping(), INTERNAL);
  }
  const session = await open(t, broker);
  assert.equal(await session.messaging.sendRequestToFilter("all", unique("all"), 1), 1);
});
