// The arguments and options of the API, checked. Reading them may run code of the application, which may throw.

import { ConnectError, MessagingError } from "./error.js";
import { reasonOf } from "./platform.js";
import { FEATURES, TYPE_JSON } from "./tables.js";
import { encode, typeCode } from "./value.js";
import { bytesOf } from "./value-writer.js";

/** `value`, if it is a string that UTF-8 can say; `name` is what an error calls it. */
export function text(name, value) {
  if (typeof value !== "string") throw invalid(`the ${name} must be a string`);
  // With the flag `u`, this finds halves of surrogate pairs that stand alone.
  if (/\p{Surrogate}/u.test(value)) throw invalid(`the ${name} has half of a surrogate pair, which is not text`);
  return value;
}

/** The options of `connect`, checked; `config` is what Rust wants of them, in the order in which it reads them. */
export function connectOptions(options) {
  const given = members(options, CONNECT_OPTIONS, "", MEANT);
  const { timeout, delay } = reconnection(given.reconnect);
  const principal = isMissing(given.principal) ? undefined : text("principal", given.principal);
  const properties = isMissing(given.properties) ? [] : stringEntries("properties", given.properties);
  const connectTimeout = milliseconds("connectTimeout", given.connectTimeout) ?? 10_000;
  const requestTimeout = patience("requestTimeout", given.requestTimeout) ?? 30_000;
  const maxMessageSize =
    optional("maxMessageSize", given.maxMessageSize, "a number of bytes, at least 1024", isAtLeast(1024)) ??
    2 ** 25 + 2 ** 18; // what a broker takes by default, and what it puts around that
  const batching = flag("batching", given.batching) ?? true;
  const version =
    optional(
      "protocolVersion",
      given.protocolVersion,
      "a number from 22 to 29",
      (version) => Number.isInteger(version) && version > 21 && version < 30,
    ) ?? 25;
  if (!properties.some(([key]) => key === ENVIRONMENT)) properties.push([ENVIRONMENT, environment()]);
  return {
    // Keys and values of properties alternate.
    config: [principal, properties.flat(), version, connectTimeout, timeout, requestTimeout, maxMessageSize, batching],
    principal: principal ?? "",
    connectTimeout,
    credentials: isFunction(given.credentials) ? given.credentials : checkedCredentials(given.credentials),
    requestTimeout,
    signal: abortSignal(given.signal),
    webSocket: optional("webSocket", given.webSocket, "a constructor like that of WebSocket", isFunction),
    delay,
    level: LEVELS.indexOf(
      optional("log", given.log, "off, error, warn, info, debug or trace", (name) => LEVELS.includes(name)) ?? "warn",
    ),
  };
}

/** A password, bytes or undefined. */
export function checkedCredentials(value) {
  if (isMissing(value)) return undefined;
  if (typeof value === "string") return text("credentials", value);
  const bytes = bytesOf(value);
  if (bytes) return bytes;
  throw invalid("credentials must be a string or a Uint8Array");
}

/** Whether and how to reconnect; a timeout of 0 ms for not at all. */
function reconnection(reconnect) {
  if (reconnect === false) return { timeout: 0 };
  const { timeout, delay } = members(reconnect === true ? undefined : reconnect, ["timeout", "delay"], "reconnect.");
  return {
    timeout: milliseconds("reconnect.timeout", timeout) ?? 60_000,
    delay: optional("reconnect.delay", delay, "a function", isFunction),
  };
}

/**
 * A request with its options, checked and encoded. Copy `bytes` at once, as with `encode`.
 *
 * @param {string[]} names of the options that there are
 * @param {number} requestTimeout of requests that name no timeout, in milliseconds
 * @returns `timeout` in milliseconds, which the recipient is told if `isTimeTold`; `responseCode` is the number of the data
 *   type to convert the response to, 0 for none; `key` is the idempotency key, and
 *   `metadata` the bytes of what is said beside the request, both empty for none; `retry` is missing if it is not to be
 *   repeated
 */
export function prepareRequest(request, options, names, requestTimeout) {
  const { type, responseType, timeout, signal, within, whenDisconnected, metadata, idempotencyKey, retry, onResponse } =
    members(options, names);
  const given = {
    responseCode: typeCode(responseType),
    timeout: patience("timeout", timeout),
    signal: abortSignal(signal),
    wait: waits(whenDisconnected),
    within: optional("within", within, "the context of a request", isContext),
    key: optional("idempotencyKey", idempotencyKey, "a text of 1 to 128 characters", isKey) ?? "",
    metadata: metadataBytes(metadata, within?.metadata),
    retry: isMissing(retry) ? undefined : repetition(retry),
    onResponse,
  };
  const { code, named, bytes } = encode(request, type);
  // Only now: what the application runs while its value is read may abort the request, or take its time.
  for (const aborting of [given.signal, within?.signal]) if (aborting?.aborted) throw reasonOf(aborting);
  const timeLeft = within?.timeLeft ?? Infinity;
  if (timeLeft === 0) {
    throw new MessagingError("TIMED_OUT", "the request that this one is within has no time left", "not-sent");
  }
  given.isTimeTold = Math.min(given.timeout ?? Infinity, timeLeft) < Infinity;
  given.timeout = Math.min(given.timeout ?? requestTimeout, timeLeft);
  if (named) given.responseCode ||= code;
  given.code = code;
  given.bytes = bytes;
  return given;
}

/** The context of a request that is being handled. By what it can do, as a signal. */
function isContext(value) {
  return isAbortSignal(value?.signal) && isAtLeast(0)(value.timeLeft);
}

/**
 * The bytes of metadata, empty for none; with the trace context of the request that this one is within, whose metadata is
 * `outer`, unless it names one itself.
 */
function metadataBytes(metadata, outer) {
  if (isMissing(metadata) && !outer) return NONE;
  const own = Object.fromEntries(stringEntries("metadata", metadata ?? {}));
  const { traceparent, tracestate } = (own.traceparent === undefined && outer) || {};
  // What a sender says is not to keep its handler from sending.
  const withTrace = outer
    ? [
        { traceparent, tracestate, ...own },
        { traceparent, ...own },
      ]
    : [];
  const fits = (along) => encode(along, TYPE_JSON).bytes.length <= MAX_METADATA_BYTES;
  const bytes = bytesAlong("metadata has", withTrace.find(fits) ?? own, MAX_METADATA_BYTES);
  // An object without members has two.
  return bytes.length > 2 ? bytes : NONE;
}

/** The bytes of a json value that goes along with a message, if there are not too many. */
export function bytesAlong(name, value, most) {
  const { bytes } = encode(value, TYPE_JSON);
  const { length } = bytes;
  if (length > most) throw invalid(`the ${name} ${length} bytes, the server takes ${most} at most`);
  return bytes;
}

function isKey(value) {
  return typeof value === "string" && /^\P{Surrogate}{1,128}$/u.test(value);
}

/** How often, and when, to send a request that came to nothing. */
function repetition(retry) {
  const { attempts, backoff } = members(retry, ["attempts", "backoff"], "retry.");
  return {
    attempts: optional("retry.attempts", attempts ?? 0, "a number, at least 1", isAtLeast(1)),
    backoff: optional("retry.backoff", backoff, "a function", isFunction),
  };
}

/** What `whenDisconnected` says: whether to wait for a connection. */
export function waits(whenDisconnected) {
  const isFailOrWait = (when) => when === "fail" || when === "wait";
  return optional("whenDisconnected", whenDisconnected, "fail or wait", isFailOrWait) === "wait";
}

/**
 * A plain copy of an option object, which has no members but those in `names`.
 *
 * @param {string} within what errors put before the name of an option, e.g. `reconnect.`
 * @param {Record<string, string>} meant what people mean by names that they know from elsewhere
 */
export function members(options, names, within = "", meant = {}) {
  if (isMissing(options)) return {};
  const what = within.slice(0, -1) || "the options";
  if (typeof options !== "object") throw invalid(`${what} must be an object`);
  const unknown = readable(what, () => Object.keys(options).find((key) => !names.includes(key)));
  if (unknown === undefined) return selected(options, names, what);
  const known = nearest(unknown, [...names, ...Object.keys(meant)]);
  throw invalid(`there is no option ${within}${unknown}; did you mean ${meant[known] ?? known}?`);
}

/** A plain copy of some members of an object. */
export function selected(object, names, what) {
  return readable(what, () => Object.fromEntries(names.map((name) => [name, object[name]])));
}

/** The number of the bit that says whether there is a feature on a connection. */
export function featureBit(feature) {
  const name = text("feature", feature);
  const bit = FEATURES.indexOf(name);
  if (bit < 0) throw invalid(`there is no feature ${name}; did you mean ${nearest(name, FEATURES)}?`);
  return bit;
}

/** The one of `names` that has the most letters in the same places as `text`, counted from its beginning or its end. */
function nearest(text, names) {
  const common = (name) => {
    return [...text].filter((letter, at) => letter === name[at] || letter === name.at(at - text.length)).length;
  };
  return names.reduce((best, name) => (common(name) > common(best) ? name : best));
}

const CONNECT_OPTIONS = [
  "principal",
  "credentials",
  "properties",
  "connectTimeout",
  "requestTimeout",
  "maxMessageSize",
  "batching",
  "signal",
  "webSocket",
  "protocolVersion",
  "contract",
  "log",
  "reconnect",
];
/** What people mean by names that such options have elsewhere. */
const MEANT = {
  timeout: "connectTimeout or requestTimeout",
  password: "credentials",
  token: "credentials",
  username: "principal",
};
/** Of a request. */
export const REQUEST_OPTIONS = [
  "type",
  "responseType",
  "timeout",
  "signal",
  "within",
  "whenDisconnected",
  "metadata",
  "idempotencyKey",
  "retry",
];
/** Most bytes of metadata, which brokers take. */
const MAX_METADATA_BYTES = 8192;
/** No bytes. */
export const NONE = new Uint8Array();
export const FILTER_OPTIONS = [...REQUEST_OPTIONS, "onResponse"];
/** Of a handler, or of its options. */
export const TYPES = ["requestType", "responseType"];
export const STREAM_OPTIONS = [...TYPES, "maxConcurrent", "timeout", "addressed", "signal"];
export const HANDLER_OPTIONS = [...STREAM_OPTIONS, "maxQueued", "sessionProperties", "reregister", "whenDisconnected"];
const LEVELS = ["off", "error", "warn", "info", "debug", "trace"];

/** An option that may be missing. */
export function optional(name, value, expected, isUsable) {
  if (isMissing(value)) return undefined;
  if (!readable(name, () => isUsable(value))) throw invalid(`${name} must be ${expected}`);
  return value;
}

export function milliseconds(name, value) {
  return optional(name, value, "a number of milliseconds, not negative", isAtLeast(0));
}

/** How long to wait for an answer: 0 for as long as it takes. */
export function patience(name, value) {
  const given = milliseconds(name, value);
  return given === 0 ? Infinity : given;
}

export function isAtLeast(least) {
  return (value) => typeof value === "number" && value >= least;
}

export function abortSignal(value) {
  return optional("signal", value, "an AbortSignal", isAbortSignal);
}

/** By what it can do: it may be of another frame, or of a test environment that has its own. */
export function isAbortSignal(value) {
  return isBoolean(value?.aborted) && isFunction(value.addEventListener);
}

/** An option that is on or off. */
export function flag(name, value) {
  return optional(name, value, "true or false", isBoolean);
}

function isBoolean(value) {
  return typeof value === "boolean";
}

export function isMissing(value) {
  return value === undefined || value === null;
}

export function isFunction(value) {
  return typeof value === "function";
}

/** A function, or an object with a function `handle`; `what` is what an error calls it. */
export function callable(callback, what) {
  let cause;
  try {
    if (isFunction(callback) || isFunction(callback?.handle)) return callback;
  } catch (thrown) {
    cause = thrown;
  }
  throw invalid(`${what} must be a function, or an object with a function "handle"`, cause);
}

/** The keys that `getProperties` is given; all properties if it is given none. */
export function propertyKeys(keys) {
  return isMissing(keys) ? ["*F", "*U"] : strings("keys", keys);
}

/** A plain copy of an array of strings. */
export function strings(name, value) {
  const items = readable(name, () => Array.isArray(value) && [...value]);
  if (!areStrings(items)) throw invalid(`${name} must be an array of strings`);
  return items.map((item) => text(name, item));
}

/** The keys and values of an object of strings. */
function stringEntries(name, value) {
  // Lists and maps have other entries, or none.
  const isPlain = () => typeof value === "object" && !(Symbol.iterator in value);
  const entries = readable(name, () => isPlain() && Object.entries(value));
  if (!entries || !areStrings(entries.flat())) throw invalid(`${name} must be an object of strings`);
  for (const item of entries.flat()) text(name, item);
  return entries;
}

function areStrings(items) {
  return items !== false && items.every((item) => typeof item === "string");
}

function readable(name, read) {
  try {
    return read();
  } catch (cause) {
    throw invalid(`${name} could not be read`, cause);
  }
}

export function invalid(message, cause) {
  return new MessagingError("INVALID_ARGUMENT", message, "not-sent", { cause });
}

// ---- Where we run, and where we connect to ----

const ENVIRONMENT = "$Environment";

/** The value of the session property `$Environment`, e.g. `BROWSER_Chrome_156` or `NODE_linux_22.11.0`. */
function environment() {
  const { process, navigator } = globalThis;
  if (process?.versions?.node) return `NODE_${process.platform}_${process.versions.node}`;
  // The first that fits: Chromium's relatives name Chrome and Safari as well.
  const browsers = [
    ["Edge", /Edg\w*\/(\d+)/],
    ["Opera", /OPR\/(\d+)/],
    ["Firefox", /Firefox\/(\d+)/],
    ["Chrome", /Chrom\w*\/(\d+)/],
    ["Safari", /Version\/(\d+).*Safari/],
  ];
  for (const [name, pattern] of browsers) {
    const version = pattern.exec(navigator?.userAgent ?? "")?.[1];
    if (version) return `BROWSER_${name}_${version}`;
  }
  return "BROWSER_unknown_0";
}

/**
 * The address that `url` stands for, ready to have a query appended; one that ends with neither `?` nor `&` is to have none.
 * Throws a `ConnectError`.
 */
export function serverAddress(url) {
  let address;
  try {
    address = new URL(typeof url === "string" ? url : url.href);
  } catch (cause) {
    const what = typeof url === "string" ? `"${url}"` : "what was given";
    throw invalidUrl(`${what} is not a URL; write ws://host:port or wss://host`, cause);
  }
  // Kept apart from the URL's own setter, which does not change every scheme into every other.
  const scheme = { "ws:": "ws:", "wss:": "wss:", "http:": "ws:", "https:": "wss:" }[address.protocol];
  if (scheme === undefined) {
    throw invalidUrl(`the URL must begin with ws://, wss://, http:// or https://, not ${address.protocol}`);
  }
  if (address.username || address.password) {
    throw invalidUrl("the URL must not have a user name or password; use the options for them");
  }
  const path = address.pathname === "/" ? "/diffusion" : address.pathname;
  const { search } = address;
  const whole = `${scheme}//${address.host}${path}${search}`;
  // There we say in the first message what would follow.
  if (/\/antiphon\/?$/.test(path)) return whole.replace(/[?&]*$/, "");
  return whole + (search ? "&" : "?");
}

function invalidUrl(message, cause) {
  return new ConnectError("INVALID_URL", message, false, cause);
}
