// A session that somebody ends on purpose is dead (docs/protocol.md, section 9.4): its token, its old connection, its
// handlers. Whoever waits for it is told at once.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { ABORT, CLOSE_CLIENT, DELIVERY, ERROR, RESPONSE, sessionId, text } from "../support/wire.mjs";
import { collect, fails, filterFor, open, openAll, unique } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const broker = await startBroker();
after(() => broker.stop());

const admin = { principal: "admin", credentials: "password" };
const kept = { query: { r: 60_000 } };

/** Ends a session as an administrator does. */
const kill = (session, id) => session.services.get(CLOSE_CLIENT).invoke(sessionId(id));

test("a killed session is told, and takes with it what it handled; whoever waits for it knows within a second", async (t) => {
  const [killer, asker] = [await open(t, broker, admin), await open(t, broker)];
  const path = unique("killed");
  const victim = await connectPeer(broker, kept);
  await victim.register(path);
  const waiting = [
    fails(asker.messaging.sendRequestToPath(path, 1), { code: "SESSION_CLOSED", reason: 101, outcome: "unknown" }),
    fails(asker.messaging.sendRequestToSession(path, victim.id, 1), {
      code: "SESSION_CLOSED",
      reason: 101,
      outcome: "unknown",
    }),
  ];
  await victim.next({ service: DELIVERY });
  const start = performance.now();
  await kill(killer, victim.id);
  await Promise.all(waiting);
  assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
  await victim.next({ type: ABORT });
  await victim.closed;
  await fails(asker.messaging.sendRequestToPath(path, 1), {
    code: "UNHANDLED_MESSAGE",
    reason: 109,
    outcome: "refused",
  });
  await fails(asker.messaging.sendRequestToSession(path, victim.id, 1), {
    code: "NO_SUCH_SESSION",
    reason: 107,
    outcome: "refused",
  });
});

test("the token of a killed session opens nothing, whether it had a connection or not", async (t) => {
  const killer = await open(t, broker, admin);
  for (const isConnected of [true, false]) {
    const victim = await connectPeer(broker, kept);
    if (!isConnected) await victim.cut();
    await kill(killer, victim.id);
    const back = await connectPeer(broker, { query: { r: 60_000, c: victim.token, cs: 1, ss: 0 } });
    assert.equal(back.code, 117);
    await back.closed;
  }
});

test("what a killed session still sends on its old connection comes to nothing", async (t) => {
  const [killer, handler] = [await open(t, broker, admin), await open(t, broker)];
  const path = unique("old");
  let handled = 0;
  await handler.messaging.addRequestHandler(path, () => {
    handled += 1;
  });
  // It reads nothing, so it does not know.
  const victim = await connectPeer(broker, kept);
  victim.socket.pause();
  await kill(killer, victim.id);
  for (let number = 0; number < 10; number += 1) victim.sendToPath(path, text("still here"));
  await assert.rejects(kill(killer, victim.id), { code: "NO_SUCH_SESSION" });
  await handler.ping();
  assert.equal(handled, 0);
  victim.socket.resume();
  await victim.closed;
});

test("those that a filter finds are killed, without the one that kills", async (t) => {
  const [killer, ...others] = await openAll(t, broker, 4, admin);
  const spared = await open(t, broker);
  const mine = filterFor(killer, ...others, spared);
  const filter = `${mine} and $Principal is 'admin' and not $SessionId is '${killer.id}'`;
  // Each of them answers, if only that it has no stream for the path.
  const found = await collect(killer.messaging.gather(filter, unique("who"), null));
  await Promise.all(found.map(({ sessionId }) => kill(killer, sessionId)));
  const codes = await Promise.all(others.map(async ({ closed }) => (await closed).code));
  assert.deepEqual(codes, ["CLOSED_BY_SERVER", "CLOSED_BY_SERVER", "CLOSED_BY_SERVER"]);
  assert.deepEqual([killer.state, spared.state], ["connected", "connected"]);
});

test("A-1 whoever may not modify sessions kills none, not even by trying often", async () => {
  const [victim, peer] = [
    await connectPeer(broker, kept),
    await connectPeer(broker, { query: { username: "client", password: "AQhwYXNzd29yZA==" } }),
  ];
  for (let number = 0; number < 10; number += 1) {
    const answer = await peer.ask(CLOSE_CLIENT, sessionId(victim.id));
    assert.deepEqual([answer.type, answer.reason], [ERROR, 103]);
    assert.match(answer.text, /MODIFY_SESSION/);
  }
  assert.equal((await victim.ask(56)).type, RESPONSE);
  await Promise.all([victim.close(), peer.close()]);
});
