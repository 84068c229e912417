// Values arrive as they were sent.

import { datatypes } from "antiphon";
import { fails, ok, open, same, test, unique } from "../support.js";

/** Gives a function that sends a value, and resolves with what arrived, `[type, value]`, and what came back. */
async function openEcho() {
  const { messaging } = await open();
  const path = unique("echo");
  let arrived;
  await messaging.addRequestHandler(path, (value, { requestType }) => {
    arrived = [requestType, value];
    return value;
  });
  return async (value, options) => {
    const answer = await messaging.sendRequestToPath(path, value, options);
    return { arrived, answer };
  };
}

/** Each value, sent without naming a type, arrives as `type`, as it was, and comes back. */
async function arriveAs(type, values) {
  await arriveChanged(
    type,
    values.map((value) => [value, value]),
  );
}

/** Of each pair, the first arrives and comes back as the second. */
async function arriveChanged(type, pairs, options = {}) {
  const echo = await openEcho();
  for (const [value, expected] of pairs) {
    const { arrived, answer } = await echo(value, options);
    same(arrived, [type, expected]);
    same(answer, expected);
  }
}

test("strings arrive exactly", () =>
  arriveAs("string", ["", "a", "grüße 👋", "\0\u001f\u007f\ufeff\ufffd\uffff", "x".repeat(100_000)]));

test("numbers arrive exactly as doubles", () =>
  arriveAs("double", [
    0,
    -0,
    1,
    -1,
    0.1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    5e-324,
    Number.MAX_VALUE,
    2 ** 53,
  ]));

test("bigints arrive exactly as int64", async () => {
  await arriveAs("int64", [0n, -1n, 23n, 24n, 256n, 65536n, 2n ** 32n, 2n ** 53n + 1n, -(2n ** 53n) - 1n]);
  await arriveAs("int64", [2n ** 63n - 1n, -(2n ** 63n)]);
});

test("bytes arrive exactly as binary", async () => {
  await arriveAs("binary", [
    new Uint8Array(),
    Uint8Array.of(0),
    Uint8Array.from({ length: 256 }, (_, number) => number),
  ]);
  await arriveChanged("binary", [
    [Uint8Array.of(1, 2, 3).buffer, Uint8Array.of(1, 2, 3)],
    [Uint8Array.of(0, 1, 2, 3).subarray(1, 3), Uint8Array.of(1, 2)],
    [new DataView(Uint8Array.of(1, 2, 3).buffer, 1), Uint8Array.of(2, 3)],
    [new Uint8ClampedArray([7]), Uint8Array.of(7)],
  ]);
});

test("whatever JSON can say arrives exactly", () =>
  arriveAs("json", [
    true,
    false,
    null,
    [],
    {},
    [[], {}, [{}]],
    { a: 1, b: "two", c: [3, null, { d: true }], "é 👋": "" },
    { b: 1, a: 2, 10: 3, "": 4 },
    [0, -1, 23, 24, 255, 256, 65535, 65536, 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1],
    [-0, 0.1, 1e21, 1e300, 5e-324, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53],
    [5n, -5n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, -(2n ** 63n)],
    [new Uint8Array(), Uint8Array.of(1, 2, 3)],
    Array.from({ length: 10_000 }, (_, number) => ({ number })),
  ]));

test("what JSON says otherwise arrives as JSON says it", () => {
  class Point {
    x = 1;
    get y() {
      return 2;
    }
  }
  const sparse = [undefined, 0, 1];
  delete sparse[1];
  return arriveChanged("json", [
    [undefined, null],
    [{ a: undefined, b: 1 }, { b: 1 }],
    [sparse, [null, null, 1]],
    [new Date(0), "1970-01-01T00:00:00.000Z"],
    [{ toJSON: () => ({ a: [1] }) }, { a: [1] }],
    [[{ toJSON: (key) => key }], ["0"]],
    [
      new Map([
        ["b", 1],
        ["a", new Map()],
      ]),
      { b: 1, a: {} },
    ],
    [
      [Object(1), Object("a"), Object(false)],
      [1, "a", false],
    ],
    [new Point(), { x: 1 }],
    [Object.create({ inherited: 1 }, { hidden: { value: 2 }, own: { value: 3, enumerable: true } }), { own: 3 }],
    [{ [Symbol("s")]: 1, a: 2 }, { a: 2 }],
    [
      [datatypes.INT64(5n), datatypes.STRING("a")],
      [5n, "a"],
    ],
  ]);
});

test("keys that mean something to JavaScript are ordinary keys", async () => {
  const echo = await openEcho();
  for (const name of [
    "__proto__",
    "then",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "0",
    "",
  ]) {
    const { arrived, answer } = await echo(JSON.parse(`{"a": {"${name}": {"isAdmin": true}}}`));
    for (const { a } of [answer, arrived[1]]) {
      same(Object.keys(a), [name]);
      same(a.isAdmin, undefined, name);
      ok(Object.getPrototypeOf(a) === Object.prototype, `${name} has changed the prototype`);
      same(Object.getOwnPropertyDescriptor(a, name).value.isAdmin, true, name);
    }
  }
  same({}.isAdmin, undefined);
});

test("a then from the wire is not called", async () => {
  const echo = await openEcho();
  // biome-ignore lint/suspicious/noThenProperty: that is what is tested
  const request = { then: "what", data: 1 };
  same((await echo(request)).answer, request);
});

test("a type that was named is the type that arrives", async () => {
  await arriveChanged(
    "json",
    [
      ["text", "text"],
      [5, 5],
      [5n, 5],
      [-0, -0],
    ],
    { type: "json" },
  );
  const orNull = (value, expected) => [
    [value, expected],
    [null, null],
  ];
  await arriveChanged("int64", orNull(5, 5n), { type: "INT64" });
  await arriveChanged("double", orNull(5n, 5), { type: datatypes.DOUBLE });
  await arriveChanged("string", orNull("text", "text"), { type: 17 });
  await arriveChanged("binary", [[new ArrayBuffer(2), Uint8Array.of(0, 0)]], { type: "binary" });
  const records = [["a", "b"], [""]];
  await arriveChanged("record_v2", [[records, records]], { type: "record_v2" });
  await arriveChanged("int64", [
    [datatypes.INT64(5), 5n],
    [datatypes.INT64(null), null],
  ]);
});

test("a response is converted to the type that was asked for if nothing is lost", async () => {
  const { messaging } = await open();
  const path = unique("convert");
  await messaging.addRequestHandler(path, ([type, value]) => datatypes[type](value));
  const convert = (type, value, responseType) => messaging.sendRequestToPath(path, [type, value], { responseType });
  for (const [type, value, wanted, expected] of [
    ["STRING", "a", "json", "a"],
    ["INT64", 5n, "json", 5],
    ["INT64", 2n ** 53n + 1n, "json", 2n ** 53n + 1n],
    ["DOUBLE", 0.5, "json", 0.5],
    ["INT64", 5n, "double", 5],
    ["DOUBLE", 5, "int64", 5n],
    ["STRING", null, "json", null],
  ]) {
    same(await convert(type, value, wanted), expected, `${type} as ${wanted}`);
  }
  for (const [type, value, wanted] of [
    ["INT64", 2n ** 53n + 1n, "double"],
    ["DOUBLE", 0.5, "int64"],
    ["STRING", "5", "int64"],
    ["JSON", "a", "string"],
    ["STRING", "a", "binary"],
  ]) {
    await fails(convert(type, value, wanted), "INCOMPATIBLE_DATATYPE", "failed", `${type} as ${wanted}`);
  }
});

test("what the caller changes after the call is not sent", async () => {
  const { messaging } = await open();
  const path = unique("echo");
  await messaging.addRequestHandler(path, (request) => request);
  const object = { a: [1], bytes: Uint8Array.of(1) };
  const bytes = Uint8Array.of(1, 2, 3);
  const wrapped = datatypes.BINARY(bytes);
  const list = ["first"];
  const sent = [object, bytes, wrapped, list].map((it) => messaging.sendRequestToPath(path, it));
  object.a.push(2);
  object.bytes[0] = 9;
  object.b = 1;
  bytes.fill(9);
  list.length = 0;
  const was = Uint8Array.of(1, 2, 3);
  same(await Promise.all(sent), [{ a: [1], bytes: Uint8Array.of(1) }, was, was, ["first"]]);
});

test("what the handler changes after it answered is not sent", async () => {
  const { messaging } = await open();
  const path = unique("changes");
  await messaging.addRequestHandler(path, () => {
    const list = [1];
    queueMicrotask(() => list.push(2));
    return list;
  });
  same(await messaging.sendRequestToPath(path, 1), [1]);
});

test("a value that JSON cannot say is not sent and the error names the member", async () => {
  const echo = await openEcho();
  const circle = { list: [] };
  circle.list.push(circle);
  for (const [value, place] of [
    [() => {}, ""],
    [Symbol("s"), ""],
    [{ a: [1, { b: () => {} }] }, "a[1].b"],
    [[[Symbol("s")]], "[0][0]"],
    [circle, "list[0]"],
    [{ text: "a\ud800" }, "text"],
    ["\udc00", ""],
    [{ "\ud800": 1 }, ""],
    [[2n ** 64n], "[0]"],
    [[-(2n ** 63n) - 1n], "[0]"],
    [2n ** 63n, ""],
    [
      {
        get a() {
          throw new Error("kaputt");
        },
      },
      "a",
    ],
    [
      [
        {
          toJSON() {
            throw new Error("kaputt");
          },
        },
      ],
      "[0]",
    ],
    [new Map([[1, 2]]), ""],
  ]) {
    const { message } = await fails(echo(value), "INVALID_DATA", "not-sent", place);
    ok(message.includes(place), `${JSON.stringify(message)} has ${place} in it`);
  }
  same((await echo("still well")).answer, "still well");
});

test("a value that its named type cannot hold is not sent", async () => {
  const echo = await openEcho();
  for (const [value, type] of [
    [1.5, "int64"],
    [2 ** 63, "int64"],
    [Number.NaN, "int64"],
    ["5", "int64"],
    [2n ** 53n + 1n, "double"],
    ["5", "double"],
    [5, "string"],
    [null, "binary"],
    ["text", "binary"],
    [[[1]], "record_v2"],
    [null, "record_v2"],
  ]) {
    await fails(echo(value, { type }), "INVALID_DATA", "not-sent", `${value} as ${type}`);
  }
});

test("values nest as deep as 256 and no deeper", async () => {
  const echo = await openEcho();
  const nested = (depth) => {
    let value = [];
    for (let level = 1; level < depth; level++) value = [value];
    return value;
  };
  same((await echo(nested(256))).answer, nested(256));
  await fails(echo(nested(257)), "INVALID_DATA", "not-sent");
  await fails(echo(nested(1_000_000)), "INVALID_DATA", "not-sent");
  same((await echo([])).answer, []);
});
