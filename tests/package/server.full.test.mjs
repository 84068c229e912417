// Bundles for a server, as frameworks with server-side rendering make them. Each is moved to a folder without
// node_modules and sends its requests from there.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { startBroker } from "../support/broker.mjs";
import { ANSWER, makeApp, runTool, written } from "./support/app.mjs";
import { ask } from "./support/node.mjs";
import { tool } from "./support/tools.mjs";

const broker = await startBroker();
after(() => broker.stop());

const bundles = [
  {
    title: "vite build --ssr, dependencies included",
    name: "vite-server",
    from: ["vite-server"],
    bundler: "vite",
    args: ["build", "--ssr", "ask.js"],
    file: "ask.js",
  },
  {
    title: "esbuild --platform=node, a CommonJS module",
    name: "esbuild-server-cjs",
    bundler: "esbuild",
    args: ["ask.js", "--bundle", "--platform=node", "--outfile=dist/ask.cjs"],
    file: "ask.cjs",
  },
  {
    title: "esbuild --platform=node, an ES module",
    name: "esbuild-server-esm",
    bundler: "esbuild",
    args: ["ask.js", "--bundle", "--platform=node", "--format=esm", "--outfile=dist/ask.mjs"],
    file: "ask.mjs",
  },
  {
    title: "webpack, target node",
    name: "webpack-server",
    from: ["webpack-server"],
    bundler: "webpack",
    args: [],
    file: "ask.cjs",
  },
  {
    title: "Rollup, the condition node",
    name: "rollup-server",
    from: ["rollup-server"],
    bundler: "rollup",
    args: ["--config"],
    file: "ask.js",
  },
];

for (const { title, name, from, bundler, args, file } of bundles) {
  test(`${title}: asks and is answered from another folder`, async (context) => {
    const app = await makeApp(name, { from });
    await runTool(app, tool(bundler), ...args);
    const files = written(app);
    assert.equal(files.length, 1, `one file, not ${files.join(", ")}`);
    const elsewhere = mkdtempSync(join(tmpdir(), "antiphon-"));
    context.after(() => rmSync(elsewhere, { recursive: true }));
    cpSync(join(app, "dist"), elsewhere, { recursive: true });
    cpSync(join(app, "package.json"), join(elsewhere, "package.json"));
    const said = await ask(join(elsewhere, file), broker.url);
    assert.equal(said, ANSWER);
    context.diagnostic(`${[bundler, tool(bundler).version, ...args].join(" ")}: wrote ${files.join(", ")}`);
    context.diagnostic(`it said ${said}`);
  });
}

test("vite build --ssr as it is: the package stays outside the bundle, and is found beside it", async (context) => {
  const app = await makeApp("vite-server-external");
  const vite = tool("vite");
  await runTool(app, vite, "build", "--ssr", "ask.js");
  const said = await ask(join(app, "dist", "ask.js"), broker.url);
  assert.equal(said, ANSWER);
  context.diagnostic(`vite ${vite.version} build --ssr ask.js: wrote ${written(app).join(", ")}`);
  context.diagnostic(`it said ${said}`);
});
