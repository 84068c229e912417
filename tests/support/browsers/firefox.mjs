// Firefox, by WebDriver BiDi: commands and results are JSON messages over a WebSocket of the browser.

import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { findFirefox } from "../../../scripts/lib/browsers.mjs";
import { start } from "./process.mjs";
import { outcomeOf, sourceOf, textOf } from "./script.mjs";

/** What differs from a new profile. That Firefox calls nobody is part of being driven. */
const PREFERENCES = {
  "network.proxy.type": 0, // none, whatever the environment says
  "network.websocket.delay-failed-reconnects": false, // or a second connection waits for what the first one came to
};

/** @returns {Promise<import("./index.mjs").Browser>} */
export async function launchFirefox() {
  const profile = mkdtempSync(join(tmpdir(), "antiphon-firefox-"));
  const preferences = Object.entries(PREFERENCES).map((entry) => `user_pref(${entry.map(JSON.stringify).join(", ")});`);
  writeFileSync(join(profile, "user.js"), preferences.join("\n"));
  const args = ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0", "about:blank"];
  const firefox = start(findFirefox(), args);
  const [, address] = await firefox.said(firefox.child.stderr, /^WebDriver BiDi listening on (ws:\S+)$/m);
  const command = await converse(`${address}/session`);
  const { capabilities } = await command("session.new", { capabilities: {} });

  return {
    version: `Firefox ${capabilities.browserVersion}`,
    async open(url) {
      const { context } = await command("browsingContext.create", { type: "tab" });
      const goto = (url) => command("browsingContext.navigate", { context, url, wait: "complete" });
      await goto(url);
      return {
        async evaluate(run, argument) {
          const { result } = await command("script.callFunction", {
            functionDeclaration: sourceOf(run),
            arguments: [{ type: "string", value: textOf(argument) }],
            target: { context },
            awaitPromise: true,
          });
          return outcomeOf(result.value);
        },
        async goto(url) {
          await goto(url);
        },
        async reload() {
          await command("browsingContext.reload", { context, wait: "complete" });
        },
        async back() {
          await command("browsingContext.traverseHistory", { context, delta: -1 });
        },
        async close() {
          await command("browsingContext.close", { context });
        },
      };
    },
    async close() {
      await command("browser.close");
      await firefox.exited();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/** A function that sends a command and gives its result. */
async function converse(address) {
  const socket = new WebSocket(address);
  await once(socket, "open");
  const waiting = new Map();
  socket.on("message", (data) => {
    const { id, type, result, error, message } = JSON.parse(data);
    if (type === "success") waiting.get(id).resolve(result);
    else if (type === "error") waiting.get(id).reject(new Error(`${error}: ${message}`));
    waiting.delete(id);
  });
  socket.on("close", () => {
    for (const { reject } of waiting.values()) reject(new Error("Firefox is gone"));
  });
  let last = 0;
  return (method, params = {}) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params }));
    });
}
