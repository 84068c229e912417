// Rules T-1 to T-3 at the client's end: the time that is left, and giving up, with a server that is scripted.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import {
  BATCHING,
  CANCEL,
  CANCELLING,
  cancel,
  DEADLINES,
  ERROR,
  join,
  REQUEST,
  RESPONSE,
  readCancel,
  SEND_TO_FILTER,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  string,
  text,
} from "../../support/wire.mjs";
import { next, soon } from "../reconnection/support.mjs";
import { assertError, fails, gate, isSettled, rejection } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { openScripted } from "./support.mjs";

const TIME = { features: DEADLINES | CANCELLING };
const cancelled = { code: "CANCELLED", reason: 10002, outcome: "unknown" };
const timeIsOver = { code: "TIMED_OUT", reason: 102, outcome: "unknown" };
const timedOut = { code: "TIMED_OUT", outcome: "unknown" };

/** A request that the server addresses to the client. */
const addressed = (conversation, headers) => ({
  type: REQUEST,
  service: SEND_TO_PATH,
  conversation,
  body: join(string("a"), text("question")),
  headers,
});

/** Has the client answer addressed requests with `handle`; resolves with the contexts that it was called with. */
function answer(session, handle, options) {
  const contexts = [];
  session.messaging.addStreamHandler(
    "a",
    (request, context) => {
      contexts.push(context);
      return handle(request, context);
    },
    { addressed: true, ...options },
  );
  return contexts;
}

/** Whatever the client sends now is there when this resolves; returns what has come but for pings. */
async function allSent(session, connection) {
  const pinged = session.ping();
  connection.respond(await connection.next({ service: 56 }));
  await pinged;
  const messages = [];
  for (let message = connection.take(); message; message = connection.take()) messages.push(message);
  return messages;
}

test("T-1 a request says how much time is left if its timeout was named, and else nothing", async (t) => {
  const { session, connection } = await openScripted(t, TIME, { requestTimeout: 5000 });
  const plain = await openScripted(t, {}, { requestTimeout: 5000 });
  const send = [
    ({ messaging }, options) => messaging.sendRequestToPath("a", "question", options),
    ({ messaging }, options) => messaging.sendRequestToSession("a", SCRIPTED_ID, "question", options),
    ({ messaging }, options) => messaging.sendRequestToFilter("all", "a", "question", options),
  ];
  for (const [index, service] of [SEND_TO_PATH, SEND_TO_SESSION, SEND_TO_FILTER].entries()) {
    for (const timeout of [undefined, 1500, 0]) {
      for (const end of [{ session, connection }, plain]) send[index](end.session, { timeout }).catch(() => {});
      const [message, bare] = [await connection.next({ service }), await plain.connection.next({ service })];
      assert.deepEqual(message.headers, timeout ? { timeLeft: timeout } : undefined);
      assert.deepEqual({ ...message, headers: undefined }, { ...bare, headers: undefined });
      assert.equal(bare.headers, undefined, "the server knows no headers");
    }
  }
});

test("T-1 a request that has waited for a connection says what is left then", async (t) => {
  const script = [TIME, { code: 106, ...TIME }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const lost = next(session, "disconnect");
  connection.socket.terminate();
  await lost;
  const sent = session.messaging.sendRequestToPath("a", "question", { timeout: 60_000, whenDisconnected: "wait" });
  const again = await server.connection(1);
  const message = await again.next({ service: SEND_TO_PATH });
  assert.ok(message.headers.timeLeft < 60_000 && message.headers.timeLeft > 50_000, `${message.headers.timeLeft}`);
  again.respond(message, text("answer"));
  assert.equal(await sent, "answer");
});

test("T-1 a handler knows how much time is left, and its signal is aborted when it is over, which is no answer", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const { opened, open } = gate();
  const contexts = answer(session, () => opened);
  connection.send(addressed(1, { timeLeft: 1000 }));
  connection.send(addressed(2));
  connection.send(addressed(3, { timeLeft: 60_000 }));
  assert.deepEqual(await allSent(session, connection), []);
  const [short, none, long] = contexts;
  assert.ok(short.timeLeft > 0 && short.timeLeft <= 1000, `${short.timeLeft}`);
  assert.equal(none.timeLeft, Infinity);
  assert.ok(long.timeLeft > 50_000 && long.timeLeft <= 60_000, `${long.timeLeft}`);
  await once(short.signal, "abort");
  assertError(short.signal.reason, timeIsOver);
  assert.ok(short.timeLeft < 10, `${short.timeLeft}`);
  open("answer");
  const answered = await allSent(session, connection);
  assert.deepEqual(
    answered.map(({ type, conversation }) => [type, conversation]),
    [
      [RESPONSE, 2n],
      [RESPONSE, 3n],
    ],
  );
});

test("T-1 a request that comes with no time left is not handled", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const contexts = answer(session, () => "answer");
  connection.send(addressed(1, { timeLeft: 0 }));
  assert.deepEqual(await allSent(session, connection), []);
  assert.deepEqual(contexts, []);
});

test("T-1 a handler's own timeout that is over first is an answer", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const contexts = answer(session, () => new Promise(() => {}), { timeout: 20 });
  connection.send(addressed(1, { timeLeft: 60_000 }));
  const { reason } = await connection.next({ type: ERROR, conversation: 1n });
  assert.equal(reason, 102);
  assertError(contexts[0].signal.reason, timedOut);
});

test("T-2 the server is told of a request that is given up, or waited for too long, in conversation 0", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const { messaging } = session;
  const stop = new AbortController();
  const send = {
    [SEND_TO_PATH]: (options) => messaging.sendRequestToPath("a", "question", options),
    [SEND_TO_SESSION]: (options) => messaging.sendRequestToSession("a", SCRIPTED_ID, "question", options),
    [SEND_TO_FILTER]: (options) => messaging.sendRequestToFilter("all", "a", "question", options),
  };
  const sent = [];
  for (const [service, ask] of Object.entries(send)) {
    const asked = [rejection(ask({ signal: stop.signal })), fails(ask({ timeout: 20 }), timedOut)];
    const { conversation } = await connection.next({ service: Number(service) });
    const timed = await connection.next({ service: Number(service) });
    const given = await connection.next({ service: CANCEL });
    assert.deepEqual(
      [given.conversation, readCancel(given.body)],
      [0n, { request: timed.conversation, isTimedOut: true }],
    );
    await asked[1];
    sent.push({ asked: asked[0], conversation });
  }
  const reason = new Error("enough");
  stop.abort(reason);
  for (const { asked, conversation } of sent) {
    assert.equal(await asked, reason);
    assert.deepEqual(readCancel((await connection.next({ service: CANCEL })).body), {
      request: conversation,
      isTimedOut: false,
    });
  }
});

test("T-2 what was not sent, or is answered, is given up without a word, and so is all with a server that does not know", async (t) => {
  for (const [features, expected] of [
    [TIME.features, []],
    [DEADLINES, []],
    [undefined, []],
  ]) {
    const { session, connection } = await openScripted(t, { features });
    const stop = new AbortController();
    const asked = session.messaging.sendRequestToPath("a", "question", { signal: stop.signal });
    const request = await connection.next({ service: SEND_TO_PATH });
    if (features === TIME.features) {
      connection.respond(request, text("answer"));
      assert.equal(await asked, "answer");
    }
    asked.catch(() => {});
    stop.abort();
    assert.deepEqual(await allSent(session, connection), expected);
  }
  const { server, session, connection } = await openScripted(t, [TIME, { code: 106, ...TIME }], { reconnect: soon });
  const lost = next(session, "disconnect");
  connection.socket.terminate();
  await lost;
  const back = next(session, "reconnect");
  const stop = new AbortController();
  const options = { signal: stop.signal, whenDisconnected: "wait" };
  const waiting = session.messaging.sendRequestToPath("a", "question", options).catch(() => {});
  stop.abort();
  await waiting;
  await back;
  assert.deepEqual(await allSent(session, await server.connection(1)), []);
});

test("T-2 a request to a filter is given up by whoever gathers no more", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const gathering = session.messaging.gather("all", "a", "question");
  const { conversation } = await connection.next({ service: SEND_TO_FILTER });
  await gathering.return();
  assert.deepEqual(readCancel((await connection.next({ service: CANCEL })).body), {
    request: conversation,
    isTimedOut: false,
  });
});

test("T-3 a handler is told when its sender gives up, and answers no more", async (t) => {
  for (const [isTimedOut, reason] of [
    [false, cancelled],
    [true, timeIsOver],
  ]) {
    const { session, connection } = await openScripted(t, TIME);
    const { opened, open } = gate();
    const contexts = answer(session, () => opened);
    for (const conversation of [1, 2]) connection.send(addressed(conversation));
    // Those that are not open are ignored.
    for (const conversation of [7, 1, 1]) connection.send(cancel(conversation, isTimedOut));
    assert.deepEqual(await allSent(session, connection), []);
    const [given, other] = contexts;
    assert.ok(given.signal.aborted && !other.signal.aborted);
    assertError(given.signal.reason, reason);
    open("answer");
    assert.deepEqual(
      (await allSent(session, connection)).map(({ conversation }) => conversation),
      [2n],
    );
  }
});

test("T-3 what waits for its turn is never run once it is given up", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const { opened, open } = gate();
  const contexts = answer(session, () => opened, { maxConcurrent: 1 });
  for (const conversation of [1, 2, 3]) connection.send(addressed(conversation));
  connection.send(cancel(2, false));
  assert.deepEqual(await allSent(session, connection), []);
  open("answer");
  assert.equal((await connection.next({ type: RESPONSE })).conversation, 1n);
  assert.equal((await connection.next({ type: RESPONSE })).conversation, 3n);
  assert.equal(contexts.length, 2);
});

test("T-3 giving up in the batch of the request itself", async (t) => {
  const { session, connection } = await openScripted(t, { features: TIME.features | BATCHING });
  const contexts = answer(session, async () => "answer", { maxConcurrent: 1 });
  connection.sendBatch(addressed(1), cancel(1, false));
  assert.deepEqual(await allSent(session, connection), []);
  assert.ok(contexts.every(({ signal }) => signal.aborted));
});

test("T-4 a request within another one has no more time than that, and is given up with it", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const inner = [];
  const { opened, open } = gate();
  answer(session, async (_, context) => {
    const ask = (options) => session.messaging.sendRequestToPath("b", "inner", { within: context, ...options });
    inner.push(ask(), ask({ timeout: 50 }), ask({ timeout: 60_000 }));
    for (const asked of inner) asked.catch(() => {});
    return opened;
  });
  connection.send(addressed(1, { timeLeft: 20_000 }));
  const asked = [];
  while (asked.length < 3) asked.push(await connection.next({ service: SEND_TO_PATH }));
  const told = asked.map(({ headers }) => headers);
  assert.ok(told[0].timeLeft <= 20_000 && told[0].timeLeft > 10_000, `${told[0].timeLeft}`);
  assert.equal(told[1].timeLeft, 50);
  assert.ok(told[2].timeLeft <= 20_000, `${told[2].timeLeft}`);
  await fails(inner[1], timedOut);
  connection.send(cancel(1, false));
  for (const index of [0, 2]) await fails(inner[index], cancelled);
  const given = [];
  while (given.length < 3) given.push(readCancel((await connection.next({ service: CANCEL })).body).request);
  assert.deepEqual(
    given,
    [1, 0, 2].map((index) => asked[index].conversation),
  );
  open("too late");
});

test("T-4 a request within one that is over is not sent", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const contexts = answer(session, () => new Promise(() => {}));
  connection.send(addressed(1));
  connection.send(cancel(1, false));
  assert.deepEqual(await allSent(session, connection), []);
  await fails(session.messaging.sendRequestToPath("b", "inner", { within: contexts[0] }), cancelled);
  for (const within of [{}, "context", { signal: new AbortController().signal }]) {
    const error = await session.messaging.sendRequestToPath("b", "inner", { within }).catch((reason) => reason);
    assertError(error, { code: "INVALID_ARGUMENT", outcome: "not-sent" });
  }
  assert.deepEqual(await allSent(session, connection), []);
});

test("T-4 a request within one whose sender said nothing is like any other", async (t) => {
  const { session, connection } = await openScripted(t, TIME);
  const contexts = answer(session, () => new Promise(() => {}));
  connection.send(addressed(1));
  assert.deepEqual(await allSent(session, connection), []);
  const asked = session.messaging.sendRequestToPath("b", "inner", { within: contexts[0] });
  const request = await connection.next({ service: SEND_TO_PATH });
  assert.equal(request.headers, undefined);
  assert.equal(await isSettled(asked), false);
  connection.respond(request, text("answer"));
  assert.equal(await asked, "answer");
});
