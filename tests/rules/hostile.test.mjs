// Hostile values and filters: an error with its code, or the exact value back; and after each of them the same
// client and the same broker answer a good request.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { datatypes } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import {
  cborText,
  DELIVERY,
  ERROR,
  frame,
  join,
  list,
  RESPONSE,
  readFilterOutcome,
  readFilterResponse,
  SEND_TO_PATH,
  sessionId,
  string,
  text,
  value,
  varint,
} from "../support/wire.mjs";
import { assertError, collect, fails, open, randomNumbers, rejection, seed, thrown } from "./support/client.mjs";
import { connectPeer, startServer } from "./support/endpoint.mjs";
import { takesLess } from "./support/work.mjs";

const broker = await startBroker();
after(() => broker.stop());

/** Ours, which echoes at `echo`, and a scripted peer that answers with bytes at `peer`. */
const ours = await open({ after }, broker);
const peer = await connectPeer(broker);
after(() => peer.close());
await ours.messaging.addRequestHandler("echo", (request) => request);
ours.messaging.addStreamHandler("echo", (request) => request, { addressed: true });
await peer.register("peer");
const ourFilter = `$SessionId is '${ours.id}'`;
const peerFilter = `$SessionId is '${peer.id}'`;

/** A test after which everybody answers a good request. */
function hostile(what, run) {
  test(what, async (t) => {
    await run(t);
    assert.deepEqual(await ours.messaging.sendRequestToPath("echo", { good: [1] }), { good: [1] });
    assert.equal((await peer.answerTo(peer.sendToPath("echo", text("good")))).type, RESPONSE);
    assert.ok((await ours.ping()) < 1000);
  });
}

/** What our client makes of bytes that a peer answers with, to a path, a session and a filter. */
async function received(type, bytes, given) {
  const sends = [
    ours.messaging.sendRequestToPath("peer", null, given),
    ours.messaging.sendRequestToSession("peer", peer.id, null, given),
    collect(ours.messaging.gather(peerFilter, "peer", null, given)).then(([{ value: got, error }]) => {
      if (error) throw error;
      return got;
    }),
  ];
  const settled = Promise.allSettled(sends);
  for (const _ of sends) {
    peer.respond(await peer.next({ service: [DELIVERY, SEND_TO_PATH] }), value(type, bytes));
  }
  return settled;
}

/** Asserts that bytes are refused: by our client as a response, and by our handler and our stream as a request. */
async function refused(type, bytes) {
  for (const { status, reason } of await received(type, bytes)) {
    assert.equal(status, "rejected");
    assertError(reason, { code: "INVALID_DATA", outcome: "failed" });
  }
  const bad = value(type, bytes);
  for (const conversation of [peer.sendToPath("echo", bad), peer.sendToSession(ours.id, "echo", bad)]) {
    const { type: answered, reason } = await peer.answerTo(conversation);
    assert.deepEqual([answered, reason], [ERROR, 106]);
  }
  peer.sendToFilter(ourFilter, "echo", bad);
  assert.equal(readFilterResponse((await peer.next({ service: 103 })).body).reason, 106);
}

/** Asserts that bytes are read as exactly this, as a response and as a request. */
async function readAs(type, bytes, expected) {
  for (const { value: got, reason } of await received(type, bytes)) assert.deepEqual(got, expected, reason);
}

/** Asserts that a value comes back exactly. */
async function echoes(request, given) {
  assert.deepEqual(await ours.messaging.sendRequestToPath("echo", request, given), request);
  assert.deepEqual(await ours.messaging.sendRequestToSession("echo", ours.id, request, given), request);
  assert.deepEqual(await collect(ours.messaging.gather(ourFilter, "echo", request, given)), [
    { sessionId: ours.id, value: request },
  ]);
}

const notSent = { code: "INVALID_DATA", outcome: "not-sent" };

/** Asserts that a value is not sent. */
async function unsendable(request, given) {
  await fails(ours.messaging.sendRequestToPath("echo", request, given), notSent);
  await fails(ours.messaging.sendRequestToSession("echo", ours.id, request, given), notSent);
  await fails(ours.messaging.sendRequestToFilter(ourFilter, "echo", request, given), notSent);
  await fails(ours.messaging.gather(ourFilter, "echo", request, given).expected, notSent);
}

const repeated = (byte, count) => Buffer.alloc(count, byte);

// ---- Depth ----

for (const depth of [257, 1000, 100_000, 1_000_000]) {
  hostile(`${depth} nested arrays from a peer are an error`, () =>
    takesLess(3000, broker, async () => {
      await refused("json", Buffer.concat([repeated(0x81, depth), Buffer.of(0xf6)])); // of one element each
      await refused("json", Buffer.concat([repeated(0x9f, depth), repeated(0xff, depth)])); // open-ended
      await refused(
        "json",
        Buffer.concat([Buffer.from("81a16161".repeat(Math.ceil(depth / 2)), "hex"), Buffer.of(0xf6)]),
      );
      await refused("json", repeated(0x9f, depth)); // never closed
    }),
  );
}

hostile("1 000 000 tags around a value are an error or no matter", async () => {
  for (const { reason, value: got } of await received(
    "json",
    Buffer.concat([repeated(0xc1, 1_000_000), Buffer.of(5)]),
  )) {
    if (reason) assertError(reason, { code: "INVALID_DATA", outcome: "failed" });
    else assert.equal(got, 5);
  }
});

hostile("D-6 a value of 5 MiB that becomes too large is an error, and its handler is not called", async () => {
  let called = 0;
  const registration = await ours.messaging.addRequestHandler("counted", () => {
    called += 1;
  });
  const objects = Buffer.concat([Buffer.of(0x9f), repeated(0xa0, 5 << 20), Buffer.of(0xff)]);
  await refused("json", objects);
  const { reason } = await peer.answerTo(peer.sendToPath("counted", value("json", objects)));
  assert.deepEqual([reason, called], [106, 0]);
  await registration.close();
});

hostile("D-6 a value of another type than its handler takes is refused unread", async () => {
  const registration = await ours.messaging.addRequestHandler("typed", () => null, { requestType: "string" });
  const objects = Buffer.concat([Buffer.of(0x9f), repeated(0xa0, 5 << 20), Buffer.of(0xff)]);
  const { reason } = await peer.answerTo(peer.sendToPath("typed", value("json", objects)));
  assert.equal(reason, 108);
  await registration.close();
});

function nested(depth, around) {
  let inner = null;
  for (let level = 0; level < depth; level += 1) inner = around(inner);
  return inner;
}

const CONTAINERS = {
  arrays: (inner) => [inner],
  objects: (inner) => ({ a: inner }),
  maps: (inner) => new Map([["a", inner]]),
  "arrays from toJSON": (inner) => ({ toJSON: () => [inner] }),
};

for (const [what, around] of Object.entries(CONTAINERS)) {
  hostile(`1 000 000 nested ${what} are not sent, 256 are`, async () => {
    for (const deep of [nested(257, around), nested(1_000_000, around)]) {
      await unsendable(deep);
      assert.ok(thrown(() => datatypes.JSON(deep)) instanceof RangeError);
    }
    const sent = await ours.messaging.sendRequestToPath("echo", nested(256, around));
    const plain = what === "objects" || what === "maps" ? CONTAINERS.objects : CONTAINERS.arrays;
    assert.equal(JSON.stringify(sent), JSON.stringify(nested(256, plain)));
  });
}

hostile("a value that contains itself is not sent", async () => {
  const cycle = { list: [] };
  cycle.list.push({ cycle });
  await unsendable(cycle);
  const endless = { toJSON: () => ({ endless }) };
  await unsendable(endless);
});

hostile("an answer that is too deep or contains itself fails its request", async () => {
  const answers = [nested(1_000_000, CONTAINERS.arrays), nested(257, CONTAINERS.objects)];
  const registration = await ours.messaging.addRequestHandler("deep", () => answers[0]);
  while (answers.length > 0) {
    await fails(ours.messaging.sendRequestToPath("deep", null), {
      code: "CALLBACK_EXCEPTION",
      reason: 105,
      outcome: "failed",
    });
    answers.shift();
  }
  await registration.close();
});

// ---- False lengths and broken bytes ----

hostile("lengths that are not true, and values that are cut short or followed by more, are errors", async () => {
  const bad = {
    json: [
      "",
      ...["9b7fffffffffffffff", "bb7fffffffffffffff", "7b7fffffffffffffff", "5b7fffffffffffffff", "9affffffff"],
      ...["6561", "18", "19ff", "1bff", "fb00", "f97e", "81", "a1", "a161", "bf6161ff", "7f", "7f01ff", "5f6161ff"],
      ...["ff", "f6f6", "8100ff", "62c328", "64f0288cbc", "63eda080", "1c", "fc", "fe", "a1f600", "a18000"],
    ],
    string: ["", "05", "4161", "81", "6561", "61ff", "f6f6"],
    int64: ["", "6161", "fb4014000000000000", "1b8000000000000001", "3b8000000000000000", "18", "f5"],
    double: ["", "05", "fb00", "6161", "f5"],
    record_v2: ["ff", "c328"],
  };
  for (const [type, values] of Object.entries(bad)) {
    for (const hex of values) {
      try {
        await refused(type, Buffer.from(hex, "hex"));
      } catch (error) {
        throw new Error(`${type} ${hex}`, { cause: error });
      }
    }
  }
});

// ---- Keys ----

const KEYS = [
  "__proto__",
  "constructor",
  "prototype",
  "then",
  "toString",
  "valueOf",
  "hasOwnProperty",
  "toJSON",
  "",
  "0",
];

hostile("keys that mean something to JavaScript are ordinary keys at any depth", async () => {
  for (const key of KEYS) {
    for (const depth of [1, 2, 3, 100]) {
      let sent = 1;
      for (let level = 0; level < depth; level += 1)
        sent = JSON.parse(`{${JSON.stringify(key)}:${JSON.stringify(sent)}}`);
      const got = await ours.messaging.sendRequestToPath("echo", [sent]);
      let [inner] = got;
      for (let level = 0; level < depth; level += 1) {
        assert.deepEqual(Object.keys(inner), [key]);
        assert.equal(Object.getPrototypeOf(inner), Object.prototype);
        inner = Object.getOwnPropertyDescriptor(inner, key).value;
      }
      assert.equal(inner, 1);
    }
  }
});

hostile("an object with __proto__ from a peer has no other prototype", async () => {
  // {"__proto__": {"isAdmin": true}, "a": 1}
  const [a2, a1, yes, one] = [[0xa2], [0xa1], [0xf5], [1]].map((bytes) => Buffer.from(bytes));
  const bytes = join(a2, cborText("__proto__"), a1, cborText("isAdmin"), yes, cborText("a"), one);
  for (const { value: got } of await received("json", bytes)) {
    assert.deepEqual(Object.keys(got), ["__proto__", "a"]);
    assert.equal(got.isAdmin, undefined);
    assert.equal({}.isAdmin, undefined);
  }
});

hostile("a `then` from the wire is never called, whatever holds it", async () => {
  const sent = JSON.parse('{"then":"not a function","catch":1,"finally":[]}');
  await echoes(sent);
  await echoes(JSON.parse('{"then":{"then":null}}'));
});

hostile("keys that are no text, or come twice, do not get past the reader unseen", async () => {
  for (const { reason, value: got } of await received("json", Buffer.from("a2616101616102", "hex"))) {
    if (reason) assertError(reason, { code: "INVALID_DATA", outcome: "failed" });
    else assert.deepEqual(got, { a: 2 });
  }
});

hostile("session properties called like members of objects are properties", async (t) => {
  const properties = JSON.parse('{"__proto__":"a","constructor":"b","then":"c","toString":"d"}');
  const session = await open(t, broker, { properties });
  const registration = await ours.messaging.addRequestHandler("own", (_, context) => context.sessionProperties, {
    sessionProperties: ["*U"],
  });
  const got = await session.messaging.sendRequestToPath("own", {});
  assert.deepEqual(Object.entries(got).sort(), Object.entries(properties).sort());
  for (const key of Object.keys(properties)) {
    assert.equal(await session.messaging.sendRequestToFilter(`has ${key} and ${ourFilter}`, "echo", 1), 0, key);
    assert.equal(await session.messaging.sendRequestToFilter(`has ${key}`, "echo", 1), 1, key);
  }
  await registration.close();
});

// ---- Numbers ----

hostile("numbers at the edges come back exactly, in every type that holds them", async () => {
  const floats = [0, -0, 0.1, 5e-324, -5e-324, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, 2 ** 63, 2 ** 64, 1e21, 1e300];
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.MAX_VALUE, Number.MIN_VALUE];
  for (const number of [...floats, ...odd, ...floats.map((n) => -n)]) {
    await echoes(number);
    await echoes([number, { a: number }]);
  }
  const integers = [
    0n,
    23n,
    24n,
    255n,
    256n,
    2n ** 31n,
    2n ** 32n,
    2n ** 53n - 1n,
    2n ** 53n,
    2n ** 53n + 1n,
    2n ** 63n - 1n,
  ];
  for (const integer of [...integers, ...integers.map((n) => -n), -(2n ** 63n)]) {
    await echoes(integer);
    await echoes([integer, { a: integer }]);
  }
  for (const integer of [2n ** 63n, 2n ** 64n - 1n, 2n ** 64n, -(2n ** 63n) - 1n]) {
    await unsendable(integer);
    await unsendable([integer]);
  }
});

hostile("every 64-bit integer of CBOR is read exactly", async () => {
  await readAs("json", Buffer.from("1b0020000000000001", "hex"), 2n ** 53n + 1n);
  await readAs("json", Buffer.from("1bffffffffffffffff", "hex"), 2n ** 64n - 1n);
  await readAs("json", Buffer.from("3bffffffffffffffff", "hex"), -(2n ** 64n));
  await readAs("json", Buffer.from("1b7fffffffffffffff", "hex"), 2n ** 63n - 1n);
  await readAs("int64", Buffer.from("3b7fffffffffffffff", "hex"), -(2n ** 63n));
  await readAs("int64", Buffer.from("1b0000000000000005", "hex"), 5n);
  await readAs("json", Buffer.from("f98000", "hex"), -0);
  await readAs("double", Buffer.from("f97e00", "hex"), Number.NaN);
  await readAs("json", Buffer.from("fa7f800000", "hex"), Number.POSITIVE_INFINITY);
  await readAs("double", Buffer.from("fb7ff8000000000001", "hex"), Number.NaN);
});

// ---- Text ----

const HALVES = ["\ud800", "\udfff", "a\udc00b", "\udc00\ud800", `${"a".repeat(100)}\ud83d`];

hostile("half of a surrogate pair is no text, in whatever argument", async () => {
  const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
  const { messaging } = ours;
  for (const half of HALVES) {
    await unsendable(half);
    await unsendable({ a: [half] });
    await unsendable({ [half]: 1 });
    await unsendable([["a", half]], { type: "record_v2" });
    await fails(messaging.sendRequestToPath(half, 1), invalid);
    await fails(messaging.sendRequestToSession(half, ours.id, 1), invalid);
    await fails(messaging.sendRequestToSession("echo", half, 1), invalid);
    await fails(messaging.sendRequestToFilter(half, "echo", 1), invalid);
    await fails(messaging.sendRequestToFilter("all", half, 1), invalid);
    await fails(messaging.gather(half, "echo", 1).expected, invalid);
    await fails(
      messaging.addRequestHandler(half, () => 1),
      invalid,
    );
    await fails(ours.changePrincipal(half, "password"), invalid);
    for (const call of [
      () => messaging.addStreamHandler(half, () => 1),
      () => messaging.addFilterResponseHandler(half, () => {}),
    ]) {
      assertError(thrown(call), invalid);
    }
  }
});

for (const [what, call] of Object.entries({
  "the properties that a handler asks for": (half) =>
    ours.messaging.addRequestHandler("half", () => 1, { sessionProperties: [half] }),
  "the keys of getProperties": (half) => ours.getProperties([half]),
  "the credentials of changePrincipal": (half) => ours.changePrincipal("admin", half),
})) {
  hostile(`half of a surrogate pair is no text in ${what}`, async () => {
    for (const half of HALVES) await fails(call(half), { code: "INVALID_ARGUMENT", outcome: "not-sent" });
  });
}

for (const [what, options] of Object.entries({
  "the principal": (half) => ({ principal: half }),
  "the credentials": (half) => ({ principal: "admin", credentials: half }),
  "the value of a property": (half) => ({ properties: { a: half } }),
  "the key of a property": (half) => ({ properties: { [half]: "a" } }),
})) {
  hostile(`half of a surrogate pair is no text in ${what} that a session is opened with`, async (t) => {
    for (const half of HALVES) {
      const error = await rejection(open(t, broker, options(half)));
      assert.deepEqual([error.name, error.code], ["ConnectError", "INVALID_ARGUMENT"]);
    }
  });
}

hostile("every other text comes back exactly", async () => {
  const all = Array.from({ length: 0x11_0000 }, (_, code) => code).filter((code) => code < 0xd800 || code > 0xdfff);
  const texts = [];
  for (let at = 0; at < all.length; at += 16_384) texts.push(String.fromCodePoint(...all.slice(at, at + 16_384)));
  for (const sent of [...texts, "\u0000", "\ufeffbom", "\u2028\u2029", "e\u0301", "\r\n"]) {
    const got = await ours.messaging.sendRequestToPath("echo", [sent, { [sent]: sent }]);
    assert.ok(got[0] === sent && Object.keys(got[1])[0] === sent && got[1][sent] === sent);
  }
});

// ---- Nothing ----

hostile("what is empty is an error with its code, or comes back empty", async () => {
  const { messaging } = ours;
  for (const empty of ["", {}, [], new Uint8Array(), { "": "" }, [[]], null]) await echoes(empty);
  await echoes([], { type: "record_v2" });
  for (const records of [[[]], [[""]], [["", ""]], [[""], [""]], [["a"], []]]) {
    const sent = messaging.sendRequestToPath("echo", records, { type: "record_v2" });
    const got = await sent.catch((error) => assertError(error, notSent));
    // Two writings that are the same bytes cannot both come back.
    if (!(got instanceof Error)) assert.deepEqual(got, records, JSON.stringify(records));
  }
  assert.equal(await messaging.sendRequestToPath("echo", undefined), null);
  const invalidPath = { code: "INVALID_PATH", reason: 202, outcome: "refused" };
  await fails(messaging.sendRequestToPath("", 1), invalidPath);
  await fails(messaging.sendRequestToSession("", ours.id, 1), invalidPath);
  await fails(messaging.sendRequestToFilter("all", "", 1), invalidPath);
  await fails(
    messaging.addRequestHandler("", () => 1),
    invalidPath,
  );
  await fails(messaging.sendRequestToSession("echo", "", 1), { code: "INVALID_ARGUMENT", outcome: "not-sent" });
  await fails(messaging.sendRequestToFilter("", "echo", 1), { code: "INVALID_FILTER", outcome: "refused" });
  await fails(messaging.sendRequestToFilter(" \n", "echo", 1), { code: "INVALID_FILTER", outcome: "refused" });
  assert.deepEqual(await ours.getProperties([]), {});
});

// ---- Filters ----

async function filterRefused(filter) {
  const error = await fails(ours.messaging.sendRequestToFilter(filter, "echo", 1), {
    code: "INVALID_FILTER",
    outcome: "refused",
  });
  assert.ok(error.errors.length >= 1 && error.message.length < 1000);
  const { errors } = readFilterOutcome((await peer.answerTo(peer.sendToFilter(filter, "echo", text("x")))).body);
  assert.deepEqual(errors, error.errors);
}

for (const [what, filter] of Object.entries({
  "100 000 parentheses": `${"(".repeat(100_000)}all${")".repeat(100_000)}`,
  "100 000 opening parentheses": "(".repeat(100_000),
  "100 000 closing parentheses": `all${")".repeat(100_000)}`,
  "100 000 nots": `${"not ".repeat(100_000)}all`,
  "5 000 parentheses, within the length": `${"(".repeat(5000)}all${")".repeat(5000)}`,
  "4 000 nots, within the length": `${"not ".repeat(4000)}all`,
  "1 MiB of blanks": " ".repeat(1 << 20),
  "1 MiB of a word": "x".repeat(1 << 20),
  "1 MiB of a text": `a is '${"x".repeat(1 << 20)}'`,
  "1 MiB of ors": `all${" or all".repeat((1 << 20) / 7)}`,
  "1 MiB of a list": `a in ${"'b',".repeat((1 << 20) / 4)}'b'`,
  "1 MiB of text beyond ASCII": "💡".repeat(1 << 18),
  "a regular expression that would take much memory": "a matches '((a{1000}){1000}){1000}'",
  "a regular expression with 10 000 parentheses": `a matches '${"(".repeat(5000)}a${")".repeat(5000)}'`,
  "one regular expression after the other": Array.from({ length: 500 }, () => "a matches '[a-z]{9}'").join(" or "),
})) {
  hostile(`a filter of ${what} is refused at once`, () =>
    // For two answers.
    takesLess(500, broker, () => filterRefused(filter)),
  );
}

hostile("a filter that is as wide as allowed is answered at once", async () => {
  const wide = (part, between) =>
    Array.from({ length: Math.floor(16_000 / (part.length + between.length)) }, () => part).join(between);
  const filters = [
    wide("a is 'b'", " or "),
    wide("a ne 'b'", " and "),
    `a in ${wide("'b'", " ")}`,
    wide("all", " and "),
  ];
  await takesLess(1000, broker, async () => {
    for (const filter of filters) assert.ok((await ours.messaging.sendRequestToFilter(filter, "none", 1)) >= 0);
  });
});

hostile("a filter whose bytes are no text ends the session of who sent it, and no other", async () => {
  for (const bytes of [Buffer.of(0xff), Buffer.of(0xed, 0xa0, 0x80), Buffer.of(0xc0, 0x80)]) {
    const stranger = await connectPeer(broker);
    stranger.sendToFilter(bytes, "echo", text("x"));
    await stranger.closed;
  }
});

// ---- Messages with a mistake in them ----

/** One byte changed, left out, doubled, or the rest left out; which one depends on the random numbers. */
function damaged(bytes, random) {
  const at = Math.floor(random() * bytes.length);
  const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
  const kinds = [
    () => join(before, Buffer.of(Math.floor(random() * 256)), after.subarray(1)),
    () => join(before, Buffer.of(0xff), after.subarray(1)),
    () => join(before, after.subarray(1)),
    () => join(before, after.subarray(0, 1), after),
    () => before,
  ];
  return kinds[Math.floor(random() * kinds.length)]();
}

hostile("messages with a mistake in them end the session of a peer at most", async (t) => {
  const number = seed();
  t.diagnostic(`ANTIPHON_SEED=${number}`);
  const random = randomNumbers(number);
  const target = join(sessionId(ours.id), string("echo"), text("x"));
  const registration = join(varint(88), string("default"), string("damaged"), list([string("*F")]), varint(1));
  const messages = [
    frame({ type: 0, service: 85, conversation: 1, body: join(string("echo"), text("x")) }),
    frame({ type: 0, service: 86, conversation: 2, body: target }),
    frame({ type: 0, service: 97, conversation: 3, body: registration }),
    frame({
      type: 0,
      service: 102,
      conversation: 4,
      body: join(varint(5), string(ourFilter), string("echo"), text("x")),
    }),
    frame({ type: 0, service: 67, conversation: 5, body: join(sessionId(ours.id), list([string("*F")])) }),
    frame({ type: 0, service: 5, conversation: 6, body: join(string("admin"), Buffer.of(1), string("password")) }),
    frame({ type: 0, service: 56, conversation: 7 }),
    frame({ type: 6, conversation: 1, body: text("x") }),
    frame({ type: 7, conversation: 1, text: "x", reason: 109 }),
    frame({ type: 29 }),
  ];
  for (let round = 0; round < 200; round += 1) {
    const stranger = await connectPeer(broker);
    for (const message of messages) if (!stranger.isClosed) stranger.send(damaged(message, random));
    stranger.cut();
  }
});

hostile("messages with a mistake in them end the session of our client at most", async (t) => {
  const number = seed();
  t.diagnostic(`ANTIPHON_SEED=${number}`);
  const random = randomNumbers(number);
  const id = sessionId("1-2");
  const delivery = join(varint(1), id, string("a"), list([]), text("x"));
  const server = await startServer((message, connection) => {
    if (message.service === 97) connection.respond(message);
    if (message.service !== SEND_TO_PATH) return;
    const { conversation } = message;
    const messages = [
      frame({ type: 0, service: 85, conversation: 1, body: join(string("a"), text("x")) }),
      frame({ type: 0, service: 88, conversation: 2, body: delivery }),
      frame({ type: 0, service: 103, conversation: 3, body: join(varint(9), id, Buffer.of(0), text("x")) }),
      frame({ type: 0, service: 103, conversation: 4, body: join(varint(9), id, Buffer.of(1, 109, 0)) }),
      frame({ type: 0, service: 55, conversation: 5 }),
      frame({ type: 6, conversation, body: text("x") }),
      frame({ type: 7, conversation, text: "x", reason: 109 }),
      frame({ type: 6, conversation: 3, body: Buffer.of(0, 1) }),
    ];
    for (const sent of messages) connection.send(damaged(sent, random));
    connection.send(Buffer.of(28));
  });
  t.after(() => server.stop());
  for (let round = 0; round < 150; round += 1) {
    const session = await open(t, server);
    const { messaging } = session;
    await messaging.addRequestHandler("a", (request) => request);
    messaging.addStreamHandler("a", (request) => request, { addressed: true });
    const settled = Promise.allSettled([
      messaging.sendRequestToFilter("all", "a", 1, { onResponse: () => {} }),
      messaging.sendRequestToPath("a", 1),
      session.ping(),
    ]);
    const { code } = await session.closed;
    assert.ok(["CLOSED_BY_SERVER", "TRANSPORT_ERROR"].includes(code), code);
    for (const { reason } of await settled) assert.notEqual(reason?.code, "INTERNAL");
  }
});
