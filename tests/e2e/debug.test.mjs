// The package as built by `npm run build -- --debug`: a panic says what went wrong.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { WebSocket } from "ws";
import { buildDebug } from "../../scripts/build.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";

let astray = 0;
const { instantiate } = WebAssembly;
// Before the package is loaded, which passes the number of a session to what Rust exports.
WebAssembly.instantiate = async (...args) => {
  const result = await instantiate.apply(WebAssembly, args);
  const { exports } = result.instance ?? result;
  const ping = (client, ...rest) => exports.ping(client + astray, ...rest);
  const instance = { exports: { ...exports, ping } };
  return result.instance ? { ...result, instance } : instance;
};

const folder = fromRoot("build", "debug");
await buildDebug(folder);
const { connect } = await import(pathToFileURL(join(folder, "inline.js")));
const broker = await startBroker();
after(() => broker.stop());

test("a panic says what and where it is, and rejects what waits", async (t) => {
  // A panic is ten calls by itself.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 50;
  t.after(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  const written = [];
  t.mock.method(console, "error", (text) => written.push(String(text)));
  const session = await connect(broker.url, { webSocket: WebSocket });
  await session.messaging.addRequestHandler("never", () => new Promise(() => {}));
  const asked = session.messaging.sendRequestToPath("never", null).then(assert.fail, (error) => error);
  astray = 1;
  t.after(() => {
    astray = 0;
  });
  const error = await session.ping().then(assert.fail, (error) => error);
  assert.deepEqual([error.code, (await asked).code], ["INTERNAL", "INTERNAL"]);
  assert.match(written.join("\n"), /antiphon: panicked at .+client\.rs:\d+:\d+:\nindex out of bounds/);
  assert.match(error.cause.stack, /antiphon\S*::client::ping/);
});

test("it works as the release does", async () => {
  const session = await connect(broker.url, { webSocket: WebSocket });
  await session.messaging.addRequestHandler("debug", (request) => request);
  assert.deepEqual(await session.messaging.sendRequestToPath("debug", { a: [1, "x", null] }), { a: [1, "x", null] });
  await session.close();
});
