// `npm run bench` still runs: each kind of workload once on the bare relay and on Antiphon, and shortly; how fast they are
// is no matter here. And what its report makes of figures.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { marksOf } from "../../benches/browser/lib/marks.mjs";
import { jsonReport, markdownReport } from "../../benches/browser/lib/report.mjs";
import { Results } from "../../benches/browser/lib/results.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { must } from "../../scripts/lib/run.mjs";

test("a short run ends with figures of each system, and no response was wrong", async () => {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-bench-"));
  const out = join(folder, "results.jsonl");
  const chosen = ["--systems=floor,ours", "--workloads=latency,fan-out", "--rounds=1", "--quick"];
  try {
    await must(
      process.execPath,
      [fromRoot("benches", "browser", "bench.mjs"), "--no-setup", ...chosen, `--out=${out}`],
      {
        show: "failure",
      },
    );
    const { figures, machine } = JSON.parse(readFileSync(join(folder, "results.json"), "utf8"));
    assert.match(machine.browser, /^\w+\/\d/);
    for (const system of ["floor", "ours"]) {
      for (const cell of ["latency", "fan-out"]) {
        const { p50, count, wrong } = figures[system][cell];
        assert.ok(p50.median > 0 && count.median > 0, `${system}, ${cell}`);
        assert.equal(wrong.median, 0, `${system}, ${cell}`);
      }
    }
    assert.ok(figures.ours.download.gzip.median > 0);
    assert.match(readFileSync(join(folder, "results.md"), "utf8"), /^\| \*\*Antiphon\*\* \| [\d.]+ \([\d.]+\)/m);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const latency = (round, system, p50) => ({ round, system, cell: "latency", p50, wrong: 0 });
const RECORDS = [
  latency(1, "floor-json", 1),
  latency(1, "ours", 2),
  latency(2, "floor-json", 2),
  latency(2, "ours", 2),
  latency(3, "floor-json", 4),
  latency(3, "ours", 4.4),
  { cell: "machine", browser: "Chrome/1", node: "v20", when: "today" },
];

test("a ratio is taken within a round, and is the median of the rounds", () => {
  const results = new Results(RECORDS);
  assert.equal(results.median("ours", "latency", "p50"), 2);
  assert.equal(results.ratio("ours", "latency", "p50", "floor-json"), 1.1);
  assert.equal(results.ratio("ours", "latency", "p50", "nats"), undefined);
});

test("a mark is reached or not, and left out if nothing was measured", () => {
  const [mark, ...others] = marksOf(new Results(RECORDS));
  assert.deepEqual([mark.value, mark.atMost, mark.isReached, others], [1.1, 1.15, true, []]);
  assert.equal(jsonReport(RECORDS).marks.length, 1);
  assert.match(markdownReport(RECORDS, { ours: "Antiphon" }), /^\| Antiphon \| 2 \|/m);
});
