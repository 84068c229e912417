// Rules S-18 and S-19 at the client's end: batches to and from a server that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import {
  ABORT,
  BATCH,
  batch,
  connectionResponse,
  frame,
  join,
  REQUEST,
  RESPONSE,
  readBatch,
  readFrame,
  readSendToPath,
  SEND_TO_PATH,
  string,
  text,
  USER_PING,
} from "../../support/wire.mjs";
import { broker, closedUnanswered, next, OTHER_ID, soon } from "../reconnection/support.mjs";
import { fails, open, openAll, options, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { ALL, openScripted, sizesOf } from "./support.mjs";

const send = (session, content) => session.messaging.sendRequestToPath("a", content);
const response = ({ conversation }, content) => ({ type: RESPONSE, conversation, body: text(content) });
const contentOf = ({ body }) => readSendToPath(body).bytes.subarray(1).toString();

/** A request that is addressed to the client, in this conversation. */
const addressed = (conversation, content) => ({
  type: REQUEST,
  service: SEND_TO_PATH,
  conversation,
  body: join(string("a"), text(content)),
});

/** The next messages that come on a connection. */
async function take(connection, count) {
  const messages = [];
  while (messages.length < count) messages.push(await connection.next());
  return messages;
}

test("S-18 what is sent without a pause goes out together, in order", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  const sent = ["1", "2", "3"].map((content) => send(session, content));
  const pinged = session.ping();
  const messages = await take(connection, 4);
  assert.deepEqual(sizesOf(connection), [4]);
  assert.deepEqual(messages.slice(0, 3).map(contentOf), ["1", "2", "3"]);
  connection.sendBatch(...messages.slice(0, 3).map((message) => response(message, contentOf(message))), {
    type: RESPONSE,
    conversation: messages[3].conversation,
  });
  assert.deepEqual(await Promise.all(sent), ["1", "2", "3"]);
  await pinged;
});

test("S-18 one that is alone goes without a byte more, and at once", async (t) => {
  const [together, alone] = [await openScripted(t, { features: ALL }), await openScripted(t, {})];
  for (const content of ["1", "22"]) {
    for (const { session, connection } of [together, alone]) {
      const sent = send(session, content);
      connection.respond(await connection.next(), text(content));
      assert.equal(await sent, content);
    }
  }
  assert.deepEqual(together.connection.frames, alone.connection.frames);
});

test("S-18 a message too large for a batch goes alone, and in its place", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  const contents = ["1", "2", "x".repeat(65_500), "3", "y".repeat(100_000), "z".repeat(60_000), "4", "5"];
  for (const content of contents) send(session, content).catch(() => {});
  const messages = await take(connection, contents.length);
  assert.deepEqual(sizesOf(connection), [2, 1, 1, 1, 3]);
  assert.deepEqual(
    messages.map(({ body }) => readSendToPath(body).bytes.length),
    contents.map(({ length }) => length + (length > 23 ? (length > 65_535 ? 5 : 3) : 1)),
  );
});

test("S-18 no batch has more than 1,024 messages or 65,536 bytes, or more than the server takes", async (t) => {
  const many = await openScripted(t, { features: ALL });
  for (let number = 0; number < 2500; number += 1) send(many.session, String(number)).catch(() => {});
  const messages = await take(many.connection, 2500);
  assert.deepEqual(sizesOf(many.connection), [1024, 1024, 452]);
  assert.deepEqual(
    messages.map(contentOf),
    messages.map((_, number) => String(number)),
  );
  for (const [maxMessageSize, limit] of [
    [0, 65_536],
    [1 << 20, 65_536],
    [3000, 3000],
  ]) {
    const { session, connection } = await openScripted(t, { features: ALL, maxMessageSize });
    for (let number = 0; number < 500; number += 1) send(session, "x".repeat(number)).catch(() => {});
    await take(connection, 500);
    const lengths = connection.frames.map(({ length }) => length);
    assert.ok(Math.max(...lengths) <= limit, `${Math.max(...lengths)} bytes of ${limit}`);
    // As few as that allows.
    for (const [index, length] of lengths.slice(1).entries()) assert.ok(length + lengths[index] > limit);
  }
});

test("S-18 a close goes alone, behind what was sent before it", async (t) => {
  for (const count of [0, 1, 3]) {
    const { session, connection } = await openScripted(t, { features: ALL });
    const sent = Array.from({ length: count }, (_, number) => send(session, String(number)));
    const settled = sent.map((promise) => fails(promise, closedUnanswered));
    await session.close();
    await Promise.all(settled);
    assert.deepEqual(sizesOf(connection), count > 0 ? [count, 1] : [1]);
    assert.deepEqual([...connection.frames.at(-1)], [29]);
  }
});

test("S-18 handlers that take some turns of their own answer together", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  session.messaging.addStreamHandler(
    "a",
    async (request) => {
      for (let turns = Number(request) % 3; turns > 0; turns -= 1) await undefined;
      return request;
    },
    { addressed: true },
  );
  connection.sendBatch(...Array.from({ length: 300 }, (_, number) => addressed(BigInt(number + 1), String(number))));
  const answers = await take(connection, 300);
  assert.equal(new Set(answers.map(({ conversation }) => conversation)).size, 300);
  assert.ok(answers.every(({ type }) => type === RESPONSE));
  assert.ok(connection.frames.length <= 6, `${connection.frames.length} WebSocket messages`);
});

test("S-18 3,000 requests at once, to handlers that answer at once", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("many");
  for (const session of [asker, answerer]) {
    session.messaging.addStreamHandler(path, (request) => request, { addressed: true });
  }
  await answerer.messaging.addRequestHandler(path, (request) => request);
  const numbers = Array.from({ length: 3000 }, (_, number) => number);
  for (const ask of [
    (number) => asker.messaging.sendRequestToPath(path, number),
    (number) => asker.messaging.sendRequestToSession(path, answerer.id, number),
    (number) => asker.messaging.sendRequestToSession(path, asker.id, number),
  ]) {
    assert.deepEqual(await Promise.all(numbers.map(ask)), numbers);
  }
});

test("S-18 a session asks on while it is answered", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("chain");
  await answerer.messaging.addRequestHandler(path, (request) => request + 1);
  const chains = Array.from({ length: 100 }, async () => {
    let number = 0;
    while (number < 20) number = await asker.messaging.sendRequestToPath(path, number);
    return number;
  });
  assert.deepEqual(new Set(await Promise.all(chains)), new Set([20]));
});

test("S-19 messages of a batch are taken in order, as if each had come alone", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  const told = [];
  session.messaging.addStreamHandler(
    "a",
    (request) => {
      told.push(request);
      return "answered";
    },
    { addressed: true },
  );
  const sent = send(session, "1").then((answer) => told.push(answer));
  const request = await connection.next();
  connection.sendBatch(
    addressed(1n, "first"),
    response(request, "mine"),
    { type: REQUEST, service: 55, conversation: 2n },
    addressed(3n, "second"),
  );
  await sent;
  await take(connection, 3);
  assert.deepEqual(told.toSorted(), ["first", "mine", "second"]);
  assert.ok(told.indexOf("first") < told.indexOf("second"));
  // Nothing is in it, and nothing comes of it.
  connection.send(Buffer.from([BATCH]));
  const again = send(session, "2");
  connection.respond(await connection.next(), text("again"));
  assert.equal(await again, "again");
});

const hostile = {
  "a batch within a batch": (...messages) => batch(...messages, batch(addressed(9n, "inner"))),
  "a message that is cut short": (...messages) => batch(...messages, addressed(9n, "short")).subarray(0, -1),
  "a length without a message": (...messages) => join(batch(...messages), Buffer.from([5])),
  "a length that never ends": (...messages) => join(batch(...messages), Buffer.alloc(12, 0xff)),
  "an empty message": (...messages) => join(batch(...messages), Buffer.from([0])),
  "a message that only clients send": (...messages) => batch(...messages, Buffer.from([29])),
  "more than 1,024 messages": (...messages) =>
    batch(...messages, ...Array.from({ length: 1024 }, () => ({ type: REQUEST, service: 55, conversation: 0n }))),
};

for (const [what, bytes] of Object.entries(hostile)) {
  test(`S-19 ${what} ends the connection, and what stands before it counts`, async (t) => {
    const { session, connection } = await openScripted(t, { features: ALL });
    const [good, bad] = [send(session, "good"), send(session, "bad")];
    const lost = fails(bad, { code: "CONNECTION_LOST", outcome: "unknown" });
    connection.send(bytes(response(await connection.next(), "answered")));
    assert.equal(await good, "answered");
    await lost;
    const { code, reason } = await session.closed;
    assert.equal(code, "TRANSPORT_ERROR", reason);
    assert.match(reason, /malformed message|only clients send/);
  });
}

test("S-19 a batch of more than 65,536 bytes, or without the feature, ends the connection", async (t) => {
  const large = (conversation) => ({
    ...addressed(conversation, ""),
    body: join(string("a"), text("x".repeat(33_000))),
  });
  for (const [given, bytes] of [
    [{ features: ALL }, batch(large(1n), large(2n))],
    [{ features: 256 }, batch(addressed(1n, "a"))],
    [{}, batch(addressed(1n, "a"))],
  ]) {
    const { session, connection } = await openScripted(t, given);
    let called = 0;
    session.messaging.addStreamHandler("a", () => (called += 1), { addressed: true });
    const told = [];
    session.inspect((message) => told.push(message));
    connection.send(bytes);
    assert.equal((await session.closed).code, "TRANSPORT_ERROR");
    assert.deepEqual([called, told], [0, []]);
  }
});

test("S-19 after a batch that is faulty the client opens another session", async (t) => {
  const script = [{ features: ALL }, { features: ALL, id: OTHER_ID }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const back = next(session, "reconnect");
  const sent = [send(session, "1"), send(session, "2")];
  const lost = fails(sent[1], { code: "CONNECTION_LOST", outcome: "unknown" });
  connection.send(batch(response(await connection.next(), "one"), Buffer.from([99])));
  assert.equal(await sent[0], "one");
  await lost;
  assert.deepEqual(await back, { lossless: false, newSession: true });
  const again = await server.connection(1);
  assert.equal(again.query.c, undefined);
  const more = [send(session, "3"), send(session, "4")];
  for (const message of await take(again, 2)) again.respond(message, text(contentOf(message)));
  assert.deepEqual(await Promise.all(more), ["3", "4"]);
  assert.deepEqual(sizesOf(again), [2]);
});

test("S-19 an abort ends a batch as it ends a session", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  let called = 0;
  session.messaging.addStreamHandler("a", () => (called += 1), { addressed: true });
  const sent = send(session, "1");
  const request = await connection.next();
  connection.sendBatch(response(request, "answered"), { type: ABORT }, addressed(1n, "behind"));
  assert.equal(await sent, "answered");
  assert.equal((await session.closed).code, "CLOSED_BY_SERVER");
  assert.equal(called, 0);
});

test("S-19 inspect sees messages, not batches", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  const told = [];
  session.inspect((message) => told.push(message));
  const sent = ["1", "22", "333"].map((content) => send(session, content));
  const messages = await take(connection, 3);
  connection.sendBatch(...messages.map((message) => response(message, contentOf(message))));
  await Promise.all(sent);
  const sizes = (where) => told.filter(({ direction }) => direction === where).map(({ size }) => size);
  const sent1 = readBatch(connection.frames[0]).map(({ length }) => length);
  assert.deepEqual(sizes("out"), sent1);
  assert.deepEqual(
    sizes("in"),
    messages.map((message) => frame(response(message, contentOf(message))).length),
  );
});

test("S-18 what replaced queueMicrotask, as clocks of tests do, holds nothing up", async (t) => {
  const { session, connection } = await openScripted(t, { features: ALL });
  const { queueMicrotask } = globalThis;
  globalThis.queueMicrotask = () => {};
  t.after(() => {
    globalThis.queueMicrotask = queueMicrotask;
  });
  const sent = [send(session, "1"), send(session, "2")];
  globalThis.queueMicrotask = queueMicrotask;
  for (const message of await take(connection, 2)) connection.respond(message, text(contentOf(message)));
  assert.deepEqual(await Promise.all(sent), ["1", "2"]);
});

/** A WebSocket to nowhere that answers each request from within `send`. */
class Immediate {
  readyState = 1;

  constructor() {
    queueMicrotask(() => {
      this.onopen({});
      this.onmessage({ data: connectionResponse({ id: SCRIPTED_ID, features: ALL }) });
    });
  }

  send(bytes) {
    const messages = readBatch(Buffer.from(bytes)).map(readFrame);
    const answers = messages
      .filter(({ type }) => type === REQUEST)
      .map((request) =>
        request.service === USER_PING ? { ...request, type: RESPONSE } : response(request, "at once"),
      );
    if (answers.length > 0) this.onmessage({ data: batch(...answers) });
    if (messages.some(({ type }) => type === 29)) this.onmessage({ data: Buffer.from([ABORT]) });
  }

  close() {
    this.onclose?.({ code: 1000, reason: "" });
  }
}

test("S-18 a WebSocket of the application may answer from within send", async (t) => {
  const session = await open(t, broker, { webSocket: Immediate });
  assert.equal(session.supports("batching"), true);
  const answers = await Promise.all(Array.from({ length: 3000 }, (_, number) => send(session, String(number))));
  assert.deepEqual(new Set(answers), new Set(["at once"]));
  assert.equal(await send(session, "one"), "at once");
  await session.ping();
  await session.close();
});

test("S-18 a WebSocket of the application that fails in send costs the connection at most", async (t) => {
  let broken = false;
  class Failing extends WebSocket {
    send(...given) {
      if (broken) throw new Error("broken");
      super.send(...given);
    }
  }
  const session = await open(t, broker, { ...options, webSocket: Failing });
  broken = true;
  const sent = [send(session, "1"), send(session, "2")].map((promise) => fails(promise, closedUnanswered));
  await new Promise(setImmediate);
  broken = false;
  assert.ok((await session.ping()) >= 0);
  await session.close();
  await Promise.all(sent);
});

test("S-18 what was sent before a close is handled before it", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("last");
  const got = [];
  const all = new Promise((resolve) => {
    answerer.messaging.addStreamHandler(path, (request) => got.push(request) === 50 && resolve(), { addressed: true });
  });
  const sent = Array.from({ length: 50 }, (_, number) =>
    fails(asker.messaging.sendRequestToSession(path, answerer.id, number), closedUnanswered),
  );
  await asker.close();
  await Promise.all([...sent, all]);
  assert.deepEqual(
    got,
    got.map((_, number) => number),
  );
});
