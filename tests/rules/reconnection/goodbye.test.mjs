// Rules S-15 and L-5: a session that is closed without a connection, and a connection that is dead but looks open.

import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "antiphon";
import { WebSocket } from "ws";
import { CLOSE_REQUEST, connectionResponse, TOKEN } from "../../support/wire.mjs";
import { fails, isSettled, rejection, unique } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { broker, cutter, loseFor, next, open, scripted, unhandled } from "./support.mjs";

test("S-15 close() shortly after a loss ends the session at the broker, which asks its handlers no more", async (t) => {
  const between = await cutter(t);
  const [asker, leaving] = [await open(t, broker), await open(t, between, { reconnect: { delay: () => 60_000 } })];
  const path = unique("closed");
  await leaving.messaging.addRequestHandler(path, () => "here");
  const lost = next(leaving, "disconnect");
  between.cut();
  await lost;
  await leaving.close();
  await fails(asker.messaging.sendRequestToPath(path, 1), unhandled);
});

test("S-15 close() settles within about a second, whatever becomes of the goodbye", async (t) => {
  const between = await cutter(t);
  const refused = await open(t, between);
  await loseFor(between, refused);
  const silent = await scripted(t, {}, null);
  const session = await open(t, silent);
  await silent.connections[0].cut();
  const second = await silent.connection(1);
  const start = performance.now();
  await Promise.all([refused.close(), session.close()]);
  assert.ok(performance.now() - start < 1500);
  assert.deepEqual([second.query.c, second.untaken], [TOKEN, 0]);
});

test("S-15 a connect that is aborted while its connection is open closes the session that comes of it", async (t) => {
  const server = await scripted(t, null);
  const leaving = new AbortController();
  const opened = new Promise((resolve) => {
    class Watched extends WebSocket {
      set onopen(listen) {
        super.onopen = (event) => {
          listen?.(event);
          resolve();
        };
      }
    }
    rejection(connect(server.url, { webSocket: Watched, signal: leaving.signal }));
  });
  const connection = await server.connection(0);
  await opened;
  leaving.abort();
  connection.send(connectionResponse({ id: SCRIPTED_ID }));
  await connection.next({ type: CLOSE_REQUEST });
  await connection.closed;
});

test("S-10 a request goes to a connected session while another handler of the path has lost its connection", async (t) => {
  const between = await cutter(t);
  const [lost, here] = [await open(t, between), await open(t, broker)];
  const path = unique("two");
  await lost.messaging.addRequestHandler(path, () => "lost");
  await here.messaging.addRequestHandler(path, () => "here");
  await loseFor(between, lost);
  const answers = Array.from({ length: 20 }, () => here.messaging.sendRequestToPath(path, 1));
  assert.deepEqual([...new Set(await Promise.all(answers))], ["here"]);
});

test("L-5 a dead connection is replaced within seconds when a request times out, or somebody asks for it", async (t) => {
  const occasions = {
    request: (session) => rejection(session.messaging.sendRequestToPath("nobody", 1, { timeout: 10 })),
    reconnect: (session) => session.reconnect(),
  };
  const replaced = Object.entries(occasions).map(async ([what, ask]) => {
    const between = await cutter(t);
    const session = await open(t, between);
    const lost = next(session, "disconnect");
    between.freeze();
    const start = performance.now();
    ask(session);
    assert.match((await lost).reason, /nothing came from the server for 3000 ms/, what);
    assert.ok(performance.now() - start < 5000, what);
    const back = next(session, "reconnect");
    between.cut();
    between.open();
    assert.deepEqual(await back, { lossless: true, newSession: false }, what);
  });
  await Promise.all(replaced);
});

test("S-12 reconnect() tries at once, and leaves a connection alone that is alive", async (t) => {
  const between = await cutter(t);
  const session = await open(t, between, { reconnect: { delay: () => 60_000 } });
  await loseFor(between, session);
  between.open();
  const back = next(session, "reconnect");
  session.reconnect();
  await back;
  const lost = next(session, "disconnect");
  session.reconnect();
  await session.ping();
  assert.equal(await isSettled(lost), false);
});

for (const code of [100, 105]) {
  test(`S-12 a server that accepts with ${code} and drops at once is asked less and less often`, async (t) => {
    const server = await scripted(t, {}, { code, recovery: 1 });
    const attempts = [];
    const delay = (attempt) => {
      attempts.push(attempt);
      return 1;
    };
    await open(t, server, { reconnect: { delay } });
    for (let number = 0; number < 4; number += 1) await (await server.connection(number)).cut();
    await server.connection(4);
    assert.deepEqual(attempts, [1, 2, 3, 4]);
  });
}

test("a text message as the first of a reconnection is HANDSHAKE_ERROR, as at the first connect", async (t) => {
  const server = await scripted(t, {}, null);
  const session = await open(t, server);
  await server.connections[0].cut();
  (await server.connection(1)).socket.send("hello");
  assert.equal((await session.closed).code, "HANDSHAKE_ERROR");
});
