// Every example of the README and of docs/ runs as it stands, prints what it says, and type-checks.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { programsOf, run, typeErrors } from "./support/programs.mjs";

const OPERATIONS = [
  "sendRequestToPath",
  "sendRequestToSession",
  "sendRequestToFilter",
  "addRequestHandler",
  "addStreamHandler",
  "addFilterResponseHandler",
];
const IDEAS = ["addressing", "connections", "errors", "filters", "handlers", "values"];
const pages = ["README.md", ...markdownIn("docs")];
const programs = pages
  .filter((page) => page !== "docs/protocol.md") // bytes, not examples
  .flatMap((page) => programsOf(page, readFileSync(fromRoot(page), "utf8")));

function markdownIn(folder) {
  return readdirSync(fromRoot(folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);
}

for (const program of programs) {
  test(`the program at ${program.page}:${program.line} does what it says`, () => run(program));
}

test("examples in TypeScript type-check", () => {
  assert.deepEqual(typeErrors(programs), []);
});

test("the README shows each of the six operations", () => {
  const readme = programs.filter(({ page }) => page === "README.md").map(({ text }) => text);
  for (const operation of OPERATIONS) {
    assert.ok(
      readme.some((text) => text.includes(`.${operation}(`)),
      operation,
    );
  }
});

test("every idea has a page with an example, short enough to be read", () => {
  for (const idea of IDEAS) {
    const page = `docs/${idea}.md`;
    assert.ok(
      programs.some((program) => program.page === page),
      `${page} has no example`,
    );
    const lines = readFileSync(fromRoot(page), "utf8").trimEnd().split("\n");
    assert.ok(lines.length <= 120, `${page} has ${lines.length} lines`);
  }
});

test("links from page to page lead somewhere", () => {
  for (const page of pages) {
    for (const [, target] of readFileSync(fromRoot(page), "utf8").matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      assert.ok(existsSync(join(fromRoot(dirname(page)), target)), `${page} links to ${target}`);
    }
  }
});
