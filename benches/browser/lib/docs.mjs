// Puts the figures into the documentation: each table of docs/performance.md under the heading that it has in the report,
// and the short one of the README.

import { readFileSync, writeFileSync } from "node:fs";
import { fromRoot } from "../../../scripts/lib/paths.mjs";
import { Failure } from "../../../scripts/lib/run.mjs";
import { shortTable, tablesOf } from "./report.mjs";
import { Results } from "./results.mjs";

/** Replaces the tables about which there are figures. */
export function writeDocs(records, titles) {
  const results = new Results(records);
  replaceTables("docs/performance.md", tablesOf(results, titles));
  replaceTables("README.md", { "How fast it is": shortTable(results, titles) });
}

function replaceTables(path, tables) {
  let text = readFileSync(fromRoot(path), "utf8");
  for (const [heading, lines] of Object.entries(tables)) {
    // The headings have no characters that mean something here.
    const section = new RegExp(`(^#+ ${heading}\\n[^#]*?\\n)(?:\\|.*\\n)+`, "m");
    if (!section.test(text)) throw new Failure(`${path} has no table under ${heading}`);
    text = text.replace(section, (_, before) => `${before}${lines.join("\n")}\n`);
  }
  writeFileSync(fromRoot(path), text);
}
