// Tests of the quickstart's measurement: it reads the README, follows it, and notices what is wrong. The measurement
// itself is `npm run quickstart`.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { expectedOutput, follow, report, stepsOf } from "../../scripts/quickstart.mjs";

/** The page of a project that has one section before the quickstart and one after it. */
function page(...blocks) {
  const block = ([language, text]) => `Do this.\n\n\`\`\`${language}\n${text}\n\`\`\`\n`;
  const other = block(["sh", "false"]);
  return `# It\n\n${other}\n## Quickstart\n\n${blocks.map(block).join("\n")}\n## Use it\n\n${other}`;
}

/** Follows a page in an empty folder. */
async function followed(t, ...blocks) {
  const folder = mkdtempSync(join(tmpdir(), "antiphon-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return { folder, steps: await follow(stepsOf(page(...blocks)), folder) };
}

const FILE = ["js", '// say.mjs\nconsole.log("first");\nconsole.log("yes"); // -> yes'];

test("the blocks of the section are done in order, and timed", async (t) => {
  const { folder, steps } = await followed(t, ["sh", "echo one > one\necho two > two"], FILE, ["sh", "node say.mjs"]);
  assert.ok(existsSync(join(folder, "two")));
  assert.deepEqual(
    steps.map(({ command, file }) => command ?? file),
    ["echo one > one; echo two > two", "say.mjs", "node say.mjs"],
  );
  for (const { machine, person } of steps) assert.ok(machine >= 0 && person > 0);
});

test("a command that fails, even the first of two, fails the quickstart", async (t) => {
  await assert.rejects(followed(t, ["sh", "false\ntrue"]), /ended with status 1/);
});

test("an answer other than the one that the file says fails the quickstart", async (t) => {
  await assert.rejects(followed(t, FILE, ["sh", "echo no"]), /should have printed "yes", but printed\nno/);
});

test("a file without a name, and a page without the section, are named", () => {
  assert.throws(() => stepsOf(page(["js", "console.log();"])), /does not name its file:\nconsole.log/);
  assert.throws(() => stepsOf("# It\n"), /no section Quickstart/);
});

test("what takes too long fails", () => {
  const step = { command: "sleep", person: 3 };
  report([{ ...step, machine: 56 }]);
  assert.throws(() => report([{ ...step, machine: 58 }]), /takes 61.0 s, more than 60 s/);
});

test("the README has a quickstart that starts with `npm start`, ends with an answer and is short", () => {
  const readme = readFileSync(fromRoot("README.md"), "utf8");
  const steps = stepsOf(readme);
  assert.match(readme.slice(readme.indexOf("## Quickstart")), /`npm start`/);
  assert.ok(steps.at(-1).command, "the last step is a command");
  assert.equal(expectedOutput(steps).length, 1);
  assert.ok(steps.reduce((sum, { person }) => sum + person, 0) <= 20);
});
