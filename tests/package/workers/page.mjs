// Drives pages of this folder, for tests.

import assert from "node:assert/strict";

/**
 * Opens `page.html` with one kind of worker. When the test ends, nothing may have been written to the console as an
 * error but what `expected` describes.
 *
 * @param {import("node:test").TestContext} t
 * @param {object} options
 * @param {import("playwright-core").Browser | import("playwright-core").BrowserContext} options.browser
 * @param {{ url: string }} options.site
 * @param {"page" | "dedicated" | "classic" | "shared" | "service"} options.kind
 * @param {RegExp} [options.expected]
 */
export async function openPage(t, { browser, site, kind, expected }) {
  const page = await browser.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  t.after(async () => {
    await page.close();
    assert.deepEqual(
      errors.filter((error) => !expected?.test(error)),
      [],
    );
  });
  await page.goto(`${site.url}page.html?in=${kind}`);
  await page.waitForFunction(() => "tell" in globalThis);
  return {
    page,
    /** What the worker answers to a command; throws what it failed with. */
    async tell(...command) {
      const { value, error } = await page.evaluate((them) => globalThis.tell(...them), command);
      if (error) throw Object.assign(new Error(error.message), error);
      return value;
    },
  };
}
