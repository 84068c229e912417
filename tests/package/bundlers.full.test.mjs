// The packed package in a small application under the other bundlers, each with the least that it needs, driven in a
// browser against a broker.
//
// Rollup and esbuild do not copy the file that `new URL("….wasm", import.meta.url)` names. With them an application
// imports "antiphon/inline", which has the WebAssembly in it, or lets the bundler copy the file.

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { makeApp, publish, runTool, written } from "./support/app.mjs";
import { asksAndIsAnswered, serveFolder, serveVite } from "./support/page.mjs";
import { tool } from "./support/tools.mjs";

const [broker, browser] = await Promise.all([startBroker(), launchBrowser()]);
after(async () => {
  await browser.close();
  await broker.stop();
});

/** Bundlers that write `dist/main.js`; the page is put beside it. `wasm`: whether they write a file of its own for it. */
const bundlers = [
  {
    title: "webpack 5, without any option",
    name: "webpack",
    from: ["page", "webpack"],
    bundler: "webpack",
    args: [],
    wasm: true,
  },
  {
    title: "esbuild, antiphon/inline",
    name: "esbuild-inline",
    entry: "antiphon/inline",
    bundler: "esbuild",
    args: ["main.js", "--bundle", "--minify", "--outdir=dist"],
    wasm: false,
  },
  {
    title: "esbuild, antiphon replaced by antiphon/inline",
    name: "esbuild-alias",
    bundler: "esbuild",
    args: ["main.js", "--bundle", "--minify", "--alias:antiphon=antiphon/inline", "--outdir=dist"],
    wasm: false,
  },
  {
    title: "esbuild, the WebAssembly copied",
    name: "esbuild-copy",
    bundler: "esbuild",
    args: [
      ...["main.js", "antiphon_bg=antiphon/antiphon.wasm", "--loader:.wasm=copy"],
      ...["--bundle", "--minify", "--format=esm", "--outdir=dist"],
    ],
    wasm: true,
  },
  {
    title: "Rollup, antiphon/inline",
    name: "rollup-inline",
    entry: "antiphon/inline",
    bundler: "rollup",
    args: ["main.js", "--plugin", "node-resolve", "--dir", "dist"],
    wasm: false,
  },
  {
    title: "Rollup, the WebAssembly copied",
    name: "rollup-copy",
    from: ["page", "rollup"],
    bundler: "rollup",
    args: ["--config"],
    wasm: true,
  },
];

for (const { title, name, from = ["page"], entry, bundler, args, wasm } of bundlers) {
  test(`${title}: the page sends a request and gets its answer`, async (context) => {
    const app = await makeApp(name, { from, entry });
    await runTool(app, tool(bundler), ...args);
    const files = written(app);
    assert.equal(files.join().includes(".wasm"), wasm, files.join());
    publish(app, "index.html");
    const { httpUrl } = await serveFolder(context, `${app}/dist`);
    const shown = await asksAndIsAnswered(browser, httpUrl, broker.url);
    context.diagnostic(`${[bundler, tool(bundler).version, ...args].join(" ")}: wrote ${files.join(", ")}`);
    context.diagnostic(`the page showed ${shown}`);
  });
}

/** Vite 7's build needs nothing; its development server needs a line, or the entry that is one file. */
const vite7 = [
  { title: "Vite 7 with optimizeDeps.exclude", name: "vite7", from: ["page", "vite7"], wasm: true },
  { title: "Vite 7, antiphon/inline", name: "vite7-inline", from: ["page"], entry: "antiphon/inline", wasm: false },
];

for (const { title, name, from, entry, wasm } of vite7) {
  test(`${title}: built and under the development server, the page gets its answer`, async (context) => {
    const vite = tool("vite7", "vite");
    const app = await makeApp(name, { from, entry });
    await runTool(app, vite, "build");
    const files = written(app);
    assert.equal(files.join().includes(".wasm"), wasm, files.join());
    const built = await asksAndIsAnswered(browser, await serveVite(context, app, vite, "preview"), broker.url);
    context.diagnostic(`vite ${vite.version} build: wrote ${files.join(", ")}`);
    context.diagnostic(`the page showed ${built}`);
    const served = await asksAndIsAnswered(browser, await serveVite(context, app, vite, "dev"), broker.url);
    context.diagnostic(`vite ${vite.version} dev: the page showed ${served}`);
  });
}
