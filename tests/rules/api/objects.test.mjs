// The objects of the package: constructors, disposal, names, errors, options.

import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { connect, datatypes, init, MessagingError, RequestHandler } from "antiphon";
import { WebSocket } from "ws";
import { fails, open, rejection, unique } from "../support/client.mjs";
import { broker, unhandled } from "./support.mjs";

test("sessions and what comes from them cannot be constructed", async (t) => {
  const session = await open(t, broker);
  const registration = await session.messaging.addRequestHandler(unique("new"), () => 1);
  for (const object of [session, session.messaging, registration]) {
    assert.throws(() => new object.constructor(), TypeError);
    assert.throws(() => object.constructor(), TypeError);
    assert.equal(object.free, undefined);
  }
  assert.throws(() => new MessagingError.prototype.constructor().nothing.here, TypeError);
});

// Node.js 20 cannot parse `await using`; this is what it calls.
test("sessions and registrations can be disposed of by `await using`", async (t) => {
  const session = await open(t, broker);
  const [path, asker] = [unique("using"), await open(t, broker)];
  const registration = await session.messaging.addRequestHandler(path, () => 1);
  assert.equal(await asker.messaging.sendRequestToPath(path, null), 1);
  assert.equal(await registration[Symbol.asyncDispose](), undefined);
  await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
  const stream = session.messaging.addStreamHandler(path, () => 1, { addressed: true });
  assert.equal(await asker.messaging.sendRequestToSession(path, session.id, null), 1);
  assert.equal(await stream[Symbol.asyncDispose](), undefined);
  await fails(asker.messaging.sendRequestToSession(path, session.id, null), unhandled);
  assert.equal(await session[Symbol.asyncDispose](), undefined);
  assert.equal(session.state, "closed");
});

test("an error begins at the application's line, wherever it comes from", async (t) => {
  const schema = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
  const plain = await open(t, broker);
  const checked = await open(t, broker, { contract: { nobody: { request: schema, response: schema } } });
  const calls = [
    () => plain.messaging.sendRequestToPath("nobody", 1),
    () => plain.messaging.sendRequestToSession("nobody", plain.id, 1),
    () => plain.messaging.sendRequestToFilter("no filter", "nobody", 1),
    () => plain.messaging.gather("no filter", "nobody", 1).expected,
    () => plain.messaging.gather("no filter", "nobody", 1).next(),
    () => plain.messaging.addRequestHandler(1),
    () => plain.services.USER_PING.invoke("no bytes"),
    () => plain.services.get(105).invoke(new Uint8Array()),
    () => plain.getProperties("no array"),
    () => checked.messaging.sendRequestToPath("nobody", 1),
    () => checked.messaging.addRequestHandler(1),
    () => connect("no address"),
    () => connect("ws://127.0.0.1:1", { webSocket: WebSocket, log: "off" }),
  ];
  for (const call of calls) {
    const { stack } = await rejection(call());
    const [first] = stack.split("\n").filter((line) => line.startsWith("    at "));
    assert.match(first, /objects\.test\.mjs:\d+/, `${call}\n${stack}`);
  }
});

test("options are read once, and before anything is loaded or opened", async () => {
  let reads = 0;
  const options = {
    get principal() {
      reads += 1;
      return 1;
    },
  };
  const error = await rejection(connect("ws://127.0.0.1:1", options));
  assert.deepEqual([error.code, reads], ["INVALID_ARGUMENT", 1]);
  assert.equal((await rejection(connect("no address", options))).code, "INVALID_URL");
  assert.equal(reads, 1);
});

test("a time limit is named as it was given", async () => {
  const silent = class extends WebSocket {
    set onopen(_) {}
    set onmessage(_) {}
  };
  await init(); // which counts too, if it is not done
  const error = await rejection(connect(broker.url, { webSocket: silent, connectTimeout: 50, log: "off" }));
  assert.deepEqual([error.code, error.message], ["CONNECTION_TIMEOUT", "no session within 50 ms"]);
});

test("objects of the package have a name that tools show, and frameworks that wrap plain objects leave them alone", async (t) => {
  const session = await open(t, broker);
  const { messaging } = session;
  const registration = await messaging.addRequestHandler(unique("tag"), (_, context) => tagOf(context));
  const tagOf = (value) => Object.prototype.toString.call(value);
  assert.deepEqual(
    [session, messaging, messaging.services, registration, datatypes.INT64(1n)].map((it) => [
      tagOf(it),
      it.constructor.name,
    ]),
    ["Session", "Messaging", "ServiceLocator", "Registration", "DataValue"].map((name) => [`[object ${name}]`, name]),
  );
  assert.equal(tagOf(messaging.addStreamHandler(unique("tag"), () => 1)), "[object Registration]");
  assert.equal(await messaging.sendRequestToPath(registration.path, 1), "[object RequestContext]");
});

/** A proxy as stores make them: whatever is an object comes out as one as well. */
function deep(target) {
  const isObject = (value) => typeof value === "object" && value !== null && !(value instanceof Promise);
  return new Proxy(target, {
    get(object, key, receiver) {
      const value = Reflect.get(object, key, receiver);
      return isObject(value) ? deep(value) : value;
    },
  });
}

/** A proxy around a copy, as other stores make them. */
function copied(target) {
  const copy = Object.create(Object.getPrototypeOf(target), Object.getOwnPropertyDescriptors(target));
  return new Proxy(copy, {});
}

for (const [kind, wrap] of Object.entries({ plain: (target) => new Proxy(target, {}), deep, copied })) {
  test(`a session and what comes from it work through a proxy: a ${kind} one`, async (t) => {
    const real = await open(t, broker);
    const session = wrap(real);
    const { id, state, principal } = session;
    assert.deepEqual([id, state, principal], [real.id, "connected", ""]);
    const path = unique("proxy");
    const registration = wrap(await session.messaging.addRequestHandler(path, (request) => request));
    const stream = wrap(session.messaging.addStreamHandler(path, () => "here", { addressed: true }));
    assert.equal(await session.messaging.sendRequestToPath(path, "hello"), "hello");
    assert.equal(await session.messaging.sendRequestToSession(path, session.id, null), "here");
    assert.ok((await session.ping()) >= 0);
    assert.equal((await session.getProperties(["$Transport"])).$Transport, "WEBSOCKET");
    assert.equal(session.services.get("USER_PING").id, session.services.USER_PING.id);
    const handler = wrap(new RequestHandler((request) => request * 2));
    const double = await session.messaging.addRequestHandler(`${path}/double`, handler);
    assert.equal(await session.messaging.sendRequestToPath(`${path}/double`, 2), 4);
    await double.close();
    await stream.close();
    await registration.close();
    await fails(session.messaging.sendRequestToPath(path, "hello"), unhandled);
    const closed = new Promise((resolve) => session.on("close", resolve));
    await session.close();
    assert.equal((await closed).code, "CLOSED_BY_CLIENT");
    assert.equal(real.state, "closed");
  });
}

test("methods can be taken off their objects", async (t) => {
  const { messaging, services, on, ping, close, getProperties, inspect } = await open(t, broker);
  const { addRequestHandler, addStreamHandler, addFilterResponseHandler } = messaging;
  const { gather, sendRequestToFilter, sendRequestToPath, sendRequestToSession } = messaging;
  const path = unique("taken");
  const seen = [];
  const stop = inspect(({ kind }) => seen.push(kind));
  on("close", () => seen.push("closed"));
  const { close: end } = await addRequestHandler(path, (request) => request);
  const { close: endStream } = addStreamHandler(path, () => 5, { addressed: true });
  const { close: endResponses } = addFilterResponseHandler("all", () => {});
  assert.equal(await sendRequestToPath(path, "hello"), "hello");
  const { $SessionId } = await getProperties();
  assert.equal(await sendRequestToSession(path, $SessionId, null), 5);
  assert.equal(await sendRequestToFilter(`$SessionId is '${$SessionId}'`, path, null), 1);
  const values = [];
  for await (const { value } of gather(`$SessionId is '${$SessionId}'`, path, null)) values.push(value);
  assert.deepEqual(values, [5]);
  const { get } = services;
  assert.equal(get("USER_PING").name, "USER_PING");
  assert.ok((await ping()) >= 0);
  await end();
  await endStream();
  endResponses();
  stop();
  await close();
  assert.equal(seen.at(-1), "closed");
});

test("the console of Node.js shows what a session and a typed value are", async (t) => {
  const session = await open(t, broker);
  const line = (value) => inspect(value, { breakLength: Number.POSITIVE_INFINITY });
  assert.equal(line(session), `Session { id: '${session.id}', principal: '', state: 'connected' }`);
  assert.equal(line(new Proxy(session, {})), line(session));
  assert.equal(inspect(datatypes.INT64(5)), "DataValue { typeName: 'int64', value: 5n }");
  await session.close();
  assert.match(inspect({ session }), /state: 'closed'/);
});

test("what is larger than the broker takes is refused before it is copied", async (t) => {
  const session = await open(t, broker);
  const path = unique("large");
  const before = process.memoryUsage().arrayBuffers;
  const large = new Uint8Array(300 * 2 ** 20);
  const expected = { code: "MESSAGE_TOO_LARGE", outcome: "not-sent", message: /takes \d+ at most$/ };
  for (let round = 0; round < 3; round++) await fails(session.messaging.sendRequestToPath(path, large), expected);
  assert.ok(process.memoryUsage().arrayBuffers - before < 400 * 2 ** 20);
  const other = await open(t, broker);
  await other.messaging.addRequestHandler(path, () => large);
  await fails(session.messaging.sendRequestToPath(path, 1), {
    code: "CALLBACK_EXCEPTION",
    reason: 105,
    outcome: "failed",
  });
  await other.ping();
});
