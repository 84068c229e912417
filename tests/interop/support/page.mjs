// The page in which our client runs, served by the broker.

import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow, fillFolder } from "../../../scripts/lib/files.mjs";
import { dist, fromRoot } from "../../../scripts/lib/paths.mjs";

/** Puts the page and the built package into a folder, for `--www`. */
export function assemblePage() {
  if (!existsSync(join(dist, "index.js"))) throw new Error("no dist/: npm run build");
  const folder = fromRoot("build", "interop");
  const files = new Map();
  for (const path of filesBelow(dist)) files.set(join("antiphon", path), readFileSync(join(dist, path)));
  files.set("index.html", readFileSync(fromRoot("tests", "interop", "page.html")));
  files.set("peer.js", readFileSync(fromRoot("tests", "interop", "peer.js")));
  fillFolder(folder, files);
  return folder;
}

/** Opens the page in a new tab. */
export async function openPage(broker, browser) {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  return page;
}
