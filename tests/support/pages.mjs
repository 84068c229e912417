// Pages of a test with the package beside them, as a folder that a broker serves with `--www`.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, fillFolder } from "../../scripts/lib/files.mjs";
import { dist, fromRoot } from "../../scripts/lib/paths.mjs";

/**
 * Fills the folder `build/NAME` with the pages and, in `antiphon`, the package as it was built. Gives the path of the folder.
 *
 * @param {string} name
 * @param {Record<string, string | Buffer>} pages the content of each file, by its path in the folder
 */
export function assemblePages(name, pages) {
  if (!existsSync(join(dist, "index.js"))) throw new Error("no dist/: npm run build");
  const files = new Map(Object.entries(pages));
  for (const path of filesBelow(dist)) files.set(join("antiphon", path), readFileSync(join(dist, path)));
  const folder = fromRoot("build", name);
  fillFolder(folder, files);
  return folder;
}
