// What the build does to the WebAssembly (scripts/lib/blank.mjs, names.mjs and locals.mjs), on small modules; and which names of the
// JavaScript it may shorten.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { test } from "node:test";
import binaryen from "binaryen";
import { addressesIn, blankPanics } from "../../scripts/lib/blank.mjs";
import { bodyOf, functionsOf, localsOf, withBodies } from "../../scripts/lib/code.mjs";
import { Deflate } from "../../scripts/lib/deflate.mjs";
import { INTERNAL_NAMES } from "../../scripts/lib/internal-names.mjs";
import { renumbered } from "../../scripts/lib/locals.mjs";
import { shortenNames } from "../../scripts/lib/names.mjs";
import { fromRoot } from "../../scripts/lib/paths.mjs";

const START = 4096;

/**
 * A module with `data` (texts and numbers) in its memory. The function `panic` uses the addresses of the first list and is
 * silenced, `say` uses those of the second; then panics are blanked. Gives what the memory holds, and what was not found.
 */
function blanked(data, { panics = [], says = [], texts }) {
  const bytes = data.map((part) => (typeof part === "number" ? word(part) : Buffer.from(part, "latin1")));
  const escaped = [...Buffer.concat(bytes)].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  const calls = (addresses) => addresses.map((address) => `(call $use (i32.const ${address}))`).join(" ");
  const module = binaryen.parseText(`(module
    (import "page" "use" (func $use (param i32)))
    (memory 1)
    (data (i32.const ${START}) "${escaped}")
    (func $panic (export "panic") ${calls(panics)})
    (func $say (export "say") ${calls(says)})
  )`);
  const before = addressesIn(module);
  binaryen.Function(module.getFunction("panic")).setBody(module.unreachable());
  const missing = blankPanics(module, before, texts);
  assert.ok(module.validate() && WebAssembly.validate(module.emitBinary()));
  const info = module.getDataSegmentInfo(module.getDataSegmentByIndex(0));
  return { memory: Buffer.from(info.data).toString("latin1").replaceAll("\0", "."), missing };
}

function word(number) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(number);
  return bytes;
}

test("what only a panic says is blanked, and what it tells is not known", () => {
  const texts = ["out of bounds", "length {} is not {}"];
  const data = ["out of bounds", "\x07length \xc0\x08 is not \xc0\0", "hello"];
  const { memory, missing } = blanked(data, { panics: [START, START + 13], says: [START + 33], texts });
  assert.equal(memory, `${".".repeat(33)}hello`);
  assert.deepEqual(missing, []);
});

test("a text of the client stays, although a panic says the same", () => {
  const { memory, missing } = blanked(["out of bounds"], { panics: [START], says: [START], texts: ["out of bounds"] });
  assert.equal(memory, "out of bounds");
  assert.deepEqual(missing, ["out of bounds"]);
});

test("a text of the client stays, although what a panic says is part of it", () => {
  const data = ["the answer is out of bounds", "out of bounds"];
  const { memory, missing } = blanked(data, { panics: [START + 27], says: [START], texts: ["out of bounds"] });
  assert.equal(memory, `${data[0]}.............`);
  assert.deepEqual(missing, []);
});

test("a text stays that only data points to", () => {
  const data = ["out of bounds...", START, 13];
  const { memory } = blanked(data, { panics: [START], says: [START + 16], texts: ["out of bounds"] });
  assert.match(memory, /^out of bounds/);
});

test("a text that is not listed stays, although nothing points to it", () => {
  const { memory } = blanked(["out of bounds"], { panics: [START], texts: [] });
  assert.equal(memory, "out of bounds");
});

test("nothing but the data is blanked", () => {
  const module = binaryen.parseText(`(module
    (memory 1)
    (data (i32.const ${START}) "export")
    (func $panic (export "export") (result i32) (i32.const ${START}))
  )`);
  const before = addressesIn(module);
  binaryen.Function(module.getFunction("panic")).setBody(module.unreachable());
  assert.deepEqual(blankPanics(module, before, ["export"]), []);
  assert.match(module.emitText(), /\(export "export" \(func \$panic\)\)/);
});

test("where source files are is blanked, together with the places in them", () => {
  const file = "/home/somebody/crate/src/lib.rs.";
  const { memory } = blanked([file, START, file.length - 1, 7, 3, "hello"], {
    panics: [START + 32],
    says: [START + 48],
  });
  assert.equal(memory, `${".".repeat(31)}.${".".repeat(16)}hello`);
});

test("where a source file is does not get into the download, even if it is in use", () => {
  const file = "/home/somebody/crate/src/lib.rs.";
  const data = [file, START, file.length - 1, 7, 3];
  const { memory } = blanked(data, { panics: [START + 32], says: [START + 32], texts: [] });
  assert.equal(memory.slice(0, 32), `${".".repeat(31)}.`);
  assert.throws(() => blanked(data, { says: [START], texts: [] }), /somebody\/crate\/src\/lib\.rs/);
  assert.throws(() => blanked([file], { texts: [] }), /somebody\/crate\/src\/lib\.rs/);
});

test("a text of the client is not taken for a source file", () => {
  const data = ["src/unheard-of.rs...", START, 17, 7, 3];
  assert.throws(() => blanked(data, { panics: [START + 20], texts: [] }), /there is no src\/unheard-of\.rs/);
});

const EXCHANGED = `(module
  (import "./antiphon_bg.js" "__wbg_now_1234" (func $now (result f64)))
  (memory (export "memory") 1)
  (func (export "client_ping") (result f64) (call $now))
)`;
const GLUE = `const imports = { "./antiphon_bg.js": {
        __wbg_now_1234: function() { return 5; },
} };
const ping = () => wasm.client_ping();
`;

test("glue and module are given the same short names", async () => {
  const module = binaryen.parseText(EXCHANGED);
  const glue = shortenNames(module, GLUE);
  assert.doesNotMatch(glue + module.emitText(), /__wbg|client_|"memory"/);
  const { imports, bind } = new Function(
    `${glue} let wasm; return { imports, bind(it) { wasm = it; return ping; } };`,
  )();
  const { instance } = await WebAssembly.instantiate(module.emitBinary(), imports);
  assert.equal(bind(instance.exports)(), 5);
});

test("glue and module of different builds do not fit", async () => {
  const { imports } = new Function(`${shortenNames(binaryen.parseText(EXCHANGED), GLUE)} return { imports };`)();
  const other = binaryen.parseText(EXCHANGED.replace("(call $now)", "(f64.neg (call $now))"));
  shortenNames(other, GLUE);
  await assert.rejects(WebAssembly.instantiate(other.emitBinary(), imports), TypeError);
});

test("a name that only the glue knows fails the build", () => {
  const speaks = `${GLUE}wasm.client_pong();`;
  assert.throws(() => shortenNames(binaryen.parseText(EXCHANGED), speaks), /the glue speaks of client_pong/);
});

/** Functions that compute the same in different locals, some of them of another type. */
const COMPUTES = `(module ${["0 1 2 3", "2 0 1 3", "1 2 0 3", "2 1 0 3"]
  .map((order, index) => {
    const [a, b, c, d] = order.split(" ").map((place) => `${1 + Number(place)}`);
    return `(func (export "f${index}") (param i32) (result f64) (local i32 i32 i32 f64)
      (local.set ${a} (i32.mul (local.get 0) (i32.const 3)))
      (local.set ${b} (i32.add (local.get ${a}) (local.get 0)))
      (local.set ${c} (i32.sub (local.get ${b}) (i32.const 1)))
      (local.set ${d} (f64.convert_i32_s (local.get ${c})))
      (loop (if (i32.lt_s (local.tee ${c} (i32.sub (local.get ${c}) (local.get ${a}))) (i32.const 100))
        (then (local.set ${d} (f64.add (local.get ${d}) (f64.convert_i32_s (local.get ${c}))))))
        (br_if 0 (i32.gt_s (local.get ${c}) (local.get ${b}))))
      (f64.add (local.get ${d}) (f64.convert_i32_u (local.get ${b}))))`;
  })
  .join(" ")})`;

test("functions compute the same whatever their locals are called, and are called alike", () => {
  const bytes = binaryen.parseText(COMPUTES).emitBinary();
  const made = renumbered(bytes);
  const [before, after] = [bytes, made].map(
    (module) => new WebAssembly.Instance(new WebAssembly.Module(module)).exports,
  );
  for (const name of ["f0", "f1", "f2", "f3"]) {
    for (const argument of [-7, 0, 1, 40]) assert.equal(after[name](argument), before[name](argument));
  }
  const distinct = (module) => new Set(functionsOf(module).map(({ body }) => Buffer.from(body).toString("hex"))).size;
  assert.deepEqual([distinct(bytes), distinct(made)], [4, 1]);
});

test("a module is put together from its parts as it was", () => {
  const bytes = binaryen.parseText(COMPUTES).emitBinary();
  const bodies = functionsOf(bytes).map(({ body }) => bodyOf(localsOf(body)));
  assert.deepEqual(Buffer.from(withBodies(bytes, bodies)), Buffer.from(bytes));
});

test("an instruction that is not known fails the build", () => {
  assert.throws(() => localsOf(Uint8Array.of(0, 0xfd, 0, 0x0b)), /there is an instruction 253/);
});

test("what was written before costs less", () => {
  const [text, other] = ["to be or not to be", "that is a question"].map((words) => Buffer.from(words));
  const deflate = new Deflate(1000);
  const first = deflate.cost(text);
  deflate.write(text);
  assert.ok(deflate.cost(text) < first / 4);
  assert.ok(deflate.cost(other) > first / 2);
  assert.equal(deflate.cost(text), deflate.cost(text));
  deflate.restart();
  deflate.write(other);
  assert.ok(deflate.cost(text) > deflate.cost(other));
});

test("only names that nobody else can know are shortened in the JavaScript", () => {
  const textsIn = (folder, pattern) => {
    const files = readdirSync(folder).filter((name) => pattern.test(name));
    const texts = files.map((name) => readFileSync(join(folder, name), "utf8"));
    return texts.map((text) => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "")).join("\n"); // comments name nothing
  };
  const wordsOf = (text) => new Set(text.match(/[\w$]+/g));
  const ours = textsIn(fromRoot("src"), /\.js$/);
  const code = wordsOf(ours);
  const strings = new Set(Array.from(ours.matchAll(/(["'`])(.*?)\1/g), ([, , text]) => text));
  const types = wordsOf(textsIn(fromRoot("src"), /\.d\.ts$/));
  const platform = wordsOf(textsIn(dirname(createRequire(import.meta.url).resolve("typescript")), /^lib\..*\.d\.ts$/));
  for (const name of INTERNAL_NAMES) {
    assert.ok(code.has(name), `${name} is not used any more`);
    assert.ok(!strings.has(name), `${name} is a string as well`);
    assert.ok(!types.has(name), `${name} is in the types of the package`);
    assert.ok(!platform.has(name), `${name} is in those of a platform`);
  }
});
