// Checks what ARCHITECTURE.md says about files: the map names them all, the large ones say why they are
// one room, and no two of them import each other in a circle.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { filesBelow } from "../../scripts/lib/files.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { names, tableIn } from "./support/tables.mjs";

const LARGE = 400; // lines, from which a file says why it is one room

const read = (path) => readFileSync(fromRoot(path), "utf8");
const architecture = read("ARCHITECTURE.md");
const sourcesOf = (folder, pattern) => filesBelow(fromRoot(folder)).filter((path) => pattern.test(path));
const crates = ["src", ...readdirSync(fromRoot("crates")).map((name) => `crates/${name}/src`)];

/** A Rust file without its tests: they may use what they like. */
const withoutTests = (source) => source.replace(/^#\[cfg\(test\)\]\nmod \w+ \{[\s\S]*/m, "");

// ---- The map ----

/** The part of the map about a folder: its lines up to the next one that begins at the margin. */
function mapOf(folder) {
  const [, map] = /^```text\n(.*?)^```/ms.exec(architecture);
  const lines = map.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`${folder}/`));
  const end = lines.findIndex((line, index) => index > start && /^\S/.test(line));
  return lines.slice(start, end).join("\n");
}

for (const folder of crates) {
  test(`the map names each file of ${folder}`, () => {
    const map = mapOf(folder.replace(/(?<=.)\/src$/, ""));
    const isNamed = (file) => map.includes(basename(file)) || map.includes(`${basename(dirname(file))}/`);
    assert.deepEqual(
      sourcesOf(folder, /\.(rs|js|ts)$/).filter((file) => !isNamed(file) && basename(file) !== "lib.rs"),
      [],
    );
  });
}

test("each large file says why it is one room", () => {
  const folders = ["src", "crates", "scripts", "www", "benches", "examples", "tests"];
  const files = folders.flatMap((folder) => filesBelow(fromRoot(folder)).map((file) => join(folder, file)));
  const sources = files.filter(
    (file) => /\.(rs|js|mjs|ts|css)$/.test(file) && !/node_modules|\/dist\/|\/build\/|\.svelte-kit/.test(file),
  );
  const large = sources.filter((file) => read(file).split("\n").length > LARGE + 1);
  const excused = tableIn(architecture, "Large files").flatMap(({ file }) => names(file));
  assert.deepEqual(
    large.filter((file) => !excused.includes(file)),
    [],
    "not in the table",
  );
  assert.deepEqual(
    excused.filter((file) => !large.includes(file)),
    [],
    "in the table, but not large",
  );
});

// ---- Imports ----

/** The files that each JavaScript file of `src/` imports. */
function javascriptImports() {
  const files = sourcesOf("src", /\.js$/);
  const imports = (file) => ts.preProcessFile(read(join("src", file))).importedFiles.map(({ fileName }) => fileName);
  return new Map(files.map((file) => [file, imports(file).map((name) => join(dirname(file), name))]));
}

/** The files of a crate that each of its files uses, but for a module and its own parts. */
function rustImports(folder) {
  const files = new Map(); // by module path, e.g. "client::calls"
  for (const file of sourcesOf(folder, /\.rs$/)) files.set(moduleOf(file), file);
  const sources = new Map([...files].map(([module, file]) => [module, withoutTests(read(join(folder, file)))]));
  const graph = new Map();
  for (const [module, source] of sources) {
    const used = pathsIn(source, module).map((path) => definedIn(path, sources));
    const others = used.filter((other) => other !== undefined && !isPartOf(other, module) && !isPartOf(module, other));
    graph.set(
      files.get(module),
      [...new Set(others)].map((other) => files.get(other)),
    );
  }
  return graph;
}

/** `client/calls.rs` and `client/calls/mod.rs` are `client::calls`; `lib.rs` and `main.rs` are the root, "". */
function moduleOf(file) {
  const segments = file.replace(/\.rs$/, "").split("/");
  if (["lib", "main", "mod"].includes(segments.at(-1))) segments.pop();
  return segments.join("::");
}

const isPartOf = (module, whole) => module === whole || whole === "" || module.startsWith(`${whole}::`);

/** The absolute paths that a source names, `{...}` taken apart. */
function pathsIn(source, module) {
  const code = source.replace(/\/\/.*$/gm, "");
  const paths = [];
  for (const [, start, rest] of code.matchAll(/\b(crate|super|self)((?:::(?:\w+|\{(?:[^{}]|\{[^{}]*\})*\}))+)/g)) {
    const above = start === "super" ? parentOf(module) : start === "self" ? module : "";
    paths.push(...expanded(rest.slice(2)).map((path) => absolute(above, path)));
  }
  return paths;
}

/** `super` inside a path leads further up. */
function absolute(above, path) {
  let module = above;
  let rest = path;
  while (rest.startsWith("super::")) [module, rest] = [parentOf(module), rest.slice("super::".length)];
  return module === "" ? rest : `${module}::${rest}`;
}

const parentOf = (module) => module.split("::").slice(0, -1).join("::");

/** `a::{b, c::{d, e}}` is `a::b`, `a::c::d`, `a::c::e`. */
function expanded(path) {
  const open = path.indexOf("{");
  if (open < 0) return [path.trim()];
  const inner = path.slice(open + 1, path.lastIndexOf("}"));
  const parts = [];
  let [depth, start] = [0, 0];
  for (const [index, character] of [...`${inner},`].entries()) {
    depth += character === "{" ? 1 : character === "}" ? -1 : 0;
    if (character === "," && depth === 0) {
      parts.push(inner.slice(start, index).trim());
      start = index + 1;
    }
  }
  return parts.filter(Boolean).flatMap((part) => expanded(path.slice(0, open) + part));
}

/** The module that defines what a path names: re-exports are followed. */
function definedIn(path, sources) {
  const segments = path.split("::").map((segment) => segment.split(" as ")[0]);
  for (let length = segments.length; length >= 0; length -= 1) {
    const module = segments.slice(0, length).join("::");
    if (!sources.has(module)) continue;
    const item = segments[length];
    const source = sources.get(module);
    for (const [, from] of source.matchAll(/^\s*pub(?:\([\w ]+\))? use ([^;]+);/gm)) {
      for (const exported of expanded(from.replace(/\s+/g, " "))) {
        const relative = exported.replace(/^(self|crate)::/, "");
        const name = / as (\w+)$/.exec(relative)?.[1] ?? relative.split("::").at(-1);
        const inside = module === "" || exported.startsWith("crate::") ? relative : `${module}::${relative}`;
        if (name === item && inside !== path) return definedIn(inside, sources);
      }
    }
    return module;
  }
  return undefined;
}

/** The circles: groups of files each of which leads to all the others. */
function circlesIn(graph) {
  const reached = new Map([...graph.keys()].map((file) => [file, reachable(file, graph)]));
  const groups = [...graph.keys()].map((file) =>
    [...reached.get(file)].filter((other) => reached.get(other)?.has(file)).sort(),
  );
  return [...new Set(groups.filter((group) => group.length > 0).map((group) => group.join(" <-> ")))];
}

/** The files that `file` leads to, itself only through others. */
function reachable(file, graph) {
  const found = new Set();
  const open = [...(graph.get(file) ?? [])];
  while (open.length > 0) {
    const next = open.pop();
    if (found.has(next)) continue;
    found.add(next);
    open.push(...(graph.get(next) ?? []));
  }
  return found;
}

test("no JavaScript files of the client import each other in a circle", () => {
  const graph = javascriptImports();
  assert.ok(graph.get("messaging.js").length > 0, "imports are found");
  assert.deepEqual(circlesIn(graph), []);
});

for (const folder of crates) {
  test(`no files of ${folder} use each other in a circle, but for a module and its own parts`, () => {
    assert.deepEqual(circlesIn(rustImports(folder)), []);
  });
}

test("uses are found, through braces and re-exports", () => {
  const graph = rustImports("crates/protocol/src");
  assert.ok(graph.get("wire/envelope.rs").includes("wire/layouts.rs"));
  const chain = (...last) =>
    new Map([
      ["a", ["b"]],
      ["b", ["c"]],
      ["c", last],
    ]);
  assert.deepEqual(circlesIn(chain()), []);
  assert.deepEqual(circlesIn(chain("b")), ["b <-> c"]);
});
