// Helpers over the platform: listeners, promises, the page, the console.

/** Keeps listeners by event name. */
export class Emitter {
  #events;
  #listeners = new Map();

  /** `events` are the names that there are. */
  constructor(events) {
    this.#events = events;
  }

  /** Adds a listener; returns the function that takes it out again. */
  on(event, listener) {
    if (typeof listener !== "function") throw new TypeError("a listener must be a function");
    if (!this.#events.includes(event)) {
      throw new TypeError(`there is no such event; there are ${this.#events.join(", ")}`);
    }
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
    for (const { listener } of this.#listeners.get(event) ?? []) call(listener, detail);
  }
}

/** Calls a listener, whose errors are none of ours. */
export function call(listener, detail) {
  try {
    listener(detail);
  } catch (error) {
    report(error);
  }
}

/** As the platform reports an error that nobody caught. Never throws. */
export function report(error) {
  try {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  } catch {
    // A console that throws, as in some test environments.
  }
}

/**
 * The same functions, but what they throw is reported and nothing comes of it: for callers that an error would leave in the
 * middle of something.
 *
 * @template T
 * @param {T} functions
 * @returns {T}
 */
export function guarded(functions) {
  const entries = Object.entries(functions).map(([name, run]) => {
    const guard = (...details) => {
      try {
        return run(...details);
      } catch (error) {
        report(error);
      }
    };
    return [name, guard];
  });
  return Object.fromEntries(entries);
}

/** By signal, what runs when it is aborted, and our one listener. Node.js warns of a leak at eleven. */
const aborting = new WeakMap();

/** Why a signal is aborted. Those that are not the platform's may have no reason. */
export function reasonOf({ reason = new DOMException("This operation was aborted", "AbortError") }) {
  return reason;
}

/** Calls `run` with the signal's reason when it is aborted; returns the function that ends that. */
export function whenAborted(signal, run) {
  let shared = aborting.get(signal);
  if (!shared) {
    const waiting = new Set();
    const listener = () => {
      for (const run of waiting) run(reasonOf(signal));
    };
    shared = { waiting, listener };
    aborting.set(signal, shared);
    signal.addEventListener("abort", shared.listener);
  }
  const { waiting, listener } = shared;
  waiting.add(run);
  return () => {
    if (!waiting.delete(run) || waiting.size > 0) return;
    signal.removeEventListener?.("abort", listener);
    aborting.delete(signal);
  };
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

/** Closes a WebSocket of whose events nobody wants to hear any more. Never throws. */
export function closeQuietly(webSocket) {
  try {
    for (const event of ["open", "message", "close"]) webSocket[`on${event}`] = null;
    // Not null: the package `ws` throws an error event that nobody listens to, and closing early is one.
    webSocket.onerror = () => {};
    webSocket.close();
  } catch (error) {
    // Not the browser's.
    report(error);
  }
}

/** Tells what happens to the page that its connections do not tell. */
export class PageListeners {
  #controller = new AbortController();

  /** Calls `left` when the page is left for good, `woken` when it wakes: with true if from the back/forward cache. */
  constructor(left, woken) {
    const { signal } = this.#controller;
    const listen = (target, type, told) => {
      // There is no page in a worker or in Node.js.
      target?.addEventListener?.(type, (event) => told(event), { signal });
    };
    listen(globalThis, "pagehide", ({ persisted }) => persisted || left());
    listen(globalThis, "pageshow", ({ persisted }) => persisted && woken(true));
    listen(globalThis, "online", () => woken(false));
    listen(globalThis.document, "resume", () => woken(false));
    listen(globalThis.document, "visibilitychange", () => document.hidden || woken(false));
  }

  stop() {
    // With a reason: an error made here would keep the WebAssembly that called us, for the sake of its stack.
    this.#controller.abort(null);
  }
}

// Levels of the log, as an index of `LEVELS` in options.js.
export const ERROR = 1;
export const WARN = 2;
export const INFO = 3;
export const DEBUG = 4;
export const TRACE = 5;

/** Writes to the console, with something that was thrown as it is: it has a stack. Never throws. */
export function log(level, message, ...thrown) {
  try {
    console[["", "error", "warn", "info"][level] ?? "debug"](`antiphon: ${message}`, ...thrown);
  } catch {
    // As in `report`.
  }
}

/**
 * Gives a class the name that consoles and stack traces show, whatever a minifier makes of it; and its instances a tag,
 * by which frameworks that wrap plain objects (Vue, for one) leave them alone: a wrapped one has no private members.
 */
export function named(name, type) {
  Object.defineProperty(type, "name", { value: name, configurable: true });
  Object.defineProperty(type.prototype, Symbol.toStringTag, { value: name, configurable: true });
}

/**
 * Gives an object its methods and accessors as its own, bound to it: they work when they are taken off it, and on a
 * proxy around it, as stores of many frameworks make one. By themselves they would find no private members there.
 * What can be closed can be used with `await using`, on platforms that have it.
 */
export function bindMembers(object) {
  const { constructor: _, ...members } = Object.getOwnPropertyDescriptors(Object.getPrototypeOf(object));
  for (const member of Object.values(members)) {
    for (const part of ["get", "value"])
      if (typeof member[part] === "function") member[part] = member[part].bind(object);
  }
  const { asyncDispose } = Symbol;
  if (asyncDispose && members.close) members[asyncDispose] = members.close;
  Object.defineProperties(object, members);
}

/** Has consoles of Node.js, Deno and Bun show members of the instances of a class that are accessors. */
export function shown({ name, prototype }, names) {
  Object.defineProperty(prototype, Symbol.for("nodejs.util.inspect.custom"), {
    value(_, options, inspect) {
      return `${name} ${inspect(Object.fromEntries(names.map((name) => [name, this[name]])), options)}`;
    },
  });
}
