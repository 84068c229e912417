// Rule S-9: everything that was outstanding settles; closing, aborts, and answers that come when nobody waits.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ABORT, DELIVERY, text } from "../../support/wire.mjs";
import { assertError, fails, randomNumbers, rejection, seed, unique } from "../support/client.mjs";
import { connectPeer } from "../support/endpoint.mjs";
import {
  anotherBroker,
  broker,
  closedBy,
  closedUnanswered,
  closedUnsent,
  connectionLost,
  cutter,
  EVENTS,
  next,
  OTHER_ID,
  open,
  outstanding,
  record,
  rejectsEverywhere,
  scripted,
  soon,
} from "./support.mjs";

for (const [what, script, end, expected, code] of [
  ["no connection came about in time", [{}, null], () => {}, connectionLost, "CONNECTION_TIMEOUT"],
  ["the credentials are refused", [{}, { code: 116 }], () => {}, connectionLost, "ACCESS_DENIED"],
  ["the session is closed meanwhile", [{}, null], (session) => session.close(), closedUnanswered, "CLOSED_BY_CLIENT"],
  ["messages were lost", [{}, { code: 106 }], () => {}, connectionLost, undefined],
  ["the server has forgotten the session", [{}, { code: 117 }, { id: OTHER_ID }], () => {}, connectionLost, undefined],
]) {
  test(`S-9 everything that was outstanding when the connection went rejects with an Error when ${what}`, async (t) => {
    const server = await scripted(t, ...script);
    const timeout = code === "CONNECTION_TIMEOUT" ? 300 : 60_000;
    const session = await open(t, server, { reconnect: { timeout, ...soon } });
    const failing = outstanding(session).map((promise) => fails(promise, expected));
    await server.connections[0].next();
    const settled = code ? session.closed : next(session, "reconnect");
    await server.connections[0].cut();
    await server.connection(1);
    end(session);
    await Promise.all(failing);
    assert.equal((await settled).code, code);
    assert.equal(session.state, code ? "closed" : "connected");
  });
}

test("S-9 an abort of the server after a reconnection ends the session", async (t) => {
  const server = await scripted(t, {}, { code: 105, recovery: 1 });
  const session = await open(t, server);
  const failing = outstanding(session).map((promise) => fails(promise, closedUnanswered));
  await server.connections[0].cut();
  (await server.connection(1)).send({ type: ABORT });
  await Promise.all(failing);
  assert.equal((await session.closed).code, "CLOSED_BY_SERVER");
  assert.equal(server.connections.length, 2);
});

const CLOSING_MOMENTS = {
  "waits for the next attempt": { script: [{}], reconnect: { delay: () => 60_000 }, connections: 2 },
  "opens a connection": { script: [{}, null], at: (server) => server.connection(1), connections: 2 },
  "asks for credentials": {
    script: [{}],
    credentials: () => {
      let asked = 0;
      return () => {
        asked += 1;
        return asked === 1 ? "password" : new Promise(() => {});
      };
    },
  },
};

for (const [what, { script, reconnect = soon, at = () => {}, credentials, connections = 1 }] of Object.entries(
  CLOSING_MOMENTS,
)) {
  test(`S-15 close() while a session ${what} ends it, and nothing but a goodbye follows`, async (t) => {
    const server = await scripted(t, ...script);
    const session = await open(t, server, { reconnect, credentials: credentials?.() });
    const lost = next(session, "disconnect");
    await server.connections[0].cut();
    await lost;
    await at(server);
    await new Promise(setImmediate);
    const told = record(session);
    const closing = session.close();
    assert.equal(session.state, "closed");
    await Promise.all([closing, session.close()]);
    closedBy("CLOSED_BY_CLIENT")(told);
    const { code, byClient } = await session.closed;
    assert.deepEqual([code, byClient], ["CLOSED_BY_CLIENT", true]);
    await server.connections[1]?.closed;
    assert.equal(server.connections.length, connections, "one more at most, to say goodbye");
    await rejectsEverywhere(session, closedUnsent);
  });
}

for (const [moment, script] of [
  ["statechange", [{}, { code: 106 }]],
  ["disconnect", [{}, { code: 106 }]],
  ["messageloss", [{}, { code: 106 }]],
  ["reconnect", [{}, { code: 106 }]],
  ["delay", [{}, { code: 106 }]],
]) {
  test(`close() in the middle of "${moment}" closes once, and the session is never open after that`, async (t) => {
    const server = await scripted(t, ...script);
    let session;
    const delay = () => {
      if (moment === "delay") session.close();
      return 1;
    };
    session = await open(t, server, { reconnect: { delay } });
    const told = record(session);
    const states = [];
    for (const event of EVENTS) session.on(event, () => states.push(session.state));
    if (moment !== "delay") session.on(moment, () => session.close());
    await server.connections[0].cut();
    const { code } = await session.closed;
    assert.equal(code, "CLOSED_BY_CLIENT");
    assert.equal(told.filter(([event]) => event === "close").length, 1);
    assert.equal(told.at(-1)[0], "close");
    assert.ok(states.includes("closed"));
    assert.deepEqual(
      states.slice(states.indexOf("closed")).filter((state) => state !== "closed"),
      [],
    );
  });
}

test("10,000 aborts at random moments, with cuts between them, settle as they should", async (t) => {
  const start = seed();
  t.diagnostic(`ANTIPHON_SEED=${start}`);
  const random = randomNumbers(start);
  const between = await cutter(t);
  const [asker, answerer] = [await open(t, between), await open(t, broker)];
  const path = unique("aborts");
  const turn = () => new Promise(setImmediate);
  await answerer.messaging.addRequestHandler(path, async (number) => {
    if (number % 3 === 0) await turn();
    return number;
  });
  const counts = { answered: 0, aborted: 0, notConnected: 0 };
  const outcomes = [];
  for (let number = 0; number < 10_000; number += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    const reason = new Error(`abort ${number}`);
    const moment = Math.floor(random() * 5);
    if (moment === 0) controller.abort(reason);
    let settled = false;
    const whenDisconnected = random() < 0.5 ? "wait" : "fail";
    const sent = asker.messaging.sendRequestToPath(path, number, { signal, whenDisconnected });
    const outcome = sent.then(
      (value) => {
        assert.equal(value, number);
        counts.answered += 1;
      },
      (error) => {
        if (error.code === "NOT_CONNECTED") counts.notConnected += 1;
        else {
          assert.equal(error, reason);
          counts.aborted += 1;
        }
      },
    );
    outcomes.push(
      outcome.finally(() => {
        settled = true;
      }),
    );
    const abort = async (turns) => {
      for (let left = turns; left > 0; left -= 1) await turn();
      controller.abort(reason);
      for (let tick = 0; tick < 4; tick += 1) await null;
      assert.ok(settled, "in the same turn");
    };
    if (moment > 0 && moment < 4) outcomes.push(abort(moment - 1));
    if (random() < 0.004) between.cut();
    if (random() < 0.05) await turn();
  }
  await Promise.all(outcomes);
  t.diagnostic(JSON.stringify(counts));
  for (const count of Object.values(counts)) assert.ok(count > 0);
  while (asker.state !== "connected") await next(asker, "statechange");
  assert.equal(await asker.messaging.sendRequestToPath(path, "after"), "after");
});

test("answers given twice, late, or after the sender has gone change nothing for anybody", async (t) => {
  const impatient = await anotherBroker(t, "--request-timeout-for", "answers/late=100ms");
  const asker = await open(t, impatient);
  const peer = await connectPeer(impatient);
  await peer.register("answers");
  const ask = (request, from = asker) => from.messaging.sendRequestToPath(`answers/${request}`, request);
  const twice = ask("twice");
  const delivery = await peer.next({ service: DELIVERY });
  peer.respond(delivery, text("first"));
  peer.respond(delivery, text("second"));
  peer.fail(delivery, 9003, "third");
  assert.equal(await twice, "first");

  const late = rejection(ask("late"));
  const slow = await peer.next({ service: DELIVERY });
  assert.equal((await late).code, "REQUEST_TIME_OUT");
  peer.respond(slow, text("too late"));

  const leaver = await open(t, impatient);
  const left = rejection(ask("left", leaver));
  const orphan = await peer.next({ service: DELIVERY });
  await leaver.close();
  assertError(await left, closedUnanswered);
  peer.respond(orphan, text("nobody is there"));

  const last = ask("last");
  peer.respond(await peer.next({ service: DELIVERY }), text("last"));
  assert.equal(await last, "last");
  assert.equal(peer.isClosed, false);
  await peer.close();
});
