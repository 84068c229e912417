// What of a session is plain JavaScript: reading arguments, addresses, listeners, promises, and where we run. One
// module, since every further one is a request that an application without a bundler waits for.

import { ConnectError, MessagingError } from "./error.js";

// ---- Arguments ----

// Reading them may run code of the application, which may throw; so it is done here, where that can be caught.

/** `value`, if it is a string that UTF-8 can say; `name` is what an error calls it. */
export function text(name, value) {
  if (typeof value !== "string") throw invalid(`the ${name} must be a string`);
  // With the flag `u`, this finds halves of surrogate pairs that stand alone.
  if (/\p{Surrogate}/u.test(value)) throw invalid(`the ${name} has half of a surrogate pair, which is not text`);
  return value;
}

/** A plain copy of the members of an option object that are known, by their names between commas. */
export function plainOptions(options, names) {
  if (typeof options !== "object") throw invalid("the options must be an object");
  return readable("options", () => Object.fromEntries(names.split(",").map((name) => [name, options[name]])));
}

/** A plain copy of an array of strings. */
export function strings(name, value) {
  const items = readable(name, () => Array.isArray(value) && [...value]);
  if (!areStrings(items)) throw invalid(`${name} must be an array of strings`);
  return items;
}

/** The keys and values of an object of strings, alternating. */
export function stringEntries(name, value) {
  const items = readable(name, () => typeof value === "object" && Object.entries(value).flat());
  if (!areStrings(items)) throw invalid(`${name} must be an object of strings`);
  return items;
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

function invalid(message, cause) {
  return new MessagingError("INVALID_ARGUMENT", message, "not-sent", { cause });
}

// ---- Listeners and promises ----

// The last two come with reconnection; an application may listen already.
const EVENTS = ["statechange", "disconnect", "close", "reconnect", "messageloss"];

/** Keeps listeners by event name. */
export class Emitter {
  #listeners = new Map();

  /** Adds a listener; returns the function that takes it out again. */
  on(event, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener must be a function");
    if (!EVENTS.includes(event)) throw new TypeError(`there is no such event; there are ${EVENTS.join(", ")}`);
    const entry = { listener };
    const entries = this.#listeners.get(event) ?? [];
    this.#listeners.set(event, [...entries, entry]);
    return () => {
      const left = this.#listeners.get(event).filter((other) => other !== entry);
      this.#listeners.set(event, left);
    };
  }

  /** Calls the listeners of `event`, in the order in which they were added. */
  emit(event, detail) {
    for (const { listener } of this.#listeners.get(event) ?? []) {
      try {
        listener(detail);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** As the platform reports an error that nobody caught. */
function report(error) {
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

/** Writes to the console with one of its methods. */
export function log(method, message) {
  console[method](`antiphon: ${message}`);
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
