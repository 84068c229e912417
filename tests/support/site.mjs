// The page and the built package as `npm start` serves them, for `startBroker(["--www", assembleSite()])`.
// Needs `dist/` (`npm run build`).

import { existsSync } from "node:fs";
import { assembleSite as assemble } from "../../scripts/lib/files.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";

/** Brings `build/site` up to date and gives its path. */
export function assembleSite() {
  if (!existsSync(fromRoot("dist", "index.js"))) throw new Error("no dist/: npm run build");
  return assemble();
}
