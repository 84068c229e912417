// Chromium, by playwright-core.

import { launchBrowser } from "../browser.mjs";
import { outcomeOf, sourceOf, textOf } from "./script.mjs";

/** @returns {Promise<import("./index.mjs").Browser>} */
export async function launchChromium() {
  // Playwright turns the back/forward cache off unless it is told not to.
  const browser = await launchBrowser({ ignoreDefaultArgs: ["--disable-back-forward-cache"] });
  const context = await browser.newContext();
  return {
    version: `Chromium ${browser.version()}`,
    async open(url) {
      const page = await context.newPage();
      await page.goto(url);
      return {
        async evaluate(run, argument) {
          return outcomeOf(await page.evaluate(`(${sourceOf(run)})(${JSON.stringify(textOf(argument))})`));
        },
        async goto(url) {
          await page.goto(url);
        },
        async reload() {
          await page.reload();
        },
        async back() {
          await page.goBack({ waitUntil: "commit" }); // a page from the cache has loaded long ago
        },
        close: () => page.close(),
      };
    },
    close: () => browser.close(),
  };
}
