// Values of the six data types: their classes, and conversion between JavaScript values and (type, bytes). Everything else
// in the client carries a value as a type and bytes and never looks inside; `value-writer.js` writes what is in the bytes,
// `value-reader.js` reads it.
//
// The bytes of a value are copied twice on their way out: from the writer into the WebAssembly, since code of the
// application runs while they are written, which may use the same memory; and from there into the message, whose head has
// to come first. What may have to be sent again is that message, and the WebSocket gets a copy of it: some read it later.

import { MessagingError, messagingError } from "./error.js";
import { named, shown } from "./platform.js";
import { TYPE_BINARY, TYPE_DOUBLE, TYPE_INT64, TYPE_JSON, TYPE_NAMES, TYPE_RECORD_V2, TYPE_STRING } from "./tables.js";
import { read } from "./value-reader.js";
import { bytesOf, Fault, write } from "./value-writer.js";

const { is, freeze } = Object;
const { isInteger, isSafeInteger } = Number;

/** The name on the wire by the code. */
const names = new Map(TYPE_NAMES);

/** The code by all that can name a data type: its number, its name, its member of `datatypes`. */
const codes = new Map([["recordv2", TYPE_RECORD_V2]]);

/** The code and the bytes of a DataValue, undefined for anything else. */
let contents;

/** A value with its data type: what a call of a data type returns. Keeps the value as it was at that call. */
export class DataValue {
  #code;
  #bytes;

  static {
    contents = (value) => {
      if (typeof value !== "object" || value === null) return undefined;
      if (#code in value) return { code: value.#code, bytes: value.#bytes };
      try {
        // Of another copy of this package, known by a method and a name. Written anew: its bytes may be anything.
        const code = typeof value.toBytes === "function" && codes.get(value.typeName);
        return code ? { code, bytes: write(code, value.value) } : undefined;
      } catch {
        return undefined;
      }
    };
  }

  constructor(key, code, bytes) {
    if (key !== codes) throw new TypeError("a data type makes a DataValue, for example datatypes.INT64(5n)");
    this.#code = code;
    this.#bytes = bytes;
  }

  /** @returns {string} */
  get typeName() {
    return names.get(this.#code);
  }

  /** @returns {number} */
  get typeCode() {
    return this.#code;
  }

  /** The value as its recipient will read it; objects and arrays are new at each access. */
  get value() {
    return read(this.#code, this.#bytes);
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
shown(DataValue, ["typeName", "value"]);

/**
 * The data types. Each one makes a typed value when called (`datatypes.INT64(5n)`) and throws TypeError or RangeError
 * for what it cannot hold; `fromBytes` reads a value from its bytes on the wire.
 *
 * INT64 takes a bigint or a safe integer, but not -0, whose sign it would lose. DOUBLE takes a number or a bigint that
 * equals one. STRING, INT64, DOUBLE and JSON take null. RECORD_V2 takes a list of records, which are lists of strings.
 */
export const datatypes = freeze({
  JSON: dataType(TYPE_JSON),
  STRING: dataType(TYPE_STRING),
  INT64: dataType(TYPE_INT64),
  DOUBLE: dataType(TYPE_DOUBLE),
  BINARY: dataType(TYPE_BINARY),
  RECORD_V2: dataType(TYPE_RECORD_V2),
});

function dataType(code) {
  const typeName = names.get(code);
  const type = (value) => {
    try {
      // A copy: it keeps no more than it needs, and nothing of the application.
      return new DataValue(codes, code, bytesIn(code, value).slice());
    } catch (thrown) {
      const { path, text, Kind, cause } = Fault.of(thrown);
      throw new Kind(`value${path} ${text}`, cause === undefined ? undefined : { cause });
    }
  };
  const fromBytes = (bytes) => {
    const view = bytesOf(bytes);
    if (!view) throw new TypeError("fromBytes takes a Uint8Array, an ArrayBuffer or a view of one");
    return read(code, new Uint8Array(view));
  };
  codes.set(code, code).set(typeName, code).set(type, code);
  return freeze(Object.assign(type, { typeName, typeCode: code, fromBytes }));
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
  const known = [...names.values()].join(", ");
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
  return names.get(code) ?? "unknown";
}

// ---- Out ----

/**
 * The bytes of a value to send.
 *
 * @param {unknown} value may be a DataValue
 * @param {unknown} [type] what `typeCode` takes; without it the type of the DataValue, else by the kind of value
 * @returns {{ code: number, named: boolean, bytes: Uint8Array }} `named` tells whether a type was given, by `type` or
 *   by a DataValue. `bytes` are to be read and not to be kept: they may be those of the application or of the DataValue.
 * @throws {MessagingError} INVALID_DATA, INVALID_ARGUMENT
 */
export function encode(value, type) {
  const given = typeCode(type);
  try {
    const typed = contents(value);
    const code = given || (typed?.code ?? inferred(value));
    return { code, named: given > 0 || typed !== undefined, bytes: bytesIn(code, value, typed) };
  } catch (thrown) {
    const { path, text, cause } = Fault.of(thrown);
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
  if (typeCode(type) || contents(value) || !names.has(requestCode)) return encode(value, type);
  // What json cannot hold no other type can, so that there is no second try (toJSON is not to be called twice).
  if (requestCode === TYPE_JSON) return { ...encode(value, TYPE_JSON), named: false };
  try {
    return { code: requestCode, named: false, bytes: bytesIn(requestCode, value) };
  } catch {
    return encode(value);
  }
}

function inferred(value) {
  switch (typeof value) {
    case "string":
      return TYPE_STRING;
    case "number":
      return TYPE_DOUBLE;
    case "bigint":
      return TYPE_INT64;
    default:
      return bytesOf(value) ? TYPE_BINARY : TYPE_JSON;
  }
}

/** The bytes of a value in a data type; a DataValue of another type is converted. */
function bytesIn(code, value, typed = contents(value)) {
  if (!typed) return write(code, value);
  if (typed.code === code) return typed.bytes;
  const inCode = converted(read(typed.code, typed.bytes), typed.code, code);
  if (inCode !== undefined) return write(code, inCode);
  throw new Fault(`is of type ${names.get(typed.code)}, not ${names.get(code)}`, TypeError);
}

/** A value without its type: what a DataValue stands for, anything else as it is. */
export function untyped(value) {
  const typed = contents(value);
  return typed ? read(typed.code, typed.bytes) : value;
}

// ---- In ----

/**
 * A value that arrived.
 *
 * @param {number} code its data type, 0 if the name on the wire is none of ours
 * @param {string | undefined} name that name
 * @param {Uint8Array} bytes nothing in the result refers to them
 * @param {number} wanted the data type to convert it to, 0 for as it is
 * @returns {unknown}
 * @throws {MessagingError} INCOMPATIBLE_DATATYPE, INVALID_DATA
 */
export function decode(code, name, bytes, wanted) {
  if (!names.has(code)) incompatible(`unknown data type ${JSON.stringify(name)}`);
  const isOther = wanted !== 0 && wanted !== code;
  // Nothing but null can be another type than json: no large value is built to be refused.
  const value = isOther && code === TYPE_JSON && bytes.length > 64 ? undefined : read(code, bytes);
  const result = isOther ? converted(value, code, wanted) : value;
  if (result === undefined) incompatible(`this ${names.get(code)} value cannot be read as ${typeName(wanted)}`);
  return result;
}

/** The json value that goes along with a message; undefined if there is none, or none that can be read. */
export function jsonIn(bytes) {
  try {
    return read(TYPE_JSON, bytes);
  } catch {
    return undefined;
  }
}

/** The error that a `Failure` of boundary.ts is. */
export function errorOf([code, message, outcome, reason, faults, details]) {
  return messagingError(code, message, outcome, reason, faults, undefined, details && jsonIn(details));
}

function incompatible(text) {
  throw new MessagingError("INCOMPATIBLE_DATATYPE", text, "failed");
}

/** The value in another data type, undefined if it cannot be that without loss. */
function converted(value, from, to) {
  const toJson = to === TYPE_JSON && from !== TYPE_BINARY && from !== TYPE_RECORD_V2;
  if (value === null) return to === TYPE_BINARY || to === TYPE_RECORD_V2 ? undefined : null;
  if (from === TYPE_INT64 && (toJson || to === TYPE_DOUBLE)) {
    const number = Number(value);
    if (toJson ? isSafeInteger(number) : BigInt(number) === value) return number;
  }
  if (from === TYPE_DOUBLE && to === TYPE_INT64 && isInteger(value) && !is(value, -0)) {
    const integer = BigInt(value);
    if (BigInt.asIntN(64, integer) === integer) return integer;
  }
  return toJson ? value : undefined;
}
