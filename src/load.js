// Loads the WebAssembly when it is needed; where from depends on the entry of the package. Guards an instance, which may
// trap.

import { bindings } from "./antiphon.js";
import { ConnectError, textOf } from "./error.js";
import { isFunction } from "./options.js";
import { reasonOf, report, whenAborted } from "./platform.js";

/** The load under way, or done: a promise of the instance. */
let loading;
/** The instance that was loaded, until it has failed or its last session has ended. */
let current;
/** What was loaded; a new instance needs no new load. */
let compiled;
/** Ends the load under way; nothing if somebody asked for it by itself. */
let cancel;
/** How many connects wait for it. */
let waiting = 0;
/** Gives the WebAssembly: a response, what it holds, or a promise of one of them. */
let fetchModule;
/** The end of an error about that. */
let advice;

/** Says where the WebAssembly comes from (`source` is given an abort signal), and what to do if it does not. */
export function loadFrom(source, cure = "") {
  fetchModule = source;
  advice = cure;
}

/** Loads the WebAssembly. Nobody has to call it; a failed load can be tried again. */
export async function init(source) {
  cancel = undefined;
  await (loading ?? (source === undefined ? begin(fetchModule, advice) : begin(() => source)));
}

/** Starts a load of what `read` returns; whatever it throws fails the load, with a word about what to do. */
function begin(read, cure = "") {
  const attempt = instantiate(read).then(
    (instance) => {
      cancel = undefined;
      current = instance;
      return instance;
    },
    (cause) => {
      if (loading === attempt) loading = undefined;
      throw loadError(cause, cure);
    },
  );
  loading = attempt;
  return attempt;
}

/** Why there is no WebAssembly, and what to do about it. */
function loadError(cause, cure) {
  const said = textOf(cause);
  const [text, isRetryable] = !globalThis.WebAssembly
    ? ["this platform has no WebAssembly, or it is turned off", false]
    : /unsafe-eval|content security/i.test(said)
      ? ["the page's Content Security Policy refuses it: add 'wasm-unsafe-eval' to script-src", false]
      : /disallowed/i.test(said)
        ? ["this platform compiles none from bytes: import antiphon/antiphon.wasm, and give that module to init", false]
        : cause instanceof WebAssembly.LinkError
          ? ["the .wasm file and the JavaScript are of different versions: some cache is stale", true]
          : [said + cure, true];
  return new ConnectError("WASM_LOAD_FAILED", `the WebAssembly did not load: ${text}`, isRetryable, cause);
}

/** A new instance of what was compiled before, or of what `read` returns. */
async function instantiate(read) {
  const made = new Instance();
  const { imports, start } = bindings((run) => made.guarded(run));
  const { module, instance } = await instanceOf(compiled ?? (await read()), imports);
  made.make = start(instance);
  // Only now: it may have been something else.
  compiled = module;
  return made;
}

/** An instance of a module, of bytes, of a response or of what is at an address. Not by class: they may be of another realm. */
async function instanceOf(source, imports) {
  const isAddress = typeof source === "string" || source?.href || source?.method;
  let given = isAddress ? await fetch(source) : source;
  if (isFunction(given?.arrayBuffer)) {
    if (given.ok === false) throw new Error(`${given.url} was answered with status ${given.status}`);
    // Nothing else is compiled while it arrives, and not everywhere.
    const isStream =
      given.constructor === globalThis.Response && given.headers.get("Content-Type") === "application/wasm";
    if (isStream && WebAssembly.instantiateStreaming) return WebAssembly.instantiateStreaming(given, imports);
    given = await given.arrayBuffer();
  }
  const made = await WebAssembly.instantiate(given, imports);
  return made.instance ? made : { module: given, instance: made };
}

/**
 * An instance and the sessions whose clients it has. Once it has trapped, nothing of it runs any more. After its last
 * session it is let go of, and with it the memory that a large message took, which nothing else gives back.
 */
class Instance {
  /** Makes a client: a `ClientPort` of boundary.ts. */
  make;
  #sessions = new Set();
  #isDead = false;
  /** How many calls are under way, each but the first from within another. */
  #depth = 0;

  /** Makes the client of a session, which is told with `fail` if the instance fails. */
  create(session, ...args) {
    if (this.#isDead) throw new ConnectError("INTERNAL", "the WebAssembly has failed just now; connect again", true);
    this.#sessions.add(session);
    return this.make(...args);
  }

  /** A session is over. */
  release(session) {
    if (this.#sessions.delete(session) && this.#sessions.size === 0) this.#letGo();
  }

  /** What is called in place of a function that begins something in there. */
  guarded(run) {
    return (...args) => {
      if (this.#isDead) return undefined;
      this.#depth += 1;
      try {
        return run(...args);
      } catch (cause) {
        // Whatever comes out of there has left Rust in the middle of something.
        if (!this.#isDead) this.#die(cause);
        // Nobody is to go on with it. But an event that came in has nobody who could do anything about it.
        if (this.#depth > 1) throw cause;
        return undefined;
      } finally {
        this.#depth -= 1;
      }
    };
  }

  #die(cause) {
    this.#isDead = true;
    this.#letGo();
    for (const session of this.#sessions) session.fail(cause);
    report(cause);
  }

  /** The next load gives a new one. */
  #letGo() {
    if (current === this) loading = current = undefined;
  }
}

/** What the entry of the package has, until `cancel` is called. */
function fetchHere() {
  const controller = new AbortController();
  cancel = () => controller.abort();
  return fetchModule(controller.signal);
}

/** Waits for the WebAssembly, for no longer than `limit` in milliseconds; gives the instance. */
export async function loaded(signal, limit) {
  let timer;
  let listenNoMore;
  waiting += 1;
  try {
    return await new Promise((resolve, reject) => {
      (loading ?? begin(fetchHere, advice)).then(resolve, reject);
      if (signal?.aborted) reject(reasonOf(signal));
      listenNoMore = signal && whenAborted(signal, reject);
      if (limit >= 2 ** 31) return; // longer than timers run
      const late = () => reject(new ConnectError("CONNECTION_TIMEOUT", `no WebAssembly within ${limit} ms`, true));
      timer = setTimeout(late, limit);
    });
  } finally {
    clearTimeout(timer);
    listenNoMore?.();
    waiting -= 1;
    if (waiting === 0 && cancel) {
      // Nobody waits any more; the next attempt is not to wait for this one.
      cancel();
      loading = cancel = undefined;
    }
  }
}
