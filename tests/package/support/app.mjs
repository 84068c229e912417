// Small applications, copied from tests/package/apps, with the tarball installed. Each contains the module ask.js.

import { cpSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { filesBelow } from "../../../scripts/lib/files.mjs";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { must } from "../../../scripts/lib/run.mjs";
import { folder, packed } from "../../../scripts/lib/tarball.mjs";

/** What `ask` returns: the answer, whether the error is of the class that it imported, and its code. */
export const ANSWER = '{"hello":"Ada"} true UNHANDLED_MESSAGE';

/**
 * Makes an application, of ES modules unless `type` says otherwise.
 *
 * @param {string} name of its folder
 * @param {{ from?: string[], entry?: string, type?: string }} options `from`: folders in tests/package/apps that go into it; `entry`:
 *   what ask.js imports, if not "antiphon"
 * @returns {Promise<string>} its folder
 */
export async function makeApp(name, { from = [], entry = "antiphon", type = "module" } = {}) {
  const { path: tarball } = await packed();
  const app = join(folder, "apps", name);
  rmSync(app, { recursive: true, force: true });
  mkdirSync(app, { recursive: true });
  writeFileSync(join(app, "package.json"), JSON.stringify({ name, private: true, type }));
  writeFileSync(join(app, "ask.js"), readFileSync(source("ask.js"), "utf8").replace('"antiphon"', `"${entry}"`));
  for (const part of from) cpSync(source(part), app, { recursive: true });
  await must("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", tarball], { cwd: app, show: "failure" });
  return app;
}

const source = (name) => fromRoot("tests", "package", "apps", name);

/** Runs a tool in an application's folder, as `npx` would. Gives its output. */
export function runTool(app, { path }, ...args) {
  return must(process.execPath, [path, ...args], { cwd: app, show: "failure", env: { NO_COLOR: "1" } });
}

/** The files that a bundler wrote, with their sizes, for the transcript. */
export function written(app) {
  const size = (path) => statSync(join(app, "dist", path)).size.toLocaleString("en");
  return filesBelow(join(app, "dist")).map((path) => `dist/${path} ${size(path)} bytes`);
}

/** Puts a file beside what a bundler wrote. */
export function publish(app, name) {
  cpSync(join(app, name), join(app, "dist", name));
}
