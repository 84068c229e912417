// Rule S-7: a session that goes on although messages were lost.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DELIVERY,
  ERROR,
  join,
  list,
  REGISTER,
  REQUEST,
  Reader,
  SEND_TO_PATH,
  sessionId as sessionIdBytes,
  string,
  text,
  varint,
} from "../../support/wire.mjs";
import { assertError, fails, gate, isSettled, rejection, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import {
  anotherBroker,
  broker,
  closedUnanswered,
  connectionLost,
  cutAndReturn,
  cutter,
  loseFor,
  next,
  open,
  record,
  scripted,
  unhandled,
} from "./support.mjs";

const RECOVERY_BYTES = 2 ** 20; // what the broker keeps of what it sent to a session

/**
 * Keeps `session` from a connection until `between` is opened, and lets more come for it than the broker keeps, so that
 * the gap cannot be bridged. Gives what the request under way rejects with.
 */
async function loseMessages(t, between, session) {
  const path = unique("large");
  const [called, large] = [gate(), gate()];
  const other = await open(t, broker);
  await other.messaging.addRequestHandler(path, async () => {
    called.open();
    await large.opened;
    return new Uint8Array(RECOVERY_BYTES);
  });
  const outstanding = rejection(session.messaging.sendRequestToPath(path, null));
  await called.opened;
  await loseFor(between, session);
  large.open();
  await new Promise(setImmediate); // the answer is on its way
  await other.ping(); // and there
  return { outstanding };
}

test("S-7 (106) what was outstanding rejects, handlers register again, streams and filter handlers stay", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const [stays, goes, stream] = [unique("stays"), unique("goes"), unique("stream")];
  await session.messaging.addRequestHandler(stays, (_, { sessionProperties }) => Object.keys(sessionProperties), {
    sessionProperties: ["$Principal"],
  });
  await session.messaging.addRequestHandler(goes, () => "here", { reregister: false });
  session.messaging.addStreamHandler(stream, () => "stream", { addressed: true });
  const filter = `$SessionId is '${session.id}'`;
  const heard = [];
  session.messaging.addFilterResponseHandler(filter, ({ value }) => heard.push(value));
  const { id } = session;

  const { outstanding } = await loseMessages(t, between, session);
  const told = record(session);
  const waiting = session.messaging.sendRequestToPath(stays, null, { whenDisconnected: "wait" });
  const back = next(session, "reconnect");
  between.open();
  assert.deepEqual(await back, { lossless: false, newSession: false });
  assertError(await outstanding, connectionLost);
  assert.deepEqual(told, [
    ["statechange", { from: "recovering", to: "connected" }],
    ["messageloss", { requests: 1, handlers: 1 }],
    ["reconnect", { lossless: false, newSession: false }],
  ]);
  assert.equal(session.id, id);
  assert.deepEqual(await waiting, ["$Principal"]);
  assert.deepEqual(await asker.messaging.sendRequestToPath(stays, null), ["$Principal"]);
  await fails(asker.messaging.sendRequestToPath(goes, null), unhandled);
  assert.equal(await asker.messaging.sendRequestToSession(stream, session.id, null), "stream");
  assert.equal(await session.messaging.sendRequestToFilter(filter, stream, null), 1);
  await session.ping();
  assert.deepEqual(heard, ["stream"]);
  // Lossless again, from the new count on.
  assert.deepEqual(await cutAndReturn(between, session), { lossless: true, newSession: false });
  assert.deepEqual(await asker.messaging.sendRequestToPath(stays, null), ["$Principal"]);
});

test("S-7 (106) a handler that is closed before or during the loss is not registered again", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const [before, during, later] = [unique("before"), unique("during"), unique("later")];
  const registration = await session.messaging.addRequestHandler(before, () => 1);
  await registration.close();
  const closed = await session.messaging.addRequestHandler(during, () => 1);
  const other = await session.messaging.addRequestHandler(later, () => 1);
  await loseMessages(t, between, session);
  await closed.close();
  const told = record(session);
  const back = next(session, "reconnect");
  between.open();
  await back;
  assert.deepEqual(told[1], ["messageloss", { requests: 1, handlers: 1 }]);
  await session.ping(); // by then it is registered
  assert.equal(await asker.messaging.sendRequestToPath(later, null), 1);
  await other.close();
  for (const path of [before, during, later]) await fails(asker.messaging.sendRequestToPath(path, null), unhandled);
});

test("S-7 (106) the handler of a request that was lost learns of it, and its answer goes nowhere", async (t) => {
  const between = await cutter(t);
  const [session, asker] = [await open(t, between), await open(t, broker)];
  const path = unique("abandoned");
  const [called, answer] = [gate(), gate()];
  let signal;
  await session.messaging.addRequestHandler(path, async (_, context) => {
    signal = context.signal;
    called.open();
    await answer.opened;
    return "too late";
  });
  const sent = rejection(asker.messaging.sendRequestToPath(path, null));
  await called.opened;
  await loseMessages(t, between, session);
  assert.equal(signal.aborted, false);
  const back = next(session, "reconnect");
  between.open();
  await back;
  assertError(await sent, { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" });
  assert.equal(signal.aborted, true);
  assertError(signal.reason, connectionLost);
  answer.open();
  await session.ping();
  assert.equal(session.state, "connected");
});

test("S-7 an answer to a request of before a message loss never answers a later one", async (t) => {
  const successor = await anotherBroker(t);
  const between = await cutter(t);
  const [session, asker, laterAsker] = [await open(t, between), await open(t, broker), await open(t, successor)];
  const path = unique("stale");
  const calls = [];
  const arrived = [gate(), gate()];
  await session.messaging.addRequestHandler(path, (name, { signal }) => {
    const answer = gate();
    calls.push({ answer, signal });
    arrived[calls.length - 1].open();
    return answer.opened.then(() => `answer to ${name}`);
  });
  const first = rejection(asker.messaging.sendRequestToPath(path, "first", { timeout: 5000 }));
  await arrived[0].opened;
  between.leadTo(successor);
  assert.deepEqual(await cutAndReturn(between, session), { lossless: false, newSession: true });
  await session.ping();
  // For the other broker it is the first request of this session again.
  const second = laterAsker.messaging.sendRequestToPath(path, "second");
  await arrived[1].opened;
  calls[0].answer.open();
  await session.ping();
  await laterAsker.ping();
  assert.equal(await isSettled(second), false);
  calls[1].answer.open();
  assert.equal(await second, "answer to second");
  assert.deepEqual([calls[0].signal.aborted, calls[1].signal.aborted], [true, false]);
  await asker.close();
  assertError(await first, closedUnanswered);
});

test("S-7 handlers are registered again before what waited is sent", async (t) => {
  const server = await scripted(t, {}, null, { code: 106 });
  const session = await open(t, server);
  const registering = session.messaging.addRequestHandler("again", () => 1);
  server.connections[0].respond(await server.connections[0].next());
  await registering;
  await server.connections[0].cut();
  const second = await server.connection(1);
  const waiting = session.messaging.sendRequestToPath("waiting", 1, { whenDisconnected: "wait" });
  await second.cut();
  const third = await server.connection(2);
  assert.equal((await third.next()).service, REGISTER);
  const message = await third.next();
  assert.equal(message.service, SEND_TO_PATH);
  third.respond(message, text("done"));
  assert.equal(await waiting, "done");
});

test("S-7 a registration that the broker no longer accepts ends, and the session goes on", async (t) => {
  const server = await scripted(t, {}, { code: 106 });
  const session = await open(t, server);
  const registering = session.messaging.addRequestHandler("refused", () => 1);
  server.connections[0].respond(await server.connections[0].next());
  const registration = await registering;
  await server.connections[0].cut();
  const second = await server.connection(1);
  const again = await second.next();
  second.send({ type: ERROR, conversation: again.conversation, reason: 103, text: "not any more" });
  const to = join(varint(registrationOf(again)), sessionIdBytes(SCRIPTED_ID), string("refused"), list([]), text("x"));
  second.send({ type: REQUEST, service: DELIVERY, conversation: 9n, body: to });
  const answer = await second.next();
  assert.deepEqual([answer.type, answer.conversation, answer.reason], [ERROR, 9n, 109]);
  await registration.close();
  assert.equal(second.untaken, 0, "there is nothing to take back");
});

function registrationOf({ body }) {
  const reader = new Reader(body);
  reader.count();
  reader.string();
  reader.string();
  reader.list(() => reader.string());
  return reader.varint();
}

test("S-7 a registration under way when messages are lost rejects, and is not made again", async (t) => {
  const server = await scripted(t, {}, { code: 106 });
  const session = await open(t, server);
  const registering = fails(
    session.messaging.addRequestHandler("under way", () => 1),
    connectionLost,
  );
  await server.connections[0].next();
  const told = record(session);
  const back = next(session, "reconnect");
  await server.connections[0].cut();
  await registering;
  await back;
  assert.deepEqual(told[3], ["messageloss", { requests: 0, handlers: 0 }]);
  assert.equal(server.connections[1].untaken, 0);
});
