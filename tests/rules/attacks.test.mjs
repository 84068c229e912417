// Each attack of `npm run attack` for a moment: nobody else waits long for what one client does at its worst, and it takes
// a bounded share of the memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { attack } from "../support/attack.mjs";

/** MiB: what may wait for all clients, by default, and a broker. */
const MEMORY = 512 + 128;

test("V6, V7, V24, L-3, M-23: what one client does at its worst keeps no neighbour waiting", {
  skip: process.platform !== "linux" && "the memory of a process is looked up as Linux tells it",
}, async () => {
  const [nothing, ...attacks] = await attack("--duration", "250ms", "--afterwards", "0s", "--count", "30");
  assert.equal(nothing.name, "nothing");
  assert.ok(attacks.length > 30);
  // The attacker is on the same machine, and so are other tests: medians are compared, and the shortest of three where the
  // first is long.
  const bound = 20 * nothing.noticed.requests.p50 + 250;
  for (const { name, noticed, peak } of attacks) {
    const medians = [noticed.requests.p50];
    while (medians.at(-1) >= bound && medians.length < 3) {
      const again = await attack(name, "--duration", "1s", "--afterwards", "0s", "--count", "30");
      medians.push(again.at(-1).noticed.requests.p50);
    }
    const { requests, failed } = noticed;
    assert.ok(requests.count > 0 && failed === 0, `${name}: ${failed} of ${requests.count} requests failed`);
    assert.ok(medians.at(-1) < bound, `${name}: ${medians} ms, with nothing ${nothing.noticed.requests.p50} ms`);
    assert.ok(peak < MEMORY, `${name}: ${peak} MiB`);
  }
});
