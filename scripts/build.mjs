// `npm run build`: Rust to WebAssembly to the npm package in `dist/`. Cargo builds the client, the bindings generator
// writes the glue, wasm-opt shrinks the module, and the hand-written modules of `src/` go beside it; then the size of
// what a browser downloads is printed and held against the budget. The slow middle part is skipped while its input is
// the same.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { filesBelow, fillFolder } from "./lib/files.mjs";
import { shortenNames } from "./lib/names.mjs";
import { dist, fromRoot, target, wasmBindgen } from "./lib/paths.mjs";
import { cargo, Failure, isMain, main, must, say } from "./lib/run.mjs";
import { bindgenTools, nodeModules, rust } from "./lib/setup.mjs";

const THIS_FILE = fileURLToPath(import.meta.url);
const TOOLS = ["shrink.mjs", "names.mjs"].map((name) => fromRoot("scripts", "lib", name));
const BUDGET = 70_000; // bytes after gzip -9: WebAssembly and JavaScript together
const BUNDLED = fromRoot("build", "wasm"); // the generated files, before they go to dist/
const SIZES = fromRoot("build", "sizes.json");
const WASM = join(target, "wasm32-unknown-unknown", "wasm", "antiphon.wasm");

/** Builds `dist/`. */
export async function build() {
  await nodeModules();
  await rust();
  await bindgenTools();
  say("cargo: building the client for WebAssembly");
  await cargo("build", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "-p", "antiphon");
  await generate();
  assemble();
  await reportSize();
}

/** Builds the broker, optimised. */
export async function buildBroker() {
  say("cargo: building the broker");
  await cargo("build", "--release", "-p", "antiphon-broker");
}

/** The glue and the optimised module in `build/wasm`, unless they were made from the same input before. */
async function generate() {
  const inputs = [WASM, THIS_FILE, ...TOOLS, fromRoot("Cargo.lock"), fromRoot("package-lock.json")];
  const stamp = hash(inputs.map((path) => readFileSync(path)));
  const stampFile = join(BUNDLED, "stamp");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;

  say("wasm-bindgen, wasm-opt: generating the bindings and shrinking the module (about 10 s)");
  rmSync(BUNDLED, { recursive: true, force: true });
  mkdirSync(BUNDLED, { recursive: true });
  const bindgen = ["--target", "web", "--no-typescript", "--out-name", "antiphon", "--out-dir", BUNDLED, WASM];
  await must(wasmBindgen, bindgen, { show: "failure" });
  const module = join(BUNDLED, "antiphon_bg.wasm");
  // Loaded only here: a warm build does not need the optimiser.
  const { shrink } = await import("./lib/shrink.mjs");
  shrink(module, module);
  const glue = join(BUNDLED, "antiphon.js");
  const short = shortenNames(readFileSync(glue, "utf8"), readFileSync(module));
  writeFileSync(glue, short.glue);
  writeFileSync(module, short.module);
  writeFileSync(stampFile, stamp);
}

/** `dist/`: the glue, the module, and the modules and types written by hand. */
function assemble() {
  const source = fromRoot("src");
  const written = readdirSync(source).filter((name) => name.endsWith(".js") || name.endsWith(".d.ts"));
  const files = new Map(written.map((name) => [name, readFileSync(join(source, name))]));
  for (const needed of ["index.js", "index.d.ts"]) {
    if (!files.has(needed)) throw new Failure(`src/${needed} is missing`);
  }
  files.set("antiphon.js", oneCopyOfEachModule(readFileSync(join(BUNDLED, "antiphon.js"), "utf8"), files));
  files.set("antiphon_bg.wasm", readFileSync(join(BUNDLED, "antiphon_bg.wasm")));
  fillFolder(dist, files);
}

/**
 * The glue, importing the modules of `src/` from beside it. The generator copies every module that Rust names into a
 * folder of its own; a second copy of `error.js` would have a second class `MessagingError`, and `instanceof` would fail.
 */
function oneCopyOfEachModule(glue, files) {
  const imported = /^(import .+ from )(["'])\.\/snippets\/antiphon-[^/]+\/src\/(.+)\2/gm;
  const rewritten = glue.replace(imported, (_, start, quote, name) => {
    if (!files.has(name)) throw new Failure(`the glue imports src/${name}, which does not exist`);
    return `${start}${quote}./${name}${quote}`;
  });
  // In the table of imports such a path is a name that the WebAssembly module uses, nothing to load.
  const left = /^(import|export) .*snippets\/.*$/m.exec(rewritten)?.[0];
  if (left) throw new Failure(`the glue imports a module that dist/ does not have: ${left}`);
  return rewritten;
}

/** Prints the size of what a browser downloads. */
async function reportSize() {
  const stamp = hash([...filesBelow(dist).map((path) => readFileSync(join(dist, path))), readFileSync(THIS_FILE)]);
  let sizes = existsSync(SIZES) ? JSON.parse(readFileSync(SIZES, "utf8")) : {};
  if (sizes.stamp !== stamp) {
    sizes = { stamp, parts: await measure() };
    writeFileSync(SIZES, JSON.stringify(sizes, undefined, 2));
  }
  say("download            raw     gzip -9   brotli 11");
  for (const [name, { raw, gzip, brotli }] of Object.entries(sizes.parts)) {
    const columns = [raw, gzip, brotli].map((bytes) => bytes.toLocaleString("en").padStart(10));
    say(`  ${name.padEnd(9)} ${columns.join("  ")}`);
  }
}

/** Fails if the last build is over the budget. */
export function checkSize() {
  const { gzip } = JSON.parse(readFileSync(SIZES, "utf8")).parts.total;
  const figures = `${gzip.toLocaleString("en")} of ${BUDGET.toLocaleString("en")} bytes gzip`;
  if (gzip > BUDGET) throw new Failure(`the download is over its budget: ${figures}`);
  say(`the download is within its budget: ${figures}`);
}

/** The sizes as an application's bundler makes them: the modules in one minified file, the WebAssembly beside it. */
async function measure() {
  const vite = await import("vite");
  const { output } = await vite.build({
    configFile: false,
    logLevel: "warn",
    root: dist,
    build: {
      write: false,
      assetsInlineLimit: 0,
      modulePreload: false,
      rollupOptions: { input: join(dist, "index.js"), preserveEntrySignatures: "strict" },
    },
  });
  const ending = (end) => sum(output.filter(({ fileName }) => fileName.endsWith(end)).map(size));
  const [wasm, js] = [ending(".wasm"), ending(".js")];
  if (wasm.raw === 0 || js.raw === 0) throw new Failure("the bundle of dist/ is not complete");
  return { wasm, js, total: sum([wasm, js]) };
}

function size(file) {
  const bytes = Buffer.from(file.code ?? file.source);
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  return {
    raw: bytes.length,
    gzip: gzipSync(bytes, { level: 9 }).length,
    brotli: brotliCompressSync(bytes, quality).length,
  };
}

function sum(sizes) {
  const total = (key) => sizes.reduce((bytes, part) => bytes + part[key], 0);
  return { raw: total("raw"), gzip: total("gzip"), brotli: total("brotli") };
}

function hash(contents) {
  const sum = createHash("sha256");
  for (const content of contents) sum.update(`${content.length}\n`).update(content);
  return sum.digest("hex");
}

if (isMain(import.meta.url)) {
  await main(async () => {
    await build();
    checkSize();
  });
}
