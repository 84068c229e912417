// Rule K-9 at the client's end: where it repeats what may have been handled, with a server that is scripted.

import assert from "node:assert/strict";
import { test } from "node:test";
import { BUSY, text } from "../../support/wire.mjs";
import { connectionLost, next, OTHER_ID, soon } from "../reconnection/support.mjs";
import { assertError, fails } from "../support/client.mjs";
import { SCRIPTED_ID } from "../support/endpoint.mjs";
import { ask, assertNoMore, busy, invalid, KNOWN, keyed, late, request } from "./repeating.mjs";
import { openScripted } from "./support.mjs";

/** Another session of the same broker: the first half of the ID is the broker's. */
const NEXT_ID = SCRIPTED_ID.replace(/1$/, "2");

/** What a backoff gives for an attempt that is to come when the test says so: in ms. */
const HELD = 77;

/** Holds those attempts; returns the function that lets them come. */
function held(t) {
  const { setTimeout } = globalThis;
  const attempts = [];
  const hold = (run, ms, ...given) => (ms === HELD ? attempts.push(run) : setTimeout(run, ms, ...given));
  const mocked = t.mock.method(globalThis, "setTimeout", hold);
  return () => {
    mocked.mock.restore();
    assert.notEqual(attempts.length, 0);
    for (const attempt of attempts) attempt();
  };
}

/** Loses the connection with what is under way; gives the next one, which is the session's by the time it is here. */
async function lose({ server, session, connection }, number = 1) {
  const back = next(session, "reconnect");
  connection.socket.terminate();
  const another = await server.connection(number);
  await back;
  return another;
}

// The broker of a key is known by the first half of the session's ID.
const ada = { principal: "ada", credentials: "password" };
for (const [what, response, options, isRepeated] of [
  ["in the same session, anonymous", { code: 106 }, {}, true],
  ["in the same session, of a principal", { code: 106 }, ada, true],
  ["in another session of the principal at the same broker", { id: NEXT_ID }, ada, true],
  ["in another anonymous session", { id: NEXT_ID }, {}, false],
  ["at another broker", { id: OTHER_ID }, ada, false],
]) {
  test(`K-9 what may have been handled is ${isRepeated ? "sent again" : "not sent again"} ${what}`, async (t) => {
    const script = [KNOWN, ...(response.id ? [{ code: 117 }] : []), { ...KNOWN, ...response }];
    const opened = await openScripted(t, script, { ...options, reconnect: soon });
    const sent = ask(opened.session, keyed);
    sent.catch(() => {});
    const first = await opened.connection.next(request);
    const again = await lose(opened, script.length - 1);
    if (isRepeated) {
      const second = await again.next(request);
      assert.deepEqual([second.headers, second.body], [first.headers, first.body]);
      again.respond(second, text("answer"));
      assert.equal(await sent, "answer");
    } else {
      await fails(sent, connectionLost);
      await assertNoMore(opened.session, again);
    }
  });
}

test("K-9 what was refused, or not sent, is sent again wherever the session is", async (t) => {
  const script = [KNOWN, { code: 117 }, { id: OTHER_ID, ...KNOWN }];
  const opened = await openScripted(t, script, { reconnect: soon });
  const due = held(t);
  const sent = ask(opened.session, { ...keyed, retry: { attempts: 2, backoff: () => HELD } });
  opened.connection.fail(await opened.connection.next(request), 10001);
  await assertNoMore(opened.session, opened.connection);
  const again = await lose(opened, 2);
  due();
  again.respond(await again.next(request), text("answer"));
  assert.equal(await sent, "answer");
});

test("K-9 what may have been handled is not sent again as another principal", async (t) => {
  for (const isChanged of [true, false]) {
    const { session, connection } = await openScripted(t, KNOWN, ada);
    const sent = ask(session, keyed);
    const first = await connection.next(request);
    const changing = session.changePrincipal("bob", "password");
    connection.fail(first, 102);
    await fails(sent, late);
    // Which principal it is sent as is not known either before the answer is here.
    const between = ask(session, keyed);
    const second = await connection.next(request);
    connection.respond(await connection.next({ service: 5 }), Buffer.of(isChanged ? 1 : 0));
    assert.equal(await changing, isChanged);
    connection.fail(second, 102);
    await fails(between, late);
    const after = ask(session, keyed);
    connection.fail(await connection.next(request), 102);
    connection.respond(await connection.next(request), text("answer"));
    assert.equal(await after, "answer");
  }
});

test("K-9 what may have been handled waits for a connection, and is sent if the key is known there", async (t) => {
  for (const [response, given, isRepeated] of [
    [{ code: 106 }, {}, true],
    [{ id: OTHER_ID }, ada, false],
  ]) {
    const script = [KNOWN, ...(response.id ? [{ code: 117 }] : []), { ...KNOWN, ...response }];
    const opened = await openScripted(t, script, { ...given, reconnect: { delay: () => 60_000 } });
    const { server, session, connection } = opened;
    const due = held(t);
    // With `wait` the client would send it to whoever is the broker then.
    const sent = ask(session, { ...keyed, retry: { attempts: 2, backoff: () => HELD }, whenDisconnected: "wait" });
    sent.catch(() => {});
    connection.fail(await connection.next(request), 102);
    await assertNoMore(session, connection);
    const lost = next(session, "disconnect");
    connection.socket.terminate();
    await lost;
    due();
    const back = next(session, "reconnect");
    session.reconnect();
    if (response.id) {
      await server.connection(1);
      session.reconnect();
    }
    const again = await server.connection(script.length - 1);
    await back;
    if (isRepeated) {
      again.respond(await again.next(request), text("answer"));
      assert.equal(await sent, "answer");
    } else {
      await fails(sent, late);
      await assertNoMore(session, again);
    }
  }
});

test("K-9 what may have been handled keeps that outcome when no connection comes in time, or the session closes", async (t) => {
  const given = { ...ada, reconnect: { delay: () => 60_000 } };
  for (const isClosed of [false, true]) {
    const { session, connection } = await openScripted(t, [KNOWN, null], given);
    const due = held(t);
    const retry = { attempts: 2, backoff: () => HELD };
    const timeout = isClosed ? 0 : 300;
    const sent = [
      ask(session, { ...keyed, retry, timeout, whenDisconnected: "wait" }),
      ask(session, { ...keyed, retry, timeout }),
      ask(session, { retry, timeout }),
    ];
    const failed = [fails(sent[0], late), fails(sent[1], late), fails(sent[2], busy)];
    for (const reason of [102, 102, 10001]) connection.fail(await connection.next(request), reason);
    await assertNoMore(session, connection);
    const lost = next(session, "disconnect");
    connection.socket.terminate();
    await lost;
    due();
    // To the goodbye there is no answer, for which the session waits longer.
    const told = Promise.all(failed).then(() => "told");
    assert.equal(await Promise.race([told, ...(isClosed ? [session.close()] : [])]), "told");
  }
});

test("K-9 what may have been handled keeps that outcome when it is due while the session says goodbye", async (t) => {
  const { session, connection } = await openScripted(t, [KNOWN, null], { reconnect: { delay: () => 60_000 } });
  const due = held(t);
  const failed = fails(ask(session, { ...keyed, retry: { attempts: 2, backoff: () => HELD } }), late);
  connection.fail(await connection.next(request), 102);
  await assertNoMore(session, connection);
  const lost = next(session, "disconnect");
  connection.socket.terminate();
  await lost;
  const closed = session.close();
  due();
  await failed;
  await closed;
});

test("K-9 what may have been handled is not sent again when the broker may have forgotten the key", async (t) => {
  const { session, connection } = await openScripted(t, KNOWN);
  const now = performance.now.bind(performance);
  let later = 0;
  t.mock.method(performance, "now", () => now() + later);
  for (const [passed, isRepeated] of [
    [119_000, true],
    [120_000, false],
  ]) {
    later = 0;
    const backoff = () => {
      later = passed;
      return 0;
    };
    const sent = ask(session, { ...keyed, timeout: 0, retry: { attempts: 3, backoff } });
    connection.fail(await connection.next(request), 102);
    if (isRepeated) connection.respond(await connection.next(request), text("answer"));
    const outcome = await sent.catch((error) => assertError(error, late).code);
    assert.equal(outcome, isRepeated ? "answer" : "REQUEST_TIME_OUT");
  }
  await assertNoMore(session, connection);
});

test("K-9 a broker that knows no keys gets none, at the first attempt or later", async (t) => {
  const { session, connection } = await openScripted(t, { features: BUSY });
  await fails(ask(session, keyed), invalid);
  await assertNoMore(session, connection);
});
