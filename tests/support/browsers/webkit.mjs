// WebKitGTK's MiniBrowser, by WebDriver: commands are HTTP requests to WebKitWebDriver. It has to show its windows
// somewhere, so a screen is made that nobody sees.

import { setTimeout as delay } from "node:timers/promises";
import { findWebKit, findXvfb } from "../../../scripts/lib/browsers.mjs";
import { freePort } from "../ports.mjs";
import { start } from "./process.mjs";
import { outcomeOf, sourceOf, textOf } from "./script.mjs";

const TIME_LIMIT = 60_000; // ms for a script in a page
const ATTEMPTS = 1_000; // to find it listening, 20 ms apart

/** @returns {Promise<import("./index.mjs").Browser>} */
export async function launchWebKit() {
  const screen = start(findXvfb(), ["-displayfd", "3", "-nolisten", "tcp"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  const [display] = await screen.said(screen.child.stdio[3], /\d+(?=\n)/);
  const port = await freePort();
  const driver = start(findWebKit(), [`--port=${port}`], { stdio: "ignore", env: { DISPLAY: `:${display}` } });
  await listening(port);

  const address = `http://127.0.0.1:${port}/session`;
  const { sessionId, capabilities } = await send("POST", address, { capabilities: {} });
  const command = (method, path, body) => send(method, `${address}/${sessionId}${path}`, body);
  await command("POST", "/timeouts", { script: TIME_LIMIT });

  // A command goes to the window that was chosen last, and one at a time. The first window is there to ask for others.
  const home = await command("GET", "/window");
  let free = Promise.resolve();
  const inTurn = (run) => {
    const done = free.then(run);
    free = done.catch(() => {});
    return done;
  };

  return {
    version: `WebKitGTK ${capabilities.browserVersion}`,
    open: (url) =>
      inTurn(async () => {
        await command("POST", "/window", { handle: home });
        const { handle } = await command("POST", "/window/new", { type: "window" }); // a tab would be hidden, and slow
        const inWindow = (method, path, body) =>
          inTurn(async () => {
            await command("POST", "/window", { handle });
            return command(method, path, body);
          });
        await command("POST", "/window", { handle });
        await command("POST", "/url", { url });
        return {
          async evaluate(run, argument) {
            const script = `const [text, done] = arguments; (${sourceOf(run)})(text).then(done);`;
            return outcomeOf(await inWindow("POST", "/execute/async", { script, args: [textOf(argument)] }));
          },
          goto: (url) => inWindow("POST", "/url", { url }),
          reload: () => inWindow("POST", "/refresh", {}),
          back: () => inWindow("POST", "/back", {}),
          async close() {
            await inWindow("DELETE", "/window");
          },
        };
      }),
    async close() {
      await inTurn(() => command("DELETE", ""));
      await driver.stop();
      await screen.stop();
    },
  };
}

async function send(method, url, body) {
  const response = await fetch(url, { method, body: body && JSON.stringify(body) });
  const { value } = await response.json();
  if (!response.ok) throw new Error(`${method} ${url}: ${value.error}: ${value.message}`);
  return value;
}

/** The driver does not say when it listens. */
async function listening(port) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await fetch(`http://127.0.0.1:${port}/status`);
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
      await delay(20);
    }
  }
}
