// Makes of the generated glue what the package needs: a function that makes one set of bindings for each instance, so
// that an instance that has trapped can be replaced; and names of a letter or two for what glue and module exchange, which
// the generator gives long ones that make 3 KB of the download.

import { createHash } from "node:crypto";

const IMPORT_SECTION = 2;
const EXPORT_SECTION = 7;

/**
 * The glue as a module that exports `bindings(guard)`. It gives the imports of an instance, and `start(instance)`, which
 * returns a function that makes a `Client`. `guard` is given the exports of the instance, and returns those that are used.
 */
export function asFunction(glue) {
  const end = glue.indexOf("let wasmModule, wasmInstance, wasm;");
  if (end < 0 || /^import /m.test(glue))
    throw new Error("the generated glue is not what it was; see scripts/lib/glue.mjs");
  const body = glue.slice(0, end).replace(/^export /gm, "");
  return `export function bindings(guard) {
let wasm;
${body}
return {
  imports: __wbg_get_imports(),
  start(instance) {
    wasm = instance.exports;
    wasm.__wbindgen_start();
    wasm = guard(wasm);
    return (...args) => new Client(...args);
  },
};
}
`;
}

/** Shortens the names in both; returns the new glue and the new module. */
export function shortenNames(glue, module) {
  // Short names fit those of other versions, which must not be linked with these: a page may have an old file cached.
  const version = createHash("sha256").update(glue).update(module).digest("hex").slice(0, 8);
  const { imported, exported } = namesIn(module);
  const [imports, exports] = [shortNames(imported), shortNames(exported)];
  const shortened = glue
    .replace(/^( {8})(\w+)(: function\()/gm, (_all, indent, name, rest) => indent + known(imports, name) + rest)
    .replaceAll(`"${MODULE}"`, `"${version}"`)
    .replace(/\bwasm\.(\w+)/g, (_, name) => `wasm.${known(exports, name)}`);
  return {
    glue: shortened,
    module: renamed(
      module,
      (name) => known(imports, name),
      (name) => known(exports, name),
      version,
    ),
  };
}

/** What the generator calls the module that the imports come from. */
const MODULE = "./antiphon_bg.js";

function shortNames(names) {
  const digits = (index) => String.fromCharCode(97 + (index % 26));
  const short = (index) => (index < 26 ? digits(index) : short(Math.floor(index / 26) - 1) + digits(index));
  return new Map(names.map((name, index) => [name, short(index)]));
}

function known(short, name) {
  if (!short.has(name)) throw new Error(`the glue speaks of ${name}, which the module does not`);
  return short.get(name);
}

function namesIn(module) {
  const names = { imported: [], exported: [] };
  const collect = (list) => (name) => {
    list.push(name);
    return name;
  };
  renamed(module, collect(names.imported), collect(names.exported));
  return names;
}

/** The module with other names of its imports and exports. */
function renamed(bytes, renameImport, renameExport, importedFrom = MODULE) {
  const parts = [bytes.subarray(0, 8)];
  const reader = new Reader(bytes, 8);
  while (!reader.isAtEnd) {
    const id = reader.byte();
    const section = reader.bytes(reader.number());
    const content =
      id === IMPORT_SECTION
        ? imports(section, renameImport, importedFrom)
        : id === EXPORT_SECTION
          ? exports(section, renameExport)
          : section;
    parts.push(Buffer.from([id]), number(content.length), content);
  }
  return Buffer.concat(parts);
}

function imports(section, rename, importedFrom) {
  const reader = new Reader(section, 0);
  const count = reader.number();
  const parts = [number(count)];
  for (let left = count; left > 0; left--) {
    const from = reader.text();
    if (from !== MODULE) throw new Error(`the module imports from ${from}, of which the glue knows nothing`);
    parts.push(name(importedFrom), name(rename(reader.text())));
    const start = reader.at;
    reader.skipDescription();
    parts.push(section.subarray(start, reader.at));
  }
  return Buffer.concat(parts);
}

function exports(section, rename) {
  const reader = new Reader(section, 0);
  const count = reader.number();
  const parts = [number(count)];
  for (let left = count; left > 0; left--) {
    parts.push(name(rename(reader.text())), reader.bytes(1), number(reader.number()));
  }
  return Buffer.concat(parts);
}

/** Reads what a WebAssembly module is written in. */
class Reader {
  constructor(source, at) {
    this.source = source;
    this.at = at;
  }

  get isAtEnd() {
    return this.at === this.source.length;
  }

  byte() {
    return this.source[this.at++];
  }

  bytes(length) {
    this.at += length;
    return this.source.subarray(this.at - length, this.at);
  }

  number() {
    let [value, shift, byte] = [0, 0, 0x80];
    while (byte & 0x80) {
      byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    }
    return value;
  }

  text() {
    return this.bytes(this.number()).toString();
  }

  /** What is imported. */
  skipDescription() {
    const kind = this.byte();
    if (kind !== 0) throw new Error(`the module imports something of kind ${kind}, which is no function`);
    this.number(); // its type
  }
}

function number(value) {
  const bytes = [];
  for (; value > 0x7f; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  return Buffer.from([...bytes, value]);
}

function name(text) {
  const bytes = Buffer.from(text);
  return Buffer.concat([number(bytes.length), bytes]);
}
