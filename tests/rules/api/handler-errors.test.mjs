// What handlers throw: what the sender is told, and what the console of the answering side shows.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MessagingError, RejectedRequestError } from "antiphon";
import { assertError, gate, open, rejection, unique } from "../support/client.mjs";
import { broker, never } from "./support.mjs";

/** What the console is given from now on: `[level, ...what]`. */
function watchConsole(t) {
  const said = [];
  for (const level of ["error", "warn", "info"])
    t.mock.method(console, level, (...what) => said.push([level, ...what]));
  return said;
}

test("J-7 the console shows what a handler threw, as it was thrown", async (t) => {
  const said = watchConsole(t);
  const session = await open(t, broker, { log: "error" });
  const path = unique("bug");
  const bug = new TypeError("there is no price");
  const failed = { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed" };
  const throwing = [
    () => {
      throw bug;
    },
    () => Promise.reject(bug),
  ];
  for (const handler of throwing) {
    const registration = await session.messaging.addRequestHandler(path, handler);
    assertError(await rejection(session.messaging.sendRequestToPath(path, 1)), { ...failed, message: bug.message });
    assert.deepEqual(said.splice(0), [["error", `antiphon: the request handler for ${path} failed:`, bug]]);
    await registration.close();
  }
  // An answer that cannot be sent is the handler's fault as well.
  await session.messaging.addRequestHandler(path, () => () => "a function");
  assertError(await rejection(session.messaging.sendRequestToPath(path, 1)), { ...failed, message: /function/ });
  const [[level, text, thrown]] = said;
  assert.deepEqual([level, text], ["error", `antiphon: the request handler for ${path} failed:`]);
  assert.ok(thrown instanceof MessagingError);
});

test("J-7 what a handler declined, and what its signal stopped, is no error of its own", async (t) => {
  const said = watchConsole(t);
  const session = await open(t, broker, { log: "trace" });
  const path = unique("fine");
  const stopped = gate();
  const handler = async (kind, { signal }) => {
    if (kind === "declined") throw new RejectedRequestError("no");
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    stopped.open();
    throw signal.reason;
  };
  await session.messaging.addRequestHandler(path, handler, { timeout: 20 });
  await rejection(session.messaging.sendRequestToPath(path, "declined"));
  await rejection(session.messaging.sendRequestToPath(path, "stopped"));
  await stopped.opened;
  await session.ping();
  assert.deepEqual(
    said.filter(([level]) => level !== "info"),
    [["warn", `antiphon: the request handler for ${path}: no response within 20 ms`]],
  );
});

test("J-1 the sender reads what was thrown, whatever it was", async (t) => {
  const session = await open(t, broker);
  const path = unique("thrown");
  const cycle = {};
  cycle.self = cycle;
  const things = [
    [new Error("a reason"), "a reason"],
    ["a text", "a text"],
    [undefined, "undefined"],
    [null, "null"],
    [7n, "7"],
    [{ status: 404, message: "no such document" }, "no such document"],
    [{ status: 404 }, '{"status":404}'],
    [[1, 2], "[1,2]"],
    [Object.create(null), "{}"],
    [cycle, "the request handler threw without a message"],
    [new Error(), "the request handler threw without a message"],
  ];
  await session.messaging.addRequestHandler(path, (index) => {
    throw things[index][0];
  });
  for (const [index, [, message]] of things.entries()) {
    const error = await rejection(session.messaging.sendRequestToPath(path, index));
    assertError(error, { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed", message });
  }
});

test("the warning of a handler that is lost names its path, and one that was never registered is not lost", async (t) => {
  const said = watchConsole(t);
  const session = await open(t, broker, { log: "warn" });
  const path = unique("conflict");
  await session.messaging.addRequestHandler(path, never);
  await rejection(session.messaging.addRequestHandler(path, never));
  await (await session.messaging.addRequestHandler(`${path}/b`, never)).close();
  await session.ping();
  assert.deepEqual(said, []);
});
