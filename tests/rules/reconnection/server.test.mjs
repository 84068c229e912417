// The answers of a server to a reconnection, and how the client reacts.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOSE_REQUEST, connectionResponse, TOKEN } from "../../support/wire.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import {
  anotherBroker,
  closedBy,
  cutAndReturn,
  cutter,
  next,
  OTHER_ID,
  open,
  record,
  scripted,
  soon,
} from "./support.mjs";

for (const code of [114, 117, 118]) {
  test(`connection response ${code} to a reconnection leads to a new session under the same object`, async (t) => {
    const server = await scripted(t, {}, { code }, { id: OTHER_ID }, { code: 105, recovery: 1, id: OTHER_ID });
    const credentials = ["one", "two", "three", "four"];
    const session = await open(t, server, {
      principal: "somebody",
      credentials: () => credentials.shift(),
      properties: { team: "blue" },
    });
    const { messaging } = session;
    assert.equal(session.id, SCRIPTED_ID);
    const told = record(session);
    const back = next(session, "reconnect");
    await server.connections[0].cut();
    await back;
    assert.deepEqual(told.slice(2), [
      ["statechange", { from: "recovering", to: "connected" }],
      ["messageloss", { requests: 0, handlers: 0 }],
      ["reconnect", { lossless: false, newSession: true }],
    ]);
    assert.equal(session.id, OTHER_ID);
    assert.equal(session.messaging, messaging);
    const [first, second, third] = server.connections.map(({ query }) => query);
    assert.equal(second.c, TOKEN);
    const { password: _, ...fresh } = third;
    const { password: __, ...original } = first;
    assert.deepEqual(fresh, original, "the same options, and no token");
    assert.notEqual(third.password, first.password);
    const again = next(session, "reconnect");
    await server.connections[2].cut();
    assert.deepEqual(await again, { lossless: true, newSession: false });
    assert.equal(session.id, OTHER_ID);
  });
}

test("a new session has the principal of the options again", async (t) => {
  const other = await anotherBroker(t);
  const between = await cutter(t);
  const session = await open(t, between, { principal: "client", credentials: "password" });
  await session.changePrincipal("admin", "password");
  await cutAndReturn(between, session);
  assert.equal(session.principal, "admin");
  assert.deepEqual(await session.getProperties(["$Principal"]), { $Principal: "admin" });
  between.leadTo(other);
  assert.deepEqual(await cutAndReturn(between, session), { lossless: false, newSession: true });
  assert.deepEqual(await session.getProperties(["$Principal"]), { $Principal: "client" });
  assert.equal(session.principal, "client");
});

test("a server that is initialising (119) is asked again, with the token", async (t) => {
  const server = await scripted(t, {}, { code: 119 }, { code: 119 }, { code: 105, recovery: 1 });
  const attempts = [];
  const delay = (attempt) => {
    attempts.push(attempt);
    return 1;
  };
  const session = await open(t, server, { reconnect: { delay } });
  const back = next(session, "reconnect");
  await server.connections[0].cut();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.deepEqual(attempts, [1, 2, 3]);
  for (const { query } of server.connections.slice(1)) assert.equal(query.c, TOKEN);
});

test("a server that is initialising for too long ends the session with CONNECTION_TIMEOUT", async (t) => {
  const server = await scripted(t, {}, { code: 119 });
  const session = await open(t, server, { reconnect: { timeout: 100, ...soon } });
  await server.connections[0].cut();
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
});

for (const [what, response, code] of [
  ["102 (downgrade required)", { code: 102 }, "PROTOCOL_VERSION_MISMATCH"],
  ["111 (rejected)", { code: 111 }, "HANDSHAKE_REJECTED"],
  ["113 (licence exceeded)", { code: 113 }, "LICENSE_EXCEEDED"],
  ["115 (protocol error)", { code: 115 }, "HANDSHAKE_REJECTED"],
  ["116 (authentication failed)", { code: 116 }, "ACCESS_DENIED"],
  ["with another version", { version: 21, code: 105, recovery: 1 }, "PROTOCOL_VERSION_MISMATCH"],
  ["that is malformed", Buffer.of(0x23, 25, 105, 1), "HANDSHAKE_ERROR"],
]) {
  test(`connection response ${what} to a reconnection ends the session with ${code}`, async (t) => {
    const server = await scripted(t, {}, response);
    const session = await open(t, server);
    const lost = next(session, "disconnect");
    await server.connections[0].cut();
    await lost;
    const told = record(session);
    const { byClient, reason } = await session.closed;
    closedBy(code)(told);
    assert.equal(byClient, false);
    assert.ok(reason.length > 10, reason);
    assert.equal(server.connections.length, 2);
  });
}

test("105 from a server that wants what is no longer there leads to a new session", async (t) => {
  for (const recovery of [7, 0, -1]) {
    const server = await scripted(t, {}, { code: 105, recovery }, { id: OTHER_ID });
    const session = await open(t, server);
    const back = next(session, "reconnect");
    await server.connections[0].cut();
    assert.deepEqual(await back, { lossless: false, newSession: true });
    await session.close();
  }
});

test("the token of the latest connection response is the one presented next", async (t) => {
  const token = "Bb+/".repeat(6);
  const response = connectionResponse({ code: 105, id: SCRIPTED_ID, maxMessageSize: 1 });
  response.write(token, 19, "latin1");
  const server = await scripted(t, {}, response, { code: 105, recovery: 1 });
  const session = await open(t, server);
  for (const attempt of [0, 1]) {
    const back = next(session, "reconnect");
    await server.connections[attempt].cut();
    await back;
  }
  assert.deepEqual(
    server.connections.map(({ query }) => query.c),
    [undefined, TOKEN, token],
  );
});

test("a server that breaks the protocol is left, and asked again after longer and longer", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 }, { id: OTHER_ID });
  const attempts = [];
  const delay = (attempt) => {
    attempts.push(attempt);
    return 1;
  };
  const session = await open(t, server, { reconnect: { delay } });
  for (const [index, violation] of [Buffer.of(99), Buffer.alloc(0), Buffer.of(CLOSE_REQUEST)].entries()) {
    const back = next(session, "reconnect");
    (await server.connection(index)).send(violation);
    await back;
  }
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.equal(session.state, "connected");
});
