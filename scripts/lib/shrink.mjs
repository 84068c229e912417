// Makes the WebAssembly module small: takes out code that a release never needs, then optimises the rest.
//
// What goes: the bodies of the functions that put panic messages together (a release shows none: a panic ends in the
// same trap), and all of `core::fmt`, which nothing else uses (texts for people are made by `text!` of
// `crates/protocol`). Rust cannot leave them out by itself on stable; together they are a seventh of the module. A body
// that is taken out traps, or formats to nothing.

import { readFileSync, writeFileSync } from "node:fs";
import binaryen from "binaryen";

const PANICS = [
  /^core(\[\w+\])?::(panicking::|cell::panic_already|slice::index::slice_index_fail|str::slice_error_fail)/,
  /^core(\[\w+\])?::(option|result)::(unwrap|expect)_failed/,
  /^alloc(\[\w+\])?::(raw_vec::(handle_error|capacity_overflow)|alloc::handle_alloc_error)/,
  /^<?(core\[\w+\]::ptr::drop_in_place::<)?std(\[\w+\])?::(panicking::|sys::backtrace::)/,
  /::Fallibility>::capacity_overflow$/,
];
const FORMATTING = [
  /^<.* as core(\[\w+\])?::fmt::\w+>::\w+/,
  /^<?core(\[\w+\])?::(fmt|str::count)::/,
  /^alloc(\[\w+\])?::fmt::/,
];

const PANIC_TEXTS = [
  /[\w/.@+-]+\/src\/[\w/.-]+\.rs/g,
  /a (Display|formatting trait) implementation returned an error (unexpectedly|when the underlying stream did not)/g,
  /internal error: entered unreachable code|index out of bounds|capacity overflow/g,
  /assertion failed: [\w .()<>=+-]*\w\)?/g,
  /RefCell already (mutably )?borrowed|LazyCell instance has previously been poisoned/g,
  /slice index starts at |( but ends at |range (start|end) index |" out of range for slice of length )/g,
  /assertion `left | right` failed(: )?|\n {1,2}(left|right): /g,
  /&?copy_from_slice: source slice length \(|\+?\) does not match destination slice length \(/g,
  /(00010203\d{180}9\d+99)|0x0123456789ABCDEF|==!=matches/g,
  /encoding error|input is too big|InvalidLengthError|Out of bounds access/g,
  /`async fn` resumed after completion|finish: (result should be None|callbacks should be Some)/g,
];

/** Reads a module that still has its names, writes it small and without them; and to `named` with them. */
export function shrink(from, to, named) {
  const module = binaryen.readBinary(readFileSync(from));
  let removed = 0;
  for (let index = module.getNumFunctions() - 1; index >= 0; index--) {
    const pointer = module.getFunctionByIndex(index);
    const { name, results, module: imported } = binaryen.getFunctionInfo(pointer);
    const readable = name.replace(/\\([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
    const matches = (pattern) => pattern.test(readable);
    const body = PANICS.some(matches)
      ? module.unreachable()
      : FORMATTING.some(matches) && results === binaryen.i32
        ? module.i32.const(0) // Ok(())
        : undefined;
    if (imported || body === undefined) continue;
    binaryen.Function(pointer).setBody(body);
    removed++;
  }
  const formats = formatting(module);
  if (formats) throw new Error(`${formats} formats by core::fmt, which a release does without: use text! there`);
  // Fewer mean that the names have changed, and that the module is larger than it has to be.
  if (removed < 20) throw new Error(`only ${removed} functions to take out were found in ${from}`);
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(2);
  // Inlining less makes the module longer, and what is left of it after compression shorter, by 1.4 KB.
  binaryen.setAlwaysInlineMaxSize(1);
  binaryen.setFlexibleInlineMaxSize(5);
  binaryen.setOneCallerInlineMaxSize(20);
  // Rust's stack is at the low end of the memory; no pointer is within a kilobyte of wrapping around.
  binaryen.setLowMemoryUnused(true);
  module.optimize();
  // Another order of the same code, which compresses a little better.
  module.runPasses(["flatten", "rereloop"]);
  module.optimize();
  module.optimize();
  module.runPasses(["strip-producers", "strip-target-features"]);
  if (!module.validate()) throw new Error(`${from} is not valid after it was made small`);
  writeFileSync(to, withoutPanicTexts(Buffer.from(module.emitBinary())));
  binaryen.setDebugInfo(true);
  writeFileSync(named, module.emitBinary());
}

/** The name of a function of ours that uses what was taken out, if there is one. */
function formatting(module) {
  for (const [, name, body] of module.emitText().matchAll(/^ \(func \$(\S+)([\s\S]*?)^ \)$/gm)) {
    if (/antiphon/.test(name) && /call \$"?<?(core|alloc)\S*::fmt::/.test(body)) return name;
  }
  return undefined;
}

/** Blanks what only messages of panics say: among it where source files were on the machine that compiled them. */
function withoutPanicTexts(bytes) {
  const text = bytes.toString("latin1");
  for (const panic of PANIC_TEXTS) {
    for (const { index, 0: found } of text.matchAll(panic)) bytes.fill(0, index, index + found.length);
  }
  return bytes;
}
