// Checks the API reference: everything in the types is described and has an example, every example compiles, runs and
// prints what it says, and the generated pages have no broken link.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as antiphon from "antiphon";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { run as runCommand } from "../../scripts/lib/run.mjs";
import { run, typeErrors } from "./support/programs.mjs";
import { examplePrograms, exportsOf, missing } from "./support/reference.mjs";

const PAGE = "src/index.d.ts";
const source = readFileSync(fromRoot(PAGE), "utf8");
const programs = examplePrograms(PAGE, source);

test("every export and every member is described and shown in an example", () => {
  assert.deepEqual(missing(exportsOf(source)), []);
});

test("what is not described, or in no example, is named", () => {
  const faulty = `
/** Described. */
export function shown(): void;
/**
 * Described.
 *
 * @example
 * use({ option: 1 }); // other
 */
export interface Options {
  /** In the example. */
  option: number;
  /** In a comment at best. */
  other: number;
  missing: number;
  /** A method needs one of its own, though it has the name of an option. */
  use(): void;
}
export {};
`;
  assert.deepEqual(missing(exportsOf(faulty)), [
    "shown has no example",
    "Options.missing is not described",
    "Options.other is in no example",
    "Options.missing is in no example",
    "Options.use is in no example",
  ]);
});

test("the types export what the package exports", () => {
  const values = exportsOf(source).filter(({ isValue }) => isValue);
  assert.deepEqual(values.map(({ name }) => name).sort(), Object.keys(antiphon).sort());
});

test("the examples compile", () => {
  assert.deepEqual(typeErrors(programs), []);
});

for (const program of programs) {
  test(`the example of ${program.of} at ${PAGE}:${program.line} does what it says`, () => run(program));
}

test("npm run docs makes the pages without a warning", async () => {
  const { status, output } = await runCommand("npm", ["run", "docs"], { show: "failure" });
  assert.equal(status, 0, output);
});
