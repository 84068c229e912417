// Checks that the examples of docs/rust.md are code that is tested, natively and in a browser: crates/client/tests/shared/examples.rs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { blocksIn } from "./support/programs.mjs";

const read = (path) => readFileSync(fromRoot(path), "utf8");

test("every example in Rust stands word for word among those that are tested", () => {
  const tested = read("crates/client/tests/shared/examples.rs");
  const blocks = blocksIn(read("docs/rust.md")).filter(({ language }) => language === "rust");
  assert.ok(blocks.length >= 5);
  for (const { text } of blocks) assert.ok(tested.includes(text.trimEnd()), text);
});
