// `npm run build`: Rust to WebAssembly to the npm package in `dist/`. Cargo builds the client, the bindings generator
// writes the glue, wasm-opt shrinks the module, and the modules of `src/` are bundled with the glue, one file for each
// entry; then the size of what a browser downloads is printed and held against the budget. The slow middle part is
// skipped while its input is the same. `npm run build -- --debug` makes a large package whose panics can be read.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { debugClient } from "./lib/crates.mjs";
import { fillFolder } from "./lib/files.mjs";
import { asFunction, withoutThrow } from "./lib/glue.mjs";
import { INTERNAL } from "./lib/internal-names.mjs";
import { dist, fromRoot, target, wasmBindgen } from "./lib/paths.mjs";
import { cargo, Failure, isMain, main, must, say } from "./lib/run.mjs";
import { bindgenTools, nodeModules, rust } from "./lib/setup.mjs";

const THIS_FILE = fileURLToPath(import.meta.url);
const TOOLS = ["shrink", "blank", "panic-texts", "order", "locals", "deflate", "code", "names", "glue"];
/** The most that an entry may cost: bytes after gzip -9, WebAssembly and JavaScript together. */
const BUDGETS = { antiphon: 57_765, "antiphon/inline": 60_594 };
/** What is downloaded for an entry. */
const ENTRIES = { antiphon: ["index.js", "antiphon_bg.wasm"], "antiphon/inline": ["inline.js"] };
/** The entries of the package, a file each. */
const BUNDLES = ["index.js", "inline.js", "workerd.js", "edge-light.js"];
const GENERATED = fromRoot("build", "wasm"); // the glue and the module
/** The same module with the names of its functions, for those who want to know what is in it. */
export const NAMED = join(GENERATED, "named.wasm");
export const MODULES = fromRoot("build", "js"); // all JavaScript, before it is bundled
const WASM = join(target, "wasm32-unknown-unknown", "wasm", "antiphon.wasm");

/** Builds `dist/`. */
export async function build() {
  await nodeModules();
  await rust();
  await bindgenTools();
  say("cargo: building the client for WebAssembly");
  // Not as a crate for others at the same time: all that they could use would be kept as it is, 1.2 KB after gzip.
  const only = ["--lib", "--crate-type", "cdylib"];
  await cargo("rustc", ...only, "--profile", "wasm", "--target", "wasm32-unknown-unknown", "-p", "antiphon");
  await generate();
  await assemble(GENERATED, dist);
  reportSize();
}

/** The same with names, checks and the texts of panics, in `folder`; nothing is made small. */
export async function buildDebug(folder) {
  await nodeModules();
  await rust();
  await bindgenTools();
  say("cargo: building the client for WebAssembly, for debugging");
  await cargo(...debugClient);
  const generated = fromRoot("build", "wasm-debug");
  await bindgen(join(target, "wasm32-unknown-unknown", "debug", "antiphon.wasm"), generated, "--keep-debug");
  const glue = join(generated, "antiphon.js");
  writeFileSync(glue, asFunction(readFileSync(glue, "utf8")));
  await assemble(generated, folder, { minify: false });
}

/** Builds the broker, optimised. */
export async function buildBroker() {
  say("cargo: building the broker");
  await cargo("build", "--release", "-p", "antiphon-broker");
}

/** The glue and the optimised module in `build/wasm`, unless they were made from the same input before. */
async function generate() {
  const tools = TOOLS.map((name) => fromRoot("scripts", "lib", `${name}.mjs`));
  const inputs = [WASM, THIS_FILE, ...tools, fromRoot("Cargo.lock"), fromRoot("package-lock.json")];
  const stamp = hash(inputs.map((path) => readFileSync(path)));
  const stampFile = join(GENERATED, "stamp");
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;

  say("wasm-bindgen, wasm-opt: generating the bindings and shrinking the module (about 15 s)");
  await bindgen(WASM, GENERATED);
  const [moduleFile, glueFile] = ["antiphon_bg.wasm", "antiphon.js"].map((name) => join(GENERATED, name));
  // Loaded only here: a warm build does not need the optimiser.
  const { shrunk, emitted } = await import("./lib/shrink.mjs");
  const { shortenNames } = await import("./lib/names.mjs");
  const glue = asFunction(withoutThrow(readFileSync(glueFile, "utf8")));
  const module = shrunk(readFileSync(moduleFile), glue);
  writeFileSync(glueFile, shortenNames(module, glue));
  const { published, named } = emitted(module);
  writeFileSync(moduleFile, published);
  writeFileSync(NAMED, named);
  writeFileSync(stampFile, stamp);
}

/** The glue and the module, as the generator makes them, in a new `folder`. */
async function bindgen(wasm, folder, ...options) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const output = ["--out-name", "antiphon", "--out-dir", folder];
  // All platforms that we run on have TextEncoder.encodeInto.
  const platform = ["--target", "web", "--encode-into", "always"];
  await must(wasmBindgen, [...platform, ...options, ...output, wasm], { show: "failure" });
}

/** The package in `folder`: a file for each entry, the WebAssembly, and the types. */
async function assemble(generated, folder, options) {
  const source = fromRoot("src");
  const module = readFileSync(join(generated, "antiphon_bg.wasm"));
  const sources = readdirSync(source).map((name) => [name, readFileSync(join(source, name))]);
  const modules = new Map(sources.filter(([name]) => name.endsWith(".js")));
  modules.set("antiphon.js", readFileSync(join(generated, "antiphon.js"), "utf8"));
  modules.set("wasm.js", `export default "${gzipSync(module, { level: 9 }).toString("base64")}";\n`);
  fillFolder(MODULES, modules);

  const files = new Map(sources.filter(([name]) => name.endsWith(".d.ts")));
  files.set("antiphon_bg.wasm", module);
  for (const entry of BUNDLES) files.set(entry, await bundle(join(MODULES, entry), options));
  // For `require`, with the same types, where TypeScript looks for them.
  files.set("inline.cjs", await bundle(join(MODULES, "inline.js"), { ...options, format: "cjs" }));
  files.set("index.d.cts", files.get("index.d.ts"));
  fillFolder(folder, files);
}

/** An entry and all it imports as one file, minified; a `.wasm` file stays outside. */
async function bundle(entry, { minify = true, format = "esm" } = {}) {
  const { rolldown } = await import("rolldown");
  const external = /\.wasm/;
  const input = await rolldown({ input: entry, external, platform: "browser", treeshake: { moduleSideEffects: true } });
  const minified = { compress: true, mangle: true, mangleProps: { include: INTERNAL } };
  const { output } = await input.generate({ format, minify: minify && minified, codeSplitting: false });
  if (output.length !== 1) throw new Failure(`${entry} became ${output.length} files`);
  // Bundlers look for a string there, and not all of them know that this is one.
  const code = output[0].code.replaceAll("`antiphon_bg.wasm`", '"antiphon_bg.wasm"');
  return minify ? code.replace(/(\w?)\/\* @__PURE__ \*\/ /g, (_, before) => before && `${before} `) : code;
}

/** Prints the size of what a browser downloads for each entry. */
function reportSize() {
  say("download                  raw     gzip -9   brotli 11");
  for (const [entry, files] of Object.entries(ENTRIES)) {
    for (const [name, { raw, gzip, brotli }] of Object.entries(sizesOf(files))) {
      const columns = [raw, gzip, brotli].map((bytes) => bytes.toLocaleString("en").padStart(10));
      say(`${name === "total" ? entry.padEnd(17) : `  ${name.padEnd(15)}`} ${columns.join("  ")}`);
    }
  }
}

/** Fails if the last build is over the budget. */
export function checkSize() {
  for (const [entry, budget] of Object.entries(BUDGETS)) {
    const { gzip } = sizesOf(ENTRIES[entry]).total;
    const figures = `${entry}: ${gzip.toLocaleString("en")} of ${budget.toLocaleString("en")} bytes gzip`;
    if (gzip > budget) throw new Failure(`the download is over its budget: ${figures}`);
    say(`within its budget: ${figures}`);
  }
}

/** Bytes of each of these files of `dist/`, and of all together. */
function sizesOf(files) {
  const sizes = Object.fromEntries(files.map((name) => [name, size(readFileSync(join(dist, name)))]));
  return files.length > 1 ? { ...sizes, total: sum(Object.values(sizes)) } : { total: sizes[files[0]] };
}

function size(bytes) {
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
    if (process.argv.includes("--debug")) return buildDebug(dist);
    await build();
    checkSize();
  });
}
