// Loads the WebAssembly when it is first needed; where from depends on the entry of the package.

import load from "./antiphon.js";
import { ConnectError } from "./error.js";

const CONNECT_TIMEOUT = 10_000; // ms, as in the types

/** The load under way, or done. */
let loading;
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
export function init(source) {
  cancel = undefined;
  return loading ?? begin(() => source ?? fetchModule());
}

/** Starts a load of what `read` returns; whatever it throws fails the load. */
function begin(read) {
  const attempt = Promise.resolve()
    .then(read)
    .then((source) => load({ module_or_path: source }))
    .then(
      () => {
        cancel = undefined;
      },
      (cause) => {
        if (loading === attempt) loading = undefined;
        throw new ConnectError("WASM_LOAD_FAILED", `the WebAssembly module did not load: ${cause}`, true, cause);
      },
    );
  loading = attempt;
  return attempt;
}

/** What the entry of the package has, until `cancel` is called. */
function fetchHere() {
  const controller = new AbortController();
  cancel = () => controller.abort();
  return fetchModule(controller.signal);
}

/** Waits for the WebAssembly, for no longer than the options allow. */
export async function loaded(signal, connectTimeout) {
  const limit = connectTimeout ?? CONNECT_TIMEOUT;
  let timer;
  let abort;
  waiting += 1;
  try {
    await new Promise((resolve, reject) => {
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
