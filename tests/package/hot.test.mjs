// The recipes about hot reload in docs/frameworks.md, as they stand there, under Vite's development server: after each
// edit there is one session, and one handler, the latest.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createServer } from "vite";
import { WebSocket } from "ws";
import { launchBrowser } from "../support/browser.mjs";
import { hotConnected, hotUpdate, makeHotApp } from "./support/hot.mjs";
import { serveVite } from "./support/page.mjs";
import { tool } from "./support/tools.mjs";

const browser = await launchBrowser();
after(() => browser.close());

test("in a page, edited modules take back their handlers and share one session", async (context) => {
  const { app, edit, order, sessions } = await makeHotApp(context, "hot-page", ["session.js", "orders.js"], {
    "index.html": '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/main.js"></script>',
    "main.js": 'import "./orders.js";\ndocument.title = "ready";\n',
  });
  const url = await serveVite(context, app, tool("vite"), "dev");
  const page = await browser.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  await Promise.all([hotConnected(page), page.goto(url)]);
  await page.waitForFunction(() => document.title === "ready");
  assert.equal(await order("tea"), "tea: taken");
  assert.equal(await sessions(), 1);

  for (const [from, to] of [
    ["taken", "sold"],
    ["sold", "paid"],
  ]) {
    const updated = hotUpdate(page, "/orders.js");
    await edit("orders.js", [from, to]);
    await updated;
    assert.equal(await order("tea"), `tea: ${to}`);
    assert.equal(await sessions(), 1);
  }
  const updated = hotUpdate(page, "/orders.js"); // which is what accepts an edit of what it imports
  await edit("session.js", ["??=", "??= "]);
  await updated;
  assert.equal(await order("tea"), "tea: paid");
  assert.equal(await sessions(), 1);
  assert.deepEqual(complaints, []);
});

test("on the server, edited modules take back their handlers and share one session", async (context) => {
  const { app, edit, order, sessions } = await makeHotApp(context, "hot-server", ["session.js", "server.js"]);
  const { WebSocket: platforms } = globalThis;
  globalThis.WebSocket = WebSocket; // Node.js 20 has none
  let taken;
  const vite = await createServer({
    root: app,
    configFile: false,
    appType: "custom",
    logLevel: "error",
    server: { middlewareMode: true, ws: false },
    plugins: [{ name: "told", hotUpdate: () => taken?.() }], // the module that was edited is out of date by then
  });
  context.after(async () => {
    await (await globalThis.opening)?.close();
    for (const name of ["opening", "registering"]) delete globalThis[name];
    globalThis.WebSocket = platforms;
    await vite.close();
  });
  await vite.ssrLoadModule("/server.js");
  assert.equal(await order("tea"), "tea: taken");
  for (const [file, from, to, answer] of [
    ["server.js", "taken", "sold", "sold"],
    ["session.js", "??=", "??= ", "sold"],
    ["server.js", "sold", "paid", "paid"],
  ]) {
    const told = new Promise((resolve) => {
      taken = resolve;
    });
    await edit(file, [from, to]);
    await told;
    await vite.ssrLoadModule("/server.js");
    assert.equal(await order("tea"), `tea: ${answer}`);
    assert.equal(await sessions(), 1);
  }
});
