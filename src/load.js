// Loads the WebAssembly when it is first needed; where from depends on the entry of the package.

import { bindings } from "./antiphon.js";
import { ConnectError } from "./error.js";
import { CONNECT_TIMEOUT, isFunction } from "./options.js";
import { failAll } from "./session.js";

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

/** Says where the WebAssembly comes from; `source` is given an abort signal. */
export function loadFrom(source) {
  fetchModule = source;
}

/** Loads the WebAssembly. Nobody has to call it; a failed load can be tried again. */
export async function init(source) {
  cancel = undefined;
  await (loading ?? begin(() => source ?? fetchModule()));
}

/** Starts a load of what `read` returns; whatever it throws fails the load. */
function begin(read) {
  const attempt = instantiate(read).then(
    (create) => {
      cancel = undefined;
      return create;
    },
    (cause) => {
      if (loading === attempt) loading = undefined;
      throw new ConnectError("WASM_LOAD_FAILED", `the WebAssembly module did not load: ${cause}`, true, cause);
    },
  );
  loading = attempt;
  return attempt;
}

/** The function of a new instance that makes clients. */
async function instantiate(read) {
  const { imports, start } = bindings(guarded);
  if (compiled !== undefined) return start(await WebAssembly.instantiate(compiled, imports));
  const source = await read();
  const isAddress = typeof source === "string" || source instanceof URL || source instanceof Request;
  const { module, instance } = await instanceOf(isAddress ? await fetch(source) : source, imports);
  compiled = module;
  return start(instance);
}

async function instanceOf(source, imports) {
  if (source instanceof WebAssembly.Module) {
    return { module: source, instance: await WebAssembly.instantiate(source, imports) };
  }
  if (!(source instanceof Response)) return WebAssembly.instantiate(source, imports);
  if (!source.ok) throw new Error(`${source.url} was answered with status ${source.status}`);
  // Nothing else is compiled while it arrives.
  const isStreamed = source.headers.get("Content-Type") === "application/wasm";
  return isStreamed
    ? WebAssembly.instantiateStreaming(source, imports)
    : WebAssembly.instantiate(await source.arrayBuffer(), imports);
}

/** The exports of an instance. Once one of them has trapped, none does anything, and the next load gives a new instance. */
function guarded(exports) {
  let isDead = false;
  const die = (cause) => {
    isDead = true;
    loading = undefined;
    failAll(cause);
  };
  const guard =
    (run) =>
    (...args) => {
      if (isDead) return undefined;
      try {
        return run(...args);
      } catch (cause) {
        // Whatever comes out of there has left Rust in the middle of something.
        if (!isDead) die(cause);
        throw cause;
      }
    };
  const entries = Object.entries(exports).map(([name, value]) => [name, isFunction(value) ? guard(value) : value]);
  return Object.fromEntries(entries);
}

/** What the entry of the package has, until `cancel` is called. */
function fetchHere() {
  const controller = new AbortController();
  cancel = () => controller.abort();
  return fetchModule(controller.signal);
}

/** Waits for the WebAssembly, for no longer than the options allow; gives the function that makes clients. */
export async function loaded(signal, connectTimeout) {
  const limit = connectTimeout ?? CONNECT_TIMEOUT;
  let timer;
  let abort;
  waiting += 1;
  try {
    return await new Promise((resolve, reject) => {
      (loading ?? begin(fetchHere)).then(resolve, reject);
      abort = () => reject(signal.reason);
      if (signal?.aborted) abort();
      signal?.addEventListener?.("abort", abort);
      if (!(limit < 2 ** 31)) return; // for ever, or no number, which is complained about later
      const late = () => reject(new ConnectError("CONNECTION_TIMEOUT", `no WebAssembly within ${limit} ms`, true));
      timer = setTimeout(late, limit);
    });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener?.("abort", abort);
    waiting -= 1;
    if (waiting === 0 && cancel) {
      // Nobody waits any more; the next attempt is not to wait for this one.
      cancel();
      loading = cancel = undefined;
    }
  }
}
