// The browsers that the same tests run in, behind one interface. Nothing but an installed browser is needed: Chromium is
// driven by playwright-core, Firefox by WebDriver BiDi and WebKitGTK by WebDriver, both spoken here.

import { findChromium, findFirefox, findWebKit, findXvfb } from "../../../scripts/lib/browsers.mjs";
import { launchChromium } from "./chromium.mjs";
import { launchFirefox } from "./firefox.mjs";
import { launchWebKit } from "./webkit.mjs";

/**
 * @typedef {object} Browser
 * @property {string} version its name and version, such as `Firefox 140.1.0`
 * @property {(url: string) => Promise<Page>} open opens a page in a new tab and waits until it has loaded
 * @property {() => Promise<void>} close ends the browser
 *
 * @typedef {object} Page
 * @property {<A, R>(run: (argument: A) => R, argument?: A) => Promise<Awaited<R>>} evaluate runs a function in the page,
 *   which sees nothing of its surroundings; argument and result pass as JSON. Rejects with what the function throws.
 * @property {(url: string) => Promise<void>} goto leaves for another page, and waits until it has loaded
 * @property {() => Promise<void>} reload likewise
 * @property {() => Promise<void>} back likewise
 * @property {() => Promise<void>} close closes the tab
 */

/**
 * Each browser: where it is on this machine, if it is; how it is started; and whether its back/forward cache keeps a page
 * that has a WebSocket open.
 */
export const browsers = {
  Chromium: { find: findChromium, launch: launchChromium, keepsPages: true },
  Firefox: { find: findFirefox, launch: launchFirefox, keepsPages: false },
  WebKitGTK: { find: () => findXvfb() && findWebKit(), launch: launchWebKit, keepsPages: true },
};
