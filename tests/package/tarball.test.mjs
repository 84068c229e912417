// What the tarball contains, and what installing it does.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { bodyOf, functionsOf, localsOf, withBodies } from "../../scripts/lib/code.mjs";
import { filesBelow } from "../../scripts/lib/files.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { packed } from "../../scripts/lib/tarball.mjs";
import { makeApp } from "./support/app.mjs";

const tarball = await packed();
const app = await makeApp("empty");
const installed = join(app, "node_modules", "antiphon");
const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));

test("the tarball holds the entries, the WebAssembly, the types, and what people read", (context) => {
  const entries = ["edge-light.js", "index.js", "inline.cjs", "inline.js", "workerd.js"];
  const types = ["index.d.cts", "index.d.ts", "inline.d.ts"];
  const dist = ["antiphon_bg.wasm", ...entries, ...types].map((name) => `dist/${name}`);
  const docs = readdirSync(fromRoot("docs")).map((name) => `docs/${name}`);
  const beside = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "llms.txt", "package.json"];
  assert.deepEqual(tarball.files.map(({ path }) => path).sort(), [...beside, ...dist, ...docs].sort());
  const bytes = (number) => number.toLocaleString("en").padStart(9);
  for (const { path, size } of tarball.files) context.diagnostic(`${bytes(size)} ${path}`);
  context.diagnostic(`${bytes(tarball.unpackedSize)} in all, ${bytes(tarball.size).trim()} packed`);
});

test("every instruction of the WebAssembly is one that the build knows", () => {
  const bytes = readFileSync(join(installed, "dist", "antiphon_bg.wasm"));
  const bodies = functionsOf(bytes).map(({ body }) => bodyOf(localsOf(body)));
  assert.ok(bodies.length > 100);
  assert.deepEqual(Buffer.from(withBodies(bytes, bodies)), bytes);
});

test("every link on a page in it leads to a file in it, or to an address", () => {
  const files = new Set(tarball.files.map(({ path }) => path));
  const pages = [...files].filter((path) => /\.(md|txt)$/.test(path));
  const broken = pages.flatMap((page) => {
    const text = readFileSync(join(installed, page), "utf8");
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link]) => link);
    return links.filter((link) => !files.has(posix.join(posix.dirname(page), link))).map((link) => `${page}: ${link}`);
  });
  assert.deepEqual(broken, []);
});

test("installing it brings nothing else and runs nothing", () => {
  assert.deepEqual(
    readdirSync(join(app, "node_modules")).filter((name) => !name.startsWith(".")),
    ["antiphon"],
  );
  for (const key of ["dependencies", "peerDependencies", "optionalDependencies", "bundleDependencies"]) {
    assert.equal(manifest[key], undefined, key);
  }
  for (const script of ["preinstall", "install", "postinstall", "prepare"]) {
    assert.equal(manifest.scripts?.[script], undefined, script);
  }
});

test("it comes with both licences that it names", () => {
  assert.equal(manifest.license, "MIT OR Apache-2.0");
  assert.match(readFileSync(join(installed, "LICENSE-MIT"), "utf8"), /^MIT License\n/);
  assert.match(readFileSync(join(installed, "LICENSE-APACHE"), "utf8"), /Apache License\s+Version 2\.0, January 2004/);
});

test("every entry names a file that is there under every condition, its types first", () => {
  const check = (target) => {
    if (typeof target === "string") {
      assert.ok(filesBelow(installed).includes(target.slice(2)), target);
      return;
    }
    const conditions = Object.keys(target);
    assert.equal(conditions.at(-1), "default");
    if (typeof target.default === "string") assert.equal(conditions[0], "types");
    for (const condition of conditions) check(target[condition]);
  };
  for (const target of Object.values(manifest.exports)) check(target);
  assert.equal(manifest.types, manifest.exports["."].default.types); // for tools that do not read exports
  assert.deepEqual(Object.keys(manifest.exports), [".", "./inline", "./antiphon.wasm", "./package.json"]);
});
