// Runs the cases of this folder in pages of any browser: each case is a test.

import { readdirSync, readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { assemblePages } from "../support/pages.mjs";

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Tests</title>
<link rel="icon" href="data:,">
<script type="importmap">{ "imports": { "antiphon": "/antiphon/index.js" } }</script>
`;

const folder = fromRoot("tests", "web");
const modules = readdirSync(`${folder}/cases`).map((name) => `cases/${name}`);

/** Gives the folder of the page and the cases, for a broker's `--www`. */
export function assembleCases() {
  const sources = ["support.js", ...modules].map((path) => [path, readFileSync(`${folder}/${path}`)]);
  return assemblePages("web", { "index.html": PAGE, ...Object.fromEntries(sources) });
}

/**
 * Declares the tests.
 *
 * @param {() => Promise<Pick<import("../support/browsers/index.mjs").Page, "evaluate" | "close">>} open opens the page
 */
export async function declareCases(open) {
  const loaded = [];
  for (const module of modules) {
    const page = await open();
    const names = await page.evaluate(async (path) => {
      await import(path);
      return (await import("/support.js")).names();
    }, `/${module}`);
    loaded.push({ module, page, names });
  }
  // Only now, since a test that is declared may begin to run.
  for (const { module, page, names } of loaded) {
    describe(module, () => {
      after(() => page.close());
      for (const name of names) {
        test(name, () => page.evaluate(async (name) => (await import("/support.js")).run(name), name));
      }
    });
  }
}
