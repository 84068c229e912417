// The entry of the package: loads the WebAssembly when it is first needed, and exports what applications use.

import load, { Messaging, connect as open, Registration, Session } from "./antiphon.js";
import { ConnectError } from "./error.js";

export { ConnectError, InvalidFilterError, MessagingError, RejectedRequestError } from "./error.js";
export { DataValue, datatypes } from "./value.js";

/** In a list of session properties: all fixed ones. */
export const ALL_FIXED_PROPERTIES = "*F";
/** In a list of session properties: all user-defined ones. */
export const ALL_USER_PROPERTIES = "*U";
/** The principal of a session that did not say who it is. */
export const ANONYMOUS = "";

const CONNECT_TIMEOUT = 10_000; // ms, as in the types

/** The load under way, or done. */
let loading;
/** Ends the load under way; nothing if somebody asked for it by itself. */
let cancel;
/** How many connects wait for it. */
let waiting = 0;

/** Loads the WebAssembly. Nobody has to call it; a failed load can be tried again. */
export function init(source) {
  cancel = undefined;
  return loading ?? begin(() => source ?? fileHere());
}

/** Starts a load of what `read` returns; whatever it throws fails the load. */
function begin(read) {
  const attempt = Promise.resolve()
    .then(read)
    .then((source) => load(source === undefined ? undefined : { module_or_path: source }))
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

/** In Node.js, whose `fetch` does not read files, what the WebAssembly file holds. */
function fileHere() {
  const { protocol } = new URL(import.meta.url);
  if (protocol !== "file:") return undefined;
  const file = new URL("antiphon_bg.wasm", import.meta.url);
  return globalThis.process?.getBuiltinModule?.("node:fs").readFileSync(file);
}

/** The same from a server, until `cancel` is called. */
function fetchHere() {
  const controller = new AbortController();
  cancel = () => controller.abort();
  return fetch(new URL("antiphon_bg.wasm", import.meta.url), { signal: controller.signal });
}

/** Opens a session. */
export async function connect(url, options) {
  const started = performance.now();
  const { signal, connectTimeout, webSocket } = glance(options);
  await loaded(signal, connectTimeout);
  if (!(webSocket ?? globalThis.WebSocket)) {
    const message =
      "there is no WebSocket here; pass a constructor as the option webSocket, e.g. that of the package ws";
    throw new ConnectError("CONNECTION_ERROR", message, false);
  }
  return open(url, options, performance.now() - started);
}

/** Options that matter before the WebAssembly is there to check them. */
function glance(options) {
  try {
    const { signal, connectTimeout, webSocket } = options ?? {};
    return { signal, connectTimeout, webSocket };
  } catch {
    // Reported when they are read in full.
    return { webSocket: true };
  }
}

/** Waits for the WebAssembly, for no longer than the options allow. */
async function loaded(signal, connectTimeout) {
  const limit = connectTimeout ?? CONNECT_TIMEOUT;
  let timer;
  let abort;
  waiting += 1;
  try {
    await new Promise((resolve, reject) => {
      (loading ?? begin(() => fileHere() ?? fetchHere())).then(resolve, reject);
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

// These objects are freed when nobody has them any more; a call that frees one under somebody's hands is no use to
// anybody.
for (const type of [Session, Messaging, Registration]) {
  delete type.prototype.free;
  // Older platforms do not have the symbols; there, nobody can ask for them.
  if (Symbol.dispose) delete type.prototype[Symbol.dispose];
}
if (Symbol.asyncDispose) {
  for (const type of [Session, Registration]) {
    Object.defineProperty(type.prototype, Symbol.asyncDispose, {
      value() {
        return this.close();
      },
      configurable: true,
      writable: true,
    });
  }
}
