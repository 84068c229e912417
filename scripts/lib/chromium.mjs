// The browser that the tests drive, and ChromeDriver for the wasm tests: named by CHROMIUM and CHROMEDRIVER, else found
// on PATH.

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
