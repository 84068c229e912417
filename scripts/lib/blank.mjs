// Blanks what only messages of panics say in the data of a module whose panics say nothing any more: texts, and the places
// in source files, which tell where they were on the machine that compiled them.
//
// A text of the client cannot vanish by it. What is blanked is in the data, is in the list of texts or is a place in a
// source file, begins where the code pointed to before the panics were silenced, and nothing points to it now.

import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { panicTexts } from "./panic-texts.mjs";
import { fromRoot } from "./paths.mjs";

/** All numbers in the code of a module that may be addresses: constants, and offsets of what is read and written. */
export function addressesIn(module) {
  const code = module.emitText().replace(/^ \(data .*$/gm, "");
  const addresses = new Set();
  for (const [, number] of code.matchAll(/(?:i32\.const |offset=)(\d+)/g)) addresses.add(Number(number));
  // Two at a time may be written as one number of 64 bits.
  for (const [, text] of code.matchAll(/i64\.const (-?\d+)/g)) {
    const number = BigInt.asUintN(64, BigInt(text));
    addresses.add(Number(number & 0xffffffffn)).add(Number(number >> 32n));
  }
  return addresses;
}

/**
 * Blanks what panics say in the data of `module`, whose code had the addresses `before` when they still said it.
 *
 * Returns the texts that were to be blanked and are not there, or are in use.
 *
 * @throws {Error} if the name of a source file is left, or would be blanked although there is no such file
 */
export function blankPanics(module, before, texts = panicTexts) {
  const data = new Data(module);
  const files = [];
  for (const { place, file } of data.places()) {
    const name = data.text(file);
    if (!isAbsolute(name) && !existsSync(fromRoot(name))) throw new Error(`there is no ${name}, which a panic names`);
    if (!data.isUsed(place)) data.blank(place);
    files.push(file);
  }
  // A place that is in use still is one, and nothing but a panic would tell it.
  for (const file of files) if (!data.isUsedByCode(file)) data.blank(file);
  const missing = texts.filter((text) => {
    // The zero at the end of a template stays one, and may be a number of the client as well.
    const templates = data.rangesOf(template(text)).map(({ start, end }) => ({ start, end: end - 1 }));
    const ranges = [...data.rangesOf(text), ...templates];
    const found = ranges.filter((range) => before.has(range.start) && !data.isUsed(range));
    for (const range of found) data.blank(range);
    return found.length === 0;
  });
  const left = /[\w/.@+-]+\/src\/[\w/.-]+\.rs/.exec(data.text());
  if (left) throw new Error(`the module still says where a source file is: ${left[0]}`);
  data.writeTo(module);
  return missing;
}

/** A text with arguments as `core::fmt` has it: each piece after its length, a mark for each argument, a zero. */
function template(text) {
  const pieces = text.split("{}").map((piece) => (piece === "" ? "" : String.fromCharCode(piece.length) + piece));
  return `${pieces.join("\xc0")}\0`;
}

const isIn = ({ start, end }, address) => start <= address && address < end;

/** The name of a memory that has none. */
const MEMORY = "0";

/** What the memory of a module holds when it starts. Ranges of it are addresses, `end` the first that is not in it. */
class Data {
  /** Whatever may be an address in the code. */
  #inCode;
  #start;
  #bytes;

  constructor(module) {
    this.#inCode = addressesIn(module);
    const indexes = Array.from({ length: module.getNumDataSegments() }, (_, index) => index);
    const segments = indexes.map((index) => module.getDataSegmentInfo(module.getDataSegmentByIndex(index)));
    this.#start = Math.min(...segments.map(({ offset }) => offset));
    this.#bytes = Buffer.alloc(Math.max(...segments.map(({ offset, data }) => offset + data.byteLength)) - this.#start);
    for (const { offset, data } of segments) this.#bytes.set(new Uint8Array(data), offset - this.#start);
  }

  get #end() {
    return this.#start + this.#bytes.length;
  }

  /** A character for each byte. */
  text({ start, end } = { start: this.#start, end: this.#end }) {
    return this.#bytes.toString("latin1", start - this.#start, end - this.#start);
  }

  rangesOf(text) {
    const ranges = [];
    const next = (from) => this.#bytes.indexOf(text, from, "latin1");
    for (let at = next(0); at >= 0; at = next(at + 1)) {
      ranges.push({ start: this.#start + at, end: this.#start + at + text.length });
    }
    return ranges;
  }

  /** All that has the form of a place in a source file: address and length of the file's name, line, column. */
  places() {
    return [...this.#words()].flatMap(({ address, value: start }) => {
      const place = { start: address, end: address + 16 };
      if (start < this.#start || place.end > this.#end) return [];
      const [length, line, column] = [4, 8, 12].map((offset) => this.#word(address + offset));
      const file = { start, end: start + length };
      const isPlace = file.end <= this.#end && line > 0 && column > 0 && /^[\w/.@+-]+\.rs$/.test(this.text(file));
      return isPlace ? [{ place, file }] : [];
    });
  }

  /** Whether the code or other data may point into a range. */
  isUsed(range) {
    return this.isUsedByCode(range) || [...this.#words()].some(({ value }) => isIn(range, value));
  }

  isUsedByCode(range) {
    return [...this.#inCode].some((address) => isIn(range, address));
  }

  blank({ start, end }) {
    this.#bytes.fill(0, start - this.#start, end - this.#start);
  }

  writeTo(module) {
    const { initial, max = -1, shared, is64 } = module.getMemoryInfo();
    const all = { name: "data", offset: module.i32.const(this.#start), data: this.#bytes, passive: false };
    module.setMemory(initial, max, null, [all], shared, is64, MEMORY);
  }

  #word(address) {
    return this.#bytes.readUInt32LE(address - this.#start);
  }

  *#words() {
    for (let address = Math.ceil(this.#start / 4) * 4; address + 4 <= this.#end; address += 4) {
      yield { address, value: this.#word(address) };
    }
  }
}
