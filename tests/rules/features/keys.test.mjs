// Rules K-1, K-6 and K-7: idempotency keys at the client's end, with a server that is scripted, and with our broker.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEADLINES,
  IDEMPOTENCY,
  join,
  REQUEST,
  SEND_TO_PATH,
  SEND_TO_SESSION,
  string,
  text,
  USER_PING,
} from "../../support/wire.mjs";
import { broker, connectionLost, cutter, next, OTHER_ID, open, soon } from "../reconnection/support.mjs";
import { fails, gate, openAll, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { ALL, openScripted } from "./support.mjs";

const KEYS = { features: IDEMPOTENCY };
const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
const knowsNoKeys = { ...invalid, message: /knows no idempotency keys/ };

const ask = ({ messaging }, options) =>
  messaging.sendRequestToPath("a", "question", { idempotencyKey: "key", ...options });

test("K-6 a key goes along with a request to a path or to a session", async (t) => {
  const { session, connection } = await openScripted(t, KEYS);
  ask(session, { timeout: 5000 }).catch(() => {});
  assert.deepEqual((await connection.next({ service: SEND_TO_PATH })).headers, {
    timeLeft: 5000,
    idempotencyKey: "key",
  });
  const options = { idempotencyKey: "é 😀\n" };
  session.messaging.sendRequestToSession("a", SCRIPTED_ID, "question", options).catch(() => {});
  assert.deepEqual((await connection.next({ service: SEND_TO_SESSION })).headers, options);
});

test("K-6 a request with a key is not sent to a server that knows no keys", async (t) => {
  for (const features of [undefined, 0, DEADLINES, ALL & ~IDEMPOTENCY]) {
    const { session, connection } = await openScripted(t, { features });
    await fails(ask(session), knowsNoKeys);
    await fails(
      session.messaging.sendRequestToSession("a", SCRIPTED_ID, "question", { idempotencyKey: "key" }),
      knowsNoKeys,
    );
    const pinged = session.ping();
    connection.respond(await connection.next());
    await pinged;
    assert.equal(session.supports("idempotency"), false);
  }
});

test("K-6 one that waits for a connection is sent with its key, or not at all", async (t) => {
  for (const [before, then, isSent] of [
    [KEYS, { features: DEADLINES }, false],
    [KEYS, {}, false],
    [{}, KEYS, true],
  ]) {
    const script = [before, { code: 106, ...then }];
    const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
    const lost = next(session, "disconnect");
    connection.socket.terminate();
    await lost;
    const asked = ask(session, { whenDisconnected: "wait" });
    const again = await server.connection(1);
    if (isSent) {
      const request = await again.next({ service: SEND_TO_PATH });
      assert.deepEqual(request.headers, { idempotencyKey: "key" });
      again.respond(request, text("answer"));
      assert.equal(await asked, "answer");
    } else await fails(asked, knowsNoKeys);
    assert.equal(again.untaken, 0);
  }
});

test("K-6 one that is sent again after a 105 has its key", async (t) => {
  const script = [KEYS, { code: 105, recovery: 1, ...KEYS }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const asked = ask(session);
  const first = await connection.next({ service: SEND_TO_PATH });
  connection.socket.terminate();
  const again = await server.connection(1);
  const second = await again.next({ service: SEND_TO_PATH });
  assert.deepEqual(second, first);
  again.respond(second, text("answer"));
  assert.equal(await asked, "answer");
});

test("K-6 and where keys mean nothing all of a sudden, the client asks for a new session", async (t) => {
  for (const features of [undefined, DEADLINES]) {
    const script = [KEYS, { code: 105, recovery: 1, features }, { id: OTHER_ID, features }];
    const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
    const asked = ask(session);
    await connection.next({ service: SEND_TO_PATH });
    const back = next(session, "reconnect");
    connection.socket.terminate();
    await fails(asked, connectionLost);
    assert.deepEqual(await back, { lossless: false, newSession: true });
    const [, refused, another] = server.connections;
    assert.deepEqual([refused.query.c !== undefined, another.query.c], [true, undefined]);
    assert.deepEqual([refused.untaken, another.untaken], [0, 0]);
  }
  // What has no key, or has arrived, is no reason for that.
  const script = [KEYS, { code: 105, recovery: 2 }];
  const { server, session, connection } = await openScripted(t, script, { reconnect: soon });
  const asked = ask(session);
  const request = await connection.next({ service: SEND_TO_PATH });
  session.ping().catch(() => {});
  await connection.next({ service: USER_PING });
  connection.socket.terminate();
  const again = await server.connection(1);
  await again.next({ service: USER_PING });
  again.respond(request, text("answer"));
  assert.equal(await asked, "answer");
});

test("K-7 a key is text of 1 to 128 characters, and none is for many", async (t) => {
  const { session, connection } = await openScripted(t, KEYS);
  for (const idempotencyKey of ["", "x".repeat(129), "😀".repeat(129), "\ud800", 17, {}, ["key"], true]) {
    await fails(ask(session, { idempotencyKey }), { ...invalid, message: /^idempotencyKey must be/ });
  }
  const options = { idempotencyKey: "key" };
  const toMany = { ...invalid, message: /^a request to a filter has no idempotencyKey/ };
  await fails(session.messaging.sendRequestToFilter("all", "a", 1, options), toMany);
  await fails(session.messaging.gather("all", "a", 1, options).expected, toMany);
  assert.equal(connection.untaken, 0);
  for (const idempotencyKey of ["x", "x".repeat(128), "😀".repeat(128), undefined, null]) {
    ask(session, { idempotencyKey }).catch(() => {});
    const { headers } = await connection.next({ service: SEND_TO_PATH });
    assert.deepEqual(headers, idempotencyKey ? { idempotencyKey } : undefined);
  }
});

test("K-7 a handler is told the key", async (t) => {
  for (const [features, expected] of [
    [IDEMPOTENCY, ["key", undefined]],
    [IDEMPOTENCY | DEADLINES, ["key", undefined]],
    [DEADLINES, [undefined, undefined]],
  ]) {
    const { session, connection } = await openScripted(t, { features });
    const contexts = [];
    session.messaging.addStreamHandler("a", (_, context) => contexts.push(context), { addressed: true });
    const body = join(string("a"), text("question"));
    for (const [index, headers] of [{ idempotencyKey: "key" }, undefined].entries()) {
      connection.send({ type: REQUEST, service: SEND_TO_PATH, conversation: index + 1, body, headers });
      await connection.next({ conversation: BigInt(index + 1) });
    }
    assert.deepEqual(
      contexts.map(({ idempotencyKey }) => idempotencyKey),
      expected,
    );
    assert.equal("idempotencyKey" in contexts[1], false);
  }
});

test("K-7 a repeat at our broker gets the answer of the first, also of a session that comes later", async (t) => {
  const [handler] = await openAll(t, broker, 1);
  const path = unique("keys");
  const handled = [];
  await handler.messaging.addRequestHandler(path, (request, { idempotencyKey }) => {
    handled.push(idempotencyKey);
    return `${request} is done`;
  });
  const ada = { principal: "client", credentials: "password" };
  for (const request of ["first", "second"]) {
    const session = await open(t, broker, ada);
    assert.equal(session.supports("idempotency"), true);
    assert.equal(await session.messaging.sendRequestToPath(path, request, { idempotencyKey: "one" }), "first is done");
    await session.close();
  }
  assert.deepEqual(handled, ["one"]);
});

test("K-1 a key is whose it was when the request came, also of one that waits while its sender becomes another", async (t) => {
  const [handler, anonymous] = await openAll(t, broker, 2);
  const as = (principal) => open(t, broker, { principal, credentials: "password" });
  const [control, becomesAdmin] = [await as("control"), await as("control")];
  const [admin, path] = [await as("admin"), unique("keys")];
  const [begun, finished] = [gate(), gate()];
  const handled = [];
  const handle = async (request) => {
    handled.push(request);
    begun.open();
    if (request === "long") await finished.opened;
    return `${request} is done`;
  };
  await handler.messaging.addRequestHandler(path, handle, { maxConcurrent: 1, maxQueued: 9 });
  const order = ({ messaging }, request) => messaging.sendRequestToPath(path, request, { idempotencyKey: "order 17" });
  const long = handler.messaging.sendRequestToPath(path, "long");
  await begun.opened;
  const waiting = [order(becomesAdmin, "of control"), order(anonymous, "of nobody")];
  await becomesAdmin.changePrincipal("admin", "password");
  await anonymous.changePrincipal("control", "password");
  finished.open();
  assert.deepEqual(await Promise.all([long, ...waiting]), ["long is done", "of control is done", "of nobody is done"]);
  assert.equal(await order(control, "again"), "of control is done");
  assert.equal(await order(anonymous, "again"), "of control is done");
  assert.equal(await order(admin, "of admin"), "of admin is done");
  assert.deepEqual(handled, ["long", "of control", "of nobody", "of admin"]);
});

test("K-6 a request that was under way when the connection was lost is repeated without being handled twice", async (t) => {
  const between = await cutter(t);
  const [handler] = await openAll(t, broker, 1);
  const asker = await open(t, between, { principal: "client", credentials: "password", reconnect: false });
  const path = unique("keys");
  const started = [];
  const [begun, finished] = [gate(), gate()];
  await handler.messaging.addRequestHandler(path, async (request) => {
    started.push(request);
    begun.open();
    return finished.opened;
  });
  const options = { idempotencyKey: "under way", timeout: 0 };
  const first = asker.messaging.sendRequestToPath(path, "once", options);
  await begun.opened;
  between.cut();
  await fails(first, connectionLost);
  const another = await open(t, broker, { principal: "client", credentials: "password" });
  const repeat = another.messaging.sendRequestToPath(path, "once", options);
  await another.ping();
  finished.open("done");
  assert.equal(await repeat, "done");
  assert.deepEqual(started, ["once"]);
});
