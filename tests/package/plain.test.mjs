// The packed package in a page without a bundler: the broker serves the application's folder as it is, node_modules
// included.

import { after, test } from "node:test";
import { launchBrowser } from "../support/browser.mjs";
import { makeApp } from "./support/app.mjs";
import { asksAndIsAnswered, serveFolder } from "./support/page.mjs";

const browser = await launchBrowser();
after(() => browser.close());

const pages = {
  "an import map": { name: "plain-import-map", from: ["page", "plain"] },
  "a relative path": { name: "plain-path", from: ["page"], entry: "./node_modules/antiphon/dist/index.js" },
  "a relative path, inline": { name: "plain-inline", from: ["page"], entry: "./node_modules/antiphon/dist/inline.js" },
};

for (const [title, { name, ...parts }] of Object.entries(pages)) {
  test(`${title}: the page sends a request and gets its answer`, async (context) => {
    const app = await makeApp(name, parts);
    const broker = await serveFolder(context, app);
    const shown = await asksAndIsAnswered(browser, broker.httpUrl, broker.url);
    context.diagnostic(`without a bundler, by ${title}: the page showed ${shown}`);
  });
}
