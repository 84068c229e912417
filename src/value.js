// JavaScript values as the bytes of the six data types, and back (docs/protocol.md, section 7). Everything else in the
// client carries a value as (type, bytes) and never looks inside.
//
// While a value to send is read, code of the application may run (getters, toJSON, proxies), throw, and call `encode`
// again; `serialise` puts the state of the writer aside for that. Reading bytes runs no code of the application.

import { MessagingError } from "./error.js";

const BINARY = 14;
const JSON_TYPE = 15;
const STRING = 17;
const INT64 = 18;
const DOUBLE = 19;
const RECORD_V2 = 20;

const MAX_DEPTH = 256; // containers within one another, written and read alike
const KEPT_BYTES = 65536; // of the scratch buffer, from one call to the next
const SHORT_TEXT = 64; // code units; above this TextEncoder is faster than a loop
const SHORT_BYTES = 24; // above this TextDecoder is faster than a loop
const CACHED_KEYS = 256; // a power of two

const { isArray, prototype: arrayPrototype } = Array;
const { is, defineProperty, freeze, getPrototypeOf, prototype: objectPrototype } = Object;
const { isSafeInteger } = Number;
const { fromCharCode } = String;
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const loneSurrogate = /\p{Surrogate}/u; // with the flag u, a pair is one character and does not match

const names = new Map([
  [JSON_TYPE, "json"],
  [STRING, "string"],
  [INT64, "int64"],
  [DOUBLE, "double"],
  [BINARY, "binary"],
  [RECORD_V2, "record_v2"],
]);

/** All that can name a data type: its number, its name, its member of `datatypes`. */
const codes = new Map([["recordv2", RECORD_V2]]);

/** The code and the bytes of a DataValue, undefined for anything else; runs no code of the application. */
let contents;

/** A value with its data type: what a call of a data type returns. Keeps the value as it was at that call. */
export class DataValue {
  #code;
  #bytes;

  static {
    contents = (value) =>
      typeof value === "object" && value !== null && #code in value
        ? { code: value.#code, bytes: value.#bytes }
        : undefined;
  }

  constructor(key, code, bytes) {
    if (key !== codes) throw new TypeError("a DataValue is made by a data type, for example datatypes.INT64(5n)");
    this.#code = code;
    this.#bytes = bytes;
  }

  /** @returns {string} */
  get typeName() {
    return typeName(this.#code);
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

/**
 * The data types. Each one makes a typed value when called (`datatypes.INT64(5n)`) and throws TypeError or RangeError
 * for what it cannot hold; `fromBytes` reads a value from its bytes on the wire.
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
  const name = names.get(code);
  const type = (value) => {
    try {
      return new DataValue(codes, code, serialise(value, code).slice());
    } catch (thrown) {
      const { path, text, kind, cause } = located(thrown, "value");
      throw new kind(`${path} ${text}`, { cause });
    }
  };
  const fromBytes = (bytes) => {
    const view = bytesOf(bytes);
    if (!view) throw new TypeError("fromBytes takes a Uint8Array, an ArrayBuffer or a view of one");
    return parse(code, new Uint8Array(view));
  };
  codes.set(code, code).set(name, code).set(type, code);
  return freeze(Object.assign(type, { typeName: name, typeCode: code, fromBytes }));
}

/**
 * The number of a data type.
 *
 * @param {unknown} type a member of `datatypes`, a name in any case, or a number
 * @returns {number} 0 for undefined and null
 */
export function typeCode(type) {
  if (type === undefined || type === null) return 0;
  const code = codes.get(typeof type === "string" ? type.toLowerCase() : type);
  if (code) return code;
  const what = { string: () => JSON.stringify(type), number: String }[typeof type]?.(type) ?? `of type ${typeof type}`;
  const known = [...names.values()].join(", ");
  throw new MessagingError("INVALID_ARGUMENT", `unknown data type ${what}; known are ${known}`, "not-sent");
}

/**
 * @param {number} code
 * @returns {string} the name of a data type as it is on the wire
 */
export function typeName(code) {
  return names.get(code) ?? "unknown";
}

// ---- Writing ----

/**
 * The bytes of a value to send.
 *
 * @param {unknown} value may be a DataValue
 * @param {unknown} [type] what `typeCode` takes; without it the type of the DataValue, else by the kind of value
 * @returns {{ code: number, named: boolean, bytes: Uint8Array }} `named` tells whether a type was given, by `type` or
 *   by a DataValue. `bytes` must be copied before the next call of anything here: it may be the scratch buffer, the
 *   buffer of the application or that of the DataValue.
 * @throws {MessagingError} INVALID_DATA, INVALID_ARGUMENT
 */
export function encode(value, type) {
  const given = typeCode(type) || contents(value)?.code;
  try {
    const code = given ?? inferred(value);
    return { code, named: given !== undefined, bytes: serialise(value, code) };
  } catch (thrown) {
    const { path, text, cause } = located(thrown, "value");
    throw new MessagingError("INVALID_DATA", `${path} ${text}`, "not-sent", { cause });
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
  if (typeCode(type) || contents(value) || !names.has(requestCode)) return encode(value, type);
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

/** What `fail` threw last. The application never sees it, so that whatever else is caught is the application's. */
let fault = {};

function fail(text, kind = TypeError) {
  fault = { path: "", text, kind };
  throw fault;
}

/** The fault behind something caught, one step of the path further out. */
function located(thrown, step) {
  if (thrown !== fault) fault = { path: "", text: "threw while it was read", kind: TypeError, cause: thrown };
  fault.path = step + fault.path;
  return fault;
}

function stepTo(key) {
  if (typeof key === "number") return `[${key}]`;
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

/** The writer. Unset when nothing is being written. */
let out;
let view;
let at;
let around; // the containers around the member being written

let spare = scratch(1024); // undefined while in use

function scratch(size) {
  const bytes = new Uint8Array(size);
  return { bytes, view: new DataView(bytes.buffer) };
}

function serialise(value, code) {
  const typed = contents(value);
  if (typed) {
    if (typed.code === code) return typed.bytes;
    value = converted(parse(typed.code, typed.bytes), typed.code, code);
    if (value === undefined) fail(`of type ${typeName(typed.code)} cannot become ${typeName(code)} without loss`);
  }
  if (code === BINARY) return bytesOf(value) ?? fail("is not bytes: a Uint8Array, an ArrayBuffer or a view of one");
  if (code === RECORD_V2) return encoder.encode(records(value));

  const outer = { out, view, at, around };
  const mine = spare ?? scratch(1024);
  spare = undefined;
  ({ bytes: out, view } = mine);
  at = 0;
  around = [];
  try {
    if (value === undefined || value === null) out[at++] = 0xf6;
    else if (code === JSON_TYPE) write(value, "") || (out[at++] = 0xf6);
    else if (code === STRING) typeof value === "string" ? writeText(value) : fail("is not a string");
    else if (code === INT64) writeInt64(value);
    else writeDouble(typeof value === "bigint" ? exactDouble(value) : value);
    return out.subarray(0, at);
  } finally {
    spare = out.length <= KEPT_BYTES ? { bytes: out, view } : mine;
    ({ out, view, at, around } = outer);
  }
}

/** Writes a member of a json value; writes nothing and returns false if it is undefined. */
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

function writeObject(object, key) {
  let value = object;
  let kind = kindOf(value);
  if (kind !== "Bytes") {
    const { toJSON } = value;
    if (typeof toJSON === "function") {
      value = toJSON.call(value, String(key));
      if (value === null || (typeof value !== "object" && typeof value !== "function")) return write(value, key);
      kind = kindOf(value);
    }
  }
  switch (kind) {
    case "Function":
      return fail("is a function");
    case "Bytes":
      writeBytes(bytesOf(value));
      return true;
    case "Number":
      return write(Number(value), key);
    case "String":
      return write(String(value), key);
    case "Boolean":
      return write(Boolean.prototype.valueOf.call(value), key);
    case "BigInt":
      return write(BigInt.prototype.valueOf.call(value), key);
  }
  // No break in the loops may leave the list of containers wrong: whatever throws ends the whole call.
  if (around.includes(value)) fail("is a cycle: it contains itself");
  if (around.length === MAX_DEPTH) fail(`is within more than ${MAX_DEPTH - 1} containers`);
  around.push(value);
  if (kind === "Array") writeArray(value);
  else if (kind === "Map") writeMap(value);
  else writeMembers(value);
  around.pop();
  if (at === out.length) grow(1);
  out[at++] = 0xff;
  return true;
}

function writeArray(array) {
  out[at++] = 0x9f;
  const { length } = array;
  let index = 0;
  try {
    for (; index < length; index++) if (!write(array[index], index)) out[at++] = 0xf6;
  } catch (thrown) {
    throw located(thrown, stepTo(index));
  }
}

function writeMembers(object) {
  out[at++] = 0xbf;
  let key;
  try {
    const keys = Object.keys(object);
    for (let i = 0; i < keys.length; i++) {
      key = keys[i];
      writeMember(key, object[key]);
    }
  } catch (thrown) {
    throw located(thrown, key === undefined ? "" : stepTo(key));
  }
}

function writeMap(map) {
  out[at++] = 0xbf;
  let key;
  try {
    for (const [name, value] of map) {
      if (typeof name !== "string") {
        key = undefined;
        fail("has a key that is not a string");
      }
      key = name;
      writeMember(key, value);
    }
  } catch (thrown) {
    throw located(thrown, key === undefined ? "" : stepTo(key));
  }
}

function writeMember(key, value) {
  if (value === undefined) return;
  const before = at;
  writeText(key);
  if (!write(value, key)) at = before;
}

/** What an object is to json: Object, Array, Map, Bytes, Function, or the name of a boxed primitive. */
function kindOf(value) {
  if (isArray(value)) return "Array";
  if (typeof value === "function") return "Function";
  if (getPrototypeOf(value) === objectPrototype) return "Object";
  // By tag, not by instanceof: it may come from another frame.
  return ArrayBuffer.isView(value) ? "Bytes" : tagOf(value).replace(/^(Shared)?ArrayBuffer$/, "Bytes");
}

function tagOf(value) {
  return objectPrototype.toString.call(value).slice(8, -1);
}

/** A view of the bytes of a buffer or a view; undefined for anything else. */
function bytesOf(value) {
  if (typeof value !== "object" || value === null || kindOf(value) !== "Bytes") return undefined;
  return ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(value);
}

function grow(room) {
  const larger = scratch(Math.max(out.length * 2, at + room));
  larger.bytes.set(out.subarray(0, at));
  ({ bytes: out, view } = larger);
}

/** A major type and its argument, in the shortest form. There must be room for 9 bytes. */
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
  } else if (n < 0x100000000) {
    out[at++] = major | 26;
    view.setUint32(at, n);
    at += 4;
  } else {
    out[at++] = major | 27;
    view.setUint32(at, n / 0x100000000);
    view.setUint32(at + 4, n);
    at += 8;
  }
}

function writeInteger(value) {
  if (value < 0) writeHead(0x20, -1 - value);
  else writeHead(0, value);
}

function writeInt64(value) {
  if (isSafeInteger(value)) {
    if (is(value, -0)) fail("is -0, which is no integer", RangeError);
    writeInteger(value);
    return;
  }
  if (typeof value === "number") fail("is a number that int64 cannot hold exactly; use a bigint", RangeError);
  if (typeof value !== "bigint") fail("is not an integer");
  if (BigInt.asIntN(64, value) !== value) fail("is an integer beyond 64 bits", RangeError);
  const small = Number(value);
  if (isSafeInteger(small)) {
    writeInteger(small);
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
  view.setFloat64(at, value === value ? value : Number.NaN);
  at += 8;
}

function exactDouble(value) {
  const double = Number(value);
  if (!Number.isFinite(double) || BigInt(double) !== value) fail("is an integer that no double equals", RangeError);
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
  if (out.length - at < length * 3 + 9) grow(length * 3 + 9);
  const head = headBytes(length);
  const start = at + head;
  let end = start;
  if (length < SHORT_TEXT) {
    const bytes = out;
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
  } else {
    end += encoder.encodeInto(text, out.subarray(start)).written;
    if (end - start > length && loneSurrogate.test(text)) notText();
  }
  const size = end - start;
  const shift = headBytes(size) - head;
  if (shift > 0) out.copyWithin(start + shift, start, end);
  writeHead(0x60, size);
  at = end + shift;
}

function headBytes(n) {
  return n < 24 ? 1 : n < 0x100 ? 2 : n < 0x10000 ? 3 : 5;
}

function notText() {
  fail("has a lone surrogate, which is not text", RangeError);
}

/**
 * The text of records: fields joined by 0x02, records by 0x01. No bytes at all are no records. So two things cannot be
 * written: a single record with a single empty field, and a record without fields.
 */
function records(value) {
  const lines = each(value, "is not a list of records", (record) =>
    each(record, "is not a list of fields", (field) => {
      if (typeof field !== "string") fail("is not a string");
      if (/[\x01\x02]/.test(field)) fail("has a byte 1 or 2, which separate records and fields", RangeError);
      if (loneSurrogate.test(field)) notText();
      return field;
    }),
  );
  if (lines.length === 1 && lines[0].length === 1 && lines[0][0] === "") {
    fail("is one record with one empty field, which has the bytes of no record", RangeError);
  }
  return lines.map((fields) => fields.join("\x02") || (fields.length ? "" : fail("has no fields"))).join("\x01");
}

function each(list, otherwise, read) {
  if (!isArray(list)) fail(otherwise);
  const items = [];
  for (let i = 0; i < list.length; i++) {
    try {
      items.push(read(list[i]));
    } catch (thrown) {
      throw located(thrown, stepTo(i));
    }
  }
  return items;
}

// ---- Reading ----

/**
 * A value that arrived.
 *
 * @param {number} code its data type, 0 if the name on the wire is none of ours
 * @param {string} name that name
 * @param {Uint8Array} bytes nothing of the result refers to them
 * @param {number} wanted the data type to convert it to, 0 for as it is
 * @returns {unknown}
 * @throws {MessagingError} INCOMPATIBLE_DATATYPE, INVALID_DATA
 */
export function decode(code, name, bytes, wanted) {
  if (!names.has(code)) incompatible(`unknown data type ${JSON.stringify(name)}`);
  const value = parse(code, bytes);
  const result = wanted === 0 || wanted === code ? value : converted(value, code, wanted);
  if (result === undefined) incompatible(`${typeName(code)} value cannot be read as ${typeName(wanted)} without loss`);
  return result;
}

function incompatible(text) {
  throw new MessagingError("INCOMPATIBLE_DATATYPE", text, "failed");
}

/** The value in another data type, undefined if something would be lost. */
function converted(value, from, to) {
  const nullable = (code) => code !== BINARY && code !== RECORD_V2;
  if (value === null) return nullable(to) ? null : undefined;
  if (to === JSON_TYPE && nullable(from)) {
    const number = from === INT64 ? Number(value) : value;
    return from === INT64 && !isSafeInteger(number) ? value : number;
  }
  if (from === INT64 && to === DOUBLE) {
    const number = Number(value);
    return BigInt(number) === value ? number : undefined;
  }
  if (from === DOUBLE && to === INT64 && Number.isInteger(value) && !is(value, -0)) {
    const integer = BigInt(value);
    return BigInt.asIntN(64, integer) === integer ? integer : undefined;
  }
  return undefined;
}

/** The reader. */
const nothing = new Uint8Array(0);
let input = nothing;
let floats; // a DataView of the input, made for the first float
let pos;
let end;

const keys = new Array(CACHED_KEYS).fill(""); // lately read, by a hash of their bytes; ASCII only

function parse(code, bytes) {
  if (code === BINARY) return new Uint8Array(bytes);
  input = bytes;
  pos = 0;
  end = bytes.length;
  try {
    let value;
    if (code === RECORD_V2) {
      if (end === 0) return [];
      value = readUtf8(end)
        .split("\x01")
        .map((record) => record.split("\x02"));
    } else {
      value = code === JSON_TYPE ? read(0) : readScalar(code);
    }
    if (pos < end) malformed("bytes are left over");
    return value;
  } finally {
    input = nothing;
    floats = undefined;
  }
}

function malformed(text) {
  throw new MessagingError("INVALID_DATA", `malformed value: ${text}, at byte ${pos} of ${end}`, "failed");
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
  if (!fits) malformed(pos < end ? `it is no ${typeName(code)}` : "it ends too early");
  const value = read(0);
  if (code !== INT64) return value;
  const integer = BigInt(value);
  if (BigInt.asIntN(64, integer) !== integer) malformed("an int64 beyond 64 bits");
  return integer;
}

/** One CBOR item, `depth` containers deep. */
function read(depth) {
  if (pos >= end) malformed("it ends too early");
  const first = input[pos++];
  const low = first & 31;
  switch (first >> 5) {
    case 0:
      return readArgument(low);
    case 1: {
      const n = readArgument(low);
      return typeof n === "number" && n < Number.MAX_SAFE_INTEGER ? -1 - n : -1n - BigInt(n);
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
  for (let count = 0; pos < end && input[pos] >> 5 === 6; count++) {
    if (count === MAX_DEPTH) malformed(`more than ${MAX_DEPTH} tags in a row`);
    readArgument(input[pos++] & 31);
  }
}

/** The argument of a head: a number, or a bigint beyond the safe integers. */
function readArgument(low) {
  if (low < 24) return low;
  if (low > 27) malformed("a head that is not allowed here");
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

/** @param {number | bigint} size */
function need(size) {
  if (size > end - pos) malformed("it ends too early");
}

/** The length of text or bytes, all of which is there. */
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
      if (readUnsigned(1) < 32) malformed("a simple value in a form that is not allowed");
      return null;
    case 25:
      return readHalf();
    case 26:
    case 27: {
      const size = low === 26 ? 4 : 8;
      need(size);
      floats ??= new DataView(input.buffer, input.byteOffset, end);
      pos += size;
      return low === 26 ? floats.getFloat32(pos - 4) : floats.getFloat64(pos - 8);
    }
    case 28:
    case 29:
    case 30:
    case 31:
      pos--;
      return malformed(low === 31 ? "an end where a value should be" : "a head that is reserved");
    default:
      return null; // null, undefined, and what no standard gives a meaning to
  }
}

function readHalf() {
  const bits = readUnsigned(2);
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  let value = 2 ** (exponent - 25) * (1024 + fraction);
  if (exponent === 0) value = 2 ** -24 * fraction;
  if (exponent === 31) value = fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
  return bits & 0x8000 ? -value : value;
}

function readArray(low, depth) {
  const count = enter(low, depth, 1);
  const array = [];
  for (let i = 0; i !== count && !atEnd(count); i++) {
    const value = read(depth + 1);
    if (i in arrayPrototype) define(array, i, value);
    else array[i] = value;
  }
  return array;
}

function readMap(low, depth) {
  const count = enter(low, depth, 2);
  const object = {};
  for (let i = 0; i !== count && !atEnd(count); i++) {
    const key = readKey();
    const value = read(depth + 1);
    // To assign would call the setter of `__proto__`, or of whatever the page has put there, and would throw if the
    // prototype is frozen.
    if (key in objectPrototype) define(object, key, value);
    else object[key] = value;
  }
  return object;
}

/** The number of members, all of which may be there as far as one can tell; -1 if an end will tell. */
function enter(low, depth, bytesEach) {
  if (depth === MAX_DEPTH) malformed(`more than ${MAX_DEPTH} containers within one another`);
  if (low === 31) return -1;
  const count = readArgument(low);
  if (count > (end - pos) / bytesEach) malformed("it ends too early");
  return count;
}

/** Whether the end of a container, of text or of bytes of unknown length comes next; steps over it. */
function atEnd(count) {
  if (count !== -1 || input[pos] !== 0xff || pos >= end) return false;
  pos++;
  return true;
}

function define(target, key, value) {
  defineProperty(target, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
}

function readKey() {
  skipTags();
  const first = input[pos];
  if (pos < end && first >> 5 === 3) {
    pos++;
    if (first >= 0x60 + SHORT_BYTES) return readText(first & 31);
    const length = first & 31;
    need(length);
    const slot = (length * 7 + input[pos] * 31 + input[pos + (length >> 1)] * 5 + input[pos + length - 1]) & (CACHED_KEYS - 1);
    const cached = keys[slot];
    if (cached.length === length && isNext(cached)) {
      pos += length;
      return cached;
    }
    const key = readUtf8(length);
    if (key.length === length) keys[slot] = key;
    return key;
  }
  if (pos < end && first >> 5 < 2) return String(read(0));
  return malformed(pos < end ? "a key that is neither text nor an integer" : "it ends too early");
}

function isNext(text) {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) !== input[pos + i]) return false;
  return true;
}

function readText(low) {
  if (low !== 31) return readUtf8(readLength(low));
  let text = "";
  while (!atEnd(-1)) text += readUtf8(readChunk(0x60));
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
    while (!atEnd(-1)) {
      const length = readChunk(0x40);
      bytes?.set(input.subarray(pos, pos + length), total);
      pos += length;
      total += length;
    }
    if (bytes) return bytes;
    bytes = new Uint8Array(total);
    pos = start;
  }
}

function readChunk(major) {
  need(1);
  const first = input[pos];
  if ((first & 0xe0) !== major || first === major + 31) malformed("a part of another type");
  pos++;
  return readLength(first & 31);
}

/** The next `length` bytes, which are there, as text. */
function readUtf8(length) {
  const start = pos;
  pos += length;
  if (length < SHORT_BYTES) {
    const codes = new Array(length);
    let i = 0;
    for (; i < length; i++) {
      const byte = input[start + i];
      if (byte > 0x7f) break;
      codes[i] = byte;
    }
    if (i === length) return fromCharCode.apply(undefined, codes);
  }
  try {
    return decoder.decode(input.subarray(start, pos));
  } catch {
    pos = start;
    return malformed("text that is not UTF-8");
  }
}
