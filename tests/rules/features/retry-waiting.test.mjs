// Rule K-8 at the client's end: requests that it repeats while there is no connection, with a server that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { next, notConnected } from "../reconnection/support.mjs";
import { assertError, fails, rejection } from "../support/client.mjs";
import { ask, assertNoMore, atOnce, busy, KNOWN, keyed, request, send } from "./repeating.mjs";
import { openScripted } from "./support.mjs";

/** A session without a connection, which has one again when it is asked to. */
async function openLost(t, last = { code: 106, ...KNOWN }) {
  const opened = await openScripted(t, [KNOWN, last], { reconnect: { delay: () => 60_000 } });
  await lose(opened);
  return opened;
}

/** Loses the connection. */
async function lose({ session, connection }) {
  const lost = next(session, "disconnect");
  connection.socket.terminate();
  await lost;
}

/** Gives the session a connection again: that with this number. */
async function regain({ server, session }, number) {
  const back = next(session, "reconnect");
  session.reconnect();
  const connection = await server.connection(number);
  await back;
  return connection;
}

test("K-8 what was not sent is no attempt: it is sent as soon as there is a connection, as often as attempts say", async (t) => {
  const opened = await openLost(t);
  const attempts = [];
  const backoff = (attempt) => {
    attempts.push(attempt);
    return 0;
  };
  const sent = Object.values(send).map((ask) => ask(opened.session, { retry: { attempts: 2, backoff } }));
  const failed = sent.map((each) => fails(each, busy));
  const again = await regain(opened, 1);
  for (let attempt = 1; attempt <= 2; attempt += 1) {
    for (const service of Object.keys(send)) again.fail(await again.next({ service: Number(service) }), 10001);
  }
  await Promise.all(failed);
  assert.deepEqual(attempts, [1, 1, 1]);
});

test("K-8 without repeats nothing waits for a connection", async (t) => {
  const { session } = await openLost(t);
  await fails(ask(session, { retry: { ...atOnce, attempts: 1 } }), notConnected);
  await fails(ask(session, {}), notConnected);
});

test("K-8 the wait for a connection ends with the request's time, its signal, and the session", async (t) => {
  const opened = await openLost(t);
  const { session } = opened;
  const start = performance.now();
  await fails(ask(session, { timeout: 100, retry: atOnce }), notConnected);
  const took = performance.now() - start;
  assert.ok(took > 90 && took < 2000, `${took} ms`);
  const [reason, aborting] = [new Error("enough"), new AbortController()];
  const aborted = rejection(ask(session, { signal: aborting.signal, retry: atOnce }));
  aborting.abort(reason);
  assert.equal(await aborted, reason);
  await assertNoMore(session, await regain(opened, 1));

  // To the goodbye there is no answer, for which the session waits longer.
  const { session: another } = await openLost(t, null);
  const waiting = rejection(ask(another, { timeout: 0, retry: atOnce }));
  const closed = another.close();
  assertError(await Promise.race([waiting, closed]), notConnected);
  await closed;
});

test("K-8 nothing is left of a request that is given up, or whose session ends, while it waits", async (t) => {
  const { setTimeout, clearTimeout } = globalThis;
  const [hour, timers] = [3_600_000, new Set()];
  t.mock.method(globalThis, "setTimeout", (run, ms, ...given) => {
    const timer = setTimeout(run, ms, ...given);
    if (ms > hour / 2) timers.add(timer);
    return timer;
  });
  t.mock.method(globalThis, "clearTimeout", (timer) => {
    timers.delete(timer);
    clearTimeout(timer);
  });
  const { session, connection } = await openScripted(t, [KNOWN, null], { reconnect: { delay: () => 60_000 } });
  const aborting = new AbortController();
  const retry = { attempts: 3, backoff: () => hour };
  const wait = (signal) => ask(session, { signal, timeout: 2 * hour, retry });
  const outcomes = [wait(aborting.signal), wait()];
  for (const _ of outcomes) connection.fail(await connection.next(request), 10001);
  await assertNoMore(session, connection);
  await lose({ session, connection });
  outcomes.push(wait(aborting.signal), wait());
  assert.equal(timers.size, 4);
  aborting.abort(new Error("enough"));
  assert.equal(timers.size, 2);
  const closed = session.close();
  const ends = (await Promise.all(outcomes.map(rejection))).map(({ code, message }) => code ?? message);
  assert.deepEqual(ends, ["enough", "BUSY", "enough", "NOT_CONNECTED"]);
  assert.equal(timers.size, 0);
  await closed;
});

test("K-8 what is under way when a session without a connection closes fails at once", async (t) => {
  // To the goodbye there is no answer, for which the session waits.
  const { session, connection } = await openScripted(t, [KNOWN, null], { reconnect: { delay: () => 60_000 } });
  const sent = rejection(ask(session, keyed));
  await connection.next(request);
  await lose({ session, connection });
  const closed = session.close();
  const first = await Promise.race([sent, closed]);
  assertError(first, { code: "SESSION_CLOSED", outcome: "unknown" });
  await closed;
});
