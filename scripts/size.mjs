// `npm run size`: what the download consists of: each JavaScript module, each crate, the largest functions.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import binaryen from "binaryen";
import { minify } from "rolldown/experimental";
import { build, MODULES, NAMED } from "./build.mjs";
import { bodiesOf } from "./lib/code.mjs";
import { main, say } from "./lib/run.mjs";

const LARGEST = 20;

/** The functions of a module that has their names: name and bytes of code. */
function functionsOf(bytes) {
  const module = binaryen.readBinary(bytes);
  const names = Array.from({ length: module.getNumFunctions() }, (_, index) =>
    binaryen.getFunctionInfo(module.getFunctionByIndex(index)),
  )
    .filter((info) => !info.module)
    .map(({ name }) => name.replace(/\\([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16))));
  const sizes = bodiesOf(bytes).map((body) => body.length);
  return names.map((name, index) => ({ name: name.replace(/(::h|\[)[0-9a-f]{16}\]?/g, ""), bytes: sizes[index] }));
}

/** The crate that a function comes from, by its name. */
function crateOf(name) {
  return (
    /\b(antiphon_protocol|antiphon|talc|serde\w*|js_sys|wasm_bindgen\w*|base64ct|gloo_timers)\b/.exec(name)?.[1] ??
    "std"
  );
}

function table(title, rows) {
  say(`\n${title}`);
  for (const [name, ...numbers] of rows.sort(([, a], [, b]) => b - a)) {
    say(`${numbers.map((bytes) => bytes.toLocaleString("en").padStart(9)).join("")}  ${name}`);
  }
}

await main(async () => {
  await build();
  const modules = readdirSync(MODULES).filter((name) => name !== "wasm.js" && name !== "inline.js");
  const rows = modules.map(async (name) => {
    const { code } = await minify(name, readFileSync(join(MODULES, name), "utf8"), { module: true });
    return [name, code.length, gzipSync(code, { level: 9 }).length];
  });
  table("JavaScript, each module by itself: minified, and after gzip", await Promise.all(rows));

  const functions = functionsOf(readFileSync(NAMED));
  const crates = new Map();
  for (const { name, bytes } of functions) crates.set(crateOf(name), (crates.get(crateOf(name)) ?? 0) + bytes);
  table("WebAssembly, code by crate", [...crates]);
  const largest = functions.sort((a, b) => b.bytes - a.bytes).slice(0, LARGEST);
  table(
    "the largest functions",
    largest.map(({ name, bytes }) => [name, bytes]),
  );
});
