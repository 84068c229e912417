// The page of ten lines: no bundler, nothing installed, only what the broker serves.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { after, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assembleSite } from "../support/site.mjs";

const broker = await startBroker(["--www", assembleSite()]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

test("the minimal page asks a request in ten lines", () => {
  const text = readFileSync(fromRoot("www", "minimal.html"), "utf8");
  assert.match(text, /sendRequestToPath/);
  assert.ok(text.trimEnd().split("\n").length <= 10);
});

test("the minimal page shows the answer, and two tabs with it do not disturb each other", async () => {
  for (let tab = 1; tab <= 2; tab += 1) {
    const page = await browser.newPage();
    const errors = [];
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${broker.httpUrl}minimal.html`);
    await page.getByText("Hello, Ada!", { exact: true }).waitFor();
    assert.deepEqual(errors, []);
    const folder = fromRoot("build", "screenshots");
    mkdirSync(folder, { recursive: true });
    await page.screenshot({ path: `${folder}/minimal.png` });
  }
});
