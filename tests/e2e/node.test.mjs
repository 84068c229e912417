// The client in Node.js, with the package `ws` where the platform has no WebSocket: loading, and errors.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { ConnectError, connect, MessagingError } from "antiphon";
import { WebSocket } from "ws";
import { startBroker } from "../support/broker.mjs";

const broker = await startBroker();
const options = { webSocket: WebSocket, log: "off" };
after(() => broker.stop());

test("a session needs no call to load the WebAssembly", async () => {
  const session = await connect(broker.url, options);
  await session.messaging.addRequestHandler("node/echo", (request) => request);
  assert.deepEqual(await session.messaging.sendRequestToPath("node/echo", { a: [1] }), { a: [1] });
  await session.close();
});

test("a platform without WebSocket says what to pass", {
  skip: "WebSocket" in globalThis && "it has one",
}, async () => {
  await assert.rejects(connect(broker.url), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.match(error.message, /option webSocket/);
    assert.equal(error.retryable, false);
    return true;
  });
});

test("handlers that answer at the same moment answer each with their own value", async () => {
  const session = await connect(broker.url, options);
  let asked = 0;
  let go;
  const both = new Promise((resolve) => {
    go = resolve;
  });
  await session.messaging.addRequestHandler("node/together", async (name) => {
    asked += 1;
    if (asked === 50) go();
    await both;
    return { secretOf: name };
  });
  const names = Array.from({ length: 50 }, (_, index) => `name${10 + index}`);
  const answers = await Promise.all(names.map((name) => session.messaging.sendRequestToPath("node/together", name)));
  assert.deepEqual(
    answers,
    names.map((name) => ({ secretOf: name })),
  );
  await session.close();
});

test("giving up on a server that never answers rejects, and throws nowhere else", async () => {
  const server = createServer(() => {}).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `ws://127.0.0.1:${server.address().port}`;
  const uncaught = [];
  const listener = (error) => uncaught.push(error);
  process.on("uncaughtException", listener);

  await assert.rejects(connect(url, { ...options, connectTimeout: 50 }), {
    code: "CONNECTION_TIMEOUT",
    retryable: true,
  });
  const controller = new AbortController();
  const connecting = connect(url, { ...options, signal: controller.signal });
  const reason = new Error("changed my mind");
  setImmediate(() => controller.abort(reason));
  await assert.rejects(connecting, (error) => error === reason);
  await assert.rejects(connect(url, { ...options, signal: AbortSignal.abort(reason) }), (error) => error === reason);

  // The package emits its error a tick after the socket was closed; a session that works comes after that.
  await (await connect(broker.url, options)).close();
  process.off("uncaughtException", listener);
  assert.deepEqual(uncaught, []);
  server.close();
});

test("options that throw when they are looked at reject", async () => {
  const hostile = {
    ...options,
    get connectTimeout() {
      throw new Error("kaputt");
    },
  };
  await assert.rejects(connect(broker.url, hostile), { name: "ConnectError", code: "INVALID_ARGUMENT" });
});

test("a session that is closed cannot be used, and nothing is thrown", async () => {
  const session = await connect(broker.url, options);
  await session.close();
  assert.equal(session.state, "closed");
  await assert.rejects(session.messaging.sendRequestToPath("node/echo", 1), (error) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, "SESSION_CLOSED");
    assert.equal(error.outcome, "not-sent");
    return true;
  });
});

test("listening to an event that does not exist is told at once", async () => {
  const session = await connect(broker.url, options);
  assert.throws(() => session.on("closed", () => {}), TypeError);
  assert.throws(() => session.on("close"), TypeError);
  session.on("reconnect", () => {});
  await session.close();
});
