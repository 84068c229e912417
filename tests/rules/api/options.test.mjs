// Options that there are not, and those that say more than they seem to.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectError, connect, escapeFilter, MessagingError, RequestHandler } from "antiphon";
import { fails, open, options, rejection, thrown, unique } from "../support/client.mjs";
import { startServer } from "../support/endpoint.mjs";
import { broker, invalid } from "./support.mjs";

const refused = (message) => ({ ...invalid, message });

test("an option of connect that there is not is refused, with the one that is probably meant", async () => {
  const meant = {
    pasword: "credentials",
    password: "credentials",
    token: "credentials",
    username: "principal",
    principle: "principal",
    timeout: "connectTimeout or requestTimeout",
    timeuot: "connectTimeout or requestTimeout",
    conectTimeout: "connectTimeout",
    reconect: "reconnect",
    websocket: "webSocket",
    credential: "credentials",
  };
  for (const [name, known] of Object.entries(meant)) {
    // One that has no value is as wrong.
    for (const value of ["secret", undefined]) {
      const error = await rejection(connect("ws://127.0.0.1:1", { ...options, [name]: value }));
      assert.ok(error instanceof ConnectError);
      assert.deepEqual([error.code, error.retryable], ["INVALID_ARGUMENT", false]);
      assert.equal(error.message, `there is no option ${name}; did you mean ${known}?`);
    }
  }
  const nested = await rejection(connect("ws://127.0.0.1:1", { ...options, reconnect: { timeOut: 5 } }));
  assert.equal(nested.message, "there is no option reconnect.timeOut; did you mean timeout?");
  const number = await rejection(connect("ws://127.0.0.1:1", { ...options, reconnect: 5 }));
  assert.equal(number.message, "reconnect must be an object");
});

test("an option of a request that there is not is refused, and nothing is sent", async (t) => {
  const { messaging, id } = await open(t, broker);
  const path = unique("options");
  messaging.addStreamHandler(path, () => assert.fail("asked"), { addressed: true });
  await messaging.addRequestHandler(path, () => assert.fail("asked"));
  const wrong = { timeuot: 5 };
  const error = refused("there is no option timeuot; did you mean timeout?");
  await fails(messaging.sendRequestToPath(path, 1, wrong), error);
  await fails(messaging.sendRequestToSession(path, id, 1, wrong), error);
  await fails(messaging.sendRequestToFilter("all", path, 1, wrong), error);
  const gathering = messaging.gather("all", path, 1, wrong);
  await fails(gathering.expected, error);
  await fails(gathering[Symbol.asyncIterator]().next(), error);
});

test("an option of another operation is refused", async (t) => {
  const { messaging, id } = await open(t, broker);
  const onResponse = () => assert.fail("called");
  const noResponses = { ...invalid, message: /^there is no option onResponse;/ };
  await fails(messaging.sendRequestToPath("other", 1, { onResponse }), noResponses);
  await fails(messaging.sendRequestToSession("other", id, 1, { onResponse }), noResponses);
  await fails(messaging.gather("all", "other", 1, { onResponse }).expected, noResponses);
  await fails(messaging.sendRequestToFilter("all", "other", 1, { atLeast: 1 }), { ...invalid, message: /atLeast/ });
  for (const name of ["sessionProperties", "reregister", "whenDisconnected"]) {
    const error = thrown(() => messaging.addStreamHandler("other", () => 1, { [name]: undefined }));
    assert.deepEqual([error instanceof MessagingError, error.code], [true, "INVALID_ARGUMENT"]);
    assert.match(error.message, new RegExp(`^there is no option ${name};`));
  }
});

test("an option of a handler, or of who watches, that there is not is refused", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const path = unique("options");
  const wrong = { maxConcurrency: 4 };
  const error = refused("there is no option maxConcurrency; did you mean maxConcurrent?");
  await fails(
    messaging.addRequestHandler(path, () => 1, wrong),
    error,
  );
  assert.equal(thrown(() => messaging.addStreamHandler(path, () => 1, wrong)).message, error.message);
  assert.match(
    thrown(() => new RequestHandler(() => 1, { requesttype: "json" })).message,
    /did you mean requestType\?$/,
  );
  assert.match(thrown(() => session.inspect(() => {}, { value: true })).message, /did you mean values\?$/);
  assert.match(thrown(() => session.inspect(() => {}, { values: 1 })).message, /^values must be true or false$/);
  // What else an object with a function `handle` has is its own affair.
  await messaging.addRequestHandler(path, { handle: () => "handled", timeuot: 5, type: "json" });
  assert.equal(await messaging.sendRequestToPath(path, null), "handled");
});

test("credentials without a principal are sent with the empty principal", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const bytes = new Uint8Array([1, 2, 3]);
  for (const credentials of ["secret", "", bytes, async () => "secret"]) await open(t, server, { credentials });
  await open(t, server);
  await open(t, server, { principal: "" });
  const sent = server.connections.map(({ query }) => [query.username, query.password]);
  const password = (text) => Buffer.from([1, text.length, ...Buffer.from(text)]).toString("base64");
  const custom = Buffer.from([2, 3, ...bytes]).toString("base64");
  assert.deepEqual(sent, [
    ["", password("secret")],
    ["", password("")],
    ["", custom],
    ["", password("secret")],
    [undefined, undefined],
    ["", ""],
  ]);
});

test("escapeFilter takes nothing but a string", () => {
  assert.equal(escapeFilter(`it's "a\\b"`), `it\\'s \\"a\\\\b\\"`);
  for (const value of [undefined, null, 5, ["a"], {}, Symbol("a")]) assert.throws(() => escapeFilter(value), TypeError);
});

test("each log level shows more than the one before it, and never what is sent", async (t) => {
  const shown = new Map();
  for (const log of ["off", "error", "warn", "info", "debug", "trace"]) {
    const lines = [];
    const mocks = ["error", "warn", "info", "debug"].map((level) =>
      t.mock.method(console, level, (...args) => lines.push(args.join(" "))),
    );
    const session = await open(t, broker, { log });
    const path = unique("log");
    await session.messaging.addRequestHandler(path, () => {
      throw new Error("broken");
    });
    await rejection(session.messaging.sendRequestToPath(path, "the payload"));
    await session.close();
    for (const { mock } of mocks) mock.restore();
    assert.ok(!lines.join("\n").includes("the payload"), log);
    assert.ok(lines.every((line) => line.startsWith("antiphon: ")));
    shown.set(log, { lines, path });
  }
  const count = (log) => shown.get(log).lines.length;
  assert.equal(count("off"), 0);
  assert.ok(count("warn") < count("info") && count("info") < count("debug") && count("debug") < count("trace"));
  const { lines, path } = shown.get("trace");
  assert.ok(
    lines.some((line) => line.includes(`out request MESSAGING_SEND`) && line.includes(path)),
    lines.join("\n"),
  );
});
