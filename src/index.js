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

let loading;

/** Loads the WebAssembly. Nobody has to call it; a failed load can be tried again. */
export function init(source) {
  loading ??= load(source === undefined ? undefined : { module_or_path: source }).then(
    () => {},
    (cause) => {
      loading = undefined;
      throw new ConnectError("WASM_LOAD_FAILED", `the WebAssembly module did not load: ${cause}`, true, cause);
    },
  );
  return loading;
}

/** Opens a session. */
export async function connect(url, options) {
  await init();
  return open(url, options);
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
