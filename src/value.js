// JavaScript values as the bytes of the six data types, and back (docs/protocol.md, section 7). Everything else in the
// client carries a value as (type, bytes) and never looks inside.
//
// While a value to send is read, code of the application may run (getters, toJSON, proxies), throw, and call `encode`
// again; `serialise` puts the state of the writer aside for that. Reading bytes runs no code of the application.

import { MessagingError } from "./error.js";
import { named } from "./platform.js";

const BINARY = 14;
const JSON_TYPE = 15;
const STRING = 17;
const INT64 = 18;
const DOUBLE = 19;
const RECORD_V2 = 20;

const MAX_DEPTH = 256; // containers within one another, written and read alike
const KEPT_BYTES = 65536; // of the scratch buffer, from one call to the next
const SHORT_TEXT = 64; // code units; below this a loop is faster than TextEncoder
const SHORT_BYTES = 24; // below this a loop is faster than TextDecoder; such a length is within the first byte
const CACHED_KEYS = 256; // a power of two

const { isArray, prototype: arrayPrototype } = Array;
const { is, defineProperty, freeze, getPrototypeOf, prototype: objectPrototype } = Object;
const { hasOwnProperty: hasOwn, toString: describe } = objectPrototype;
const { isInteger, isSafeInteger } = Number;
const { fromCharCode } = String;
const { isView } = ArrayBuffer;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const loneSurrogate = /\p{Surrogate}/u; // with the flag u, a pair is one character and does not match

/** The name on the wire by the code. */
const names = [];
names[JSON_TYPE] = "json";
names[STRING] = "string";
names[INT64] = "int64";
names[DOUBLE] = "double";
names[BINARY] = "binary";
names[RECORD_V2] = "record_v2";

/** The code by all that can name a data type: its number, its name, its member of `datatypes`. */
const codes = new Map([["recordv2", RECORD_V2]]);

/** The code and the bytes of a DataValue, false for anything else; runs no code of the application. */
let contents;

/** A value with its data type: what a call of a data type returns. Keeps the value as it was at that call. */
export class DataValue {
  #code;
  #bytes;

  static {
    contents = (value) => isObject(value) && #code in value && { code: value.#code, bytes: value.#bytes };
  }

  constructor(key, code, bytes) {
    if (key !== codes) throw new TypeError("a data type makes a DataValue, for example datatypes.INT64(5n)");
    this.#code = code;
    this.#bytes = bytes;
  }

  /** @returns {string} */
  get typeName() {
    return names[this.#code];
  }

  /** @returns {number} */
  get typeCode() {
    return this.#code;
  }

  /** The value as its recipient will read it; objects and arrays are new at each access. */
  get value() {
    return parse(this.#code, this.#bytes);
  }

  /** @returns {Uint8Array} a copy of the bytes on the wire */
  toBytes() {
    return this.#bytes.slice();
  }

  /** Within a json value, and for JSON.stringify, a DataValue stands for its value. */
  toJSON() {
    return this.value;
  }
}

named("DataValue", DataValue);

/**
 * The data types. Each one makes a typed value when called (`datatypes.INT64(5n)`) and throws TypeError or RangeError
 * for what it cannot hold; `fromBytes` reads a value from its bytes on the wire.
 *
 * INT64 takes a bigint or a safe integer, but not -0, whose sign it would lose. DOUBLE takes a number or a bigint that
 * equals one. STRING, INT64, DOUBLE and JSON take null. RECORD_V2 takes a list of records, which are lists of strings.
 */
export const datatypes = freeze({
  JSON: dataType(JSON_TYPE),
  STRING: dataType(STRING),
  INT64: dataType(INT64),
  DOUBLE: dataType(DOUBLE),
  BINARY: dataType(BINARY),
  RECORD_V2: dataType(RECORD_V2),
});

function dataType(code) {
  const type = (value) => {
    try {
      return new DataValue(codes, code, serialise(value, code).slice());
    } catch (thrown) {
      const { path, text, Kind, cause } = located(thrown);
      throw new Kind(`value${path} ${text}`, cause === undefined ? undefined : { cause });
    }
  };
  const fromBytes = (bytes) => {
    const view = bytesOf(bytes);
    if (!view) throw new TypeError("fromBytes takes a Uint8Array, an ArrayBuffer or a view of one");
    return parse(code, new Uint8Array(view));
  };
  codes.set(code, code).set(names[code], code).set(type, code);
  return freeze(Object.assign(type, { typeName: names[code], typeCode: code, fromBytes }));
}

/**
 * The number of a data type.
 *
 * @param {unknown} type a member of `datatypes`, a name in any case, or a number
 * @returns {number} 0 for undefined and null
 * @throws {MessagingError} INVALID_ARGUMENT
 */
export function typeCode(type) {
  if (type === undefined || type === null) return 0;
  const isText = typeof type === "string";
  const code = codes.get(isText ? type.toLowerCase() : type) ?? codeOfOther(type);
  if (code) return code;
  const what = isText ? JSON.stringify(type) : typeof type === "number" ? type : `of type ${typeof type}`;
  const known = names.filter(Boolean).join(", ");
  throw new MessagingError("INVALID_ARGUMENT", `unknown data type ${what}, known are ${known}`, "not-sent");
}

/** The code of a data type of another copy of this package, which is known by its name. */
function codeOfOther(type) {
  try {
    return typeof type === "function" ? codes.get(type.typeName) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The name of a data type as it is on the wire.
 *
 * @param {number} code
 * @returns {string}
 */
export function typeName(code) {
  return names[code] ?? "unknown";
}

// ---- Writing ----

/**
 * The bytes of a value to send.
 *
 * @param {unknown} value may be a DataValue
 * @param {unknown} [type] what `typeCode` takes; without it the type of the DataValue, else by the kind of value
 * @returns {{ code: number, named: boolean, bytes: Uint8Array }} `named` tells whether a type was given, by `type` or
 *   by a DataValue. `bytes` must be copied before anything else here is called: it may be the scratch buffer, the
 *   buffer of the application or that of the DataValue.
 * @throws {MessagingError} INVALID_DATA, INVALID_ARGUMENT
 */
export function encode(value, type) {
  const given = typeCode(type) || contents(value).code || 0;
  try {
    const code = given || inferred(value);
    return { code, named: given > 0, bytes: serialise(value, code) };
  } catch (thrown) {
    const { path, text, cause } = located(thrown);
    throw new MessagingError("INVALID_DATA", `value${path} ${text}`, "not-sent", { cause });
  }
}

/**
 * The bytes of a request handler's answer: as `encode` has it where a type is named, else in the type of the request
 * if that can hold the value, else in the type by the kind of value.
 *
 * @param {unknown} value
 * @param {unknown} type
 * @param {number} requestCode data type of the request, 0 if unknown
 * @returns {{ code: number, named: boolean, bytes: Uint8Array }} see `encode`
 * @throws {MessagingError} INVALID_DATA, INVALID_ARGUMENT
 */
export function encodeAnswer(value, type, requestCode) {
  if (typeCode(type) || contents(value) || !names[requestCode]) return encode(value, type);
  // What json cannot hold no other type can, so that there is no second try (toJSON is not to be called twice).
  if (requestCode === JSON_TYPE) return { ...encode(value, JSON_TYPE), named: false };
  try {
    return { code: requestCode, named: false, bytes: serialise(value, requestCode) };
  } catch {
    return encode(value);
  }
}

function inferred(value) {
  switch (typeof value) {
    case "string":
      return STRING;
    case "number":
      return DOUBLE;
    case "bigint":
      return INT64;
    default:
      return bytesOf(value) ? BINARY : JSON_TYPE;
  }
}

/** Why a value cannot be sent. Nobody else sees this object: whatever else is caught, the application threw. */
let fault = {};

function fail(text, Kind = TypeError) {
  fault = { path: "", text, Kind };
  throw fault;
}

/** The fault behind something caught, and one step more of the path to it. */
function located(thrown, key) {
  if (thrown !== fault) fault = { path: "", text: "threw while it was read", Kind: TypeError, cause: thrown };
  if (key !== undefined) fault.path = stepTo(key) + fault.path;
  return fault;
}

function stepTo(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** The writer; unset while nothing is being written. */
let out;
let view; // of the same bytes
let at;
let around; // the containers around the member that is being written

let spare = scratch(1024); // unset while in use

function scratch(size) {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

function serialise(value, code) {
  const typed = contents(value);
  if (typed) {
    if (typed.code === code) return typed.bytes;
    value = converted(parse(typed.code, typed.bytes), typed.code, code);
    if (value === undefined) fail(`is of type ${names[typed.code]}, not ${names[code]}`);
  }
  if (code === BINARY) return bytesOf(value) ?? fail("is not a Uint8Array, an ArrayBuffer or a view of one");
  if (code === RECORD_V2) return encoder.encode(records(value));

  const outer = { out, view, at, around };
  const mine = spare ?? scratch(1024);
  spare = undefined;
  ({ bytes: out, view } = mine);
  at = 0;
  around = [];
  try {
    if (value === undefined || value === null) out[at++] = 0xf6;
    else if (code === STRING) typeof value === "string" ? writeText(value) : fail("is not a string");
    else if (code === INT64) writeInt64(value);
    else if (code === DOUBLE) writeDouble(typeof value === "bigint" ? exactDouble(value) : value);
    else if (!write(value, "")) out[at++] = 0xf6;
    return out.subarray(0, at);
  } finally {
    spare = out === mine.bytes || out.length > KEPT_BYTES ? mine : { bytes: out, view };
    ({ out, view, at, around } = outer);
  }
}

/** Writes a member of a json value; for undefined it writes nothing and returns false. */
function write(value, key) {
  if (out.length - at < 16) grow(16);
  switch (typeof value) {
    case "string":
      writeText(value);
      return true;
    case "number":
      if (isSafeInteger(value) && !is(value, -0)) writeInteger(value);
      else writeDouble(value);
      return true;
    case "boolean":
      out[at++] = value ? 0xf5 : 0xf4;
      return true;
    case "bigint":
      writeInt64(value);
      return true;
    case "undefined":
      return false;
    case "symbol":
      return fail("is a symbol");
    default:
      if (value !== null) return writeObject(value, key);
      out[at++] = 0xf6;
      return true;
  }
}

function writeObject(value, key) {
  let kind = kindOf(value);
  if (kind !== "ArrayBuffer") {
    const { toJSON } = value;
    if (typeof toJSON === "function") {
      value = toJSON.call(value, `${key}`);
      if (!isObject(value) && typeof value !== "function") return write(value, key);
      kind = kindOf(value);
    }
  }
  if (kind !== PLAIN && kind !== ARRAY && writeSpecial(value, kind)) return true;
  for (let i = around.length; i-- > 0; ) if (around[i] === value) fail("is a cycle: it contains itself");
  if (around.length === MAX_DEPTH) fail(`is within ${MAX_DEPTH} objects and arrays, no more is allowed`, RangeError);
  around.push(value);
  if (kind === ARRAY) writeArray(value);
  else writeMembers(value, kind === "Map");
  around.pop();
  if (at === out.length) grow(1);
  out[at++] = 0xff;
  return true;
}

/** Writes what is no list of members and returns true, else false. */
function writeSpecial(value, kind) {
  switch (kind) {
    case FUNCTION:
      return fail("is a function");
    case "Promise":
      return fail("is a promise that nobody waited for");
    case "ArrayBuffer":
      writeBytes(bytesOf(value));
      return true;
    case "Number":
      return write(Number(value));
    case "String":
      return write(String(value));
    case "Boolean":
      return write(Boolean.prototype.valueOf.call(value));
    case "BigInt":
      return write(BigInt.prototype.valueOf.call(value));
    default:
      return false;
  }
}

function writeArray(array) {
  out[at++] = 0x9f;
  const { length } = array;
  let index = 0;
  try {
    for (; index < length; index++) if (!write(array[index], index)) out[at++] = 0xf6;
  } catch (thrown) {
    throw located(thrown, index);
  }
}

function writeMembers(object, isMap) {
  out[at++] = 0xbf;
  let key;
  try {
    if (isMap) {
      for (const [name, value] of object) {
        key = undefined;
        if (typeof name !== "string") fail("has a key that is not a string");
        key = name;
        writeMember(key, value);
      }
    } else {
      for (key in object) if (hasOwn.call(object, key)) writeMember(key, object[key]);
    }
  } catch (thrown) {
    throw located(thrown, key);
  }
}

function writeMember(key, value) {
  if (value === undefined) return;
  const before = at;
  writeText(key);
  if (!write(value, key)) at = before;
}

const PLAIN = 0;
const ARRAY = 1;
const FUNCTION = 2;

/** One of the above, or the tag of the object; "ArrayBuffer" also for shared ones and for all views. */
function kindOf(value) {
  if (isArray(value)) return ARRAY;
  if (typeof value === "function") return FUNCTION;
  if (getPrototypeOf(value) === objectPrototype) return PLAIN;
  // By tag, not by instanceof: it may come from another frame.
  return isView(value) ? "ArrayBuffer" : describe.call(value).slice(8, -1).replace("SharedA", "A");
}

/** The bytes of a buffer or of a view, not copied; undefined for anything else. */
function bytesOf(value) {
  if (!isObject(value) || kindOf(value) !== "ArrayBuffer") return undefined;
  // DataView throws for what has only the tag of a buffer.
  const { buffer, byteOffset, byteLength } = isView(value) ? value : new DataView(value);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function isObject(value) {
  return typeof value === "object" && value !== null;
}

function grow(room) {
  const larger = scratch(Math.max(out.length * 2, at + room));
  larger.bytes.set(out.subarray(0, at));
  ({ bytes: out, view } = larger);
}

/** A major type with its argument, in the shortest form. There must be room for 9 bytes. */
function writeHead(major, n) {
  if (n < 24) {
    out[at++] = major | n;
  } else if (n < 0x100) {
    out[at++] = major | 24;
    out[at++] = n;
  } else if (n < 0x10000) {
    out[at++] = major | 25;
    out[at++] = n >> 8;
    out[at++] = n;
  } else {
    const isLong = n >= 0x100000000;
    out[at++] = major | (isLong ? 27 : 26);
    if (isLong) {
      view.setUint32(at, n / 0x100000000);
      at += 4;
    }
    view.setUint32(at, n);
    at += 4;
  }
}

function writeInteger(value) {
  if (value < 0) writeHead(0x20, -1 - value);
  else writeHead(0, value);
}

function writeInt64(value) {
  if (typeof value === "number") {
    if (!isInteger(value) || is(value, -0)) fail("is not an integer", RangeError);
    if (!isSafeInteger(value)) fail("is beyond the integers that a number holds exactly, use a bigint", RangeError);
  } else {
    if (typeof value !== "bigint") fail("is not an integer");
    if (BigInt.asIntN(64, value) !== value) fail("is an integer beyond 64 bits", RangeError);
  }
  const number = Number(value);
  if (isSafeInteger(number)) {
    writeInteger(number);
  } else {
    out[at++] = value < 0n ? 0x3b : 0x1b;
    view.setBigUint64(at, value < 0n ? ~value : value);
    at += 8;
  }
}

function writeDouble(value) {
  if (typeof value !== "number") fail("is not a number");
  out[at++] = 0xfb;
  // Always the same NaN: the bits of a computed one depend on the machine.
  view.setFloat64(at, Number.isNaN(value) ? Number.NaN : value);
  at += 8;
}

function exactDouble(integer) {
  const double = Number(integer);
  if (!isInteger(double) || BigInt(double) !== integer) fail("is an integer that no double equals", RangeError);
  return double;
}

function writeBytes(bytes) {
  const { length } = bytes;
  if (out.length - at < length + 9) grow(length + 9);
  writeHead(0x40, length);
  out.set(bytes, at);
  at += length;
}

function writeText(text) {
  const { length } = text;
  if (length >= SHORT_TEXT) {
    writeLongText(text);
    return;
  }
  if (out.length - at < SHORT_TEXT * 3) grow(SHORT_TEXT * 3);
  const bytes = out;
  const start = length < 24 ? at + 1 : at + 2;
  let end = start;
  for (let i = 0; i < length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      bytes[end++] = code;
      continue;
    }
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
  at = end;
}

function writeLongText(text) {
  const room = text.length * 3 + 9;
  if (out.length - at < room) grow(room);
  // The text first, as far right as its head could ever need, for only then its size is known.
  const start = at + 9;
  const { written } = encoder.encodeInto(text, out.subarray(start));
  if (written > text.length && loneSurrogate.test(text)) notText();
  writeHead(0x60, written);
  out.copyWithin(at, start, start + written);
  at += written;
}

function notText() {
  fail("has a lone surrogate, which is not text", RangeError);
}

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
    throw located(thrown, index);
  }
  return results;
}

// ---- Reading ----

/**
 * A value that arrived.
 *
 * @param {number} code its data type, 0 if the name on the wire is none of ours
 * @param {string} name that name
 * @param {Uint8Array} bytes nothing in the result refers to them
 * @param {number} wanted the data type to convert it to, 0 for as it is
 * @returns {unknown}
 * @throws {MessagingError} INCOMPATIBLE_DATATYPE, INVALID_DATA
 */
export function decode(code, name, bytes, wanted) {
  if (!names[code]) incompatible(`unknown data type ${JSON.stringify(name)}`);
  const value = parse(code, bytes);
  const result = wanted === 0 || wanted === code ? value : converted(value, code, wanted);
  if (result === undefined) incompatible(`this ${names[code]} value cannot be read as ${typeName(wanted)}`);
  return result;
}

function incompatible(text) {
  throw new MessagingError("INCOMPATIBLE_DATATYPE", text, "failed");
}

/** The value in another data type, undefined if it cannot be that without loss. */
function converted(value, from, to) {
  const toJson = to === JSON_TYPE && from !== BINARY && from !== RECORD_V2;
  if (value === null) return to === BINARY || to === RECORD_V2 ? undefined : null;
  if (from === INT64 && (toJson || to === DOUBLE)) {
    const number = Number(value);
    if (toJson ? isSafeInteger(number) : BigInt(number) === value) return number;
  }
  if (from === DOUBLE && to === INT64 && isInteger(value) && !is(value, -0)) {
    const integer = BigInt(value);
    if (BigInt.asIntN(64, integer) === integer) return integer;
  }
  return toJson ? value : undefined;
}

/** The reader. */
const nothing = new Uint8Array(0);
let input = nothing;
let pos;
let end;

const float = new DataView(new ArrayBuffer(8));
const keys = new Array(CACHED_KEYS).fill(""); // lately read, by a hash of their bytes; only ASCII

function parse(code, bytes) {
  if (code === BINARY) return new Uint8Array(bytes);
  input = bytes;
  pos = 0;
  end = bytes.length;
  try {
    if (code === RECORD_V2) return end > 0 ? readUtf8(end).split("\x01").map(splitRecord) : [];
    const value = code === JSON_TYPE ? read(0) : readScalar(code);
    if (pos < end) malformed("bytes are left over");
    return value;
  } finally {
    input = nothing;
  }
}

function splitRecord(record) {
  return record.split("\x02");
}

function malformed(text) {
  throw new MessagingError("INVALID_DATA", `malformed value, at byte ${pos} of ${end}: ${text}`, "failed");
}

function readScalar(code) {
  skipTags();
  const first = input[pos];
  if (first === 0xf6 || first === 0xf7) {
    pos++;
    return null;
  }
  const major = first >> 5;
  const fits = code === STRING ? major === 3 : code === INT64 ? major < 2 : first > 0xf8 && first < 0xfc;
  if (!fits && pos < end) malformed(`not of type ${names[code]}`);
  const value = read(0);
  if (code !== INT64) return value;
  const integer = BigInt(value);
  // 2^63 is one too many, but the official Python client sends it.
  if (BigInt.asIntN(64, integer) !== integer && integer !== 2n ** 63n) malformed("an int64 beyond 64 bits");
  return integer;
}

/** One CBOR item that is within `depth` containers. */
function read(depth) {
  if (pos >= end) malformed("it is cut short");
  const first = input[pos++];
  const low = first & 31;
  switch (first >> 5) {
    case 0:
      return readArgument(low);
    case 1: {
      const n = readArgument(low);
      return n < Number.MAX_SAFE_INTEGER ? -1 - n : -1n - BigInt(n);
    }
    case 2:
      return readBytes(low);
    case 3:
      return readText(low);
    case 4:
      return readArray(low, depth);
    case 5:
      return readMap(low, depth);
    case 6:
      pos--;
      skipTags();
      return read(depth);
    default:
      return readSimple(low);
  }
}

function skipTags() {
  for (let count = 0; input[pos] >> 5 === 6; count++) {
    if (count === MAX_DEPTH) malformed("too many tags");
    readArgument(input[pos++] & 31);
  }
}

/** The argument of a head: a number, or a bigint beyond the safe integers. */
function readArgument(low) {
  if (low < 24) return low;
  if (low > 27) badHead();
  if (low < 27) return readUnsigned(1 << (low - 24));
  const high = readUnsigned(4);
  const rest = readUnsigned(4);
  return high < 0x200000 ? high * 0x100000000 + rest : (BigInt(high) << 32n) | BigInt(rest);
}

function readUnsigned(size) {
  need(size);
  let n = 0;
  for (const stop = pos + size; pos < stop; pos++) n = n * 256 + input[pos];
  return n;
}

function need(size) {
  if (size > end - pos) malformed("it is cut short");
}

function badHead() {
  pos--;
  malformed(`0x${input[pos].toString(16)} is not allowed here`);
}

/** The length of text or bytes, which are all there. */
function readLength(low) {
  const length = readArgument(low);
  need(length);
  return length;
}

function readSimple(low) {
  switch (low) {
    case 20:
      return false;
    case 21:
      return true;
    case 24:
      if (readUnsigned(1) < 32) badHead();
      return null;
    case 25:
      return readHalf();
    case 26:
      float.setUint32(0, readUnsigned(4));
      return float.getFloat32(0);
    case 27:
      float.setUint32(0, readUnsigned(4));
      float.setUint32(4, readUnsigned(4));
      return float.getFloat64(0);
    case 22:
      return null;
    default:
      if (low > 27) badHead();
      return null; // undefined, and what no standard gives a meaning to
  }
}

function readHalf() {
  const bits = readUnsigned(2);
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  let value = (1024 + fraction) * 2 ** (exponent - 25);
  if (exponent === 0) value = fraction * 2 ** -24;
  if (exponent === 31) value = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  return bits & 0x8000 ? -value : value;
}

function readArray(low, depth) {
  const array = [];
  let i = 0;
  for (let left = enter(low, depth, 1); left !== 0; left--) {
    if (low === 31 && isEnd()) break;
    const value = read(depth + 1);
    if (i in arrayPrototype) define(array, i, value);
    else array[i] = value;
    i++;
  }
  return array;
}

function readMap(low, depth) {
  const object = {};
  for (let left = enter(low, depth, 2); left !== 0; left--) {
    if (low === 31 && isEnd()) break;
    const key = readKey();
    const value = read(depth + 1);
    // Assigning would call a setter of the prototype, be it that of `__proto__` or one that the page has put there,
    // and would throw if the prototype is frozen.
    if (hasOwn.call(objectPrototype, key)) define(object, key, value);
    else object[key] = value;
  }
  return object;
}

/** The number of members, which can all be there as far as one can tell; negative if an end will tell. */
function enter(low, depth, bytesEach) {
  if (depth === MAX_DEPTH) malformed("nested too deep");
  if (low === 31) return -1;
  const count = readArgument(low);
  if (count > (end - pos) / bytesEach) malformed("it is cut short");
  return count;
}

/** Steps over the end of something of unknown length, if that comes next. */
function isEnd() {
  if (input[pos] !== 0xff) return false;
  pos++;
  return true;
}

function define(target, key, value) {
  defineProperty(target, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

function readKey() {
  const length = input[pos] - 0x60;
  if (!(length >= 0 && length < SHORT_BYTES && length < end - pos)) return readOtherKey();
  const start = ++pos;
  const hash = length * 7 + input[start] * 31 + input[start + (length >> 1)] * 5 + input[start + length - 1];
  const slot = hash & (CACHED_KEYS - 1);
  const cached = keys[slot];
  if (cached.length === length) {
    let i = 0;
    while (i < length && cached.charCodeAt(i) === input[start + i]) i++;
    if (i === length) {
      pos += length;
      return cached;
    }
  }
  const key = readUtf8(length);
  if (key.length === length) keys[slot] = key;
  return key;
}

function readOtherKey() {
  skipTags();
  const major = input[pos] >> 5;
  if (pos < end && major > 1 && major !== 3) malformed("a key must be text or an integer");
  return `${read(0)}`;
}

function readText(low) {
  if (low !== 31) return readUtf8(readLength(low));
  let text = "";
  while (!isEnd()) text += readUtf8(readPart(0x60));
  return text;
}

function readBytes(low) {
  if (low !== 31) {
    const length = readLength(low);
    pos += length;
    return new Uint8Array(input.subarray(pos - length, pos));
  }
  // Twice: first to add up.
  const start = pos;
  let bytes;
  for (;;) {
    let total = 0;
    while (!isEnd()) {
      const length = readPart(0x40);
      bytes?.set(input.subarray(pos, pos + length), total);
      pos += length;
      total += length;
    }
    if (bytes) return bytes;
    bytes = new Uint8Array(total);
    pos = start;
  }
}

function readPart(major) {
  need(1);
  const low = input[pos++] - major;
  if (low < 0 || low > 30) badHead();
  return readLength(low);
}

/** The next `length` bytes, which are there, as text. */
function readUtf8(length) {
  const start = pos;
  pos += length;
  if (length < SHORT_BYTES) {
    let any = 0;
    for (let i = start; i < pos; i++) any |= input[i];
    if (any < 0x80) return ascii(start, length);
    const text = shortUtf8(start);
    if (text !== undefined) return text;
  }
  try {
    return decoder.decode(input.subarray(start, pos));
  } catch {
    pos = start;
    return malformed("text that is not UTF-8");
  }
}

/** The `n` ASCII characters at `i`. With its arguments written out, fromCharCode takes a third of the time. */
function ascii(i, n) {
  const b = input;
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

/** The text from `i` to `pos`; undefined if it is ill-formed or has a character above U+FFFF. */
function shortUtf8(i) {
  const units = [];
  while (i < pos) {
    let unit = input[i++];
    if (unit > 0x7f) {
      // Six bits each; more than that, and it is no continuation. An end too early gives a bit more, too.
      const next = (i < pos ? input[i++] : 0) ^ 0x80;
      if (next > 63 || unit < 0xc2 || unit > 0xef) return undefined;
      if (unit < 0xe0) {
        unit = ((unit & 31) << 6) | next;
      } else {
        const last = (i < pos ? input[i++] : 0) ^ 0x80;
        unit = ((unit & 15) << 12) | (next << 6) | last;
        if (last > 63 || unit < 0x800 || (unit & 0xf800) === 0xd800) return undefined;
      }
    }
    units.push(unit);
  }
  return fromCharCode.apply(undefined, units);
}
