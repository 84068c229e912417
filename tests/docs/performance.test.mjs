// The README's figures are those of docs/performance.md, and both have a row for each system.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { tableIn } from "./support/tables.mjs";

const read = (path) => readFileSync(fromRoot(path), "utf8");
const short = tableIn(read("README.md"), "How fast it is");
const SECTIONS = ["Requests from tab to tab", "One asks 100, connecting, download"];
const long = SECTIONS.map((section) => tableIn(read("docs/performance.md"), section));

/** A figure without its ratio. */
const figure = (cell) => /^[\d.,]*/.exec(cell)[0];

test("the README has the figures of the page about performance", () => {
  assert.ok(short.length > 5);
  for (const { "": system, ...figures } of short) {
    const row = Object.assign({}, ...long.map((rows) => rows.find(({ "": name }) => name === system)));
    for (const [column, cell] of Object.entries(figures)) {
      assert.equal(cell, figure(row[column] ?? ""), `${system}: ${column}`);
    }
  }
});
