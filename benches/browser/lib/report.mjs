// What came of it: medians over the rounds, and ratios, which are taken within a round and then their median.

import { marksOf } from "./marks.mjs";
import { format, median, Results } from "./results.mjs";

/** The columns of the tables: heading, cell, figure, and what it is divided by. */
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
    ["download, gzip, KB", "download", "gzip", 1_000],
    ["brotli, KB", "download", "brotli", 1_000],
  ],
  "Processor time per 1,000 requests, ms": [
    ...cpuColumns("one at a time", "cpu-serial"),
    ...cpuColumns("256 in flight", "cpu-piped"),
  ],
  "100 requesters and 100 handlers in Node.js": [
    ["1 in flight each, /s", "load", "rate1"],
    ["server, µs per request", "load", "cpu1"],
    ["16 in flight each, /s", "load", "rate16"],
    ["server then, µs per request", "load", "cpu16"],
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

function cpuColumns(prefix, cell) {
  return [
    [`${prefix}: requester's main thread`, cell, "requesterTask"],
    ["its scripts", cell, "requesterScript"],
    ["handler's main thread", cell, "handlerTask"],
    ["server", cell, "serverProcess"],
  ];
}

/** The columns of the README. */
const SHORT = [
  ["one at a time, median, ms", "latency", "p50"],
  ["256 in flight, /s", "throughput-256", "rate"],
  ["4,096 in flight, /s", "throughput-4096", "rate"],
  ["16 KB each, /s", "size-16K", "rate"],
  ["256 KB each, /s", "size-256K", "rate"],
  ["100 answers, median, ms", "fan-out", "p50"],
  ["download, gzip, KB", "download", "gzip", 1_000],
];

/** The whole report, in Markdown. */
export function markdownReport(records, titles) {
  const results = new Results(records);
  const tables = Object.entries(tablesOf(results, titles)).map(([title, lines]) => [`### ${title}`, "", ...lines, ""]);
  const machine = results.of(undefined, "machine").at(-1);
  const others = median(records.map(({ others }) => others).filter((cores) => cores !== undefined));
  const wrong = records.reduce((sum, record) => sum + (record.wrong ?? 0), 0);
  const rounds = new Set(records.map(({ round }) => round).filter(Boolean)).size;
  const facts = [
    `Rounds: ${rounds}. In brackets: the ratio to the bare relay (raw bytes) of the same round, median.`,
    `${machine?.browser}, Node.js ${machine?.node}, ${machine?.when}.`,
    `Wrong responses: ${wrong}. Cores that other programs used meanwhile: ${format(others ?? 0)} (median).`,
    "",
  ];
  return [...facts, ...tables.flat(), ...markdownMarks(results)].join("\n");
}

/** The lines of each table about which there are figures, by title. */
export function tablesOf(results, titles) {
  const tables = Object.entries(TABLES).map(([title, columns]) => [title, tableOf(results, titles, columns, "floor")]);
  return Object.fromEntries(tables.filter(([, lines]) => lines.length > 2));
}

/** The lines of the README's table. */
export const shortTable = (results, titles) => tableOf(results, titles, SHORT);

/** @param {string} [base] the system to which ratios are given */
function tableOf(results, titles, columns, base) {
  const rows = Object.entries(titles).map(([system, title]) => {
    const values = columns.map(([, cell, key, unit = 1]) => {
      const value = results.median(system, cell, key);
      const ratio = base === undefined || system === base ? undefined : results.ratio(system, cell, key, base);
      return value === undefined ? "" : `${format(value / unit)}${ratio === undefined ? "" : ` (${ratio.toFixed(2)})`}`;
    });
    return [title, ...values];
  });
  const head = [
    ["", ...columns.map(([heading]) => heading)],
    ["---", ...columns.map(() => "--:")],
  ];
  return [...head, ...rows.filter(([, ...values]) => values.some(Boolean))].map((cells) => `| ${cells.join(" | ")} |`);
}

/** What is to be reached, and whether it is. */
function markdownMarks(results) {
  const rows = marksOf(results).map(
    ({ text, value, atMost, atLeast, isReached }) =>
      `| ${text} | ${atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`} | ${format(value)} | ${isReached ? "yes" : "**no**"} |`,
  );
  return ["### Marks", "", "| | mark | reached | |", "| --- | --: | --: | --- |", ...rows, ""];
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
