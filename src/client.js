// What applications use, whatever entry of the package they import.

import { Messaging, connect as open, Registration, Session } from "./antiphon.js";
import { ConnectError, showCaller } from "./error.js";
import { loaded } from "./load.js";
import { applyContract, contractOf, gather, services } from "./messaging.js";

export { ConnectError, InvalidFilterError, MessagingError, RejectedRequestError } from "./error.js";
export { init } from "./load.js";
export { RequestHandler } from "./messaging.js";
export { DataValue, datatypes } from "./value.js";

/** In a list of session properties: all fixed ones. */
export const ALL_FIXED_PROPERTIES = "*F";
/** In a list of session properties: all user-defined ones. */
export const ALL_USER_PROPERTIES = "*U";
/** The principal of a session that did not say who it is. */
export const ANONYMOUS = "";

/** Text as it stands between the quotes of a string in a session filter. */
export function escapeFilter(text) {
  return String(text).replace(/["'\\]/g, "\\$&");
}

/** Opens a session. */
export async function connect(url, options) {
  const site = new Error();
  try {
    return await connectFrom(url, options);
  } catch (error) {
    throw error instanceof ConnectError ? showCaller(error, site) : error;
  }
}

async function connectFrom(url, options) {
  const started = performance.now();
  const { signal, connectTimeout, webSocket } = glance(options);
  const contract = contractOf(options);
  await loaded(signal, connectTimeout);
  if (!(webSocket ?? globalThis.WebSocket)) {
    const message =
      "there is no WebSocket here; pass a constructor as the option webSocket, e.g. that of the package ws";
    throw new ConnectError("CONNECTION_ERROR", message, false);
  }
  const session = await open(url, options, performance.now() - started);
  if (contract !== undefined) applyContract(session.messaging, contract);
  return session;
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

// ---- What the classes of the WebAssembly have besides, and what applications are not to see of them ----

const { invoke } = Messaging.prototype;
// The constructors have names of their own, since stack traces show them.
const constructors = [
  [
    Session,
    function Session() {
      illegal();
    },
  ],
  [
    Messaging,
    function Messaging() {
      illegal();
    },
  ],
  [
    Registration,
    function Registration() {
      illegal();
    },
  ],
];
for (const [type, illegalConstructor] of constructors) {
  const members = { constructor: illegalConstructor };
  if (type === Messaging) Object.assign(members, { gather: gatherHere });
  // Older platforms do not have the symbol; there, nobody can ask for it.
  else if (Symbol.asyncDispose) members[Symbol.asyncDispose] = close;
  for (const key of Reflect.ownKeys(members)) {
    Object.defineProperty(type.prototype, key, { value: members[key], configurable: true, writable: true });
  }
  // They are freed when nobody has them any more; a call that frees one under somebody's hands is no use to anybody.
  delete type.prototype.free;
  if (Symbol.dispose) delete type.prototype[Symbol.dispose];
}
delete Messaging.prototype.invoke;
Object.defineProperty(Messaging.prototype, "services", {
  get() {
    return services(this, invoke);
  },
  configurable: true,
});
Object.defineProperty(Session.prototype, "services", {
  get() {
    return this.messaging.services;
  },
  configurable: true,
});

function illegal() {
  throw new TypeError("sessions come from connect, and everything else from them");
}

function gatherHere(filter, path, request, options) {
  return gather(this, filter, path, request, options);
}

function close() {
  return this.close();
}
