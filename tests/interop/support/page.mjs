// The page in which our client runs, served by the broker.

import { readFileSync } from "node:fs";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { assemblePages } from "../../support/pages.mjs";

/** Gives the folder of the page, for `--www`. */
export function assemblePage() {
  const read = (name) => readFileSync(fromRoot("tests", "interop", name));
  return assemblePages("interop", { "index.html": read("page.html"), "peer.js": read("peer.js") });
}

/** Opens the page in a new tab. */
export async function openPage(broker, browser) {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  return page;
}
