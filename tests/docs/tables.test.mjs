// Checks the tables of the documentation against the code.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { filesBelow } from "../../scripts/lib/files.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";
import { names, tableIn } from "./support/tables.mjs";

const read = (path) => readFileSync(fromRoot(path), "utf8");
const sorted = (items) => [...new Set(items)].sort();
const all = (text, pattern) => [...text.matchAll(pattern)].map(([, name]) => name);

// ---- Codes ----

const errors = read("docs/errors.md");
const requests = tableIn(errors, "Requests");
const connecting = tableIn(errors, "Connecting");
const ends = tableIn(errors, "The end of a session");

const reasonsRust = read("crates/protocol/src/wire/error_reason.rs");
const errorRust = read("crates/protocol/src/client/error.rs");
const client = readdirSync(fromRoot("src"))
  .filter((name) => /\.(js|rs)$/.test(name))
  .map((name) => read(`src/${name}`))
  .join("\n");

/** Names of error reasons, by number. */
const reasons = new Map(
  [...reasonsRust.matchAll(/^ {4}(\d+) ([A-Z_]+) "/gm)].map(([, number, name]) => [number, name]),
);

/** The texts of an enumeration made by `codes!`. */
function codesOf(name) {
  return all(new RegExp(`${name} \\{(.*?)\\n {4}\\}`, "s").exec(errorRust)[1], /"([A-Z_]+)"/g);
}

const codesIn = (rows) => sorted(rows.flatMap(({ code }) => names(code)));

test("the page of errors lists the codes of a MessagingError that there are", () => {
  const ofRust = all(/fn code\(.*?\n {4}\}/s.exec(errorRust)[0], /"([A-Z_]+)"/g);
  const ofClient = all(client, /(?:MessagingError|messagingError|super)\(\s*"([A-Z_]+)"/g);
  assert.deepEqual(codesIn(requests), sorted([...reasons.values(), ...ofRust, ...ofClient]));
});

test("each number on the page of errors is that of the code", () => {
  for (const { code, reason } of requests) {
    const numbers = reason.split(", ").filter(Boolean);
    if (numbers.length > 0)
      assert.deepEqual(
        numbers.map((number) => reasons.get(number)),
        names(code),
      );
  }
  const numbered = sorted(requests.flatMap(({ reason }) => reason.split(", ")).filter(Boolean));
  assert.deepEqual(numbered, sorted(reasons.keys()));
});

test("the page of errors lists the codes of a ConnectError that there are", () => {
  const ofClient = all(client, /ConnectError\(\s*"([A-Z_]+)"/g);
  assert.deepEqual(codesIn(connecting), sorted([...codesOf("ConnectCode"), ...ofClient]));
});

test("the page of errors lists the codes of a session's end that there are", () => {
  assert.deepEqual(codesIn(ends), sorted([...codesOf("CloseCode"), "INTERNAL"]));
});

test("the types name the codes that the page of errors lists", () => {
  const types = read("src/index.d.ts");
  const codesIn = (union) => sorted(all(new RegExp(`type ${union} =(.*?);`, "s").exec(types)[1], /"([A-Z_]+)"/g));
  assert.deepEqual(codesIn("MessagingErrorCode"), sorted(requests.flatMap(({ code }) => names(code))));
  assert.deepEqual(codesIn("ConnectErrorCode"), sorted(connecting.flatMap(({ code }) => names(code))));
  assert.deepEqual(codesIn("CloseCode"), sorted(ends.flatMap(({ code }) => names(code))));
});

test("each code has a cause and a cure", () => {
  for (const row of [...requests, ...connecting, ...ends]) assert.ok(row.cause && row.cure, row.code);
});

// ---- Limits ----

function tablesOf(page) {
  const text = read(page);
  const sections = all(text, /^## (.+)$/gm).filter((heading) => heading !== "What ends what it keeps");
  return sections.flatMap((heading) => tableIn(text, heading).map((row) => ({ heading, ...row })));
}

const rows = ["docs/client-limits.md", "docs/limits.md"].flatMap(tablesOf);

/** The keys of the broker's configuration with their defaults as they are written, by table: "" above all of them. */
const configuration = new Map([["", new Map()]]);
{
  let keys = configuration.get("");
  for (const line of read("docs/broker.toml").split("\n")) {
    const table = /^(?:# )?\[(.*)\]$/.exec(line)?.[1];
    if (table) {
      keys = new Map();
      configuration.set(table, keys);
    }
    const [, isComment, key, value] = /^(# )?(\w+) = (.*)$/.exec(line) ?? [];
    if (key) keys.set(key, isComment || value === "[]" ? undefined : value);
    const list = /^# \(see \[\[(\w+)\]\] below\)$/.exec(line)?.[1];
    if (list) keys.set(list, undefined);
  }
}
const UNITS = { B: 1, ms: 1, s: 1000, bytes: 1, characters: 1, KiB: 2 ** 10, MiB: 2 ** 20 };

/** The number in a cell such as `32 MiB + 256 KiB`, in the smallest unit: milliseconds, bytes. */
function amount(cell) {
  return cell.split(" + ").reduce((sum, part) => {
    const [number, unit = "bytes"] = part.split(" ");
    return sum + Number(number.replaceAll(",", "")) * UNITS[unit];
  }, 0);
}

/** The value of an expression in the code, in the smallest unit. */
function value(expression) {
  const seconds = /^Duration::from_secs\((\d+)\)$/.exec(expression)?.[1];
  if (seconds) return Number(seconds) * 1000;
  const duration = /^"(\d+)(ms|s|B|KiB|MiB)"$/.exec(expression);
  if (duration) return Number(duration[1]) * UNITS[duration[2]];
  const terms = expression.split(" + ").map((term) => {
    const [, base, operator, by] = /^([\d_]+)(?: (<<|\*\*) (\d+))?$/.exec(term);
    const number = Number(base.replaceAll("_", ""));
    return operator === "<<" ? number * 2 ** Number(by) : operator === "**" ? number ** Number(by) : number;
  });
  return terms.reduce((sum, term) => sum + term);
}

/** The default of a limit, according to the code. */
function defaultOf({ "change it": where, limit }) {
  const [name, file] = names(where);
  const find = (text, pattern) => {
    const found = new RegExp(pattern).exec(text)?.[1].trim();
    assert.ok(found, `${limit}: the code has no ${name}`);
    const isName = /^[A-Z_]+$/.test(found);
    return isName ? find(text, `const ${found} = ([^;]+);`) : value(found);
  };
  const configured = configuration.get("").get(name) ?? configuration.get("limits").get(name);
  if (configured) return value(configured);
  if (name === "reconnect.delay") {
    return find(read("crates/protocol/src/client/connection/backoff.rs"), "const LONGEST: Duration = ([^;]+);");
  }
  if (!file?.includes("/")) return find(client, `\\("${name}", [^]*?\\) \\?\\?\\s*([\\w* +]+)`);
  if (/^[A-Z]/.test(name)) return find(read(file), `const ${name}(?:: \\w+)? = ([^;]+);`);
  return find(read(file), `\\b${name}: (\\d[^,}]*|Duration::from_secs\\(\\d+\\))`);
}

test("the defaults of the limits are what the pages say", () => {
  const named = (of) => rows.map((row) => `${row.heading}: ${row.limit}: ${of(row)}`);
  assert.deepEqual(
    named((row) => amount(row.default)),
    named(defaultOf),
  );
});

test("each bound in the code is on a page of limits", () => {
  // How it is done, and nothing that anybody meets.
  const internal = ["MAX_CACHE_CLEARS", "MAX_REMEMBERED"];
  const folders = ["crates/broker/src", "crates/protocol/src", "src"];
  const files = folders.flatMap((folder) => filesBelow(fromRoot(folder)).map((path) => `${folder}/${path}`));
  const constants = files.flatMap((path) => all(read(path), /^(?:pub )?const (MAX_\w+)/gm));
  const listed = rows.flatMap((row) => names(row["change it"]));
  const missing = constants.filter((name) => !listed.includes(name) && !internal.includes(name));
  assert.deepEqual(sorted(missing), []);
});

test("each limit in the broker's configuration is on its page of limits, and each setting there is one", () => {
  const listed = tablesOf("docs/limits.md").flatMap((row) => {
    const [setting, file] = names(row["change it"]);
    return file?.includes("/") ? [] : [setting];
  });
  const top = ["request_timeout", "ping_period", "drain", "reconnect_timeout", "max_message_size"];
  assert.deepEqual(sorted(listed), sorted([...top, ...configuration.get("limits").keys()]));
});

test("the page of the broker lists its options with their defaults", () => {
  const optionOf = (table, key) => `--${table === "" ? "" : `${table}-`}${key}`.replaceAll("_", "-");
  const options = ["", "tls", "admin", "cluster"].flatMap((table) =>
    [...configuration.get(table)].map(([key, value]) => [
      optionOf(table, key),
      table === "" ? value?.replace(/^\[?"?(.*?)"?\]?$/, "$1") : undefined,
    ]),
  );
  const listed = tableIn(read("docs/broker.md"), "The broker").map((row) => [
    row.option.split(/[` ]/)[1],
    names(row.default)[0],
  ]);
  assert.deepEqual(listed, [["--config", undefined], ...options]);
});
