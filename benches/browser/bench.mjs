// `npm run bench`: requests from one tab to another through Antiphon, through other systems, and through a relay that does
// next to nothing, in one run. `npm run bench -- --help` says what can be chosen.

import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { build } from "../../scripts/build.mjs";
import { Failure, main, say } from "../../scripts/lib/run.mjs";
import { bundleForPages, downloadOf } from "./lib/bundle.mjs";
import { launch } from "./lib/chrome.mjs";
import { writeDocs } from "./lib/docs.mjs";
import { openPages } from "./lib/pages.mjs";
import { watchOthers } from "./lib/processes.mjs";
import { jsonReport, markdownReport } from "./lib/report.mjs";
import { folder, setUp } from "./lib/setup.mjs";
import { serveSite } from "./lib/site.mjs";
import { systemsWith } from "./lib/systems.mjs";
import { WORKLOADS } from "./lib/workloads.mjs";

const QUICK = 0.15; // of the length
const TOO_BUSY = 0.5; // cores that others may use before a cell is repeated

const OPTIONS = {
  systems: { type: "string" },
  workloads: { type: "string" },
  rounds: { type: "string", default: "5" },
  quick: { type: "boolean", default: false },
  out: { type: "string", default: join(folder, "results.jsonl") },
  append: { type: "boolean", default: false },
  report: { type: "boolean", default: false },
  docs: { type: "boolean", default: false },
  client: { type: "string" },
  broker: { type: "string" },
  "other-client": { type: "string" },
  "other-broker": { type: "string" },
  "no-setup": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

const HELP = `npm run bench -- [OPTION...]

  --systems NAME,...      which systems (default all): ${Object.keys(systemsWith({})).join(", ")}
  --workloads NAME,...    which workloads (default those without *): ${Object.entries(WORKLOADS)
    .map(([name, { onRequest }]) => `${name}${onRequest ? "*" : ""}`)
    .join(", ")}
  --rounds N              rounds; the order of the systems changes from one to the next (default 5)
  --quick                 a seventh of the length, and nothing is repeated because the machine was busy: to try
                          something out, not to quote
  --out FILE              a line of JSON for each cell (default build/bench/results.jsonl); the report is printed, and
                          written beside it as FILE.md and FILE.json
  --append                to what is in FILE, which the report is about as well
  --report                measures nothing, reports what is in FILE
  --docs                  the same, and puts the figures into docs/performance.md and README.md
  --client DIST           another build of the package than dist/, for the system ours
  --broker BINARY         another broker than that of this folder, likewise
  --other-client DIST, --other-broker BINARY
                          a second build, which is the system "other" and has its turns like all the others
  --no-setup              builds and installs nothing`;

async function bench() {
  const options = parseArgs({ options: OPTIONS }).values;
  if (options.help) return say(HELP);
  const out = resolve(process.env.INIT_CWD ?? ".", options.out);
  if (options.report || options.docs) return report(out, options);

  const path = (name) => options[name] && resolve(process.env.INIT_CWD ?? ".", options[name]);
  const [client, broker] = [path("client"), path("broker")];
  const all = systemsWith({ client, broker, otherClient: path("other-client"), otherBroker: path("other-broker") });
  const systems = chosen("system", all, options.systems, () => true);
  const workloads = chosen("workload", WORKLOADS, options.workloads, ({ onRequest }) => !onRequest);
  if (!options["no-setup"]) {
    if (!client) await build();
    await setUp();
  }
  mkdirSync(dirname(out), { recursive: true });
  if (!options.append) writeFileSync(out, "");
  const write = (record) => {
    appendFileSync(out, `${JSON.stringify(record)}\n`);
    say(summary(record));
  };

  await bundleForPages(systems);
  const site = await serveSite();
  const browser = await launch();
  const measuring = options.quick
    ? (measure) => watched(() => measure(QUICK))
    : (measure) => undisturbed(() => measure(1));
  const run = { systems, workloads, browser, site: site.url, measuring, write };
  try {
    const downloads = Object.entries(systems).filter(([, { download }]) => download);
    for (const [name, system] of downloads) write({ system: name, cell: "download", ...downloadOf(name, system) });
    write({ cell: "machine", browser: browser.version, node: process.version, when: new Date().toISOString() });
    const first = Math.max(0, ...recordsIn(out).map(({ round = 0 }) => round)) + 1;
    for (let round = first; round < first + Number(options.rounds); round++) await oneRound(run, round);
  } finally {
    await browser.close();
    site.close();
  }
  report(out, options);
}

/** Those that are named, or else those that are there by default, in the order of the table. */
function chosen(kind, all, names, isDefault) {
  const wanted = names?.split(",") ?? Object.keys(all).filter((name) => isDefault(all[name]));
  const unknown = wanted.find((name) => !(name in all));
  if (unknown) throw new Failure(`there is no ${kind} ${unknown}; there are ${Object.keys(all).join(", ")}`);
  return Object.fromEntries(Object.entries(all).filter(([name]) => wanted.includes(name)));
}

/** Every cell of every workload on each system; all servers are there from the beginning. */
async function oneRound({ systems, workloads, browser, site, measuring, write }, round) {
  const names = Object.keys(systems);
  const turns = names.map((_, index) => names[(index + round - 1) % names.length]);
  const places = new Map(); // where each system is measured: its server, and how to get a page
  const measureAll = async (some, givenOf) => {
    for (const [workload, { cells }] of some) {
      const able = turns.filter((name) => canDo(systems[name], workload));
      for (const [cell, measure] of Object.entries(cells)) {
        for (const name of able) {
          write({ round, system: name, cell, ...(await measuring((scale) => measure(givenOf(name), scale))) });
        }
      }
    }
  };
  try {
    for (const name of turns) {
      places.set(name, { browser, site, name, system: systems[name], server: await systems[name].start() });
    }
    const [onPages, onPlaces] = [true, false].map((pages) =>
      Object.entries(workloads).filter(([, workload]) => Boolean(workload.pages) === pages),
    );
    if (onPages.length > 0) {
      const pages = new Map();
      for (const name of turns) pages.set(name, await openPages(places.get(name)));
      await measureAll(onPages, (name) => pages.get(name));
      for (const pair of pages.values()) await pair.close();
    }
    await measureAll(onPlaces, (name) => places.get(name));
  } finally {
    for (const { server } of places.values()) await server.stop();
  }
}

const canDo = (system, workload) =>
  !system.without?.includes(workload) && (system.package !== undefined || !WORKLOADS[workload].onlyOurs);

/** Measures, and once more if others kept the machine busy; the quieter of the two counts. */
async function undisturbed(measure) {
  const first = await watched(measure);
  if (first.others <= TOO_BUSY) return first;
  const second = await watched(measure);
  return second.others < first.others ? second : first;
}

async function watched(measure) {
  const othersSince = watchOthers();
  return { ...(await measure()), others: othersSince() };
}

/** What a record says, in a line. */
function summary({ round = "", system = "", cell, others, ...figures }) {
  const short = (_key, value) => (typeof value === "number" ? Number(value.toPrecision(4)) : value);
  const text = JSON.stringify(figures, short).replaceAll('"', "");
  return `${round} ${system.padEnd(12)} ${cell.padEnd(16)} ${text.slice(0, 300)} ${others > TOO_BUSY ? "DISTURBED" : ""}`.trim();
}

function recordsIn(file) {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").filter(Boolean);
  return lines.map((line) => JSON.parse(line));
}

function report(file, { docs }) {
  const records = recordsIn(file);
  const titles = Object.fromEntries(
    Object.entries(systemsWith({ otherClient: "-" })).map(([name, { title }]) => [name, title]),
  );
  const markdown = markdownReport(records, titles);
  writeFileSync(`${file.replace(/\.jsonl$/, "")}.md`, markdown);
  writeFileSync(`${file.replace(/\.jsonl$/, "")}.json`, `${JSON.stringify(jsonReport(records), undefined, 1)}\n`);
  say(`\n${markdown}`);
  if (docs) writeDocs(records, titles);
}

await main(bench);
process.exit(process.exitCode);
