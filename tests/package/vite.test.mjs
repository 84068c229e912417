// The packed npm package in a small Vite application without any configuration: built and served, and under the
// development server, each driven in a browser against a broker.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { startBroker } from "../support/broker.mjs";
import { launchBrowser } from "../support/browser.mjs";

const folder = fromRoot("build", "package");
const app = join(folder, "vite-app");
const vite = fromRoot("node_modules", "vite", "bin", "vite.js");
let packed;
let broker;
let browser;

before(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const output = npm(fromRoot(), "pack", "--json", "--ignore-scripts", "--pack-destination", folder);
  [packed] = JSON.parse(output);
  cpSync(fromRoot("tests", "package", "vite-app"), app, { recursive: true });
  npm(app, "install", "--no-audit", "--no-fund", join(folder, packed.filename));
  [broker, browser] = await Promise.all([startBroker(), launchBrowser()]);
});

after(async () => {
  await browser?.close();
  await broker?.stop();
});

test("the tarball holds the built package and nothing else", () => {
  const written = readdirSync(fromRoot("src")).filter((name) => name.endsWith(".js") || name.endsWith(".d.ts"));
  const dist = ["antiphon.js", "antiphon_bg.wasm", ...written].map((name) => `dist/${name}`);
  const beside = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "package.json"];
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), [...beside, ...dist].sort());
});

test("installing it brings nothing else and runs nothing", () => {
  const installed = readdirSync(join(app, "node_modules")).filter((name) => !name.startsWith("."));
  assert.deepEqual(installed, ["antiphon"]);
  const manifest = JSON.parse(readFileSync(join(app, "node_modules", "antiphon", "package.json"), "utf8"));
  for (const key of ["dependencies", "peerDependencies", "optionalDependencies", "bundleDependencies"]) {
    assert.equal(manifest[key], undefined, key);
  }
  for (const script of ["preinstall", "install", "postinstall"])
    assert.equal(manifest.scripts[script], undefined, script);
});

test("vite build: the page sends a request and gets its answer", async (context) => {
  execFileSync(process.execPath, [vite, "build", "--logLevel", "warn"], { cwd: app, stdio: "inherit" });
  assert.match(readdirSync(join(app, "dist", "assets")).join(" "), /antiphon_bg-\S+\.wasm/);
  await asksAndIsAnswered(await serve(context, "preview"));
});

test("vite dev: the page sends a request and gets its answer", async (context) => {
  await asksAndIsAnswered(await serve(context, "dev"));
});

async function asksAndIsAnswered(url) {
  const page = await browser.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(error.stack));
  await page.goto(`${url}?broker=${encodeURIComponent(broker.url)}`);
  const output = page.locator("output:not(:empty)");
  await output.waitFor();
  assert.equal(await output.textContent(), '{"hello":"Vite"} true UNHANDLED_MESSAGE');
  assert.deepEqual(errors, []);
  await page.close();
}

/** Starts one of Vite's servers on a free port for the length of a test. Gives its address. */
async function serve(context, command) {
  const child = spawn(process.execPath, [vite, command, "--host", "127.0.0.1", "--port", "0"], {
    cwd: app,
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: undefined },
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

function npm(cwd, ...args) {
  return execFileSync("npm", ["--loglevel=error", ...args], { cwd, encoding: "utf8" });
}
