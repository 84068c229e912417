// Rules D-1 to D-5 of data types: which type a value is sent as, what it may be read as, and that nothing is lost.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { datatypes } from "antiphon";
import { startBroker } from "../support/broker.mjs";
import { DELIVERY, readDelivery, readFilterResponse, value } from "../support/wire.mjs";
import { assertError, collect, fails, open, openAll, thrown, unique } from "./support/client.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const broker = await startBroker();
after(() => broker.stop());

const [sender, recipient] = await openAll({ after }, broker, 2);
const peer = await connectPeer(broker);
after(() => peer.close());

const filter = `$SessionId is '${recipient.id}'`;
const incompatible = { code: "INCOMPATIBLE_DATATYPE", reason: 108, outcome: "refused" };
const unreadable = { code: "INCOMPATIBLE_DATATYPE", outcome: "failed" };

/** A value of each type, as it is sent and as a JavaScript value. */
const VALUES = {
  json: [datatypes.JSON({ a: [1] }), { a: [1] }],
  string: [datatypes.STRING("text"), "text"],
  int64: [datatypes.INT64(5n), 5n],
  double: [datatypes.DOUBLE(5), 5],
  binary: [datatypes.BINARY(Uint8Array.of(1, 2)), Uint8Array.of(1, 2)],
  record_v2: [datatypes.RECORD_V2([["a", "b"], ["c"]]), [["a", "b"], ["c"]]],
};

/** What a value of the first type becomes when it is read as the second; what is not here cannot be read so. */
const READABLE = {
  json: { json: { a: [1] } },
  string: { string: "text", json: "text" },
  int64: { int64: 5n, json: 5, double: 5 },
  double: { double: 5, json: 5, int64: 5n },
  binary: { binary: Uint8Array.of(1, 2) },
  record_v2: {
    record_v2: [["a", "b"], ["c"]],
  },
};

for (const from of Object.keys(VALUES)) {
  for (const to of Object.keys(VALUES)) {
    const readable = to in READABLE[from];

    test(`D-1 a handler or stream for ${to} ${readable ? "gets" : "refuses"} a request of type ${from}`, async () => {
      const path = unique("request");
      let seen;
      const handler = (request, context) => {
        seen = { request, type: context.requestType };
        return null;
      };
      await recipient.messaging.addRequestHandler(path, handler, { requestType: to });
      recipient.messaging.addStreamHandler(path, handler, { requestType: to, addressed: true });
      for (const send of [
        (request) => sender.messaging.sendRequestToPath(path, request, { responseType: "json" }),
        (request) => sender.messaging.sendRequestToSession(path, recipient.id, request, { responseType: "json" }),
        async (request) => {
          const [{ value: answer, error }] = await collect(sender.messaging.gather(filter, path, request));
          if (error) throw error;
          return answer;
        },
      ]) {
        seen = undefined;
        const sent = send(VALUES[from][0]);
        if (readable) {
          await sent.catch((error) => assert.equal(error.code, "INCOMPATIBLE_DATATYPE")); // binary has no null
          assert.deepEqual(seen, { request: READABLE[from][to], type: from });
        } else {
          await fails(sent, incompatible);
          assert.equal(seen, undefined);
        }
      }
    });

    test(`D-2 a response of type ${from} is ${readable ? "read" : "not read"} as ${to}`, async () => {
      const path = unique("response");
      const answer = () => VALUES[from][0];
      await recipient.messaging.addRequestHandler(path, answer);
      recipient.messaging.addStreamHandler(path, answer, { addressed: true });
      const given = { responseType: to };
      const answers = await Promise.allSettled([
        sender.messaging.sendRequestToPath(path, {}, given),
        sender.messaging.sendRequestToSession(path, recipient.id, {}, given),
        collect(sender.messaging.gather(filter, path, {}, given)).then(([{ value: got, error }]) => {
          if (error) throw error;
          return got;
        }),
      ]);
      for (const { value: got, reason } of answers) {
        if (readable) assert.deepEqual(got, READABLE[from][to], reason);
        else assertError(reason, { ...unreadable, message: new RegExp(`\\b${from}\\b.*\\b${to}\\b`) });
      }
    });
  }
}

test("D-2 a json value is read as json and nothing else, even if it would fit", async () => {
  const path = unique("fits");
  await recipient.messaging.addRequestHandler(path, (typed) => datatypes.JSON(typed), { requestType: "json" });
  for (const [fit, responseType] of [
    [5, "int64"],
    [5, "double"],
    ["x", "string"],
    [Uint8Array.of(1), "binary"],
  ]) {
    await fails(sender.messaging.sendRequestToPath(path, datatypes.JSON(fit), { responseType }), unreadable);
  }
});

test("D-1 without a type a handler gets what there is, whatever its type", async () => {
  const path = unique("any");
  await recipient.messaging.addRequestHandler(path, (request, { requestType }) => [requestType, String(request)]);
  for (const [type, [typed, plain]] of Object.entries(VALUES)) {
    const got = await sender.messaging.sendRequestToPath(path, typed, { responseType: "json" });
    assert.deepEqual(got, [type, String(plain)]);
  }
});

test("D-2 an int64 is read as a double, and back, only if it is the same number", async () => {
  const path = unique("exact");
  await recipient.messaging.addRequestHandler(path, (typed) => typed);
  const ask = (request, responseType) => sender.messaging.sendRequestToPath(path, request, { responseType });
  for (const exact of [0n, -1n, 2n ** 53n, -(2n ** 63n), 2n ** 62n]) {
    assert.equal(await ask(exact, "double"), Number(exact));
    assert.equal(await ask(Number(exact), "int64"), exact);
  }
  for (const lossy of [2n ** 53n + 1n, 2n ** 63n - 1n]) await fails(ask(lossy, "double"), unreadable);
  for (const lossy of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 63, -0]) {
    await fails(ask(lossy, "int64"), unreadable);
  }
});

test("D-2 null is null in every type that has it", async () => {
  const path = unique("null");
  await recipient.messaging.addRequestHandler(path, (request, { requestType }) => {
    assert.equal(request, null);
    return requestType === "json" ? undefined : null;
  });
  for (const type of ["json", "string", "int64", "double"]) {
    assert.equal(await sender.messaging.sendRequestToPath(path, null, { type }), null);
    for (const responseType of ["json", "string", "int64", "double"]) {
      assert.equal(await sender.messaging.sendRequestToPath(path, null, { type, responseType }), null);
    }
  }
  for (const type of ["binary", "record_v2"]) {
    await fails(sender.messaging.sendRequestToPath(path, null, { type }), {
      code: "INVALID_DATA",
      outcome: "not-sent",
    });
  }
});

/** Type and bytes of what our client sends. */
async function sentAs(request, given) {
  const path = unique("bytes");
  await peer.register(path);
  const sent = sender.messaging.sendRequestToPath(path, request, { responseType: "json", ...given });
  const delivery = await peer.next({ service: DELIVERY });
  peer.respond(delivery, value("json", [0xf6]));
  await sent;
  const { type, bytes } = readDelivery(delivery.body);
  return `${type} ${bytes.toString("hex")}`;
}

test("D-3 a value with no type named is sent as its kind says", async () => {
  const cases = [
    ["", "string 60"],
    ["héllo", "string 6668c3a96c6c6f"],
    [5, "double fb4014000000000000"],
    [0.5, "double fb3fe0000000000000"],
    [-0, "double fb8000000000000000"],
    [Number.NaN, "double fb7ff8000000000000"],
    [5n, "int64 05"],
    [-(2n ** 63n), "int64 3b7fffffffffffffff"],
    [Uint8Array.of(1, 2), "binary 0102"],
    [Uint8Array.of(9, 1, 2, 9).subarray(1, 3), "binary 0102"],
    [Uint8Array.of(1, 2).buffer, "binary 0102"],
    [new DataView(Uint8Array.of(9, 1, 2).buffer, 1), "binary 0102"],
    [Uint16Array.of(0x0201), "binary 0102"],
    [new Uint8Array(), "binary "],
    [true, "json f5"],
    [false, "json f4"],
    [null, "json f6"],
    [undefined, "json f6"],
    [[], "json 9fff"],
    [{}, "json bfff"],
    [[1, -1, 1.5, "a", null, undefined], "json 9f0120fb3ff80000000000006161f6f6ff"],
    [{ b: 1, a: undefined, c: [2n ** 53n] }, "json bf6162016163".concat("9f1b0020000000000000ffff")],
    [new Date(0), "json 7818313937302d30312d30315430303a30303a30302e3030305a"],
    [new Map([["k", Uint8Array.of(7)]]), "json bf616b4107ff"],
    [datatypes.INT64(5), "int64 05"],
    [datatypes.RECORD_V2([["a", "b"], ["c"]]), "record_v2 61026201".concat("63")],
  ];
  for (const [request, expected] of cases) assert.equal(await sentAs(request), expected);
});

test("D-3 a type that is named is the one that is sent", async () => {
  assert.equal(await sentAs(5, { type: "int64" }), "int64 05");
  assert.equal(await sentAs(5n, { type: "double" }), "double fb4014000000000000");
  assert.equal(await sentAs(5, { type: "json" }), "json 05");
  assert.equal(await sentAs("x", { type: "json" }), "json 6178");
  assert.equal(await sentAs(undefined, { type: "string" }), "string f6");
  assert.equal(await sentAs(datatypes.INT64(5), { type: "double" }), "double fb4014000000000000");
});

test("D-3 a response without a type named has that of the request if it fits, else that of its kind", async (t) => {
  const session = await open(t, broker);
  const path = unique("answers");
  const answers = [];
  await session.messaging.addRequestHandler(path, () => answers.shift());
  session.messaging.addStreamHandler(path, () => answers.shift(), { addressed: true });
  const cases = [
    ["int64", [0x05], 7, "int64 07"],
    ["int64", [0x05], "seven", "string 65736576656e"],
    ["int64", [0x05], 0.5, "double fb3fe0000000000000"],
    ["double", [0xfb, 0, 0, 0, 0, 0, 0, 0, 0], 7n, "double fb401c000000000000"],
    ["string", [0x60], 7, "double fb401c000000000000"],
    ["string", [0x60], undefined, "string f6"],
    ["json", [0xf6], 7, "json 07"],
    ["json", [0xf6], undefined, "json f6"],
    ["binary", [1], null, "json f6"],
    ["binary", [1], Uint8Array.of(2), "binary 02"],
    ["record_v2", [0x61], [["x"]], "record_v2 78"],
    ["record_v2", [0x61], [1], "json 9f01ff"],
    ["json", [0xf6], datatypes.INT64(7n), "int64 07"],
  ];
  for (const [type, bytes, answer, expected] of cases) {
    for (const send of [
      () => peer.sendToPath(path, value(type, bytes)),
      () => peer.sendToSession(session.id, path, value(type, bytes)),
    ]) {
      answers.push(answer);
      const { body } = await peer.answerTo(send());
      const name = expected.split(" ")[0];
      assert.equal(`${name} ${body.subarray(2 + name.length).toString("hex")}`, expected, `${type}, ${String(answer)}`);
      assert.deepEqual(body, value(name, Buffer.from(expected.slice(name.length + 1), "hex")));
    }
  }
});

test("D-4 a value that its type cannot hold exactly is not sent", async () => {
  const lossy = {
    int64: [1.5, -0, Number.NaN, 2 ** 53, "5", 2n ** 63n, -(2n ** 63n) - 1n, {}, true, []],
    double: ["1", 2n ** 53n + 1n, {}, true, Uint8Array.of(1)],
    string: [1, 1n, {}, true, "\ud800", "a\udc00b"],
    binary: ["text", 1, {}, [1, 2], null],
    record_v2: ["a", [1], [["a", 1]], [[null]], {}, null, undefined],
    json: [() => 1, Symbol("x"), 2n ** 63n, "\udfff", { "\ud800": 1 }, new Map([[1, 2]]), { a: [Symbol.iterator] }],
  };
  for (const [type, values] of Object.entries(lossy)) {
    for (const bad of values) {
      const sends = [
        sender.messaging.sendRequestToPath("lossy", bad, { type }),
        sender.messaging.sendRequestToSession("lossy", recipient.id, bad, { type }),
        sender.messaging.sendRequestToFilter("all", "lossy", bad, { type }),
      ];
      for (const sent of sends) await fails(sent, { code: "INVALID_DATA", outcome: "not-sent" });
      const error = thrown(() => datatypes[type.toUpperCase()](bad));
      assert.ok(error instanceof TypeError || error instanceof RangeError, `${type} ${String(error)}`);
    }
  }
});

test("D-4 an answer that its type cannot hold exactly fails the request, and the handler stays", async () => {
  const path = unique("lossy");
  const answers = [1.5, 2n ** 64n, "5", Symbol("x"), () => 1, 5n];
  await recipient.messaging.addRequestHandler(path, () => answers[0], { responseType: "int64" });
  while (answers.length > 1) {
    await fails(sender.messaging.sendRequestToPath(path, 1), {
      code: "CALLBACK_EXCEPTION",
      reason: 105,
      outcome: "failed",
    });
    answers.shift();
  }
  assert.equal(await sender.messaging.sendRequestToPath(path, 1), 5n);
});

test("D-4 values come back exactly, at the edges too", async () => {
  const path = unique("edges");
  await recipient.messaging.addRequestHandler(path, (request) => request);
  const edges = [
    ...[0n, -1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)],
    ...[0, -0, 5e-324, 1.7976931348623157e308, 2 ** 53, 1e21, Number.NaN, Number.POSITIVE_INFINITY],
    ...["", "\u0000", "\ufeff", "\uffff", "💡", "a".repeat(100_000)],
    { a: [-0, 1e300, Number.NaN, 2n ** 63n - 1n, 2 ** 53 + 2, Uint8Array.of(1), {}, []], "": { "": null } },
  ];
  for (const edge of edges) assert.deepEqual(await sender.messaging.sendRequestToPath(path, edge), edge);
});

test("D-5 a response type is a data type, its name in any case, or its number", async () => {
  const path = unique("names");
  await recipient.messaging.addRequestHandler(path, (type) => VALUES[type][0]);
  const spellings = {
    json: [datatypes.JSON, "json", "JSON", "Json", 15],
    string: [datatypes.STRING, "string", "STRING", 17],
    int64: [datatypes.INT64, "int64", "INT64", "Int64", 18],
    double: [datatypes.DOUBLE, "double", "DOUBLE", 19],
    binary: [datatypes.BINARY, "binary", "BINARY", 14],
    record_v2: [datatypes.RECORD_V2, "record_v2", "RECORD_V2", "recordv2", "RecordV2", 20],
  };
  for (const [type, likes] of Object.entries(spellings)) {
    for (const responseType of [...likes, undefined, null]) {
      const got = await sender.messaging.sendRequestToPath(path, type, { responseType });
      assert.deepEqual(got, VALUES[type][1]);
    }
  }
});

test("D-5 what names no data type is an invalid argument", async () => {
  const bad = ["", "text", "json ", "int32", 0, 13, 16, 21, 1.5, true, {}, [], String, Number, Symbol("x"), () => 1];
  const invalid = { code: "INVALID_ARGUMENT", outcome: "not-sent" };
  for (const type of bad) {
    await fails(sender.messaging.sendRequestToPath("x", 1, { responseType: type }), invalid);
    await fails(sender.messaging.sendRequestToPath("x", 1, { type }), invalid);
    await fails(
      sender.messaging.addRequestHandler("x", () => 1, { requestType: type }),
      invalid,
    );
    await fails(
      sender.messaging.addRequestHandler("x", () => 1, { responseType: type }),
      invalid,
    );
    assertError(
      thrown(() => sender.messaging.addStreamHandler("x", () => 1, { requestType: type })),
      invalid,
    );
  }
});

test("D-5 without a response type it is that of the request if that was named", async () => {
  const path = unique("default");
  await recipient.messaging.addRequestHandler(path, () => datatypes.INT64(7n));
  const ask = (request, given) => sender.messaging.sendRequestToPath(path, request, given);
  assert.equal(await ask(5), 7n);
  assert.equal(await ask({}), 7n);
  assert.equal(await ask(5, { type: "double" }), 7);
  assert.equal(await ask(datatypes.JSON({})), 7);
  await fails(ask("x", { type: "string" }), unreadable);
  await fails(ask(datatypes.STRING("x")), unreadable);
  assert.equal(await ask(datatypes.STRING("x"), { responseType: "int64" }), 7n);
  recipient.messaging.addStreamHandler(path, () => datatypes.INT64(7n), { addressed: true });
  const [named] = await collect(sender.messaging.gather(filter, path, 5, { type: "double" }));
  assert.equal(named.value, 7);
  const [wrong] = await collect(sender.messaging.gather(filter, path, datatypes.STRING("x")));
  assertError(wrong.error, unreadable);
});

test("D-5 a response of a type that this client does not know is an error that names it", async () => {
  const path = unique("unknown");
  await peer.register(path);
  for (const responseType of [undefined, "json"]) {
    const sent = sender.messaging.sendRequestToPath(path, {}, { responseType });
    peer.respond(await peer.next({ service: DELIVERY }), value("time_series", [1, 2]));
    await fails(sent, { ...unreadable, message: /time_series/ });
  }
  peer.sendToFilter(filter, "none", value("json", [0xf6]));
  assert.equal(readFilterResponse((await peer.next({ service: 103 })).body).reason, 109);
});
