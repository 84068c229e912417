// Headless Chromium, driven by playwright-core: the installed browser, nothing is downloaded.

import { chromium } from "playwright-core";
import { chromiumFlags, findChromium } from "../../scripts/lib/browsers.mjs";

/**
 * Starts a browser.
 *
 * @param {import("playwright-core").LaunchOptions} options further launch options
 * @returns {Promise<import("playwright-core").Browser>}
 */
export async function launchBrowser(options = {}) {
  const executablePath = findChromium();
  if (!executablePath) throw new Error("no Chromium: install the package chromium, or name one in CHROMIUM");
  return chromium.launch({ executablePath, ...options, args: [...chromiumFlags, ...(options.args ?? [])] });
}
