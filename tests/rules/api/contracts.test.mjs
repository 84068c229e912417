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
const vague = schema(() => ({ issues: [] }));
const throwing = schema(() => {
  throw new Error("kaputt");
});

/** A session with a contract for one path, another without, and the path. */
async function agreed(t, sides) {
  const path = unique("contract");
  const checked = await open(t, broker, { contract: { [path]: sides } });
  return { path, checked, free: await open(t, broker) };
}

for (const [what, request] of Object.entries({
  "": isNumber,
  " of a schema that throws": throwing,
  " somehow": vague,
})) {
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
    const said = new Map([
      [isNumber, /a: 0: not a number$/],
      [throwing, /kaputt$/],
      [vague, /is not what its contract says: no issue is named$/],
    ]);
    assert.match(error.message, said.get(request));
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

/** Spellings of one path, of which the broker takes none for another. */
const spellings = (path) => [path, `/${path}`, `${path}/`, `/${path}/`];

test("a contract holds for every spelling of its path, in its own keys, at the sender and at the handler", async (t) => {
  const path = unique("spelling");
  const free = await open(t, broker);
  for (const key of spellings(path)) {
    const checked = await open(t, broker, { contract: { [key]: { request: isNumber, response: isNumber } } });
    for (const spelling of spellings(path)) {
      const seen = [];
      const registration = await checked.messaging.addRequestHandler(spelling, (request) => {
        seen.push(request);
        return request;
      });
      for (const to of spellings(path)) {
        await fails(checked.messaging.sendRequestToPath(to, "text"), { code: "INVALID_DATA", outcome: "not-sent" });
        await fails(free.messaging.sendRequestToPath(to, "text"), {
          code: "INVALID_DATA",
          reason: 106,
          outcome: "unknown",
        });
        assert.equal(await checked.messaging.sendRequestToPath(to, 5), 5);
      }
      assert.deepEqual(seen, [5, 5, 5, 5]);
      await registration.close();
    }
  }
});

test("a contract that names a path twice, in two spellings, is refused", async (t) => {
  const error = await rejection(open(t, broker, { contract: { "a/b": {}, "/a/b/": {} } }));
  assert.deepEqual([error.name, error.code], ["ConnectError", "INVALID_ARGUMENT"]);
});

const notSent = { code: "INVALID_DATA", outcome: "not-sent" };
const failed = { code: "INVALID_DATA", outcome: "failed" };

/** All ways to send to a session at its path: each gives the response, or rejects. */
const ways = (sender, recipient) => ({
  session: (path, request) => sender.messaging.sendRequestToSession(path, recipient.id, request),
  "filter, its own handler": (path, request) =>
    new Promise((resolve, reject) => {
      const onResponse = ({ value, error }) => (error ? reject(error) : resolve(value));
      const filter = `$SessionId is '${recipient.id}'`;
      sender.messaging.sendRequestToFilter(filter, path, request, { onResponse }).catch(reject);
    }),
  "filter, the handler of its text": (path, request) =>
    new Promise((resolve, reject) => {
      const filter = `$SessionId is '${recipient.id}' and not $Principal is 'x'`;
      sender.messaging.addFilterResponseHandler(filter, ({ value, error }) => (error ? reject(error) : resolve(value)));
      sender.messaging.sendRequestToFilter(filter, path, request).catch(reject);
    }),
  gather: async (path, request) => {
    for await (const { value, error } of sender.messaging.gather(`$SessionId is '${recipient.id}'`, path, request)) {
      if (error) throw error;
      return value;
    }
  },
});

for (const [when, side] of Object.entries({ "": isNumber, ", later": later, ", by throwing": throwing })) {
  test(`addressed requests and their responses are checked by the contract of the sender${when}`, async (t) => {
    const recipient = await open(t, broker);
    const path = unique("addressed");
    const answers = { right: 7, wrong: "text" };
    recipient.messaging.addStreamHandler(path, (request) => answers[request], { addressed: true });
    const checked = await open(t, broker, { contract: { [`/${path}`]: { response: side } } });
    for (const [way, send] of Object.entries(ways(checked, recipient))) {
      await assert.rejects(send(path, "wrong"), (error) => {
        assert.deepEqual({ code: error.code, outcome: error.outcome }, failed, way);
        return true;
      });
      if (side !== throwing) assert.equal(await send(path, "right"), 7, way);
    }
    const asking = await open(t, broker, { contract: { [path]: { request: isNumber } } });
    for (const [way, send] of Object.entries(ways(asking, recipient))) {
      await assert.rejects(send(`/${path}/`, "right"), (error) => {
        assert.deepEqual({ code: error.code, outcome: error.outcome }, notSent, way);
        return true;
      });
    }
  });

  test(`a stream's contract is checked for the request (106) and for its own answer (105)${when}`, async (t) => {
    const [requests, answers] = [unique("stream"), unique("stream")];
    const contract = { [requests]: { request: side }, [answers]: { response: side } };
    const recipient = await open(t, broker, { contract });
    const sender = await open(t, broker);
    let calls = 0;
    const handler = () => {
      calls += 1;
      return "text";
    };
    for (const path of [requests, answers]) recipient.messaging.addStreamHandler(path, handler, { addressed: true });
    for (const [way, send] of Object.entries(ways(sender, recipient))) {
      await assert.rejects(send(requests, "text"), { code: "INVALID_DATA", reason: 106 }, way);
      await assert.rejects(send(answers, "text"), { code: "CALLBACK_EXCEPTION", reason: 105 }, way);
    }
    assert.equal(calls, 4);
  });
}

test("responses whose check takes its time come in order, and gather ends after the last of them", async (t) => {
  const path = unique("late");
  const recipients = [];
  for (let i = 0; i < 3; i++) {
    const recipient = await open(t, broker);
    recipients.push(recipient);
    recipient.messaging.addStreamHandler(path, () => i, { addressed: true });
  }
  const others = await open(t, broker);
  others.messaging.addStreamHandler(`${path}/none`, () => 0, { addressed: true });
  const release = [];
  const slow = schema((value) => new Promise((resolve) => release.push(() => resolve({ value }))));
  const checked = await open(t, broker, { contract: { [path]: { response: slow } } });
  const quoted = [...recipients, others].map(({ id }) => `'${id}'`).join(", ");
  const gathering = checked.messaging.gather(`$SessionId in [${quoted}]`, path, 1);
  assert.equal(await gathering.expected, 4);
  // One session has no stream there: its error may come before the checks of the others are done.
  await others.ping();
  while (release.length < 3) await checked.ping();
  for (const go of release.reverse()) go();
  const got = [];
  for await (const { value, error } of gathering) got.push(error ? error.code : value);
  assert.deepEqual(got.toSorted(), [0, 1, 2, "UNHANDLED_MESSAGE"]);
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
