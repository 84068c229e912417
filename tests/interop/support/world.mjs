// A broker and the three clients.

import { startBroker } from "../../support/broker.mjs";
import { launchBrowser } from "../../support/browser.mjs";
import { assemblePage } from "./page.mjs";
import { javascript, ours, python } from "./peers.mjs";

/** Starts a broker that waits a second for answers, a browser and the clients. `close` ends them all. */
export async function openWorld() {
  // Sessions end with their connections: the Python client says no goodbye.
  const times = ["--request-timeout", "1s", "--reconnect-timeout", "0s"];
  const broker = await startBroker(["--www", assemblePage(), ...times]);
  // Python loads its client while the browser starts.
  const snake = python(broker);
  const browser = await launchBrowser();
  const peers = { ours: await ours(broker, browser), js: javascript(broker), python: snake };
  return {
    broker,
    browser,
    ...peers,
    /** All three. */
    peers: Object.values(peers),
    async close() {
      await peers.js.closeAll();
      await peers.python.stop();
      await browser.close();
      await broker.stop();
    },
  };
}
