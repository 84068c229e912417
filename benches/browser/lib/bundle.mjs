// What pages load: each client and what it imports as one file, and how large that is; and the same for Node.js.

import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { folder } from "./setup.mjs";

export const site = join(folder, "site");
const source = (...parts) => fileURLToPath(new URL(join("..", ...parts), import.meta.url));
const WASM = "antiphon_bg.wasm";

/** Bundles the driver and the clients of these systems, for pages. */
export async function bundleForPages(systems) {
  await bundle(source("page", "driver.js"), join(site, "driver.js"), {});
  for (const [name, { client, package: ours }] of Object.entries(systems)) {
    const aliases = ours ? { antiphon: join(ours, "index.js") } : {};
    await bundle(source("clients", client), join(site, name, "client.js"), { aliases });
    if (ours) copyFileSync(join(ours, WASM), join(site, name, WASM));
  }
}

/** Bundles one client for Node.js. Gives the file, which finds other packages where the benchmark has installed them. */
export async function bundleForNode(name, client, ours) {
  const file = join(folder, "node", name, client.replace(/js$/, "mjs"));
  const aliases = ours ? { antiphon: join(ours, "inline.js") } : {};
  await bundle(source("clients", client), file, { aliases, isForNode: true });
  return file;
}

async function bundle(entry, file, { aliases = {}, isForNode = false }) {
  mkdirSync(join(file, ".."), { recursive: true });
  const { rolldown } = await import("rolldown"); // only here: it may have been installed a moment ago
  const isPackage = (id) => /^(@?\w|node:)/.test(id) && !(id in aliases);
  const input = await rolldown({
    input: entry,
    platform: isForNode ? "node" : "browser",
    external: (id) => id.endsWith(".wasm") || (isForNode && isPackage(id)),
    resolve: { alias: aliases, modules: [join(folder, "node_modules"), "node_modules"] },
    transform: { define: { global: "globalThis", "process.env.NODE_ENV": '"production"' } },
    logLevel: "silent",
  });
  await input.write({ file, format: "esm", minify: !isForNode, codeSplitting: false });
  await input.close();
}

/** Bytes of what an application downloads. */
export function downloadOf(name, { package: ours }) {
  const files = [join(site, name, "client.js"), ...(ours ? [join(site, name, WASM)] : [])].map((path) =>
    readFileSync(path),
  );
  const total = (size) => files.reduce((sum, bytes) => sum + size(bytes), 0);
  const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  return {
    raw: total((bytes) => bytes.length),
    gzip: total((bytes) => gzipSync(bytes, { level: 9 }).length),
    brotli: total((bytes) => brotliCompressSync(bytes, brotli).length),
  };
}
