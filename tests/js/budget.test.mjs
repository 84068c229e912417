// What a value may become when it is read: a byte of it can be an object of a hundred. It is refused before it is built
// (src/value-reader.js), and ordinary values of the same size are not.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { decode, encode } from "../../src/value.js";

const [JSON_TYPE, RECORD_V2] = [15, 20];
const SIZE = 32 << 20;

/** The head of an array or a map of `count`. */
function head(major, count) {
  const bytes = Buffer.alloc(5, (major << 5) | 26);
  bytes.writeUInt32BE(count, 1);
  return bytes;
}

/** An array of `SIZE` bytes whose items are all these bytes. */
function list(hex) {
  const item = Buffer.from(hex, "hex");
  const count = Math.floor((SIZE - 5) / item.length);
  return Buffer.concat([head(4, count), Buffer.alloc(count * item.length, item)]);
}

/** A map or an array of `SIZE` bytes, with what `write` makes of 0, 1, 2 and so on, in hexadecimal digits. */
function many(major, write) {
  const length = write(0).length / 2;
  const count = Math.floor((SIZE - 5) / length);
  const bytes = Buffer.alloc(5 + count * length);
  head(major, count).copy(bytes);
  for (let n = 0; n < count; n += 1) bytes.write(write(n), 5 + n * length, "hex");
  return bytes;
}

const four = (n) => (n + 2 ** 28).toString(16).padStart(8, "0");

/** Values of 32 MiB that are small on the wire and large in memory. */
const HOSTILE = {
  "empty objects": () => list("a0"),
  "empty arrays": () => list("80"),
  "objects of one member": () => list("a1616100"),
  "objects with a number for a key": () => list("a1613101"),
  "objects with an integer for a key": () => list("a10101"),
  "empty byte strings": () => list("40"),
  "short texts": () => list("626162"),
  "a text of many parts": () => Buffer.concat([Buffer.of(0x7f), Buffer.alloc(SIZE, "6161", "hex"), Buffer.of(0xff)]),
  "an object of different keys": () => many(5, (n) => `64${four(n)}01`),
  "objects of different keys": () => many(4, (n) => `a164${four(n)}01`),
  "open-ended objects": () => list("bfff"),
};

/** CPU time, ms, that `act` takes. */
function worked(act) {
  const { user, system } = process.cpuUsage();
  act();
  const after = process.cpuUsage();
  return (after.user + after.system - user - system) / 1000;
}

const point = (n) => [n + 0.5, -n - 0.25];
const row = (n) => ({ id: 100_000 + n, x: n + 0.5, y: -n - 0.5 });

/** Ordinary values; the rows are nearly 32 MiB. */
const ORDINARY = {
  "1,000,000 numbers": () => Array.from({ length: 1_000_000 }, (_, n) => n),
  points: () => Array.from({ length: 400_000 }, (_, n) => point(n)),
  rows: () => Array.from({ length: 1_080_000 }, (_, n) => row(n)),
  "rows by key": () => Object.fromEntries(Array.from({ length: 250_000 }, (_, n) => [`row-${n}`, row(n)])),
};

let ordinary = 0;

for (const [what, make] of Object.entries(ORDINARY)) {
  test(`${what} are read`, () => {
    const bytes = encode(make(), JSON_TYPE).bytes.slice();
    let read;
    ordinary = Math.max(
      ordinary,
      worked(() => {
        read = decode(JSON_TYPE, "", bytes, 0);
      }),
    );
    assert.ok(Object.keys(read).length >= 250_000);
  });
}

const refusal = { code: "INVALID_DATA", outcome: "failed" };

for (const [what, make] of Object.entries(HOSTILE)) {
  test(`32 MiB of ${what} are refused in the time that ordinary ones take`, () => {
    const bytes = make();
    const taken = worked(() => assert.throws(() => decode(JSON_TYPE, "", bytes, 0), refusal));
    assert.ok(taken < 4 * ordinary, `${taken} ms; ${ordinary} ms for ordinary values`);
  });
}

test("32 MiB of separators are too many records", () => {
  for (const byte of [1, 2]) assert.throws(() => decode(RECORD_V2, "", Buffer.alloc(SIZE, byte), 0), refusal);
});

test("a value that its recipient does not take is not read first", () => {
  const bytes = list("a0");
  for (const wanted of ["string", "int64", "double", "binary", "record_v2"]) {
    const codes = { binary: 14, string: 17, int64: 18, double: 19, record_v2: 20 };
    const taken = worked(() =>
      assert.throws(() => decode(JSON_TYPE, "", bytes, codes[wanted]), { code: "INCOMPATIBLE_DATATYPE" }),
    );
    assert.ok(taken < 100, `${taken} ms`);
  }
});

test("the memory that a refused value takes is bounded", () => {
  const script = `
    import { decode } from ${JSON.stringify(new URL("../../src/value.js", import.meta.url).href)};
    const bytes = new Uint8Array(${SIZE}).fill(0xa0);
    bytes.set(${JSON.stringify([...head(4, SIZE - 5)])});
    const before = process.resourceUsage().maxRSS;
    try { decode(${JSON_TYPE}, "", bytes, 0); } catch (error) { console.log(error.code); }
    console.log(process.resourceUsage().maxRSS - before);`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", script], {
    encoding: "utf8",
  });
  const [code, kibibytes] = stdout.split("\n");
  assert.equal(code, "INVALID_DATA", stderr);
  assert.ok(Number(kibibytes) < 768 << 10, `${kibibytes} KiB`); // 2.9 GB without a bound
});
