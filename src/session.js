// What of a session is plain JavaScript: reading arguments, addresses, listeners, promises, and where we run. One
// module, since every further one is a request that an application without a bundler waits for.

import { ConnectError, MessagingError } from "./error.js";
import { encode, typeCode } from "./value.js";

// ---- Arguments ----

// Reading them may run code of the application, which may throw; so it is done here, where that can be caught.

/** `value`, if it is a string that UTF-8 can say; `name` is what an error calls it. */
export function text(name, value) {
  if (typeof value !== "string") throw invalid(`the ${name} must be a string`);
  // With the flag `u`, this finds halves of surrogate pairs that stand alone.
  if (/\p{Surrogate}/u.test(value)) throw invalid(`the ${name} has half of a surrogate pair, which is not text`);
  return value;
}

/** The options of `connect`, checked, in the order in which Rust reads them; undefined for those that are missing. */
export function connectOptions(options) {
  const given = members(options, CONNECT_OPTIONS);
  const { properties, log } = given;
  const { timeout, delay } = reconnection(given.reconnect);
  return [
    isMissing(given.principal) ? undefined : text("principal", given.principal),
    // Otherwise checked when they are used: a function may give them.
    typeof given.credentials === "string" ? text("credentials", given.credentials) : given.credentials,
    isMissing(properties) ? [] : stringEntries("properties", properties),
    milliseconds("connectTimeout", given.connectTimeout) ?? 10_000,
    milliseconds("requestTimeout", given.requestTimeout) ?? 30_000,
    optional("maxMessageSize", given.maxMessageSize, "a number of bytes, at least 1024", isAtLeast(1024)) ??
      2 ** 25 + 2 ** 18, // what a broker takes by default, and what it puts around that
    abortSignal(given.signal),
    optional("webSocket", given.webSocket, "a constructor like that of WebSocket", isFunction),
    optional("protocolVersion", given.protocolVersion, "a number from 22 to 29", (version) =>
      [22, 23, 24, 25, 26, 27, 28, 29].includes(version),
    ) ?? 25,
    LEVELS.indexOf(
      optional("log", log, "off, error, warn, info, debug or trace", (name) => LEVELS.includes(name)) ?? "warn",
    ),
    timeout,
    delay,
  ];
}

/** Whether and how to reconnect; a timeout of 0 ms for not at all. */
function reconnection(reconnect) {
  if (reconnect === false) return { timeout: 0 };
  const { timeout, delay } = members(reconnect === true ? undefined : reconnect, ["timeout", "delay"], "reconnect");
  return {
    timeout: milliseconds("reconnect.timeout", timeout) ?? 60_000,
    delay: optional("reconnect.delay", delay, "a function", isFunction),
  };
}

/** Milliseconds to wait before an attempt to reconnect, by the function of the application if there is one. */
export function retryDelay(attempt, delay) {
  try {
    const chosen = delay?.(attempt);
    if (chosen >= 0) return Number(chosen);
  } catch (error) {
    report(error);
  }
  // Full jitter, so that many clients that lost their connections together do not return together.
  return Math.random() * Math.min(5_000, 100 * 2 ** (attempt - 1));
}

/**
 * A request with its options, checked and encoded. Copy `bytes` at once, as with `encode`.
 *
 * @returns `timeout` in milliseconds, NaN if none is given; `responseCode` is the number of the data type to convert the
 *   response to, 0 for none
 */
export function prepareRequest(request, options) {
  const { type, responseType, timeout, signal, whenDisconnected, onResponse } = members(options, REQUEST_OPTIONS);
  const given = {
    responseCode: typeCode(responseType),
    timeout: milliseconds("timeout", timeout) ?? Number.NaN,
    signal: abortSignal(signal),
    wait: optional("whenDisconnected", whenDisconnected, "fail or wait", isFailOrWait) === "wait",
    onResponse,
  };
  const { code, named, bytes } = encode(request, type);
  // Only now: what the application runs while its value is read may abort the request.
  if (given.signal?.aborted) throw given.signal.reason;
  if (named) given.responseCode ||= code;
  given.code = code;
  given.bytes = bytes;
  return given;
}

function isFailOrWait(when) {
  return when === "fail" || when === "wait";
}

/** A plain copy of the members of an option object that are known. */
export function members(options, names, what = "the options") {
  if (isMissing(options)) return {};
  if (typeof options !== "object") throw invalid(`${what} must be an object`);
  return readable(what, () => {
    const copy = {};
    for (const name of names) copy[name] = options[name];
    return copy;
  });
}

const CONNECT_OPTIONS = [
  "principal",
  "credentials",
  "properties",
  "connectTimeout",
  "requestTimeout",
  "maxMessageSize",
  "signal",
  "webSocket",
  "protocolVersion",
  "log",
  "reconnect",
];
export const REQUEST_OPTIONS = ["type", "responseType", "timeout", "signal", "whenDisconnected", "onResponse"];
const LEVELS = ["off", "error", "warn", "info", "debug", "trace"];

/** An option that may be missing. */
export function optional(name, value, expected, isUsable) {
  if (isMissing(value)) return undefined;
  if (!readable(name, () => isUsable(value))) throw invalid(`${name} must be ${expected}`);
  return value;
}

function milliseconds(name, value) {
  return optional(name, value, "a number of milliseconds, not negative", isAtLeast(0));
}

export function isAtLeast(least) {
  return (value) => typeof value === "number" && value >= least;
}

function abortSignal(value) {
  return optional("signal", value, "an AbortSignal", (signal) => signal instanceof AbortSignal);
}

export function isMissing(value) {
  return value === undefined || value === null;
}

export function isFunction(value) {
  return typeof value === "function";
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

/** The keys and values of an object of strings, alternating. */
function stringEntries(name, value) {
  const items = readable(name, () => typeof value === "object" && Object.entries(value).flat());
  if (!areStrings(items)) throw invalid(`${name} must be an object of strings`);
  return items.map((item) => text(name, item));
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

// ---- Listeners and promises ----

/** What listeners are told, by event. */
const EVENTS = {
  statechange: ["from", "to"],
  disconnect: ["reason"],
  close: ["code", "reason", "byClient"],
  reconnect: ["lossless", "newSession"],
  messageloss: ["requests", "handlers"],
};

/** Keeps listeners by event name. */
export class Emitter {
  #listeners = new Map();

  /** Adds a listener; returns the function that takes it out again. */
  on(event, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener must be a function");
    if (!Object.hasOwn(EVENTS, event)) {
      throw new TypeError(`there is no such event; there are ${Object.keys(EVENTS).join(", ")}`);
    }
    const entry = { listener };
    const entries = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...entries, entry]);
    return () => {
      const left = this.#listeners.get(event).filter((other) => other !== entry);
      this.#listeners.set(event, left);
    };
  }

  /** Calls the listeners of `event`, in the order in which they were added; returns what they are told. */
  emit(event, details) {
    const detail = Object.fromEntries(EVENTS[event].map((name, index) => [name, details[index]]));
    for (const { listener } of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        report(error);
      }
    }
    return detail;
  }
}

/** As the platform reports an error that nobody caught. */
export function report(error) {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}

/** A promise and the functions that settle it. */
export class Deferred {
  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** A promise that settles when `promise` does, without its value. */
export function withoutValue(promise) {
  return promise.then(() => {});
}

/** Closes a WebSocket of whose events nobody wants to hear any more. */
export function closeQuietly(webSocket) {
  for (const event of ["open", "message", "close"]) webSocket[`on${event}`] = null;
  // Not null: the package `ws` throws an error event that nobody listens to, and closing early is one.
  webSocket.onerror = () => {};
  webSocket.close();
}

/** Tells what happens to the page that its connections do not tell. */
export class PageListeners {
  #controller = new AbortController();

  /** Calls `listener` with 0 when the page is left, 1 when it is back from the back/forward cache, 2 when it wakes. */
  constructor(listener) {
    const { signal } = this.#controller;
    const listen = (target, type, told) => {
      // There is no page in a worker or in Node.js.
      target?.addEventListener?.(type, (event) => told(event), { signal });
    };
    listen(globalThis, "pagehide", ({ persisted }) => persisted || listener(0));
    listen(globalThis, "pageshow", ({ persisted }) => persisted && listener(1));
    listen(globalThis, "online", () => listener(2));
    listen(globalThis.document, "resume", () => listener(2));
    listen(globalThis.document, "visibilitychange", () => document.hidden || listener(2));
  }

  stop() {
    this.#controller.abort();
  }
}

/** Writes to the console; the level is an index of `LEVELS`. */
export function log(level, message) {
  console[["", "error", "warn", "info"][level] ?? "debug"](`antiphon: ${message}`);
}

// ---- Where we run, and where we connect to ----

/** What the session property `$Environment` says, e.g. `BROWSER_Chrome_156` or `NODE_linux_22.11.0`. */
export function environment() {
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

/** The address that `url` stands for, ready to have a query appended. Throws a `ConnectError`. */
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
    throw invalidUrl("the URL must not have a user name or password; use the options principal and credentials");
  }
  const path = address.pathname === "/" ? "/diffusion" : address.pathname;
  return `${scheme}//${address.host}${path}${address.search || "?"}${address.search ? "&" : ""}`;
}

function invalidUrl(message, cause) {
  return new ConnectError("INVALID_URL", message, false, cause);
}
