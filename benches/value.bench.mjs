// Compares src/value.js with cbor-x: node benches/value.bench.mjs
// CBOR_X is the path of another copy of cbor-x, ROUNDS the number of rounds of 100 ms for each case (default 15).
// CPU time is measured and the cases take turns, so that a busy machine disturbs neither more than the other.
// "arriving" decodes a new view of the bytes each time, as for a message; cbor-x keeps something with an old one.

import assert from "node:assert/strict";
import { decode, encode } from "../src/value.js";

// The browser has no native addon either.
process.env.CBOR_NATIVE_ACCELERATION_DISABLED = "true";
const cborX = await import(process.env.CBOR_X ?? "cbor-x");

const rounds = Number(process.env.ROUNDS ?? 15);
const JSON_TYPE = 15;

const line = (n) => ({
  sku: `AB-${1000 + n}`,
  name: ["Espresso cup", "Tee\u00adkanne, gro\u00df", "Filter papers"][n % 3],
  quantity: (n % 7) + 1,
  price: 3.25 + n,
  taxed: n % 2 === 0,
  tags: ["kitchen", "new"].slice(0, n % 3),
});
const order = (n, lines) => ({
  id: `2024-${100000 + n}`,
  customer: { name: "Ada Lovelace", email: "ada@example.com", since: 1843 },
  lines: Array.from({ length: lines }, (_, i) => line(n + i)),
  total: 129.95 + n,
  paid: null,
  note: lines > 2 ? "Please ring twice and leave the parcel with the neighbour if nobody opens the door." : "",
});
const samples = [order(1, 1), order(1, 14), Array.from({ length: 45 }, (_, n) => order(n, 11))];

let sink;

function cpuMilliseconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function time(run) {
  const start = cpuMilliseconds();
  let count = 0;
  let elapsed = 0;
  while (elapsed < 100) {
    for (let i = 0; i < 20; i++) sink = run();
    count += 20;
    elapsed = cpuMilliseconds() - start;
  }
  return (count * 1000) / elapsed;
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}

for (const sample of samples) {
  const size = JSON.stringify(sample).length;
  const ours = encode(sample, JSON_TYPE).bytes.slice();
  assert.deepEqual(decode(JSON_TYPE, "", ours, 0), sample);
  assert.deepEqual(decode(JSON_TYPE, "", new Uint8Array(cborX.encode(sample)), 0), sample);
  assert.deepEqual(cborX.decode(ours), sample);
  const cases = [
    ["encode", () => encode(sample, JSON_TYPE).bytes, () => cborX.encode(sample)],
    ["decode", () => decode(JSON_TYPE, "", ours, 0), () => cborX.decode(ours)],
    ["decode, arriving", () => decode(JSON_TYPE, "", ours.subarray(), 0), () => cborX.decode(ours.subarray())],
  ].map(([name, ...runs]) => ({ name, runs, speeds: [[], []] }));
  for (const { runs } of cases) for (const run of runs) time(run);
  for (let round = 0; round < rounds; round++) {
    for (const { runs, speeds } of cases) for (const i of [0, 1]) speeds[i].push(time(runs[i]));
  }
  for (const { name, speeds } of cases) {
    const [mine, theirs] = speeds.map(median);
    const best = Math.max(...speeds[0]) / Math.max(...speeds[1]);
    const perSecond = (speed) => `${Math.round(speed).toLocaleString("en").padStart(9)}/s`;
    console.log(
      `${String(size).padStart(6)} B  ${name.padEnd(17)} ours ${perSecond(mine)}  cbor-x ${perSecond(theirs)}` +
        `  ratio ${(mine / theirs).toFixed(2)}, of the best rounds ${best.toFixed(2)}`,
    );
  }
}
assert.ok(sink);
