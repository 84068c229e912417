// The documentation as HTML, which the broker serves beside the page: whole, and every link in it leads somewhere.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { page } from "../../scripts/lib/markdown.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { assembleSite } from "../support/site.mjs";

const site = assembleSite();
const pages = readdirSync(join(site, "docs")).filter((name) => name.endsWith(".html"));
const read = (name) => readFileSync(join(site, "docs", name), "utf8");

test("there is a page for each page of docs/, and the README", () => {
  const names = readdirSync(fromRoot("docs")).filter((name) => name.endsWith(".md"));
  assert.deepEqual(pages, [...names.map((name) => name.replace(/md$/, "html")), "readme.html"].sort());
});

test("links from page to page lead to a page, and to a heading in it; pictures are there", () => {
  for (const name of pages) {
    for (const [, target] of read(name).matchAll(/ (?:href|src)="([^"]+)"/g)) {
      if (/^\w+:/.test(target)) continue; // elsewhere
      const [path, fragment] = target.split("#");
      const file = path.endsWith("/") ? `${path}index.html` : path || name;
      assert.ok(existsSync(join(site, dirname("docs/x"), file)), `${name} links to ${target}`);
      if (fragment) assert.ok(read(file).includes(` id="${fragment}"`), `${name} links to ${target}`);
    }
  }
});

test("what Markdown means is not left in the text", () => {
  for (const name of pages) {
    const text = read(name).replace(/<pre[\s\S]*?<\/pre>|<code>.*?<\/code>|<[^>]+>/g, "");
    assert.doesNotMatch(text, /\*\*|`|\]\(|^\||^#/m, name);
  }
});

test("a page has its headings, lists, tables, code and links, and markup in it stays text", () => {
  const link = (target) => (target === "gone" ? undefined : `to-${target}`);
  const markdown = [
    ["# A `b` <c>", "text *is* **here**", "and [there](x) or [not](gone), ![seen](y)"],
    ["", "- one", "  more", "- two", "", "1. first", "", "| a | b |", "| --- | --- |", "| `x \\| y` | < |"],
    ["", "```js", "# <b>", "```"],
  ];
  const html = page(markdown.flat().join("\n"), link);
  for (const part of [
    '<h1 id="a-b-c">A <code>b</code> &lt;c></h1>',
    '<p>text <em>is</em> <strong>here</strong>\nand <a href="to-x">there</a> or not, <img src="to-y" alt="seen"></p>',
    "<ul><li>one\n  more</li>\n<li>two</li></ul>",
    "<ol><li>first</li></ol>",
    "<table><tr><th>a</th><th>b</th></tr>\n<tr><td><code>x | y</code></td><td>&lt;</td></tr></table>",
    '<pre tabindex="0"><code># &lt;b></code></pre>',
  ]) {
    assert.ok(html.includes(part), `${part} in\n${html}`);
  }
});
