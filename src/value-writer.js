// Writes JavaScript values as the bytes of the data types (docs/protocol.md, section 7).
//
// While a value is read, code of the application may run (getters, toJSON, proxies), throw, and have another value
// written: each value has a writer of its own, and its bytes belong to whoever asked for them.

import { TextEncoder } from "./host.js";
import { TYPE_BINARY, TYPE_DOUBLE, TYPE_INT64, TYPE_RECORD_V2, TYPE_STRING } from "./tables.js";
import { MAX_DEPTH } from "./value-reader.js";

const SLAB = 16384; // bytes that are allocated at a time
const LEAST = 512; // bytes that a writer begins with
const SHORT_TEXT = 64; // code units; below this a loop is faster than TextEncoder

// What an object is, where its class does not say it.
const PLAIN = 0;
const ARRAY = 1;
const FUNCTION = 2;

/** The classes whose instances have their content in properties, or none but what applications add. */
const OPEN = ["Object", "EventTarget", "DOMStringMap", "Storage"];

const { isArray } = Array;
const { is, getPrototypeOf, getOwnPropertyDescriptor, keys, prototype: objectPrototype } = Object;
const { hasOwnProperty: hasOwn, toString: describe } = objectPrototype;
const { isView } = ArrayBuffer;
const { toStringTag } = Symbol;
const { isInteger, isSafeInteger } = Number;
const encoder = new TextEncoder();
const loneSurrogate = /\p{Surrogate}/u; // with the flag u, a pair is one character and does not match

/**
 * The bytes of a value in a data type.
 *
 * @param {number} code of the data type
 * @param {unknown} value
 * @returns {Uint8Array} of whoever asked, but for the type `binary`: there it may be of the application
 * @throws {Fault}
 */
export function write(code, value) {
  if (code === TYPE_BINARY) return bytesOf(value) ?? fail("is not a Uint8Array, an ArrayBuffer or a view of one");
  if (code === TYPE_RECORD_V2) return encoder.encode(records(value));
  return new Writer().writeTyped(code, value);
}

const NONE = new Uint8Array(0);

/**
 * What of the last slab no value has: a buffer for each value would take longer than writing it. No byte is given out
 * twice, so all that values have in common is when they are let go. `NONE` while something is written.
 */
let unused = NONE;

/** How many bytes the last value had that was larger than a slab: the next one may be like it. */
let expected = SLAB;

/** A copy of bytes, in what is left of the slab if that is enough. */
export function copyOf(bytes) {
  const copy = unused.subarray(0, bytes.length);
  if (copy.length < bytes.length) return bytes.slice();
  copy.set(bytes);
  unused = unused.subarray(bytes.length);
  return copy;
}

// ---- What cannot be written ----

/** Why a value cannot be written: a text that goes on from the name of the value, and where in the value it is. */
export class Fault {
  #path = "";

  /** `Kind` is the class of the error that a data type throws for it, `cause` what the application threw. */
  constructor(text, Kind, cause) {
    Object.assign(this, { text, Kind, cause });
  }

  /** E.g. `.lines[3].price`; empty for the value itself. */
  get path() {
    return this.#path;
  }

  /** What stopped the writer, as a fault; whatever is none, the application threw. */
  static of(thrown) {
    // Not by instanceof, which a proxy would notice.
    const isOne = isObject(thrown) && #path in thrown;
    return isOne ? thrown : new Fault("threw while it was read", TypeError, thrown);
  }

  /** The same, seen from the container that has it as the member `key`. */
  static within(key, thrown) {
    const fault = Fault.of(thrown);
    if (key !== undefined) fault.#path = stepTo(key) + fault.#path;
    return fault;
  }
}

function fail(text, Kind = TypeError) {
  throw new Fault(text, Kind);
}

function stepTo(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

// ---- CBOR ----

/** The writer of one value. */
class Writer {
  #bytes = unused.length < LEAST ? new Uint8Array(SLAB) : unused;
  #at = 0;
  /** The containers around the member that is being written. */
  #around = [];

  constructor() {
    unused = NONE;
  }

  writeTyped(code, value) {
    if (value === undefined || value === null) this.#writeByte(0xf6);
    else if (code === TYPE_STRING) typeof value === "string" ? this.#writeText(value) : fail("is not a string");
    else if (code === TYPE_INT64) this.#writeInt64(value);
    else if (code === TYPE_DOUBLE) this.#writeDouble(typeof value === "bigint" ? exactDouble(value) : value);
    else if (this.#write(value, "") === false) this.#writeByte(0xf6);
    const bytes = this.#bytes;
    // Nothing huge is kept after a huge value.
    if (bytes.length <= SLAB) unused = bytes.subarray(this.#at);
    else expected = this.#at * 1.2;
    return bytes.subarray(0, this.#at);
  }

  /**
   * Writes a json value. Returns what concerns its container: false if it was undefined and nothing was written, true if
   * it is a bigint that has to be marked, the number if it is an integer of nine bytes.
   */
  #write(value, key) {
    this.#makeRoom(16);
    switch (typeof value) {
      case "string":
        return this.#writeText(value);
      case "number":
        if (!isSafeInteger(value) || is(value, -0)) return this.#writeDouble(value);
        this.#writeInteger(value);
        return value > 0xffffffff || value < -0x100000000 ? value : undefined;
      case "boolean":
        return this.#writeByte(value ? 0xf5 : 0xf4);
      case "bigint":
        return this.#around.length > 0 ? this.#writeBigint(value) : this.#writeInt64(value);
      case "undefined":
        return false;
      case "symbol":
        return fail("is a symbol");
      default:
        return value === null ? this.#writeByte(0xf6) : this.#writeObject(value, key);
    }
  }

  #writeObject(value, key) {
    let kind = kindOf(value);
    if (kind !== "ArrayBuffer") {
      const { toJSON } = value;
      if (typeof toJSON === "function") {
        value = toJSON.call(value, `${key}`);
        if (!isObject(value) && typeof value !== "function") return this.#write(value, key);
        kind = kindOf(value);
      }
    }
    if (kind !== PLAIN && kind !== ARRAY) {
      const written = this.#writeSpecial(value, kind);
      if (written !== null) return written;
    }
    const around = this.#around;
    for (let i = around.length; i-- > 0; ) if (around[i] === value) fail("is a cycle: it contains itself");
    if (around.length === MAX_DEPTH) fail(`is within ${MAX_DEPTH} objects and arrays, no more is allowed`, RangeError);
    around.push(value);
    let hasEnd = true;
    if (kind === ARRAY) hasEnd = this.#writeArray(value);
    else if (kind === "Set") hasEnd = this.#writeArray([...value]);
    else this.#writeMembers(value, kind === "Map");
    around.pop();
    this.#makeRoom(1);
    if (hasEnd) this.#writeByte(0xff);
  }

  /** Writes what is no list of members, and returns what `#write` does; for a list of members it returns null. */
  #writeSpecial(value, kind) {
    switch (kind) {
      case "Map":
      case "Set":
        return null;
      case FUNCTION:
        return fail("is a function");
      case "Promise":
        return fail("is a promise that nobody waited for");
      case "ArrayBuffer":
        return this.#writeBytes(bytesOf(value));
      case "Number":
      case "String":
      case "Boolean":
      case "BigInt":
        return this.#write(value.valueOf());
      case "Error":
      case "DOMException":
        return this.#write({ name: value.name, message: value.message });
      default:
        if (OPEN.includes(kind) && keys(value).length > 0) return null;
        return fail(
          `${kind === "Object" ? "has no properties of its own" : `is of class ${kind}`} and would arrive empty: ` +
            "send what is in it, such as await blob.bytes() or Object.fromEntries(form)",
        );
    }
  }

  /** Returns whether an end has to follow. */
  #writeArray(array) {
    const start = this.#at;
    this.#writeByte(0x9f);
    const { length } = array;
    let index = 0;
    let isMarked = false;
    let numbers; // those of nine bytes, and where they begin
    try {
      for (; index < length; index++) {
        const written = this.#write(array[index], index);
        if (written === undefined) continue;
        if (written === false) this.#writeByte(0xf6);
        else if (written === true) isMarked = true;
        else if (numbers) numbers.push([this.#at - 9, written]);
        else numbers = [[this.#at - 9, written]];
      }
    } catch (thrown) {
      throw Fault.within(index, thrown);
    }
    if (!isMarked) return true;
    // All integers of eight bytes will be bigints in there.
    const end = this.#at;
    for (const [at, number] of numbers ?? []) {
      this.#at = at;
      this.#writeDouble(number);
    }
    this.#at = end;
    this.#mark(start, 1, 0x9b, length);
    return false;
  }

  #writeMembers(object, isMap) {
    this.#writeByte(0xbf);
    let key;
    try {
      if (isMap) {
        for (const [name, value] of object) {
          key = undefined;
          if (typeof name !== "string") fail("has a key that is not a string: send [...map]");
          key = name;
          this.#writeMember(key, value);
        }
      } else {
        for (key in object) if (hasOwn.call(object, key)) this.#writeMember(key, object[key]);
      }
    } catch (thrown) {
      throw Fault.within(key, thrown);
    }
  }

  #writeMember(key, value) {
    if (value === undefined) return;
    const start = this.#at;
    this.#writeText(key);
    const end = this.#at;
    const written = this.#write(value, key);
    if (written === false) {
      this.#at = start;
    } else if (written === true) {
      const low = this.#bytes[start] & 31;
      const size = low < 24 ? 1 : 1 + (1 << (low - 24));
      this.#mark(start, size, 0x7b, end - start - size);
    }
  }

  /** Puts a head of nine bytes in the place of the one at `start`, of `size` bytes: it tells bigints (section 7.1). */
  #mark(start, size, first, count) {
    this.#makeRoom(8);
    const end = this.#at + 9 - size;
    this.#bytes.copyWithin(start + 9, start + size, this.#at);
    this.#at = start;
    this.#writeLong(first, 0, count);
    this.#at = end;
  }

  #makeRoom(room) {
    if (this.#bytes.length - this.#at < room) this.#grow(room);
  }

  #grow(room) {
    const larger = new Uint8Array(Math.max(expected, this.#bytes.length * 4, this.#at + room));
    larger.set(this.#bytes);
    this.#bytes = larger;
  }

  /** There must be room for it, as for a head and for a number. */
  #writeByte(byte) {
    this.#bytes[this.#at++] = byte;
  }

  /** A major type with its argument, in the shortest form. There must be room for 9 bytes. */
  #writeHead(major, n) {
    if (n < 24) {
      this.#writeByte(major | n);
    } else if (n < 0x100) {
      this.#writeByte(major | 24);
      this.#writeByte(n);
    } else if (n < 0x10000) {
      this.#writeByte(major | 25);
      this.#writeUnsigned(n, 2);
    } else if (n < 0x100000000) {
      this.#writeByte(major | 26);
      this.#writeUnsigned(n, 4);
    } else {
      this.#writeLong(major | 27, n / 0x100000000, n);
    }
  }

  /** Nine bytes: the first, and two halves of four. */
  #writeLong(first, high, low) {
    this.#writeByte(first);
    this.#writeUnsigned(high, 4);
    this.#writeUnsigned(low, 4);
  }

  #writeUnsigned(n, size) {
    for (let shift = size * 8 - 8; shift >= 0; shift -= 8) this.#writeByte(n >>> shift);
  }

  #writeInteger(value) {
    if (value < 0) this.#writeHead(0x20, -1 - value);
    else this.#writeHead(0, value);
  }

  #writeInt64(value) {
    if (typeof value === "number") {
      if (!isInteger(value) || is(value, -0)) fail("is not an integer", RangeError);
      if (!isSafeInteger(value)) fail("is beyond the integers that a number holds exactly, use a bigint", RangeError);
    } else {
      if (typeof value !== "bigint") fail("is not an integer");
    }
    const number = Number(value);
    if (isSafeInteger(number)) this.#writeInteger(number);
    else this.#writeBigint(value);
  }

  /** In eight bytes, whatever its size; returns true if a number might be written so as well. */
  #writeBigint(value) {
    if (BigInt.asIntN(64, value) !== value) fail("is an integer beyond 64 bits", RangeError);
    const argument = value < 0n ? ~value : value;
    this.#writeLong(value < 0n ? 0x3b : 0x1b, Number(argument >> 32n), Number(argument & 0xffffffffn));
    return isSafeInteger(Number(value)) || undefined;
  }

  #writeDouble(value) {
    if (typeof value !== "number") fail("is not a number");
    // Always the same NaN: the bits of a computed one depend on the machine.
    double.setFloat64(0, Number.isNaN(value) ? Number.NaN : value);
    this.#writeLong(0xfb, double.getUint32(0), double.getUint32(4));
  }

  #writeBytes(bytes) {
    const { length } = bytes;
    this.#makeRoom(length + 9);
    this.#writeHead(0x40, length);
    this.#bytes.set(bytes, this.#at);
    this.#at += length;
  }

  #writeText(text) {
    const { length } = text;
    if (length >= SHORT_TEXT) {
      this.#writeLongText(text);
      return;
    }
    this.#makeRoom(length + 2);
    let bytes = this.#bytes;
    const at = this.#at;
    const start = length < 24 ? at + 1 : at + 2;
    let end = start;
    for (let i = 0; i < length; i++) {
      let code = text.charCodeAt(i);
      if (code < 0x80) {
        bytes[end++] = code;
        continue;
      }
      this.#makeRoom(length * 3 + 2);
      bytes = this.#bytes;
      if (code < 0x800) {
        bytes[end++] = 0xc0 | (code >> 6);
      } else {
        if ((code & 0xf800) === 0xd800) {
          const low = text.charCodeAt(++i);
          if (code > 0xdbff || (low & 0xfc00) !== 0xdc00) notText();
          code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
          bytes[end++] = 0xf0 | (code >> 18);
          bytes[end++] = 0x80 | ((code >> 12) & 0x3f);
        } else {
          bytes[end++] = 0xe0 | (code >> 12);
        }
        bytes[end++] = 0x80 | ((code >> 6) & 0x3f);
      }
      bytes[end++] = 0x80 | (code & 0x3f);
    }
    const size = end - start;
    if (size < 24) {
      bytes[at] = 0x60 | size;
    } else {
      if (length < 24) bytes.copyWithin(start + 1, start, end++);
      bytes[at] = 0x78;
      bytes[at + 1] = size;
    }
    this.#at = end;
  }

  #writeLongText(text) {
    this.#makeRoom(text.length * 3 + 9);
    const bytes = this.#bytes;
    // The text first, as far right as its head could ever need, for only then its size is known.
    const start = this.#at + 9;
    const { written } = encoder.encodeInto(text, bytes.subarray(start));
    if (written > text.length && loneSurrogate.test(text)) notText();
    this.#writeHead(0x60, written);
    bytes.copyWithin(this.#at, start, start + written);
    this.#at += written;
  }
}

/** For the bits of a number; nothing stays in it from one use to the next. */
const double = new DataView(new ArrayBuffer(8));

function exactDouble(integer) {
  const number = Number(integer);
  if (!isInteger(number) || BigInt(number) !== integer) fail("is an integer that no double equals", RangeError);
  return number;
}

function notText() {
  fail("has a lone surrogate, which is not text", RangeError);
}

/**
 * `PLAIN`, `ARRAY`, `FUNCTION`, or the name of a class of the language or the platform, "Object" for one of the application;
 * "ArrayBuffer" also for shared ones and for all views. Not by instanceof: it may come from another frame.
 */
function kindOf(value) {
  if (isArray(value)) return ARRAY;
  if (typeof value === "function") return FUNCTION;
  const prototype = getPrototypeOf(value);
  if (prototype === objectPrototype) return PLAIN;
  if (isView(value)) return "ArrayBuffer";
  // Object.prototype of another frame, or what has no prototype.
  if (prototype === null || getPrototypeOf(prototype) === null) return PLAIN;
  if (value[toStringTag] === undefined) {
    const text = describe.call(value);
    return text === "[object Object]" ? "Object" : text.slice(8, -1);
  }
  for (let at = prototype; at; at = getPrototypeOf(at)) {
    const tag = getOwnPropertyDescriptor(at, toStringTag);
    // As the platform defines it; an application writes a getter.
    if (tag?.writable === false) return tag.value.replace("SharedA", "A");
  }
  return "Object";
}

/** The bytes of a buffer or of a view, not copied; undefined for anything else. */
export function bytesOf(value) {
  if (!isObject(value) || kindOf(value) !== "ArrayBuffer") return undefined;
  // DataView throws for what has only the tag of a buffer.
  const { buffer, byteOffset, byteLength } = isView(value) ? value : new DataView(value);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

// ---- Records ----

/**
 * The text of records: fields joined by 0x02, records by 0x01. Without any bytes there are no records. So two things
 * cannot be said: a single record with a single empty field, and a record without fields.
 */
function records(value) {
  const list = each(value, "is not a list of records", recordText);
  if (list.length === 1 && list[0] === "") fail("is one empty field alone, which would read as no records", RangeError);
  return list.join("\x01");
}

function recordText(record) {
  const fields = each(record, "is not a list of fields", (field) => {
    if (typeof field !== "string") fail("is not a string");
    if (field.includes("\x01") || field.includes("\x02")) fail("has a separator, 0x01 or 0x02, in it", RangeError);
    if (loneSurrogate.test(field)) notText();
    return field;
  });
  if (fields.length === 0) fail("is a record without fields", RangeError);
  return fields.join("\x02");
}

function each(list, otherwise, read) {
  if (!isArray(list)) fail(otherwise);
  const results = [];
  let index = 0;
  try {
    for (const { length } = list; index < length; index++) results[index] = read(list[index]);
  } catch (thrown) {
    throw Fault.within(index, thrown);
  }
  return results;
}
