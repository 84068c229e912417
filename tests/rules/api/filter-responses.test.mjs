// Callbacks and handlers of filter responses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { filterFor, gate } from "../support/client.mjs";
import { crowd, untilThrown } from "./support.mjs";

test("onResponse takes the responses of its call alone", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2]);
  const filter = filterFor(...sessions);
  const heard = { handler: 0, own: 0 };
  const count = (who) => () => {
    heard[who] += 1;
  };
  asker.messaging.addFilterResponseHandler(filter, count("handler"));
  const both = gate();
  await asker.messaging.sendRequestToFilter(filter, "g", null, { onResponse: count("own") });
  await asker.messaging.sendRequestToFilter(filter, "g", null, {
    onResponse: { handle: (_, { received }) => received === 2 && both.open() },
  });
  await both.opened;
  assert.deepEqual(heard, { handler: 0, own: 2 });
});

test("a callback that throws or rejects is reported, and keeps nothing from arriving", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2, 3]);
  const reported = [];
  // Where there is no reportError, the console is told.
  if (typeof reportError === "function") t.mock.method(globalThis, "reportError", (error) => reported.push(error));
  else t.mock.method(console, "error", (error) => reported.push(error));
  const heard = [];
  const all = gate();
  const onResponse = ({ value }) => {
    heard.push(value);
    if (heard.length === 3) all.open();
    if (value === 1) throw new Error("thrown");
    if (value === 2) return Promise.reject(new Error("rejected"));
  };
  await asker.messaging.sendRequestToFilter(filterFor(...sessions), "g", null, { onResponse });
  await all.opened;
  await new Promise(setImmediate);
  assert.deepEqual(heard.sort(), [1, 2, 3]);
  assert.deepEqual(reported.map(({ message }) => message).sort(), ["rejected", "thrown"]);
  assert.ok((await asker.ping()) >= 0);
});

test("a callback may send, close its registration and close the session", async (t) => {
  const { asker, sessions } = await crowd(t, [1, 2]);
  const filter = filterFor(...sessions);
  const again = gate();
  let calls = 0;
  const registration = asker.messaging.addFilterResponseHandler(filter, () => {
    calls += 1;
    registration.close();
    again.open(asker.messaging.sendRequestToSession("g", sessions[0].id, null));
  });
  await asker.messaging.sendRequestToFilter(filter, "g", null);
  assert.equal(await again.opened, 1);
  await asker.ping();
  assert.equal(calls, 1);
  await asker.messaging.sendRequestToFilter(filter, "g", null, { onResponse: () => asker.close() });
  assert.equal((await asker.closed).code, "CLOSED_BY_CLIENT");
});

test("the timeout of a filter request bounds the listening, and later responses are dropped", async (t) => {
  const late = gate();
  const { asker, sessions } = await crowd(t, [1, () => late.opened.then(() => 2)]);
  const heard = [];
  const given = { timeout: 500, onResponse: ({ value }) => heard.push(value) };
  assert.equal(await asker.messaging.sendRequestToFilter(filterFor(...sessions), "g", null, given), 2);
  // One that was sent later times out later.
  await untilThrown(asker.messaging.gather(filterFor(...sessions), "g", null, { timeout: 500 }));
  late.open();
  await sessions[1].ping();
  await asker.ping();
  assert.deepEqual(heard, [1]);
});
