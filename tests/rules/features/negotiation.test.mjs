// Rule S-17: what client and broker agree on beyond the protocol, at each connection.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BATCH, BATCHING, connectionResponse, granted, join, text, UNACKNOWLEDGED } from "../../support/wire.mjs";
import { broker, cutAndReturn, cutter, loseFor, next, scripted, soon } from "../reconnection/support.mjs";
import { assertError, open, thrown } from "../support/client.mjs";
import { connectPeer, SCRIPTED_ID } from "../support/endpoint.mjs";
import { ALL, openScripted, peerWith } from "./support.mjs";

const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };

// ---- The broker's end ----

test("S-17 a client that offers nothing is told nothing, and gets its messages one by one", async (t) => {
  const peer = await connectPeer(broker);
  t.after(() => peer.close());
  assert.deepEqual([peer.length, peer.features], [55, undefined]);
  const asked = Array.from({ length: 200 }, () => peer.request(56));
  for (const conversation of asked) await peer.answerTo(conversation);
  assert.equal(peer.frames.length, 200);
  assert.ok(peer.frames.every(([first]) => first !== BATCH));
});

test("S-17 the broker grants what was offered and it has", async (t) => {
  for (const [offered, expected] of [
    [ALL, ALL],
    [BATCHING, BATCHING],
    [UNACKNOWLEDGED, UNACKNOWLEDGED],
    [2 ** 32 - 1, ALL],
    [2 ** 31 + BATCHING, BATCHING],
    [2 ** 20, 0],
  ]) {
    const peer = await peerWith(t, offered);
    assert.deepEqual([peer.code, peer.features, peer.length], [100, expected, 63], `${offered} offered`);
  }
});

test("S-17 it is agreed on anew when a session is taken up again", async (t) => {
  let peer = await peerWith(t, ALL);
  for (const [offered, features, length] of [
    [BATCHING, BATCHING, 63],
    [undefined, undefined, 55],
    [ALL, ALL, 63],
  ]) {
    const { id, token } = peer;
    await peer.cut();
    const query = { r: 60_000, c: token, cs: 1, ss: 0, ...(offered && { antiphon: offered }) };
    peer = await connectPeer(broker, { query });
    assert.deepEqual([peer.id, peer.code], [id, 105]);
    assert.deepEqual([peer.features, peer.length], [features, length], `${offered} offered`);
  }
  await peer.close();
});

// ---- The client's end ----

test("S-17 the client offers what it has; without batching if it is not to have that", async (t) => {
  for (const [given, offered] of [
    [{}, ALL],
    [{ batching: true }, ALL],
    [{ batching: undefined }, ALL],
    [{ batching: false }, ALL & ~BATCHING],
  ]) {
    const { connection } = await openScripted(t, {}, given);
    assert.equal(connection.query.antiphon, String(offered), JSON.stringify(given));
  }
});

/** What a session asks for at the same time, which is sent together if that is agreed on. */
async function sendsTogether(session, connection) {
  const sent = [1, 2, 3].map((number) => session.messaging.sendRequestToPath("a", number));
  for (const _ of sent) connection.respond(await connection.next(), text("answered"));
  assert.deepEqual(await Promise.all(sent), ["answered", "answered", "answered"]);
  return connection.frames.at(-1)[0] === BATCH;
}

test("S-17 with a server that says nothing of features everything works, one message at a time", async (t) => {
  const { session, connection } = await openScripted(t, {});
  assert.equal(session.supports("batching"), false);
  assert.equal(await sendsTogether(session, connection), false);
});

test("S-17 other bytes behind a connection response are ignored", async (t) => {
  for (const tail of [
    Buffer.alloc(8, 0xff),
    Buffer.from("FEAT"),
    granted(ALL).subarray(0, 7),
    join(Buffer.from("feat"), granted(ALL).subarray(4)),
    join(Buffer.from([0]), granted(ALL)),
  ]) {
    const { session, connection } = await openScripted(t, { tail });
    assert.equal(session.supports("batching"), false);
    assert.equal(await sendsTogether(session, connection), false, tail.toString("latin1"));
  }
});

test("S-17 bytes behind the features are ignored, and features that the client does not know", async (t) => {
  for (const tail of [join(granted(ALL), Buffer.from("more")), granted(2 ** 32 - 1)]) {
    const { session, connection } = await openScripted(t, { tail });
    assert.equal(session.supports("batching") && session.supports("discovery"), true);
    assert.equal(await sendsTogether(session, connection), true);
  }
});

test("S-17 what was not offered is not granted, whatever the server says", async (t) => {
  const { session, connection } = await openScripted(t, { features: 2 ** 32 - 1 }, { batching: false });
  assert.equal(session.supports("batching"), false);
  assert.equal(await sendsTogether(session, connection), false);
});

test("S-17 a refusal with features behind it is a refusal", async (t) => {
  const server = await scripted(t, join(connectionResponse({ code: 113 }), granted(ALL)));
  const error = await open(t, server).catch((reason) => reason);
  assert.deepEqual([error.code, error.reason], ["LICENSE_EXCEEDED", undefined]);
});

test("S-17 supports: what was agreed on, of the last connection while there is none, and nothing in the end", async (t) => {
  const [first, second, third] = [{ features: ALL }, { code: 105, recovery: 1 }, { code: 106, features: BATCHING }];
  const { server, session, connection } = await openScripted(t, [first, second, third], { reconnect: soon });
  const told = [];
  session.on("reconnect", () => told.push(session.supports("batching")));
  session.on("disconnect", () => told.push(session.supports("batching")));
  session.on("close", () => told.push(session.supports("batching")));
  assert.equal(session.supports("batching"), true);
  for (const number of [1, 2]) {
    const back = next(session, "reconnect");
    await (await server.connection(number - 1)).cut();
    await back;
  }
  assert.deepEqual(told, [true, false, false, true]);
  await session.close();
  assert.equal(session.supports("batching"), false);
  assert.equal(told.at(-1), false);
  assert.equal(connection.isClosed, true);
});

test("S-17 supports tells of names that are none", async (t) => {
  const session = await open(t, broker);
  for (const name of ["deadlines", "cancelling", "busy", "idempotency", "metadata", "details", "discovery"])
    assert.equal(session.supports(name), true, name);
  assertError(
    thrown(() => session.supports("batch")),
    { ...invalid, message: /no feature batch; did you mean batching\?/ },
  );
  for (const name of [undefined, null, 1, "", "__proto__", {}]) {
    assertError(
      thrown(() => session.supports(name)),
      invalid,
    );
  }
});

test("S-17 our client and our broker agree, and again after a reconnection", async (t) => {
  const between = await cutter(t);
  for (const batching of [true, false]) {
    const session = await open(t, between, { batching, reconnect: soon });
    assert.equal(session.supports("batching"), batching);
    await cutAndReturn(between, session);
    assert.equal(session.supports("batching"), batching);
    await loseFor(between, session);
    assert.equal(session.supports("batching"), batching);
    const back = next(session, "reconnect");
    between.open();
    await back;
    await session.close();
  }
});

test("S-17 batching is true or false", async (t) => {
  for (const batching of [1, "true"]) {
    const error = await open(t, { url: `ws://127.0.0.1:1/${SCRIPTED_ID}` }, { batching }).catch((reason) => reason);
    assert.equal(error.code, "INVALID_ARGUMENT", String(batching));
  }
});
