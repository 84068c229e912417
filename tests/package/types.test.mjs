// The types in the tarball as a page uses them, with every way of resolving packages.

import { test } from "node:test";
import { makeApp } from "./support/app.mjs";
import { check, resolutions } from "./support/typescript.mjs";

const app = await makeApp("types", { from: ["types"] });

for (const resolution of Object.keys(resolutions)) {
  test(`a page, moduleResolution ${resolution}: the types compile, strictly and in full`, async (context) => {
    const version = await check(app, "usage.ts", resolution, "a page");
    context.diagnostic(`TypeScript ${version}, ${resolution}, a page: no errors`);
  });
}
