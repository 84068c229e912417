// The package in a realm that has as little around it as test environments have, and what `init` is given from another one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { createContext, runInContext } from "node:vm";
import { WebSocket } from "ws";
import { dist } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";

const broker = await startBroker();
after(() => broker.stop());

const wasm = readFileSync(join(dist, "antiphon_bg.wasm"));

/** The package in a new realm, without TextEncoder, Response, Blob, fetch and the like. */
function packageInRealm() {
  const around = { process, atob, setTimeout, clearTimeout, performance, queueMicrotask, URL, AbortController };
  const context = createContext({ ...around, AbortSignal, WebSocket, console, exports: {} });
  runInContext(readFileSync(join(dist, "inline.cjs"), "utf8"), context);
  return context.exports;
}

async function asksAndIsAnswered({ connect }) {
  const session = await connect(broker.url);
  await session.messaging.addRequestHandler("greetings", (name) => `Hello, ${name}!`);
  assert.equal(await session.messaging.sendRequestToPath("greetings", "Ádám"), "Hello, Ádám!");
  await session.close();
}

test("it connects where a test environment leaves out much of the platform", async () => {
  await asksAndIsAnswered(packageInRealm());
});

const sources = {
  "a module": new WebAssembly.Module(wasm),
  bytes: new Uint8Array(wasm),
  "a response": new Response(wasm, { headers: { "content-type": "application/wasm" } }),
};
for (const [what, source] of Object.entries(sources)) {
  test(`init takes ${what} of another realm`, async () => {
    const antiphon = packageInRealm();
    await antiphon.init(source);
    await asksAndIsAnswered(antiphon);
  });
}
