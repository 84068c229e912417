// What is measured. A workload is a list of cells; a cell gives figures of one system, and each system has its turn at one
// cell before the next begins, so that what is compared was measured within seconds.

import { fanOut, held, idle, light, load } from "./native.mjs";

const PATH = "bench/echo";
const SMALL = 64; // bytes
const PIPED = 256; // requests outstanding

/**
 * The cells of each workload, by name. Those with `pages` are given two pages with a client each, see `pages.mjs`; the
 * others a system and its server. `onlyOurs` are about Antiphon alone; `onRequest` run only if they are named.
 */
export const WORKLOADS = {
  latency: { pages: true, cells: { latency } },
  throughput: {
    pages: true,
    cells: Object.fromEntries([16, 256, 4096].map((n) => [`throughput-${n}`, throughput(n)])),
  },
  sizes: {
    pages: true,
    cells: { "size-1K": size(1 << 10), "size-16K": size(1 << 14), "size-256K": size(1 << 18) },
  },
  cpu: { pages: true, cells: { "cpu-serial": cpu(1, 3_000), "cpu-piped": cpu(PIPED, 25_000) } },
  connect: { pages: true, cells: { connect } }, // last of those with pages: it takes the place of the requester
  "fan-out": { cells: { "fan-out": fanOut } },
  load: { cells: { load } },
  idle: { cells: { idle } },
  held: { cells: { held }, onlyOurs: true },
  light: { cells: { light }, onlyOurs: true },
  leak: { pages: true, cells: { leak }, onRequest: true },
};

// ---- Two pages ----

/** 5,000 requests, one after the other. */
async function latency(pages, scale) {
  await pages.serial({ path: PATH, bytes: SMALL, count: Math.round(1_000 * scale) });
  return pages.serial({ path: PATH, bytes: SMALL, count: Math.round(5_000 * scale) });
}

function throughput(outstanding) {
  // However short the run is: a request among thousands takes half a second.
  const least = outstanding > 1_000 ? 600 : 0;
  return (pages, scale) => {
    const ms = Math.max(least, 1_500 * scale);
    return pages.piped({ path: PATH, bytes: SMALL, outstanding, warmUp: ms / 3, ms });
  };
}

function size(bytes) {
  const [full, least] = bytes > 100_000 ? [2_500, 1_200] : [1_000, 0]; // large ones are few
  return (pages, scale) => {
    const ms = Math.max(least, full * scale);
    return pages.piped({ path: PATH, bytes, outstanding: 16, warmUp: ms / 3, ms });
  };
}

/** Processor time per 1,000 requests: of each process, and of each page's main thread and its scripts. */
function cpu(outstanding, count) {
  return async (pages, scale) => {
    const { requester, handler } = pages;
    for (const page of [requester, handler]) await page.call("Performance.enable", { timeDomain: "threadTicks" });
    await pages.processorTimes(); // which keeps the pages busy the first time
    const look = async () => ({
      requester: await scriptTimes(requester),
      handler: await scriptTimes(handler),
      processes: await pages.processorTimes(),
    });
    const before = await look();
    const result = await pages.piped({ path: PATH, bytes: SMALL, outstanding, count: Math.round(count * scale) });
    const after = await look();
    for (const page of [requester, handler]) await page.call("Performance.disable");
    const each = (page, key) => ((after[page][key] - before[page][key]) * 1_000) / result.total;
    return {
      ...result,
      requesterTask: each("requester", "task"),
      requesterScript: each("requester", "script"),
      handlerTask: each("handler", "task"),
      handlerScript: each("handler", "script"),
      ...Object.fromEntries(Object.keys(before.processes).map((key) => [`${key}Process`, each("processes", key)])),
    };
  };
}

/** Of a page's main thread, in ms. */
async function scriptTimes(page) {
  const { metrics } = await page.call("Performance.getMetrics");
  const [task, script] = ["TaskDuration", "ScriptDuration"].map(
    (key) => metrics.find(({ name }) => name === key).value,
  );
  return { task: task * 1_000, script: script * 1_000 };
}

/** From nothing to the first response: in a page with nothing in its caches, and in the same page later. */
async function connect(pages, scale) {
  const times = { cold: [], warm: [] };
  for (let i = 0; i < Math.max(1, Math.round(4 * scale)); i++) {
    const page = await pages.another();
    const once = () => page.run("bench.connectTimes", pages.script, pages.url, pages.requesterOptions, PATH);
    times.cold.push(await once());
    await once();
    for (let j = 0; j < 4; j++) times.warm.push(await once());
    await page.close();
  }
  const median = (list, key) => list.map((time) => time[key]).sort((a, b) => a - b)[list.length >> 1];
  const medians = (list) => Object.fromEntries(Object.keys(list[0]).map((key) => [key, median(list, key)]));
  return { cold: medians(times.cold), warm: medians(times.warm) };
}

/** What 1,000,000 requests leave behind, in bytes: looked at ten times, after garbage collection. */
async function leak(pages, scale) {
  const part = Math.round(100_000 * scale);
  const heap = async (page) => {
    await page.evaluate("gc()");
    return (await page.call("Runtime.getHeapUsage")).usedSize;
  };
  const look = async () => ({
    requester: await heap(pages.requester),
    handler: await heap(pages.handler),
    wasm: (await pages.requester.evaluate("globalThis.wasmMemory?.() ?? 0")) || 0,
  });
  const looks = [];
  let wrong = 0;
  for (let i = 0; i <= 10; i++) {
    // The first part fills caches, and lets the compiler finish.
    ({ wrong } = await pages.piped({ path: PATH, bytes: SMALL, outstanding: PIPED, count: part }));
    looks.push(await look());
  }
  const growth = (key) => (looks.at(-1)[key] - looks[0][key]) / (looks.length - 1);
  const per = 100_000 / part;
  return {
    requesterHeap: growth("requester") * per,
    handlerHeap: growth("handler") * per,
    wasm: looks.at(-1).wasm - looks[0].wasm,
    wrong,
    looks,
  };
}
