// Runs every example of the README, of docs/ and of llms.txt as it stands, checks that it prints what it says, and
// type-checks it.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import ts from "typescript";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { blocksIn, programsOf, run, typeErrors } from "./support/programs.mjs";

const OPERATIONS = [
  "sendRequestToPath",
  "sendRequestToSession",
  "sendRequestToFilter",
  "addRequestHandler",
  "addStreamHandler",
  "addFilterResponseHandler",
];
const IDEAS = ["addressing", "connections", "errors", "filters", "handlers", "values"];
const pages = ["README.md", "llms.txt", ...markdownIn("docs")];
const texts = new Map(pages.map((page) => [page, readFileSync(fromRoot(page), "utf8")]));
const REFERENCE = ["docs/limits.md", "docs/protocol.md", "docs/rules.md"]; // to look things up in, not to be read through
const programs = pages.filter((page) => !REFERENCE.includes(page)).flatMap((page) => programsOf(page, texts.get(page)));

function markdownIn(folder) {
  return readdirSync(fromRoot(folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`);
}

for (const program of programs) {
  test(`the program at ${program.page}:${program.line} does what it says`, () => run(program));
}

test("examples in TypeScript type-check", () => {
  assert.deepEqual(typeErrors(programs), []);
});

test("the README shows each of the six operations", () => {
  const readme = programs.filter(({ page }) => page === "README.md").map(({ text }) => text);
  for (const operation of OPERATIONS) {
    assert.ok(
      readme.some((text) => text.includes(`.${operation}(`)),
      operation,
    );
  }
});

test("every idea has a page with an example", () => {
  for (const idea of IDEAS) {
    const page = `docs/${idea}.md`;
    assert.ok(
      programs.some((program) => program.page === page),
      `${page} has no example`,
    );
  }
});

test("every page is short enough to be read", () => {
  for (const page of pages.filter((page) => ![...REFERENCE, "README.md"].includes(page))) {
    const lines = texts.get(page).trimEnd().split("\n");
    assert.ok(lines.length <= 120, `${page} has ${lines.length} lines`);
  }
});

test("a parser takes the blocks that do not run", () => {
  const languages = ["js", "ts", "tsx"];
  for (const page of pages) {
    for (const { language, text } of blocksIn(texts.get(page)).filter(({ language }) => languages.includes(language))) {
      const compilerOptions = {
        target: ts.ScriptTarget.ESNext,
        module: ts.ModuleKind.ESNext,
        jsx: ts.JsxEmit.Preserve,
      };
      const options = { compilerOptions, fileName: `block.${language}`, reportDiagnostics: true };
      const faults = ts.transpileModule(text, options).diagnostics.map(({ messageText }) => messageText);
      assert.deepEqual(faults, [], `${page}:\n${text}`);
    }
  }
});

test("links from page to page lead somewhere", () => {
  for (const [page, text] of texts) {
    for (const [, path, fragment] of text.matchAll(/\]\(([^)#:]*)(?:#([^)]*))?\)/g)) {
      const target = path ? join(dirname(page), path) : page;
      assert.ok(existsSync(fromRoot(target)), `${page} links to ${path}`);
      if (fragment === undefined) continue;
      const anchors = [...readFileSync(fromRoot(target), "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
        anchor(title),
      );
      assert.ok(anchors.includes(fragment), `${page} links to ${path}#${fragment}`);
    }
  }
});

/** The fragment that addresses a heading. */
function anchor(title) {
  return title
    .toLowerCase()
    .replace(/[^\w -]/g, "")
    .replaceAll(" ", "-");
}

test("the page about migrating names everything that messaging has in the official client", () => {
  const page = texts.get("docs/migrating.md");
  const typings = readFileSync(fromRoot("node_modules/diffusion/typescript/diffusion.d.ts"), "utf8");
  const file = ts.createSourceFile("diffusion.d.ts", typings, ts.ScriptTarget.Latest);
  const interfaces = ["Options", "Messages", "Responder", "RequestHandler", "RequestStream", "FilteredResponseHandler"];
  const members = file.statements
    .filter((statement) => ts.isInterfaceDeclaration(statement) && interfaces.includes(statement.name.text))
    .flatMap(({ members }) => members.map(({ name }) => name.text));
  assert.ok(members.length > 20);
  assert.deepEqual(
    members.filter((name) => !new RegExp(`\\b${name}\\b`).test(page)),
    [],
  );
});
