// Rules G-1 to D-3: metadata at the client's end, with a server that is scripted, and with our broker.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEADLINES,
  frame,
  join,
  METADATA,
  REQUEST,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  string,
  text,
  WITH_HEADERS,
} from "../../support/wire.mjs";
import { broker, next, soon } from "../reconnection/support.mjs";
import { fails, open, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { openScripted } from "./support.mjs";

const KNOWN = { features: METADATA };
const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
const TRACE = { traceparent: "00-1-2-01", tracestate: "a=b" };

const question = join(string("a"), text("question"));

const ask = ({ messaging }, options) => messaging.sendRequestToPath("a", "question", options);

/** Sends a request to the client, with these headers; resolves with the context of its handler. */
async function contextOf({ session, connection }, headers) {
  let told;
  const stream = session.messaging.addStreamHandler("a", (_, context) => (told = context), { addressed: true });
  const conversation = connection.nextConversation();
  connection.send({ type: REQUEST, service: SEND_TO_PATH, conversation, body: question, headers });
  await connection.next({ conversation });
  await stream.close();
  return told;
}

test("G-1 metadata goes along with a request to a path, to a session and to a filter", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const metadata = { one: "1", ["__proto__"]: "é", "": "" };
  const { messaging } = session;
  const asked = [
    ask(session, { metadata, timeout: 5000 }),
    messaging.sendRequestToSession("a", SCRIPTED_ID, "question", { metadata }),
    messaging.sendRequestToFilter("all", "a", "question", { metadata }),
    messaging.gather("all", "a", "question", { metadata }).expected,
  ];
  for (const request of asked) request.catch(() => {});
  const told = [];
  for (const service of [SEND_TO_PATH, SEND_TO_SESSION, SEND_TO_FILTER, SEND_TO_FILTER]) {
    told.push((await connection.next({ service })).headers);
  }
  assert.deepEqual(told, [{ timeLeft: 5000, metadata }, { metadata }, { metadata }, { metadata }]);
});

test("G-1 none is nothing, not a byte more", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  for (const metadata of [undefined, null, {}, Object.create(null), { [Symbol("a")]: "b" }]) {
    ask(session, { metadata }).catch(() => {});
    assert.equal((await connection.next({ service: SEND_TO_PATH })).headers, undefined);
  }
});

test("G-1 it is dropped with a server that knows of none, also when that came later", async (t) => {
  const metadata = { one: "1" };
  const { session, connection } = await openScripted(t, {});
  const plain = ask(session, { metadata });
  const request = await connection.next({ service: SEND_TO_PATH });
  assert.equal(request.headers, undefined);
  connection.respond(request, text("answer"));
  assert.equal(await plain, "answer");
  assert.equal(session.supports("metadata"), false);

  for (const [before, then, headers] of [
    [KNOWN, {}, undefined],
    [{}, KNOWN, { metadata }],
  ]) {
    const script = [before, { code: 105, recovery: 1, ...then }];
    const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
    const sent = ask(session, { metadata });
    await connection.next({ service: SEND_TO_PATH });
    const lost = next(session, "disconnect");
    connection.socket.terminate();
    await lost;
    const waiting = ask(session, { metadata, whenDisconnected: "wait" });
    const again = await server.connection(1);
    for (const asked of [sent, waiting]) {
      const request = await again.next({ service: SEND_TO_PATH });
      assert.deepEqual(request.headers, headers);
      again.respond(request, text("answer"));
      assert.equal(await asked, "answer");
    }
  }
});

test("G-1 what is no object of strings, or too much, is not sent", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const unreadable = {
    get a() {
      throw new Error("no");
    },
  };
  for (const metadata of [
    "a",
    1,
    { a: 1 },
    { a: undefined },
    { a: {} },
    { a: "\ud800" },
    { "\ud800": "a" },
    unreadable,
  ]) {
    await fails(ask(session, { metadata }), { ...invalid, message: /metadata/ });
  }
  const all = (length) => ({ a: "x".repeat(length) });
  const error = await fails(ask(session, { metadata: all(8192) }), {
    ...invalid,
    message: /the server takes 8192 at most/,
  });
  const around = Number(/has (\d+) bytes/.exec(error.message)[1]) - 8192;
  await fails(ask(session, { metadata: all(8193 - around) }), { ...invalid, message: /has 8193 bytes/ });
  assert.equal(connection.untaken, 0);
  ask(session, { metadata: all(8192 - around) }).catch(() => {});
  assert.deepEqual((await connection.next({ service: SEND_TO_PATH })).headers.metadata, all(8192 - around));
});

test("G-1 it is what it was at the call, and as much as our broker passes on", async (t) => {
  const session = await open(t, broker);
  assert.equal(session.supports("metadata"), true);
  const path = unique("metadata");
  await session.messaging.addRequestHandler(path, (_, { metadata }) => metadata);
  const metadata = { large: "x".repeat(8000), small: "é" };
  const asked = session.messaging.sendRequestToPath(path, null, { metadata });
  metadata.small = "changed";
  assert.deepEqual(await asked, { ...metadata, small: "é" });
});

test("G-2 a handler is told, and there is always an object of strings", async (t) => {
  const end = await openScripted(t, KNOWN);
  const sent = { one: "1", ["__proto__"]: "é", constructor: "c" };
  const { metadata } = await contextOf(end, { metadata: sent });
  assert.deepEqual(Object.entries(metadata), Object.entries(sent));
  assert.ok(Object.isFrozen(metadata));
  assert.deepEqual((await contextOf(end)).metadata, {});
  const plain = await openScripted(t, { features: DEADLINES });
  assert.deepEqual((await contextOf(plain, { metadata: sent })).metadata, {});
});

test("G-2 whatever is no string in it is passed over, and what is no object at all", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const told = [];
  session.messaging.addStreamHandler("a", (_, { metadata }) => told.push(metadata), { addressed: true });
  for (const bytes of [
    [0xa2, 0x61, 0x61, 0x01, 0x61, 0x62, 0x61, 0x63], // { a: 1, b: "c" }
    [0xa1, 0x61, 0x61, 0x81, 0x61, 0x62], // { a: ["b"] }
    [0x63, 0x61, 0x62, 0x63], // "abc"
    [0x81, 0x61, 0x61], // ["a"]
    [0xf6], // null
    [0xa1, 0x61], // cut short
    [0xa0, 0xa0], // and more behind it
    [0xff],
  ]) {
    const headers = Buffer.from([3, bytes.length, ...bytes]);
    const conversation = connection.nextConversation();
    const message = frame({ type: REQUEST, service: SEND_TO_PATH, conversation, body: question });
    connection.send(join(Buffer.from([WITH_HEADERS, headers.length]), headers, message));
    await connection.next({ conversation });
  }
  assert.deepEqual(told, [{ b: "c" }, {}, {}, {}, {}, {}, {}, {}]);
});

test("G-3 a request within another one has its trace context, unless it names its own", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const context = await contextOf({ session, connection }, { metadata: { ...TRACE, other: "o" } });
  for (const [metadata, expected] of [
    [undefined, TRACE],
    [{ a: "b" }, { ...TRACE, a: "b" }],
    [{ tracestate: "c=d" }, { ...TRACE, tracestate: "c=d" }],
    // The state is that of a trace.
    [{ traceparent: "00-3-4-01" }, { traceparent: "00-3-4-01" }],
  ]) {
    ask(session, { within: context, metadata }).catch(() => {});
    assert.deepEqual((await connection.next({ service: SEND_TO_PATH })).headers.metadata, expected);
  }
  const { signal, timeLeft } = context;
  // Of one that has none, of a context that knows of none.
  for (const metadata of [{}, { tracestate: undefined }, undefined]) {
    ask(session, { within: { signal, timeLeft, metadata } }).catch(() => {});
    assert.equal((await connection.next({ service: SEND_TO_PATH })).headers, undefined);
  }
  const broken = { signal, timeLeft, metadata: { traceparent: Symbol("no") } };
  await fails(ask(session, { within: broken }), { code: "INVALID_DATA", outcome: "not-sent" });
});

test("G-3 a trace context that is too much beside the metadata of a request does not keep it from being sent", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const { traceparent } = TRACE;
  const context = (trace) => contextOf({ session, connection }, { metadata: trace });
  const long = "s".repeat(8100);
  for (const [trace, metadata, expected] of [
    [{ traceparent, tracestate: long }, { a: "b".repeat(100) }, { traceparent, a: "b".repeat(100) }],
    [TRACE, { a: long }, { ...TRACE, a: long }],
    [TRACE, { a: `${long}${"b".repeat(60)}` }, { traceparent, a: `${long}${"b".repeat(60)}` }],
    [TRACE, { a: `${long}${"b".repeat(85)}` }, { a: `${long}${"b".repeat(85)}` }],
  ]) {
    ask(session, { within: await context(trace), metadata }).catch(() => {});
    assert.deepEqual((await connection.next({ service: SEND_TO_PATH })).headers.metadata, expected);
  }
});

test("G-1 lists and maps are no objects of strings", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const pairs = [["a", "b"]];
  for (const metadata of [["a"], pairs, new Map(pairs), new Headers(pairs), new URLSearchParams(pairs)]) {
    await fails(ask(session, { metadata }), { ...invalid, message: "metadata must be an object of strings" });
  }
  assert.equal(connection.untaken, 0);
});
