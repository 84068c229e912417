// Runs the recipes that need a browser, the page and the workers, and checks that the configurations shown are those
// that the packaging tests build with.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { filesBelow, fillFolder } from "../../scripts/lib/files.mjs";
import { dist, fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";
import { blocksIn } from "./support/programs.mjs";

const read = (path) => readFileSync(fromRoot(path), "utf8");
const blocks = blocksIn(read("docs/recipes.md"));

/** The block whose first line is a comment with this name. */
function file(name) {
  const block = blocks.find(({ text }) => text.startsWith(`// ${name}\n`));
  assert.ok(block, `no block is called ${name}`);
  return block.text;
}

const code = (text) => text.replace(/^\s*\/\/.*$/gm, "").replace(/\s/g, "");

for (const [name, tested] of [
  ["vite.config.js", "vite7"],
  ["rollup.config.js", "rollup"],
]) {
  test(`${name} is the one that the packaging tests build with`, () => {
    const theirs = read(`tests/package/apps/${tested}/${name}`).replace(/,(?=\s*\})/g, "");
    assert.equal(code(file(name)), code(theirs));
  });
}

for (const path of ["vitest/greetings.test.js", "jest/greetings.test.js", "worker/src/index.js"]) {
  test(`${path} of the packaging tests is what the page about compatibility shows`, () => {
    assert.ok(read("docs/compatibility.md").includes(`\`\`\`js nocheck\n${read(`tests/package/apps/${path}`)}\`\`\``));
  });
}

test("the options of commands are those that the packaging tests give", () => {
  const tested = read("tests/package/bundlers.full.test.mjs");
  const commands = blocks.filter(({ language }) => language === "sh").flatMap(({ text }) => text.trim().split("\n"));
  assert.equal(commands.length, 2);
  for (const command of commands) {
    const [npx, , ...options] = command.split(" ");
    assert.equal(npx, "npx");
    for (const option of options) assert.ok(tested.includes(`"${option}"`), `${option} is not tested`);
  }
});

// ---- In a browser ----

let broker;
let browser;
let page;

before(async () => {
  const html = blocks.find(({ language }) => language === "html").text;
  const preload = blocksIn(read("docs/compatibility.md")).find(({ language }) => language === "html").text;
  // What an import by name stands for; a page would have an import map, which does not reach into workers.
  const worker = file("worker.js").replace('"antiphon"', '"/node_modules/antiphon/dist/index.js"');
  const files = new Map([
    ["index.html", html.replace("<title>", '<link rel="icon" href="data:,"><title>')],
    ["preload.html", html.replace("<title>", `<link rel="icon" href="data:,">${preload}<title>`)],
    ["worker.js", worker],
    ...filesBelow(dist).map((path) => [`node_modules/antiphon/dist/${path}`, readFileSync(join(dist, path))]),
  ]);
  const site = fromRoot("build", "recipes");
  fillFolder(site, files);
  broker = await startBroker(["--www", site]);
  browser = await launchBrowser();
  page = await browser.newPage();
  await page.goto(broker.httpUrl);
  await page.locator("output:not(:empty)").waitFor();
});

after(async () => {
  await browser?.close();
  await broker?.stop();
});

test("the plain page asks and is answered", async () => {
  assert.equal(await page.locator("output").textContent(), "Hello, Ada!");
});

test("a page that asks for the WebAssembly sooner loads it once", async () => {
  const other = await browser.newPage();
  await other.goto(`${broker.httpUrl}preload.html`);
  await other.locator("output:not(:empty)").waitFor();
  const loads = await other.evaluate(() => {
    const entries = performance.getEntriesByType("resource").filter(({ name }) => name.endsWith(".wasm"));
    return entries.map(({ initiatorType }) => initiatorType);
  });
  await other.close();
  assert.deepEqual(loads, ["link"]);
});

test("the worker asks, and the page, which handles the path, answers", async () => {
  const answer = await page.evaluate(() => {
    const worker = new Worker("worker.js", { type: "module" });
    worker.postMessage("Bob");
    return new Promise((resolve) => worker.addEventListener("message", ({ data }) => resolve(data)));
  });
  assert.equal(answer, "Hello, Bob!");
});

test("so does the shared worker", async () => {
  const answer = await page.evaluate(() => {
    const { port } = new SharedWorker("worker.js", { type: "module" });
    port.postMessage("Cleo");
    return new Promise((resolve) => {
      port.onmessage = ({ data }) => resolve(data);
    });
  });
  assert.equal(answer, "Hello, Cleo!");
});

test("so does the service worker, once it controls the page", async () => {
  await page.evaluate(async () => {
    await navigator.serviceWorker.register("worker.js", { type: "module" });
    await navigator.serviceWorker.ready;
  });
  await page.reload();
  await page.locator("output:not(:empty)").waitFor();
  const answer = await page.evaluate(async () => (await fetch("/ask/Dora")).json());
  assert.equal(answer, "Hello, Dora!");
});
