// What a large message took of the memory of the WebAssembly is given back, which only letting go of the instance does.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { startBroker } from "../support/broker.mjs";

// Before the package is loaded, which is what this watches.
const memories = [];
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...args) => {
  const result = await instantiate.apply(WebAssembly, args);
  const { exports } = result.instance ?? result;
  const memory = Object.values(exports).find((it) => it instanceof WebAssembly.Memory);
  memories.push(new WeakRef(memory));
  return result;
};
const { open } = await import("./support/client.mjs");

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

const broker = await startBroker();
after(() => broker.stop());

const LARGE = 16 * 2 ** 20;
const size = (memory) => memory.deref().buffer.byteLength;

test("the memory of an instance goes with its last session, and the next one begins small", async (t) => {
  const [first, second] = [await open(t, broker), await open(t, broker)];
  assert.equal(memories.length, 1, "sessions share an instance");
  const [large] = memories;
  const before = size(large);
  first.messaging.addStreamHandler("large", ({ length }) => length, { addressed: true });
  const bytes = new Uint8Array(LARGE);
  assert.equal(
    await second.messaging.sendRequestToSession("large", first.id, bytes, { responseType: "double" }),
    LARGE,
  );
  assert.ok(size(large) > LARGE);

  await first.close();
  await second.ping();
  assert.equal(memories.length, 1);
  await second.close();

  const third = await open(t, broker);
  assert.equal(memories.length, 2, "a new instance");
  assert.ok(size(memories[1]) <= before);
  assert.equal(typeof (await third.ping()), "number");
  while (large.deref()) {
    await new Promise(setImmediate);
    collectGarbage();
  }
});
