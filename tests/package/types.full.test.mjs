// The types in the tarball in other environments: in a worker, whose types differ from a page's; in a Node.js project
// without the browser's types; and everything in tests/types. Each with every way of resolving packages.

import { cpSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { makeApp } from "./support/app.mjs";
import { check, resolutions } from "./support/typescript.mjs";

const app = await makeApp("types-full", { from: ["types"] });
cpSync(fromRoot("tests", "types", "usage.ts"), join(app, "detail.ts"));

const programs = [
  { file: "usage.ts", platform: "a worker" },
  { file: "node.ts", platform: "Node.js" },
  { file: "detail.ts", platform: "a page" },
];

for (const { file, platform } of programs) {
  for (const resolution of Object.keys(resolutions)) {
    test(`${file} for ${platform}, moduleResolution ${resolution}: the types compile`, async (context) => {
      const version = await check(app, file, resolution, platform);
      context.diagnostic(`TypeScript ${version}, ${resolution}, ${file} for ${platform}: no errors`);
    });
  }
}
