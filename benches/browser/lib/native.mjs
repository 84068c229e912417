// What is measured with many clients in Node.js processes, or with those of antiphon-load: what a server costs.

import { readdirSync } from "node:fs";
import { must } from "../../../scripts/lib/run.mjs";
import { openRequester } from "./pages.mjs";
import { startPeer } from "./peers.mjs";
import { cpuOf, residentOf } from "./processes.mjs";
import { loadGenerator } from "./setup.mjs";

const SMALL = 64; // bytes
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sumOf = (server, figure) => server.pids().reduce((sum, pid) => sum + figure(pid), 0);

// ---- One asks many ----

const FAN_OUT = 100; // handlers

/** The time until all of them have answered a page. */
export async function fanOut(place, scale) {
  const { name, system, server } = place;
  const peer = await startPeer(name, system, { asService: true });
  const page = await openRequester(place, { channel: "all" });
  try {
    await peer.call("many", { server, count: FAN_OUT, path: "bench/all", channel: "all" });
    const plan = { path: "bench/all", bytes: SMALL, handlers: FAN_OUT, warmUp: 30, count: Math.round(300 * scale) };
    return await page.run("bench.driver.fanOut.bind(bench.driver)", plan);
  } finally {
    await page.close();
    await peer.stop();
  }
}

// ---- Load ----

const LOAD = 100; // requesters, and as many handlers

/** Processor time of the server for a request, in microseconds, with 1 and 16 outstanding for each requester. */
export async function load({ name, system, server }, scale) {
  const handlers = await startPeer(name, system);
  const requesters = await startPeer(name, system);
  try {
    await handlers.call("handlers", { server, count: LOAD, path: "bench/load" });
    await requesters.call("requesters", { server, count: LOAD });
    const figures = { wrong: 0 };
    for (const outstanding of [1, 16]) {
      const plan = { path: "bench/load", bytes: SMALL, outstanding };
      await requesters.call("load", { ...plan, ms: 800 * scale });
      const before = sumOf(server, cpuOf);
      const { rate, total, wrong } = await requesters.call("load", { ...plan, ms: 3_000 * scale });
      figures[`cpu${outstanding}`] = ((sumOf(server, cpuOf) - before) * 1_000) / total;
      figures[`rate${outstanding}`] = rate;
      figures.wrong += wrong;
    }
    return figures;
  } finally {
    await handlers.stop();
    await requesters.stop();
  }
}

// ---- Memory ----

/** Memory of a server of its own, in KiB: for each of 1,000 and 10,000 connections, and once they have left. */
export async function idle({ name, system }, scale) {
  const server = await system.start();
  const peer = await startPeer(name, system);
  try {
    // What a server takes once, for code and tables, is no connection's.
    await peer.call("idle", { server, count: 100 });
    await peer.call("leave");
    const start = await settled(server);
    const figures = { start };
    let open = 0;
    for (const [key, connections] of Object.entries({ each1000: 1_000, each10000: 10_000 })) {
      const count = Math.round(connections * scale);
      await peer.call("idle", { server, count: count - open });
      open = count;
      figures[key] = ((await settled(server)) - start) / count;
    }
    await peer.call("leave");
    figures.end = await settled(server);
    return { ...figures, kept: figures.end / start };
  } finally {
    await peer.stop();
    await server.stop();
  }
}

const HOLDERS = 100; // sessions
const REGISTRATIONS = 100; // of each
const OUTSTANDING = 200; // of each, at most what a handler may have to answer

/** What a registration and an outstanding request of 64 bytes take of the broker's memory, in KiB. */
export async function held({ name, system }) {
  const server = await system.start();
  const peer = await startPeer(name, system);
  try {
    await peer.call("idle", { server, count: 2 * HOLDERS });
    const start = await settled(server);
    await peer.call("register", { path: "bench/held", count: REGISTRATIONS });
    const registered = await settled(server);
    await peer.call("hold", { path: "bench/hold", bytes: SMALL, outstanding: OUTSTANDING });
    const held = await settled(server);
    return {
      registration: (registered - start) / (2 * HOLDERS * REGISTRATIONS),
      request: (held - registered) / (HOLDERS * OUTSTANDING),
    };
  } finally {
    await peer.stop();
    await server.stop();
  }
}

/** Resident memory, when it has not fallen for two seconds. */
async function settled(server) {
  let lowest = sumOf(server, residentOf);
  for (let looks = 0; looks < 4; looks++) {
    await sleep(500);
    const now = sumOf(server, residentOf);
    if (now < lowest) [lowest, looks] = [now, -1];
  }
  return lowest;
}

// ---- Light traffic beside a request to many ----

const MANY = 5_000; // sessions

/** The 99th percentile of one requester's light traffic, in ms: without, and beside a request to 5,000 sessions a second. */
export async function light({ system }, scale) {
  const server = await system.start();
  const seconds = Math.max(3, Math.round(10 * scale));
  try {
    const without = await traffic(server, seconds);
    const many = [`--handlers=${Math.round(MANY * scale)}`, "--kind=filter", "--rate=1"];
    const heavy = generate(server, ["--sessions=1", ...many, `--duration=${seconds + 2}s`]);
    await Promise.race([heavy, connected(server, MANY * scale)]);
    const beside = await traffic(server, seconds);
    const { requests, violations } = await heavy;
    if (Object.keys(violations).length > 0) throw new Error(JSON.stringify(violations));
    return { without: without.p99 / 1_000, beside: beside.p99 / 1_000, worst: beside.max / 1_000, requests };
  } finally {
    await server.stop();
  }
}

/** 200 requests a second. */
async function traffic(server, seconds) {
  const { kinds } = await generate(server, ["--sessions=1", "--handlers=1", "--rate=200", `--duration=${seconds}s`]);
  return kinds.path.latency;
}

async function generate(server, args) {
  const options = [`--url=${server.url}`, `--value-size=${SMALL}`, "--timeout=30s", "--json"];
  return JSON.parse(await must(loadGenerator, [...options, ...args], { show: "failure" }));
}

/** When a server has so many sockets. */
async function connected(server, count) {
  while (readdirSync(`/proc/${server.pid}/fd`).length < count) await sleep(50);
}
