// Makes the WebAssembly module small: takes out code that a release never needs, optimises the rest, and blanks what the
// data says for the code that is gone.
//
// What goes: the bodies of the functions that put panic messages together (a release shows none: a panic ends in the
// same trap), and all of `core::fmt`, which nothing else uses (texts for people are made by `text!` of
// `crates/protocol`). Rust cannot leave them out by itself on stable; together they are a seventh of the module. A body
// that is taken out traps, or formats to nothing.

import binaryen from "binaryen";
import { addressesIn, blankPanics } from "./blank.mjs";
import { renumbered } from "./locals.mjs";
import { removeUnused } from "./names.mjs";
import { ordered } from "./order.mjs";
import { say } from "./run.mjs";

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
/**
 * A module that still has its names, made small, with what `glue` uses of it. It keeps them until it is emitted without
 * debug information.
 */
export function shrunk(bytes, glue) {
  const whole = binaryen.readBinary(bytes);
  const addresses = addressesIn(whole);
  const module = withoutUncalled(whole);
  removeUnused(module, glue);
  silencePanics(module);
  const formats = formatting(module);
  if (formats) throw new Error(`${formats} formats by core::fmt, which a release does without: use text! there`);
  optimise(module);
  const missing = blankPanics(module, addresses);
  // It is no smaller for it, but it works; another version of Rust may say something else.
  for (const text of missing) say(`note: no panic says "${text}", which scripts/lib/panic-texts.mjs lists`);
  return ordered(module);
}

/** The module as it is published, and with the names of its functions; both are valid. */
export function emitted(module) {
  if (!module.validate()) throw new Error("the module is not valid after it was made small");
  const [bare, named] = [false, true].map((hasNames) => {
    binaryen.setDebugInfo(hasNames);
    return module.emitBinary();
  });
  const published = renumbered(bare);
  if (!WebAssembly.validate(published)) throw new Error("the module is not valid after it was written");
  return { published, named };
}

/** What JavaScript calls if it has such a closure, and what wakes tasks, of which there are none. */
const UNCALLED = /^"?(wasm_bindgen(\[\w+\])?::convert::closures::_::invoke|js_sys(\[\w+\])?::futures::)/;

/** The same module, in whose table of functions a trap stands for those that nothing calls: all others would keep them. */
function withoutUncalled(module) {
  const trap = "uncalled";
  module.addFunction(trap, binaryen.none, binaryen.none, [], module.unreachable());
  const text = module
    .emitText()
    .replace(/^ \(elem .*$/gm, (elements) =>
      elements.replace(/\$("(?:[^"\\]|\\.)*"|[^\s()]+)/g, (all, name) =>
        UNCALLED.test(readableName(name)) ? `$${trap}` : all,
      ),
    );
  const result = binaryen.parseText(text);
  result.setFeatures(module.getFeatures());
  return result;
}

function readableName(name) {
  return name.replace(/\\([0-9a-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Nor do the checks of the bindings show what they say: they throw where JavaScript takes a trap for the same. */
const THROW = /^wasm_bindgen(\[\w+\])?::__wbindgen_throw::/;

function silencePanics(module) {
  let silenced = 0;
  for (let index = module.getNumFunctions() - 1; index >= 0; index--) {
    const pointer = module.getFunctionByIndex(index);
    const { name, params, results, module: imported } = binaryen.getFunctionInfo(pointer);
    const readable = readableName(name);
    const matches = (pattern) => pattern.test(readable);
    const body = PANICS.some(matches)
      ? module.unreachable()
      : FORMATTING.some(matches) && results === binaryen.i32
        ? module.i32.const(0) // Ok(())
        : undefined;
    if (THROW.test(readable)) {
      module.removeFunction(name);
      module.addFunction(name, params, results, [], module.unreachable());
    } else if (imported || body === undefined) continue;
    else binaryen.Function(pointer).setBody(body);
    silenced++;
  }
  // Fewer mean that the names have changed, and that the module is larger than it has to be.
  if (silenced < 20) throw new Error(`only ${silenced} functions to take out were found`);
}

/** The name of a function of ours that uses what was taken out, if there is one. */
function formatting(module) {
  for (const [, name, body] of module.emitText().matchAll(/^ \(func \$(\S+)([\s\S]*?)^ \)$/gm)) {
    if (/antiphon/.test(name) && /call \$"?<?(core|alloc)\S*::fmt::/.test(body)) return name;
  }
  return undefined;
}

function optimise(module) {
  binaryen.setOptimizeLevel(2);
  binaryen.setShrinkLevel(2);
  // Inlining less makes the module longer, and what is left of it after compression shorter, by 1.8 KB.
  binaryen.setAlwaysInlineMaxSize(3);
  binaryen.setFlexibleInlineMaxSize(5);
  binaryen.setOneCallerInlineMaxSize(20);
  // These and a second round with the code in another order are 0.8 KB together. Rust's stack is at the low end of the
  // memory: no pointer is within a kilobyte of wrapping around. How things are aligned is a hint that no engine needs.
  binaryen.setLowMemoryUnused(true);
  binaryen.setGenerateStackIR(true);
  binaryen.setOptimizeStackIR(true);
  module.optimize();
  module.runPasses(["flatten", "rereloop"]);
  module.optimize();
  module.optimize();
  // What the rounds have left alike at the ends of branches, and locals that can be shared.
  module.runPasses(["code-folding", "coalesce-locals", "reorder-locals"]);
  module.runPasses(["dealign", "strip-producers", "strip-target-features"]);
}
