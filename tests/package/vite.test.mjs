// The packed package in a small application under Vite 8, without any configuration: built and served, and under the
// development server, each driven in a browser against a broker.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { makeApp, runTool, written } from "./support/app.mjs";
import { asksAndIsAnswered, serveVite } from "./support/page.mjs";
import { tool } from "./support/tools.mjs";

const vite = tool("vite");
const app = await makeApp("vite", { from: ["page"] });
const [broker, browser] = await Promise.all([startBroker(), launchBrowser()]);
after(async () => {
  await browser.close();
  await broker.stop();
});

test("vite build: the page sends a request and gets its answer", async (context) => {
  await runTool(app, vite, "build");
  const files = written(app);
  assert.match(files.join(" "), /antiphon_bg-\S+\.wasm/);
  const url = await serveVite(context, app, vite, "preview");
  const shown = await asksAndIsAnswered(browser, url, broker.url);
  context.diagnostic(`vite ${vite.version} build: wrote ${files.join(", ")}`);
  context.diagnostic(`the page showed ${shown}`);
});

test("vite dev: the page sends a request and gets its answer", async (context) => {
  const url = await serveVite(context, app, vite, "dev");
  const shown = await asksAndIsAnswered(browser, url, broker.url);
  context.diagnostic(`vite ${vite.version} dev: the page showed ${shown}`);
});
