// The JavaScript codec (src/value.js): node --test tests/js/
// SEED=<number> repeats a run of the random tests; each one prints the seed it used.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { MessagingError } from "../../src/error.js";
import { DataValue, datatypes, decode, encode, encodeAnswer, typeCode, typeName, untyped } from "../../src/value.js";

const [BINARY, JSON_TYPE, STRING, INT64, DOUBLE, RECORD_V2] = [14, 15, 17, 18, 19, 20];
const ALL = [BINARY, JSON_TYPE, STRING, INT64, DOUBLE, RECORD_V2];

const hexOf = (bytes) => Buffer.from(bytes).toString("hex");
const bytesOf = (hex) => new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"));
const write = (value, type = "json") => hexOf(encode(value, type).bytes);
const writeUntyped = (value) => hexOf(encode(value).bytes);
const read = (hex, type = "json", wanted = 0) => decode(typeCode(type), "", bytesOf(hex), wanted);
const roundTrip = (value, type = "json") => decode(typeCode(type), "", encode(value, type).bytes.slice(), 0);

/** Runs `act` and gives the MessagingError it must throw. */
function failure(act, code, outcome) {
  let thrown;
  try {
    act();
  } catch (error) {
    thrown = error;
  }
  assert.ok(thrown instanceof MessagingError, `expected a MessagingError, got ${thrown}`);
  assert.equal(thrown.code, code, thrown.message);
  assert.equal(thrown.outcome, outcome, thrown.message);
  return thrown;
}

const refused = (value, type = "json") => failure(() => encode(value, type), "INVALID_DATA", "not-sent");
const refusedUntyped = (value) => failure(() => encode(value), "INVALID_DATA", "not-sent");
const malformed = (hex, type = "json") => failure(() => read(hex, type), "INVALID_DATA", "failed");
const incompatible = (hex, type, wanted) =>
  failure(() => read(hex, type, typeCode(wanted)), "INCOMPATIBLE_DATATYPE", "failed");

/** Asserts the message of a refusal: where, and why. */
function refusedAt(value, path, why, type = "json") {
  const { message } = refused(value, type);
  assert.ok(message.startsWith(`${path} `), `${message} | expected path ${path}`);
  assert.match(message.slice(path.length), why);
}

/** While `act` runs, Object.prototype (or another prototype) has one property more. */
function withProperty(target, name, descriptor, act) {
  const before = Object.getOwnPropertyDescriptor(target, name);
  Object.defineProperty(target, name, { configurable: true, ...descriptor });
  try {
    return act();
  } finally {
    if (before) Object.defineProperty(target, name, before);
    else delete target[name];
  }
}

function random(t) {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 32)) >>> 0;
  console.log(`${t.name}: SEED=${seed}`);
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return { next, below, pick: (list) => list[below(list.length)] };
}

// ---- Recorded values ----

const vectors = JSON.parse(readFileSync(new URL("../vectors/vectors.json", import.meta.url), "utf8"));

/** The JavaScript value that stands in `decoded` of a vector. */
function told(value, type) {
  if (type === "int64" && typeof value === "number") return BigInt(value);
  if (Array.isArray(value)) return value.map((member) => told(member));
  if (typeof value !== "object" || value === null) return value;
  if ("$int" in value) return BigInt(value.$int);
  if ("$double" in value) return Number(value.$double);
  if ("$bytes" in value) return bytesOf(value.$bytes);
  if ("$undefined" in value) return null;
  if ("$record_v2" in value) {
    const text = Buffer.from(value.$record_v2, "hex").toString();
    return text.split("\x01").map((record) => record.split("\x02"));
  }
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, told(member)]));
}

/** The first bytes of all items of well-formed CBOR, found without the codec under test. */
function heads(bytes) {
  const found = [];
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i++];
    found.push(first);
    const low = first & 31;
    let argument = low;
    if (low > 23 && low < 28) {
      const size = 1 << (low - 24);
      argument = Number(`0x${hexOf(bytes.subarray(i, i + size))}`);
      i += size;
    }
    if (first >> 5 === 2 || first >> 5 === 3) i += argument;
  }
  return found;
}

/** Why the encoder writes a recorded value in another form, undefined if it must write the very same bytes. */
function otherForm({ name, dataType, hex }) {
  if (/quirk/.test(name)) return "quirk of the client";
  if (dataType === "binary" || dataType === "record_v2") return undefined;
  const first = heads(bytesOf(hex));
  if (first.includes(0xf9) || first.includes(0xfa)) return "short float";
  if (first.includes(0xf7)) return "undefined";
  if (hex === "1bffffffffffffffff") return "integer beyond int64";
  return undefined;
}

test("every recorded value is read as what was recorded, and written as the same bytes if there is one form", () => {
  const count = { read: 0, written: 0 };
  const others = {};
  for (const vector of vectors.filter(({ direction }) => direction === "value")) {
    const { name, source, dataType, hex } = vector;
    const label = `${source}: ${name}`;
    const value = told(vector.decoded.value, dataType);
    assert.deepEqual(read(hex, dataType), value, label);
    count.read++;
    const reason = otherForm(vector);
    if (reason) {
      others[reason] = (others[reason] ?? 0) + 1;
    } else {
      assert.equal(write(value, dataType), hex, label);
      count.written++;
    }
  }
  console.log(`recorded values: ${JSON.stringify(count)}, not one form: ${JSON.stringify(others)}`);
  assert.equal(count.read, 165);
  assert.ok(count.written > 100);
});

test("the recorded malformed values are refused", () => {
  const found = vectors.filter(({ name }) => /^malformed: .*CBOR/.test(name));
  assert.equal(found.length, 2);
  for (const { hex, name } of found) {
    assert.ok(malformed(hex, "json"), name);
    assert.ok(malformed(hex, "string"), name);
    assert.ok(malformed(hex, "int64"), name);
  }
});

// ---- Which type ----

test("the data type is inferred from the kind of value", () => {
  const cases = [
    ["text", "string"],
    ["", "string"],
    [1, "double"],
    [-0, "double"],
    [Number.NaN, "double"],
    [1n, "int64"],
    [new Uint8Array(1), "binary"],
    [Buffer.from("a"), "binary"],
    [new ArrayBuffer(1), "binary"],
    [new SharedArrayBuffer(1), "binary"],
    [new DataView(new ArrayBuffer(1)), "binary"],
    [new Float64Array(1), "binary"],
    [{}, "json"],
    [[], "json"],
    [true, "json"],
    [null, "json"],
    [undefined, "json"],
    [new Date(0), "json"],
    [new Map(), "json"],
    [Object.create(null), "json"],
    [new String("boxed"), "json"],
  ];
  for (const [value, type] of cases) {
    const { code, named, bytes } = encode(value);
    assert.equal(typeName(code), type);
    assert.equal(named, false);
    assert.ok(bytes instanceof Uint8Array);
  }
});

test("a data type can be named by its object, its name in any case, and its number", () => {
  for (const code of ALL) {
    const name = typeName(code);
    const type = datatypes[name.toUpperCase()];
    for (const like of [code, name, name.toUpperCase(), type]) assert.equal(typeCode(like), code);
    assert.equal(type.typeCode, code);
    assert.equal(type.typeName, name);
  }
  for (const name of ["recordv2", "RecordV2", "RECORD_V2", "Record_v2"]) assert.equal(typeCode(name), RECORD_V2);
  assert.equal(typeCode(undefined), 0);
  assert.equal(typeCode(null), 0);
  assert.equal(typeName(99), "unknown");
});

test("an unknown data type is an invalid argument, and the error lists the known ones", () => {
  const unknown = [
    "",
    "jsonn",
    "time_series",
    0,
    16,
    21,
    Number.NaN,
    15n,
    {},
    [],
    Symbol("json"),
    () => 0,
    true,
    String,
  ];
  for (const type of [...unknown, { typeCode: 15 }, "__proto__", "constructor", datatypes.INT64(1n)]) {
    for (const act of [() => typeCode(type), () => encode(1, type), () => encodeAnswer(1, type, JSON_TYPE)]) {
      const { message } = failure(act, "INVALID_ARGUMENT", "not-sent");
      for (const code of ALL) assert.ok(message.includes(typeName(code)), message);
    }
  }
});

test("a type is named if it was given as an argument or by a typed value", () => {
  assert.equal(encode(1, "double").named, true);
  assert.equal(encode(datatypes.DOUBLE(1)).named, true);
  assert.equal(encode(datatypes.DOUBLE(1), "json").named, true);
  assert.equal(encode(1, undefined).named, false);
  assert.equal(encode(1, null).named, false);
});

// ---- json, written ----

test("json integers that are numbers have the shortest head, up to the safe integers", () => {
  const cases = [
    [0, "00"],
    [23, "17"],
    [24, "1818"],
    [255, "18ff"],
    [256, "190100"],
    [65535, "19ffff"],
    [65536, "1a00010000"],
    [2 ** 31, "1a80000000"],
    [2 ** 32 - 1, "1affffffff"],
    [2 ** 32, "1b0000000100000000"],
    [2 ** 53 - 1, "1b001fffffffffffff"],
    [-1, "20"],
    [-24, "37"],
    [-25, "3818"],
    [-256, "38ff"],
    [-257, "390100"],
    [-65537, "3a00010000"],
    [-(2 ** 32), "3affffffff"],
    [-(2 ** 32) - 1, "3b0000000100000000"],
    [-(2 ** 53) + 1, "3b001ffffffffffffe"],
  ];
  for (const [value, hex] of cases) {
    assert.equal(write(value), hex, String(value));
    assert.equal(write([value]), `9f${hex}ff`);
    assert.equal(write({ k: value }), `bf616b${hex}ff`);
  }
});

/** Bigints in eight bytes; `isMarked` if a number could have the same. */
const BIGINTS = [
  [0n, "1b0000000000000000", true],
  [5n, "1b0000000000000005", true],
  [2n ** 32n - 1n, "1b00000000ffffffff", true],
  [2n ** 32n, "1b0000000100000000", true],
  [2n ** 53n - 1n, "1b001fffffffffffff", true],
  [2n ** 53n, "1b0020000000000000", false],
  [2n ** 63n - 1n, "1b7fffffffffffffff", false],
  [-1n, "3b0000000000000000", true],
  [-(2n ** 32n), "3b00000000ffffffff", true],
  [-(2n ** 32n) - 1n, "3b0000000100000000", true],
  [-(2n ** 53n) + 1n, "3b001ffffffffffffe", true],
  [-(2n ** 53n), "3b001fffffffffffff", false],
  [-(2n ** 63n), "3b7fffffffffffffff", false],
];

test("a bigint within json has eight bytes, after a head of eight where a number could have them, and stays a bigint", () => {
  for (const [value, hex, isMarked] of BIGINTS) {
    const inArray = isMarked ? `9b0000000000000001${hex}` : `9f${hex}ff`;
    const inObject = isMarked ? `bf7b00000000000000026964${hex}ff` : `bf626964${hex}ff`;
    assert.equal(write([value]), inArray, String(value));
    assert.equal(write({ id: value }), inObject, String(value));
    assert.equal(write(new Set([value])), inArray);
    assert.equal(write(new Map([["id", value]])), inObject);
    for (const within of [
      [value],
      { id: value },
      { a: { id: value } },
      [[value], 1],
      { ids: [value, value] },
      [{ id: value }, null],
      { ["k".repeat(23)]: value, ["k".repeat(24)]: value, ["k".repeat(300)]: value, ["é".repeat(40_000)]: value },
    ]) {
      assert.deepEqual(roundTrip(within), within, String(value));
    }
    assert.deepEqual(roundTrip([Object(value), { toJSON: () => value }]), [value, value]);
    assert.deepEqual(roundTrip({ id: datatypes.INT64(value), other: 1 }), { id: value, other: 1 });
  }
});

test("numbers beside bigints stay numbers, in the form of numbers but for long ones in an array with a marked bigint", () => {
  const numbers = [0, -1, 5, 2 ** 32 - 1, 2 ** 32, -(2 ** 32) - 1, 2 ** 53 - 1, -(2 ** 53) + 1, 2 ** 53, -0, 1.5];
  const bigints = BIGINTS.map(([value]) => value);
  for (const number of numbers) {
    for (const bigint of bigints) {
      for (const both of [
        [number, bigint],
        [bigint, number],
        [[number], [bigint]],
        { a: number, b: bigint, c: number },
        { a: [bigint, { at: number }] },
      ]) {
        assert.deepEqual(roundTrip(both), both, `${number} ${bigint}`);
      }
    }
  }
  assert.deepEqual(roundTrip([...numbers, ...bigints, "text", [...numbers]]), [
    ...numbers,
    ...bigints,
    "text",
    [...numbers],
  ]);
  const now = 1_700_000_000_000;
  assert.equal(
    write({ at: now, id: 2n ** 40n }),
    "bf6261741b0000018bcfe568007b000000000000000269641b0000010000000000ff",
  );
  assert.equal(write([1, now, 2n ** 60n]), "9f011b0000018bcfe568001b1000000000000000ff");
  assert.equal(
    write([now, -now, 2n ** 40n]),
    "9b0000000000000003fb4278bcfe56800000fbc278bcfe568000001b0000010000000000",
  );
});

test("a json value that is nothing but a bigint is written, and read, as a number if that is exact", () => {
  for (const [value] of BIGINTS) {
    const number = Number(value);
    const exact = Number.isSafeInteger(number) ? number : value;
    assert.equal(roundTrip(value), exact);
    assert.equal(roundTrip(Object(value)), exact);
    assert.equal(write(value), write(exact));
    assert.equal(write({ toJSON: () => value }), write(exact));
  }
});

test("integers of eight bytes that nothing marks are numbers if that is exact", () => {
  // Official JavaScript writes the first two for NaN, and for infinities.
  for (const [hex, number] of [
    ["1b0000000000000000", 0],
    ["3b0000000000000000", -1],
    ["1b0000000000000005", 5],
    ["1b0000000100000000", 2 ** 32],
    ["1b001fffffffffffff", 2 ** 53 - 1],
    ["3b0000000100000000", -(2 ** 32) - 1],
  ]) {
    assert.deepEqual(read(`9f${hex}ff`), [number]);
    assert.deepEqual(read(`81${hex}`), [number]);
    assert.deepEqual(read(`bf616b${hex}ff`), { k: number });
    assert.deepEqual(read(`bf78016b${hex}ff`), { k: number });
    assert.deepEqual(read(`9a00000001${hex}`), [number]);
    assert.deepEqual(read(`bb0000000000000001616b${hex}`), { k: number });
    assert.deepEqual(read(`9b000000000000000181${hex}`), [[number]]);
  }
});

test("every other json number is a float of eight bytes", () => {
  const cases = [
    [1.5, "fb3ff8000000000000"],
    [-0, "fb8000000000000000"],
    [Number.NaN, "fb7ff8000000000000"],
    [Number.POSITIVE_INFINITY, "fb7ff0000000000000"],
    [Number.NEGATIVE_INFINITY, "fbfff0000000000000"],
    [2 ** 53, "fb4340000000000000"],
    [1e21, "fb444b1ae4d6e2ef50"],
    [1e300, "fb7e37e43c8800759c"],
    [5e-324, "fb0000000000000001"],
  ];
  for (const [value, hex] of cases) {
    assert.equal(write(value), hex);
    assert.ok(Object.is(read(hex), value));
  }
});

test("NaN has one form, whatever bits it was computed with", () => {
  const bits = new Uint8Array([1, 2, 3, 4, 5, 6, 0xff, 0xff]);
  const odd = new Float64Array(bits.buffer)[0];
  const negative = 0 / (Math.random() * 0);
  for (const value of [odd, negative, -Number.NaN]) {
    assert.equal(write(value, "double"), "fb7ff8000000000000");
    assert.equal(write({ value }), "bf6576616c7565fb7ff8000000000000ff");
  }
});

test("json maps and arrays have no length, text and bytes have one", () => {
  assert.equal(write([]), "9fff");
  assert.equal(write({}), "bfff");
  assert.equal(write({ "": "" }), "bf6060ff");
  assert.equal(write(""), "60");
  assert.equal(write([new Uint8Array(0)]), "9f40ff");
  assert.equal(write(new Map()), "bfff");
  assert.equal(write({ b: [1, { a: null }], a: true }), "bf61629f01bf6161f6ffff6161f5ff");
});

test("text has the shortest head at every edge of its length in bytes", () => {
  for (const unit of ["a", "é", "€", "😀"]) {
    const size = Buffer.byteLength(unit);
    const near = (edge) => [-2, -1, 0, 1, 2].map((d) => Math.max(0, Math.floor(edge / size) + d));
    for (const count of [24, 64, 192, 256, 65536].flatMap(near)) {
      for (const text of [unit.repeat(count), `a${unit.repeat(count)}`, `${"a".repeat(count)}${unit}`]) {
        const length = Buffer.byteLength(text);
        const prefix = [
          [24, () => (0x60 + length).toString(16)],
          [256, () => `78${length.toString(16).padStart(2, "0")}`],
          [65536, () => `79${length.toString(16).padStart(4, "0")}`],
          [2 ** 32, () => `7a${length.toString(16).padStart(8, "0")}`],
        ].find(([limit]) => length < limit)[1]();
        const expected = prefix + Buffer.from(text).toString("hex");
        assert.ok(write(text) === expected, `${text.length} units of ${unit}`);
        assert.ok(write(text, "string") === expected);
        assert.ok(read(expected) === text);
        assert.deepEqual(roundTrip({ [text]: 1 }), { [text]: 1 });
      }
    }
  }
});

test("every character is written and read as UTF-8 has it, in short text and in long", () => {
  for (let point = 0; point < 0x110000; point += point < 0x3000 ? 1 : 61) {
    if (point > 0xd7ff && point < 0xe000) continue;
    const text = String.fromCodePoint(point);
    const utf8 = Buffer.from(text).toString("hex");
    const hex = (0x60 + utf8.length / 2).toString(16) + utf8;
    assert.ok(write(text) === hex, hex);
    assert.ok(read(hex) === text, hex);
    const long = text.repeat(80);
    assert.ok(roundTrip(long) === long, hex);
  }
  for (const point of [0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfeff, 0xfffd, 0xffff, 0x10000, 0x10ffff]) {
    const text = `a${String.fromCodePoint(point)}`;
    assert.equal(roundTrip(text), text);
    assert.deepEqual(roundTrip({ [text]: text }), { [text]: text });
  }
});

test("a byte order mark at the start of a text stays", () => {
  for (const text of ["\ufeff", "\ufeffabc", `\ufeff${"x".repeat(100)}`]) {
    assert.equal(roundTrip(text), text);
    assert.equal(roundTrip(text, "string"), text);
    assert.deepEqual(roundTrip([[text]], "record_v2"), [[text]]);
  }
});

test("undefined is null in arrays and at the top, and nothing in objects and maps", () => {
  assert.equal(write(undefined), "f6");
  assert.equal(write([undefined, 1, undefined]), "9ff601f6ff");
  assert.equal(write({ a: undefined, b: 1, c: undefined }), "bf616201ff");
  assert.equal(write(new Map([["a", undefined]])), "bfff");
  assert.equal(write(new Array(3)), "9ff6f6f6ff");
  // biome-ignore lint/suspicious/noSparseArray: it is what is tested
  assert.equal(write([, 1]), "9ff601ff");
});

test("toJSON is called once for each value, with its key as JSON.stringify does, and what it returns is sent", () => {
  const spy = (result) => {
    const calls = [];
    return {
      calls,
      toJSON(...args) {
        calls.push(args);
        return result;
      },
    };
  };
  class Late {
    a = 1;
    toJSON() {
      return assert.fail("called for what toJSON returned");
    }
  }
  for (const shape of [(x) => x, (x) => [0, x], (x) => ({ key: x }), (x) => ({ "": [x] })]) {
    for (const result of [1, "text", null, [1], { a: 1 }, new Late()]) {
      const [ours, theirs] = [spy(result), spy(result)];
      encode(shape(ours), "json");
      JSON.stringify(shape(theirs));
      assert.deepEqual(ours.calls, theirs.calls);
    }
  }
  const map = spy(5);
  assert.equal(write(new Map([["k", map]])), "bf616b05ff");
  assert.deepEqual(map.calls, [["k"]]);
  assert.equal(write(spy(undefined)), "f6");
  assert.equal(write({ a: spy(undefined), b: 1 }), "bf616201ff");
  assert.equal(write([spy(undefined)]), "9ff6ff");
  assert.equal(write({ toJSON: 5 }), "bf66746f4a534f4e05ff");
  const list = [1, 2];
  list.toJSON = () => "list";
  assert.equal(roundTrip(list), "list");
  const callable = () => 0;
  callable.toJSON = () => "callable";
  assert.equal(roundTrip(callable), "callable");
  assert.equal(roundTrip({ at: new Date(0) }).at, "1970-01-01T00:00:00.000Z");
  assert.equal(roundTrip(new Date(Number.NaN)), null);
  assert.equal(roundTrip(new URL("http://example.com/")), "http://example.com/");
  refusedAt([{ toJSON: () => () => 1 }], "value[0]", /function/);
  refusedAt([{ toJSON: () => Symbol("s") }], "value[0]", /symbol/);
});

test("what JSON.stringify can say is read back as JSON.parse has it", () => {
  class Point {
    z = 3;
    #hidden = 4;
    constructor(x) {
      this.x = x;
      Object.defineProperty(this, "invisible", { value: 1 });
      this[Symbol("s")] = 1;
    }
    get computed() {
      return this.#hidden;
    }
  }
  Point.prototype.inherited = 1;
  const bare = Object.assign(Object.create(null), { a: 1, toString: 2 });
  const values = [
    new Point(1),
    bare,
    Object.create({ inherited: 1 }, { own: { value: 1, enumerable: true }, hidden: { value: 2 } }),
    [new Number(5), new String("s"), new Boolean(false)],
    { n: new Number(1.5), s: new String(""), b: new Boolean(true) },
    new Proxy({ a: [1] }, {}),
    new Proxy([1, 2], {}),
    Object.assign([1, 2], { extra: 1 }),
    { 2: "b", 1: "a", z: 1, y: 2, "01": 3 },
    {
      get a() {
        return 1;
      },
    },
  ];
  for (const value of values) {
    const expected = JSON.parse(JSON.stringify(value));
    const actual = roundTrip(value);
    assert.deepEqual(actual, expected);
    assert.equal(JSON.stringify(actual), JSON.stringify(expected));
  }
  const boxed = new Number(5);
  boxed.valueOf = () => 6;
  assert.equal(roundTrip(boxed), 6);
  assert.equal(roundTrip(Object(7n)), 7);
});

test("an enumerable property of Object.prototype is not sent", () => {
  withProperty(Object.prototype, "polluted", { value: 1, enumerable: true }, () => {
    assert.equal(write({ a: 1 }), "bf616101ff");
    assert.equal(write({}), "bfff");
    refusedAt(Object.create({ b: 2 }), "value", /no properties of its own/);
  });
});

test("a Map with text keys is an object with its keys in order", () => {
  assert.equal(
    write(
      new Map([
        ["b", 1],
        ["1", new Map([["x", [1]]])],
      ]),
    ),
    "bf6162016131bf61789f01ffffff",
  );
  for (const key of [1, Symbol("s"), null, undefined, {}, new String("a")]) {
    refusedAt({ m: new Map([["ok", 1]]).set(key, 2) }, "value.m", /key/);
  }
});

test("buffers and views inside json are byte strings of exactly what they show", () => {
  const buffer = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7]).buffer;
  assert.equal(write([new Uint8Array(buffer, 2, 3)]), "9f43020304ff");
  assert.equal(write([new DataView(buffer, 6)]), "9f420607ff");
  assert.equal(write([new Uint16Array(buffer, 2, 1)]), "9f420203ff");
  assert.equal(write([buffer]), "9f480001020304050607ff");
  assert.equal(write([Buffer.from("ab")]), "9f426162ff");
  const shared = new Uint8Array(new SharedArrayBuffer(2));
  shared.set([8, 9]);
  assert.equal(write([shared, shared.buffer]), "9f420809420809ff");
  const large = new Uint8Array(100000).fill(7);
  assert.deepEqual(roundTrip({ large }).large, large);
});

test("what comes from another frame is recognised", () => {
  const foreign = runInNewContext(
    "({ map: new Map([['a', 1]]), bytes: new ArrayBuffer(1), view: new Uint8Array(1), list: [1], date: new Date(0), n: new Number(1) })",
  );
  assert.equal(
    write(foreign),
    write({ map: { a: 1 }, bytes: new Uint8Array(1), view: new Uint8Array(1), list: [1], date: new Date(0), n: 1 }),
  );
  assert.equal(encode(foreign.bytes).code, BINARY);
  assert.equal(write(foreign.view, "binary"), "00");
});

test("an object is not taken for something else because of its tag", () => {
  for (const tag of ["Array", "Function", "Object", "Uint8Array", "ArrayBuffer", "Map", "Set", "Boolean", "File"]) {
    class Tagged {
      a = 1;
      get [Symbol.toStringTag]() {
        return tag;
      }
    }
    for (const tagged of [
      new Tagged(),
      { __proto__: { [Symbol.toStringTag]: tag }, a: 1 },
      { [Symbol.toStringTag]: tag, a: 1 },
      Object.assign(Object.create({}), { [Symbol.toStringTag]: tag, a: 1 }),
    ]) {
      assert.equal(write(tagged), "bf616101ff", tag);
    }
  }
  class Titled extends Map {
    title = "x";
    get [Symbol.toStringTag]() {
      return "Titled";
    }
  }
  assert.deepEqual(roundTrip(new Titled([["a", 1]])), { a: 1 });
});

test("a Set is an array, an Error its name and message, whatever else it has, and its toJSON counts", () => {
  assert.equal(write(new Set([1, "a", [2], undefined])), write([1, "a", [2], null]));
  assert.equal(write({ tags: new Set() }), write({ tags: [] }));
  refusedAt({ tags: new Set([1, () => 1]) }, "value.tags[1]", /function/);
  const circular = new Set();
  circular.add([circular]);
  refusedAt(circular, "value[0][0]", /cycle/);
  class NotFound extends TypeError {
    name = "NotFound";
    status = 404;
  }
  const aborted = new DOMException("stopped", "AbortError");
  assert.deepEqual(
    roundTrip({
      errors: [
        new Error("boom", { cause: () => 1 }),
        new NotFound("no such page"),
        aborted,
        new AggregateError([], "all"),
        runInNewContext("new RangeError('elsewhere')"),
      ],
    }),
    {
      errors: [
        { name: "Error", message: "boom" },
        { name: "NotFound", message: "no such page" },
        { name: "AbortError", message: "stopped" },
        { name: "AggregateError", message: "all" },
        { name: "RangeError", message: "elsewhere" },
      ],
    },
  );
  const telling = Object.assign(new Error("boom"), { toJSON: () => "told" });
  assert.equal(roundTrip(telling), "told");
});

/** An element as a DOM has it: a class of the platform, to whose instances a library has added something. */
function element() {
  class HTMLDivElement {}
  Object.defineProperty(HTMLDivElement.prototype, Symbol.toStringTag, { value: "HTMLDivElement", configurable: true });
  return Object.assign(new HTMLDivElement(), { __reactProps$1: { id: 1 } });
}

test("an object whose content is not in its properties is refused, and the error says what to send", () => {
  class Hidden {
    #secret = 1;
    get secret() {
      return this.#secret;
    }
  }
  const form = new FormData();
  form.set("name", "Ada");
  const channel = new MessageChannel();
  for (const [value, why] of [
    [new Blob(["%PDF"]), /of class Blob.*await blob\.bytes\(\)/],
    [new File(["%PDF"], "cv.pdf"), /of class File.*await blob\.bytes\(\)/],
    [Object.assign(new File([""], "a"), { preview: "blob:1" }), /of class File/],
    [new Response("text"), /of class Response/],
    [new Request("http://localhost/"), /of class Request/],
    [form, /of class FormData.*Object\.fromEntries\(/],
    [new URLSearchParams("a=1"), /of class URLSearchParams.*Object\.fromEntries\(/],
    [new Headers({ a: "b" }), /of class Headers.*Object\.fromEntries\(/],
    [new WeakMap(), /of class WeakMap/],
    [new WeakSet(), /of class WeakSet/],
    [new WeakRef({}), /of class WeakRef/],
    [/pattern/, /of class RegExp/],
    [Object(Symbol("boxed")), /of class Symbol/],
    [[1].values(), /of class Array Iterator/],
    [(function* () {})(), /of class Generator/],
    [new Intl.NumberFormat(), /of class Intl\.NumberFormat/],
    [new Event("x"), /of class Event/],
    [new AbortController(), /of class AbortController/],
    [new ReadableStream(), /of class ReadableStream/],
    [new TextDecoder(), /of class TextDecoder|no properties/],
    [new EventTarget(), /of class EventTarget|no properties/],
    [channel.port1, /of class (MessagePort|EventTarget)/],
    [new WebAssembly.Memory({ initial: 1 }), /of class WebAssembly\.Memory/],
    [element(), /of class HTMLDivElement/],
    [new Hidden(), /no properties of its own/],
    [new (class Empty {})(), /no properties of its own/],
    [Object.create({ inherited: 1 }), /no properties of its own/],
    [runInNewContext("/a/"), /of class RegExp/],
    [runInNewContext("new WeakMap()"), /of class WeakMap/],
    [new (class Upload extends File {})([""], "a"), /of class File/],
    [new Map([[1, "one"]]), /key that is not a string.*\[\.\.\.map\]/],
  ]) {
    refusedAt({ of: [value] }, "value.of[0]", why);
    refusedAt(value, "value", why);
  }
  channel.port1.close();
});

test("class instances with fields of their own are sent as before, whatever they derive from", () => {
  class Store extends EventTarget {
    id = 1;
  }
  class Bare {
    id = 1;
  }
  const other = runInNewContext("({ plain: {}, made: new (class Point { x = 1 })(), bare: Object.create(null) })");
  assert.deepEqual(roundTrip([new Store(), new Bare(), other]), [
    { id: 1 },
    { id: 1 },
    { plain: {}, made: { x: 1 }, bare: {} },
  ]);
  class Unset {
    a = undefined;
  }
  assert.deepEqual(roundTrip([{}, Object.create(null), new Unset()]), [{}, {}, {}]);
});

test("a typed value inside json stands for its value", () => {
  const { INT64, DOUBLE, STRING, BINARY, JSON: JSON_OF } = datatypes;
  assert.equal(
    write([INT64(5n), DOUBLE(1.5), STRING("a"), BINARY(new Uint8Array(1)), JSON_OF({ a: 1 }), STRING(null)]),
    write([5n, 1.5, "a", new Uint8Array(1), { a: 1 }, null]),
  );
  assert.equal(JSON.stringify({ a: JSON_OF([1]) }), '{"a":[1]}');
});

test("what json cannot say is refused with the path to it", () => {
  const symbol = Symbol("s");
  refusedAt(() => 1, "value", /function/);
  refusedAt(class {}, "value", /function/);
  refusedAt(symbol, "value", /symbol/);
  refusedAt([Promise.resolve(1)], "value[0]", /promise/);
  refusedAt({ items: [0, 0, 0, { name: () => 1 }] }, "value.items[3].name", /function/);
  refusedAt({ "a b": symbol }, 'value["a b"]', /symbol/);
  refusedAt({ 'a"b': { "": symbol } }, 'value["a\\"b"][""]', /symbol/);
  refusedAt({ ünï$_1: [symbol] }, "value.ünï$_1[0]", /symbol/);
  refusedAt({ "1a": symbol }, 'value["1a"]', /symbol/);
  refusedAt(new Map([["k", [symbol]]]), "value.k[0]", /symbol/);
  refusedAt({ n: 2n ** 63n }, "value.n", /64 bits/);
  refusedAt({ n: -(2n ** 63n) - 1n }, "value.n", /64 bits/);
  refusedAt([Object(2n ** 64n)], "value[0]", /64 bits/);
  refusedAt({ f: undefined, g: { h: () => 1 } }, "value.g.h", /function/);
});

test("a lone surrogate is refused, in text and in keys, short and long", () => {
  for (const lone of ["\ud800", "\udfff", "a\ud83d", "\ude00\ud83d", "\ud83d\ud83d\ude00", "é\udc00é"]) {
    for (const text of [lone, lone + "x".repeat(100), "€".repeat(100) + lone]) {
      refusedAt(text, "value", /surrogate/);
      refusedAt(text, "value", /surrogate/, "string");
      refusedAt({ a: [text] }, "value.a[0]", /surrogate/);
      refusedAt({ a: { [text]: 1 } }, `value.a[${JSON.stringify(text)}]`, /surrogate/);
      refusedAt(new Map([[text, 1]]), `value[${JSON.stringify(text)}]`, /surrogate/);
      refusedAt([["a", text]], "value[0][1]", /surrogate/, "record_v2");
    }
  }
});

test("a cycle is called a cycle, with the path to where it closes", () => {
  const self = {};
  self.self = self;
  refusedAt(self, "value.self", /cycle/);
  const list = [1];
  list.push([list]);
  refusedAt(list, "value[1][0]", /cycle/);
  const map = new Map();
  map.set("m", { map });
  refusedAt({ map }, "value.map.m.map", /cycle/);
  const late = { big: "x".repeat(1000), deep: [[[]]] };
  late.deep[0][0].push({ late });
  refusedAt({ a: { late } }, "value.a.late.deep[0][0][0].late", /cycle/);
  const viaToJson = { inner: { toJSON: () => viaToJson } };
  refusedAt(viaToJson, "value.inner", /cycle/);
});

test("the same object in several places is no cycle", () => {
  const shared = { a: [1] };
  assert.deepEqual(roundTrip([shared, shared, { shared }, shared.a]), [{ a: [1] }, { a: [1] }, { shared }, [1]]);
});

test("256 containers within one another pass, 257 do not, both ways", () => {
  const shapes = [
    [(x) => [x], "9f", "ff", "81"],
    [(x) => ({ a: x }), "bf6161", "ff", "a16161"],
    [(x) => new Map([["a", x]]), "bf6161", "ff", "a16161"],
  ];
  for (const [wrap, open, close, definite] of shapes) {
    const nest = (levels) => {
      let value = 7;
      for (let i = 0; i < levels; i++) value = wrap(value);
      return value;
    };
    const hex = (levels) => `${open.repeat(levels)}07${close.repeat(levels)}`;
    assert.equal(write(nest(256)), hex(256));
    assert.match(refused(nest(257)).message, /256/);
    assert.equal(write(read(hex(256))), hex(256));
    assert.equal(write(read(`${definite.repeat(256)}07`)), hex(256));
    malformed(hex(257));
    malformed(`${definite.repeat(257)}07`);
  }
  assert.equal(write(read("9f".repeat(256) + "ff".repeat(256))), "9f".repeat(256) + "ff".repeat(256));
  malformed("9f".repeat(257) + "ff".repeat(257));
});

test("a million containers within one another are refused both ways, quickly and not by a full stack", () => {
  for (const open of ["81", "9f", "a16161", "bf6161", "c181", "a1a1"]) {
    const { message } = malformed(open.repeat(1_000_000));
    assert.match(message, /deep|key/);
  }
  let value = [];
  for (let i = 0; i < 1_000_000; i++) value = [value];
  refused(value);
});

test("a toJSON that nests for ever is refused", () => {
  const endless = () => ({ toJSON: () => ({ a: endless() }) });
  assert.match(refused(endless()).message, /256/);
});

// ---- Code of the application while a value is written ----

test("what the application throws while its value is read is the cause of the error, which has the path", () => {
  const boom = new Error("boom");
  const thrower = (thrown) => ({
    get c() {
      throw thrown;
    },
  });
  const failing = (trap) =>
    new Proxy(
      { a: 1 },
      {
        [trap]: () => {
          throw boom;
        },
      },
    );
  const cases = [
    [{ a: { b: thrower(boom) } }, "value.a.b.c"],
    [{ a: [failing("get")] }, "value.a[0]"],
    [{ a: failing("ownKeys") }, "value.a"],
    [{ a: failing("getPrototypeOf") }, "value.a"],
    [failing("getPrototypeOf"), "value"],
  ];
  for (const [value, path] of cases) {
    const error = refused(value);
    assert.equal(error.cause, boom);
    assert.ok(error.message.startsWith(`${path} threw`), error.message);
  }
  const toJSON = () => {
    throw boom;
  };
  assert.equal(refused({ x: [1, { toJSON }] }).cause, boom);
  assert.match(refused({ x: [1, { toJSON }] }).message, /^value\.x\[1\] threw/);
  for (const thrown of ["text", 0, null, Symbol("s"), { a: 1 }, new MessagingError("X", "x", "failed")]) {
    assert.equal(refused({ a: thrower(thrown) }).cause, thrown);
  }
  assert.match(refused(thrower(undefined)).message, /^value\.c threw/);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  assert.ok(refused([proxy]).cause instanceof TypeError);
  assert.ok(refusedUntyped(proxy).cause instanceof TypeError);
  assert.equal(refused([[failing("get")]], "record_v2").code, "INVALID_DATA");
});

test("a bare proxy that throws a proxy that throws is still one plain error", () => {
  const hostile = new Proxy(() => 1, {
    get() {
      throw hostile;
    },
    getPrototypeOf() {
      throw hostile;
    },
    has() {
      throw hostile;
    },
  });
  assert.equal(refused({ a: hostile }).cause, hostile);
});

test("a value may encode others while it is read, and both come out right", () => {
  const inner = { text: "inner".repeat(1000), list: [1, 2, 3] };
  const results = [];
  const value = {
    before: "x".repeat(50),
    get nested() {
      results.push(encode(inner, "json").bytes.slice());
      return [
        {
          toJSON() {
            results.push(encode(inner, "json").bytes.slice());
            results.push(encode("other", "string").bytes.slice());
            return datatypes.JSON({ ok: true }).value;
          },
        },
      ];
    },
    after: "y".repeat(5000),
  };
  const expected = { before: "x".repeat(50), nested: [{ ok: true }], after: "y".repeat(5000) };
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(roundTrip(value), expected);
    const [first, second, third] = results
      .splice(0)
      .map((bytes, k) => decode(k === 2 ? STRING : JSON_TYPE, "", bytes, 0));
    assert.deepEqual(first, inner);
    assert.deepEqual(second, inner);
    assert.equal(third, "other");
  }
});

test("encoding may go on within encoding to any depth the stack allows", () => {
  const nest = (n) => ({
    n,
    toJSON: () => (n === 0 ? [0] : decode(JSON_TYPE, "", encode([nest(n - 1)], "json").bytes, 0)),
  });
  const value = roundTrip(nest(20));
  assert.equal(JSON.stringify(value), `${"[".repeat(21)}0${"]".repeat(21)}`);
});

test("after a failure at any depth the next value is written as if nothing had been", () => {
  const expected = write({ a: [1, "two", { three: 3 }] });
  const throwing = {
    get x() {
      throw new Error("x");
    },
  };
  const nestedFailure = {
    toJSON() {
      try {
        encode({ a: [throwing] }, "json");
      } catch {
        // The outer value goes on.
      }
      refused(() => 1);
      return [1, "two", { three: 3 }];
    },
  };
  const bad = [throwing, [[[throwing]]], { a: "x".repeat(100000), b: throwing }, () => 1, ["\ud800"], 2n ** 64n];
  for (const value of bad) {
    refused(value);
    assert.equal(write({ a: [1, "two", { three: 3 }] }), expected);
    assert.equal(write({ a: nestedFailure }), expected);
  }
});

test("the application may change what is being read, and what is sent stays well-formed", () => {
  const shrinking = [
    1,
    {
      toJSON() {
        shrinking.length = 2;
        return 2;
      },
    },
    3,
  ];
  assert.deepEqual(roundTrip(shrinking), [1, 2, null]);
  const growing = [
    {
      toJSON() {
        growing.push(growing[0]);
        return 1;
      },
    },
  ];
  assert.deepEqual(roundTrip(growing), [1]);
  const losing = {
    get a() {
      delete losing.b;
      return 1;
    },
    b: 2,
    c: 3,
  };
  assert.deepEqual(roundTrip(losing), { a: 1, c: 3 });
});

test("the bytes of a value are its own until the next call, and nothing huge is kept after a huge value", () => {
  const first = encode("first", "json").bytes;
  assert.equal(hexOf(first), "656669727374");
  const huge = encode("x".repeat(1_000_000), "json").bytes;
  assert.equal(huge.length, 1_000_005);
  assert.ok(encode("small", "json").bytes.buffer.byteLength <= 65536);
  encode("x".repeat(10_000), "json");
  assert.ok(encode("small", "json").bytes.buffer.byteLength <= 65536);
  assert.equal(hexOf(huge.subarray(0, 6)), "7a000f424078");
});

test("whatever meets the end of a buffer is written whole", () => {
  const [text, wide] = ["x".repeat(63), "é".repeat(63)];
  const items = [
    7,
    300,
    70000,
    2 ** 40,
    -(2 ** 40),
    2n ** 60n,
    1.5,
    true,
    null,
    undefined,
    "text",
    text,
    wide,
    `${text}x`,
  ];
  items.push([], {}, [[[]]], { a: { b: [1] } }, { [wide]: text }, new Uint8Array(3), new Uint8Array(300));
  items.push(JSON.parse("[".repeat(40) + "]".repeat(40)));
  for (const item of items) {
    const tail = Buffer.from([...reference(item), ...reference(item), 0xff]);
    // The first two buffers end within this.
    for (let length = 0; length < 700; length++) {
      const { bytes } = encode([new Uint8Array(length), item, item], "json");
      assert.ok(tail.equals(bytes.subarray(-tail.length)), `${typeof item} behind ${length} bytes`);
      assert.equal(bytes.length, 1 + reference(new Uint8Array(length)).length + tail.length);
    }
  }
});

// ---- The other types, written ----

test("string takes text and null, nothing else", () => {
  assert.equal(write("héllo 😀", "string"), "6b68c3a96c6c6f20f09f9880");
  for (const none of [null, undefined]) assert.equal(write(none, "string"), "f6");
  for (const value of [1, 1n, true, {}, ["a"], Symbol("s"), () => 1, new String("a"), new Uint8Array(1)]) {
    refusedAt(value, "value", /string/, "string");
  }
});

test("int64 takes bigints of 64 bits and safe integers, and refuses what it would change", () => {
  const cases = [
    [0, "00"],
    [0n, "00"],
    [-1, "20"],
    [2 ** 53 - 1, "1b001fffffffffffff"],
    [-(2 ** 53) + 1, "3b001ffffffffffffe"],
    [2n ** 53n + 1n, "1b0020000000000001"],
    [2n ** 63n - 1n, "1b7fffffffffffffff"],
    [-(2n ** 63n), "3b7fffffffffffffff"],
    [null, "f6"],
    [undefined, "f6"],
  ];
  for (const [value, hex] of cases) assert.equal(write(value, "int64"), hex);
  const wrong = [2n ** 63n, -(2n ** 63n) - 1n, 2n ** 200n, 2 ** 53, -(2 ** 53), 1.5, -0, Number.NaN, Infinity];
  for (const value of [...wrong, "1", true, {}, [1], new Number(1), Object(1n), Symbol("s")]) refused(value, "int64");
});

test("double takes numbers and the bigints that equal one, and always has eight bytes", () => {
  const cases = [
    [0, "fb0000000000000000"],
    [-0, "fb8000000000000000"],
    [3, "fb4008000000000000"],
    [3n, "fb4008000000000000"],
    [2n ** 53n, "fb4340000000000000"],
    [2n ** 1000n, "fb7e70000000000000"],
    [Number.NaN, "fb7ff8000000000000"],
    [-Infinity, "fbfff0000000000000"],
    [null, "f6"],
    [undefined, "f6"],
  ];
  for (const [value, hex] of cases) assert.equal(write(value, "double"), hex);
  for (const value of [2n ** 53n + 1n, 2n ** 1024n, -(2n ** 5000n), "1", true, {}, new Number(1)])
    refused(value, "double");
});

test("binary takes buffers and views, also shared ones, and no null", () => {
  const shared = new SharedArrayBuffer(2);
  for (const value of [
    new Uint8Array(2),
    new ArrayBuffer(2),
    new DataView(new ArrayBuffer(2)),
    shared,
    new Int16Array(1),
  ]) {
    assert.equal(write(value, "binary"), "0000");
    assert.equal(writeUntyped(value), "0000");
  }
  assert.equal(write(new Uint8Array(shared), "binary"), "0000");
  assert.equal(write(new Uint8Array([1, 2, 3, 4]).subarray(1, 3), "binary"), "0203");
  assert.equal(write(Buffer.from("ab"), "binary"), "6162");
  assert.equal(write(new Uint8Array(0), "binary"), "");
  for (const value of [null, undefined, "a", [1], {}, 1, { length: 2 }]) refused(value, "binary");
  const detached = new Uint8Array(4);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  for (const type of ["binary", "json"]) refused(detached, type);
  refusedUntyped(detached);
});

test("record_v2 joins fields by 02 and records by 01, and no bytes are no records", () => {
  const cases = [
    [[], ""],
    [[["a"]], "61"],
    [[["a", "b"], ["c"]], "6102620163"],
    [[["", ""]], "02"],
    [[[""], [""]], "01"],
    [[["a"], [""]], "6101"],
    [[[""], ["a"]], "0161"],
    [[["", "a", ""], ["é"]], "02610201c3a9"],
  ];
  for (const [value, hex] of cases) {
    assert.equal(write(value, "record_v2"), hex);
    assert.deepEqual(read(hex, "record_v2"), value);
  }
});

test("record_v2 refuses what would be read as something else", () => {
  refusedAt([[""]], "value", /empty/, "record_v2");
  refusedAt([[]], "value[0]", /without fields/, "record_v2");
  refusedAt([["a"], []], "value[1]", /without fields/, "record_v2");
  refusedAt([["a", "b\x01"]], "value[0][1]", /separator/, "record_v2");
  refusedAt([["a"], ["\x02"]], "value[1][0]", /separator/, "record_v2");
  refusedAt([["a", 1]], "value[0][1]", /string/, "record_v2");
  refusedAt([["a", undefined, "b"]], "value[0][1]", /string/, "record_v2");
  refusedAt(["a"], "value[0]", /list/, "record_v2");
  for (const value of [null, undefined, "a", {}, 1, new Set()]) refusedAt(value, "value", /list/, "record_v2");
});

// ---- Typed values ----

test("a data type makes typed values, which know their type, value and bytes", () => {
  const cases = [
    [datatypes.INT64(5n), "int64", INT64, 5n, "05"],
    [datatypes.INT64(5), "int64", INT64, 5n, "05"],
    [datatypes.INT64(null), "int64", INT64, null, "f6"],
    [datatypes.DOUBLE(3), "double", DOUBLE, 3, "fb4008000000000000"],
    [datatypes.STRING("a"), "string", STRING, "a", "6161"],
    [datatypes.STRING(undefined), "string", STRING, null, "f6"],
    [datatypes.JSON({ a: [1] }), "json", JSON_TYPE, { a: [1] }, "bf61619f01ffff"],
    [datatypes.BINARY(new Uint8Array([1, 2])), "binary", BINARY, new Uint8Array([1, 2]), "0102"],
    [datatypes.RECORD_V2([["a", "b"]]), "record_v2", RECORD_V2, [["a", "b"]], "610262"],
  ];
  for (const [typed, name, code, value, hex] of cases) {
    assert.ok(typed instanceof DataValue);
    assert.equal(typed.typeName, name);
    assert.equal(typed.typeCode, code);
    assert.deepEqual(typed.value, value);
    assert.equal(hexOf(typed.toBytes()), hex);
    assert.deepEqual(datatypes[name.toUpperCase()].fromBytes(typed.toBytes()), value);
    assert.deepEqual({ ...encode(typed), bytes: hex }, { code, named: true, bytes: hex });
    assert.equal(writeUntyped(typed), hex);
  }
});

test("a typed value stays as it was made, whatever happens to what it was made from and what it gave", () => {
  const source = { a: [1] };
  const typed = datatypes.JSON(source);
  source.a.push(2);
  typed.value.a.push(3);
  typed.toBytes().fill(0);
  encode("something else", "json");
  assert.deepEqual(typed.value, { a: [1] });
  assert.equal(writeUntyped(typed), "bf61619f01ffff");
  const bytes = new Uint8Array([1, 2]);
  const binary = datatypes.BINARY(bytes);
  bytes.fill(9);
  binary.value.fill(8);
  assert.deepEqual(binary.value, new Uint8Array([1, 2]));
  assert.throws(() => {
    typed.value = 1;
  }, TypeError);
});

test("a data type throws TypeError or RangeError at once for what it cannot hold", () => {
  const {
    JSON: JSON_OF,
    STRING: STRING_OF,
    INT64: INT64_OF,
    DOUBLE: DOUBLE_OF,
    BINARY: BINARY_OF,
    RECORD_V2: RECORDS,
  } = datatypes;
  const cases = [
    [INT64_OF, "5", TypeError],
    [INT64_OF, {}, TypeError],
    [INT64_OF, 2n ** 63n, RangeError],
    [INT64_OF, 1.5, RangeError],
    [INT64_OF, -0, RangeError],
    [INT64_OF, 2 ** 53, RangeError],
    [DOUBLE_OF, "1", TypeError],
    [DOUBLE_OF, 2n ** 53n + 1n, RangeError],
    [STRING_OF, 1, TypeError],
    [STRING_OF, "\ud800", RangeError],
    [BINARY_OF, null, TypeError],
    [BINARY_OF, "a", TypeError],
    [RECORDS, null, TypeError],
    [RECORDS, [["\x01"]], RangeError],
    [RECORDS, [[""]], RangeError],
    [JSON_OF, () => 1, TypeError],
    [JSON_OF, { a: Symbol("s") }, TypeError],
    [JSON_OF, [2n ** 63n], RangeError],
    [INT64_OF, STRING_OF("5"), TypeError],
  ];
  for (const [type, value, kind] of cases) {
    assert.throws(
      () => type(value),
      (error) => error.constructor === kind && error.message.startsWith("value") && !("cause" in error),
    );
  }
  const boom = new Error("boom");
  const toJSON = () => {
    throw boom;
  };
  assert.throws(
    () => JSON_OF({ toJSON }),
    (error) => error instanceof TypeError && error.cause === boom,
  );
});

test("typed values cannot be made by hand, and only real ones count as such", () => {
  assert.throws(() => new DataValue(), TypeError);
  assert.throws(() => new DataValue(datatypes, 15, new Uint8Array(1)), TypeError);
  assert.throws(() => new datatypes.JSON({}), TypeError);
  const fake = Object.create(DataValue.prototype);
  assert.ok(fake instanceof DataValue);
  assert.ok(refusedUntyped(fake).cause instanceof TypeError);
});

test("a typed value of another copy of the package keeps its type", async () => {
  const other = await import("../../src/value.js?another-copy");
  const values = { JSON: { a: 5n }, STRING: "a", INT64: 5n, DOUBLE: 1.5, BINARY: Uint8Array.of(1), RECORD_V2: [["a"]] };
  for (const [name, value] of Object.entries(values)) {
    const foreign = other.datatypes[name](value);
    assert.ok(!(foreign instanceof DataValue));
    const { code, named, bytes } = encode(foreign);
    assert.deepEqual([code, named, hexOf(bytes)], [typeCode(name), true, hexOf(foreign.toBytes())]);
    assert.equal(encodeAnswer(foreign, undefined, JSON_TYPE).code, code);
    assert.deepEqual(untyped(foreign), value);
  }
  assert.equal(write(other.datatypes.INT64(5n), "double"), write(5, "double"));
  refused(other.datatypes.JSON({}), "int64");
  assert.equal(
    writeUntyped({ typeName: "int64", toBytes: "no function", value: 5n }),
    write({ typeName: "int64", toBytes: "no function", value: 5n }),
  );
});

test("datatypes and its members are frozen, and complete", () => {
  assert.deepEqual(Object.keys(datatypes), ["JSON", "STRING", "INT64", "DOUBLE", "BINARY", "RECORD_V2"]);
  assert.ok(Object.isFrozen(datatypes));
  for (const type of Object.values(datatypes)) assert.ok(Object.isFrozen(type));
});

test("fromBytes takes any bytes, checks them as for an arriving value, and keeps none of them", () => {
  const shared = new Uint8Array(new SharedArrayBuffer(40));
  shared.set([0x78, 38, ...Buffer.from("x".repeat(38))]);
  for (const source of [shared, shared.buffer, shared.slice(), shared.slice().buffer, Buffer.from(shared)]) {
    assert.equal(datatypes.STRING.fromBytes(source), "x".repeat(38));
  }
  assert.equal(datatypes.JSON.fromBytes(new DataView(new Uint8Array([0, 0x18, 0x2a]).buffer, 1)), 42);
  const bytes = new Uint8Array([1, 2, 3]);
  const value = datatypes.BINARY.fromBytes(bytes);
  bytes.fill(0);
  assert.deepEqual(value, new Uint8Array([1, 2, 3]));
  failure(() => datatypes.INT64.fromBytes(bytesOf("6161")), "INVALID_DATA", "failed");
  failure(() => datatypes.JSON.fromBytes(bytesOf("")), "INVALID_DATA", "failed");
  for (const wrong of [undefined, null, "00", [0], {}]) assert.throws(() => datatypes.JSON.fromBytes(wrong), TypeError);
});

test("a typed value sent as another type is converted if nothing is lost, else refused", () => {
  const { INT64: INT64_OF, DOUBLE: DOUBLE_OF, STRING: STRING_OF, JSON: JSON_OF, BINARY: BINARY_OF } = datatypes;
  const cases = [
    [INT64_OF(5n), "json", "05"],
    [INT64_OF(2n ** 53n + 1n), "json", "1b0020000000000001"],
    [INT64_OF(2n ** 53n), "double", "fb4340000000000000"],
    [DOUBLE_OF(2), "int64", "02"],
    [DOUBLE_OF(2), "json", "02"],
    [DOUBLE_OF(-0), "json", "fb8000000000000000"],
    [STRING_OF("a"), "json", "6161"],
    [STRING_OF(null), "int64", "f6"],
    [JSON_OF(null), "string", "f6"],
  ];
  for (const [typed, type, hex] of cases) {
    const { code, named, bytes } = encode(typed, type);
    assert.deepEqual([typeName(code), named, hexOf(bytes)], [type, true, hex]);
  }
  const lossy = [
    [INT64_OF(2n ** 53n + 1n), "double"],
    [DOUBLE_OF(-0), "int64"],
    [DOUBLE_OF(1.5), "int64"],
    [JSON_OF(5), "int64"],
    [JSON_OF("a"), "string"],
    [STRING_OF("a"), "binary"],
    [BINARY_OF(new Uint8Array(1)), "json"],
    [JSON_OF([["a"]]), "record_v2"],
    [STRING_OF(null), "binary"],
  ];
  for (const [typed, type] of lossy) {
    const { message } = refused(typed, type);
    assert.ok(message.includes(typed.typeName) && message.includes(type), message);
  }
});

// ---- Answers ----

test("an answer has the type that was named, else its own, else the request's if that holds it, else the inferred", () => {
  const typed = datatypes.INT64(5n);
  const cases = [
    // value, type, request, answer, bytes
    [1, "double", "json", "double", "fb3ff0000000000000"],
    [typed, undefined, "json", "int64", "05"],
    [typed, "json", "string", "json", "05"],
    [5, undefined, "json", "json", "05"],
    ["a", undefined, "json", "json", "6161"],
    [{ a: 1 }, undefined, "json", "json", "bf616101ff"],
    [5n, undefined, "json", "json", "05"],
    [new Uint8Array(1), undefined, "json", "json", "4100"],
    ["a", undefined, "string", "string", "6161"],
    [5, undefined, "string", "double", "fb4014000000000000"],
    [{}, undefined, "string", "json", "bfff"],
    [5, undefined, "int64", "int64", "05"],
    [5n, undefined, "int64", "int64", "05"],
    [1.5, undefined, "int64", "double", "fb3ff8000000000000"],
    [-0, undefined, "int64", "double", "fb8000000000000000"],
    [2 ** 53, undefined, "int64", "double", "fb4340000000000000"],
    ["a", undefined, "int64", "string", "6161"],
    [5, undefined, "double", "double", "fb4014000000000000"],
    [5n, undefined, "double", "double", "fb4014000000000000"],
    [2n ** 53n + 1n, undefined, "double", "int64", "1b0020000000000001"],
    [true, undefined, "double", "json", "f5"],
    [new Uint8Array(1), undefined, "binary", "binary", "00"],
    ["a", undefined, "binary", "string", "6161"],
    [[["a"]], undefined, "record_v2", "record_v2", "61"],
    [[["a", 1]], undefined, "record_v2", "json", "9f9f616101ffff"],
    ["a", undefined, undefined, "string", "6161"],
    [5, undefined, undefined, "double", "fb4014000000000000"],
  ];
  for (const none of [null, undefined]) {
    for (const type of ["string", "int64", "double", "json"]) cases.push([none, undefined, type, type, "f6"]);
    for (const type of ["binary", "record_v2", undefined]) cases.push([none, undefined, type, "json", "f6"]);
  }
  for (const [value, type, request, answer, hex] of cases) {
    const { code, bytes } = encodeAnswer(value, type, typeCode(request));
    assert.deepEqual([typeName(code), hexOf(bytes)], [answer, hex]);
  }
  assert.equal(encodeAnswer(1, "json", DOUBLE).named, true);
  assert.equal(encodeAnswer(typed, undefined, DOUBLE).named, true);
  assert.equal(encodeAnswer(1, undefined, DOUBLE).named, false);
  assert.equal(encodeAnswer(1, undefined, JSON_TYPE).named, false);
});

test("an answer that no type can say is refused, after toJSON was called once", () => {
  for (const request of [0, ...ALL]) {
    failure(() => encodeAnswer(() => 1, undefined, request), "INVALID_DATA", "not-sent");
    failure(() => encodeAnswer({ a: Symbol("s") }, undefined, request), "INVALID_DATA", "not-sent");
    let calls = 0;
    const toJSON = () => {
      calls++;
      throw new Error("boom");
    };
    failure(() => encodeAnswer({ toJSON }, undefined, request), "INVALID_DATA", "not-sent");
    assert.equal(calls, 1);
  }
  failure(() => encodeAnswer("a", "int64", STRING), "INVALID_DATA", "not-sent");
});

// ---- Reading ----

test("every form of an integer, a float, text, bytes, a list and a map is read", () => {
  const cases = [
    ["00", 0],
    ["1800", 0],
    ["190001", 1],
    ["1a00000001", 1],
    ["1b001fffffffffffff", 2 ** 53 - 1],
    ["1b0020000000000000", 2n ** 53n],
    ["1b0020000000000001", 2n ** 53n + 1n],
    ["1bffffffffffffffff", 2n ** 64n - 1n],
    ["3b001ffffffffffffe", -(2 ** 53) + 1],
    ["3b001fffffffffffff", -(2n ** 53n)],
    ["3b7fffffffffffffff", -(2n ** 63n)],
    ["3bffffffffffffffff", -(2n ** 64n)],
    ["3800", -1],
    ["f90000", 0],
    ["f98000", -0],
    ["f93c00", 1],
    ["f90001", 2 ** -24],
    ["f903ff", 1023 * 2 ** -24],
    ["f90400", 2 ** -14],
    ["f97bff", 65504],
    ["f9c400", -4],
    ["f97c00", Infinity],
    ["f9fc00", -Infinity],
    ["f97e00", Number.NaN],
    ["f97c01", Number.NaN],
    ["fa47c35000", 100000],
    ["fa7f800000", Infinity],
    ["fa7fc00000", Number.NaN],
    ["fa80000000", -0],
    ["fb3ff199999999999a", 1.1],
    ["fb7ff0000000000001", Number.NaN],
    ["7803616263", "abc"],
    ["7b0000000000000003616263", "abc"],
    ["7fff", ""],
    ["7f6161606262637803646566ff", "abcdef"],
    ["7f62c3a964f09f9880ff", "é😀"],
    ["40", new Uint8Array(0)],
    ["5802 0102", new Uint8Array([1, 2])],
    ["5fff", new Uint8Array(0)],
    ["5f4101404203045801 05ff", new Uint8Array([1, 3, 4, 5])],
    ["80", []],
    ["9fff", []],
    ["83010203", [1, 2, 3]],
    ["9803010203", [1, 2, 3]],
    ["9b0000000000000002 05f5", [5, true]],
    ["bb0000000000000001 616105", { a: 5 }],
    ["a0", {}],
    ["bfff", {}],
    ["a2616101616202", { a: 1, b: 2 }],
    ["b801616101", { a: 1 }],
    ["bf7f61616162ff01ff", { ab: 1 }],
    ["f4", false],
    ["f5", true],
    ["f6", null],
    ["f7", null],
    ["82f7f6", [null, null]],
    ["e0", null],
    ["f3", null],
    ["f820", null],
    ["f8ff", null],
    ["c11a514b67b0", 0x514b67b0],
    ["c1c2d9ffff6161", "a"],
    ["82c1f5db00000000000000018000", [true, []]],
  ].map(([hex, value]) => [hex.replaceAll(" ", ""), value]);
  cases.pop();
  cases.push(["82c1f5db000000000000000180", [true, []]]);
  for (const [hex, value] of cases) {
    assert.deepEqual(read(hex), value, hex);
    assert.deepEqual(read(`82${hex}${hex}`), [value, value], hex);
    assert.deepEqual(read(`bf6161${hex}ff`), { a: value }, hex);
  }
});

test("map keys are text or integers made text, and of equal ones the last wins", () => {
  const cases = [
    ["a10102", { 1: 2 }],
    ["a12002", { "-1": 2 }],
    ["a11bffffffffffffffff02", { "18446744073709551615": 2 }],
    ["a1c1616102", { a: 2 }],
    ["a3616101616202616103", { a: 3, b: 2 }],
    ["a201016131 02", { 1: 2 }],
    ["a16002", { "": 2 }],
    [`a17864${"61".repeat(100)}02`, { ["a".repeat(100)]: 2 }],
    ["a262c3a90162c3a902", { é: 2 }],
  ];
  for (const [hex, value] of cases) assert.deepEqual(read(hex), value, hex);
  assert.deepEqual(Object.keys(read("a2616201616102")), ["b", "a"]);
  for (const key of ["40", "f6", "f5", "f93c00", "80", "a0", "9fff", "f7", "5fff", "c180"]) malformed(`a1${key}01`);
});

test("keys that look alike to the cache of keys are told apart", () => {
  const first = [];
  for (let i = 0; i < 3000; i++) first.push(`k${i}`, `${i}k`, `a${String(i).padStart(4, "0")}z`);
  first.push("axxb", "ayyb", "a\u00e9", "a\u00e8", "\u00c3\u00a9", "é", "e", "");
  const value = Object.fromEntries(first.map((key, i) => [key, i]));
  for (let i = 0; i < 2; i++) assert.deepEqual(roundTrip(value), value);
  for (const key of first) assert.deepEqual(roundTrip({ [key]: 1 }), { [key]: 1 });
});

test("malformed bytes are refused, and the error says where", () => {
  const cases = [
    "", // nothing
    "18", // heads cut short
    "19ff",
    "1affffff",
    "1bffffffffffffff",
    "f9ff",
    "faffffff",
    "fbffffffffffffff",
    "f8",
    "6261", // text and bytes cut short
    "78ff61",
    "7bffffffffffffffff61",
    "7b001fffffffffffff61",
    "4201",
    "5bffffffffffffffff01",
    "81", // containers cut short
    "9f",
    "9f01",
    "8301",
    "a1",
    "a16161",
    "bf",
    "bf6161",
    "bf616101",
    "9b7fffffffffffffff01",
    "9bffffffffffffffff01",
    "bbffffffffffffffff01",
    "9affffffff01",
    "baffffffff6101",
    "bf6161ff", // an odd number of items in a map
    "ff", // ends where none can be
    "81ff",
    "a1ff01",
    "a16161ff",
    "82ff01",
    "c1ff",
    "9fffff", // something left over
    "60ff",
    "1c", // reserved and impossible heads
    "1d",
    "1e",
    "1f",
    "3f",
    "5c",
    "7e",
    "9c",
    "bd",
    "dc",
    "df00",
    "fc",
    "fd",
    "fe",
    "f800",
    "f81f",
    "c1", // a tag of nothing
    "d9ff",
    "7f", // parts
    "7f6161",
    "7f4161ff",
    "7f01ff",
    "7f7f6161ffff",
    "7f62c3ff",
    "7f61c361a9ff",
    "5f",
    "5f4101",
    "5f6161ff",
    "5f5f4101ffff",
    "5f01ff",
    "5f5bffffffffffffffffff",
    "61ff", // not UTF-8
    "61c3",
    "62c328",
    "62c080",
    "63eda080",
    "63e08080",
    "64f4908080",
    "64f0808080",
    `781e${"61".repeat(29)}ff`,
    "a161ff01",
  ];
  for (const hex of cases) {
    const { message } = malformed(hex);
    assert.match(message, /at byte \d+ of \d+/);
    malformed(`82${hex}`);
    assert.equal(read("626162"), "ab", "what follows a failure is read");
  }
  for (const leftOver of ["0101", "f6f6", "00ff", "606161", "8000"]) malformed(leftOver);
});

test("a false length costs no memory", () => {
  const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  for (let i = 0; i < 1000; i++) {
    for (const head of ["9affffffff", "baffffffff", "5affffffff", "7affffffff", "9f9affffffff", "5f5affffffff"]) {
      malformed(`${head}${"01".repeat(8)}`);
    }
  }
  const after = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed;
  assert.ok(after - before < 200e6, `${after - before} bytes more`);
});

test("257 tags in a row are refused, a million of them too", () => {
  assert.equal(read(`${"c1".repeat(256)}05`), 5);
  malformed(`${"c1".repeat(257)}05`);
  malformed(`${"c1".repeat(1_000_000)}05`);
  malformed(`a1${"c1".repeat(1_000_000)}6161`);
  malformed(`${"c1".repeat(1_000_000)}05`, "int64");
});

test("short text is refused exactly when a strict TextDecoder refuses it", (t) => {
  const { below, pick } = random(t);
  const { stackTraceLimit } = Error;
  t.after(() => {
    Error.stackTraceLimit = stackTraceLimit;
  });
  Error.stackTraceLimit = 0; // there will be a hundred thousand errors
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const check = (...utf8) => {
    const bytes = new Uint8Array([0x60 + utf8.length, ...utf8]);
    let expected;
    try {
      expected = decoder.decode(bytes.subarray(1));
    } catch {
      expected = undefined;
    }
    let actual;
    try {
      actual = decode(JSON_TYPE, "", bytes, 0);
    } catch (error) {
      assert.equal(error.code, "INVALID_DATA");
    }
    assert.ok(actual === expected, hexOf(bytes));
  };
  for (let a = 0x7f; a < 0x100; a++) for (let b = 0x70; b < 0x100; b += a < 0xe0 ? 1 : 5) check(a, b);
  const edges = [0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed];
  edges.push(0xee, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff);
  for (const a of edges) for (const b of edges) for (const c of edges) check(a, b, c);
  for (let i = 0; i < 5_000; i++) check(...Array.from({ length: below(8) }, () => pick(edges)), below(256));
});

test("string, int64 and double read only what they are, and null", () => {
  for (const type of ["string", "int64", "double"]) {
    assert.equal(read("f6", type), null);
    assert.equal(read("f7", type), null);
    assert.equal(read("c1f6", type), null);
    for (const hex of ["", "80", "a0", "f5", "9fff", "4161", "f6f6", "ff", "f820", "c1", "e0"]) malformed(hex, type);
  }
  for (const hex of ["00", "20", "f93c00", "fb3ff0000000000000"]) malformed(hex, "string");
  for (const hex of ["6161", "f93c00", "fb3ff0000000000000", "fa3f800000"]) malformed(hex, "int64");
  for (const hex of ["6161", "00", "20", "1b0000000000000001"]) malformed(hex, "double");
  assert.equal(read("7f6161ff", "string"), "a");
  assert.equal(read("c16161", "string"), "a");
  for (const hex of ["f93c00", "fa3f800000", "fb3ff0000000000000", "c1f93c00"]) assert.equal(read(hex, "double"), 1);
  assert.ok(Object.is(read("f98000", "double"), -0));
});

test("int64 is always a bigint, and within 64 bits with its sign", () => {
  const cases = [
    ["00", 0n],
    ["20", -1n],
    ["1800", 0n],
    ["c105", 5n],
    ["1b001fffffffffffff", 2n ** 53n - 1n],
    ["1b0020000000000001", 2n ** 53n + 1n],
    ["1b7fffffffffffffff", 2n ** 63n - 1n],
    ["3b7fffffffffffffff", -(2n ** 63n)],
  ];
  for (const [hex, value] of cases) assert.equal(read(hex, "int64"), value);
  for (const hex of ["1b8000000000000001", "3b8000000000000000", "1bffffffffffffffff", "3bffffffffffffffff"]) {
    malformed(hex, "int64");
    assert.equal(typeof read(hex, "json"), "bigint");
  }
});

test("what is read has no part in the bytes it was read from", () => {
  const bytes = bytesOf(`8443010203781e${"61".repeat(30)}61625f4101ff`);
  const value = decode(JSON_TYPE, "", bytes, 0);
  bytes.fill(0xff);
  assert.deepEqual(value, [new Uint8Array([1, 2, 3]), "a".repeat(30), "b", new Uint8Array([1])]);
  assert.equal(value[0].buffer.byteLength, 3);
  const binary = bytesOf("0102");
  const copy = decode(BINARY, "", binary, 0);
  binary.fill(0);
  assert.deepEqual(copy, new Uint8Array([1, 2]));
  const fromBuffer = decode(BINARY, "", Buffer.from("ab"), 0);
  assert.equal(fromBuffer.constructor, Uint8Array);
  assert.equal(decode(JSON_TYPE, "", Buffer.from("4161", "hex"), 0).constructor, Uint8Array);
});

test("a value is read from the middle of a larger buffer, and no further than its end", () => {
  const memory = new Uint8Array(1000).fill(0x61);
  memory.set(bytesOf("9f6161fb3ff8000000000000781e"), 100);
  assert.deepEqual(decode(JSON_TYPE, "", memory.subarray(101, 103), 0), "a");
  failure(() => decode(JSON_TYPE, "", memory.subarray(112, 130), 0), "INVALID_DATA", "failed");
  failure(() => decode(STRING, "", new Uint8Array(memory.buffer, 999, 1), 0), "INVALID_DATA", "failed");
});

// ---- Reading as another type ----

test("a value is converted to the wanted type if nothing is lost", () => {
  const cases = [
    ["string", "6161", "json", "a"],
    ["int64", "05", "json", 5],
    ["int64", "1b0020000000000001", "json", 2n ** 53n + 1n],
    ["int64", "3b001fffffffffffff", "json", -(2n ** 53n)],
    ["double", "fb3ff8000000000000", "json", 1.5],
    ["double", "fb8000000000000000", "json", -0],
    ["int64", "05", "double", 5],
    ["int64", "20", "double", -1],
    ["int64", "1b0020000000000000", "double", 2 ** 53],
    ["int64", "3b7fffffffffffffff", "double", -(2 ** 63)],
    ["double", "f90000", "int64", 0n],
    ["double", "fb4340000000000000", "int64", 2n ** 53n],
    ["double", "fbc3e0000000000000", "int64", -(2n ** 63n)],
    ["double", "fb43dfffffffffffff", "int64", 2n ** 63n - 1024n],
  ];
  for (const type of ["string", "int64", "double", "json"]) {
    for (const wanted of ["string", "int64", "double", "json"]) cases.push([type, "f6", wanted, null]);
  }
  for (const [type, hex, wanted, value] of cases) {
    const actual = read(hex, type, typeCode(wanted));
    assert.ok(Object.is(actual, value), `${type} ${hex} as ${wanted}: ${actual}`);
  }
  for (const code of ALL) {
    const hex = code === BINARY || code === RECORD_V2 ? "6161" : "f6";
    assert.deepEqual(read(hex, code, code), read(hex, code, 0));
  }
});

test("a value that would lose something is incompatible, and the error names both types", () => {
  const cases = [
    ["int64", "1b0020000000000001", "double"],
    ["int64", "1b7fffffffffffffff", "double"],
    ["double", "fb8000000000000000", "int64"],
    ["double", "fb3ff8000000000000", "int64"],
    ["double", "fb7ff8000000000000", "int64"],
    ["double", "fb7ff0000000000000", "int64"],
    ["double", "fb43e0000000000000", "int64"],
    ["double", "fbc3e0000000000001", "int64"],
    ["double", "fb7e37e43c8800759c", "int64"],
    ["json", "6161", "string"],
    ["json", "05", "int64"],
    ["json", "fb3ff8000000000000", "double"],
    ["string", "6161", "int64"],
    ["string", "6161", "double"],
    ["int64", "05", "string"],
    ["double", "fb3ff8000000000000", "string"],
    ["binary", "05", "json"],
    ["binary", "f6", "string"],
    ["record_v2", "61", "json"],
    ["record_v2", "61", "binary"],
    ["json", "4161", "binary"],
    ["json", "f6", "binary"],
    ["string", "f6", "record_v2"],
  ];
  for (const [type, hex, wanted] of cases) {
    const { message } = incompatible(hex, type, wanted);
    assert.ok(message.includes(type) && message.includes(wanted), message);
  }
});

test("a value of a type nobody knows is incompatible, and the error names it", () => {
  for (const wanted of [0, ...ALL]) {
    const { message } = failure(
      () => decode(0, "time\nseries", bytesOf("00"), wanted),
      "INCOMPATIBLE_DATATYPE",
      "failed",
    );
    assert.ok(message.includes('"time\\nseries"'), message);
  }
  failure(() => decode(16, "", bytesOf("00"), 0), "INCOMPATIBLE_DATATYPE", "failed");
});

// ---- Prototypes ----

const tricks = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "then",
  "hasOwnProperty",
  "valueOf",
  "toJSON",
  "__defineSetter__",
  "0",
  "-1",
  "",
  "length",
];

test("keys with a meaning in JavaScript are ordinary own properties, one to three levels deep", async () => {
  for (const key of tricks) {
    for (let depth = 1; depth <= 3; depth++) {
      let value = { [key]: { isAdmin: true }, a: 1 };
      assert.ok(Object.hasOwn(value, key));
      for (let i = 1; i < depth; i++) value = i % 2 ? { [key]: value, b: [value] } : [value];
      const entries = (object) =>
        typeof object === "object" ? Object.entries(object).map(([name, member]) => [name, entries(member)]) : object;
      for (const copy of [roundTrip(value), await roundTrip(value)]) {
        assert.deepEqual(entries(copy), entries(value), key);
        const check = (object) => {
          if (typeof object !== "object") return;
          assert.equal(Object.getPrototypeOf(object), Array.isArray(object) ? Array.prototype : Object.prototype);
          for (const [name, { get, ...descriptor }] of Object.entries(Object.getOwnPropertyDescriptors(object))) {
            if (Array.isArray(object) && name === "length") continue;
            assert.equal(get, undefined);
            const { value: member, ...flags } = descriptor;
            assert.deepEqual(flags, { writable: true, enumerable: true, configurable: true });
            check(member);
          }
          if (key !== "isAdmin" && !Object.hasOwn(object, "isAdmin")) assert.equal(object.isAdmin, undefined);
        };
        check(copy);
      }
    }
  }
  assert.equal({}.isAdmin, undefined);
  assert.deepEqual(Object.keys(read("a2695f5f70726f746f5f5f01695f5f70726f746f5f5f02")), ["__proto__"]);
  const twice = read("a2695f5f70726f746f5f5f01695f5f70726f746f5f5f02");
  assert.equal(Object.getOwnPropertyDescriptor(twice, "__proto__").value, 2);
});

test("a value with a then from the wire is not waited for", async () => {
  const value = roundTrip(new Map([["then", { call: 1 }]]));
  assert.deepEqual(Object.keys(value), ["then"]);
  assert.equal(await value, value);
});

test("reading runs no setter and no getter of a prototype, and is not stopped by a read-only property", () => {
  let calls = 0;
  const accessor = { get: () => calls++, set: () => calls++ };
  const value = { trap: { trap: [1, 2] }, 0: "zero", other: [[1], ["a"]] };
  const bytes = encode(value, "json").bytes.slice();
  const check = () => assert.ok(Object.hasOwn(decode(JSON_TYPE, "", bytes, 0), "trap"));
  const copies = [];
  const grab = () => copies.push(decode(JSON_TYPE, "", bytes, 0));
  withProperty(Object.prototype, "trap", accessor, grab);
  withProperty(Object.prototype, "trap", { value: 1, writable: false }, grab);
  withProperty(Object.prototype, "0", accessor, grab);
  withProperty(Array.prototype, "0", accessor, grab);
  withProperty(Array.prototype, "1", { value: 1, writable: false }, grab);
  // What a careless descriptor would inherit.
  const both = { __proto__: null, configurable: true, ...accessor };
  withProperty(Object.prototype, "trap", both, () => {
    for (const name of ["get", "writable"]) {
      Object.defineProperty(Object.prototype, name, { __proto__: null, value: accessor.get, configurable: true });
      grab();
      delete Object.prototype[name];
    }
  });
  assert.equal(calls, 0);
  for (const copy of copies) assert.deepEqual(copy, value);
  check();
  // As with Object.freeze(Object.prototype), where assigning to an inherited name fails.
  const frozen = encode({ toString: 1, constructor: 2, valueOf: 3 }, "json").bytes.slice();
  const method = Object.prototype.toString;
  withProperty(Object.prototype, "toString", { value: method, writable: false }, () => {
    assert.deepEqual({ ...decode(JSON_TYPE, "", frozen, 0) }, { toString: 1, constructor: 2, valueOf: 3 });
  });
});

// ---- Chance ----

/** json bytes of plain values, written as simply as can be. */
function reference(value) {
  const head = (major, n) => {
    const big = BigInt(n);
    const hex = big.toString(16);
    if (big < 24n) return [major | Number(big)];
    const size = [1, 2, 4, 8].find((bytes) => hex.length <= bytes * 2);
    return [major | (24 + Math.log2(size)), ...Buffer.from(hex.padStart(size * 2, "0"), "hex")];
  };
  if (value === null || value === undefined) return [0xf6];
  if (typeof value === "boolean") return [value ? 0xf5 : 0xf4];
  if (typeof value === "bigint" || (Number.isSafeInteger(value) && !Object.is(value, -0))) {
    return value < 0 ? head(0x20, -1n - BigInt(value)) : head(0, value);
  }
  if (typeof value === "number") {
    const bytes = Buffer.alloc(9, 0xfb);
    bytes.writeDoubleBE(Number.isNaN(value) ? Number.NaN : value, 1);
    return [...bytes];
  }
  if (typeof value === "string") return [...head(0x60, Buffer.byteLength(value)), ...Buffer.from(value)];
  if (value instanceof Uint8Array) return [...head(0x40, value.length), ...value];
  if (Array.isArray(value)) return [0x9f, ...value.flatMap(reference), 0xff];
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return [0xbf, ...members.flatMap(([key, member]) => [...reference(key), ...reference(member)]), 0xff];
}

function generator({ next, below, pick }) {
  const characters = ["a", "Z", "0", " ", "é", "ß", "€", "漢", "😀", "\u0000", "\ufeff", "\u2028", "\uffff", '"'];
  const text = () => {
    const length = pick([0, 1, 3, 8, 9, 20, 23, 24, 25, 63, 64, 65, 100, 255, 256, 300]);
    if (below(3) > 0) return "abcdefghijklmnopqrstuvwxyz".repeat(12).slice(0, length);
    return Array.from({ length }, () => pick(characters)).join("");
  };
  const number = () => {
    const bits = new DataView(new ArrayBuffer(8));
    switch (below(6)) {
      case 0:
        return below(300) - 150;
      case 1:
        return Math.trunc((next() - 0.5) * 2 ** below(60));
      case 2:
        return pick([0, -0, Number.NaN, Infinity, -Infinity, 2 ** 53, -(2 ** 53), 2 ** 53 - 1, 1e21, 5e-324]);
      case 3:
        return next() * 10 ** below(20);
      case 4:
        bits.setUint32(0, below(2 ** 32));
        bits.setUint32(4, below(2 ** 32));
        return bits.getFloat64(0);
      default:
        return below(2) ? below(1e6) / 100 : -below(2 ** 32);
    }
  };
  const bigint = () => {
    const size = BigInt.asIntN(64, (BigInt(below(2 ** 32)) << 32n) | BigInt(below(2 ** 32)));
    return Number.isSafeInteger(Number(size)) ? 2n ** 62n : size;
  };
  const value = (depth) => {
    const kind = below(depth > 0 ? 10 : 7);
    if (kind < 2) return text();
    if (kind < 4) return number();
    if (kind === 4) return pick([true, false, null]);
    if (kind === 5) return bigint();
    if (kind === 6) return new Uint8Array(Array.from({ length: below(40) }, () => below(256)));
    const size = pick([0, 1, 2, 3, 5, 24, 30]);
    if (kind === 7) return Array.from({ length: Math.min(size, depth * 8) }, () => value(depth - 1));
    const entries = Array.from({ length: Math.min(size, depth * 8) }, () => [
      below(10) ? text() : pick(tricks),
      value(depth - 1),
    ]);
    return Object.fromEntries(entries);
  };
  /** Small and large ones, and those at the edges of where their form changes. */
  const anyBigint = () =>
    BigInt.asIntN(64, pick([0n, 1n, 2n ** 32n, 2n ** 53n, bigint()]) * pick([1n, -1n]) + BigInt(below(5) - 2));
  return { value, text, number, bigint, anyBigint };
}

test("random numbers and bigints beside one another come back as what they were", (t) => {
  const chance = random(t);
  const make = generator(chance);
  const one = (depth) => {
    const kind = chance.below(depth > 0 ? 5 : 3);
    if (kind === 0) return make.anyBigint();
    if (kind < 3) return chance.below(2) ? make.number() : Math.trunc((chance.next() - 0.5) * 2 ** 54);
    const members = Array.from({ length: chance.below(6) }, () => one(depth - 1));
    return kind === 3 ? members : Object.fromEntries(members.map((member) => [make.text(), member]));
  };
  for (let i = 0; i < 5000; i++) {
    const value = [one(4)];
    assert.deepEqual(roundTrip(value), value, `value ${i}`);
  }
});

test("random json values are written as a simple encoder writes them, and read back as they were", (t) => {
  const chance = random(t);
  const make = generator(chance);
  for (let i = 0; i < 3000; i++) {
    const value = make.value(4);
    const bytes = encode(value, "json").bytes.slice();
    assert.ok(Buffer.from(reference(value)).equals(Buffer.from(bytes)), `value ${i}`);
    assert.deepEqual(decode(JSON_TYPE, "", bytes, 0), value, `value ${i}`);
  }
});

test("random values of the other types are read back as they were", (t) => {
  const chance = random(t);
  const make = generator(chance);
  for (let i = 0; i < 5000; i++) {
    const records = Array.from({ length: 2 + chance.below(4) }, () =>
      Array.from({ length: 1 + chance.below(4) }, make.text),
    );
    const values = [
      ["string", make.text()],
      ["double", make.number()],
      ["int64", make.bigint()],
      ["int64", BigInt(chance.below(1000)) - 500n],
      ["binary", Uint8Array.from({ length: chance.below(30) }, () => chance.below(256))],
      ["record_v2", records],
    ];
    for (const [type, value] of values) {
      assert.deepEqual(roundTrip(value, type), value);
      assert.deepEqual(datatypes[type.toUpperCase()](value).value, value);
    }
  }
});

/** Reads and allows only a value or a MessagingError; what was read must survive being written and read again. */
function survives(code, bytes) {
  let value;
  try {
    value = decode(code, "", bytes, 0);
  } catch (error) {
    if (!(error instanceof MessagingError) || error.code !== "INVALID_DATA") throw error;
    return false;
  }
  let again;
  try {
    again = encode(value, code).bytes.slice();
  } catch (error) {
    // Integers beyond int64 can be read as json and not written.
    if (!(error instanceof MessagingError) || !/64 bits/.test(error.message)) throw error;
    return true;
  }
  assert.deepEqual(decode(code, "", again, 0), value);
  return true;
}

test("no change of one byte of a valid value leads to anything but a value or an error of ours", () => {
  const json = [
    null,
    true,
    0,
    -1,
    300,
    70000,
    2 ** 40,
    -(2 ** 40),
    2n ** 60n,
    1.5,
    "",
    "a",
    "héllo 😀",
    "x".repeat(30),
    [],
    {},
    [1, "two", null, true, [3.5]],
    { a: { b: { c: [] } } },
    { a: 1, b: [2, { c: "d" }] },
    { __proto__: null, constructor: 1 },
    new Uint8Array([1, 2, 3]),
    [new Uint8Array(0), ""],
    { n: -0, m: Number.NaN },
    { "": [[], [[]]], é: "é" },
    [[[[[[1]]]]]],
  ].map((value) => [JSON_TYPE, encode(value, "json").bytes.slice()]);
  const forms = [
    "83010203",
    "a2616101616202",
    "7f6161626263ff",
    "5f41014202 03ff",
    "c11a514b67b0",
    "f93e00",
    "fa477fe180",
    "1bffffffffffffffff",
    "bf7f6161ff8101ff",
    "a10102",
    "98020001",
    "b8016161d82a00",
    "d9d9f7a1616180",
    "82f7f8ff",
  ].map((hex) => [JSON_TYPE, bytesOf(hex)]);
  const typed = [
    ["string", "héllo"],
    ["string", "x".repeat(26)],
    ["string", null],
    ["int64", 5n],
    ["int64", -(2n ** 62n)],
    ["double", 1.5],
    ["double", null],
    ["binary", new Uint8Array([1, 2])],
    [
      "record_v2",
      [
        ["a", "é"],
        ["", "b"],
      ],
    ],
    ["record_v2", [["x".repeat(30)], ["y"]]],
  ].map(([type, value]) => [typeCode(type), encode(value, type).bytes.slice()]);
  let read = 0;
  let total = 0;
  const all = [...json, ...forms, ...typed];
  for (const [code, bytes] of all) {
    assert.ok(survives(code, bytes), hexOf(bytes));
    for (let i = 0; i < bytes.length; i++) {
      const before = bytes[i];
      for (let byte = 0; byte < 256; byte++) {
        bytes[i] = byte;
        read += survives(code, bytes);
        total++;
      }
      bytes[i] = before;
      for (const other of ALL) survives(other, bytes.subarray(0, i));
    }
    for (const other of ALL) if (other !== code) survives(other, bytes);
  }
  console.log(`changed bytes: ${all.length} values, ${total} changes, ${read} still readable`);
});

test("random bytes are a value or an error of ours", (t) => {
  const { below, pick } = random(t);
  const likely = [0x00, 0x20, 0x40, 0x41, 0x5f, 0x60, 0x61, 0x62, 0x7f, 0x80, 0x81, 0x9f, 0xa0, 0xa1, 0xbf, 0xc1];
  likely.push(0xf4, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xff, 0xff, 0xff);
  let read = 0;
  for (let i = 0; i < 60_000; i++) {
    const bytes = Uint8Array.from({ length: 1 + below(24) }, () => (below(3) ? pick(likely) : below(256)));
    read += survives(pick([JSON_TYPE, JSON_TYPE, JSON_TYPE, STRING, INT64, DOUBLE, RECORD_V2]), bytes);
  }
  assert.ok(read > 300, `only ${read} were readable`);
});
