// An application's page in the browser, against its own broker.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { startBroker } from "../../support/broker.mjs";
import { ANSWER } from "./app.mjs";

/**
 * Opens the page at `url`, and checks that it shows the answer and writes nothing to the console.
 *
 * @returns {Promise<string>} what it showed
 */
export async function asksAndIsAnswered(browser, url, brokerUrl) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.stack));
  await page.goto(`${url}?broker=${encodeURIComponent(brokerUrl)}`);
  const output = page.locator("output:not(:empty)");
  await output.waitFor();
  const shown = await output.textContent();
  await page.close();
  assert.deepEqual(complaints, [], "the page wrote to the console");
  assert.equal(shown, ANSWER);
  return shown;
}

/** The files of `folder` on a web server for the length of a test: a broker, which serves files besides. */
export async function serveFolder(context, folder) {
  const broker = await startBroker(["--www", folder]);
  context.after(() => broker.stop());
  return broker;
}

/** Starts one of Vite's servers in `app` on a free port for the length of a test. Gives its address. */
export async function serveVite(context, app, vite, command, env = {}) {
  const child = spawn(process.execPath, [vite.path, command, "--host", "127.0.0.1", "--port", "0"], {
    cwd: app,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(child, "close");
  context.after(async () => {
    child.kill();
    await exited;
  });
  let output = "";
  for await (const text of child.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    output += text;
    const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(output)?.[0];
    if (!url) continue;
    child.stdout.resume();
    return url;
  }
  throw new Error(`vite ${command} ended before it listened:\n${output}`);
}
