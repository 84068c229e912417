// The client in a page of headless Chromium, against the package as it ships and a real broker. What is tested stands in
// `cases/`, which the page imports; `npm run test:browsers` runs the same in other browsers.

import { after } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { assembleCases, declareCases } from "./run.mjs";

const broker = await startBroker(["--www", assembleCases()]);
const browser = await launchBrowser();
after(async () => {
  await browser.close();
  await broker.stop();
});

await declareCases(async () => {
  const page = await browser.newPage();
  await page.goto(broker.httpUrl);
  return page;
});
