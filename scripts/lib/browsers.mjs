// The browsers that the tests drive, and what drives them: named by an environment variable, else found on PATH.

import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Headless Chromium that calls nobody and needs no GPU. `webdriver.json` says the same to ChromeDriver. */
export const chromiumFlags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const findChromium = () => process.env.CHROMIUM || onPath("chromium", "chromium-browser", "google-chrome");
export const findChromedriver = () => process.env.CHROMEDRIVER || onPath("chromedriver");
export const findFirefox = () => process.env.FIREFOX || onPath("firefox-esr", "firefox");
/** The driver of WebKitGTK, which starts the browser itself. */
export const findWebKit = () => process.env.WEBKIT_WEBDRIVER || onPath("WebKitWebDriver");
/** A screen that nobody sees: WebKitGTK has no headless form. */
export const findXvfb = () => process.env.XVFB || onPath("Xvfb");

/** The full path of the first of these commands that is installed. */
export function onPath(...names) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/bin"].filter(Boolean);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
