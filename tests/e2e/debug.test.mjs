// The package as built by `npm run build -- --debug`: a panic says what went wrong.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { WebSocket } from "ws";
import { buildDebug } from "../../scripts/build.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";

const folder = fromRoot("build", "debug");
await buildDebug(folder);
const { connect } = await import(pathToFileURL(join(folder, "inline.js")));
const broker = await startBroker();
after(() => broker.stop());

test("a panic says what and where it is, and rejects what waits", async (t) => {
  const written = [];
  t.mock.method(console, "error", (text) => written.push(String(text)));
  // No WebSocket throws there when it is open, which Rust relies on.
  class Broken extends WebSocket {
    send() {
      throw new Error("broken");
    }
  }
  const session = await connect(broker.url, { webSocket: Broken });
  const error = await session.ping().then(assert.fail, (error) => error);
  assert.equal(error.code, "INTERNAL");
  assert.match(written.join("\n"), /antiphon: panicked at src\/socket\.rs:\d+:\d+:\nassertion failed: sent\.is_ok\(\)/);
  assert.match(error.cause.stack, /antiphon::socket::Socket::send/);
});

test("it works as the release does", async () => {
  const session = await connect(broker.url, { webSocket: WebSocket });
  await session.messaging.addRequestHandler("debug", (request) => request);
  assert.deepEqual(await session.messaging.sendRequestToPath("debug", { a: [1, "x", null] }), { a: [1, "x", null] });
  await session.close();
});
