// Checks citations in both directions: every rule, section and document that a file names exists, and every rule has a
// test.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { test } from "node:test";
import { filesBelow } from "../../scripts/lib/files.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { tableIn } from "./support/tables.mjs";

const FOLDERS = ["benches", "crates", "docs", "scripts", "src", "tests", "www"];
const TEXT = /\.(css|html|js|json|jsx|md|mjs|py|rs|toml|ts|tsx|txt)$/;

/** Every text file of ours, with its text. */
const texts = new Map(
  [...FOLDERS.flatMap(below), ...readdirSync(fromRoot())]
    .filter((path) => TEXT.test(path) && !path.includes("node_modules") && path !== "package-lock.json")
    .map((path) => [path, readFileSync(fromRoot(path), "utf8")]),
);
const rules = texts.get("docs/rules.md");
const defined = [...rules.matchAll(/^- \*\*([A-Z]-\d+)\*\*/gm)].map(([, rule]) => rule);
const families = [...new Set(defined.map(([family]) => family))].join("");
/** P-256 and its like are elliptic curves. */
const RULE = new RegExp(`(?<![\\w-])(?!P-(?:256|384|521))[${families}]-\\d+(?!\\w)`, "g");

function below(folder) {
  return filesBelow(fromRoot(folder)).map((path) => join(folder, path));
}

/** Each match of `pattern`, as `path: what it found`, for which `isThere` does not hold. */
function missing(pattern, isThere, textsOf = texts) {
  const found = [];
  for (const [path, text] of textsOf) {
    for (const [whole, captured = whole] of text.matchAll(pattern)) {
      if (!isThere(captured, path)) found.push(`${path}: ${captured}`);
    }
  }
  return found;
}

/** The numbers of a page's sections, `8.4`, and of numbered items within a section, `14.2`. */
function sectionsOf(page) {
  return texts
    .get(page)
    .split(/^#+ (?=\d)/m)
    .flatMap((part) => {
      const [number] = /^\d+(\.\d+)?/.exec(part) ?? [];
      return [number, ...[...part.matchAll(/^(\d+)\. /gm)].slice(1).map(([, item]) => `${number}.${item}`)];
    });
}

test("each number stands for one rule", () => {
  assert.deepEqual(defined, [...new Set(defined)]);
});

test("each rule that is cited is there", () => {
  assert.deepEqual(
    missing(RULE, (rule) => defined.includes(rule)),
    [],
  );
});

test("each section of the rules that is cited is there", () => {
  const sections = sectionsOf("docs/rules.md");
  assert.deepEqual(
    missing(/\brules (?:section )?(\d+(?:\.\d+)?)/g, (section) => sections.includes(section)),
    [],
  );
});

test("each section of the protocol that is cited is there", () => {
  const sections = sectionsOf("docs/protocol.md");
  assert.deepEqual(
    missing(/(?<!RFC \d+, |rules )\bsection (\d+(?:\.\d+)?)/gi, (section) => sections.includes(section)),
    [],
  );
});

test("each rule has a test that names it, or a reason why not", () => {
  const tested = new Set([...texts].flatMap(([path, text]) => testsIn(path, text).join("\n").match(RULE) ?? []));
  const excused = tableIn(rules, "10. Rules without a test").flatMap(({ rule }) => rule.split(", "));
  assert.deepEqual(defined.filter((rule) => !tested.has(rule)).sort(), excused.sort());
});

/** What names tests: in JavaScript their names, in Rust the comments at them. */
function testsIn(path, text) {
  if (/\.test\.mjs$/.test(path)) return text.match(/\b(?:test|describe|row)\(\s*(["'`]).*?\1/gs) ?? [];
  const place = /(^|\/)tests\//.test(path) ? 0 : text.search(/^#\[cfg\(test\)\]/m);
  return path.endsWith(".rs") && place >= 0 ? (text.slice(place).match(/\/\/.*/g) ?? []) : [];
}

test("each document that is named is there", () => {
  const documents = [...texts.keys()].filter((path) => path.endsWith(".md"));
  const isThere = (name, path) =>
    documents.includes(join(dirname(path), name)) ||
    documents.includes(name) ||
    documents.some((document) => basename(document) === name);
  const prose = new Map([...texts].map(([path, text]) => [path, path.endsWith(".md") ? text : commentsOf(text)]));
  assert.deepEqual(missing(/[\w./-]+\.md\b/g, isThere, prose), []);
});

const commentsOf = (text) => (text.match(/(?<![:"'`])\/\/.*|^\s*(?:\*|#).*/gm) ?? []).join("\n");

test("each file that a page names by its path is there", () => {
  const pages = new Map([...texts].filter(([path]) => path.endsWith(".md")));
  const paths = new RegExp(`\`((?:${FOLDERS.join("|")})/[\\w./-]+)\``, "g");
  assert.deepEqual(
    missing(paths, (path) => existsSync(fromRoot(path)), pages),
    [],
  );
});
