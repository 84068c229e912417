// Checks that docs/compatibility.md lists the tests that run in every browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { essentials } from "../browsers/essentials.mjs";
import { browsers } from "../support/browsers/index.mjs";
import { tableIn } from "./support/tables.mjs";

const rows = tableIn(readFileSync(fromRoot("docs", "compatibility.md"), "utf8"), "Browsers");

test("the page about compatibility lists what is tested in browsers", () => {
  assert.deepEqual(
    rows.map(({ test }) => test),
    Object.keys(essentials),
  );
});

test("the page about compatibility has a column for each browser", () => {
  const [, ...columns] = Object.keys(rows[0]);
  assert.deepEqual(
    columns.map((column) => column.split(" ")[0]),
    Object.keys(browsers),
  );
});
