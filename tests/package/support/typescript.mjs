// Checks TypeScript programs against the types in the tarball, in the strictest way.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { runTool } from "./app.mjs";
import { tool } from "./tools.mjs";

/** How TypeScript finds packages: as Node.js does, or as bundlers do. */
export const resolutions = {
  node16: { module: "node16" },
  nodenext: { module: "nodenext" },
  bundler: { module: "preserve", moduleResolution: "bundler" },
};

/** The environments a program can be for, by the types it may use. */
export const platforms = {
  "a page": { lib: ["ES2022", "DOM"], types: [] },
  "a worker": { lib: ["ES2022", "WebWorker"], types: [] },
  "Node.js": { lib: ["ES2023"], types: ["node"] },
};

/** Checks `file` of an application. Gives the version of TypeScript. */
export async function check(app, file, resolution, platform) {
  const compilerOptions = {
    ...resolutions[resolution],
    ...platforms[platform],
    target: "ES2022",
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const project = `tsconfig.${resolution}.${platform}.json`;
  writeFileSync(join(app, project), JSON.stringify({ compilerOptions, files: [file] }));
  const typescript = tool("typescript", "tsc");
  await runTool(app, typescript, "--project", project);
  return typescript.version;
}
