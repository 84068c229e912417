// Headless Chromium over the DevTools protocol, of which this speaks no more than the benchmark needs. Its Network domain
// stays off: where it is on, as Playwright and Puppeteer have it, pages report every WebSocket message, which costs more
// than the message.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromiumFlags, findChromium } from "../../../scripts/lib/browsers.mjs";
import { Failure } from "../../../scripts/lib/run.mjs";
import { commandOf, cpuOf, descendantsOf } from "./processes.mjs";
import { start } from "./programs.mjs";

/** Those that start further processes, which would have to be told from the pages'. */
const NO_FEATURES = [
  "SpareRendererForSitePerProcess",
  "Translate",
  "WebUIOmniboxPopup",
  "WebUIOmniboxAimPopup",
  "WebUIOmniboxFullPopup",
  "OmniboxPopupWebUI",
  "AiModeOmniboxEntryPoint",
  "WebUIOmniboxPopupPreload",
].join();

const FLAGS = [
  ...chromiumFlags,
  "--headless",
  "--disable-extensions",
  "--disable-background-timer-throttling",
  "--disable-renderer-backgrounding",
  "--disable-backgrounding-occluded-windows",
  `--disable-features=${NO_FEATURES}`,
  "--no-default-browser-check",
  "--mute-audio",
  "--js-flags=--expose-gc",
  "--remote-debugging-port=0",
];

/** Starts a browser. */
export async function launch() {
  const program = findChromium();
  if (!program) throw new Failure("no Chromium: install the package chromium, or name one in CHROMIUM");
  const profile = mkdtempSync(join(tmpdir(), "antiphon-bench-"));
  const args = [...FLAGS, `--user-data-dir=${profile}`, "about:blank"];
  const chromium = await start(program, args, [/DevTools listening on (ws:\S+)/]);
  const send = await devTools(chromium.printed[0]);
  const { product } = await send("Browser.getVersion");
  return {
    version: product,
    newPage: (url) => newPage(send, url),
    /** The process that a page's scripts run in. */
    rendererOf: (page) => rendererOf(chromium.pid, page),
    /** The process that has the sockets. */
    networkProcess: () =>
      descendantsOf(chromium.pid).find((pid) => commandOf(pid).includes("network.mojom.NetworkService")),
    close: async () => {
      await chromium.stop();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** A function that calls a method and waits for its result. */
async function devTools(url) {
  const { WebSocket } = await import("ws"); // only here: it may have been installed a moment ago
  const socket = new WebSocket(url, { perMessageDeflate: false, maxPayload: 2 ** 28 });
  const calls = new Map();
  let next = 1;
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  socket.on("message", (data) => {
    const { id, result, error } = JSON.parse(data);
    const call = calls.get(id);
    calls.delete(id);
    if (error) call?.reject(new Error(`${call.method}: ${error.message}`));
    else call?.resolve(result);
  });
  socket.on("close", () => {
    for (const { reject } of calls.values()) reject(new Error("the browser has ended"));
  });
  return (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      calls.set(next, { resolve, reject, method });
      socket.send(JSON.stringify({ id: next++, method, params, sessionId }));
    });
}

/** A page in a browser context of its own, so that it has a process of its own and nothing cached. */
async function newPage(send, url) {
  const { browserContextId } = await send("Target.createBrowserContext");
  const { targetId } = await send("Target.createTarget", { url, browserContextId });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const call = (method, params) => send(method, params, sessionId);
  const evaluate = async (expression) => {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails: failed } = await call("Runtime.evaluate", options);
    if (failed) throw new Error(failed.exception?.description ?? failed.exception?.value ?? failed.text);
    return result.value;
  };
  // The page's script may not have run yet.
  const loaded = `new Promise((resolve) => {
    const look = () => (globalThis.bench && crossOriginIsolated ? resolve() : setTimeout(look, 5));
    look();
  })`;
  while (!(await evaluate(`location.href === ${JSON.stringify(url)}`).catch(() => false)));
  await evaluate(loaded);
  return {
    call,
    evaluate,
    /** Calls a function of the page; arguments and result are JSON. */
    run: (name, ...args) => evaluate(`${name}(${args.map((arg) => JSON.stringify(arg)).join(",")})`),
    close: async () => {
      await send("Target.closeTarget", { targetId });
      await send("Target.disposeBrowserContext", { browserContextId });
    },
  };
}

/** The one that is busy when the page is, seen three times in a row: others may still be starting. */
async function rendererOf(browser, page) {
  const busiest = async () => {
    const renderers = descendantsOf(browser).filter((pid) => commandOf(pid).includes(" --type=renderer "));
    const before = renderers.map(cpuOf);
    await page.run("bench.spin", 100);
    const used = renderers.map((pid, index) => cpuOf(pid) - before[index]);
    return renderers[used.indexOf(Math.max(...used))];
  };
  for (let attempt = 0; attempt < 10; attempt++) {
    const seen = [await busiest(), await busiest(), await busiest()];
    if (new Set(seen).size === 1) return seen[0];
  }
  throw new Error("no process could be told to be the page's");
}
