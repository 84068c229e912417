// Reads the bytes of the data types as JavaScript values (docs/protocol.md, section 7). It runs no code of the
// application, and nothing in a value that it returns refers to the bytes.

import { MessagingError } from "./error.js";
import { TextDecoder } from "./host.js";
import { TYPE_BINARY, TYPE_INT64, TYPE_JSON, TYPE_NAMES, TYPE_RECORD_V2, TYPE_STRING } from "./tables.js";

export const MAX_DEPTH = 256; // containers within one another, read and written alike
const MAX_BUILT = 1 << 28; // bytes of memory that a value may become, by estimate: a byte can be an object
const SHORT_KEY = 24; // bytes; below this the length of a text is within the first byte
const SHORT_TEXT = 48; // bytes; below this a loop is faster than TextDecoder
const CACHED_KEYS = 256; // a power of two

const { prototype: arrayPrototype } = Array;
const { defineProperty, prototype: objectPrototype } = Object;
const { hasOwnProperty: hasOwn } = objectPrototype;
const { fromCharCode } = String;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The value that the bytes of a data type are.
 *
 * @param {number} code of the data type
 * @param {Uint8Array} bytes
 * @returns {unknown}
 * @throws {MessagingError} INVALID_DATA
 */
export function read(code, bytes) {
  return code === TYPE_BINARY ? new Uint8Array(bytes) : new Reader(bytes).readTyped(code);
}

/** The reader of one value. */
class Reader {
  #bytes;
  #at = 0;
  #end;
  #left = MAX_BUILT;

  constructor(bytes) {
    this.#bytes = bytes;
    this.#end = bytes.length;
  }

  readTyped(code) {
    if (code === TYPE_RECORD_V2) {
      for (const byte of this.#bytes) if (byte < 3) this.#spend(64);
      return this.#end > 0 ? this.#readUtf8(this.#end).split("\x01").map(splitRecord) : [];
    }
    const value = code === TYPE_JSON ? this.#read(0) : this.#readScalar(code);
    if (this.#at < this.#end) this.#malformed("bytes are left over");
    return value;
  }

  #malformed(text) {
    const message = `malformed value, at byte ${this.#at} of ${this.#end}: ${text}`;
    throw new MessagingError("INVALID_DATA", message, "failed");
  }

  /** What comes next takes so many bytes of memory. */
  #spend(bytes) {
    this.#left -= bytes;
    if (this.#left < 0) this.#malformed("too large");
  }

  #readScalar(code) {
    this.#skipTags();
    const first = this.#bytes[this.#at];
    if (first === 0xf6 || first === 0xf7) {
      this.#at++;
      return null;
    }
    const major = first >> 5;
    const fits = code === TYPE_STRING ? major === 3 : code === TYPE_INT64 ? major < 2 : first > 0xf8 && first < 0xfc;
    if (!fits && this.#at < this.#end) this.#malformed(`not of type ${new Map(TYPE_NAMES).get(code)}`);
    const value = this.#read(0);
    if (code !== TYPE_INT64) return value;
    const integer = BigInt(value);
    // 2^63 is one too many, but the official Python client sends it.
    if (BigInt.asIntN(64, integer) !== integer && integer !== 2n ** 63n) this.#malformed("an int64 beyond 64 bits");
    return integer;
  }

  /** One CBOR item that is within `depth` containers. */
  #read(depth) {
    if (this.#at >= this.#end) this.#malformed("it is cut short");
    const first = this.#bytes[this.#at++];
    const low = first & 31;
    switch (first >> 5) {
      case 0:
        return this.#readArgument(low);
      case 1: {
        const n = this.#readArgument(low);
        return n < Number.MAX_SAFE_INTEGER ? -1 - n : -1n - BigInt(n);
      }
      case 2:
        return this.#readBytes(low);
      case 3:
        return this.#readText(low);
      case 4:
        return this.#readArray(low, depth);
      case 5:
        return this.#readMap(low, depth);
      case 6:
        this.#at--;
        this.#skipTags();
        return this.#read(depth);
      default:
        return this.#readSimple(low);
    }
  }

  /** An item behind a head that is marked: an integer of eight bytes is a bigint (section 7.1). */
  #readMarked(depth) {
    const first = this.#bytes[this.#at];
    const value = this.#read(depth);
    return first === 0x1b || first === 0x3b ? BigInt(value) : value;
  }

  #skipTags() {
    for (let count = 0; this.#bytes[this.#at] >> 5 === 6; count++) {
      if (count === MAX_DEPTH) this.#malformed("too many tags");
      this.#readArgument(this.#bytes[this.#at++] & 31);
    }
  }

  /** The argument of a head: a number, or a bigint beyond the safe integers. */
  #readArgument(low) {
    if (low < 24) return low;
    if (low > 27) this.#badHead();
    if (low < 27) return this.#readUnsigned(1 << (low - 24));
    const high = this.#readUnsigned(4);
    const rest = this.#readUnsigned(4);
    return high < 0x200000 ? high * 0x100000000 + rest : (BigInt(high) << 32n) | BigInt(rest);
  }

  #readUnsigned(size) {
    this.#need(size);
    let n = 0;
    for (const stop = this.#at + size; this.#at < stop; this.#at++) n = n * 256 + this.#bytes[this.#at];
    return n;
  }

  #need(size) {
    if (size > this.#end - this.#at) this.#malformed("it is cut short");
  }

  #badHead() {
    this.#at--;
    this.#malformed(`0x${this.#bytes[this.#at].toString(16)} is not allowed here`);
  }

  /** The length of text or bytes, which are all there. */
  #readLength(low) {
    const length = this.#readArgument(low);
    this.#need(length);
    return length;
  }

  #readSimple(low) {
    switch (low) {
      case 20:
        return false;
      case 21:
        return true;
      case 24:
        if (this.#readUnsigned(1) < 32) this.#badHead();
        return null;
      case 25:
        return this.#readHalf();
      case 26:
        float.setUint32(0, this.#readUnsigned(4));
        return float.getFloat32(0);
      case 27:
        float.setUint32(0, this.#readUnsigned(4));
        float.setUint32(4, this.#readUnsigned(4));
        return float.getFloat64(0);
      default:
        if (low > 27) this.#badHead();
        return null; // so is undefined, and what no standard gives a meaning to
    }
  }

  #readHalf() {
    const bits = this.#readUnsigned(2);
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let value = (1024 + fraction) * 2 ** (exponent - 25);
    if (exponent === 0) value = fraction * 2 ** -24;
    if (exponent === 31) value = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    return bits & 0x8000 ? -value : value;
  }

  #readArray(low, depth) {
    const array = [];
    let i = 0;
    for (let left = this.#enter(low, depth, 1); left !== 0; left--) {
      if (low === 31 && this.#isEnd()) break;
      const value = low === 27 ? this.#readMarked(depth + 1) : this.#read(depth + 1);
      if (i in arrayPrototype) define(array, i, value);
      else array[i] = value;
      i++;
    }
    return array;
  }

  #readMap(low, depth) {
    const object = {};
    for (let left = this.#enter(low, depth, 2); left !== 0; left--) {
      if (low === 31 && this.#isEnd()) break;
      const isMarked = this.#bytes[this.#at] === 0x7b;
      const key = this.#readKey();
      const value = isMarked ? this.#readMarked(depth + 1) : this.#read(depth + 1);
      // Assigning would call a setter of the prototype, be it that of `__proto__` or one that the page has put there,
      // and would throw if the prototype is frozen.
      if (hasOwn.call(objectPrototype, key)) define(object, key, value);
      else object[key] = value;
    }
    return object;
  }

  /** The number of members, which can all be there as far as one can tell; negative if an end will tell. */
  #enter(low, depth, bytesEach) {
    if (depth === MAX_DEPTH) this.#malformed("nested too deep");
    this.#spend(64);
    if (low === 31) return -1;
    const count = this.#readArgument(low);
    if (count > (this.#end - this.#at) / bytesEach) this.#malformed("it is cut short");
    return count;
  }

  /** Steps over the end of something of unknown length, if that comes next. */
  #isEnd() {
    if (this.#bytes[this.#at] !== 0xff) return false;
    this.#at++;
    return true;
  }

  #readKey() {
    this.#spend(160);
    const bytes = this.#bytes;
    const length = bytes[this.#at] - 0x60;
    if (!(length >= 0 && length < SHORT_KEY && length < this.#end - this.#at)) return this.#readOtherKey();
    const start = ++this.#at;
    const hash = length * 7 + bytes[start] * 31 + bytes[start + (length >> 1)] * 5 + bytes[start + length - 1];
    const slot = hash & (CACHED_KEYS - 1);
    const cached = keys[slot];
    if (cached.length === length) {
      let i = 0;
      while (i < length && cached.charCodeAt(i) === bytes[start + i]) i++;
      if (i === length) {
        this.#at += length;
        // The members of an object like one before it cost little, unless their keys are numbers.
        if (nextSlots[lastSlot] === slot && bytes[start] > 57) this.#left += 128;
        lastSlot = nextSlots[lastSlot] = slot;
        return cached;
      }
    }
    const key = this.#readUtf8(length);
    if (key.length === length) keys[slot] = key;
    return key;
  }

  #readOtherKey() {
    this.#skipTags();
    const major = this.#bytes[this.#at] >> 5;
    if (this.#at < this.#end && major > 1 && major !== 3) this.#malformed("a key must be text or an integer");
    return `${this.#read(0)}`;
  }

  #readText(low) {
    if (low !== 31) return this.#readUtf8(this.#readLength(low));
    let text = "";
    while (!this.#isEnd()) text += this.#readUtf8(this.#readPart(0x60));
    return text;
  }

  #readBytes(low) {
    this.#spend(256);
    if (low !== 31) {
      const length = this.#readLength(low);
      this.#at += length;
      return new Uint8Array(this.#bytes.subarray(this.#at - length, this.#at));
    }
    // Twice: first to add up.
    const start = this.#at;
    let bytes;
    for (;;) {
      let total = 0;
      while (!this.#isEnd()) {
        const length = this.#readPart(0x40);
        bytes?.set(this.#bytes.subarray(this.#at, this.#at + length), total);
        this.#at += length;
        total += length;
      }
      if (bytes) return bytes;
      bytes = new Uint8Array(total);
      this.#at = start;
    }
  }

  #readPart(major) {
    this.#need(1);
    const low = this.#bytes[this.#at++] - major;
    if (low < 0 || low > 30) this.#badHead();
    return this.#readLength(low);
  }

  /** The next `length` bytes, which are there, as text. */
  #readUtf8(length) {
    this.#spend(32);
    const text = textAt(this.#bytes, this.#at, length) ?? this.#malformed("text that is not UTF-8");
    this.#at += length;
    return text;
  }
}

/** The text that `length` bytes at `start` are; undefined if they are not UTF-8. */
export function textAt(bytes, start, length) {
  const end = start + length;
  if (length < SHORT_TEXT) {
    let any = 0;
    for (let i = start; i < end; i++) any |= bytes[i];
    if (any < 0x80) return ascii(bytes, start, length);
    const text = shortUtf8(bytes, start, end);
    if (text) return text;
  }
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    // It is not.
  }
}

function splitRecord(record) {
  return record.split("\x02");
}

function define(target, key, value) {
  defineProperty(target, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

/** For the bits of a number; nothing stays in it from one use to the next. */
const float = new DataView(new ArrayBuffer(8));

/** Keys that were read lately, by a hash of their bytes, so that equal keys are one string; only ASCII. */
const keys = new Array(CACHED_KEYS).fill("");

/** By the place of a key in them, that of the one which came after it the last time. */
const nextSlots = new Uint8Array(CACHED_KEYS);
let lastSlot = 0;

/** The `n` ASCII characters of `b` at `i`. With its arguments written out, fromCharCode takes a third of the time. */
function ascii(b, i, n) {
  switch (n) {
    case 0:
      return "";
    case 1:
      return fromCharCode(b[i]);
    case 2:
      return fromCharCode(b[i], b[i + 1]);
    case 3:
      return fromCharCode(b[i], b[i + 1], b[i + 2]);
    case 4:
      return fromCharCode(b[i], b[i + 1], b[i + 2], b[i + 3]);
    case 5:
      return fromCharCode(b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4]);
    case 6:
      return fromCharCode(b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4], b[i + 5]);
    case 7:
      return fromCharCode(b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4], b[i + 5], b[i + 6]);
    case 8:
      return fromCharCode(b[i], b[i + 1], b[i + 2], b[i + 3], b[i + 4], b[i + 5], b[i + 6], b[i + 7]);
  }
  const units = new Array(n);
  for (let k = 0; k < n; k++) units[k] = b[i + k];
  return fromCharCode.apply(undefined, units);
}

/** The text from `i` to `end`; undefined if it is ill-formed or has a character above U+FFFF. */
function shortUtf8(bytes, i, end) {
  const units = [];
  while (i < end) {
    let unit = bytes[i++];
    if (unit > 0x7f) {
      // Six bits each; more than that, and it is no continuation. An end too early gives a bit more, too.
      const next = (i < end ? bytes[i++] : 0) ^ 0x80;
      if (next > 63 || unit < 0xc2 || unit > 0xef) return undefined;
      if (unit < 0xe0) {
        unit = ((unit & 31) << 6) | next;
      } else {
        const last = (i < end ? bytes[i++] : 0) ^ 0x80;
        unit = ((unit & 15) << 12) | (next << 6) | last;
        if (last > 63 || unit < 0x800 || (unit & 0xf800) === 0xd800) return undefined;
      }
    }
    units.push(unit);
  }
  return fromCharCode.apply(undefined, units);
}
