// Names of a letter or two for what the glue and the module exchange, which the generator gives long ones.

import { createHash } from "node:crypto";
import binaryen from "binaryen";

/** What the generator calls the module that the imports come from. */
const MODULE = "./antiphon_bg.js";

/** The methods of a module that add an export, by its kind. */
const ADD_EXPORT = new Map([
  [binaryen.ExternalFunction, "addFunctionExport"],
  [binaryen.ExternalTable, "addTableExport"],
  [binaryen.ExternalMemory, "addMemoryExport"],
  [binaryen.ExternalGlobal, "addGlobalExport"],
]);

/** Shortens the names in `module`, and returns the glue with the same names. */
export function shortenNames(module, glue) {
  // Short names fit those of other versions, which must not be linked with these: a page may have an old file cached.
  const version = createHash("sha256").update(glue).update(module.emitBinary()).digest("hex").slice(0, 8);
  const imports = shortNames(importsOf(module), ({ name, base, params, results }, short) => {
    module.addFunctionImport(name, version, short, params, results); // where it comes from now
    return base;
  });
  const exports = shortNames(exportsOf(module), ({ name, value, kind }, short) => {
    module.removeExport(name);
    module[ADD_EXPORT.get(kind)](value, short);
    return name;
  });
  return glue
    .replace(/^( {8})(\w+)(: (?:function)?\()/gm, (_all, indent, name, rest) => indent + imports(name) + rest)
    .replaceAll(`"${MODULE}"`, `"${version}"`)
    .replace(/\bwasm\.(\w+)/g, (_all, name) => `wasm.${exports(name)}`);
}

/** Takes out what `module` exports and the glue does not use. */
export function removeUnused(module, glue) {
  const spoken = new Set(Array.from(glue.matchAll(/\bwasm\.(\w+)/g), ([, name]) => name));
  for (const { name } of exportsOf(module)) if (!spoken.has(name)) module.removeExport(name);
  module.runPasses(["remove-unused-module-elements"]);
}

function importsOf(module) {
  const functions = Array.from({ length: module.getNumFunctions() }, (_, index) => module.getFunctionByIndex(index));
  const imported = functions.map((pointer) => binaryen.getFunctionInfo(pointer)).filter((info) => info.module);
  for (const { module: from, base } of imported) {
    if (from !== MODULE) throw new Error(`the module imports ${base} from ${from}, of which the glue knows nothing`);
  }
  return imported;
}

function exportsOf(module) {
  const exported = Array.from({ length: module.getNumExports() }, (_, index) => module.getExportByIndex(index));
  return exported.map((pointer) => binaryen.getExportInfo(pointer));
}

/** Has each of `items` renamed, `rename` returning the long name; gives a function from long names to short ones. */
function shortNames(items, rename) {
  const shorts = new Map(items.map((item, index) => [rename(item, letters(index)), letters(index)]));
  return (name) => {
    if (!shorts.has(name)) throw new Error(`the glue speaks of ${name}, which the module does not`);
    return shorts.get(name);
  };
}

/** a, b, ... z, aa, ab, ... */
function letters(index) {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : letters(Math.floor(index / 26) - 1) + last;
}
