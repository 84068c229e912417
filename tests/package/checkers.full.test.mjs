// Checks the tarball with publint and "Are the types wrong?".

import { test } from "node:test";
import { folder, packed } from "../../scripts/lib/tarball.mjs";
import { runTool } from "./support/app.mjs";
import { tool } from "./support/tools.mjs";

const tarball = await packed();

// The package is an ES module only, so what `require` means to TypeScript's older settings ("node10", and "node16" in a
// CommonJS file) is not asked. The .wasm file is there for its address and has no types.
const attwOptions = [
  ...["--profile", "esm-only", "--exclude-entrypoints", "antiphon.wasm"],
  ...["--format", "ascii", "--no-emoji", "--no-color", "--no-definitely-typed"],
];

test("publint finds nothing, not even a suggestion to think about", async (context) => {
  const publint = tool("publint");
  const output = await runTool(folder, publint, tarball.filename, "--strict");
  context.diagnostic(`publint ${publint.version} --strict: ${output.trim().split("\n").at(-1)}`);
});

test("the types resolve wherever the package does", async (context) => {
  const attw = tool("@arethetypeswrong/cli", "attw");
  const output = await runTool(folder, attw, tarball.filename, ...attwOptions);
  for (const [line] of output.matchAll(/^("|node|bundler).+$/gm)) context.diagnostic(line);
});
