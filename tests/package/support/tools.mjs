// The bundlers, frameworks, checkers, test runners and runtimes: the repository's own build tools, and those of
// tests/package/tools, which only the full form of the tests installs.

import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { must, say } from "../../../scripts/lib/run.mjs";
import { folder } from "../../../scripts/lib/tarball.mjs";

const MANIFESTS = ["package.json", "package-lock.json"];
const ours = (name) => fromRoot("tests", "package", "tools", name);
const { devDependencies: own } = JSON.parse(readFileSync(fromRoot("package.json"), "utf8"));

/** Installs them where Node.js and bundlers look for them: in a folder above the applications. */
export async function installTools() {
  const same = (name) => existsSync(join(folder, name)) && read(join(folder, name)) === read(ours(name));
  if (MANIFESTS.every(same) && existsSync(join(folder, "node_modules", ".package-lock.json"))) return;
  say(
    "npm ci: fetching bundlers, frameworks, test runners and runtimes for the packaging tests (about 1 minute, 1 GB)",
  );
  mkdirSync(folder, { recursive: true });
  for (const name of MANIFESTS) copyFileSync(ours(name), join(folder, name));
  await must("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: folder });
}

/**
 * A command-line tool.
 *
 * @param {string} name of the package
 * @param {string} command of the package, if it is called otherwise
 */
export function tool(name, command = name) {
  const home = name in own ? fromRoot("node_modules", name) : join(folder, "node_modules", name);
  if (!existsSync(home)) throw new Error(`no ${name}: node scripts/test.mjs bundlers`);
  const { version, bin } = JSON.parse(read(join(home, "package.json")));
  return { version, path: join(home, typeof bin === "string" ? bin : bin[command]) };
}

/** The program of a runtime, in a package that npm has for some platforms only; undefined if this is none of them. */
export function program(name, ...path) {
  const file = join(folder, "node_modules", name, ...path);
  return existsSync(file) ? file : undefined;
}

const read = (path) => readFileSync(path, "utf8");
