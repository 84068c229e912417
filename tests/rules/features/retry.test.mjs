// Rule K-8 at the client's end: requests that it repeats by itself, with a server that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUSY, CANCEL, CANCELLING, DEADLINES, IDEMPOTENCY, SEND_TO_FILTER, text, varint } from "../../support/wire.mjs";
import { fails, rejection } from "../support/client.mjs";
import { ask, assertNoMore, atOnce, busy, invalid, keyed, late, request, send } from "./repeating.mjs";
import { openScripted } from "./support.mjs";

const KNOWN = { features: BUSY | IDEMPOTENCY | DEADLINES };
const timedOut = { code: "TIMED_OUT", outcome: "unknown" };

/** The message of the last error of so many attempts. */
const made = (message, attempts) => (attempts > 1 ? `${message} (${attempts} attempts)` : message);

test("K-8 a request that is refused as BUSY is sent again as it was, and its handler's answer is the outcome", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  for (const [service, ask] of Object.entries(send)) {
    const attempts = [];
    const backoff = (attempt) => {
      attempts.push(attempt);
      return 0;
    };
    const sent = ask(session, { retry: { attempts: 3, backoff } });
    const first = await connection.next({ service: Number(service) });
    connection.fail(first, 10001);
    const second = await connection.next({ service: Number(service) });
    connection.fail(second, 10001);
    const third = await connection.next({ service: Number(service) });
    const isFilter = Number(service) === SEND_TO_FILTER;
    for (const again of [second, third]) {
      assert.notEqual(again.conversation, first.conversation);
      assert.deepEqual(again.headers, undefined);
      // The conversation of a request to a filter is in its body.
      if (!isFilter) assert.deepEqual(again.body, first.body);
    }
    connection.respond(third, isFilter ? Buffer.of(0, ...varint(0)) : text("answer"));
    assert.equal(await sent, isFilter ? 0 : "answer");
    assert.deepEqual(attempts, [1, 2]);
  }
});

test("K-8 what is sent again is what was there at the call", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const order = { tea: 1 };
  const bytes = Uint8Array.of(1, 2, 3);
  const sent = [order, bytes].map((value) => session.messaging.sendRequestToPath("a", value, { retry: atOnce }));
  order.tea = 2;
  bytes.fill(9);
  const firsts = [await connection.next(request), await connection.next(request)];
  // What is encoded meanwhile does not take the place of their bytes.
  const other = session.messaging.sendRequestToPath("b", "x".repeat(100));
  connection.respond(await connection.next(request), text("other"));
  for (const first of firsts) {
    connection.fail(first, 10001);
    const again = await connection.next(request);
    assert.deepEqual(again.body, first.body);
    connection.respond(again, text("answer"));
  }
  assert.deepEqual(await Promise.all([...sent, other]), ["answer", "answer", "other"]);
});

test("K-8 attempts are all that are made, and the last error is the outcome", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  for (const attempts of [1, 2, 5]) {
    const sent = ask(session, { retry: { ...atOnce, attempts } });
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      connection.fail(await connection.next(request), 10001, `busy ${attempt}`);
    }
    await fails(sent, { ...busy, message: made(`busy ${attempts}`, attempts) });
    await assertNoMore(session, connection);
  }
});

test("K-8 without a backoff the client waits at random, and not for long", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const expected = [50, 100, 200, 400, 800, 1600, 2500, 2500];
  const waits = [];
  t.mock.method(Math, "random", () => 0.5);
  const { setTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (run, ms, ...given) => {
    waits.push(ms);
    return setTimeout(run, expected.includes(ms) ? 0 : ms, ...given);
  });
  const sent = ask(session, { retry: { attempts: 9 }, timeout: 60_000 });
  for (let attempt = 1; attempt <= 9; attempt += 1) connection.fail(await connection.next(request), 10001);
  await fails(sent, busy);
  assert.deepEqual(
    waits.filter((ms) => expected.includes(ms)),
    expected,
  );
});

test("K-8 what may have been handled is sent again with its key, and not without one", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const sent = ask(session, keyed);
  connection.fail(await connection.next(request), 102);
  const again = await connection.next(request);
  assert.deepEqual(again.headers, { idempotencyKey: "key" });
  connection.respond(again, text("answer"));
  assert.equal(await sent, "answer");

  const bare = ask(session, { retry: atOnce });
  connection.fail(await connection.next(request), 102);
  await fails(bare, late);
  await assertNoMore(session, connection);
});

// Of those whose outcome is not known, the broker says the same under the same key.
test("K-8 what would come to the same again is not sent again, nor waited for", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const retry = { attempts: 3, backoff: () => assert.fail("there is no other attempt") };
  const reasons = [100, 101, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 200, 201, 202, 9003, 10002, 12345];
  for (const reason of reasons) {
    const sent = rejection(ask(session, { ...keyed, retry }));
    connection.fail(await connection.next(request), reason);
    assert.equal((await sent).reason, reason);
  }
  await fails(session.messaging.sendRequestToPath("a", 1n << 70n, keyed), {
    code: "INVALID_DATA",
    outcome: "not-sent",
  });
  const large = session.messaging.sendRequestToPath("a", new Uint8Array(2 ** 25), keyed);
  await fails(large, { code: "MESSAGE_TOO_LARGE", outcome: "not-sent" });
  await assertNoMore(session, connection);
});

test("K-8 all attempts share the request's time, and say what is left of it", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const sent = ask(session, { timeout: 1500, retry: { attempts: 3, backoff: () => 100 } });
  const start = performance.now();
  const lefts = [];
  for (let attempt = 1; attempt <= 3; attempt += 1) {
    const message = await connection.next(request);
    lefts.push(message.headers.timeLeft);
    if (attempt < 3) connection.fail(message, 10001);
  }
  // Of the whole.
  await fails(sent, { ...timedOut, message: "no response within 1500 ms (3 attempts)" });
  const took = performance.now() - start;
  assert.ok(took > 1450 && took < 3000, `${took} ms`);
  assert.equal(lefts[0], 1500);
  assert.ok(lefts[1] <= 1400 && lefts[2] <= 1300 && lefts[2] > 0, `${lefts}`);
});

test("K-8 no attempt that would come too late is waited for", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  for (const [timeout, delay] of [
    [60_000, 60_000],
    [60_000, Infinity],
    [0, Infinity],
    // Timers cannot be set to this, and ring at once instead.
    [0, 2 ** 31],
  ]) {
    const sent = ask(session, { timeout, retry: { attempts: 3, backoff: () => delay } });
    connection.fail(await connection.next(request), 10001);
    await fails(sent, busy);
  }
});

test("K-8 a signal ends it, between attempts and within one", async (t) => {
  const { session, connection } = await openScripted(t, { features: KNOWN.features | CANCELLING });
  const reason = new Error("enough");
  const between = new AbortController();
  const backoff = () => {
    setImmediate(() => between.abort(reason));
    return 10;
  };
  const first = rejection(ask(session, { signal: between.signal, retry: { attempts: 3, backoff } }));
  connection.fail(await connection.next(request), 10001);
  assert.equal(await first, reason);
  const within = new AbortController();
  const second = rejection(ask(session, { ...keyed, signal: within.signal }));
  connection.fail(await connection.next(request), 102);
  const again = await connection.next(request);
  within.abort(reason);
  assert.equal(await second, reason);
  const { body } = await connection.next({ service: CANCEL });
  assert.deepEqual(body, Buffer.of(...varint(again.conversation), 0));
  await assertNoMore(session, connection);
});

test("K-8 a backoff that gives no time is an error with the outcome of the last attempt", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const broken = new Error("broken");
  for (const backoff of [
    () => {
      throw broken;
    },
    () => -1,
    () => Number.NaN,
    () => "soon",
    () => 5n,
    async () => 5,
  ]) {
    for (const [reason, outcome] of [
      [10001, "refused"],
      [102, "unknown"],
    ]) {
      const sent = ask(session, { ...keyed, retry: { attempts: 3, backoff } });
      connection.fail(await connection.next(request), reason);
      const error = await fails(sent, {
        code: "INVALID_ARGUMENT",
        outcome,
        message: /^(retry\.backoff must be|broken)/,
      });
      assert.equal(error.cause === broken, error.message === "broken");
    }
  }
});

test("K-8 what waits for its next attempt is rejected as it is when the session closes", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const retry = { attempts: 3, backoff: () => 60_000 };
  const sent = [ask(session, { timeout: 0, retry }), ask(session, { timeout: 0, ...keyed, retry })];
  const failed = [fails(sent[0], busy), fails(sent[1], late)];
  connection.fail(await connection.next(request), 10001);
  connection.fail(await connection.next(request), 102);
  await assertNoMore(session, connection);
  await session.close();
  await Promise.all(failed);
});

test("K-8 what is under way when the session closes is not sent again", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const sent = fails(ask(session, keyed), { code: "SESSION_CLOSED", outcome: "unknown" });
  await connection.next(request);
  // It hears no goodbye, so that there is time for another attempt while the session closes.
  connection.socket.pause();
  await session.close();
  await sent;
});

test("K-8 options that say nothing that can be done are refused", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  for (const retry of [
    3,
    true,
    {},
    { attempts: 0 },
    { attempts: "3" },
    { attempts: Number.NaN },
    { attempts: 2, backoff: 5 },
    { attempts: 2, delay: () => 5 },
    {
      get attempts() {
        throw new Error("no");
      },
    },
  ]) {
    for (const ask of Object.values(send)) await fails(ask(session, { retry }), invalid);
  }
  await assertNoMore(session, connection);
  for (const retry of [undefined, null]) {
    const sent = ask(session, { retry });
    connection.fail(await connection.next(request), 10001);
    await fails(sent, busy);
  }
});

test("K-8 a gathering is repeated as other requests to a filter are", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const gathering = session.messaging.gather("all", "a", "question", { retry: atOnce });
  connection.fail(await connection.next({ service: SEND_TO_FILTER }), 10001);
  connection.respond(await connection.next({ service: SEND_TO_FILTER }), Buffer.of(0, ...varint(0)));
  assert.equal(await gathering.expected, 0);
});

test("K-8 nothing is sent any more when the time is over, however late the timer is", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const timeout = 1000;
  const end = performance.now() + timeout + 50;
  const backoff = () => {
    // Nothing else runs until the time is over, which was not when this was asked.
    queueMicrotask(() => {
      while (performance.now() < end);
    });
    return 40;
  };
  const sent = rejection(ask(session, { timeout, retry: { attempts: 5, backoff } }));
  connection.fail(await connection.next(request), 10001);
  const { code, reason, outcome } = await sent;
  assert.deepEqual({ code, reason, outcome }, busy);
  await assertNoMore(session, connection);
});

test("T-4 a request within one that has no time left is not sent", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const { signal } = new AbortController();
  await fails(ask(session, { within: { signal, timeLeft: 0 } }), { code: "TIMED_OUT", outcome: "not-sent" });
  await assertNoMore(session, connection);
});
