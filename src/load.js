// Loads the WebAssembly when it is first needed; where from depends on the entry of the package.

import { bindings } from "./antiphon.js";
import { ConnectError, textOf } from "./error.js";
import { isFunction } from "./options.js";
import { report } from "./platform.js";
import { failAll } from "./session-parts.js";

/** The load under way, or done: a promise of the function that makes clients. */
let loading;
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
    (create) => {
      cancel = undefined;
      return create;
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
  const [text, isRetryable] = !globalThis.WebAssembly
    ? ["this platform has no WebAssembly, or it is turned off", false]
    : /unsafe-eval|content security/i.test(textOf(cause))
      ? ["the page's Content Security Policy refuses it: add 'wasm-unsafe-eval' to script-src", false]
      : cause instanceof WebAssembly.LinkError
        ? ["the .wasm file and the JavaScript are of different versions: some cache is stale", true]
        : [textOf(cause) + cure, true];
  return new ConnectError("WASM_LOAD_FAILED", `the WebAssembly did not load: ${text}`, isRetryable, cause);
}

/** The function of a new instance that makes clients. */
async function instantiate(read) {
  const guard = new Guard();
  const { imports, start } = bindings((exports) => guard.guarded(exports));
  const create = (instance) => {
    const make = start(instance);
    return (...args) => {
      if (guard.isDead) throw new ConnectError("INTERNAL", "the WebAssembly has failed just now; connect again", true);
      return make(...args);
    };
  };
  if (compiled !== undefined) return create(await WebAssembly.instantiate(compiled, imports));
  const source = await read();
  const isAddress = typeof source === "string" || source instanceof URL || source instanceof Request;
  const { module, instance } = await instanceOf(isAddress ? await fetch(source) : source, imports);
  const made = create(instance);
  // Only now: it may have been something else.
  compiled = module;
  return made;
}

async function instanceOf(source, imports) {
  if (source instanceof WebAssembly.Module) {
    return { module: source, instance: await WebAssembly.instantiate(source, imports) };
  }
  if (!(source instanceof Response)) return WebAssembly.instantiate(source, imports);
  if (!source.ok) throw new Error(`${source.url} was answered with status ${source.status}`);
  // Nothing else is compiled while it arrives, and not everywhere.
  return source.headers.get("Content-Type") === "application/wasm" && WebAssembly.instantiateStreaming
    ? WebAssembly.instantiateStreaming(source, imports)
    : WebAssembly.instantiate(await source.arrayBuffer(), imports);
}

/** Stands before an instance: once it has trapped, nothing of it runs any more, and the next load gives a new one. */
class Guard {
  isDead = false;
  /** How many calls are under way, each but the first from within another. */
  #depth = 0;

  guarded(exports) {
    const entries = Object.entries(exports);
    return Object.fromEntries(entries.map(([name, it]) => [name, isFunction(it) ? this.#guarded(it) : it]));
  }

  #guarded(run) {
    return (...args) => {
      if (this.isDead) return undefined;
      this.#depth += 1;
      try {
        return run(...args);
      } catch (cause) {
        // Whatever comes out of there has left Rust in the middle of something.
        if (!this.isDead) this.#die(cause);
        // Nobody is to go on with it. But an event that came in has nobody who could do anything about it.
        if (this.#depth > 1) throw cause;
        return undefined;
      } finally {
        this.#depth -= 1;
      }
    };
  }

  #die(cause) {
    this.isDead = true;
    loading = undefined;
    failAll(cause);
    report(cause);
  }
}

/** What the entry of the package has, until `cancel` is called. */
function fetchHere() {
  const controller = new AbortController();
  cancel = () => controller.abort();
  return fetchModule(controller.signal);
}

/** Waits for the WebAssembly, for no longer than `limit` in milliseconds; gives the function that makes clients. */
export async function loaded(signal, limit) {
  let timer;
  let abort;
  waiting += 1;
  try {
    return await new Promise((resolve, reject) => {
      (loading ?? begin(fetchHere, advice)).then(resolve, reject);
      abort = () => reject(signal.reason);
      if (signal?.aborted) abort();
      signal?.addEventListener("abort", abort);
      if (limit >= 2 ** 31) return; // longer than timers run
      const late = () => reject(new ConnectError("CONNECTION_TIMEOUT", `no WebAssembly within ${limit} ms`, true));
      timer = setTimeout(late, limit);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    waiting -= 1;
    if (waiting === 0 && cancel) {
      // Nobody waits any more; the next attempt is not to wait for this one.
      cancel();
      loading = cancel = undefined;
    }
  }
}
