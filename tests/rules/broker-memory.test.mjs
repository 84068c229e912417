// What sessions take of the broker's memory, and that it is given back when they leave (limits.md, "Memory").

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startBroker } from "../support/broker.mjs";
import { connectPeer } from "./support/endpoint.mjs";

const broker = await startBroker();
after(() => broker.stop());

/** KiB that are resident. */
const resident = () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${broker.process.pid}/status`))[1]);

/** By both doors in turn. */
async function open(count) {
  const doors = [broker, { url: broker.url.replace("/diffusion", "/antiphon") }];
  const peers = [];
  while (peers.length < count) {
    const more = Array.from({ length: Math.min(50, count - peers.length) }, (_, at) => connectPeer(doors[at % 2]));
    peers.push(...(await Promise.all(more)));
  }
  return peers;
}

const leave = (peers) => Promise.all(peers.map((peer) => peer.close()));

/** The least that is resident before it is as little as this, or half a minute has passed. */
async function atMost(bound) {
  const end = performance.now() + 30_000;
  let least = resident();
  while (least > bound && performance.now() < end) {
    await sleep(100);
    least = Math.min(least, resident());
  }
  return least;
}

const COUNT = process.env.ANTIPHON_LOAD === "long" ? 8_000 : 1_000;
const EACH = 10; // KiB
// KiB that are no session's: heaps of threads, and code that was not needed before.
const KEPT = 1_024;

test(`an idle session takes at most ${EACH} KiB, and gives them back when it ends`, {
  skip: process.platform !== "linux" && "the memory of a process is looked up as Linux tells it",
}, async () => {
  // What it takes once, for code and tables.
  await leave(await open(100));
  const start = resident();
  const peers = await open(COUNT);
  const each = (resident() - start) / COUNT;
  assert.ok(each <= EACH, `${each} KiB`);
  await leave(peers);
  const bound = 1.1 * start + KEPT;
  const end = await atMost(bound);
  assert.ok(end <= bound, `${start} KiB before, ${end} KiB after`);
});
