// The client in a page of headless Chromium, against the package as it ships and a real broker. What is tested stands in
// `cases/`, which the page imports; each case is a test here.

import { readdirSync, readFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assemblePages } from "../support/pages.mjs";

const PAGE = `<!doctype html>
<meta charset="utf-8">
<title>Tests</title>
<link rel="icon" href="data:,">
<script type="importmap">{ "imports": { "antiphon": "/antiphon/index.js" } }</script>
`;

const folder = fromRoot("tests", "web");
const read = (path) => readFileSync(`${folder}/${path}`);
const modules = readdirSync(`${folder}/cases`).map((name) => `cases/${name}`);
const sources = Object.fromEntries(["support.js", ...modules].map((path) => [path, read(path)]));

const broker = await startBroker(["--www", assemblePages("web", { "index.html": PAGE, ...sources })]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

for (const module of modules) {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  const names = await page.evaluate(async (path) => {
    await import(path);
    return (await import("/support.js")).names();
  }, `/${module}`);

  describe(module, () => {
    after(() => page.close());
    for (const name of names) {
      test(name, () => page.evaluate(async (name) => (await import("/support.js")).run(name), name));
    }
  });
}
