// The options of reconnecting: delays, time limits, credentials.

import assert from "node:assert/strict";
import { test } from "node:test";
import { cutter, next, open, scripted } from "./support.mjs";

test("`reconnect.delay` that throws or says nothing sensible is replaced by our own choice", async (t) => {
  const said = [];
  t.mock.method(console, "error", (error) => said.push(error));
  const broken = new Error("broken");
  const nonsense = [Number.NaN, -1, "soon", undefined, null, {}, Symbol("s"), () => 1, [3, 4], Promise.resolve(1), 0n];
  for (const result of [broken, ...nonsense]) {
    const server = await scripted(t, {}, { code: 105, recovery: 1 });
    const delay = () => {
      if (result === broken) throw broken;
      return result;
    };
    const session = await open(t, server, { reconnect: { delay } });
    const back = next(session, "reconnect");
    await server.connections[0].cut();
    assert.deepEqual(await back, { lossless: true, newSession: false });
    await session.close();
  }
  assert.equal(said[0], broken, "and the application is told of what it threw");
});

test("without `reconnect.delay` the delays are random, from none at all on", async (t) => {
  const between = await cutter(t);
  const drawn = t.mock.method(Math, "random", () => 0);
  const session = await open(t, between, { reconnect: {} });
  between.shut();
  while (between.accepted() < 20) await new Promise(setImmediate);
  assert.ok(drawn.mock.callCount() >= 18);
  const back = next(session, "reconnect");
  between.open();
  await back;
});

test("`reconnect.delay` says how long to wait; a delay beyond the time left waits for its end", async (t) => {
  const server = await scripted(t, {}, null);
  const session = await open(t, server, { reconnect: { timeout: 100, delay: () => Infinity } });
  const start = performance.now();
  await server.connections[0].cut();
  assert.equal((await session.closed).code, "CONNECTION_TIMEOUT");
  assert.ok(performance.now() - start >= 95);
  assert.equal(server.connections.length, 1);
});

test("an attempt that is not answered within `connectTimeout` is given up, and there is another", async (t) => {
  const server = await scripted(t, {}, null, null, { code: 105, recovery: 1 });
  const session = await open(t, server, { connectTimeout: 500 });
  const back = next(session, "reconnect");
  await server.connections[0].cut();
  await back;
  const [, second, third, fourth] = server.connections;
  for (const given of [third.at - second.at, fourth.at - third.at])
    assert.ok(given >= 490 && given < 1350, `${given} ms`);
  await Promise.all([second.closed, third.closed]);
});

test("a credentials function is asked at every connection, and fails only that attempt", async (t) => {
  const server = await scripted(t, {}, { code: 119 }, { code: 105, recovery: 1 });
  const asked = [
    "first",
    () => {
      throw new Error("not now");
    },
    Promise.reject(new Error("nor now")),
    7,
    new TextEncoder().encode("bytes"),
    new Promise(() => {}),
    Promise.resolve("last"),
  ];
  asked[2].catch(() => {});
  const total = asked.length;
  const credentials = () => {
    const answer = asked.shift();
    return typeof answer === "function" ? answer() : answer;
  };
  const session = await open(t, server, { credentials, connectTimeout: 500 });
  const back = next(session, "reconnect");
  await server.connections[0].cut();
  assert.deepEqual(await back, { lossless: true, newSession: false });
  assert.equal(asked.length, 0, `of ${total}`);
  const passwords = server.connections.map(({ query }) => Buffer.from(query.password, "base64").toString("latin1"));
  assert.deepEqual(passwords, ["\x01\x05first", "\x02\x05bytes", "\x01\x04last"]);
});
