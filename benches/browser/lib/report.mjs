// What came of it: medians over the rounds, and ratios, which are taken within a round and then their median.

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
  return [`${facts.join("\n")}\n`, ...tables.filter(Boolean)].join("\n");
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

const format = (value) =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

/** The same figures for programs: by system, cell and figure. */
export function jsonReport(records) {
  const results = new Results(records);
  const figures = {};
  for (const { system, cell, round: _round, ...record } of records) {
    if (system === undefined) continue;
    figures[system] ??= {};
    figures[system][cell] ??= figuresOf(results, system, cell, record);
  }
  return { machine: results.of(undefined, "machine").at(-1), figures };
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

/** Records, looked up and summed up. */
export class Results {
  #records = new Map(); // by system and cell

  constructor(records) {
    for (const record of records) {
      const key = `${record.system} ${record.cell}`;
      this.#records.set(key, [...(this.#records.get(key) ?? []), record]);
    }
  }

  of(system, cell) {
    return this.#records.get(`${system} ${cell}`) ?? [];
  }

  /** @param {string} key of the figure; dots lead further in */
  median(system, cell, key) {
    return median(this.of(system, cell).map((record) => figure(record, key)));
  }

  /** To another system, in the same rounds. */
  ratio(system, cell, key, base) {
    const others = new Map(this.of(base, cell).map((record) => [record.round, figure(record, key)]));
    const ratios = this.of(system, cell).map((record) => figure(record, key) / others.get(record.round));
    return median(ratios.filter(Number.isFinite));
  }
}

const figure = (record, key) => key.split(".").reduce((value, name) => value?.[name], record);

function median(numbers) {
  const sorted = numbers.filter((number) => number !== undefined).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? sorted[middle]
    : sorted.length > 0
      ? (sorted[middle - 1] + sorted[middle]) / 2
      : undefined;
}
