// Contracts: schemas for the requests and responses of a path.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConnectError, connect, datatypes } from "antiphon";
import { WebSocket } from "ws";
import { fails, open, rejection, unique } from "../support/client.mjs";
import { broker, invalid, unhandled } from "./support.mjs";

const schema = (validate) => ({ "~standard": { version: 1, vendor: "test", validate } });
const isNumber = schema((value) =>
  typeof value === "number"
    ? { value: value * 1000 }
    : { issues: [{ message: "not a number", path: ["a", { key: 0 }] }] },
);
const later = schema(async (value) => isNumber["~standard"].validate(value));
const throwing = schema(() => {
  throw new Error("kaputt");
});

/** A session with a contract for one path, another without, and the path. */
async function agreed(t, sides) {
  const path = unique("contract");
  const checked = await open(t, broker, { contract: { [path]: sides } });
  return { path, checked, free: await open(t, broker) };
}

for (const [what, request] of Object.entries({ "": isNumber, " of a schema that throws": throwing })) {
  test(`a request that breaks its contract${what} is INVALID_DATA and not sent`, async (t) => {
    const { path, checked, free } = await agreed(t, { request });
    let calls = 0;
    await free.messaging.addRequestHandler(path, () => {
      calls += 1;
    });
    const error = await fails(checked.messaging.sendRequestToPath(path, "text"), {
      code: "INVALID_DATA",
      outcome: "not-sent",
    });
    assert.match(error.message, request === isNumber ? /a: 0: not a number/ : /kaputt/);
    assert.equal(calls, 0);
  });
}

test("a request whose contract must be waited for is an invalid argument: sends happen at the call", async (t) => {
  const { path, checked } = await agreed(t, { request: later });
  await fails(checked.messaging.sendRequestToPath(path, 1), invalid);
});

for (const [what, response] of Object.entries({ "": isNumber, ", later,": later, ", by throwing,": throwing })) {
  test(`a response that breaks its contract${what} is INVALID_DATA and failed`, async (t) => {
    const { path, checked, free } = await agreed(t, { response });
    await free.messaging.addRequestHandler(path, () => "text");
    await fails(checked.messaging.sendRequestToPath(path, 1), { code: "INVALID_DATA", outcome: "failed" });
  });
}

for (const [what, side] of Object.entries({ "": isNumber, ", later": later, ", by throwing": throwing })) {
  test(`a handler's contract is checked for the request (106) and for its own answer (105)${what}`, async (t) => {
    const calls = [];
    const handler = (request) => {
      calls.push(request);
      return "text";
    };
    const requests = await agreed(t, { request: side });
    await requests.checked.messaging.addRequestHandler(requests.path, handler);
    await fails(requests.free.messaging.sendRequestToPath(requests.path, "text"), {
      code: "INVALID_DATA",
      reason: 106,
      outcome: "unknown",
    });
    assert.deepEqual(calls, []);
    const answers = await agreed(t, { response: side });
    await answers.checked.messaging.addRequestHandler(answers.path, { handle: (_, { request }) => handler(request) });
    await fails(answers.free.messaging.sendRequestToPath(answers.path, "text"), {
      code: "CALLBACK_EXCEPTION",
      reason: 105,
      outcome: "failed",
    });
    assert.deepEqual(calls, ["text"]);
  });
}

test("contracts replace no value, and hold for their exact paths only", async (t) => {
  const { path, checked, free } = await agreed(t, { request: isNumber, response: isNumber });
  const seen = [];
  const registration = await checked.messaging.addRequestHandler(path, (request) => {
    seen.push(request);
    return request;
  });
  assert.equal(await free.messaging.sendRequestToPath(path, 5), 5);
  assert.equal(await free.messaging.sendRequestToPath(`${path}/below`, "text"), "text");
  await registration.close();
  await free.messaging.addRequestHandler(path, (request) => request + 1);
  assert.equal(await checked.messaging.sendRequestToPath(path, 5), 6);
  assert.equal(await checked.messaging.sendRequestToPath(path, datatypes.DOUBLE(5)), 6);
  assert.equal(await checked.messaging.sendRequestToPath(`${path}/below`, "text"), "text1");
  assert.deepEqual(seen, [5, "text"]);
  for (const inherited of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    await fails(checked.messaging.sendRequestToPath(inherited, 1), unhandled);
  }
});

test("with a contract a request is sent at the call too", async (t) => {
  const { path, checked, free } = await agreed(t, { request: schema((value) => ({ value })) });
  await free.messaging.addRequestHandler(path, (request) => request);
  const request = { a: [1] };
  const sent = checked.messaging.sendRequestToPath(path, request);
  request.a.push(2);
  request.b = 3;
  assert.deepEqual(await sent, { a: [1] });
});

test("with a contract a handler that cannot be looked at rejects, and nothing throws", async (t) => {
  const { path, checked } = await agreed(t, { request: isNumber });
  const unreadable = {
    get handle() {
      throw new Error("do not look");
    },
  };
  const unreadableType = {
    handle: () => 1,
    get requestType() {
      throw new Error("do not look");
    },
  };
  for (const handler of [undefined, null, 7, {}, unreadable, unreadableType]) {
    await fails(checked.messaging.addRequestHandler(path, handler), invalid);
  }
});

test("with a contract a path that is no text rejects, and is not made one", async (t) => {
  const { checked } = await agreed(t, { request: isNumber });
  const noText = { toString: () => assert.fail("looked at") };
  for (const bad of [undefined, null, 7, Symbol("x"), noText]) {
    await fails(
      checked.messaging.addRequestHandler(bad, () => 1),
      invalid,
    );
    await fails(checked.messaging.sendRequestToPath(bad, 1), invalid);
  }
});

test("with a contract handlers are called, and their types read, as without", async (t) => {
  const { path, checked, free } = await agreed(t, {});
  const handler = Object.assign(() => "function", { handle: () => "object", requestType: "int64" });
  for (const session of [free, checked]) {
    const registration = await session.messaging.addRequestHandler(path, handler);
    assert.equal(await free.messaging.sendRequestToPath(path, "text"), "function");
    await registration.close();
  }
});

test("a contract that cannot be read is refused, not ignored", async (t) => {
  const unreadable = {
    get contract() {
      throw new Error("do not look");
    },
  };
  // Defined anew, since a copy would read it.
  const given = Object.defineProperties(
    { webSocket: WebSocket, log: "off" },
    Object.getOwnPropertyDescriptors(unreadable),
  );
  const error = await rejection(
    connect(broker.url, given).then((session) => {
      t.after(() => session.close());
    }),
  );
  assert.deepEqual([error.name, error.code], ["ConnectError", "INVALID_ARGUMENT"]);
});

test("what is no contract is refused when a session is opened", async (t) => {
  for (const contract of [
    7,
    "x",
    null,
    [7],
    { a: { request: 7 } },
    { a: { response: {} } },
    { a: { request: null } },
  ]) {
    const error = await rejection(open(t, broker, { contract }));
    assert.ok(error instanceof ConnectError);
    assert.equal(error.code, "INVALID_ARGUMENT");
  }
});
