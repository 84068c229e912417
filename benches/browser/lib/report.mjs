// What came of it: medians over the rounds, and ratios, which are taken within a round and then their median.

import { marksOf } from "./marks.mjs";
import { format, median, Results } from "./results.mjs";

/** The columns of the tables: heading, cell, figure, and digits. */
const TABLES = {
  "Requests from tab to tab": [
    ["one at a time, median, ms", "latency", "p50"],
    ["99th percentile, ms", "latency", "p99"],
    ["16 in flight, /s", "throughput-16", "rate"],
    ["256 in flight, /s", "throughput-256", "rate"],
    ["4,096 in flight, /s", "throughput-4096", "rate"],
    ["1 KB each, /s", "size-1K", "rate"],
    ["16 KB each, /s", "size-16K", "rate"],
    ["256 KB each, /s", "size-256K", "rate"],
  ],
  "One asks 100, connecting, download": [
    ["100 answers, median, ms", "fan-out", "p50"],
    ["cold connect, ms", "connect", "cold.total"],
    ["warm connect, ms", "connect", "warm.total"],
    ["download, gzip, bytes", "download", "gzip"],
    ["brotli, bytes", "download", "brotli"],
  ],
  "Processor time per 1,000 requests, one at a time, ms": cpuColumns("cpu-serial"),
  "Processor time per 1,000 requests, 256 in flight, ms": cpuColumns("cpu-piped"),
  "100 requesters and 100 handlers in Node.js": [
    ["1 in flight each, /s", "load", "rate1"],
    ["server, µs per request", "load", "cpu1"],
    ["16 in flight each, /s", "load", "rate16"],
    ["server, µs per request", "load", "cpu16"],
  ],
  "Memory of the server, KiB": [
    ["each of 1,000 idle connections", "idle", "each1000"],
    ["each of 10,000", "idle", "each10000"],
    ["before", "idle", "start"],
    ["when all have left", "idle", "end"],
    ["a registration", "held", "registration"],
    ["an outstanding request", "held", "request"],
  ],
  "Light traffic beside a request to 5,000 sessions a second": [
    ["99th percentile without, ms", "light", "without"],
    ["beside, ms", "light", "beside"],
    ["at worst, ms", "light", "worst"],
  ],
  "Memory that 100,000 requests leave behind, bytes": [
    ["requester's heap", "leak", "requesterHeap"],
    ["handler's heap", "leak", "handlerHeap"],
    ["WebAssembly, in all", "leak", "wasm"],
  ],
};

function cpuColumns(cell) {
  return [
    ["requester, main thread", cell, "requesterTask"],
    ["its scripts", cell, "requesterScript"],
    ["handler, main thread", cell, "handlerTask"],
    ["its scripts", cell, "handlerScript"],
    ["requester's process", cell, "requesterProcess"],
    ["handler's process", cell, "handlerProcess"],
    ["network process", cell, "networkProcess"],
    ["server", cell, "serverProcess"],
  ];
}

/** The tables, in Markdown. */
export function markdownReport(records, titles) {
  const results = new Results(records);
  const tables = Object.entries(TABLES).map(([title, columns]) => tableOf(results, titles, title, columns));
  const machine = results.of(undefined, "machine").at(-1);
  const others = median(records.map(({ others }) => others).filter((cores) => cores !== undefined));
  const wrong = records.reduce((sum, record) => sum + (record.wrong ?? 0), 0);
  const rounds = new Set(records.map(({ round }) => round).filter(Boolean)).size;
  const facts = [
    `Rounds: ${rounds}. In brackets: the ratio to the bare relay (raw bytes) of the same round, median.`,
    `${machine?.browser}, Node.js ${machine?.node}, ${machine?.when}.`,
    `Wrong responses: ${wrong}. Cores that other programs used meanwhile: ${format(others ?? 0)} (median).`,
  ];
  return [`${facts.join("\n")}\n`, ...tables.filter(Boolean), markdownMarks(results)].join("\n");
}

function tableOf(results, titles, title, columns) {
  const rows = [];
  for (const [system, name] of Object.entries(titles)) {
    const values = columns.map(([, cell, key]) => {
      const value = results.median(system, cell, key);
      const ratio = system === "floor" ? undefined : results.ratio(system, cell, key, "floor");
      return value === undefined ? "" : `${format(value)}${ratio === undefined ? "" : ` (${ratio.toFixed(2)})`}`;
    });
    if (values.some(Boolean)) rows.push([name, ...values]);
  }
  if (rows.length === 0) return undefined;
  const lines = [["", ...columns.map(([heading]) => heading)], ["---", ...columns.map(() => "--:")], ...rows];
  return [`### ${title}\n`, ...lines.map((cells) => `| ${cells.join(" | ")} |`), ""].join("\n");
}

/** What is to be reached, and whether it is. */
function markdownMarks(results) {
  const rows = marksOf(results).map(
    ({ text, value, atMost, atLeast, isReached }) =>
      `| ${text} | ${atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`} | ${format(value)} | ${isReached ? "yes" : "**no**"} |`,
  );
  return ["### Marks\n", "| | mark | reached | |", "| --- | --: | --: | --- |", ...rows, ""].join("\n");
}

/** The same figures for programs: by system, cell and figure. */
export function jsonReport(records) {
  const results = new Results(records);
  const figures = {};
  for (const { system, cell, round: _round, ...record } of records) {
    if (system === undefined) continue;
    figures[system] ??= {};
    figures[system][cell] ??= figuresOf(results, system, cell, record);
  }
  return { machine: results.of(undefined, "machine").at(-1), figures, marks: marksOf(results) };
}

function figuresOf(results, system, cell, record, prefix = "") {
  const figures = {};
  for (const [name, value] of Object.entries(record)) {
    const key = `${prefix}${name}`;
    if (typeof value === "number") {
      figures[key] = { median: results.median(system, cell, key), ratio: results.ratio(system, cell, key, "floor") };
    } else if (value && !Array.isArray(value)) {
      Object.assign(figures, figuresOf(results, system, cell, value, `${key}.`));
    }
  }
  return figures;
}
