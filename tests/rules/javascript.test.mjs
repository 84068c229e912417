// Rules J-1 to J-5 of what handlers may do in JavaScript.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { RejectedRequestError } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { DELIVERY, join, list, REGISTER, RESPONSE, Reader, sessionId, string, text, varint } from "../support/wire.mjs";
import { collect, fails, gate, open, openAll, unique } from "./support/client.mjs";
import { startServer } from "./support/endpoint.mjs";

const broker = await startBroker();
after(() => broker.stop());

const threw = { code: "CALLBACK_EXCEPTION", reason: 105, outcome: "failed" };
const rejected = { code: "REJECTED_REQUEST", reason: 9003, outcome: "failed" };
const unhandled = { code: "UNHANDLED_MESSAGE", reason: 109, outcome: "refused" };

class Declined extends RejectedRequestError {}

const hostile = new Proxy(
  {},
  {
    get() {
      throw new Error("do not look");
    },
    getPrototypeOf() {
      throw new Error("do not look");
    },
  },
);

const thrower = (thrown) => () => {
  throw thrown;
};
// biome-ignore lint/suspicious/noThenProperty: what a handler returns may have one
const thenable = (then) => Object.fromEntries([["then", then]]);
const rejecter = (thrown) => () => Promise.reject(thrown);

/** What a handler does, and what the sender gets: a value, or the members of an error. */
const BEHAVIOURS = {
  "returns a value": [() => "now", "now"],
  "returns a promise": [() => Promise.resolve("later"), "later"],
  "is asynchronous": [async () => "later", "later"],
  "returns a promise of a promise": [async () => Promise.resolve(Promise.resolve("deep")), "deep"],
  "returns a thenable": [() => thenable((resolve) => resolve("thenable")), "thenable"],
  "returns a thenable that resolves twice": [
    () => thenable((resolve) => [resolve("first"), resolve("second")]),
    "first",
  ],
  "returns a thenable that throws": [() => thenable(thrower(new Error("broken"))), { ...threw, message: "broken" }],
  "throws a RejectedRequestError": [thrower(new RejectedRequestError("no")), { ...rejected, message: "no" }],
  "rejects with a RejectedRequestError": [rejecter(new RejectedRequestError("no")), { ...rejected, message: "no" }],
  "throws a subclass of RejectedRequestError": [thrower(new Declined("no")), { ...rejected, message: "no" }],
  "throws an Error": [thrower(new Error("broken")), { ...threw, message: "broken" }],
  "rejects with an Error": [rejecter(new TypeError("broken")), { ...threw, message: "broken" }],
  "throws a text": [thrower("broken"), { ...threw, message: "broken" }],
  "throws a number": [thrower(7), { ...threw, message: "7" }],
  "throws undefined": [thrower(undefined), threw],
  "throws null": [thrower(null), threw],
  "throws an object without a text": [thrower(Object.create(null)), threw],
  "throws a symbol": [thrower(Symbol("s")), threw],
  "throws a proxy that throws": [thrower(hostile), threw],
  "throws an Error with an empty message": [thrower(new Error("")), threw],
  "throws an Error whose message is no text": [thrower(Object.assign(new Error(), { message: { a: 1 } })), threw],
  "throws half a surrogate pair": [thrower(new Error("a\ud800b")), threw],
  "returns a function": [() => () => 1, threw],
  "returns a cycle": [
    () => {
      const cycle = {};
      cycle.cycle = cycle;
      return cycle;
    },
    threw,
  ],
  "returns a bigint beyond 64 bits": [() => 2n ** 64n, threw],
  "returns what throws when it is read": [
    () => ({
      get a() {
        throw new Error("kaputt");
      },
    }),
    threw,
  ],
};

for (const [what, [handler, expected]] of Object.entries(BEHAVIOURS)) {
  test(`J-1 a handler that ${what} stays registered, and the sender is told`, async (t) => {
    const [asker, answerer] = await openAll(t, broker, 2);
    const path = unique("behaviour");
    await answerer.messaging.addRequestHandler(path, handler);
    await answerer.messaging.addRequestHandler(`${path}/object`, { handle: handler });
    answerer.messaging.addStreamHandler(path, handler, { addressed: true });
    for (let twice = 0; twice < 2; twice += 1) {
      const sends = [
        asker.messaging.sendRequestToPath(path, "?"),
        asker.messaging.sendRequestToPath(`${path}/object`, "?"),
        asker.messaging.sendRequestToSession(path, answerer.id, "?"),
      ];
      await Promise.all(
        sends.map(async (sent) => {
          if (typeof expected === "string") assert.equal(await sent, expected);
          else await fails(sent, expected);
        }),
      );
    }
  });
}

test("J-1 a handler that never answers keeps nothing from being answered", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("never");
  await answerer.messaging.addRequestHandler(path, (kind) => (kind === "never" ? new Promise(() => {}) : kind));
  const never = fails(asker.messaging.sendRequestToPath(path, "never", { timeout: 20 }), {
    code: "TIMED_OUT",
    outcome: "unknown",
  });
  assert.equal(await asker.messaging.sendRequestToPath(path, "now"), "now");
  await never;
});

test("J-2 a handler that returns nothing answers null, of the request's type if that has null", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("nothing");
  await answerer.messaging.addRequestHandler(path, () => {});
  await answerer.messaging.addRequestHandler(`${path}/later`, async () => undefined);
  for (const at of [path, `${path}/later`]) {
    for (const request of ["text", 5, 5n, {}, null, [1]]) {
      assert.equal(await asker.messaging.sendRequestToPath(at, request), null);
    }
    for (const type of ["string", "int64", "double", "json"]) {
      assert.equal(await asker.messaging.sendRequestToPath(at, null, { type }), null);
    }
    assert.equal(await asker.messaging.sendRequestToPath(at, Uint8Array.of(1), { responseType: "json" }), null);
    assert.equal(await asker.messaging.sendRequestToPath(at, Uint8Array.of(1)), null);
  }
});

test("J-3 a filter response handler is found by the exact text of the filter, at each response", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const filter = `$SessionId is '${answerer.id}'`;
  answerer.messaging.addStreamHandler("j3", (n) => n, { addressed: true });
  const heard = [];
  const listen = (name) => (response) => heard.push([name, response]);
  const registration = asker.messaging.addFilterResponseHandler(filter, listen("first"));
  assert.equal(registration.filter, filter);
  asker.messaging.addFilterResponseHandler(`${filter} `, listen("other text"));
  const send = async (n, given) => {
    assert.equal(await asker.messaging.sendRequestToFilter(filter, "j3", n, given), 1);
    // The stream has answered when its session gets this back, and that has been passed on when we get this back.
    await answerer.ping();
    await asker.ping();
  };
  await send(1);
  await send(2);
  assert.deepEqual(heard.splice(0), [
    ["first", { sessionId: answerer.id, filter, path: "j3", value: 1, received: 1, expected: 1 }],
    ["first", { sessionId: answerer.id, filter, path: "j3", value: 2, received: 1, expected: 1 }],
  ]);
  await send(3, { onResponse: listen("own") });
  assert.deepEqual(
    heard.splice(0).map(([name]) => name),
    ["own"],
  );
  await collect(asker.messaging.gather(filter, "j3", 4));
  assert.deepEqual(heard, []);
  asker.messaging.addFilterResponseHandler(filter, listen("second"));
  registration.close(); // was replaced: takes nothing out
  await send(5);
  assert.deepEqual(
    heard.splice(0).map(([name]) => name),
    ["second"],
  );
});

test("J-3 a handler that was replaced or closed while responses are due is called no more", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const filter = `$SessionId is '${answerer.id}'`;
  const answers = [gate(), gate(), gate()];
  answerer.messaging.addStreamHandler("j3", (n) => answers[n].opened, { addressed: true });
  const heard = [];
  const arrived = Array.from({ length: 3 }, gate);
  const listen = (name) => () => {
    heard.push(name);
    arrived[heard.length - 1].open();
  };
  asker.messaging.addFilterResponseHandler(filter, listen("old"));
  for (const n of [0, 1, 2]) await asker.messaging.sendRequestToFilter(filter, "j3", n);
  answers[0].open();
  await arrived[0].opened;
  const replacing = asker.messaging.addFilterResponseHandler(filter, listen("new"));
  answers[1].open();
  await arrived[1].opened;
  replacing.close();
  answers[2].open();
  await answerer.ping();
  await asker.ping();
  assert.deepEqual(heard, ["old", "new"]);
});

test("J-3 a filter response handler can be an object, and is told of errors by their event", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const filter = `$SessionId is '${answerer.id}'`;
  answerer.messaging.addStreamHandler("good", () => 1, { addressed: true });
  const heard = [];
  const handler = {
    heard,
    handle(event, { value: got, error }) {
      this.heard.push([event, got, error?.code]);
    },
  };
  asker.messaging.addFilterResponseHandler(filter, handler);
  await asker.messaging.sendRequestToFilter(filter, "good", null);
  await asker.messaging.sendRequestToFilter(filter, "none", null);
  await answerer.ping();
  await asker.ping();
  assert.deepEqual(heard, [
    ["response", 1, undefined],
    ["error", undefined, "UNHANDLED_MESSAGE"],
  ]);
});

test("J-4 a request that follows the acceptance of its handler at once is answered", async (t) => {
  const answers = [];
  const server = await startServer((message, connection) => {
    if (message.type === RESPONSE) answers.push(message);
    if (message.service !== REGISTER) return;
    const reader = new Reader(message.body);
    reader.count();
    reader.string();
    const path = reader.string();
    reader.list(() => reader.string());
    const registration = reader.varint();
    // In one go, so that both are there before the client has done anything.
    connection.socket._socket.cork();
    connection.respond(message);
    for (const n of ["1", "2"]) {
      const to = join(varint(registration), sessionId("1-2"), string(`${path}/${n}`), list([]));
      connection.request(DELIVERY, join(to, text(n)));
    }
    connection.socket._socket.uncork();
  });
  t.after(() => server.stop());
  const session = await open(t, server);
  const seen = [];
  const both = gate();
  await session.messaging.addRequestHandler("early", (request, { path }) => {
    seen.push([request, path]);
    if (seen.length === 2) both.open();
    return request;
  });
  await both.opened;
  assert.deepEqual(seen, [
    ["1", "early/1"],
    ["2", "early/2"],
  ]);
  while (answers.length < 2) await new Promise(setImmediate);
  assert.deepEqual(
    answers.map(({ body }) => body),
    [text("1"), text("2")],
  );
});

test("J-4 a handler that was refused is not installed, and one that is there stays", async (t) => {
  const session = await open(t, broker);
  const path = unique("refused");
  await session.messaging.addRequestHandler(path, () => "first");
  const conflict = { code: "HANDLER_CONFLICT", reason: 201, outcome: "refused" };
  const [first] = await Promise.all([
    session.messaging.sendRequestToPath(path, null),
    fails(
      session.messaging.addRequestHandler(path, () => "second"),
      conflict,
    ),
  ]);
  assert.equal(first, "first");
  assert.equal(await session.messaging.sendRequestToPath(path, null), "first");
});

test("J-5 without `addressed` a stream answers what the broker forwards for exactly that path", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const path = unique("slot");
  const ask = (below = "") => asker.messaging.sendRequestToPath(path + below, null);
  answerer.messaging.addStreamHandler(path, () => "stream");
  await fails(ask(), unhandled); // the broker knows of no handler
  await fails(asker.messaging.sendRequestToSession(path, answerer.id, null), unhandled);
  await answerer.messaging.addRequestHandler(path, () => "handler");
  assert.equal(await ask(), "handler");
  answerer.messaging.addStreamHandler(path, () => "later stream");
  assert.equal(await ask(), "later stream");
  assert.equal(await ask("/below"), "handler");
  answerer.messaging.addStreamHandler(`${path}/below`, () => "below");
  assert.equal(await ask("/below"), "below");
  assert.equal(await ask("/below/this"), "handler");
});

test("J-5 with `addressed` a stream answers what is sent to its session, by ID and by filter", async (t) => {
  const [asker, answerer] = await openAll(t, broker, 2);
  const registration = answerer.messaging.addStreamHandler("j5", () => "stream", { addressed: true });
  assert.equal(registration.path, "j5");
  assert.equal(await asker.messaging.sendRequestToSession("j5", answerer.id, null), "stream");
  const filter = `$SessionId is '${answerer.id}'`;
  assert.deepEqual(await collect(asker.messaging.gather(filter, "j5", null)), [
    { sessionId: answerer.id, value: "stream" },
  ]);
  answerer.messaging.addStreamHandler("j5", () => "replaced", { addressed: true });
  await registration.close(); // was replaced: takes nothing out
  assert.equal(await asker.messaging.sendRequestToSession("j5", answerer.id, null), "replaced");
});
