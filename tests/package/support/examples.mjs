// The applications of examples/ as somebody has them who copied the folder: with the tarball installed, and the tools
// and frameworks that their manifests name in a folder above.

import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { must } from "../../../scripts/lib/run.mjs";
import { folder, packed } from "../../../scripts/lib/tarball.mjs";

const products = /\/(node_modules|dist|build|\.svelte-kit)$/;

/** Copies an example and installs the package in it. Gives the folder. */
export async function copyExample(name) {
  const { path: tarball } = await packed();
  const app = join(folder, "apps", `example-${name}`);
  rmSync(app, { recursive: true, force: true });
  cpSync(fromRoot("examples", name), app, { recursive: true, filter: (path) => !products.test(path) });
  // Only the package: what else the manifest names is in the folder above, at the versions of its lock file.
  const manifest = JSON.parse(readFileSync(join(app, "package.json"), "utf8"));
  writeFileSync(join(app, "package.json"), JSON.stringify({ ...manifest, dependencies: {}, devDependencies: {} }));
  await must("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error", tarball], { cwd: app, show: "failure" });
  return app;
}

/** What an example's manifest asks for besides the package, as name and version. */
export function requirementsOf(name) {
  const { dependencies, devDependencies } = JSON.parse(
    readFileSync(fromRoot("examples", name, "package.json"), "utf8"),
  );
  const { antiphon, ...others } = { ...dependencies, ...devDependencies };
  return others;
}

/** A tool as an application finds it. */
export function toolOf(app, name) {
  const manifest = createRequire(join(app, "package.json")).resolve(`${name}/package.json`);
  const { version, bin } = JSON.parse(readFileSync(manifest, "utf8"));
  return { version, path: join(dirname(manifest), typeof bin === "string" ? bin : bin[name]) };
}

/** Runs a script of an application's manifest; `broker` is the address that it is built for. */
export function runScript(app, script, broker) {
  return must("npm", ["run", script], { cwd: app, show: "failure", env: { NO_COLOR: "1", VITE_BROKER: broker } });
}
