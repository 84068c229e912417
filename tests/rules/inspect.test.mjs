// session.inspect: messages as they pass, and what the browser's tools are shown of requests.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { datatypes } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { fails, open, thrown, unique } from "./support/client.mjs";

const broker = await startBroker();
after(() => broker.stop());

/** A session with a handler that answers what it was asked. */
async function echo(t, path, given) {
  const session = await open(t, broker, given);
  await session.messaging.addRequestHandler(path, (request) => request);
  return session;
}

/** What is the same at every run. */
function essence({ direction, kind, service, path, type, ...rest }) {
  return [direction, kind, service, path, type, ...("value" in rest ? [rest.value] : [])];
}

test("messages are told as they pass, from both sides, without values unless they are asked for", async (t) => {
  const path = unique("inspect");
  const session = await echo(t, path);
  const [plain, full] = [[], []];
  session.inspect((message) => plain.push(message));
  session.inspect((message) => full.push(message), { values: true });
  const before = performance.now();
  assert.deepEqual(await session.messaging.sendRequestToPath(path, { a: 1 }), { a: 1 });
  assert.deepEqual(plain.map(essence), [
    ["out", "request", "MESSAGING_SEND", path, "json"],
    ["in", "request", "MESSAGING_RECEIVER_CLIENT", path, "json"],
    ["out", "response", "MESSAGING_RECEIVER_CLIENT", path, "json"],
    ["in", "response", "MESSAGING_SEND", path, "json"],
  ]);
  assert.deepEqual(
    full.map(({ value }) => value),
    Array(4).fill({ a: 1 }),
  );
  for (const { time, size, conversation } of plain) {
    assert.ok(time >= before && time <= performance.now());
    assert.ok(Number.isInteger(size) && size > 5 && size < 100);
    assert.ok(Number.isInteger(conversation) && conversation > 0);
  }
  assert.equal(plain[0].conversation, plain[3].conversation);
  assert.equal(plain[1].conversation, plain[2].conversation);
});

test("errors, pings, registrations and filters are told", async (t) => {
  const path = unique("inspect");
  const session = await open(t, broker);
  const told = [];
  session.inspect((message) => told.push(message), { values: true });
  const take = () => told.splice(0).map(essence);
  await fails(session.messaging.sendRequestToPath(path, 5n), {
    code: "UNHANDLED_MESSAGE",
    reason: 109,
    outcome: "refused",
  });
  assert.deepEqual(take(), [
    ["out", "request", "MESSAGING_SEND", path, "int64", 5n],
    ["in", "error", "MESSAGING_SEND", path, undefined],
  ]);
  await session.ping();
  assert.deepEqual(take(), [
    ["out", "request", "USER_PING", undefined, undefined],
    ["in", "response", "USER_PING", undefined, undefined],
  ]);
  await session.messaging.addRequestHandler(path, () => 1);
  assert.deepEqual(take(), [
    ["out", "request", "MESSAGING_RECEIVER_CONTROL_REGISTRATION", path, undefined],
    ["in", "response", "MESSAGING_RECEIVER_CONTROL_REGISTRATION", path, undefined],
  ]);
  session.messaging.addStreamHandler(path, () => "x", { addressed: true });
  const filter = `$SessionId is '${session.id}'`;
  for await (const { value } of session.messaging.gather(filter, path, true)) assert.equal(value, "x");
  // The answer may overtake the count.
  assert.deepEqual(
    new Set(take().map(String)),
    new Set(
      [
        ["out", "request", "MESSAGING_FILTER_SENDER", path, "json", true],
        ["in", "request", "MESSAGING_SEND", path, "json", true],
        ["out", "response", "MESSAGING_SEND", path, "json", "x"],
        ["in", "response", "MESSAGING_FILTER_SENDER", path, undefined],
        ["in", "request", "FILTER_RESPONSE", undefined, "json", "x"],
      ].map(String),
    ),
  );
});

test("what is a secret is not told", async (t) => {
  const session = await open(t, broker, { principal: "control", credentials: "password" });
  const told = [];
  session.inspect((message) => told.push(message), { values: true });
  assert.equal(await session.changePrincipal("admin", "password"), true);
  assert.equal(told.length, 2);
  assert.ok(!JSON.stringify(told).includes("password"));
});

test("each listener has messages of its own, an error of one disturbs nobody, and stopping ends it", async (t) => {
  const path = unique("inspect");
  const session = await echo(t, path);
  const reported = t.mock.method(console, "error", () => {});
  const told = [];
  const stops = [
    session.inspect((message) => {
      message.path = "changed";
      throw new Error("of the listener");
    }),
    session.inspect(({ path }) => told.push(path)),
  ];
  await session.messaging.sendRequestToPath(path, 1);
  assert.deepEqual(told, Array(4).fill(path));
  assert.equal(reported.mock.callCount(), 4);
  for (const stop of [...stops, ...stops]) stop();
  await session.messaging.sendRequestToPath(path, 1);
  assert.equal(told.length, 4);
  assert.ok(thrown(() => session.inspect("no function")) instanceof TypeError);
});

test("a listener may send requests of its own, and their order is kept", async (t) => {
  const path = unique("inspect");
  const session = await echo(t, path);
  const order = [];
  let first = true;
  const inner = new Promise((resolve) => {
    session.inspect((message) => {
      order.push(message.conversation);
      if (!first) return;
      first = false;
      resolve(session.messaging.sendRequestToPath(path, "inner"));
    });
  });
  assert.equal(await session.messaging.sendRequestToPath(path, "outer"), "outer");
  assert.equal(await inner, "inner");
  assert.equal(order.length, 8);
});

test("while somebody watches, requests are performance measures; otherwise not", async (t) => {
  const path = unique("measure");
  const session = await echo(t, path);
  const entries = () => performance.getEntriesByName(`antiphon ${path}`, "measure");
  await session.messaging.sendRequestToPath(path, 1);
  assert.equal(entries().length, 0);
  const stop = session.inspect(() => {});
  await session.messaging.sendRequestToPath(path, datatypes.INT64(1n));
  await assert.rejects(session.messaging.sendRequestToSession(path, session.id, 1));
  stop();
  await session.messaging.sendRequestToPath(path, 1);
  assert.deepEqual(
    entries().map(({ detail }) => detail),
    [
      { path, outcome: "ok" },
      { path, outcome: "UNHANDLED_MESSAGE" },
    ],
  );
  for (const { duration } of entries()) assert.ok(duration > 0 && duration < 10_000);
  performance.clearMeasures();
});

test("on a closed session it tells nothing, and stopping does no harm", async (t) => {
  const session = await open(t, broker);
  const stop = session.inspect(() => {});
  await session.close();
  stop();
  session.inspect(() => assert.fail("told"))();
});
