// What sessions take of the broker's memory, and that it is given back when they leave (limits.md, "Memory").

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startAuthority } from "../support/authority.mjs";
import { startBroker } from "../support/broker.mjs";
import { resident } from "../support/process.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const isLong = process.env.ANTIPHON_LOAD === "long";
const skip = process.platform !== "linux" && "the memory of a process is looked up as Linux tells it";

/** By both doors in turn. */
async function open(broker, count, options) {
  const doors = [broker, { url: broker.url.replace("/diffusion", "/antiphon") }];
  const peers = [];
  while (peers.length < count) {
    const more = Array.from({ length: Math.min(50, count - peers.length) }, (_, at) =>
      connectPeer(doors[at % 2], options),
    );
    peers.push(...(await Promise.all(more)));
  }
  return peers;
}

const leave = (peers) => Promise.all(peers.map((peer) => peer.close()));

/** The least that is resident before it is as little as this, or half a minute has passed. */
async function atMost(broker, bound) {
  const end = performance.now() + 30_000;
  let least = resident(broker);
  while (least > bound && performance.now() < end) {
    await sleep(100);
    least = Math.min(least, resident(broker));
  }
  return least;
}

const COUNT = isLong ? 8_000 : 1_000;
const EACH = 10; // KiB
// MiB that are no session's: heaps of threads, and code that was not needed before.
const KEPT = 1;

for (const over of ["plain TCP", "TLS"]) {
  test(`an idle session over ${over} takes at most ${EACH} KiB, and gives them back when it ends`, {
    skip,
  }, async (t) => {
    const authority = over === "TLS" ? startAuthority(t) : undefined;
    const broker = await startBroker(authority?.issue().args);
    t.after(() => broker.stop());
    const options = { ca: authority?.ca };
    // What it takes once, for code and tables.
    await leave(await open(broker, 100, options));
    const start = resident(broker);
    const peers = await open(broker, COUNT, options);
    const each = ((resident(broker) - start) * 1024) / COUNT;
    if (isLong) console.log(`an idle session over ${over}: ${each.toFixed(1)} KiB`);
    assert.ok(each <= EACH, `${each} KiB`);
    await leave(peers);
    const bound = 1.1 * start + KEPT;
    const end = await atMost(broker, bound);
    assert.ok(end <= bound, `${start} MiB before, ${end} MiB after`);
  });
}
