// The recipe for React in docs/frameworks.md, as it stands there, under StrictMode and Vite's development server: one
// session, one handler, an empty console.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { launchBrowser } from "../support/browser.mjs";
import { toolOf } from "./support/examples.mjs";
import { makeHotApp } from "./support/hot.mjs";
import { serveVite } from "./support/page.mjs";

const browser = await launchBrowser();
after(() => browser.close());

test("under StrictMode a component has one handler in one session", async (context) => {
  const { app, order, sessions } = await makeHotApp(context, "hot-react", ["session.js", "Desk.tsx", "main.tsx"], {
    "index.html":
      '<!doctype html><html><head><link rel="icon" href="data:,"></head><body><div id="root"></div><script type="module" src="/main.tsx"></script></body></html>',
    "vite.config.js": 'import react from "@vitejs/plugin-react";\nexport default { plugins: [react()] };\n',
  });
  const url = await serveVite(context, app, toolOf(app, "vite"), "dev");
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.stack));
  await page.goto(url);
  const shown = (text) => page.locator("output").getByText(text, { exact: true }).waitFor();
  await shown("0");
  assert.equal(await order("tea"), "tea: taken");
  await shown("1");
  assert.equal(await sessions(), 1);
  assert.deepEqual(complaints, []);
});
